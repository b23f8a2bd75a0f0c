//! Tests Worker Previews, with the pinned wrangler.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, code};

const WORKER: &str = "export default { async fetch(request, env) {
  const count = Number((await env.COUNT?.get('n')) ?? 0) + 1;
  await env.COUNT?.put('n', String(count));
  return Response.json({ stage: env.STAGE, page: await (await env.ASSETS.fetch(request)).text(), count });
} };";

/// Runs the pinned wrangler against `server`, in `site`.
pub fn wrangler(server: &Server, site: &Path, arguments: &[&str]) -> (Output, Vec<Value>) {
    let output_file = site.join("output.ndjson");
    std::fs::remove_file(&output_file).unwrap_or_default();
    let output = wrangler_command(server, site, arguments).output().expect("wrangler runs");
    let text = std::fs::read_to_string(&output_file).unwrap_or_default();
    let entries = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output, entries)
}

/// Returns the command of the pinned wrangler against `server`, in `site`.
pub fn wrangler_command(server: &Server, site: &Path, arguments: &[&str]) -> Command {
    let tool = |name: &str| std::env::var(name).expect("`cargo xtask test` sets it up");
    let launcher =
        Path::new(&tool("XTASK_TOOLCHAIN")).join("node_modules/wrangler/bin/wrangler.js");
    let mut command = Command::new(tool("XTASK_BUN"));
    command
        .arg("--bun")
        .arg(launcher)
        .args(arguments)
        .current_dir(site)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("a PATH"))
        .env("HOME", site)
        .envs([("CI", "1"), ("WRANGLER_SEND_METRICS", "false"), ("WRANGLER_WRITE_LOGS", "false")])
        .env("CLOUDFLARE_API_BASE_URL", format!("http://127.0.0.1:{}/client/v4", server.port))
        .envs([("CLOUDFLARE_API_TOKEN", TOKEN), ("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)])
        .env("WRANGLER_OUTPUT_FILE_PATH", site.join("output.ndjson"));
    command
}

fn write(site: &Path, config: &Value, page: &str) {
    std::fs::create_dir_all(site.join("dist")).expect("a folder");
    std::fs::write(site.join("wrangler.json"), config.to_string()).expect("a file");
    std::fs::write(site.join("worker.js"), WORKER).expect("a file");
    std::fs::write(site.join("dist/index.html"), page).expect("a file");
    std::fs::write(site.join("dist/_headers"), "/*\n  x-site: yes\n").expect("a file");
}

fn config() -> Value {
    json!({
        "name": "site", "main": "worker.js", "compatibility_date": "2026-10-01",
        "workers_dev": true, "preview_urls": true, "vars": { "STAGE": "production" },
        "assets": { "directory": "./dist", "binding": "ASSETS", "run_worker_first": true },
        "previews": { "vars": { "STAGE": "preview" }, "kv_namespaces": [{ "binding": "COUNT" }] },
    })
}

async fn answer(server: &Server, host: &str) -> Value {
    serde_json::from_str(&server.text(host, "/").await).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_creates_updates_and_deletes_a_preview_with_its_own_bindings() {
    let mut server = Server::new("worker-previews");
    let site = server.dir.join("site");
    assert_eq!(server.upload("site", "live", false, json!({})).await.0, 200);
    let subdomain = format!("/accounts/{ACCOUNT}/workers/scripts/site/subdomain");
    server.send(Method::POST, &subdomain, json!({ "enabled": true })).await;

    write(&site, &config(), "one");
    let arguments =
        ["preview", "--name=mr-42", "--tag=0123456789ab", "--message=a commit", "--json"];
    let (first, entries) = wrangler(&server, &site, &arguments);
    assert!(first.status.success(), "{first:?}");
    let made = entries.last().expect("an entry").clone();
    assert_eq!(made["type"], "preview");
    assert_eq!(made["preview_slug"], "mr-42");
    assert_eq!(made["preview_urls"], json!(["https://mr-42-site.sandbox.workers.dev"]));
    let id = made["deployment_id"].as_str().expect("an id").to_owned();
    let pinned = format!("{}-site.localhost", &id[..8]);
    assert_eq!(
        made["deployment_urls"],
        json!([format!("https://{}-site.sandbox.workers.dev", &id[..8])])
    );
    for (host, count) in [("mr-42-site.localhost", 1), (pinned.as_str(), 2)] {
        let wanted = json!({ "stage": "preview", "page": "one", "count": count });
        assert_eq!(answer(&server, host).await, wanted, "{host}");
    }

    write(&site, &config(), "two");
    let (second, _) = wrangler(&server, &site, &arguments);
    assert!(second.status.success(), "{second:?}");
    server.restart();
    let wanted = json!({ "stage": "preview", "page": "two", "count": 3 });
    assert_eq!(answer(&server, "mr-42-site.localhost").await, wanted, "its storage stays");
    assert_eq!(answer(&server, &pinned).await["page"], "one");
    let previews = format!("/accounts/{ACCOUNT}/workers/workers/site/previews");
    let (_, latest) = server.get(&format!("{previews}/mr-42/deployments/latest")).await;
    let notes = &latest["result"]["annotations"];
    let wanted = (&json!("0123456789ab"), &json!("a commit"));
    assert_eq!((&notes["workers/tag"], &notes["workers/message"]), wanted);
    let state = server.text("127.0.0.1", "/__sandbox/state.json").await;
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["workers"][0]["workerPreviews"][0]["deploymentCount"], 2);

    let delete = ["preview", "delete", "--name=mr-42", "-y"];
    assert!(wrangler(&server, &site, &delete).0.status.success());
    for host in ["mr-42-site.localhost", pinned.as_str()] {
        assert_eq!(server.fetch(host, "/").await.status(), 404, "{host}");
    }
    assert_eq!(server.text("site.localhost", "/").await, "live", "production stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_code_are_previewed_and_a_missing_worker_is_created() {
    let server = Server::new("worker-previews-files");
    let site = server.dir.join("site");
    let config = json!({
        "name": "files", "compatibility_date": "2026-10-01", "previews": {},
        "assets": { "directory": "./dist" }, "workers_dev": false, "preview_urls": true,
    });
    write(&site, &config, "a page");
    // Without them wrangler takes both from the repository around, whose last message may be too long.
    let arguments =
        ["preview", "--name=Feature/New_Home", "--tag=0123456789ab", "--message=a commit"];
    let (made, entries) = wrangler(&server, &site, &arguments);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(entries.last().expect("an entry")["preview_slug"], "feature-new-home");
    let page = server.fetch("feature-new-home-files.localhost", "/").await;
    assert_eq!(page.headers()["x-site"], "yes");
    assert_eq!(page.text().await.expect("text"), "a page");
    assert_eq!(server.fetch("feature-new-home-files.localhost", "/no").await.status(), 404);
    assert_eq!(server.fetch("files.localhost", "/").await.status(), 404, "it was never deployed");
}

#[tokio::test]
async fn refusals_have_cloudflare_s_codes() {
    let server = Server::new("worker-previews-refusals");
    let workers = format!("/accounts/{ACCOUNT}/workers/workers");
    let previews = format!("{workers}/site/previews");
    let (status, missing) = server.get(&format!("{previews}/mr-1")).await;
    assert_eq!((status, code(&missing)), (404, 10_007));
    let body =
        json!({ "name": "site", "subdomain": { "enabled": false, "previews_enabled": false } });
    assert_eq!(server.send(Method::POST, &workers, body.clone()).await.0, 200);
    assert_eq!(server.send(Method::POST, &workers, body).await.0, 409);
    for path in ["mr-1", "mr-1/deployments/latest"] {
        assert_eq!(code(&server.get(&format!("{previews}/{path}")).await.1), 10_025, "{path}");
    }
    let gone = server.send(Method::DELETE, &format!("{previews}/mr-1"), json!({})).await;
    assert_eq!(code(&gone.1), 10_025);
    for name in ["", "a b", "-a", "a/", "\u{e4}"] {
        let (status, _) = server.send(Method::POST, &previews, json!({ "name": name })).await;
        assert_eq!(status, 400, "{name:?}");
    }
    let named = json!({ "name": "mr-1", "observability": { "enabled": true } });
    let (_, made) = server.send(Method::POST, &previews, named.clone()).await;
    assert_eq!(made["result"]["urls"], json!([]), "no addresses where they are off");
    assert_eq!(server.send(Method::POST, &previews, named).await.0, 409);
    assert_eq!(code(&server.get(&format!("{previews}/mr-1/deployments/latest")).await.1), 10_222);
    for name in ["mr-2", "mr-3"] {
        assert_eq!(server.send(Method::POST, &previews, json!({ "name": name })).await.0, 200);
    }
    let (_, page) = server.get(&format!("{previews}?per_page=2&page=2")).await;
    let names: Vec<_> =
        page["result"].as_array().expect("rows").iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["mr-3"]);
}
