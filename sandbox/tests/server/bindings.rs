//! Tests that a Worker has its uploaded bindings.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, answer, multipart};

/// Uploads code with bindings, live at once.
pub async fn deploy(server: &Server, worker: &str, code: &str, bindings: Value) {
    deploy_with(server, worker, code, json!({ "bindings": bindings })).await;
}

/// Uploads code with other metadata, live at once.
pub async fn deploy_with(server: &Server, worker: &str, code: &str, mut metadata: Value) {
    metadata["main_module"] = json!("worker.js");
    metadata["compatibility_date"] = json!("2026-01-01");
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}");
    let parts = [
        ("metadata", "application/json", &*metadata.to_string()),
        ("worker.js", "application/javascript+module", code),
    ];
    let (status, answer) = multipart(server.request(Method::PUT, &path, TOKEN), &parts).await;
    assert_eq!(status, 200, "{answer}");
}

/// The first bytes of a client of Postgres: a request for TLS, then the startup.
const POSTGRES: &str = "const client = env.BASE.connect(), writer = client.writable.getWriter(), reader = client.readable.getReader();
    const send = (...bytes) => writer.write(new Uint8Array(bytes));
    const text = ({ value }) => new TextDecoder().decode(value);
    await send(0, 0, 0, 8, 4, 210, 22, 47);
    const tls = text(await reader.read());
    await send(0, 0, 0, 9, 0, 3, 0, 0, 0);
    const [severity, , code, message] = text(await reader.read()).slice(5).split('\\0');";

/// A client of MySQL waits for the server.
const MYSQL: &str = "const reader = env.BASE.connect().readable.getReader();
    const { value } = await reader.read();
    const tls = 'N', severity = 'SFATAL', code = 'C08001', message = 'M' + new TextDecoder().decode(value.slice(7));";

#[tokio::test]
async fn a_hyperdrive_without_a_local_database_says_so() {
    let server = Server::new("hyperdrive");
    let id = "fedcba9876543210fedcba9876543210";
    // As xtask does for `--allow-stub`.
    let url = format!("http://127.0.0.1:{}/__sandbox/resources", server.port);
    let body = json!({ "account": ACCOUNT, "hyperdrives": [{ "id": id, "address": null }] });
    let request = server.client.post(url).bearer_auth(TOKEN).body(body.to_string());
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let wanted = "The Hyperdrive binding BASE has no local form in the sandbox until it knows a local database: set \
                  CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_BASE and restart the sandbox.";
    for (worker, connect) in [("postgres", POSTGRES), ("mysql", MYSQL)] {
        let code = format!(
            "export default {{ async fetch(request, env) {{
                if (new URL(request.url).pathname === '/name') return new Response(env.BASE.database);
                {connect}
                if (tls + severity + code !== 'NSFATALC08001') return new Response(tls + severity + code);
                throw new Error(message.slice(1));
            }} }};"
        );
        let binding = json!([{ "name": "BASE", "type": "hyperdrive", "id": id }]);
        deploy(&server, worker, &code, binding).await;
        let host = format!("{worker}.localhost");
        assert_eq!(server.text(&host, "/name").await, "no-local-database");
        let answer = server.fetch(&host, "/").await;
        let status = answer.status();
        let page = answer.text().await.expect("text");
        assert_eq!(status, 501, "{page}");
        assert!(page.contains(wanted), "{page}");
    }
}

#[tokio::test]
async fn workers_call_each_other() {
    let mut server = Server::new("services");
    let target = |answer: &str| {
        format!(
            "import {{ WorkerEntrypoint }} from 'cloudflare:workers';
             export class Sums extends WorkerEntrypoint {{ add(a, b) {{ return a + b; }} }}
             export default {{ fetch: (request) => new Response('{answer} ' + request.url) }};"
        )
    };
    let caller = "export default { async fetch(request, env) {
        const sum = await env.SUMS.add(1, 2);
        return new Response(`${sum} ${await (await env.OTHER.fetch(request)).text()}`);
    } };";
    deploy(&server, "target", &target("one"), json!([])).await;
    let bindings = json!([
        { "name": "OTHER", "type": "service", "service": "target", "environment": "production" },
        { "name": "SUMS", "type": "service", "service": "target", "entrypoint": "Sums" },
    ]);
    deploy(&server, "caller", caller, bindings).await;
    let wanted = |answer: &str, server: &Server| {
        format!("3 {answer} http://caller.localhost:{}/a", server.port)
    };
    assert_eq!(server.text("caller.localhost", "/a").await, wanted("one", &server));
    // The caller meets the newest version of the target at once.
    deploy(&server, "target", &target("two"), json!([])).await;
    assert_eq!(server.text("caller.localhost", "/a").await, wanted("two", &server));
    server.restart();
    assert_eq!(server.text("caller.localhost", "/a").await, wanted("two", &server));
    // A target that is gone is an error of the request that needs it.
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/target");
    assert_eq!(server.send(Method::DELETE, &path, json!({})).await.0, 200);
    let answer = server.text("caller.localhost", "/a").await;
    assert!(answer.contains("The Worker target is not deployed in this sandbox"), "{answer}");
}

