//! Deploys through a proxy with random faults, and compares each record with what the sandbox serves.
//!
//! `XTASK_ATTEMPTS=300` sets the number of attempts, and `XTASK_SEED` the first seed.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};

use crate::canary;
use crate::random::Random;
use crate::support::wait::{Wait, max_wait};
use crate::support::{CANARY, Ran, TestEnv, ran};

/// The number of attempts in the suite.
const ATTEMPTS: u64 = 6;

/// The deadline of each attempt, in seconds.
const DEADLINE: &str = "25";

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection breaks before the request reaches the server.
    Reset,
    /// The request is carried out, and the response is lost.
    NoResponse,
    /// The request is carried out, and half of the response arrives.
    Half,
    /// The response comes late.
    Slow,
    /// Another response with this status, and the request is not carried out.
    Instead(u16, &'static str),
    /// Another response with this status, although the request is carried out.
    After(u16, &'static str),
}

const HTML: &str = "<html><body>error</body></html>";
const REFUSED: &str = r#"{"success":false,"errors":[{"code":10013,"message":"internal"}],"messages":[],"result":null}"#;

const FAULTS: [Fault; 24] = [
    Fault::Reset,
    Fault::NoResponse,
    Fault::Half,
    Fault::Slow,
    Fault::Instead(200, ""),
    Fault::Instead(200, "{"),
    Fault::Instead(200, "[]"),
    Fault::Instead(200, HTML),
    Fault::Instead(302, HTML),
    Fault::Instead(400, REFUSED),
    Fault::Instead(401, REFUSED),
    Fault::Instead(403, REFUSED),
    Fault::Instead(404, REFUSED),
    Fault::Instead(409, REFUSED),
    Fault::Instead(429, REFUSED),
    Fault::Instead(500, REFUSED),
    Fault::Instead(502, HTML),
    Fault::Instead(503, HTML),
    Fault::Instead(504, HTML),
    Fault::Instead(522, "error code: 522"),
    Fault::After(500, HTML),
    Fault::After(502, HTML),
    Fault::After(504, HTML),
    Fault::After(524, "error code: 524"),
];

/// The state that the threads of the proxy share.
struct State {
    random: Random,
    /// Of 100 requests, so many have a fault.
    rate: usize,
    faults: Vec<String>,
}

/// A proxy in front of a sandbox.
struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy for the sandbox on port `target`, whose secret is `secret`.
    fn start(target: u16, secret: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { random: Random(0), rate: 0, faults: Vec::new() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, secret) = (Arc::clone(&shared), secret.clone());
                std::thread::spawn(move || {
                    let _broken = pass(stream, port, target, &secret, &shared);
                });
            }
        });
        Proxy { port, state }
    }

    /// Sets the seed and the rate of faults, and returns the faults of the attempt before.
    fn begin(&self, seed: u64, rate: usize) -> Vec<String> {
        let mut state = self.state.lock().expect("no panic");
        state.random = Random(seed);
        state.rate = rate;
        std::mem::take(&mut state.faults)
    }
}

/// Passes one request on, with a fault or without.
fn pass(
    mut client: TcpStream,
    port: u16,
    target: u16,
    secret: &str,
    shared: &Mutex<State>,
) -> std::io::Result<()> {
    let request = read_request(&mut client)?;
    let head = String::from_utf8_lossy(&request[..request.len().min(2000)]).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    if let Some((_, nonce)) = line.split_once("/__sandbox/proof/") {
        let nonce = nonce.split(' ').next().unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.trim().as_bytes());
        let proof = hmac::sign(&key, format!("sandbox-proof-1:{port}:{nonce}").as_bytes());
        let proof = proof.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text");
            text
        });
        return reply(&mut client, 200, &json!({ "proof": proof }).to_string());
    }
    let fault = {
        let mut state = shared.lock().expect("no panic");
        let is_faulty = !line.contains("/__sandbox/") && {
            let rate = state.rate;
            state.random.below(100) < rate
        };
        let fault = is_faulty.then(|| FAULTS[state.random.below(FAULTS.len())]);
        state.faults.extend(fault.map(|fault| format!("{fault:?} at {line}")));
        fault
    };
    match fault {
        Some(Fault::Reset) => return client.shutdown(Shutdown::Both),
        Some(Fault::Instead(status, body)) => return reply(&mut client, status, body),
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", target))?;
    server.write_all(&request)?;
    let mut response = Vec::new();
    server.read_to_end(&mut response)?;
    match fault {
        Some(Fault::NoResponse) => return client.shutdown(Shutdown::Both),
        Some(Fault::Half) => response.truncate(response.len() / 2),
        Some(Fault::Slow) => std::thread::sleep(Duration::from_secs(2)),
        Some(Fault::After(status, body)) => return reply(&mut client, status, body),
        _ => {}
    }
    client.write_all(&response)
}

