//! Tests KV, D1, R2, queues, workflows and settings with the requests of wrangler and the SDKs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, answer, code, multipart};

const GOOD: &str = "export default { fetch: () => new Response('good'), queue() {} }";

pub fn path(of: &str) -> String {
    format!("/accounts/{ACCOUNT}/{of}")
}

#[tokio::test]
async fn storage_is_created_listed_and_deleted_and_survives_a_kill() {
    let mut server = Server::new("storage");
    let [namespace, database, bucket] = server.storage().await;
    for (of, body, wanted) in [
        ("storage/kv/namespaces", json!({ "title": "cache" }), 10_014),
        ("storage/kv/namespaces", json!({ "title": "" }), 10_019),
        ("d1/database", json!({ "name": "data" }), 7502),
        ("r2/buckets", json!({ "name": "files" }), 10_004),
        ("r2/buckets", json!({ "name": "Bad_Name" }), 10_005),
    ] {
        let (_, refusal) = server.send(Method::POST, &path(of), body).await;
        assert_eq!(code(&refusal), wanted, "{refusal}");
    }
    server.restart();
    let (_, namespaces) = server.get(&path("storage/kv/namespaces?page=1&per_page=100")).await;
    assert_eq!(namespaces["result"][0]["id"], json!(namespace));
    assert_eq!(namespaces["result_info"]["total_count"], 1);
    let (_, databases) = server.get(&path("d1/database?name=data")).await;
    assert_eq!(databases["result"][0]["uuid"], json!(database));
    assert_eq!(server.get(&path("d1/database?name=other")).await.1["result"], json!([]));
    let (_, buckets) = server.get(&path("r2/buckets")).await;
    assert_eq!(buckets["result"]["buckets"][0]["location"], "weur");
    for of in [
        format!("storage/kv/namespaces/{namespace}"),
        format!("d1/database/{database}"),
        format!("r2/buckets/{bucket}"),
    ] {
        assert_eq!(server.get(&path(&of)).await.0, 200, "{of}");
        assert_eq!(server.send(Method::DELETE, &path(&of), Value::Null).await.0, 200, "{of}");
        assert_eq!(server.get(&path(&of)).await.0, 404, "{of}");
    }
}

#[tokio::test]
async fn workers_see_the_values_of_the_api() {
    let server = Server::new("values");
    let [namespace, _, bucket] = server.storage().await;
    let keys = path(&format!("storage/kv/namespaces/{namespace}"));
    let value = format!("{keys}/values/a%2Fb");
    let (status, done) = answer(server.request(Method::PUT, &value, TOKEN).body("one")).await;
    assert_eq!(status, 200, "{done}");
    let parts = [("value", "text/plain", "two"), ("metadata", "application/json", "{\"x\":1}")];
    let (status, done) =
        multipart(server.request(Method::PUT, &format!("{keys}/values/c"), TOKEN), &parts).await;
    assert_eq!(status, 200, "{done}");
    let bulk = json!([{ "key": "d", "value": "dGhyZWU=", "base64": true }]);
    assert_eq!(server.send(Method::PUT, &format!("{keys}/bulk"), bulk).await.0, 200);
    let (_, listed) = server.get(&format!("{keys}/keys")).await;
    let names: Vec<&Value> =
        listed["result"].as_array().expect("keys").iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["a/b", "c", "d"]);
    assert_eq!(server.get(&format!("{keys}/metadata/c")).await.1["result"], json!({ "x": 1 }));
    let get = async |path: &str| {
        let answer = server.request(Method::GET, path, TOKEN).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(get(&value).await, (200, "one".to_owned()));
    assert_eq!(get(&format!("{keys}/values/d")).await, (200, "three".to_owned()));
    assert_eq!(get(&format!("{keys}/values/none")).await.0, 404);
    let bindings = json!([
        { "name": "KV", "type": "kv_namespace", "namespace_id": namespace },
        { "name": "R2", "type": "r2_bucket", "bucket_name": bucket },
    ]);
    let reader = "export default { async fetch(_, env) {
        const file = await env.R2.get('x/y.txt');
        return new Response(await env.KV.get('a/b') + ' ' + await file.text() + ' ' + file.httpMetadata.contentType) } }";
    let object = path(&format!("r2/buckets/{bucket}/objects/x/y.txt"));
    let put = server.request(Method::PUT, &object, TOKEN).header("content-type", "text/x-test");
    assert_eq!(answer(put.body("file")).await.0, 200);
    assert_eq!(server.upload_code("reader", reader, json!({ "bindings": bindings })).await.0, 200);
    assert_eq!(server.text("reader.localhost", "/").await, "one file text/x-test");
    assert_eq!(get(&object).await, (200, "file".to_owned()));
    let full = path(&format!("r2/buckets/{bucket}"));
    assert_eq!(code(&server.send(Method::DELETE, &full, Value::Null).await.1), 10_008);
    assert_eq!(server.send(Method::DELETE, &object, Value::Null).await.0, 200);
    assert_eq!(server.send(Method::DELETE, &format!("{keys}/values/c"), Value::Null).await.0, 200);
    assert_eq!(get(&format!("{keys}/values/c")).await.0, 404);
}

