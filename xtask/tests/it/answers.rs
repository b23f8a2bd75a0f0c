//! Answers of GitLab, Cloudflare, wrangler and the Dagger module that are not what they should be: no
//! panic, no endless loop, nothing that steers a terminal, an error that says who answered.
//!
//! Real answers are changed in one place. What was once found is kept in `tests/cases/answers/`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::http::{self, HttpResponse};
use base::retry::RetryBudget;
use base::runner::ExitReason;
use base::secret::Secret;
use cloudflare::api::Api;
use cloudflare::wrangler::{UploadKind, WranglerOutcome, parse_outcome, urls};
use cloudflare::wrangler_fields::ConfigSchema;
use deployment::engine::upload::container_results::AttemptResult;
use deployment::engine::upload::dagger::module_record;
use gitlab::api::request::{Client, Reply};
use gitlab::api::request_error::RequestError;
use gitlab::api::{Notes, User, leftovers, paging, variables};
use gitlab::ci::CiVariables;
use gitlab::deployments::Deployments;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};
use workspace::strategy::Strategy as PreviewStrategy;

use crate::hostile::{any_json, any_text, replace};
use crate::support::wait::max_wait;
use crate::support::{CANARY, Ran, TestEnv};

/// The most that an error may say, in bytes.
const LONGEST: usize = 2000;

/// Answers as they are, each with whose it is.
fn real() -> Vec<(String, Value)> {
    let all = serde_json::from_str(include_str!("../cases/answers/real.json"));
    all.expect("pairs")
}

/// A response that caused a bug: a text with its repetitions, `LONG` for a long one, and headers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HarmfulAnswer {
    #[serde(rename = "about")]
    _about: String,
    of: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    times: Option<usize>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

fn harmful_answers() -> Vec<HarmfulAnswer> {
    let all = serde_json::from_str(include_str!("../cases/answers/found.json"));
    all.expect("a list")
}

impl HarmfulAnswer {
    fn answer(&self) -> Answer {
        let body = self.body.replace("LONG", &"long ".repeat(5000));
        let body = body.repeat(self.times.unwrap_or(1)).into_bytes();
        Answer { status: 200, headers: self.headers.clone(), body }
    }
}

/// Returns `base` with one fault.
fn with_fault(base: &Value, how: usize, at: usize, other: &Value) -> Vec<u8> {
    let raw = |text: &str| {
        let marked = replace(base, at, &json!("\u{0}here")).to_string();
        marked.replace("\"\\u0000here\"", text).into_bytes()
    };
    match how % 9 {
        0 => replace(base, at, other).to_string().into_bytes(),
        1 => raw("1e999"),
        2 => raw("18446744073709551616"),
        3 => raw(&"[".repeat(200)),
        4 => replace(base, at, &json!("\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\r\n"))
            .to_string()
            .into_bytes(),
        5 => replace(base, at, &json!("é\u{1f511}".repeat(20_000))).to_string().into_bytes(),
        6 => {
            let mut bytes = base.to_string().into_bytes();
            bytes.truncate(at % bytes.len());
            bytes
        }
        7 => {
            let mut bytes = base.to_string().into_bytes();
            let at = at % bytes.len();
            bytes.splice(at..at, [0xff, 0xc0, 0x00]);
            bytes
        }
        _ => raw("null"),
    }
}

/// The output of a run of wrangler or of the module.
fn judge(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for expected in [UploadKind::Deployment, UploadKind::Version, UploadKind::Preview] {
        for ended in
            [ExitReason::Code(0), ExitReason::Code(1), ExitReason::Signal(9), ExitReason::Deadline]
        {
            match parse_outcome(expected, ended, &text) {
                WranglerOutcome::Done { targets, version, .. } => {
                    assert!(
                        ended == ExitReason::Code(0),
                        "{version} was made by a run that failed"
                    );
                    drop(urls(&targets));
                }
                WranglerOutcome::Failed { reason, .. } => {
                    assert!(reason.contains("wrangler"), "{reason}");
                }
            }
        }
    }
    for strategy in [None, Some(PreviewStrategy::Alias), Some(PreviewStrategy::Preview)] {
        if let AttemptResult::Failed(_) = module_record(&text, "n", strategy) {
            assert!(text.contains("exitCode"), "{text}");
        }
    }
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Ok(schema) = serde_json::from_str::<ConfigSchema>(&text) {
        drop(schema.unknown_fields(&value));
    }
}