fn reply(client: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    let length = body.len();
    client.write_all(
        format!("HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nLocation: /elsewhere\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    )
}

/// Reads a whole request, and asks the server to close the connection after it.
fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
    let mut more = |bytes: &mut Vec<u8>| -> std::io::Result<()> {
        let length = client.read(&mut part)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..length]);
        Ok(())
    };
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(&mut bytes)?,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        while !bytes.ends_with(b"\r\n0\r\n\r\n") && !bytes[end..].starts_with(b"0\r\n\r\n") {
            more(&mut bytes)?;
        }
    }
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        more(&mut bytes)?;
    }
    let lines =
        head.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let head = lines.fold(String::new(), |text, line| text + line + "\r\n");
    Ok([head.as_bytes(), b"Connection: close\r\n\r\n", &bytes[end..]].concat())
}

/// Returns the live version of the Worker as the sandbox serves it.
fn live(port: u16) -> Option<String> {
    let agent = base::http::agent(max_wait(), 0);
    let url = format!(
        "http://127.0.0.1:{port}/client/v4/accounts/{}/workers/scripts/app/deployments",
        "0".repeat(32)
    );
    let token = format!("Bearer {CANARY}");
    let answer = base::http::get(&agent, &url, &[("Authorization", &token)]).expect("an answer");
    let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let version = &value["result"]["deployments"][0]["versions"][0]["version_id"];
    version.as_str().map(str::to_owned)
}

/// Returns what the run claims although it is not so. `None` if all that it claims is true.
fn lie(ran: &Ran, before: Option<&str>, now: Option<&str>) -> Option<String> {
    let Ok(report) = serde_json::from_str::<Value>(&ran.stdout) else {
        return Some("no JSON document".to_owned());
    };
    let record = &report["records"][0];
    if record.is_null() {
        return (now != before).then(|| format!("an error without a record, and {now:?} is live"));
    }
    let status = record["status"].as_str().unwrap_or_default();
    let claimed = record["live"]["version"].as_str();
    let is_new = now != before;
    let problem = match status {
        "live" if record["version"].as_str() != now => "another version is live than it says",
        "failed" | "refused" | "rolledBack" | "unchanged" if is_new => "a new version is live",
        "unknown" | "interrupted" => return None,
        _ if claimed.is_some() && claimed != now => "it names another live version",
        _ => return None,
    };
    Some(format!("{status}: {problem}: {now:?}, before {before:?}, claimed {claimed:?}"))
}

#[test]
fn records_are_true_under_random_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (attempts, first) =
        (number("XTASK_ATTEMPTS").unwrap_or(ATTEMPTS), number("XTASK_SEED").unwrap_or(1));
    let env = TestEnv::with_tools();
    env.write(
        "projects/app/wrangler.jsonc",
        r#"{ "name": "app", "compatibility_date": "2026-10-01", "assets": { "directory": "./public" } }"#,
    );
    env.write("projects/app/public/index.html", "0");
    env.commit("site");
    env.xtask(&["deploy", "app", "--engine", "host"]).exits(0);
    let port = env.port();
    let state = env.root.join(".xtask/sandbox");
    let secret = std::fs::read_to_string(state.join("identity")).expect("a secret");
    let proxy = Proxy::start(port, secret);
    let original = std::fs::read_to_string(state.join("server.json")).expect("a file");
    let mut server: Value = serde_json::from_str(&original).expect("JSON");
    server["port"] = proxy.port.into();
    server["url"] = format!("http://127.0.0.1:{}", proxy.port).into();
    std::fs::write(state.join("server.json"), server.to_string()).expect("written");
    let (mut hits, mut lies, mut ends) = (0, Vec::new(), std::collections::BTreeMap::new());
    for seed in first..first + attempts {
        env.write("projects/app/public/index.html", &format!("attempt {seed}"));
        let rate = 3 + usize::try_from(seed % 10).expect("small");
        proxy.begin(seed.wrapping_mul(0x9e37_79b9), rate);
        let before = live(port);
        let wait = Wait::begin();
        let arguments = ["deploy", "app", "--engine", "host", "--json"];
        let output = env.command(&arguments, &[("XTASK_DEADLINE", DEADLINE)]).output();
        let ran = ran(output.expect("xtask runs"));
        wait.check(format_args!("seed {seed} hangs"));
        let at_end = live(port);
        let faults = proxy.begin(0, 0);
        assert!(!ran.stderr.contains("panicked"), "seed {seed}: {}", ran.stderr);
        assert_eq!(
            canary::find_token((ran.stdout.clone() + &ran.stderr).as_bytes()),
            None,
            "seed {seed}"
        );
        hits += u64::from(!faults.is_empty());
        *ends.entry(ran.code).or_insert(0) += 1;
        let problem = lie(&ran, before.as_deref(), at_end.as_deref());
        lies.extend(problem.map(|lie| format!("seed {seed}: {lie}\n{faults:#?}\n{}", ran.stderr)));
        // A run whose upload failed for good leaves its lock and no child behind.
        assert_eq!(env.processes_in(".xtask/tmp"), 0, "seed {seed}: a child is left");
    }
    std::fs::write(state.join("server.json"), original).expect("written");
    println!(
        "{attempts} attempts from seed {first}, {hits} with faults, exit codes {ends:?}, {} lies",
        lies.len()
    );
    assert!(lies.is_empty(), "{}", lies.join("\n\n"));
    env.assert_no_canary(&[]);
}