#[tokio::test]
async fn sql_runs_on_the_workers_database() {
    let server = Server::new("sql");
    let [_, database, _] = server.storage().await;
    let query = path(&format!("d1/database/{database}/query"));
    let run = async |sql: &str, params: Value| {
        server.send(Method::POST, &query, json!({ "sql": sql, "params": params })).await
    };
    let migration = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); -- a comment; with a semicolon
        INSERT INTO t (name) VALUES ('a;b'), ('it''s');
        /* another; */ CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET name = CASE WHEN name = 'c' THEN 'C' ELSE name END; END;
        INSERT INTO t (name) VALUES ('c');";
    let (status, done) = run(migration, json!([])).await;
    assert_eq!((status, done["result"].as_array().map(Vec::len)), (200, Some(4)), "{done}");
    let (_, rows) = run("SELECT name FROM t WHERE id > ? ORDER BY id", json!([1])).await;
    assert_eq!(rows["result"][0]["results"], json!([{ "name": "it's" }, { "name": "C" }]));
    assert_eq!(rows["result"][0]["success"], true);
    let raw = path(&format!("d1/database/{database}/raw"));
    let (_, rows) = server
        .send(Method::POST, &raw, json!({ "sql": "SELECT id, name FROM t WHERE id = 1" }))
        .await;
    assert_eq!(
        rows["result"][0]["results"],
        json!({ "columns": ["id", "name"], "rows": [[1, "a;b"]] })
    );
    let (_, rows) = run("SELECT 1 AS a", json!(null)).await;
    assert_eq!(rows["result"][0]["results"], json!([{ "a": 1 }]), "{rows}");
    // Cloudflare ends the body of the trigger at its first semicolon, because of the lower case.
    let trigger = "CREATE TRIGGER low AFTER UPDATE ON t begin UPDATE t SET name = 'x'; end;";
    for (sql, text) in [
        ("SELEC 1", "near \"SELEC\": syntax error at offset 0: SQLITE_ERROR"),
        ("SELECT * FROM missing", "no such table: missing: SQLITE_ERROR"),
        (
            "INSERT INTO t (id) VALUES (1)",
            "UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)",
        ),
        (trigger, "incomplete input: SQLITE_ERROR"),
        ("", "No SQL statements detected."),
    ] {
        let (status, refusal) = run(sql, json!([])).await;
        assert_eq!((status, code(&refusal)), (400, 7500), "{sql}: {refusal}");
        assert_eq!(refusal["errors"][0]["message"], text, "{sql}");
    }
    let (_, view) = server.get(&path(&format!("d1/database/{database}"))).await;
    assert_eq!(view["result"]["num_tables"], 1, "{view}");
    assert!(view["result"]["file_size"].as_u64().is_some_and(|size| size >= 4096), "{view}");
    let bindings = json!([{ "name": "DB", "type": "d1", "id": database }]);
    let reader = "export default { async fetch(_, env) {
        return Response.json(await env.DB.prepare('SELECT count(*) AS n FROM t').first()) } }";
    assert_eq!(server.upload_code("reader", reader, json!({ "bindings": bindings })).await.0, 200);
    assert_eq!(server.text("reader.localhost", "/").await, "{\"n\":3}");
}

