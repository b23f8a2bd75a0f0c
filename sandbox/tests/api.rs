//! The API as a client meets it: refusals, durability, one server a folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const TOKEN: &str = "canary-5b1e";

/// A server of its own for each test, ended with it.
struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
    client: reqwest::Client,
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let tool = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("serve").arg("--state").arg(dir).args(["--account-id", ACCOUNT]).args(arguments);
    command.args(["--bun", &tool("XTASK_BUN"), "--toolchain", &tool("XTASK_TOOLCHAIN")]);
    command.env("SANDBOX_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Server {
    fn new(name: &str) -> Server {
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        Server::on(dir)
    }

    fn on(dir: PathBuf) -> Server {
        let mut command = command(&dir, &[]);
        let child = command.stdout(Stdio::null()).spawn().expect("the sandbox runs");
        let started = Instant::now();
        let port = loop {
            let text = std::fs::read_to_string(dir.join("server.json")).unwrap_or_default();
            let server: Value = serde_json::from_str(&text).unwrap_or_default();
            if server["pid"] == child.id() {
                break server["port"]
                    .as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .expect("a port");
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the sandbox does not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        Server { child, dir, port, client: reqwest::Client::new() }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/client/v4{path}", self.port);
        let mut request =
            self.client.request(method, url).header("authorization", format!("Bearer {token}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, TOKEN, None).await
    }

    /// Uploads a Worker of one asset, by `PUT` of the script or as a version.
    async fn upload(&self, worker: &str, as_version: bool, annotations: Value) -> (u16, Value) {
        let content = "aGVsbG8=";
        let hash = sandbox::cloudflare::assets::hash_of(content, "/index.html");
        let script = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}");
        let manifest = json!({ "manifest": { "/index.html": { "hash": hash, "size": 5 } } });
        let (status, session) = self
            .send(Method::POST, &format!("{script}/assets-upload-session"), TOKEN, Some(manifest))
            .await;
        assert_eq!(status, 200, "{session}");
        let mut jwt = session["result"]["jwt"].as_str().expect("a token").to_owned();
        if session["result"]["buckets"] != json!([]) {
            let (status, done) = self.asset(&jwt, &hash, content).await;
            assert_eq!(status, 201, "{done}");
            done["result"]["jwt"].as_str().expect("a token").clone_into(&mut jwt);
        }
        let metadata = json!({ "assets": { "jwt": jwt, "config": {} }, "compatibility_date": "2026-01-01", "annotations": annotations });
        let (method, path) = if as_version {
            (Method::POST, format!("{script}/versions"))
        } else {
            (Method::PUT, script)
        };
        self.multipart(method, &path, TOKEN, "metadata", &metadata.to_string()).await
    }

    async fn asset(&self, jwt: &str, hash: &str, content: &str) -> (u16, Value) {
        let path = format!("/accounts/{ACCOUNT}/workers/assets/upload?base64=true");
        self.multipart(Method::POST, &path, jwt, hash, content).await
    }

    async fn multipart(
        &self,
        method: Method,
        path: &str,
        token: &str,
        name: &str,
        content: &str,
    ) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/client/v4{path}", self.port);
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n--b--\r\n"
        );
        let request =
            self.client.request(method, url).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "multipart/form-data; boundary=b").body(body);
        let answer = request.send().await.expect("an answer");
        (
            answer.status().as_u16(),
            serde_json::from_str(&answer.text().await.expect("text")).expect("JSON"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it can be ended");
        self.child.wait().expect("it ends");
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.dir).unwrap_or_default();
        }
    }
}

