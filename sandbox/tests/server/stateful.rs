//! Tests state that Workers store and share: Durable Objects, queues and workflows, deployed by the
//! pinned wrangler.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::previews::wrangler;
use crate::server::Server;
use crate::server::wait::Wait;

/// Writes a Worker.
pub fn write(server: &Server, name: &str, code: &str, mut config: Value) -> PathBuf {
    let site = server.dir.join("sites").join(name);
    std::fs::create_dir_all(&site).expect("a folder");
    config["name"] = json!(name);
    config["main"] = json!("worker.js");
    config["compatibility_date"] = json!("2026-10-01");
    std::fs::write(site.join("wrangler.json"), config.to_string()).expect("a file");
    std::fs::write(site.join("worker.js"), code).expect("a file");
    site
}

/// Runs wrangler, which must succeed.
pub fn run(server: &Server, site: &Path, arguments: &[&str]) {
    let (output, _) = wrangler(server, site, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Writes a Worker and deploys it with the pinned wrangler.
pub fn deploy(server: &Server, name: &str, code: &str, config: Value) -> PathBuf {
    let site = write(server, name, code, config);
    run(server, &site, &["deploy", "--no-x-provision"]);
    site
}

/// Asks a host until it gives the wanted answer.
pub async fn wait_for(server: &Server, host: &str, path: &str, wanted: &str) {
    let wait = Wait::begin();
    loop {
        let answer = server.text(host, path).await;
        if answer == wanted {
            return;
        }
        wait.check(format_args!("{host}{path}: {answer}"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const COUNTER: &str = "import { DurableObject } from 'cloudflare:workers';
export class Counter extends DurableObject {
  async add() {
    this.ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS visits (at TEXT)');
    this.ctx.storage.sql.exec(\"INSERT INTO visits VALUES ('now')\");
    return this.ctx.storage.sql.exec('SELECT count(*) AS n FROM visits').one().n;
  }
  async wake() { await this.ctx.storage.setAlarm(Date.now() + 3000); }
  async alarm() { await this.ctx.storage.put('woken', true); }
  async woken() { return String(await this.ctx.storage.get('woken')); }
}
export default { async fetch(request, env) {
  const { pathname } = new URL(request.url);
  const object = env.COUNTER.getByName('a');
  if (pathname === '/wake') { await object.wake(); return new Response('soon'); }
  if (pathname === '/woken') return new Response(await object.woken());
  return new Response(`VERSION ${await object.add()}`);
} };";

fn counter(migrations: &Value) -> Value {
    json!({
        "durable_objects": { "bindings": [{ "name": "COUNTER", "class_name": "Counter" }] },
        "migrations": migrations,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_share_the_durable_objects_of_their_worker() {
    let mut server = Server::new("objects");
    let first = json!([{ "tag": "v1", "new_sqlite_classes": ["Counter"] }]);
    let code = |version: &str| COUNTER.replace("VERSION", version);
    deploy(&server, "counter", &code("one"), counter(&first));
    assert_eq!(server.text("counter.localhost", "/").await, "one 1");
    assert_eq!(server.text("counter.localhost", "/").await, "one 2");
    let namespaces = crate::resources::path("workers/durable_objects/namespaces");
    let (_, all) = server.get(&namespaces).await;
    assert_eq!(all["result"][0]["class"], "Counter");
    let view = format!("{namespaces}/{}", all["result"][0]["id"].as_str().expect("an id"));
    assert_eq!(server.get(&view).await.1["result"], all["result"][0]);
    let (_, objects) = server.get(&format!("{view}/objects?limit=1")).await;
    let object = &objects["result"][0];
    assert_eq!(object["hasStoredData"], true, "{objects}");
    assert_eq!(object["id"].as_str().map(str::len), Some(64));
    assert_eq!(objects["result_info"], json!({ "count": 1, "per_page": 1, "cursor": "" }));
    let rest = format!("{view}/objects?cursor={}", object["id"].as_str().expect("an id"));
    assert_eq!(server.get(&rest).await.1["result"], json!([]));
    assert_eq!(server.get(&format!("{namespaces}/none/objects")).await.0, 404);
    deploy(&server, "counter", &code("two"), counter(&first));
    assert_eq!(server.text("counter.localhost", "/").await, "two 3");
    server.restart();
    assert_eq!(server.text("counter.localhost", "/").await, "two 4");

    // Another Worker uses the same objects, and goes on when their Worker is deployed again.
    let other = "export default { fetch: async (_, env) =>
        new Response(`other ${await env.COUNTER.getByName('a').add()}`) };";
    let binding = json!({ "name": "COUNTER", "class_name": "Counter", "script_name": "counter" });
    deploy(&server, "other", other, json!({ "durable_objects": { "bindings": [binding] } }));
    assert_eq!(server.text("other.localhost", "/").await, "other 5");
    assert_eq!(server.text("counter.localhost", "/").await, "two 6");
    deploy(&server, "counter", &code("three"), counter(&first));
    assert_eq!(server.text("other.localhost", "/").await, "other 7");

    // A rename keeps the objects, a deletion loses them.
    let renamed = code("four").replace("class Counter", "class Tally");
    let config = |migrations: Value| {
        json!({
            "durable_objects": { "bindings": [{ "name": "COUNTER", "class_name": "Tally" }] },
            "migrations": migrations,
        })
    };
    let rename = json!({ "tag": "v2", "renamed_classes": [{ "from": "Counter", "to": "Tally" }] });
    deploy(&server, "counter", &renamed, config(json!([first[0], rename])));
    assert_eq!(server.text("counter.localhost", "/").await, "four 8");
    let delete = json!({ "tag": "v3", "deleted_classes": ["Tally"] });
    let again = json!({ "tag": "v4", "new_sqlite_classes": ["Tally"] });
    deploy(&server, "counter", &renamed, config(json!([first[0], rename, delete, again])));
    assert_eq!(server.text("counter.localhost", "/").await, "four 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_exports_create_rename_and_delete_classes() {
    let mut server = Server::new("declared");
    let code = |version: &str| COUNTER.replace("VERSION", version);
    let live = json!({ "type": "durable-object", "storage": "sqlite" });
    let config = |class: &str, exports: Value| {
        json!({
            "durable_objects": { "bindings": [{ "name": "COUNTER", "class_name": class }] },
            "exports": exports,
        })
    };
    let first = config("Counter", json!({ "Counter": live }));
    deploy(&server, "counter", &code("one"), first.clone());
    assert_eq!(server.text("counter.localhost", "/").await, "one 1");
    deploy(&server, "counter", &code("two"), first.clone());
    server.restart();
    assert_eq!(server.text("counter.localhost", "/").await, "two 2");
    let deployments = crate::resources::path("workers/scripts/counter/deployments");
    let (_, before) = server.get(&deployments).await;

    let tally = code("three").replace("class Counter", "class Tally");
    let rename = json!({ "type": "durable-object", "state": "renamed", "renamed_to": "Tally" });
    let renamed = config("Tally", json!({ "Counter": rename, "Tally": live }));
    deploy(&server, "counter", &tally, renamed.clone());
    assert_eq!(server.text("counter.localhost", "/").await, "three 3");
    // A version from before the rename does not declare the class.
    let versions = &before["result"]["deployments"][0]["versions"];
    let back = json!({ "strategy": "percentage", "versions": versions });
    let (status, refusal) = server.send(Method::POST, &deployments, back).await;
    assert_eq!((status, crate::server::code(&refusal)), (400, 100_402), "{refusal}");

    // Wrangler prints the reasons of a refusal.
    for (code, config, reason) in [
        (&tally, json!({}), "[provisioned_class_missing_from_config] class 'Tally'"),
        (&code("four"), first, "[orphaned_provisioned_namespace] class 'Tally'"),
    ] {
        let site = write(&server, "counter", code, config);
        let (output, _) = wrangler(&server, &site, &["deploy", "--no-x-provision"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(reason), "{text}");
    }

    // A version that is not live creates no class.
    let next = format!("export {{ Tally as Other }};{tally}");
    let other = json!({ "Tally": live, "Other": live });
    let site = write(&server, "counter", &next, config("Other", other.clone()));
    let (output, _) = wrangler(&server, &site, &["versions", "upload", "--no-x-provision"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("Deploy this version to create it"), "{text}");
    let site = write(&server, "counter", &next, config("Tally", other));
    run(&server, &site, &["versions", "upload", "--no-x-provision"]);
    let namespaces = crate::resources::path("workers/durable_objects/namespaces");
    let count = async || server.get(&namespaces).await.1["result"].as_array().map(Vec::len);
    assert_eq!(count().await, Some(1));
    let versions = crate::resources::path("workers/scripts/counter/versions");
    let newest = server.get(&versions).await.1["result"]["items"][0]["id"].clone();
    let shares = json!([{ "version_id": newest, "percentage": 100 }]);
    let body = json!({ "strategy": "percentage", "versions": shares });
    assert_eq!(server.send(Method::POST, &deployments, body).await.0, 200);
    assert_eq!(count().await, Some(2));

    // A Worker Preview has its own objects.
    let mut with_preview = config("Tally", json!({ "Tally": live, "Other": live }));
    with_preview["preview_urls"] = json!(true);
    with_preview["previews"] = json!({ "durable_objects": { "bindings": [{ "name": "COUNTER", "class_name": "Tally" }] } });
    let site = write(&server, "counter", &next, with_preview);
    run(&server, &site, &["deploy", "--no-x-provision"]);
    run(&server, &site, &["preview", "--name=mr-1", "--message=one"]);
    assert_eq!(server.text("mr-1-counter.localhost", "/").await, "three 1");
    assert_eq!(server.text("counter.localhost", "/").await, "three 4");

    // A deletion loses the objects.
    let none = "export default { fetch: () => new Response('none') };";
    let deleted = json!({ "type": "durable-object", "state": "deleted" });
    let all = json!({ "exports": { "Tally": deleted, "Other": deleted } });
    deploy(&server, "counter", none, all);
    deploy(&server, "counter", &tally, config("Tally", json!({ "Tally": live })));
    assert_eq!(server.text("counter.localhost", "/").await, "three 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_runs_after_a_restart_without_a_request() {
    let mut server = Server::new("alarms");
    let first = json!([{ "tag": "v1", "new_sqlite_classes": ["Counter"] }]);
    let code = COUNTER.replace(
        "await this.ctx.storage.put('woken', true);",
        "await this.ctx.storage.put('woken', true); console.log('the alarm rang');",
    );
    deploy(&server, "counter", &code, counter(&first));
    assert_eq!(server.text("counter.localhost", "/wake").await, "soon");
    server.restart();
    let log = server.dir.join("logs/workers.log");
    let wait = Wait::begin();
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("the alarm rang") {
        wait.check("no alarm");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.text("counter.localhost", "/woken").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_delivers_messages_to_its_consumer() {
    let mut server = Server::new("queues");
    let producer = "export default { async fetch(request, env) {
        await env.JOBS.send({ path: new URL(request.url).pathname }); return new Response('sent');
    } };";
    // The second message fails always, and ends in the queue of dead letters.
    let consumer = "export default {
        async fetch(request, env) { return Response.json((await env.SEEN.list()).keys.map((key) => key.name)); },
        async queue(batch, env) {
            for (const message of batch.messages) {
                if (batch.queue === 'jobs' && message.body.path === '/bad') message.retry();
                else await env.SEEN.put(`${batch.queue}${message.body.path}`, 'yes');
            }
        } };";
    let site = write(
        &server,
        "producer",
        producer,
        json!({
            "queues": { "producers": [{ "binding": "JOBS", "queue": "jobs" }] }
        }),
    );
    run(&server, &site, &["queues", "create", "jobs"]);
    run(&server, &site, &["queues", "create", "dead"]);
    run(&server, &site, &["kv", "namespace", "create", "seen"]);
    let path = format!("/accounts/{}/storage/kv/namespaces", crate::server::ACCOUNT);
    let (_, namespaces) = server.get(&path).await;
    run(&server, &site, &["deploy", "--no-x-provision"]);
    deploy(
        &server,
        "consumer",
        consumer,
        json!({
            "kv_namespaces": [{ "binding": "SEEN", "id": namespaces["result"][0]["id"] }],
            "queues": { "consumers": [
                { "queue": "jobs", "max_batch_timeout": 0, "max_retries": 1, "dead_letter_queue": "dead" },
                { "queue": "dead", "max_batch_timeout": 0 },
            ] },
        }),
    );
    assert_eq!(server.text("producer.localhost", "/good").await, "sent");
    assert_eq!(server.text("producer.localhost", "/bad").await, "sent");
    wait_for(&server, "consumer.localhost", "/", r#"["dead/bad","jobs/good"]"#).await;
    server.restart();
    assert_eq!(server.text("producer.localhost", "/later").await, "sent");
    wait_for(&server, "consumer.localhost", "/", r#"["dead/bad","jobs/good","jobs/later"]"#).await;
}

/// The delay of a producer takes precedence over that of the queue.
#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_the_delay_of_their_queue() {
    let server = Server::new("delays");
    let code = "export default {
        async fetch(request, env) {
            const { pathname } = new URL(request.url);
            if (pathname === '/send') { await env.SLOW.send('slow'); await env.OWN.send('own'); return new Response('sent'); }
            return new Response(`${await env.SEEN.get('slow')} ${await env.SEEN.get('own')}`);
        },
        async queue(batch, env) {
            for (const { body, timestamp } of batch.messages) {
                const waited = Date.now() - timestamp.getTime();
                await env.SEEN.put(body, waited >= (body === 'slow' ? 3000 : 2000) ? 'late' : `${waited} ms`);
            }
        } };";
    let site = write(&server, "delays", code, json!({}));
    run(&server, &site, &["queues", "create", "slow", "--delivery-delay-secs", "3"]);
    run(&server, &site, &["queues", "create", "own", "--delivery-delay-secs", "1"]);
    run(&server, &site, &["kv", "namespace", "create", "seen"]);
    let path = format!("/accounts/{}/storage/kv/namespaces", crate::server::ACCOUNT);
    let (_, namespaces) = server.get(&path).await;
    let config = json!({
        "kv_namespaces": [{ "binding": "SEEN", "id": namespaces["result"][0]["id"] }],
        "queues": {
            "producers": [
                { "binding": "SLOW", "queue": "slow" },
                { "binding": "OWN", "queue": "own", "delivery_delay": 2 },
            ],
            "consumers": [
                { "queue": "slow", "max_batch_timeout": 0 }, { "queue": "own", "max_batch_timeout": 0 },
            ],
        },
    });
    deploy(&server, "delays", code, config);
    assert_eq!(server.text("delays.localhost", "/send").await, "sent");
    wait_for(&server, "delays.localhost", "/", "late late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_continues_after_a_restart() {
    let mut server = Server::new("workflows");
    let code = "import { WorkflowEntrypoint } from 'cloudflare:workers';
        export class Greeting extends WorkflowEntrypoint {
            async run(event, step) {
                const name = await step.do('name', async () => event.payload.name.toUpperCase());
                await step.sleep('a while', '4 seconds');
                return await step.do('greet', async () => `hello ${name}`);
            }
        }
        export default { async fetch(request, env) {
            const { pathname } = new URL(request.url);
            if (pathname === '/start') {
                await env.GREETING.create({ id: 'one', params: { name: 'ada' } });
                return new Response('started');
            }
            const status = await (await env.GREETING.get('one')).status();
            return new Response(`${status.status} ${status.output}`);
        } };";
    deploy(
        &server,
        "greeter",
        code,
        json!({
            "workflows": [{ "name": "greeting", "binding": "GREETING", "class_name": "Greeting" }]
        }),
    );
    assert_eq!(server.text("greeter.localhost", "/start").await, "started");
    server.restart();
    wait_for(&server, "greeter.localhost", "/", "complete hello ADA").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_has_its_own_objects() {
    let server = Server::new("own-objects");
    let mut config = counter(&json!([{ "tag": "v1", "new_sqlite_classes": ["Counter"] }]));
    config["preview_urls"] = json!(true);
    config["workers_dev"] = json!(true);
    config["previews"] = json!({ "durable_objects": config["durable_objects"] });
    let site = deploy(&server, "counter", &COUNTER.replace("VERSION", "live"), config);
    assert_eq!(server.text("counter.localhost", "/").await, "live 1");
    run(&server, &site, &["preview", "--name=mr-1", "--message=one"]);
    assert_eq!(server.text("mr-1-counter.localhost", "/").await, "live 1");
    assert_eq!(server.text("counter.localhost", "/").await, "live 2");
    assert_eq!(server.text("mr-1-counter.localhost", "/").await, "live 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn crons_run_on_request_and_on_schedule() {
    let mut server = Server::new("crons");
    let code = "export default {
        async fetch(request, env) { return new Response((await env.SEEN.get('last')) ?? 'never'); },
        async scheduled(controller, env) {
            if (controller.cron === '0 0 1 1 *') throw new Error('no');
            const { cron, scheduledTime } = controller;
            await env.SEEN.put('last', `${cron} ${new Date(scheduledTime).toISOString().slice(17)}`);
        } };";
    let site = write(&server, "crons", code, json!({}));
    run(&server, &site, &["kv", "namespace", "create", "seen"]);
    let path = format!("/accounts/{}/storage/kv/namespaces", crate::server::ACCOUNT);
    let (_, namespaces) = server.get(&path).await;
    let config = json!({
        "kv_namespaces": [{ "binding": "SEEN", "id": namespaces["result"][0]["id"] }],
        "triggers": { "crons": ["0 3 * * 1", "0 0 1 1 *"] },
    });
    deploy(&server, "crons", code, config.clone());
    let trigger = |server: &Server, name: &str, cron: Option<&str>| {
        let url = format!("http://127.0.0.1:{}/__sandbox/cron/{name}", server.port);
        let request = server.client.post(url).body(json!({ "cron": cron }).to_string());
        crate::server::answer(request.bearer_auth(crate::server::TOKEN))
    };
    let (status, answer) = trigger(&server, "crons", None).await;
    let runs = json!([
        { "cron": "0 3 * * 1", "outcome": "ok" }, { "cron": "0 0 1 1 *", "outcome": "exception" }
    ]);
    assert_eq!((status, &answer["runs"]), (200, &runs), "{answer}");
    assert!(server.text("crons.localhost", "/").await.starts_with("0 3 * * 1 "));
    let (status, answer) = trigger(&server, "crons", Some("1 2 3 4 5")).await;
    let text = "The Worker crons has no cron trigger `1 2 3 4 5`; it has `0 3 * * 1`, `0 0 1 1 *`";
    assert_eq!((status, answer["message"].as_str()), (409, Some(text)));
    let (status, answer) = trigger(&server, "nothing", None).await;
    let text = "The Worker nothing is not deployed in the sandbox";
    assert_eq!((status, answer["message"].as_str()), (404, Some(text)));

    let mut config = config;
    config["triggers"]["crons"] = json!(["* * * * *"]);
    deploy(&server, "crons", code, config);
    // The next minute of its clock begins in a few seconds.
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    server.restart_with(&["--cron-clock-ahead", &((115 - now % 60) % 60).to_string()]);
    let wait = Wait::begin();
    while server.text("crons.localhost", "/").await != "* * * * * 00.000Z" {
        wait.check("it does not run by itself");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bindings_run_as_in_miniflare() {
    let mut server = Server::new("others");
    // An image of 2 by 3 pixels.
    let code = "import { EmailMessage } from 'cloudflare:email';
        const BITMAP = 'iVBORw0KGgoAAAANSUhEUgAAAAIAAAADCAIAAAA2iEnWAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==';
        export default { async fetch(request, env) {
            const limits = [];
            for (let i = 0; i < 3; i += 1) limits.push((await env.LIMIT.limit({ key: request.url })).success);
            env.EVENTS.writeDataPoint({ blobs: ['a'], doubles: [1], indexes: ['b'] });
            const mail = ['From: a@example.com', 'To: b@example.com', 'Subject: hi', 'Message-ID: <1@example.com>', '', 'text'];
            await env.MAIL.send(new EmailMessage('a@example.com', 'b@example.com', mail.join('\\r\\n')));
            const bytes = Uint8Array.from(atob(BITMAP), (c) => c.charCodeAt(0));
            const { width, height } = await env.IMAGES.info(new Blob([bytes]).stream());
            return Response.json({ limits, width, height, host: env.DB.host.length > 0, user: env.DB.user, database: env.DB.database,
                version: env.VERSION.id.length });
        } };";
    deploy(
        &server,
        "others",
        code,
        json!({
            "ratelimits": [{ "name": "LIMIT", "namespace_id": "1001", "simple": { "limit": 2, "period": 60 } }],
            "analytics_engine_datasets": [{ "binding": "EVENTS", "dataset": "events" }],
            "send_email": [{ "name": "MAIL" }],
            "images": { "binding": "IMAGES" },
            "hyperdrive": [{ "binding": "DB", "id": "0123456789abcdef0123456789abcdef" }],
            "version_metadata": { "binding": "VERSION" },
        }),
    );
    for _ in 0..2 {
        let answer = server.text("others.localhost", "/").await;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(
            answer,
            json!({
                "limits": [true, true, false], "width": 2, "height": 3, "host": true, "user": "ada",
                "database": "shop", "version": 36,
            })
        );
        server.restart();
        // A restart resets rate limits, as another location does at Cloudflare.
        std::fs::remove_dir_all(server.dir.join("data")).expect("it is removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_that_workerd_cannot_load_are_ignored() {
    let server = Server::new("exports");
    let code = "import { WorkerEntrypoint } from 'cloudflare:workers';\n\
        export const message = 'a text';\nexport const limit = 3, nothing = null, list = ['a'];\n\
        export class Greeter extends WorkerEntrypoint { greet(name) { return `${message}, ${name}`; } }\n";
    let handler = "export default { fetch: () => new Response(message + limit + list) };\n";
    deploy(&server, "constants", &format!("{code}{handler}"), json!({}));
    wait_for(&server, "constants.localhost", "/", "a text3a").await;
    let class = "export default class extends WorkerEntrypoint { fetch() { return new Response(String(nothing)); } }\n";
    deploy(&server, "entrypoint", &format!("{code}{class}"), json!({}));
    wait_for(&server, "entrypoint.localhost", "/", "null").await;
    let caller = "export default { fetch: async (_, env) => new Response(await env.GREETER.greet('you')) };\n";
    let services =
        [json!({ "binding": "GREETER", "service": "constants", "entrypoint": "Greeter" })];
    deploy(&server, "caller", caller, json!({ "services": services }));
    wait_for(&server, "caller.localhost", "/", "a text, you").await;
}
