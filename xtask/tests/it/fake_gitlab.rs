//! GitLab's notes API on a loopback port, below a relative root: what it answers, with which headers
//! and error bodies, as its documentation and source describe.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// A token with the scope `api`, of user 7.
pub const TOKEN: &str = "glpat-canary-7f3a";
pub const ME: u64 = 7;

const ROOT: &str = "/gitlab/api/v4";
const NOTES: &str = "/projects/12/merge_requests/42/notes";

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: u64,
    pub body: String,
    pub author: u64,
    pub system: bool,
}

pub fn note(id: u64, body: &str) -> Note {
    Note { id, body: body.to_owned(), author: ME, system: false }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    pub method: String,
    /// Below the relative root, with its query.
    pub path: String,
    pub token: String,
}

/// The fault of a request.
#[derive(Clone)]
pub enum Fault {
    /// This answer, and nothing is done.
    Instead(u16, &'static str, &'static str),
    /// It is done, and then this is the answer.
    After(u16, &'static str, &'static str),
    /// It is done, and the connection breaks.
    Disconnect,
    /// Another user changes the notes just before it is done.
    Meanwhile(fn(&mut Vec<Note>)),
}

/// Decides by request and how often its method was seen, from 1.
pub type Faults = fn(&RecordedRequest, usize) -> Option<Fault>;

#[derive(Default)]
struct State {
    notes: Vec<Note>,
    seen: Vec<RecordedRequest>,
    /// Lines that GitLab would have carried out.
    commands: Vec<String>,
}

/// The server. It ends with its value.
pub struct GitLab {
    pub port: u16,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

/// The behaviour of the server.
#[derive(Clone, Copy)]
pub struct Behaviour {
    pub faults: Faults,
    /// The rows of a page, whatever was asked for.
    pub per_page: usize,
    /// The longest delay before and after a request is carried out, in milliseconds.
    pub delay: u64,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { faults: |_, _| None, per_page: 2, delay: 0 }
    }
}

impl GitLab {
    pub fn start(notes: &[Note], behaviour: Behaviour) -> GitLab {
        GitLab::start_with(notes, behaviour, None)
    }

    /// With a certificate.
    pub fn start_tls(tls: ServerConfig) -> GitLab {
        GitLab::start_with(&[], Behaviour::default(), Some(Arc::new(tls)))
    }

    fn start_with(notes: &[Note], behaviour: Behaviour, tls: Option<Arc<ServerConfig>>) -> GitLab {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { notes: notes.to_vec(), ..State::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&state), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in server.incoming().map_while(Result::ok) {
                if shared.1.load(Ordering::SeqCst) {
                    break;
                }
                let state = Arc::clone(&shared.0);
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => serve(stream, &state, behaviour),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("a configuration");
                        serve(StreamOwned::new(connection, stream), &state, behaviour);
                    }
                });
            }
        });
        GitLab { port, state, stop }
    }

    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}{ROOT}", self.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notes(&self) -> Vec<Note> {
        self.state().notes.clone()
    }

    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state().seen.clone()
    }

    /// The methods of requests that change something.
    pub fn writes(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|seen| seen.method)
            .filter(|method| method != "GET")
            .collect()
    }

    /// The variables of a merge request's job.
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        let page = format!("http://127.0.0.1:{}/gitlab/acme/mono", self.port);
        BTreeMap::from([
            ("GITLAB_CI", "true".to_owned()),
            ("CI_API_V4_URL", self.api()),
            ("CI_MERGE_REQUEST_ID", "900042".to_owned()),
            ("CI_MERGE_REQUEST_IID", "42".to_owned()),
            ("CI_MERGE_REQUEST_PROJECT_ID", "12".to_owned()),
            ("CI_MERGE_REQUEST_PROJECT_URL", page),
            ("CI_PROJECT_ID", "12".to_owned()),
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
        let commands = self.state().commands.clone();
        if !std::thread::panicking() {
            assert!(commands.is_empty(), "carried out: {commands:?}");
        }
    }
}

fn serve<S: Read + Write>(stream: S, state: &Mutex<State>, behaviour: Behaviour) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
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
    let length = headers.get("content-length").map_or(0, |text| text.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let token = headers.get("private-token").cloned().unwrap_or_default();
    let path = target.strip_prefix(ROOT).unwrap_or("not below the root").to_owned();
    let seen = RecordedRequest { method: method.clone(), path, token };
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    pause(behaviour.delay);
    let Some((status, headers, text)) = answer(state, &seen, &body, behaviour) else { return };
    pause(behaviour.delay);
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}");
    let stream = reader.get_mut();
    let _closed = write!(stream, "{head}Content-Length: {length}\r\n\r\n{text}")
        .and_then(|()| stream.flush());
}

fn pause(most: u64) {
    use std::hash::{BuildHasher as _, RandomState};
    if most > 0 {
        std::thread::sleep(Duration::from_millis(RandomState::new().hash_one(most) % most));
    }
}

type Answer = (u16, String, String);