fn header_map(pairs: &[(String, String)]) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    pairs.iter().filter_map(pair).collect()
}

/// The headers of a response.
fn read_headers(headers: &HeaderMap) {
    let _read = (paging::next(headers), http::retry_after(headers));
    assert!(paging::rate_limit_wait(headers, 1_795_525_199) >= Duration::from_secs(1));
}

fn any_header() -> impl Strategy<Value = (String, String)> {
    const NAMES: [&str; 6] =
        ["x-next-page", "link", "retry-after", "date", "ratelimit-reset", "content-type"];
    let number =
        prop_oneof![any::<u64>().prop_map(|n| n.to_string()), "[0-9]{1,30}", "-?[0-9]{1,3}"];
    let date = (number.clone(), number.clone(), number.clone())
        .prop_map(|(day, hour, second)| format!("Sun, {day} Nov 1994 {hour}:{hour}:{second} GMT"));
    let link = (any_text(), number.clone())
        .prop_map(|(text, page)| format!("<{text}?page={page}>; rel=\"next\", <>; rel=next"));
    let value = prop_oneof![number, date, link, any_text()];
    (proptest::sample::select(&NAMES), value).prop_map(|(name, value)| (name.to_owned(), value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn classifies_arbitrary_output_of_a_run(
        which in any::<proptest::sample::Index>(), how in any::<usize>(), at in any::<usize>(), other in any_json(), text in any_text(),
    ) {
        let real = real();
        let bytes = with_fault(&which.get(&real).1, how, at, &other);
        judge(&bytes);
        judge(&[text.as_bytes(), b"\n", &bytes, b"\n", other.to_string().as_bytes()].concat());
        let reply = Reply { request: "GET /x".into(), response: HttpResponse { status: 500, body: bytes, ..HttpResponse::default() } };
        for problem in [RequestError::unexpected_status(&reply), RequestError::unexpected_shape(&reply, &text)] {
            let message = problem.to_string();
            prop_assert!(message.starts_with("GET /x: GitLab answered 500") && message.len() < LONGEST, "{message}");
        }
    }

    #[test]
    fn headers_of_any_content_are_read(headers in prop::collection::vec(any_header(), 0..4)) {
        read_headers(&header_map(&headers));
    }
}

#[test]
fn reads_responses_that_once_failed() {
    for found in harmful_answers() {
        let answer = found.answer();
        judge(&answer.body);
        read_headers(&header_map(&answer.headers));
    }
}

/// An answer as it goes over the wire.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A server that gives every request the same answer. `{next}` in a header is the number of the page
/// after the one that was asked for.
struct Server {
    address: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    /// The process that a program may take for this server, and end.
    process: Child,
    /// The lock of the sandbox's state, as a sandbox holds it.
    lock: Option<File>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().expect("it ends");
    }
}

/// The secret of the sandbox that the server says it is.
const IDENTITY: &str = "identity-of-a-test";

/// Returns the response of a real sandbox that is asked to prove who it is.
fn proof(port: u16, nonce: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, IDENTITY.as_bytes());
    let message = format!("sandbox-proof-1:{port}:{nonce}");
    let proof = workspace::key::hex(ring::hmac::sign(&key, message.as_bytes()).as_ref());
    json!({ "proof": proof }).to_string()
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let port = address.port();
        let address = format!("http://{address}");
        let answer = Answer { status: 200, headers: Vec::new(), body: Vec::new() };
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (given, count) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut seen: Vec<u8> = Vec::new();
                let mut part = [0; 4096];
                while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(read) if read > 0 => seen.extend(&part[..read]),
                        _ => break,
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                let line = String::from_utf8_lossy(&seen);
                let line = line.lines().next().unwrap_or_default();
                let page = line.split(['?', '&', ' ']).find_map(|word| word.strip_prefix("page="));
                let next = page.and_then(|page| page.parse::<u64>().ok()).unwrap_or(0) + 1;
                let Answer { status, headers, body } = given.lock().expect("no panic").clone();
                let nonce = line.split(['/', ' ']).skip_while(|word| *word != "proof").nth(1);
                let body = nonce.map_or(body, |nonce| proof(port, nonce).into_bytes());
                let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
                for (name, value) in &headers {
                    head += &format!("{name}: {}\r\n", value.replace("{next}", &next.to_string()));
                }
                head += &format!("Content-Length: {}\r\n\r\n", body.len());
                let _gone = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        let process = Command::new("sleep").arg("3600").spawn().expect("it starts");
        Server { address, answer, asked, process, lock: None }
    }

    /// Gives this answer from now on.
    fn says(&self, answer: &Answer) {
        *self.answer.lock().expect("no panic") = answer.clone();
        self.asked.store(0, Ordering::SeqCst);
    }

    fn request_count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The requests to GitLab, with the result of each.
