//! Tests that invalid uploads are refused with workerd's message and are not live.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, base64, code, multipart};

/// Code that starts.
const GOOD: &str = "export default { fetch: () => new Response('good') }";

/// Uploads invalid code. Checks that nothing of it is stored, and returns the error.
async fn upload_invalid(server: &Server, code: &str, fields: Value) -> (u16, u64, String) {
    let (status, refusal) = server.upload_code("bad", code, fields).await;
    let status_of_worker =
        server.get(&format!("/accounts/{ACCOUNT}/workers/scripts/bad/deployments")).await.0;
    assert_eq!(status_of_worker, 404, "it is not live: {refusal}");
    let text = refusal["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    (status, crate::server::code(&refusal), text)
}

#[tokio::test]
async fn code_that_does_not_start_is_refused_with_workerd_s_message() {
    let server = Server::new("starts");
    for (code, text) in [
        ("export default {", "Uncaught SyntaxError: Unexpected end of input"),
        ("throw new Error('boom'); export default {}", "Uncaught Error: boom\n  at main.js:1:7"),
        (
            "null.x; export default { fetch() {} }",
            "Uncaught TypeError: Cannot read properties of null (reading 'x')",
        ),
        ("import 'nope'; export default { fetch() {} }", "nope"),
        ("await new Promise(() => {}); export default { fetch() {} }", "op-level await"),
        (
            "setTimeout(() => {}, 1); export default { fetch() {} }",
            "Disallowed operation called within global scope",
        ),
        ("export default {}", "The uploaded script has no registered event handlers."),
        ("export const x = 1", "The uploaded script has no registered event handlers."),
        (
            "addEventListener('fetch', () => {})",
            "The uploaded script has no registered event handlers.",
        ),
        ("export default { helper() {} }", "The uploaded script has no registered event handlers."),
    ] {
        let (status, number, message) = upload_invalid(&server, code, json!({})).await;
        assert_eq!((status, number), (400, 10_021), "{code}: {message}");
        assert!(message.contains(text) && !message.contains("sandbox-check"), "{code}: {message}");
    }
    for (flags, text) in [
        (json!(["nope_flag"]), "No such compatibility flag: nope_flag"),
        (json!(["url_standard", "url_original"]), "url_standard"),
    ] {
        let fields = json!({ "compatibility_flags": flags });
        let (status, number, message) = upload_invalid(&server, GOOD, fields).await;
        assert_eq!((status, number), (400, 10_021), "{message}");
        assert!(message.contains(text), "{message}");
    }
    for date in ["2999-01-01", "yesterday", "2026-02-31"] {
        let fields = json!({ "compatibility_date": date });
        let (status, number, message) = upload_invalid(&server, GOOD, fields).await;
        assert_eq!((status, number), (400, 10_021), "{date}: {message}");
    }
}

#[tokio::test]
async fn the_exports_of_code_are_reported() {
    let server = Server::new("described");
    let code = "import { DurableObject, WorkerEntrypoint, WorkflowEntrypoint } from 'cloudflare:workers';
        export class Room extends DurableObject { async fetch() {} }
        export class Api extends WorkerEntrypoint { add(a, b) { return a + b } }
        export class Flow extends WorkflowEntrypoint { async run() {} }
        export default { async fetch() { return new Response('hi') }, get scheduled() { throw new Error('not called') } }";
    let (status, made) = server.upload_code("code", code, json!({})).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["result"]["handlers"], json!(["fetch", "scheduled"]));
    let named = made["result"]["named_handlers"].as_array().expect("a list");
    let kinds: Vec<(&Value, &Value)> =
        named.iter().map(|one| (&one["name"], &one["entrypoint"])).collect();
    let expected = [("Api", "worker"), ("Flow", "workflow"), ("Room", "durable-object")];
    let expected: Vec<(Value, Value)> =
        expected.iter().map(|(a, b)| (json!(a), json!(b))).collect();
    assert_eq!(kinds, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    // The exports are reported too if the code uses env and storage while it starts.
    let [namespace, database, bucket] = server.storage().await;
    let code = "import { env } from 'cloudflare:workers';
        if (env.TEXT !== 'a\\nb\"' || env.SECRET !== 's' || env.JSON.x !== 1) throw new Error('env');
        const statement = env.DB.prepare('SELECT 1'); env.KV.get; env.R2.get;
        export default { fetch: () => new Response(env.TEXT) }";
    let bindings = json!([
        { "name": "TEXT", "type": "plain_text", "text": "a\nb\"" },
        { "name": "SECRET", "type": "secret_text", "text": "s" },
        { "name": "JSON", "type": "json", "json": { "x": 1 } },
        { "name": "KV", "type": "kv_namespace", "namespace_id": namespace },
        { "name": "DB", "type": "d1", "id": database },
        { "name": "R2", "type": "r2_bucket", "bucket_name": bucket },
    ]);
    let (status, made) = server.upload_code("env", code, json!({ "bindings": bindings })).await;
    assert_eq!(status, 200, "{made}");
}

#[tokio::test]
async fn bindings_to_missing_resources_are_refused() {
    let server = Server::new("bindings");
    assert_eq!(server.upload_code("other", GOOD, json!({})).await.0, 200);
    let text = |name: &str, size: usize| json!({ "name": name, "type": "plain_text", "text": "x".repeat(size) });
    for (bindings, expected) in [
        (json!([text("A", 1), text("A", 1)]), 10_053),
        (json!([{ "name": "K", "type": "kv_namespace", "namespace_id": "0".repeat(32) }]), 10_041),
        (json!([{ "name": "K", "type": "kv_namespace", "namespace_id": "placeholder" }]), 10_042),
        (json!([{ "name": "K", "type": "kv_namespace", "namespace_id": "preview-1-K" }]), 10_042),
        (json!([{ "name": "D", "type": "d1", "id": "placeholder" }]), 10_021),
        (json!([{ "name": "D", "type": "d1", "id": "preview-1-D" }]), 10_181),
        (
            json!([{ "name": "D", "type": "d1", "id": "11111111-1111-4111-8111-111111111111" }]),
            10_181,
        ),
        (json!([{ "name": "R", "type": "r2_bucket", "bucket_name": "missing" }]), 10_085),
        (json!([{ "name": "Q", "type": "queue", "queue_name": "missing" }]), 11_000),
        (json!([{ "name": "H", "type": "hyperdrive", "id": "0".repeat(32) }]), 10_157),
        (json!([{ "name": "S", "type": "service", "service": "missing" }]), 10_143),
        (
            json!([{ "name": "S", "type": "service", "service": "other", "entrypoint": "Missing" }]),
            10_144,
        ),
        (
            json!([{ "name": "O", "type": "durable_object_namespace", "class_name": "Missing" }]),
            10_061,
        ),
        (
            json!([{ "name": "O", "type": "durable_object_namespace", "class_name": "X", "script_name": "other" }]),
            10_061,
        ),
        (
            json!([{ "name": "W", "type": "workflow", "workflow_name": "w", "class_name": "Missing" }]),
            10_021,
        ),
        (json!([{ "name": "X", "type": "kv_namespaces", "namespace_id": "x" }]), 10_021),
        (json!([{ "name": "X" }]), 10_021),
        (json!([{ "type": "plain_text", "text": "" }]), 10_021),
        (json!([text("A", 5 * 1024 + 1)]), 10_054),
        (json!([{ "name": "J", "type": "json", "json": { "a": "x".repeat(5 * 1024) } }]), 10_054),
        ((0..129).map(|at| text(&format!("A{at}"), 1)).collect::<Value>(), 10_055),
        (
            json!([{ "name": "W", "type": "workflow", "workflow_name": "w", "class_name": "F", "script_name": "missing" }]),
            10_200,
        ),
        (json!([{ "name": "ASSETS", "type": "assets" }]), 10_021),
        (json!([{ "name": "V", "type": "vectorize" }]), 10_021),
        (
            json!([{ "name": "R", "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 1, "period": 5 } }]),
            10_021,
        ),
    ] {
        let (status, number, message) =
            upload_invalid(&server, GOOD, json!({ "bindings": bindings })).await;
        let is_missing = expected == 10_200;
        let status_expected = if is_missing { 404 } else { 400 };
        assert_eq!((status, number), (status_expected, expected), "{bindings}: {message}");
    }
    // A class of another kind is not the class of the binding.
    let entrypoint = "import { WorkerEntrypoint } from 'cloudflare:workers';
        export class Room extends WorkerEntrypoint {} export default { fetch() {} }";
    let room = json!([{ "name": "O", "type": "durable_object_namespace", "class_name": "Room" }]);
    let flow =
        json!([{ "name": "W", "type": "workflow", "workflow_name": "w", "class_name": "Room" }]);
    let migrations = json!({ "new_tag": "v1", "new_sqlite_classes": ["Room"] });
    let own =
        json!([{ "name": "S", "type": "service", "service": "bad", "entrypoint": "Missing" }]);
    for (metadata, expected) in [
        (json!({ "bindings": room, "migrations": migrations }), 10_070),
        (json!({ "bindings": flow }), 10_021),
        (json!({ "bindings": own }), 10_144),
    ] {
        let (_, number, message) = upload_invalid(&server, entrypoint, metadata).await;
        assert_eq!(number, expected, "{message}");
    }
    let itself =
        json!([{ "name": "S", "type": "service", "service": "itself" }, text("A", 5 * 1024)]);
    assert_eq!(server.upload_code("itself", GOOD, json!({ "bindings": itself })).await.0, 200);
    let service = json!([{ "name": "S", "type": "service", "service": "other" }]);
    assert_eq!(server.upload_code("caller", GOOD, json!({ "bindings": service })).await.0, 200);
    let references = format!("/accounts/{ACCOUNT}/workers/scripts/other/references");
    let (_, references) = server.get(&references).await;
    assert_eq!(references["result"]["services"]["incoming"][0]["name"], "caller");
}

#[tokio::test]
async fn python_is_refused() {
    let server = Server::new("python-worker");
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/snake");
    for (module, kind, flags) in [
        ("main.py", "text/x-python", json!(["python_workers"])),
        ("main.py", "text/x-python", json!([])),
        ("main.js", "application/javascript+module", json!(["python_workers"])),
    ] {
        let metadata = json!({
            "main_module": module, "compatibility_date": "2026-01-01", "compatibility_flags": flags,
        })
        .to_string();
        let parts = [("metadata", "application/json", metadata.as_str()), (module, kind, GOOD)];
        let (status, answer) = multipart(server.request(Method::PUT, &path, TOKEN), &parts).await;
        assert_eq!((status, code(&answer)), (501, 7000), "{answer}");
        let text = "The sandbox does not run Python Workers. Deploy to Cloudflare with `--env`";
        assert_eq!(answer["errors"][0]["message"], text);
    }
}

#[tokio::test]
async fn a_refused_upload_does_not_change_the_live_version() {
    let server = Server::new("stays-live");
    assert_eq!(server.upload_code("site", GOOD, json!({})).await.0, 200);
    let versions = format!("/accounts/{ACCOUNT}/workers/scripts/site/versions");
    let before = server.get(&versions).await;
    let (status, _) =
        server.upload_code("site", "throw 1; export default { fetch() {} }", json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(server.get(&versions).await, before);
    assert_eq!(server.text("site.localhost", "/").await, "good");
}

#[tokio::test]
async fn durable_objects_need_a_migration_and_stay_exported() {
    let server = Server::new("objects");
    let class = "import { DurableObject } from 'cloudflare:workers';
        export class Room extends DurableObject {} export default { fetch: () => new Response('hi') }";
    let bindings =
        json!([{ "name": "ROOM", "type": "durable_object_namespace", "class_name": "Room" }]);
    let (_, number, message) =
        upload_invalid(&server, class, json!({ "bindings": bindings })).await;
    assert_eq!(number, 10_061, "{message}");
    let migration = json!({ "new_tag": "v1", "steps": [{ "new_sqlite_classes": ["Room"] }] });
    let fields = json!({ "bindings": bindings, "migrations": migration });
    let (status, made) = server.upload_code("rooms", class, fields.clone()).await;
    assert_eq!((status, &made["result"]["migration_tag"]), (200, &json!("v1")), "{made}");
    for (code, fields, expected) in [
        (class, fields, 10_079),
        (GOOD, json!({}), 10_064),
        (
            class,
            json!({ "migrations": { "old_tag": "v1", "new_tag": "v2", "new_classes": ["Room"] } }),
            10_074,
        ),
    ] {
        let (_, refusal) = server.upload_code("rooms", code, fields).await;
        assert_eq!(crate::server::code(&refusal), expected, "{refusal}");
    }
    let namespaces = format!("/accounts/{ACCOUNT}/workers/durable_objects/namespaces");
    let (_, namespaces) = server.get(&namespaces).await;
    assert_eq!(namespaces["result"][0]["class"], "Room");
    assert_eq!(namespaces["result"][0]["use_sqlite"], true);
}

#[tokio::test]
async fn invalid_secrets_and_crons_are_refused() {
    let server = Server::new("secrets");
    let bindings = json!([{ "name": "VARIABLE", "type": "plain_text", "text": "x" }]);
    assert_eq!(server.upload_code("site", GOOD, json!({ "bindings": bindings })).await.0, 200);
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    for (secret, wanted) in [
        (json!({ "name": "S", "text": "x", "type": "secret_text" }), None),
        (json!({ "name": "S", "text": "x" }), None),
        (json!({ "name": "VARIABLE", "text": "x", "type": "secret_text" }), Some(10_053)),
        (json!({ "name": "S", "text": "x", "type": "plain_text" }), Some(10_021)),
        (json!({ "name": "S", "type": "secret_text" }), Some(10_021)),
        (json!({ "name": "", "text": "x", "type": "secret_text" }), Some(10_021)),
        (json!({ "name": "1S", "text": "x", "type": "secret_text" }), Some(10_021)),
        (json!({ "name": "a b", "text": "x", "type": "secret_text" }), Some(10_021)),
        (json!({ "name": "S", "text": "x".repeat(5 * 1024), "type": "secret_text" }), None),
        (
            json!({ "name": "S", "text": "x".repeat(5 * 1024 + 1), "type": "secret_text" }),
            Some(10_054),
        ),
    ] {
        let (status, answer) =
            server.send(Method::PUT, &format!("{script}/secrets"), secret.clone()).await;
        match wanted {
            None => assert_eq!(status, 200, "{answer}"),
            Some(wanted) => assert_eq!(code(&answer), wanted, "{answer}"),
        }
    }
    let bulk = json!({ "secrets": { "VARIABLE": { "text": "x", "type": "secret_text" }, "T": { "text": "t", "type": "secret_text" } } });
    let (_, refusal) = server.send(Method::PATCH, &format!("{script}/secrets-bulk"), bulk).await;
    assert_eq!(code(&refusal), 10_053);
    assert!(!server.get(&format!("{script}/secrets")).await.1.to_string().contains("\"T\""));
    let set = async |crons: &[&str]| {
        let body: Vec<Value> = crons.iter().map(|cron| json!({ "cron": cron })).collect();
        server.send(Method::PUT, &format!("{script}/schedules"), json!(body)).await
    };
    let (status, schedules) = set(&["*/5 * * * *", "0 0 * * sun"]).await;
    assert_eq!(status, 200, "{schedules}");
    assert_eq!(schedules["result"]["schedules"][1]["cron"], "0 0 * * sun");
    for crons in
        [&["* * * *"][..], &["* * * * 0"], &["* * * * 8"], &["x"], &["* * * * *", "* * * * *"]]
    {
        assert_eq!(code(&set(crons).await.1), 10_100, "{crons:?}");
    }
    assert_eq!(server.get(&format!("{script}/schedules")).await.1, schedules);
}

#[tokio::test]
async fn code_above_ten_mib_after_compression_is_refused() {
    let server = Server::new("size");
    let mut state = 1_u64;
    let mut random_letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + u8::try_from(state >> 58).expect("six bits"))
    };
    let random: String = std::iter::repeat_with(&mut random_letter).take(16 << 20).collect();
    let random = random.replace(['\\', '*'], "x");
    let (status, wanted, text) =
        upload_invalid(&server, &format!("/*{random}*/ {GOOD}"), json!({})).await;
    assert_eq!((status, wanted), (413, 10_027));
    assert_eq!(text, "Your Worker exceeded the size limit of 10 MiB.");
    let code = format!("/*{}*/ {GOOD}", "a".repeat(12 << 20));
    let (status, made) = server.upload_code("repetitive", &code, json!({})).await;
    assert_eq!(status, 200, "{made}");
}

/// Cloudflare's Go library and Terraform send a version as JSON.
#[tokio::test]
async fn a_version_of_json_is_created_and_deployed() {
    let server = Server::new("json-version");
    let workers = format!("/accounts/{ACCOUNT}/workers/workers");
    let (status, made) = server.send(Method::POST, &workers, json!({ "name": "site" })).await;
    assert_eq!(status, 200, "{made}");
    let versions = format!("{workers}/{}/versions", made["result"]["id"].as_str().expect("an id"));
    let jwt = server.assets("site", "page").await;
    let module = |name: &str, kind: &str, text: &str| json!({ "name": name, "content_type": kind, "content_base64": base64(text) });
    let version = |code: &str| {
        json!({
            "main_module": "main.js", "compatibility_date": "2026-01-01",
            "annotations": { "workers/message": "hello" }, "assets": { "jwt": jwt },
            "bindings": [{ "name": "TEXT", "type": "plain_text", "text": "bound" }],
            "modules": [
                module("main.js", "application/javascript+module", code),
                module("_headers", "text/plain", "/*\n  x-site: yes\n"),
            ],
        })
    };
    let good = version("export default { fetch: (_, env) => new Response(env.TEXT) }");
    let (status, draft) = server.send(Method::POST, &versions, good.clone()).await;
    assert_eq!((status, &draft["result"]["main_module"]), (200, &json!("main.js")), "{draft}");
    assert_eq!(server.fetch("site.localhost", "/").await.status(), 404, "it is not deployed");
    let live = format!("{versions}?deploy=true");
    let (status, deployed) = server.send(Method::POST, &live, good).await;
    assert_eq!((status, &deployed["result"]["number"]), (200, &json!(2)), "{deployed}");
    let page = server.fetch("site.localhost", "/").await;
    assert_eq!(page.headers()["x-site"], "yes");
    assert_eq!(page.text().await.expect("text"), "page");
    assert_eq!(server.text("site.localhost", "/api").await, "bound");
    let (status, refusal) = server.send(Method::POST, &live, version("syntax error")).await;
    assert_eq!((status, code(&refusal)), (400, 10_021), "{refusal}");
    let mut broken = version("");
    broken["modules"][0]["content_base64"] = json!("?");
    let (_, refusal) = server.send(Method::POST, &live, broken).await;
    assert_eq!(refusal["errors"][0]["message"], "The content of main.js is not base64");
    let (status, refusal) =
        server.send(Method::POST, &versions, json!({ "migrations": { "new_tag": "a" } })).await;
    assert_eq!(status, 501, "{refusal}");
    assert_eq!(server.text("site.localhost", "/api").await, "bound");
}