#[tokio::test]
async fn errors_of_storage_have_the_code_of_their_product() {
    let server = Server::new("storage-errors");
    let (_, made) =
        server.send(Method::POST, &path("storage/kv/namespaces"), json!({ "title": "kv" })).await;
    let id = made["result"]["id"].as_str().expect("an id");
    for (query, wanted) in
        [("?expiration_ttl=10", 10_034), ("?expiration=5", 10_034), ("?expiration_ttl=60", 0)]
    {
        let path = path(&format!("storage/kv/namespaces/{id}/values/a{query}"));
        let (status, answer) =
            answer(server.request(Method::PUT, &path, TOKEN).body("value")).await;
        match wanted {
            0 => assert_eq!(status, 200, "{answer}"),
            _ => assert_eq!((status, code(&answer)), (400, wanted), "{query}: {answer}"),
        }
    }
    let long = path(&format!("storage/kv/namespaces/{id}/values/{}", "k".repeat(513)));
    let (status, answer) = answer(server.request(Method::PUT, &long, TOKEN).body("value")).await;
    assert_eq!((status, code(&answer)), (400, 10_001), "{answer}");
}

#[tokio::test]
async fn queues_have_producers_and_one_consumer() {
    let server = Server::new("queues");
    let (status, made) =
        server.send(Method::POST, &path("queues"), json!({ "queue_name": "jobs" })).await;
    assert_eq!((status, &made["result"]["queue_name"]), (200, &json!("jobs")), "{made}");
    let queue = path(&format!("queues/{}", made["result"]["queue_id"].as_str().expect("an id")));
    let (_, refusal) =
        server.send(Method::POST, &path("queues"), json!({ "queue_name": "jobs" })).await;
    assert_eq!(code(&refusal), 11_009);
    let bindings = json!([{ "name": "JOBS", "type": "queue", "queue_name": "jobs" }]);
    assert_eq!(server.upload_code("producer", GOOD, json!({ "bindings": bindings })).await.0, 200);
    let deaf = "export default { fetch() {} }";
    assert_eq!(server.upload_code("deaf", deaf, json!({})).await.0, 200);
    let consumer = |script: &str| json!({ "type": "worker", "script_name": script, "settings": { "batch_size": 5 } });
    let consumers = format!("{queue}/consumers");
    for (script, wanted) in [("missing", 10_007), ("deaf", 11_002)] {
        assert_eq!(code(&server.send(Method::POST, &consumers, consumer(script)).await.1), wanted);
    }
    let (status, made) = server.send(Method::POST, &consumers, consumer("producer")).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(code(&server.send(Method::POST, &consumers, consumer("producer")).await.1), 11_004);
    let (_, listed) = server.get(&path("queues?name=jobs")).await;
    assert_eq!(listed["result"][0]["producers"][0]["script"], "producer");
    assert_eq!(listed["result"][0]["consumers"][0]["settings"]["batch_size"], 5);
    assert_eq!(
        code(&server.send(Method::DELETE, &queue, Value::Null).await.1),
        11_005,
        "it is used"
    );
    let id = made["result"]["consumer_id"].as_str().expect("an id");
    assert_eq!(server.send(Method::DELETE, &format!("{consumers}/{id}"), Value::Null).await.0, 200);
    assert_eq!(server.get(&consumers).await.1["result"], json!([]));
}