fn answer(
    state: &Mutex<State>,
    seen: &RecordedRequest,
    body: &Value,
    behaviour: Behaviour,
) -> Option<Answer> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.seen.push(seen.clone());
    let count = state.seen.iter().filter(|other| other.method == seen.method).count();
    let respond =
        |status, headers: &str, text: &str| Some((status, headers.to_owned(), text.to_owned()));
    match (behaviour.faults)(seen, count) {
        None => Some(handle(&mut state, seen, body, behaviour.per_page)),
        Some(Fault::Instead(status, headers, text)) => respond(status, headers, text),
        Some(Fault::After(status, headers, text)) => {
            handle(&mut state, seen, body, behaviour.per_page);
            respond(status, headers, text)
        }
        Some(Fault::Disconnect) => {
            handle(&mut state, seen, body, behaviour.per_page);
            None
        }
        Some(Fault::Meanwhile(change)) => {
            change(&mut state.notes);
            Some(handle(&mut state, seen, body, behaviour.per_page))
        }
    }
}

fn handle(state: &mut State, seen: &RecordedRequest, body: &Value, per_page: usize) -> Answer {
    let json = |status: u16, value: Value| (status, String::new(), value.to_string());
    let missing = |text: &str| json(404, json!({ "message": text }));
    let read = seen.method == "GET";
    match seen.token.as_str() {
        TOKEN | "glpat-elsewhere" => {}
        "glpat-readonly" if read => {}
        "glpat-readonly" => {
            return json(
                403,
                json!({ "error": "insufficient_scope", "scope": "api",
                        "error_description": "The request requires higher privileges than provided by the access token." }),
            );
        }
        "glpat-expired" => {
            return json(
                401,
                json!({ "error": "invalid_token",
                        "error_description": "Token is expired. You can either do re-authorization or token refresh." }),
            );
        }
        _ => return json(401, json!({ "message": "401 Unauthorized" })),
    }
    if read && seen.path == "/user" {
        return json(200, json!({ "id": ME, "username": "project_12_bot_0a1b" }));
    }
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let Some(rest) = path.strip_prefix(NOTES).filter(|_| seen.token != "glpat-elsewhere") else {
        return missing("404 Project Not Found");
    };
    let text = body["body"].as_str().unwrap_or_default();
    if !read && seen.method != "DELETE" {
        if text.trim().is_empty() {
            return json(400, json!({ "message": "400 (Bad request) \"body\" not given" }));
        }
        if text.chars().count() > 1_000_000 {
            return json(
                400,
                json!({ "message": { "note": ["is too long (maximum is 1000000 characters)"] } }),
            );
        }
        let lines = text.replace('\r', "");
        state
            .commands
            .extend(lines.lines().filter(|line| line.starts_with('/')).map(str::to_owned));
    }
    if rest.is_empty() && read {
        return page(&state.notes, query, per_page);
    }
    if rest.is_empty() && seen.method == "POST" {
        let id = state.notes.iter().map(|note| note.id).max().unwrap_or(0).max(100) + 1;
        state.notes.push(note(id, text));
        return json(201, shape(&note(id, text)));
    }
    let id = rest.trim_start_matches('/').parse::<u64>().ok();
    let Some(index) = state.notes.iter().position(|note| Some(note.id) == id) else {
        return missing("404 Not found");
    };
    match seen.method.as_str() {
        "GET" => json(200, shape(&state.notes[index])),
        "PUT" => {
            state.notes[index].body = text.to_owned();
            json(200, shape(&state.notes[index]))
        }
        "DELETE" => {
            state.notes.remove(index);
            (204, String::new(), String::new())
        }
        _ => (405, String::new(), String::new()),
    }
}

/// One page. Notes that may not be read are cut out after paging.
fn page(notes: &[Note], query: &str, per_page: usize) -> Answer {
    let get =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(get("activity_filter"), Some("only_comments"));
    assert_eq!((get("order_by"), get("sort")), (Some("created_at"), Some("asc")));
    let number: usize = get("page").and_then(|page| page.parse().ok()).unwrap_or(1);
    let rows = notes.iter().skip((number - 1) * per_page).take(per_page);
    let rows: Vec<Value> = rows.filter(|note| note.body != "unreadable").map(shape).collect();
    let next =
        if number * per_page < notes.len() { (number + 1).to_string() } else { String::new() };
    let headers = format!(
        "X-Page: {number}\r\nX-Per-Page: {per_page}\r\nX-Next-Page: {next}\r\n\
         Link: <http://internal.invalid/api/v4/x?page={number}&per_page=9>; rel=\"first\"\r\n"
    );
    (200, headers, Value::from(rows).to_string())
}

fn shape(note: &Note) -> Value {
    let Note { id, body, author, system } = note;
    json!({ "id": id, "type": null, "body": body, "author": { "id": author, "username": "someone" },
        "created_at": "2026-11-24T12:00:00.000Z", "updated_at": "2026-11-24T12:00:00.000Z",
        "system": system, "noteable_id": 900_042, "noteable_iid": 42, "noteable_type": "MergeRequest",
        "project_id": 12, "resolvable": false, "internal": false, "commands_changes": {} })
}
