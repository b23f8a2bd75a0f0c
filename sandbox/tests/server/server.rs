//! Starts a separate server for each test.

#[path = "reaper.rs"]
pub mod reaper;
#[path = "wait.rs"]
pub mod wait;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::wait::Wait;

/// The account.
pub const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The token, which must turn up nowhere.
pub const TOKEN: &str = "canary-5b1e";

/// The local database of the Hyperdrive binding `DB`. Nothing connects to it.
pub const DATABASE: &str = "postgres://ada:secret@127.0.0.1:5432/shop";

/// A running server, ended with the value.
pub struct Server {
    child: Child,
    /// The folder of its state.
    pub dir: PathBuf,
    /// Its port.
    pub port: u16,
    /// A client that follows no redirects.
    pub client: reqwest::Client,
}

/// `sandbox serve` on `dir`.
pub fn command(dir: &Path, arguments: &[&str]) -> Command {
    command_with(dir, &tool("XTASK_TOOLCHAIN"), arguments)
}

/// `sandbox serve` on `dir` with another toolchain.
pub fn command_with(dir: &Path, toolchain: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("serve").arg("--state").arg(dir);
    command.args(["--account-id", ACCOUNT, "--bun", &tool("XTASK_BUN")]);
    command.args(["--toolchain", toolchain]).args(arguments);
    command.env("CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB", DATABASE);
    command.env("SANDBOX_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn tool(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `cargo xtask test` sets it up"))
}

/// The number of folders so far, because two tests may take the same name.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Creates an empty folder for a test.
pub fn folder(name: &str) -> PathBuf {
    reaper::watch();
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}-{number}", std::process::id()));
    std::fs::remove_dir_all(&dir).unwrap_or_default();
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

