//! The sandbox's GitLab below a relative root, behind a proxy that records requests and injects the faults that depend on
//! them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::http;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::wait::max_wait;
use crate::support::{CANARY, TestEnv};

/// The token of the bot that comments, with the scope `api`.
pub const TOKEN: &str = "glpat-canary-7f3a";

/// The token of another user, who opens merge requests.
pub const PERSON: &str = "glpat-canary-person";

/// The token of a job.
pub const JOB: &str = "glcbt-canary-job";

/// The relative root of the instance.
const ROOT: &str = "/gitlab";

/// The project of merge requests.
const PROJECT: &str = "12";

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: u64,
    pub body: String,
    /// `true` if the bot wrote it.
    pub is_ours: bool,
}

/// A comment to write.
#[derive(Clone)]
pub struct NewNote {
    body: String,
    token: &'static str,
    is_unreadable: bool,
}

/// A comment of the bot.
pub fn ours(body: impl Into<String>) -> NewNote {
    NewNote { body: body.into(), token: TOKEN, is_unreadable: false }
}

/// A comment of another user.
pub fn theirs(body: impl Into<String>) -> NewNote {
    NewNote { token: PERSON, ..ours(body) }
}

/// A comment that its page counts and leaves out.
pub fn unreadable() -> NewNote {
    NewNote { is_unreadable: true, ..theirs("by people") }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    pub method: String,
    /// Below the API's root, with its query.
    pub path: String,
    pub token: String,
}

/// The fault of a request.
#[derive(Clone, Copy)]
pub enum Fault {
    /// This answer, and nothing is done.
    Instead(u16, &'static str, &'static str),
    /// It is done, and then this is the answer.
    After(u16, &'static str, &'static str),
    /// It is done, and the connection breaks.
    Disconnect,
    /// Another job changes the notes just before it is done.
    Meanwhile(fn(&MergeRequest)),
}

/// Decides by request and how often its method was seen, from 1.
pub type Faults = fn(&RecordedRequest, usize) -> Option<Fault>;

/// The behaviour of the proxy.
#[derive(Clone, Copy)]
pub struct Behaviour {
    pub faults: Faults,
    /// The rows of a page, instead of the requested number.
    pub per_page: usize,
    /// The longest delay before and after a request is carried out, in milliseconds.
    pub delay: u64,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { faults: |_, _| None, per_page: 2, delay: 0 }
    }
}

/// A running sandbox.
pub struct Sandbox {
    _env: TestEnv,
    port: u16,
    merge_requests: AtomicU64,
    unreadable: Mutex<Vec<u64>>,
}