fn code(answer: &Value) -> u64 {
    answer["errors"][0]["code"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn refusals_are_those_of_the_real_api() {
    let server = Server::new("refusals");
    let scripts = format!("/accounts/{ACCOUNT}/workers/scripts");
    let other = "f".repeat(32);
    for (path, token, status, wanted) in [
        ("/user".to_owned(), "wrong", 403, 10_000),
        ("/user/tokens/verify".to_owned(), "wrong", 401, 1000),
        ("/user".to_owned(), "two words", 400, 6003),
        (format!("/accounts/{other}/workers/subdomain"), TOKEN, 403, 10_000),
        (format!("{scripts}/none/deployments"), TOKEN, 404, 10_007),
        (format!("/accounts/{ACCOUNT}/workers/services/none"), TOKEN, 404, 10_090),
        (format!("/accounts/{ACCOUNT}/no/such/route"), TOKEN, 501, 7000),
    ] {
        let (found, answer) = server.send(Method::GET, &path, token, None).await;
        assert_eq!((found, code(&answer)), (status, wanted), "{path}: {answer}");
        assert_eq!(answer["success"], false);
    }
    assert_eq!(server.upload("none", true, json!({})).await.0, 404, "a version needs its Worker");
    assert_eq!(server.upload("Bad_Name-", false, json!({})).await.0, 400);
    assert_eq!(server.upload("site", false, json!({})).await.0, 200);
    for alias in ["MR_42!", "42", &"a".repeat(60)] {
        let (status, answer) = server.upload("site", true, json!({ "workers/alias": alias })).await;
        assert_eq!(status, 400, "{alias}: {answer}");
    }
    let deployment = |percentage: u32, id: &str| json!({ "strategy": "percentage", "versions": [{ "version_id": id, "percentage": percentage }] });
    let (_, live) = server.get(&format!("{scripts}/site/deployments")).await;
    let id = live["result"]["deployments"][0]["versions"][0]["version_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("{scripts}/site/deployments");
    for (body, wanted) in
        [(deployment(50, &id), 400), (deployment(100, "none"), 404), (deployment(100, &id), 200)]
    {
        assert_eq!(server.send(Method::POST, &path, TOKEN, Some(body)).await.0, wanted);
    }
}

#[tokio::test]
async fn assets_are_checked_against_their_hash_and_session() {
    let server = Server::new("assets");
    let hash = "0".repeat(32);
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/site/assets-upload-session");
    let manifest = json!({ "manifest": { "/index.html": { "hash": hash, "size": 5 } } });
    let (_, session) = server.send(Method::POST, &path, TOKEN, Some(manifest)).await;
    let jwt = session["result"]["jwt"].as_str().expect("a token");
    assert_eq!(server.asset(jwt, &hash, "aGVsbG8=").await.0, 400, "the content has another hash");
    assert_eq!(server.asset(jwt, &"1".repeat(32), "aGVsbG8=").await.0, 400, "not in the manifest");
    assert_eq!(
        server.asset(TOKEN, &hash, "aGVsbG8=").await.0,
        401,
        "the account's token is no session"
    );
    assert_eq!(
        server.asset(&format!("{jwt}x"), &hash, "aGVsbG8=").await.0,
        401,
        "a forged session"
    );
    let metadata = json!({ "assets": { "jwt": jwt } }).to_string();
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    let (status, answer) =
        server.multipart(Method::PUT, &script, TOKEN, "metadata", &metadata).await;
    assert_eq!(status, 400, "an upload that is not finished deploys nothing: {answer}");
    let large = json!({ "manifest": { "/a.bin": { "hash": hash, "size": 26 * 1024 * 1024 } } });
    assert_eq!(server.send(Method::POST, &path, TOKEN, Some(large)).await.0, 413);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let mut server = Server::new("kill");
    for round in 0..5 {
        let (status, answer) =
            server.upload("site", round > 0, json!({ "workers/tag": format!("t{round}") })).await;
        assert_eq!(status, 200, "{answer}");
        server.child.kill().expect("it can be killed");
        server.child.wait().expect("it ends");
        let dir = server.dir.clone();
        let next = Server::on(dir);
        let before = std::mem::replace(&mut server, next);
        std::mem::forget(before);
        let (_, versions) =
            server.get(&format!("/accounts/{ACCOUNT}/workers/scripts/site/versions")).await;
        assert_eq!(versions["result"]["items"].as_array().map(Vec::len), Some(round + 1));
        assert_eq!(
            versions["result"]["items"][0]["annotations"]["workers/tag"],
            format!("t{round}")
        );
    }
    for entry in walk(&server.dir) {
        let bytes = std::fs::read(&entry).expect("a file");
        assert!(!String::from_utf8_lossy(&bytes).contains(TOKEN), "{}", entry.display());
    }
}

#[tokio::test]
async fn one_server_a_folder_and_a_taken_port_is_named() {
    let server = Server::new("single");
    let second = command(&server.dir, &[]).output().expect("it runs");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stdout).contains("another sandbox serves"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let third = command(&server.dir.join("third"), &["--port", &port]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&third.stdout).contains(&format!("the port {port} is taken")));
}

#[tokio::test]
async fn faults_are_played_as_often_as_asked() {
    let server = Server::new("faults");
    let url = format!("http://127.0.0.1:{}/__sandbox/faults", server.port);
    let faults = json!([{ "path": "/user", "times": 2, "action": { "answer": { "status": 502, "body": "{\"bad\":true}" } } }]).to_string();
    let ask = |token: &str| {
        let request = server.client.post(&url).header("authorization", format!("Bearer {token}"));
        request.header("content-type", "application/json").body(faults.clone()).send()
    };
    assert_eq!(ask("wrong").await.expect("an answer").status(), 403);
    assert_eq!(ask(TOKEN).await.expect("an answer").status(), 204);
    let statuses =
        [server.get("/user").await.0, server.get("/user").await.0, server.get("/user").await.0];
    assert_eq!(statuses, [502, 502, 200]);
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder").filter_map(Result::ok);
    entries
        .flat_map(
            |entry| {
                if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] }
            },
        )
        .collect()
}