#[tokio::test]
async fn a_binding_without_a_local_form_fails_when_it_is_used() {
    let server = Server::new("stubs");
    let code = "export default { async fetch(request, env) {
        const path = new URL(request.url).pathname;
        if (path === '/run') return Response.json(await env.BRAIN.run('model', { prompt: 'hi' }));
        if (path === '/fetch') return env.CHROME.fetch('https://example.com');
        if (path === '/caught') try { await env.BRAIN.run('model'); } catch { return new Response('caught'); }
        return new Response('fine');
    } };";
    let bindings =
        json!([{ "name": "BRAIN", "type": "ai" }, { "name": "CHROME", "type": "browser" }]);
    deploy(&server, "stubs", code, bindings).await;
    assert_eq!(server.text("stubs.localhost", "/").await, "fine");
    assert_eq!(server.text("stubs.localhost", "/caught").await, "caught");
    for (path, text) in [
        ("/run", "The binding BRAIN is of the kind `ai`, which has no local form in the sandbox."),
        (
            "/fetch",
            "The binding CHROME is of the kind `browser`, which has no local form in the sandbox.",
        ),
    ] {
        let answer = server.fetch("stubs.localhost", path).await;
        assert_eq!(answer.status(), 501, "{path}");
        let page = answer.text().await.expect("text");
        assert!(page.contains(text), "{path}: {page}");
    }
}

/// Each process opens the data by itself, and SQLite refuses the second writer.
#[tokio::test(flavor = "multi_thread")]
async fn workers_and_the_api_write_the_same_data_at_once() {
    const CODE: &str = "export default { async fetch(request, env) {
        const key = new URL(request.url).pathname;
        await env.KV.put(key, 'x'.repeat(10_000));
        await env.DB.prepare('INSERT INTO t VALUES (?)').bind(key).run();
        await env.R2.put(key, 'x'.repeat(10_000));
        return new Response('written');
    } }";
    let server = Server::new("two-writers");
    let [namespace, database, bucket] = server.storage().await;
    let query = format!("/accounts/{ACCOUNT}/d1/database/{database}/query");
    let sql = async |sql: &str| server.send(Method::POST, &query, json!({ "sql": sql })).await;
    assert_eq!(sql("CREATE TABLE t (key TEXT)").await.0, 200);
    let bindings = json!([
        { "name": "KV", "type": "kv_namespace", "namespace_id": namespace },
        { "name": "DB", "type": "d1", "id": database },
        { "name": "R2", "type": "r2_bucket", "bucket_name": bucket },
    ]);
    for worker in ["one", "two"] {
        let fields = json!({ "bindings": bindings });
        assert_eq!(server.upload_code(worker, CODE, fields).await.0, 200);
        assert_eq!(server.text(&format!("{worker}.localhost"), "/start").await, "written");
    }
    let api = async {
        for number in 0..40 {
            let value =
                format!("/accounts/{ACCOUNT}/storage/kv/namespaces/{namespace}/values/{number}");
            let request = server.request(Method::PUT, &value, TOKEN).body("x".repeat(10_000));
            let (status, stored) = answer(request).await;
            assert_eq!(status, 200, "{stored}");
            let (status, stored) = sql(&format!("INSERT INTO t VALUES ('{number}')")).await;
            assert_eq!(status, 200, "{stored}");
            let object = format!("/accounts/{ACCOUNT}/r2/buckets/{bucket}/objects/{number}");
            let request = server.request(Method::PUT, &object, TOKEN).body("x".repeat(10_000));
            let (status, stored) = answer(request).await;
            assert_eq!(status, 200, "{stored}");
        }
    };
    let worker = async |host: &str| {
        for number in 0..40 {
            let answer = server.text(host, &format!("/{host}-{number}")).await;
            assert_eq!(answer, "written");
        }
    };
    tokio::join!(api, worker("one.localhost"), worker("two.localhost"));
    let (_, count) = sql("SELECT count(*) AS number FROM t").await;
    assert_eq!(count["result"][0]["results"][0]["number"], 122, "{count}");
}
