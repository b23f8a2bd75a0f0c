//! `cargo xtask comment` as a job runs it: tokens, proxies, certificates.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use gitlab::comment::{CommentRow, PreviewStatus, state};
use serde_json::{Value, json};

use crate::comment::ready;
use crate::gitlab_server::{Behaviour, Fault, Faults, GitLab, Sandbox, TOKEN};
use crate::support::{Ran, TestEnv, ran, repository};

fn comment(
    env: &TestEnv,
    server: &GitLab,
    rows: &[CommentRow],
    over: &[(&str, &str)],
    more: &[&str],
) -> Ran {
    env.write("rows.json", &serde_json::to_string(rows).expect("JSON"));
    let mut variables = server.variables();
    for (name, value) in over {
        variables.retain(|known, _| known != name || *value != "UNSET");
        if let Some(known) = variables.keys().find(|known| *known == name).copied() {
            variables.insert(known, (*value).to_owned());
        }
    }
    let mut all: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(
        over.iter().filter(|(name, value)| !variables.contains_key(name) && *value != "UNSET"),
    );
    env.xtask_with(&[&["comment", "rows.json"], more].concat(), &all)
}

#[test]
fn a_redirect_does_not_get_the_token() {
    let env = TestEnv::new();
    let elsewhere: Faults = |seen, _| match seen.method.as_str() {
        "POST" => Some(Fault::Instead(307, "Location: http://elsewhere.invalid/notes\r\n", "")),
        _ => None,
    };
    let moved: Faults =
        |_, _| Some(Fault::Instead(301, "Location: http://elsewhere.invalid/api/v4/user\r\n", ""));
    let sandbox = Sandbox::start();
    for (faults, requests) in [(moved, 1), (elsewhere, 3)] {
        let server = sandbox.merge_request(&[], Behaviour { faults, ..Behaviour::default() });
        let ran = comment(&env, &server, &[ready("site")], &[], &[]).exits(1);
        assert!(ran.stderr.contains("redirects to http://elsewhere.invalid/"), "{}", ran.stderr);
        assert_eq!(server.requests().len(), requests);
    }
}

#[test]
fn explains_why_a_token_cannot_comment() {
    let env = TestEnv::new();
    let rows = [ready("site")];
    let sandbox = Sandbox::start();
    for (over, code, action, text) in [
        (("CICD_COMMENT_TOKEN", "UNSET"), 0, "skipped", "CICD_COMMENT_TOKEN is not set"),
        (("CICD_COMMENT_TOKEN", ""), 0, "skipped", "is set but empty"),
        (("CICD_COMMENT_TOKEN", "eyJ.job.token"), 0, "skipped", "holds the job's own token"),
        (("CICD_COMMENT_TOKEN", "glpat-readonly"), 1, "failed", "lacks the scope `api`"),
        (("CICD_COMMENT_TOKEN", "glpat-expired"), 1, "failed", "has expired"),
        (("CICD_COMMENT_TOKEN", "glpat-unknown"), 1, "failed", "does not know the token"),
        (("CICD_COMMENT_TOKEN", "glpat-elsewhere"), 1, "failed", "does not see !42 in project 12"),
        (("CI_PROJECT_ID", "99"), 0, "skipped", "runs in a fork"),
        (("CI_MERGE_REQUEST_IID", "UNSET"), 0, "skipped", "not a merge request pipeline"),
        (
            ("CI_API_V4_URL", "gitlab.example.com"),
            0,
            "skipped",
            "is not an address of a GitLab API",
        ),
        (("SSL_CERT_FILE", "Cargo.toml"), 0, "skipped", "SSL_CERT_FILE names Cargo.toml"),
    ] {
        let server = sandbox.merge_request(&[], Behaviour::default());
        let ran = comment(&env, &server, &rows, &[over], &["--json"]).exits(code);
        let json = ran.json();
        let text = text.replace("!42", &format!("!{}", server.iid()));
        let text = text.as_str();
        assert_eq!(json["action"], action, "{over:?}: {json}");
        assert!(json["message"].as_str().expect("text").contains(text), "{over:?}: {json}");
        assert_eq!(ran.stderr.matches(text).count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("canary") && !ran.stdout.contains("canary"));
        assert_eq!(server.notes(), []);
        assert!(action == "failed" || server.requests().is_empty(), "{:?}", server.requests());
    }
}

#[test]
fn writes_the_planned_comment() {
    let env = TestEnv::new();
    let sandbox = Sandbox::start();
    let server = sandbox.merge_request(&[], Behaviour::default());
    let failed = CommentRow {
        reason: Some("no\n/merge\r/close".to_owned()),
        ..CommentRow::new("b", PreviewStatus::Failed)
    };
    let time = Some("2026-11-24T12:00:00Z".to_owned());
    let rows = [ready("a"), CommentRow { time, ..failed }];
    let dry = comment(&env, &server, &rows, &[], &["--dry-run"]).exits(0);
    assert!(server.requests().is_empty());
    let done = comment(&env, &server, &rows, &[], &["--json"]).exits(0).json();
    let (iid, note) = (server.iid(), server.notes()[0].id);
    let page = format!("http://127.0.0.1:{}/gitlab/acme/mono", server.port);
    let url = format!("{page}/-/merge_requests/{iid}#note_{note}");
    assert_eq!((&done["action"], &done["url"]), (&json!("created"), &json!(url)));
    assert_eq!(server.texts(), [(dry.stdout.trim_end().to_owned(), true)]);
    assert!(dry.stdout.contains("`0123456`"), "{}", dry.stdout);
    let row = &state::rows(&dry.stdout)[1];
    assert_eq!((row.pipeline, row.log.as_deref().is_some()), (Some(77), true));
    let removed = {
        let variables = server.variables();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        env.xtask_with(&["comment", "--removed", "--json"], &variables).exits(0).json()
    };
    assert_eq!(removed["action"], "edited");
    assert_eq!(server.notes()[0].body.matches("removed |").count(), 2);
}