fn start(dir: &Path, arguments: &[&str]) -> (Child, u16) {
    let mut command = command(dir, arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let wait = Wait::begin();
    let port = loop {
        let text = std::fs::read_to_string(dir.join("server.json")).unwrap_or_default();
        let server: Value = serde_json::from_str(&text).unwrap_or_default();
        if server["pid"] == child.id() {
            break server["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        }
        wait.pause("the sandbox does not start");
    };
    (child, port.expect("a port"))
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.build().expect("a client")
}

impl Server {
    /// A server without any Worker.
    pub fn new(name: &str) -> Server {
        let dir = folder(name);
        let (child, port) = start(&dir, &[]);
        Server { child, dir, port, client: client() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Kills it, and starts another one on what it left.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills it, and starts another one with these arguments on what it left.
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.kill();
        (self.child, self.port) = start(&self.dir, arguments);
        self.client = client();
    }

    /// Starts another one on what a killed one left.
    pub fn start_again(&mut self) {
        (self.child, self.port) = start(&self.dir, &[]);
        self.client = client();
    }

    /// A request to the API with a token.
    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}/client/v4{path}", self.port);
        self.client.request(method, url).header("authorization", format!("Bearer {token}"))
    }

    /// Status and body of the answer to a request with a JSON body.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        answer(self.request(method, path, TOKEN).body(body.to_string())).await
    }

    /// Status and body of the answer to a GET.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path, TOKEN)).await
    }

    /// Makes a KV namespace, a D1 database and an R2 bucket, and returns what bindings name them by.
    pub async fn storage(&self) -> [String; 3] {
        let account = format!("/accounts/{ACCOUNT}");
        let make = async |path: &str, body: Value, field: &str| {
            let (status, made) = self.send(Method::POST, &format!("{account}/{path}"), body).await;
            assert_eq!(status, 200, "{made}");
            made["result"][field].as_str().expect("an id").to_owned()
        };
        [
            make("storage/kv/namespaces", json!({ "title": "cache" }), "id").await,
            make("d1/database", json!({ "name": "data" }), "uuid").await,
            make("r2/buckets", json!({ "name": "files" }), "name").await,
        ]
    }

    /// Uploads code as a Worker, with these fields of the metadata and further modules.
    pub async fn upload_code(&self, worker: &str, code: &str, fields: Value) -> (u16, Value) {
        let mut metadata = json!({ "main_module": "main.js", "compatibility_date": "2026-01-01" });
        for (name, value) in fields.as_object().into_iter().flatten() {
            metadata[name] = value.clone();
        }
        let path = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}");
        let parts = [
            ("metadata", "application/json", metadata.to_string()),
            ("main.js", "application/javascript+module", code.to_owned()),
        ];
        let parts = parts.each_ref().map(|(name, kind, text)| (*name, *kind, text.as_str()));
        multipart(self.request(Method::PUT, &path, TOKEN), &parts).await
    }

    /// Returns the text of a page at a host.
    pub async fn fetch(&self, host: &str, path: &str) -> reqwest::Response {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let host = format!("{host}:{}", self.port);
        self.client.get(url).header("host", host).send().await.expect("an answer")
    }

    /// The text that a host answers.
    pub async fn text(&self, host: &str, path: &str) -> String {
        self.fetch(host, path).await.text().await.expect("text")
    }

    /// Uploads `content` as the page of a Worker, by `PUT` of the script or as a version.
    pub async fn upload(
        &self,
        worker: &str,
        content: &str,
        as_version: bool,
        annotations: Value,
    ) -> (u16, Value) {
        let jwt = self.assets(worker, content).await;
        let metadata = json!({
            "assets": { "jwt": jwt, "config": { "_headers": "/*\n  x-site: yes\n" } },
            "compatibility_date": "2026-01-01", "annotations": annotations,
        });
        let script = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}");
        let request = if as_version {
            self.request(Method::POST, &format!("{script}/versions"), TOKEN)
        } else {
            self.request(Method::PUT, &script, TOKEN)
        };
        multipart(request, &[("metadata", "application/json", &metadata.to_string())]).await
    }

    /// Uploads one page and returns the token of the finished upload.
    pub async fn assets(&self, worker: &str, content: &str) -> String {
        let text = base64(content);
        let hash = sandbox::state::blobs::asset_hash(&text, "/index.html");
        let size = content.len();
        let manifest = json!({ "manifest": { "/index.html": { "hash": hash, "size": size } } });
        let path = format!("/accounts/{ACCOUNT}/workers/scripts/{worker}/assets-upload-session");
        let (status, session) = self.send(Method::POST, &path, manifest).await;
        assert_eq!(status, 200, "{session}");
        let jwt = session["result"]["jwt"].as_str().expect("a token").to_owned();
        if session["result"]["buckets"] == json!([]) {
            return jwt;
        }
        let (status, done) = self.asset(&jwt, &hash, &text).await;
        assert_eq!(status, 201, "{done}");
        done["result"]["jwt"].as_str().expect("a token").to_owned()
    }

    /// Uploads the base64 text of an asset.
    pub async fn asset(&self, jwt: &str, hash: &str, text: &str) -> (u16, Value) {
        let path = format!("/accounts/{ACCOUNT}/workers/assets/upload?base64=true");
        multipart(self.request(Method::POST, &path, jwt), &[(hash, "text/html", text)]).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that its runtime has ended before the folder under it goes.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(60) && matches!(self.child.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().unwrap_or_default();
        self.child.wait().expect("it ends");
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.dir).unwrap_or_default();
        }
    }
}

/// Sends a multipart body of name, content type and content.
pub async fn multipart(request: RequestBuilder, parts: &[(&str, &str, &str)]) -> (u16, Value) {
    answer(form(request, parts)).await
}

/// Gives a request a multipart body of name, content type and content.
pub fn form(request: RequestBuilder, parts: &[(&str, &str, &str)]) -> RequestBuilder {
    let mut body = String::new();
    for (name, kind, content) in parts {
        body += &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n");
        body += &format!("Content-Type: {kind}\r\n\r\n{content}\r\n");
    }
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    request.body(body + "--b--\r\n")
}

/// Status and JSON of an answer.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// The code of a refusal.
pub fn code(answer: &Value) -> u64 {
    assert_eq!(answer["success"], false, "{answer}");
    answer["errors"][0]["code"].as_u64().unwrap_or_default()
}

/// Text as base64.
pub fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