#[tokio::test]
async fn workflows_need_an_exported_class() {
    let server = Server::new("workflows");
    let code_ = "import { WorkflowEntrypoint } from 'cloudflare:workers';
        export class Flow extends WorkflowEntrypoint {} export default { fetch() {} }";
    assert_eq!(server.upload_code("flows", code_, json!({})).await.0, 200);
    let put = async |class: &str| {
        let body = json!({ "script_name": "flows", "class_name": class });
        server.send(Method::PUT, &path("workflows/daily"), body).await
    };
    assert_eq!(code(&put("Missing").await.1), 10_021);
    let (status, made) = put("Flow").await;
    assert_eq!((status, &made["result"]["class_name"]), (200, &json!("Flow")), "{made}");
    assert_eq!(server.get(&path("workflows")).await.1["result"][0]["name"], "daily");
    assert_eq!(server.send(Method::DELETE, &path("workflows/daily"), Value::Null).await.0, 200);
    assert_eq!(server.get(&path("workflows/daily")).await.0, 404);
}

#[tokio::test]
async fn settings_are_stored_and_returned() {
    let mut server = Server::new("settings");
    let bindings = json!([
        { "name": "A", "type": "plain_text", "text": "1" },
        { "name": "S", "type": "secret_text", "text": "hush" },
    ]);
    let fields = json!({ "bindings": bindings, "observability": { "enabled": true, "head_sampling_rate": 0.5 } });
    assert_eq!(server.upload_code("site", GOOD, fields).await.0, 200);
    assert_eq!(server.upload_code("tail", "export default { tail() {} }", json!({})).await.0, 200);
    let script = path("workers/scripts/site");
    let settings =
        json!({ "logpush": true, "tail_consumers": [{ "service": "tail" }], "tags": ["a"] });
    let (status, kept) =
        server.send(Method::PATCH, &format!("{script}/script-settings"), settings).await;
    assert_eq!(status, 200, "{kept}");
    server.restart();
    let (_, kept) = server.get(&format!("{script}/script-settings")).await;
    let wanted = json!({ "logpush": true, "tail_consumers": [{ "service": "tail" }], "tags": ["a"],
        "observability": { "enabled": true, "head_sampling_rate": 0.5 }, "cache_options": null });
    assert_eq!(kept["result"], wanted);
    for (wrong, number) in [
        (json!({ "logpush": "yes" }), 10_021),
        (json!({ "tail_consumers": [{ "service": "missing" }] }), 10_143),
        (json!({ "tags": 5 }), 10_021),
    ] {
        let (_, refusal) =
            server.send(Method::PATCH, &format!("{script}/script-settings"), wrong).await;
        assert_eq!(code(&refusal), number);
    }
    // A multipart patch with bindings makes a version, and keeps secrets.
    let patch =
        json!({ "bindings": [{ "name": "B", "type": "plain_text", "text": "2" }] }).to_string();
    let request = server.request(Method::PATCH, &format!("{script}/settings"), TOKEN);
    let (status, changed) = multipart(request, &[("settings", "application/json", &patch)]).await;
    assert_eq!(status, 200, "{changed}");
    let names: Vec<&Value> = changed["result"]["bindings"]
        .as_array()
        .expect("bindings")
        .iter()
        .map(|b| &b["name"])
        .collect();
    assert_eq!(names, ["B", "S"]);
    assert!(!changed.to_string().contains("hush"));
    let (_, versions) = server.get(&format!("{script}/versions")).await;
    assert_eq!(versions["result_info"]["total_count"], 2);
    let (_, worker) = server.get(&path("workers/workers/site")).await;
    let worker = &worker["result"];
    assert_eq!(worker["tail_consumers"], json!([{ "name": "tail" }]));
    assert_eq!(
        (&worker["logpush"], &worker["observability"]["enabled"]),
        (&json!(true), &json!(true))
    );
    for field in ["id", "updated_on", "references", "subdomain", "tags"] {
        assert!(!worker[field].is_null(), "{field}");
    }
    let by_id = path(&format!("workers/workers/{}", worker["id"].as_str().expect("an id")));
    assert_eq!(server.get(&by_id).await.1["result"]["name"], "site");
    let (_, scripts) = server.get(&path("workers/scripts")).await;
    for field in
        ["etag", "handlers", "modified_on", "has_assets", "has_modules", "compatibility_date"]
    {
        assert!(!scripts["result"][0][field].is_null(), "{field}");
    }
    let content = server
        .request(Method::GET, &format!("{script}/content/v2"), TOKEN)
        .send()
        .await
        .expect("an answer");
    assert_eq!(content.headers()["cf-entrypoint"], "main.js");
    let content = content.text().await.expect("text");
    assert!(content.contains("name=\"main.js\"") && content.contains(GOOD), "{content}");
}