fn ask_gitlab(server: &Server) -> Vec<base::error::Result<()>> {
    let agent = http::agent(max_wait(), 0);
    let retry_budget = RetryBudget::new(|_| {}).with_sleep(|_| true);
    let base = format!("{}/api/v4", server.address);
    let client = Client::new(&base, Secret::new("token"), agent, &retry_budget).expect("a client");
    let notes =
        Notes::with_user(&client, "12", "42", User { id: 7, username: String::new() }, |_| true);
    let deployments = Deployments::from_ci(&CiVariables {
        api_v4_url: Some(base.clone()),
        project_id: Some("12".to_owned()),
        job_token: Some(Secret::new("12")),
        ..CiVariables::default()
    });
    vec![
        Notes::whoami(&client).map(drop),
        notes.ours().map(drop),
        notes.note(1).map(drop),
        notes.create("x", 1).map(drop),
        notes.edit(1, "x", 1).map(drop),
        notes.delete(1).map(drop),
        leftovers::list_finished(&client, "12", "2026-11-24T12:59:59Z").map(drop),
        leftovers::list_by_number(&client, "12", &[41, 42].into()).map(drop),
        leftovers::state(&client, "12", 42).map(drop),
        leftovers::available(&client, "12").map(drop),
        leftovers::stop(&client, "12", 3),
        variables::list(&client, "12").map(drop),
        deployments.expect("variables").last_successful("production", &retry_budget).map(drop),
    ]
}

/// The same for Cloudflare.
fn ask_cloudflare(server: &Server) -> Vec<base::error::Result<()>> {
    let token = Secret::new("token");
    let base = format!("{}/client/v4", server.address);
    let api = Api::new(&base, "account", &token).within(Duration::from_secs(20));
    vec![
        api.token_kind().map(drop),
        api.live("w").map(drop),
        api.versions("w").map(drop),
        api.deployments("w").map(drop),
        api.address("w").map(drop),
        api.preview_suffix("w").map(drop),
        api.deploy("w", &[("v", 100.0)], "m"),
        api.preview("w", "p").map(drop),
        api.preview_names("w").map(drop),
        api.preview_deployment("w", "p").map(drop),
        api.delete_preview("w", "p").map(drop),
    ]
}

/// Puts every question, each of which ends with an answer or a short error that says who failed.
fn ask(server: &Server, answer: &Answer) {
    server.says(answer);
    let gitlab = ask_gitlab(server);
    // Every list has its own end, whatever the headers say: 1000 pages of notes are the most.
    assert!(server.request_count() < 2500, "{} requests", server.request_count());
    let cloudflare = ask_cloudflare(server);
    for (who, outcomes) in [("GitLab", gitlab), ("Cloudflare", cloudflare)] {
        for error in outcomes.into_iter().filter_map(Result::err) {
            let message = format!("{error:#}");
            assert!(message.len() < LONGEST, "{who}: {} bytes: {message:.300}", message.len());
            let named = ["GitLab", "Cloudflare", "GET ", "POST ", "answer", "token", "reach"];
            assert!(named.iter().any(|word| message.contains(word)), "{who}: {message}");
        }
    }
}