impl Sandbox {
    pub fn start() -> Sandbox {
        let env = TestEnv::with_tools();
        let tokens = json!([
            { "token": TOKEN, "kind": "project", "project": 12 },
            { "token": PERSON, "kind": "personal", "user": "ada" },
            { "token": JOB, "kind": "job", "user": "ada" },
            { "token": "glpat-readonly", "kind": "read_api", "user": "ada" },
            { "token": "glpat-expired", "kind": "expired", "user": "ada" },
            { "token": "glpat-elsewhere", "kind": "project", "project": 13 },
        ]);
        let variables = [
            ("SANDBOX_GITLAB_TOKENS", tokens.to_string()),
            ("SANDBOX_GITLAB_ROOT", ROOT.to_owned()),
            // A disk that is busy must not decide which of many jobs writes last.
            ("SANDBOX_NO_SYNC", "1".to_owned()),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        env.xtask_with(&["sandbox", "up"], &variables).exits(0);
        let sandbox = Sandbox {
            port: env.port(),
            _env: env,
            merge_requests: AtomicU64::new(41),
            unreadable: Mutex::default(),
        };
        sandbox.set_up_limits();
        sandbox
    }

    /// Opens a merge request with these notes, and returns it behind a proxy.
    pub fn merge_request(&self, notes: &[NewNote], behaviour: Behaviour) -> GitLab {
        self.start_proxy(notes, behaviour, None)
    }

    /// The same, with a certificate.
    pub fn merge_request_with_tls(&self, tls: ServerConfig) -> GitLab {
        self.start_proxy(&[], Behaviour::default(), Some(Arc::new(tls)))
    }

    fn start_proxy(
        &self,
        notes: &[NewNote],
        behaviour: Behaviour,
        tls: Option<Arc<ServerConfig>>,
    ) -> GitLab {
        let iid = self.merge_requests.fetch_add(1, Ordering::SeqCst) + 1;
        let merge_request = MergeRequest { port: self.port, iid };
        let branch = format!("branch-{iid}");
        let opened =
            json!({ "iid": iid, "source_branch": branch, "target_branch": "main", "title": "T" });
        merge_request.post(PERSON, &format!("projects/{PROJECT}/merge_requests"), &opened);
        for note in notes {
            let id = merge_request.create(note.token, &note.body);
            if note.is_unreadable {
                lock(&self.unreadable).push(id);
            }
        }
        if notes.iter().any(|note| note.is_unreadable) {
            self.set_up_limits();
        }
        GitLab::start(merge_request, behaviour, tls)
    }

    /// Creates a deployment of `commit`.
    pub fn deploy(&self, project: &str, commit: &str, status: &str) {
        let body = json!({ "environment": "production", "sha": commit, "ref": "main", "tag": false, "status": status });
        let direct = MergeRequest { port: self.port, iid: 0 };
        direct.post(PERSON, &format!("projects/{project}/deployments"), &body);
    }

    /// Returns a proxy for requests that are not about a merge request.
    pub fn proxy(&self, faults: Faults) -> GitLab {
        let direct = MergeRequest { port: self.port, iid: 0 };
        GitLab::start(direct, Behaviour { faults, per_page: 100, ..Behaviour::default() }, None)
    }

    fn set_up_limits(&self) {
        let unreadable = lock(&self.unreadable).clone();
        let body = json!({ "notes_per_minute": 100_000, "unreadable": unreadable }).to_string();
        let headers = BTreeMap::from([
            ("authorization".to_owned(), format!("Bearer {CANARY}")),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-length".to_owned(), body.len().to_string()),
        ]);
        let (method, target) = ("PUT".to_owned(), "/__sandbox/gitlab".to_owned());
        let request = Request { method, target, headers, body: body.into_bytes() };
        let answer = request.send(self.port);
        assert!(answer.starts_with(b"HTTP/1.1 204 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// A merge request, without the proxy.
#[derive(Clone)]
pub struct MergeRequest {
    port: u16,
    iid: u64,
}

impl MergeRequest {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v4/{path}", self.port)
    }

    fn path(&self) -> String {
        format!("projects/{PROJECT}/merge_requests/{}", self.iid)
    }

    fn post(&self, token: &str, path: &str, body: &Value) -> Value {
        let agent = http::agent(max_wait(), 0);
        let answer = http::post(&agent, &self.url(path), &[("PRIVATE-TOKEN", token)], body);
        let answer = answer.expect("an answer");
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 201, "{path} {body}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    fn get(&self, path: &str) -> Value {
        let agent = http::agent(max_wait(), 0);
        let answer = http::get(&agent, &self.url(path), &[("PRIVATE-TOKEN", PERSON)]);
        serde_json::from_slice(&answer.expect("an answer").body).expect("JSON")
    }

    /// Writes a note and returns its id.
    pub fn create(&self, token: &str, body: &str) -> u64 {
        let note = self.post(token, &format!("{}/notes", self.path()), &json!({ "body": body }));
        note["id"].as_u64().expect("an id")
    }

    /// Deletes the notes of the bot.
    pub fn delete_ours(&self) {
        for note in self.notes().into_iter().filter(|note| note.is_ours) {
            let url = self.url(&format!("{}/notes/{}", self.path(), note.id));
            let agent = http::agent(max_wait(), 0);
            let answer = http::delete(&agent, &url, &[("PRIVATE-TOKEN", TOKEN)]);
            assert_eq!(answer.expect("an answer").status, 204);
        }
    }

    /// Returns the comments that can be read, oldest first.
    pub fn notes(&self) -> Vec<Note> {
        let query = "activity_filter=only_comments&sort=asc&per_page=100";
        let list = self.get(&format!("{}/notes?{query}", self.path()));
        let rows = list.as_array().expect("a list").iter();
        let note = |row: &Value| Note {
            id: row["id"].as_u64().expect("an id"),
            body: row["body"].as_str().expect("text").to_owned(),
            is_ours: row["author"]["username"].as_str().is_some_and(|name| name.contains("_bot_")),
        };
        rows.map(note).collect()
    }
}

#[derive(Default)]
struct State {
    seen: Vec<RecordedRequest>,
    /// Lines that GitLab would carry out.
    commands: Vec<String>,
}

/// The proxy. It ends with its value.
pub struct GitLab {
    pub port: u16,
    merge_request: MergeRequest,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl GitLab {
    fn start(
        merge_request: MergeRequest,
        behaviour: Behaviour,
        tls: Option<Arc<ServerConfig>>,
    ) -> GitLab {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("an address").port();
        let (state, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let proxy = Arc::new(Proxy {
            merge_request: merge_request.clone(),
            behaviour,
            state: Arc::clone(&state),
        });
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in server.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (proxy, tls) = (Arc::clone(&proxy), tls.clone());
                std::thread::spawn(move || match tls {
                    None => proxy.serve(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("a configuration");
                        proxy.serve(StreamOwned::new(connection, stream));
                    }
                });
            }
        });
        GitLab { port, merge_request, state, stop }
    }

    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}{ROOT}/api/v4", self.port)
    }

    /// The number of the merge request.
    pub fn iid(&self) -> String {
        self.merge_request.iid.to_string()
    }

    pub fn notes(&self) -> Vec<Note> {
        self.merge_request.notes()
    }

    /// The texts of the notes, with `true` for those of the bot.
    pub fn texts(&self) -> Vec<(String, bool)> {
        self.notes().into_iter().map(|note| (note.body, note.is_ours)).collect()
    }

    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.state).seen.clone()
    }

    /// The methods of requests that change something.
    pub fn writes(&self) -> Vec<String> {
        let methods = self.requests().into_iter().map(|seen| seen.method);
        methods.filter(|method| method != "GET").collect()
    }

    /// The variables of a merge request's job.
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        let page = format!("http://127.0.0.1:{}{ROOT}/acme/mono", self.port);
        BTreeMap::from([
            ("GITLAB_CI", "true".to_owned()),
            ("CI_API_V4_URL", self.api()),
            ("CI_MERGE_REQUEST_ID", "900042".to_owned()),
            ("CI_MERGE_REQUEST_IID", self.iid()),
            ("CI_MERGE_REQUEST_PROJECT_ID", PROJECT.to_owned()),
            ("CI_MERGE_REQUEST_PROJECT_URL", page),
            ("CI_PROJECT_ID", PROJECT.to_owned()),
            ("CI_COMMIT_SHA", "0123456789abcdef".to_owned()),
            ("CI_PIPELINE_ID", "77".to_owned()),
            ("CI_JOB_URL", "https://gitlab.example.com/acme/mono/-/jobs/7".to_owned()),
            ("CI_JOB_TOKEN", "eyJ.job.token".to_owned()),
            ("CICD_COMMENT_TOKEN", TOKEN.to_owned()),
        ])
    }
}