#[tokio::test]
async fn buckets_keep_their_storage_class_and_cors_rules() {
    let server = Server::new("bucket-settings");
    server.storage().await;
    let bucket = path("r2/buckets/files");
    let patch = async |class: &str| {
        let request = server.request(Method::PATCH, &bucket, TOKEN);
        answer(request.header("cf-r2-storage-class", class)).await
    };
    let (status, changed) = patch("InfrequentAccess").await;
    assert_eq!((status, &changed["result"]["storage_class"]), (200, &json!("InfrequentAccess")));
    assert_eq!(code(&patch("Glacier").await.1), 10_040);
    assert_eq!(server.get(&bucket).await.1["result"]["storage_class"], "InfrequentAccess");
    for (class, wanted) in [("InfrequentAccess", 200), ("Standard", 501), ("Glacier", 400)] {
        let request = server.request(Method::PUT, &format!("{bucket}/objects/a"), TOKEN).body("x");
        let (status, stored) = answer(request.header("cf-r2-storage-class", class)).await;
        assert_eq!(status, wanted, "{stored}");
        assert!(status != 200 || stored["result"]["storage_class"] == class, "{stored}");
    }
    // The place of storage has no effect, but is returned.
    let fields =
        json!({ "name": "data-eu", "primary_location_hint": "eeur", "jurisdiction": "eu" });
    let (_, made) = server.send(Method::POST, &path("d1/database"), fields).await;
    assert_eq!(made["result"]["running_in_region"], "EEUR", "{made}");
    assert_eq!(made["result"]["jurisdiction"], "eu", "{made}");
    let request = server.request(Method::POST, &path("r2/buckets"), TOKEN);
    let request = request.header("cf-r2-jurisdiction", "eu").body("{\"name\":\"files-eu\"}");
    assert_eq!(answer(request).await.1["result"]["jurisdiction"], "eu");
    assert_eq!(server.get(&path("r2/buckets/files-eu")).await.1["result"]["jurisdiction"], "eu");
    let cors = format!("{bucket}/cors");
    assert_eq!(code(&server.get(&cors).await.1), 10_059);
    let rules = json!({ "rules": [{
        "allowed": { "origins": ["https://example.com"], "methods": ["GET"], "headers": ["x-a"] },
        "exposeHeaders": ["etag"], "maxAgeSeconds": 60, "id": "one",
    }] });
    assert_eq!(server.send(Method::PUT, &cors, rules.clone()).await.0, 200);
    assert_eq!(server.get(&cors).await.1["result"], rules);
    for rule in [
        json!({ "AllowedOrigins": ["*"], "AllowedMethods": ["GET"] }),
        json!({ "allowed": { "origins": ["https://"], "methods": ["GET"] } }),
        json!({ "allowed": { "origins": ["*"], "methods": ["OPTIONS"] } }),
    ] {
        let (status, refusal) = server.send(Method::PUT, &cors, json!({ "rules": [rule] })).await;
        assert_eq!((status, code(&refusal)), (400, 10_040), "{refusal}");
    }
    assert_eq!(server.send(Method::DELETE, &cors, Value::Null).await.0, 200);
    assert_eq!(code(&server.get(&cors).await.1), 10_059);
}