#[test]
fn a_list_of_versions_is_read_to_its_end() {
    let server = Server::start();
    let token = Secret::new("token");
    let base = format!("{}/client/v4", server.address);
    let api = Api::new(&base, "account", &token).within(Duration::from_secs(20));
    // Each page of this server is the first one.
    for (count, size, requests) in [(3, 10, 1), (10, 10, 2), (100, 100, 1), (101, 101, 1)] {
        let items: Vec<_> = (0..count).map(|id| json!({ "id": format!("v{id}") })).collect();
        let body = json!({ "success": true, "result": { "items": items }, "result_info": { "per_page": size } });
        let body = body.to_string().into_bytes();
        server.says(&Answer { status: 200, headers: Vec::new(), body });
        let versions = api.versions("w").expect("a list");
        assert_eq!((versions.len(), server.request_count()), (count.min(100), requests));
    }
}

#[test]
fn arbitrary_responses_are_errors_at_worst() {
    let server = Server::start();
    let mut runner = TestRunner::deterministic();
    let (any, header) = (any_json(), any_header());
    let headers = [
        ("x-next-page", "1"),
        ("x-next-page", "{next}"),
        ("x-next-page", "0"),
        ("x-next-page", "-1"),
        ("x-next-page", "99999999999999999999"),
        ("link", "<http://elsewhere.invalid/?page={next}>; rel=\"next\""),
        ("link", "<?page=1>; rel=next, <?page=2>; rel=next"),
        ("content-type", "text/html; charset=utf-16"),
    ];
    for (name, value) in headers {
        let headers = vec![(name.to_owned(), value.to_owned())];
        ask(&server, &Answer { status: 200, headers: headers.clone(), body: b"[]".to_vec() });
        for (_, base) in real().iter().filter(|_| !value.contains("{next}")) {
            let body = base.to_string().into();
            ask(&server, &Answer { status: 200, headers: headers.clone(), body });
        }
    }
    for (index, (_, base)) in real().iter().enumerate() {
        for how in 0..9 {
            let other = any.new_tree(&mut runner).expect("a value").current();
            let (name, value) = header.new_tree(&mut runner).expect("a header").current();
            let fits = HeaderValue::from_bytes(value.as_bytes()).is_ok() && name != "link";
            let headers = fits.then_some((name, value)).into_iter().collect();
            let body = with_fault(base, how, index * 7 + how * 31, &other);
            let status = [200, 201, 404, 429, 500][(index + how) % 5];
            ask(&server, &Answer { status, headers, body });
        }
    }
    for found in harmful_answers() {
        ask(&server, &found.answer());
    }
}

/// Nothing that the real program prints steers the terminal, and it ends as it says it does.
fn calm(ran: &Ran) {
    let text = ran.stdout.clone() + &ran.stderr;
    let steers = |c: char| c != '\n' && c != '\t' && base::text::is_control_or_bidi(c);
    assert!(!text.contains(steers) && !text.contains("panicked"), "{text:?}");
    assert!([0, 1, 3, 4].contains(&ran.code), "{}: {text}", ran.code);
}

