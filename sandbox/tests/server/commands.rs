//! Tests commands of the pinned wrangler that read and control running Workers: `tail`,
//! `workflows instances`, `d1 export` and `d1 execute --file`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::bindings::deploy_with;
use crate::previews::{wrangler, wrangler_command};
use crate::server::wait::{Wait, max_wait};
use crate::server::{ACCOUNT, Server};

fn site(server: &Server) -> std::path::PathBuf {
    let site = server.dir.join("client");
    std::fs::create_dir_all(&site).expect("a folder");
    site
}

/// Runs wrangler and returns what it printed to stdout.
fn print(server: &Server, site: &Path, arguments: &[&str], is_good: bool) -> String {
    let (output, _) = wrangler(server, site, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), is_good, "{arguments:?}: {text}{errors}");
    text + if is_good { "" } else { &*errors }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_tail_streams_every_invocation() {
    let server = Server::new("tail");
    let code = "export default { fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === '/log') console.warn('an order of', { items: 2 });
        if (pathname === '/throw') throw new TypeError('no stock');
        return new Response('done');
    } };";
    deploy_with(&server, "shop", code, json!({})).await;
    deploy_with(&server, "other", code, json!({})).await;
    let site = site(&server);
    let (printed, errors) = (site.join("printed"), site.join("errors"));
    let file = |path| std::fs::File::create(path).expect("a file");
    let mut client = wrangler_command(&server, &site, &["tail", "shop", "--format", "json"]);
    let client = client.stdin(Stdio::null()).stdout(file(&printed)).stderr(file(&errors));
    let mut client = client.spawn().expect("wrangler runs");
    let read = |path: &Path| std::fs::read_to_string(path).expect("text");
    let wait = async |path: &str, text: &str| {
        let wait = Wait::begin();
        while !read(&printed).contains(text) {
            let output = read(&printed) + &read(&errors);
            wait.check(format_args!("{text:?} is not in {output}"));
            server.text("other.localhost", "/throw").await;
            server.text("shop.localhost", path).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    // Without a line of output, and without an exception: only a tail learns of it.
    wait("/quiet", "/quiet").await;
    wait("/log", "an order of").await;
    wait("/throw", "no stock").await;
    let text = read(&printed);
    let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let events: Vec<Value> = events.map_while(Result::ok).collect();
    let event = |path: &str| {
        let url = format!("http://shop.localhost:{}{path}", server.port);
        let found = events.iter().find(|one| one["event"]["request"]["url"] == url.as_str());
        found.unwrap_or_else(|| panic!("{path} is not in {text}"))
    };
    assert_eq!(event("/quiet")["outcome"], "ok");
    assert_eq!(event("/quiet")["event"]["response"]["status"], 200);
    assert_eq!(event("/log")["logs"][0]["level"], "warn");
    assert_eq!(event("/log")["logs"][0]["message"], json!(["an order of", { "items": 2 }]));
    assert_eq!(event("/throw")["outcome"], "exception");
    assert_eq!(event("/throw")["exceptions"][0]["name"], "TypeError");
    assert!(events.iter().all(|one| one["scriptName"] == "shop"), "{text}");
    let tails = format!("/accounts/{ACCOUNT}/workers/scripts/shop/tails");
    let (_, tail) = server.get(&tails).await;
    // A deleted tail ends its clients.
    let id = tail["result"]["id"].as_str().expect("an id");
    assert_eq!(server.send(Method::DELETE, &format!("{tails}/{id}"), Value::Null).await.0, 200);
    let started = Instant::now();
    while client.try_wait().expect("a status").is_none() {
        if started.elapsed() > max_wait() {
            client.kill().expect("it can be killed");
            client.wait().expect("it ends");
            panic!("wrangler goes on: {}{}", read(&printed), read(&errors));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.get(&tails).await.1["result"], Value::Null);
}

#[tokio::test]
async fn a_tail_needs_its_key_and_a_known_filter() {
    let server = Server::new("tails");
    deploy_with(&server, "shop", "export default { fetch() {} }", json!({})).await;
    let tails = format!("/accounts/{ACCOUNT}/workers/scripts/shop/tails");
    let filters = json!({ "filters": [{ "colour": "red" }] });
    assert_eq!(server.send(Method::POST, &tails, filters).await.0, 400);
    let missing = tails.replace("shop", "none");
    assert_eq!(server.send(Method::POST, &missing, json!({})).await.0, 404);
    assert_eq!(server.get(&tails).await.1["result"], Value::Null);
    let (status, tail) = server.send(Method::POST, &tails, json!({ "filters": [] })).await;
    assert_eq!(status, 200, "{tail}");
    assert_eq!(server.get(&tails).await.1["result"]["id"], tail["result"]["id"]);
    let url = tail["result"]["url"].as_str().expect("a URL").replace("ws://", "http://");
    assert!(
        url.starts_with(&format!("http://127.0.0.1:{}/client/v4/tails/", server.port)),
        "{url}"
    );
    let (without, _) = url.split_once('?').expect("a query");
    for (url, wanted) in [(url.as_str(), 101), (without, 403), (&format!("{without}?key=a"), 403)] {
        let request = server.client.get(url).header("connection", "upgrade");
        let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), wanted, "{url}");
    }
    for _ in 0..9 {
        assert_eq!(server.send(Method::POST, &tails, json!({})).await.0, 200);
    }
    assert_eq!(server.send(Method::POST, &tails, json!({})).await.0, 400, "the eleventh");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_controls_the_instances_of_a_workflow() {
    let mut server = Server::new("instances");
    let code = "import { WorkflowEntrypoint } from 'cloudflare:workers';
        export class Greeting extends WorkflowEntrypoint {
            async run(event, step) {
                const name = await step.do('name', async () => event.payload.name.toUpperCase());
                if (event.payload.waits) await step.waitForEvent('go', { type: 'go', timeout: '1 hour' });
                return `hello ${name}`;
            }
        }
        export default { fetch: () => new Response('hi') };";
    let binding = json!({ "name": "GREETING", "type": "workflow", "workflow_name": "greeting", "class_name": "Greeting" });
    deploy_with(&server, "greeter", code, json!({ "bindings": [binding] })).await;
    let workflow = format!("/accounts/{ACCOUNT}/workflows/greeting");
    let fields = json!({ "script_name": "greeter", "class_name": "Greeting" });
    assert_eq!(server.send(Method::PUT, &workflow, fields).await.0, 200);
    let site = site(&server);
    let run = |server: &Server, arguments: &[&str], is_good: bool| {
        print(server, &site, &[&["workflows"], arguments].concat(), is_good)
    };
    run(&server, &["trigger", "greeting", r#"{"name":"ada"}"#, "--id", "one"], true);
    run(&server, &["trigger", "greeting", r#"{"name":"bob","waits":true}"#, "--id", "two"], true);
    let again = run(&server, &["trigger", "greeting", r#"{"name":"eve"}"#, "--id", "one"], false);
    assert!(again.contains("already_exists"), "{again}");
    let describe = |server: &Server, id: &str| -> Value {
        let text = run(server, &["instances", "describe", "greeting", id, "--json"], true);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let wait = async |server: &Server, id: &str, wanted: &str| -> Value {
        let wait = Wait::begin();
        loop {
            let path = format!("{workflow}/instances/{id}");
            let (_, found) = server.get(&path).await;
            if found["result"]["status"] == wanted {
                return found["result"].clone();
            }
            wait.check(format_args!("{id} is not {wanted}: {found}"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    wait(&server, "one", "complete").await;
    let one = describe(&server, "one");
    assert_eq!(
        (&one["status"], &one["output"], &one["success"], &one["steps"][0]["output"]),
        (&json!("complete"), &json!("hello ADA"), &json!(true), &json!("ADA")),
        "{one}"
    );
    assert!(one["end"].as_str().is_some_and(|time| time.ends_with('Z')), "{one}");
    let list = |server: &Server, arguments: &[&str]| -> Vec<Value> {
        let arguments = [&["instances", "list", "greeting", "--json"], arguments].concat();
        let text = run(server, &arguments, true);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    assert_eq!(list(&server, &[]).len(), 2);
    assert_eq!(list(&server, &["--per-page", "1", "--page", "2"]).len(), 1);
    let complete = list(&server, &["--status", "complete"]);
    assert_eq!((complete.len(), &complete[0]["id"]), (1, &json!("one")), "{complete:?}");
    // The instance waits on after a restart, and an event ends its wait.
    server.restart();
    wait(&server, "two", "running").await;
    run(&server, &["instances", "send-event", "greeting", "two", "--type", "go"], true);
    let two = wait(&server, "two", "complete").await;
    assert_eq!(two["output"], "hello BOB", "{two}");
    run(&server, &["trigger", "greeting", r#"{"name":"cy","waits":true}"#, "--id", "a b/c"], false);
    run(&server, &["trigger", "greeting", r#"{"name":"cy","waits":true}"#, "--id", "three"], true);
    wait(&server, "three", "running").await;
    // wrangler finds the latest one at a path that ends with a slash.
    assert_eq!(describe(&server, "latest")["id"], "three");
    run(&server, &["instances", "terminate", "greeting", "latest"], true);
    let three = wait(&server, "three", "terminated").await;
    assert_eq!(three["success"], false, "{three}");
    run(&server, &["instances", "delete", "greeting", "three"], true);
    let (_, found) = server.get(&workflow).await;
    assert_eq!(found["result"]["instances"]["complete"], 2, "{found}");
    for (method, path) in [
        (Method::GET, format!("{workflow}/instances/three")),
        (Method::POST, format!("{workflow}/instances/none/events/go")),
        (Method::GET, format!("/accounts/{ACCOUNT}/workflows/none/instances")),
    ] {
        assert_eq!(server.send(method, &path, json!({})).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_exports_and_imports_a_database() {
    let server = Server::new("dumps");
    server.storage().await;
    let site = site(&server);
    let write = |name: &str, text: &str| std::fs::write(site.join(name), text).expect("a file");
    write(
        "in.sql",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); -- one; comment
         CREATE TABLE empty (id INTEGER);
         INSERT INTO users VALUES (1, 'Ada; \"Countess\"'), (2, 'Grüße');
         CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM empty; SELECT 1; END;",
    );
    let execute = |file: &str, is_good: bool| {
        print(
            &server,
            &site,
            &["d1", "execute", "data", "--remote", "--yes", "--file", file],
            is_good,
        )
    };
    let printed = execute("in.sql", true);
    assert!(printed.contains("Executed 4 queries"), "{printed}");
    let names = || {
        let query = "SELECT name FROM users ORDER BY id";
        let text = print(
            &server,
            &site,
            &["d1", "execute", "data", "--remote", "--json", "--command", query],
            true,
        );
        let found: Value = serde_json::from_str(&text).expect("JSON");
        found[0]["results"].clone()
    };
    let wanted = json!([{ "name": "Ada; \"Countess\"" }, { "name": "Grüße" }]);
    assert_eq!(names(), wanted);
    // All of a file or nothing.
    write("bad.sql", "INSERT INTO users VALUES (3, 'Eve'); INSERT INTO nowhere VALUES (1);");
    let refused = execute("bad.sql", false);
    assert!(refused.contains("no such table: nowhere"), "{refused}");
    assert_eq!(names(), wanted);
    let export = |file: &str, more: &[&str]| {
        let arguments = ["d1", "export", "data", "--remote", "--output", file];
        print(&server, &site, &[&arguments[..], more].concat(), true);
        std::fs::read_to_string(site.join(file)).expect("the export")
    };
    let all = export("out.sql", &[]);
    let schema = export("schema.sql", &["--no-data"]);
    let table = export("table.sql", &["--table", "empty"]);
    let data = export("data.sql", &["--no-schema"]);
    for (text, has_schema, has_data, has_users) in [
        (&all, true, true, true),
        (&schema, true, false, true),
        (&table, true, false, false),
        (&data, false, true, true),
    ] {
        assert_eq!(text.contains("CREATE TABLE"), has_schema, "{text}");
        assert_eq!(text.contains("Countess"), has_data, "{text}");
        assert_eq!(text.contains("users"), has_users, "{text}");
    }
    // An export makes the same database again.
    print(&server, &site, &["d1", "create", "copy"], true);
    let arguments = ["d1", "execute", "copy", "--remote", "--yes", "--file", "out.sql"];
    print(&server, &site, &arguments, true);
    let arguments = ["d1", "export", "copy", "--remote", "--output", "again.sql"];
    print(&server, &site, &arguments, true);
    assert_eq!(std::fs::read_to_string(site.join("again.sql")).expect("the export"), all);
}

#[tokio::test]
async fn a_link_needs_its_key() {
    let server = Server::new("links");
    let [_, database, _] = server.storage().await;
    let import = format!("/accounts/{ACCOUNT}/d1/database/{database}/import");
    let etag = "0cc175b9c0f1b6a831c399e269772661";
    let (_, started) =
        server.send(Method::POST, &import, json!({ "action": "init", "etag": etag })).await;
    let url = started["result"]["upload_url"].as_str().expect("a URL");
    let filename = started["result"]["filename"].as_str().expect("a name");
    let put = async |url: &str| server.client.put(url).body("a").send().await.expect("an answer");
    let ingest = async |etag: &str| {
        let body = json!({ "action": "ingest", "filename": filename, "etag": etag });
        server.send(Method::POST, &import, body).await
    };
    let (without, _) = url.split_once('?').expect("a query");
    assert_eq!(put(without).await.status().as_u16(), 403);
    assert_eq!(put(&format!("{without}?key=0")).await.status().as_u16(), 403);
    assert_eq!(ingest(etag).await.0, 400, "it was not uploaded");
    assert_eq!(server.client.get(url).send().await.expect("an answer").status().as_u16(), 404);
    let done = put(url).await;
    assert_eq!(
        (done.status().as_u16(), &done.headers()["etag"]),
        (200, &format!("\"{etag}\"").parse().expect("a header"))
    );
    assert_eq!(ingest("another").await.0, 400, "it is another file");
    let poll = json!({ "action": "poll", "current_bookmark": "0" });
    assert_eq!(server.send(Method::POST, &import, poll).await.0, 404);
}