/// The commands `list` of wrangler for things that a bucket and an account may have.
#[tokio::test]
async fn rules_of_buckets_are_kept_or_refused() {
    let server = Server::new("bucket-rules");
    server.storage().await;
    let bucket = path("r2/buckets/files");
    let lifecycle = format!("{bucket}/lifecycle");
    assert_eq!(
        server.get(&lifecycle).await.1["result"],
        json!({ "rules": [{
            "id": "Default Multipart Abort Rule", "enabled": true, "conditions": {},
            "abortMultipartUploadsTransition": { "condition": { "type": "Age", "maxAge": 604_800 } },
        }] })
    );
    let rules = json!({ "rules": [{
        "id": "old", "enabled": true, "conditions": { "prefix": "a/" },
        "deleteObjectsTransition": { "condition": { "type": "Date", "date": "2026-12-01T00:00:00Z" } },
        "storageClassTransitions": [
            { "condition": { "type": "Age", "maxAge": 86_400 }, "storageClass": "InfrequentAccess" },
        ],
    }] });
    assert_eq!(server.send(Method::PUT, &lifecycle, rules.clone()).await.0, 200);
    assert_eq!(server.get(&lifecycle).await.1["result"], rules);
    for rule in [
        json!({ "id": "a", "enabled": true }),
        json!({ "enabled": true, "conditions": {} }),
        json!({ "id": "a", "enabled": "yes", "conditions": {} }),
        json!({ "id": "a", "enabled": true, "conditions": {},
            "deleteObjectsTransition": { "condition": { "type": "Age" } } }),
        json!({ "id": "a", "enabled": true, "conditions": {},
            "deleteObjectsTransition": { "condition": { "type": "Never", "maxAge": 1 } } }),
    ] {
        let body = json!({ "rules": [rule] });
        let (status, refusal) = server.send(Method::PUT, &lifecycle, body).await;
        assert_eq!((status, code(&refusal)), (400, 10_040), "{refusal}");
    }
    assert_eq!(server.get(&lifecycle).await.1["result"], rules);
    let lock = format!("{bucket}/lock");
    assert_eq!(server.get(&lock).await.1["result"], json!({ "rules": [] }));
    let (status, refusal) =
        server.send(Method::PUT, &lock, json!({ "rules": [{ "id": "a" }] })).await;
    let text = refusal["errors"][0]["message"].as_str().expect("a message");
    assert!(
        status == 501 && text.starts_with("The sandbox does not have the lock rules of R2"),
        "{text}"
    );
    let domains = server.get(&format!("{bucket}/domains/custom")).await.1;
    assert_eq!(domains["result"], json!({ "domains": [] }));
    let managed = format!("{bucket}/domains/managed");
    assert_eq!(server.get(&managed).await.1["result"]["enabled"], false);
    for (is_on, wanted) in [(false, 200), (true, 501)] {
        let (status, answer) =
            server.send(Method::PUT, &managed, json!({ "enabled": is_on })).await;
        assert_eq!(status, wanted, "{answer}");
    }
    let uploads = server.get(&format!("{bucket}/local-uploads")).await.1;
    assert_eq!(uploads["result"], json!({ "enabled": false }));
    let (status, refusal) = server.get(&path("r2-catalog/files")).await;
    assert_eq!((status, code(&refusal)), (404, 40_401));
    let notifications = path("event_notifications/r2/files/configuration");
    let (status, refusal) = server.get(&notifications).await;
    assert_eq!((status, code(&refusal)), (404, 11_015));
    let one = format!("{notifications}/queues/{}", "0".repeat(32));
    assert_eq!(code(&server.send(Method::DELETE, &one, Value::Null).await.1), 11_015);
    assert_eq!(server.send(Method::PUT, &one, json!({ "rules": [] })).await.0, 501);
    assert_eq!(server.send(Method::DELETE, &format!("{bucket}/sippy"), Value::Null).await.0, 200);
    let sippy = server.get(&format!("{bucket}/sippy")).await.1;
    assert_eq!(sippy["result"], json!({ "enabled": false }));
    for list in ["hyperdrive/configs", "event_subscriptions/subscriptions?queue_id=a"] {
        assert_eq!(server.get(&path(list)).await.1["result"], json!([]), "{list}");
    }
    for missing in ["lifecycle", "lock", "domains/custom"] {
        let (status, refusal) = server.get(&path(&format!("r2/buckets/none/{missing}"))).await;
        assert_eq!((status, code(&refusal)), (404, 10_006), "{missing}");
    }
}