/// A repository whose sandbox is this server.
fn stage() -> (TestEnv, Server) {
    let env = TestEnv::new();
    env.site("projects/a", "a");
    env.commit("site");
    let mut server = Server::start();
    let port = server.address.rsplit_once(':').expect("a port").1;
    let running = json!({ "pid": server.process.id(), "port": port.parse::<u16>().expect("a port"),
        "url": server.address, "started": "2026-11-24T12:59:59Z" });
    env.write(".xtask/sandbox/server.json", &running.to_string());
    let lock = File::create(env.root.join(".xtask/sandbox/lock")).expect("a file");
    lock.lock().expect("a lock");
    server.lock = Some(lock);
    env.write(".xtask/sandbox/identity", IDENTITY);
    let identity = env.root.join(".xtask/sandbox/identity");
    std::fs::set_permissions(identity, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    (env, server)
}

/// A server may send back what it was sent, in a message, at the place where a message is cut, or encoded.
#[test]
fn redacts_a_token_that_a_server_echoes() {
    let (env, server) = stage();
    let gitlab = "glpat-canary-7f3a-of-gitlab";
    let api = format!("{}/api/v4", server.address);
    let job = [
        ("GITLAB_CI", "true"),
        ("CI_API_V4_URL", api.as_str()),
        ("CI_MERGE_REQUEST_IID", "42"),
        ("CI_MERGE_REQUEST_PROJECT_ID", "12"),
        ("CI_PROJECT_ID", "12"),
        ("CICD_COMMENT_TOKEN", gitlab),
    ];
    env.write("rows.json", r#"[{ "project": "a", "status": "ready" }]"#);
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02X}")).collect() };
    for token in [CANARY, gitlab] {
        let message = [
            format!("not allowed: Authorization: Bearer {token}"),
            // Cut in the middle of the token.
            format!("{}{token}", "x".repeat(290)),
            format!("{}\u{200b}{}", &token[..9], &token[9..]),
            base64(&format!("Bearer {token}")),
            hex(token),
            serde_json::json!({ "token": token }).to_string(),
        ];
        for (status, text) in
            message.iter().flat_map(|text| [(401, text), (403, text), (418, text)])
        {
            let body = serde_json::json!({ "success": false, "message": text, "error": text, "result": null,
                "errors": [{ "code": 1, "message": text }] });
            let body = body.to_string().into_bytes();
            server.says(&Answer {
                status,
                headers: vec![("Location".into(), text.replace('\n', " "))],
                body,
            });
            let known = [("CICD_COMMENT_TOKEN", gitlab)];
            let runs = [
                env.xtask_with(&["status", "--env", "local"], &known),
                env.xtask_with(&["status", "--env", "local", "--json"], &known),
                env.xtask_with(&["rollback", "a", "--json"], &known),
                env.xtask_with(&["doctor", "sandbox", "--json"], &known),
                env.xtask_with(&["comment", "rows.json"], &job),
                env.xtask_with(&["comment", "rows.json", "--json"], &job),
            ];
            assert!(server.request_count() > 3, "{}", server.request_count());
            env.assert_no_canary(&runs.iter().collect::<Vec<_>>());
        }
    }
    std::fs::remove_file(env.root.join(".xtask/sandbox/server.json")).expect("removable");
}

fn base64(text: &str) -> String {
    let mut sh = Command::new("sh");
    sh.args(["-c", "printf %s \"$TEXT\" | base64 -w0"]).env("TEXT", text);
    String::from_utf8(sh.output().expect("base64 runs").stdout).expect("text")
}

#[test]
fn the_program_never_panics_on_arbitrary_responses() {
    let (env, server) = stage();
    env.write("rows.json", r#"[{ "project": "a", "status": "ready" }]"#);
    let api = format!("{}/api/v4", server.address);
    let job = [
        ("GITLAB_CI", "true"),
        ("CI_API_V4_URL", api.as_str()),
        ("CI_MERGE_REQUEST_IID", "42"),
        ("CI_MERGE_REQUEST_PROJECT_ID", "12"),
        ("CI_PROJECT_ID", "12"),
        ("CICD_COMMENT_TOKEN", "glpat-canary"),
    ];
    let play = |answer: &Answer| {
        server.says(answer);
        for arguments in
            [&["status", "--env", "local"][..], &["status", "--env", "local", "--json"]]
        {
            calm(&env.xtask(arguments));
        }
        calm(&env.xtask_with(&["comment", "rows.json"], &job));
    };
    for (_, base) in real().iter().filter(|(of, _)| ["gitlab", "cloudflare"].contains(&of.as_str()))
    {
        for at in 0..6 {
            let body = with_fault(base, 4, at, &Value::Null);
            play(&Answer { status: 200, headers: Vec::new(), body });
        }
    }
    for found in harmful_answers()
        .iter()
        .filter(|found| ["gitlab", "cloudflare"].contains(&found.of.as_str()))
    {
        play(&found.answer());
    }
    std::fs::remove_file(env.root.join(".xtask/sandbox/server.json")).expect("removable");
}