impl Drop for GitLab {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _wake = TcpStream::connect(("127.0.0.1", self.port));
        let commands = lock(&self.state).commands.clone();
        if !std::thread::panicking() {
            assert!(commands.is_empty(), "carried out: {commands:?}");
        }
    }
}

/// The parts of the proxy that all its connections share.
struct Proxy {
    merge_request: MergeRequest,
    behaviour: Behaviour,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    fn serve<S: Read + Write>(&self, stream: S) {
        let mut reader = BufReader::new(stream);
        let Some(mut request) = Request::read(&mut reader) else { return };
        let rows = format!("per_page={}", self.behaviour.per_page);
        request.target = request.target.replace("per_page=100", &rows);
        pause(self.behaviour.delay);
        let Some(answer) = self.answer(&request) else { return };
        pause(self.behaviour.delay);
        let stream = reader.get_mut();
        let _closed = stream.write_all(&answer).and_then(|()| stream.flush());
    }

    /// Returns the whole answer. `None` breaks the connection.
    fn answer(&self, request: &Request) -> Option<Vec<u8>> {
        let fault = {
            let mut state = lock(&self.state);
            let seen = request.to_record();
            let same = state.seen.iter().filter(|other| other.method == seen.method).count();
            state.seen.push(seen.clone());
            state.commands.extend(request.commands());
            (self.behaviour.faults)(&seen, same + 1)
        };
        let forward = || request.send(self.merge_request.port);
        let own = |status: u16, headers: &str, text: &str| {
            let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}");
            Some(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes())
        };
        match fault {
            None => Some(forward()),
            Some(Fault::Instead(status, headers, text)) => own(status, headers, text),
            Some(Fault::After(status, headers, text)) => {
                forward();
                own(status, headers, text)
            }
            Some(Fault::Disconnect) => {
                forward();
                None
            }
            Some(Fault::Meanwhile(change)) => {
                change(&self.merge_request);
                Some(forward())
            }
        }
    }
}

/// A request with its body.
struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Returns `None` if the client sends none.
    fn read(reader: &mut impl BufRead) -> Option<Request> {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.is_empty() {
            return None;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length =
            headers.get("content-length").map_or(0, |text| text.parse().expect("a length"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        Some(Request { method, target, headers, body })
    }

    /// Sends it to the sandbox and returns the answer.
    fn send(&self, port: u16) -> Vec<u8> {
        let mut server = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let is_of_connection = |name: &str| ["host", "connection"].contains(&name);
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_of_connection(name)) {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("host: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        server.write_all(&[head.as_bytes(), &self.body].concat()).expect("written");
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).expect("an answer");
        answer
    }

    fn to_record(&self) -> RecordedRequest {
        let path = self.target.strip_prefix(ROOT).and_then(|path| path.strip_prefix("/api/v4"));
        let header = |name: &str| self.headers.get(name).cloned();
        RecordedRequest {
            method: self.method.clone(),
            path: path.unwrap_or("not below the root").to_owned(),
            token: header("private-token").or_else(|| header("job-token")).unwrap_or_default(),
        }
    }

    /// Returns the lines of a note that GitLab would carry out.
    fn commands(&self) -> Vec<String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = body["body"].as_str().unwrap_or_default().replace('\r', "");
        text.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pause(most: u64) {
    use std::hash::{BuildHasher as _, RandomState};
    if most > 0 {
        std::thread::sleep(Duration::from_millis(RandomState::new().hash_one(most) % most));
    }
}