/// Routes that the Go library of Cloudflare calls.
#[tokio::test]
async fn workers_are_searched_and_databases_have_no_replicas() {
    let server = Server::new("search");
    let [_, database, _] = server.storage().await;
    for worker in ["shop", "blog"] {
        assert_eq!(server.upload_code(worker, GOOD, json!({})).await.0, 200);
    }
    let search = path("workers/scripts-search?name=sho");
    let (_, found) = server.get(&search).await;
    assert_eq!(found["result"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["result"][0]["script_name"], "shop");
    assert!(found["result"][0]["script_tag"].is_string());
    let database = path(&format!("d1/database/{database}"));
    let mode = |mode: &str| json!({ "read_replication": { "mode": mode } });
    for (method, value, wanted) in
        [(Method::PUT, "disabled", 200), (Method::PATCH, "auto", 501), (Method::PATCH, "all", 400)]
    {
        let (status, answer) = server.send(method, &database, mode(value)).await;
        assert_eq!(status, wanted, "{answer}");
    }
}

#[tokio::test]
async fn zones_and_the_settings_of_an_account_are_read() {
    let mut server = Server::new("zones");
    let (_, zones) = server.get("/zones?name=example.com").await;
    let zone = zones["result"][0].clone();
    let view = format!("/zones/{}", zone["id"].as_str().expect("an id"));
    assert_eq!(server.get(&view).await.1["result"], zone);
    let (status, refusal) = server.get(&format!("/zones/{}", "0".repeat(32))).await;
    assert_eq!((status, code(&refusal)), (400, 1001));
    // The zones of routes are known after a restart.
    assert_eq!(server.upload_code("shop", GOOD, json!({})).await.0, 200);
    let fields = json!({ "pattern": "shop.example.com/*", "script": "shop" });
    let routes = format!("{view}/workers/routes");
    assert_eq!(server.send(Method::POST, &routes, fields).await.0, 200);
    server.restart();
    assert_eq!(server.get(&view).await.1["result"]["name"], "example.com");

    let settings = path("workers/account-settings");
    let standard = json!({ "default_usage_model": "standard", "green_compute": false });
    assert_eq!(server.get(&settings).await.1["result"], standard);
    let (status, changed) =
        server.send(Method::PUT, &settings, json!({ "green_compute": true })).await;
    assert_eq!((status, &changed["result"]["green_compute"]), (200, &json!(true)));
    let model = json!({ "default_usage_model": "free" });
    assert_eq!(server.send(Method::PUT, &settings, model).await.0, 400);
    server.restart();
    assert_eq!(
        server.get(&settings).await.1["result"],
        json!({ "default_usage_model": "standard", "green_compute": true })
    );
    let subdomain = path("workers/subdomain");
    let (status, refusal) =
        server.send(Method::PUT, &subdomain, json!({ "subdomain": "mine" })).await;
    assert_eq!((status, code(&refusal)), (409, 10_036));
    let same = json!({ "subdomain": "sandbox" });
    assert_eq!(server.send(Method::PUT, &subdomain, same).await.0, 200);
}

#[tokio::test]
async fn routes_of_a_zone_are_created_changed_and_deleted() {
    let server = Server::new("routes");
    for worker in ["shop", "blog"] {
        assert_eq!(server.upload_code(worker, GOOD, json!({})).await.0, 200);
    }
    let (_, zones) = server.get("/zones?name=example.com").await;
    let zone = zones["result"][0]["id"].as_str().expect("an id");
    let routes = format!("/zones/{zone}/workers/routes");
    let fields = |pattern: &str, script: &str| json!({ "pattern": pattern, "script": script });
    let post = async |pattern: &str, script: &str| {
        server.send(Method::POST, &routes, fields(pattern, script)).await
    };
    let (status, created) = post("shop.example.com/*", "shop").await;
    assert_eq!(status, 200, "{created}");
    let route = format!("{routes}/{}", created["result"]["id"].as_str().expect("an id"));
    assert_eq!(server.get(&route).await.1["result"]["script"], "shop");
    for (pattern, script, wanted) in [
        ("shop.example.com/*", "blog", 10_020),
        ("blog.example.com/*", "none", 10_019),
        ("blog.example.org/*", "blog", 10_022),
        ("example.com/*.jpg", "blog", 10_022),
    ] {
        let (_, refusal) = post(pattern, script).await;
        assert_eq!(code(&refusal), wanted, "{pattern}: {refusal}");
    }
    // The routes of a deployment are the same ones.
    let of_worker = path("workers/scripts/blog/routes");
    let (_, refusal) =
        server.send(Method::PUT, &of_worker, json!([{ "pattern": "shop.example.com/*" }])).await;
    assert_eq!(code(&refusal), 10_020);
    let (status, moved) = server.send(Method::PUT, &route, fields("example.com/*", "blog")).await;
    assert_eq!(status, 200, "{moved}");
    let (_, all) = server.get(&routes).await;
    assert_eq!(all["result"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(all["result"][0]["script"], "blog");
    // A changed route keeps its id, and another one may get its pattern.
    assert_eq!(moved["result"]["id"], created["result"]["id"]);
    let (status, other) = post("shop.example.com/*", "shop").await;
    assert_eq!(status, 200, "{other}");
    assert_ne!(other["result"]["id"], created["result"]["id"]);
    let (_, refusal) = post("Shop.Example.com/*", "blog").await;
    assert_eq!(code(&refusal), 10_020, "the case of the host does not count");
    let other = format!("{routes}/{}", other["result"]["id"].as_str().expect("an id"));
    assert_eq!(server.send(Method::DELETE, &other, Value::Null).await.0, 200);
    assert_eq!(code(&server.get(&other).await.1), 10_007);
    let (status, with_port) = post("example.com:8443/*", "shop").await;
    assert_eq!(status, 200, "{with_port}");
    let with_port = format!("{routes}/{}", with_port["result"]["id"].as_str().expect("an id"));
    assert_eq!(server.send(Method::DELETE, &with_port, Value::Null).await.0, 200);
    assert_eq!(server.send(Method::DELETE, &route, Value::Null).await.0, 200);
    assert_eq!(server.get(&routes).await.1["result"], json!([]));
}

/// `wrangler versions secret list --latest-version` reads the bindings from the list.
#[tokio::test]
async fn deployable_versions_are_listed_with_their_bindings() {
    let server = Server::new("deployable");
    let bindings = json!([{ "name": "KEY", "type": "secret_text", "text": "hush" }]);
    assert_eq!(server.upload_code("site", GOOD, json!({ "bindings": bindings })).await.0, 200);
    let versions = path("workers/scripts/site/versions");
    let (_, all) = server.get(&format!("{versions}?deployable=true")).await;
    let listed = &all["result"]["items"][0]["resources"]["bindings"];
    assert_eq!(*listed, json!([{ "name": "KEY", "type": "secret_text" }]), "{all}");
    assert!(server.get(&versions).await.1["result"]["items"][0]["resources"].is_null());
}
