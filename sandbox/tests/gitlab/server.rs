//! Starts a separate server for each test and sends its requests.

#[path = "../server/reaper.rs"]
mod reaper;
#[path = "../server/wait.rs"]
pub mod wait;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use self::wait::Wait;

pub const TOKEN: &str = "canary-5b1e";
pub const BOT: &str = "glpat-canary-bot";
pub const ROOT: &str = "/gitlab/api/v4";

/// A server of one test, which ends with the test.
pub struct Server {
    pub child: Child,
    pub dir: PathBuf,
    pub port: u16,
    pub client: reqwest::Client,
}

/// A response.
pub struct ServerResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl ServerResponse {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Checks the status and returns the document.
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

pub fn tool(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

pub fn tokens() -> Value {
    json!([
        { "token": BOT, "kind": "project", "project": 12 },
        { "token": "new-bot", "kind": "project", "project": 12 },
        { "token": "ann", "kind": "personal", "user": "ann", "role": "developer" },
        { "token": "boss", "kind": "personal", "user": "boss" },
        { "token": "guest", "kind": "personal", "user": "guest", "role": "guest" },
        { "token": "reads", "kind": "read_api", "user": "ann" },
        { "token": "job", "kind": "job", "user": "ann", "project": 12 },
        { "token": "old", "kind": "expired", "user": "ann" },
        { "token": "other", "kind": "project", "project": 13 },
    ])
}

impl Server {
    pub fn new(name: &str) -> Server {
        let name = format!("gitlab-{name}-{}-0", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        reaper::watch();
        Server::on(dir, Some(&tokens().to_string()), &[])
    }

    pub fn on(dir: PathBuf, tokens: Option<&str>, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command.arg("serve").arg("--state").arg(&dir).args(["--account-id", &"0".repeat(32)]);
        command.args(["--port", "0", "--gitlab-root", "/gitlab"]).args(arguments);
        command.args(["--bun", &tool("XTASK_BUN"), "--toolchain", &tool("XTASK_TOOLCHAIN")]);
        command.env("SANDBOX_TOKEN", TOKEN).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("SANDBOX_GITLAB_TOKENS", tokens.unwrap_or_default());
        let child = command.spawn().expect("the sandbox runs");
        let mut server = Server { child, dir, port: 0, client: client() };
        let wait = Wait::begin();
        while server.port == 0 {
            wait.pause("the sandbox does not start");
            let file = server.dir.join("server.json");
            let announcement: Value =
                serde_json::from_str(&std::fs::read_to_string(file).unwrap_or_default())
                    .unwrap_or_default();
            if announcement["pid"] == server.child.id() {
                server.port =
                    u16::try_from(announcement["port"].as_u64().expect("a port")).expect("a port");
            }
        }
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: Value,
    ) -> ServerResponse {
        let mut request = self.client.request(method, self.url(path)).header(header.0, header.1);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        ServerResponse { status, headers, text: answer.text().await.expect("text") }
    }

    pub async fn get(&self, path: &str, token: &str) -> ServerResponse {
        self.send(Method::GET, &format!("{ROOT}{path}"), ("private-token", token), Value::Null)
            .await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> ServerResponse {
        self.send(Method::POST, &format!("{ROOT}{path}"), ("private-token", token), body).await
    }

    pub async fn put(&self, path: &str, token: &str, body: Value) -> ServerResponse {
        self.send(Method::PUT, &format!("{ROOT}{path}"), ("private-token", token), body).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> ServerResponse {
        let path = format!("{ROOT}{path}");
        self.send(Method::DELETE, &path, ("private-token", token), Value::Null).await
    }

    /// Opens merge request 42 of project 12. Returns the path of its notes.
    pub async fn open_merge_request(&self) -> String {
        let body = json!({ "iid": 42, "title": "A preview", "source_branch": "feature", "target_branch": "main" });
        let made = self.post("/projects/12/merge_requests", "ann", body).await.is(201);
        assert_eq!((&made["iid"], &made["project_id"]), (&json!(42), &json!(12)));
        assert_ne!(made["id"], made["iid"], "an id in the place of an iid fails");
        "/projects/12/merge_requests/42/notes".to_owned()
    }

    pub async fn note(&self, notes: &str, token: &str, body: &str) -> u64 {
        let made = self.post(notes, token, json!({ "body": body })).await.is(201);
        made["id"].as_u64().expect("an id")
    }

    pub async fn switch(&self, switches: Value) {
        let header = ("authorization", format!("Bearer {TOKEN}"));
        let answer =
            self.send(Method::PUT, "/__sandbox/gitlab", (header.0, &header.1), switches).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
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

pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.build().expect("a client")
}