#[test]
fn refuses_rows_with_typos() {
    let env = TestEnv::new();
    for (text, message) in [
        (r#"[{"project":"a","status":"ready","aliasURL":"x"}]"#, "unknown field `aliasURL`"),
        (r#"[{"project":"a","status":"done"}]"#, "unknown variant `done`"),
        ("{}", "expected a sequence"),
    ] {
        env.write("rows.json", text);
        let ran = env.xtask(&["comment", "rows.json"]).exits(2);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    env.xtask(&["comment"]).exits(2);
    env.xtask(&["comment", "none.json"]).exits(2);
}

#[test]
fn proxies_come_from_the_environment() {
    let env = TestEnv::new();
    let sandbox = Sandbox::start();
    let server = sandbox.merge_request(&[], Behaviour::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let (port, asked) = (server.port, Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    // Ends with the test's process; each connection ends with its client.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let line = tunnel(stream, port);
            noted.lock().expect("a list").push(line);
        }
    });
    let api = "http://gitlab.invalid/gitlab/api/v4";
    let over = [("CI_API_V4_URL", api), ("HTTPS_PROXY", proxy.as_str())];
    comment(&env, &server, &[ready("site")], &over, &[]).exits(0);
    assert_eq!(server.notes().len(), 1);
    let asked = asked.lock().expect("a list").clone();
    assert!(
        !asked.is_empty()
            && asked.iter().all(|line| line.starts_with("CONNECT gitlab.invalid:80 ")),
        "{asked:?}"
    );
    let around = [("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")];
    let ran = comment(&env, &server, &[ready("site")], &around, &["--json"]).exits(0);
    assert_ne!(ran.json()["action"], Value::from("failed"));
}

/// Answers one CONNECT and passes bytes on to `port`. Returns the request's first line.
fn tunnel(mut client: TcpStream, port: u16) -> String {
    let mut reader = BufReader::new(client.try_clone().expect("a stream"));
    let mut first = String::new();
    reader.read_line(&mut first).expect("a line");
    let mut line = first.clone();
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).expect("a line");
    }
    std::io::Write::write_all(&mut client, b"HTTP/1.1 200 OK\r\n\r\n").expect("written");
    let mut server = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let (mut back, mut forth) =
        (server.try_clone().expect("a stream"), client.try_clone().expect("a stream"));
    std::thread::spawn(move || {
        std::io::copy(&mut reader, &mut server).unwrap_or_default();
    });
    std::thread::spawn(move || {
        std::io::copy(&mut back, &mut forth).unwrap_or_default();
        forth.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    });
    first
}

/// A private authority: its certificate as PEM, and a server's configuration for 127.0.0.1.
fn authority(name: &str) -> (String, rustls::ServerConfig) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], server_key.into())
        .expect("a configuration");
    (certificate.pem(), config)
}

#[test]
fn trusts_a_private_authority_in_addition() {
    let env = TestEnv::new();
    let ((pem, config), (other, _)) = (authority("one"), authority("other"));
    env.write("ca.pem", &pem);
    env.write("other.pem", &other);
    let sandbox = Sandbox::start();
    let server = sandbox.merge_request_with_tls(config);
    let api = server.api().replace("http://", "https://");
    let (ours, other) = (env.root.join("ca.pem"), env.root.join("other.pem"));
    let run = |over: &[(&str, &str)], code: i32| {
        let over = [&[("CI_API_V4_URL", api.as_str())], over].concat();
        comment(&env, &server, &[ready("site")], &over, &["--json"]).exits(code)
    };
    for over in [vec![], vec![("SSL_CERT_FILE", other.as_str())]] {
        let ran = run(&over, 1);
        let message = ["cannot reach GitLab", "UnknownIssuer", "CI_SERVER_TLS_CA_FILE"];
        assert!(message.iter().all(|text| ran.stderr.contains(text)), "{}", ran.stderr);
    }
    run(&[("SSL_CERT_FILE", ours.as_str())], 0);
    run(&[("CI_SERVER_TLS_CA_FILE", ours.as_str())], 0);
    run(&[("NODE_EXTRA_CA_CERTS", ours.as_str())], 0);
    run(&[("CI_SERVER_TLS_CA_FILE", ours.as_str()), ("SSL_CERT_FILE", other.as_str())], 0);
    assert_eq!(server.notes().len(), 1);

    // So does the program of Dagger's module, as its container runs it.
    let task = json!({ "apiUrl": api, "project": "12", "mergeRequest": server.iid(), "marker": "module", "body": "hello" });
    env.write("comment.json", &task.to_string());
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`");
    let mut program = std::process::Command::new(bun);
    env.environment(&mut program);
    program.env("GITLAB_TOKEN", TOKEN).env("NODE_EXTRA_CA_CERTS", ours.as_str());
    program.arg(repository().join("dagger/gitlab/src/main.ts")).arg(env.root.join("comment.json"));
    ran(program.output().expect("bun runs")).exits(0);
    assert_eq!(server.notes().len(), 2);
}
