//! The comment of a merge request, in the GitLab of the sandbox.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::error::Result;
use base::http;
use base::retry::RetryBudget;
use base::secret::Secret;
use deployment::engine::previews::comment::write::{CommentAction, Timing, WriteResult, Writer};
use gitlab::api::Notes;
use gitlab::api::request::Client;
use gitlab::comment::state;
use gitlab::comment::state::has_marker;
use gitlab::comment::{CommentRow, MARKER, PreviewStatus, RowChange, render};
use serde_json::json;

use crate::gitlab_server::{
    Behaviour, Fault, Faults, GitLab, MergeRequest, NewNote, Sandbox, TOKEN, ours, theirs,
    unreadable,
};
use crate::support::wait::max_wait;
use crate::support::{TestEnv, ran, repository};

const THROTTLED: Fault = Fault::Instead(
    429,
    "Content-Type: text/plain\r\nRetry-After: 3\r\nRateLimit-Limit: 60\r\nRateLimit-Remaining: 0\r\n",
    "Retry later\n",
);
const LIMITED: Fault = Fault::Instead(
    429,
    "",
    r#"{"message":{"error":"This endpoint has been requested too many times. Try again later."}}"#,
);

/// A row that answers.
pub fn ready(project: &str) -> CommentRow {
    CommentRow {
        alias_url: Some(format!("https://mr-42-{project}.example/")),
        time: Some("2026-11-24T12:00:00Z".to_owned()),
        ..CommentRow::new(project, PreviewStatus::Ready)
    }
}

fn body(projects: &[&str]) -> String {
    render::body(&projects.iter().map(|project| ready(project)).collect::<Vec<_>>())
}

/// Writes in this process, where waiting takes no time, and returns the seconds that it would take.
fn write(server: &GitLab, change: &RowChange<'_>) -> (Result<WriteResult>, Vec<u64>) {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&waits);
    let retry_budget = RetryBudget::new(|_| ()).with_sleep(move |time| {
        noted.lock().expect("a list").push(time.as_secs());
        true
    });
    let timing = Timing { settle: Duration::from_millis(900) };
    let written = write_with(server, change, &retry_budget, timing);
    let mut waits = waits.lock().expect("a list").clone();
    waits.retain(|&seconds| seconds > 0);
    (written, waits)
}

fn write_with(
    server: &GitLab,
    change: &RowChange<'_>,
    retry_budget: &RetryBudget,
    timing: Timing,
) -> Result<WriteResult> {
    let agent = http::agent(max_wait(), 0);
    let client = Client::new(&server.api(), Secret::new(TOKEN), agent, retry_budget)?;
    let notes = Notes::new(&client, "12", &server.iid(), has_marker)?;
    Writer { notes, retry_budget, timing }.write(change, true)
}

/// Cases with the same end for every implementation: notes at the start, and what goes wrong.
fn cases() -> Vec<(&'static str, Vec<NewNote>, Faults)> {
    let old = format!("{MARKER}\nold");
    let many = (1..10).map(|count| if count % 2 == 0 { unreadable() } else { theirs("by people") });
    vec![
        ("created", vec![theirs("hello")], |_, _| None),
        ("edited wherever it is", many.chain([ours(&old)]).collect(), |_, _| None),
        ("unchanged", vec![ours(body(&["site"]))], |_, _| None),
        (
            "forged",
            vec![
                theirs(&old),
                ours(format!("quoted: {MARKER}")),
                ours(format!("text\n{MARKER}")),
                ours("<!-- xtask preview v10 -->\nanother"),
            ],
            |_, _| None,
        ),
        ("duplicates", vec![ours(&old), ours(&old), theirs(&old), ours(&old)], |_, _| None),
        ("deleted in between", vec![ours(&old)], |seen, count| {
            let gone = Fault::Meanwhile(MergeRequest::delete_ours);
            (seen.method == "PUT" && count == 1).then_some(gone)
        }),
        ("another job creates one", vec![], |seen, count| {
            let other = Fault::Meanwhile(|merge_request| {
                merge_request.create(TOKEN, &format!("{MARKER}\nother"));
            });
            (seen.method == "POST" && count == 1).then_some(other)
        }),
        ("written and then 502", vec![], |seen, count| {
            (seen.method == "POST" && count == 1).then_some(Fault::After(
                502,
                "",
                "<html>502</html>",
            ))
        }),
        ("written and then broken", vec![], |seen, count| {
            (seen.method == "POST" && count == 1).then_some(Fault::Disconnect)
        }),
        ("502 and not written", vec![], |seen, count| {
            (seen.method == "POST" && count == 1).then_some(Fault::Instead(
                502,
                "",
                "<html>502</html>",
            ))
        }),
        ("every request fails at first", vec![ours(&old), ours(&old)], |_, count| {
            (count == 1).then_some(Fault::Instead(503, "", ""))
        }),
        ("both kinds of 429", vec![ours(&old), ours(&old)], |seen, count| match count {
            1 => Some(THROTTLED),
            2 if seen.method == "PUT" => Some(LIMITED),
            _ => None,
        }),
    ]
}

#[test]
fn the_dagger_module_writes_the_same_comment() {
    let text = body(&["site"]);
    let sandbox = Sandbox::start();
    let start = |notes: &[NewNote], faults: Faults| {
        sandbox.merge_request(notes, Behaviour { faults, ..Behaviour::default() })
    };
    let of_module: Vec<GitLab> =
        cases().into_iter().map(|(_, notes, faults)| start(&notes, faults)).collect();
    let places: Vec<[String; 2]> =
        of_module.iter().map(|gitlab| [gitlab.api(), gitlab.iid()]).collect();
    let source = repository().join("dagger/gitlab/src");
    // Its caller gives it the text below the marker.
    let (_, below) = text.split_once('\n').expect("a marker");
    let code = format!(
        "import {{ postComment }} from {:?};\nimport {{ access }} from {:?};\n\
         const world = {{ fetch: (url, init) => fetch(url, init), sleep: async () => {{}}, now: () => Date.now() }};\n\
         const place = (mergeRequest) => ({{ project: '12', mergeRequest, marker: 'xtask preview v1' }});\n\
         for (const [api, mergeRequest] of {}) await postComment(world, access(api, {TOKEN:?}), place(mergeRequest), {});",
        source.join("comment.ts"),
        source.join("api.ts"),
        json!(places),
        json!(below),
    );
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`");
    ran(std::process::Command::new(bun).args(["-e", &code]).output().expect("bun runs")).exits(0);
    for ((name, notes, faults), of_module) in cases().into_iter().zip(of_module) {
        let of_xtask = start(&notes, faults);
        let (written, _) = write(&of_xtask, &RowChange::Rows(&[ready("site")]));
        written.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let texts = of_xtask.texts();
        assert_eq!(texts, of_module.texts(), "{name}");
        let mine = texts.iter().filter(|(body, _)| *body == text).count();
        assert_eq!(mine, 1, "{name}: {texts:?}");
    }
}

#[test]
fn reports_what_was_written() {
    let sandbox = Sandbox::start();
    let start = |notes: &[NewNote]| sandbox.merge_request(notes, Behaviour::default());
    let written = |action, note, deleted: &[u64]| (action, note, deleted.to_vec());
    // Every result has the rows of the note.
    let write = |server: &GitLab, change: &RowChange<'_>| {
        let result = write(server, change).0.expect("done");
        let notes = server.notes();
        let note = notes.iter().find(|note| Some(note.id) == result.note);
        assert_eq!(result.rows, note.map(|note| state::rows(&note.body)).unwrap_or_default());
        (result.action, result.note, result.deleted)
    };
    let rows = [ready("site")];
    let change = RowChange::Rows(&rows);
    let server = start(&[]);
    let created = write(&server, &change);
    let id = server.notes()[0].id;
    assert_eq!(created, written(CommentAction::Created, Some(id), &[]));
    assert_eq!(write(&server, &change), written(CommentAction::Unchanged, Some(id), &[]));
    assert_eq!(server.writes(), ["POST"]);
    let server =
        start(&[ours(body(&["a"])), ours(body(&["b", "c"])), theirs("hello"), ours(body(&["b"]))]);
    let ids: Vec<u64> = server.notes().into_iter().map(|note| note.id).collect();
    let [first, second, _, fourth] = ids[..] else { panic!("{ids:?}") };
    assert_eq!(
        write(&server, &change),
        written(CommentAction::Edited, Some(first), &[second, fourth])
    );
    let merged = (body(&["a", "b", "c", "site"]), true);
    assert_eq!(server.texts(), [merged, ("hello".to_owned(), false)]);
    let gone = RowChange::End { time: "2026-11-24T13:00:00Z", aliases: &[] };
    assert_eq!(write(&server, &gone), written(CommentAction::Edited, Some(first), &[]));
    let rows = state::rows(&server.notes()[0].body);
    assert!(
        rows.len() == 4 && rows.iter().all(|row| row.status == PreviewStatus::Removed),
        "{rows:?}"
    );
    assert_eq!(write(&server, &gone), written(CommentAction::Unchanged, Some(first), &[]));
    assert_eq!(write(&start(&[]), &gone), written(CommentAction::Unchanged, None, &[]));
}

#[test]
fn waits_as_long_as_the_server_asks_up_to_a_limit() {
    let throttled: Faults = |seen, count| match (count, seen.method.as_str()) {
        (1, _) => Some(THROTTLED),
        (2, "POST") => Some(LIMITED),
        _ => None,
    };
    let sandbox = Sandbox::start();
    let start =
        |faults: Faults| sandbox.merge_request(&[], Behaviour { faults, ..Behaviour::default() });
    let server = start(throttled);
    let (written, waits) = write(&server, &RowChange::Rows(&[ready("site")]));
    assert_eq!(written.expect("done").action, CommentAction::Created);
    let asked: Vec<u64> = waits.into_iter().filter(|wait| [3, 60].contains(wait)).collect();
    assert_eq!(asked, [3, 3, 60], "GET, POST, POST");

    // A minute fits once into the two that a command waits at most.
    for (faults, text, requests) in [
        ((|_, _| Some(LIMITED)) as Faults, "GET /user: GitLab answered 429", 2),
        (|_, _| Some(Fault::Instead(429, "Retry-After: 3600\r\n", "")), "retry after 3600 s", 1),
        (|_, _| Some(Fault::Instead(502, "", "<html>")), "GitLab answered 502 (<html>)", 5),
        (|_, _| Some(Fault::Disconnect), "GET /user: no answer", 5),
        (
            |_, _| Some(Fault::Instead(400, "", r#"{"message":"bad glpat-canary-7f3a"}"#)),
            "(bad ***)",
            1,
        ),
    ] {
        let server = start(faults);
        let error = write(&server, &RowChange::Rows(&[ready("site")])).0.expect_err("refused");
        assert!(format!("{error:#}").contains(text), "{error:#}");
        assert_eq!(server.requests().len(), requests, "{text}");
    }
    // A server that never takes a note is not asked for ever, nor one whose notes always vanish.
    let never: Faults = |seen, _| (seen.method == "POST").then_some(Fault::Instead(502, "", ""));
    let vanishing: Faults = |seen, _| {
        let gone = Fault::Meanwhile(MergeRequest::delete_ours);
        (seen.method == "GET").then_some(gone)
    };
    for (faults, most) in [(never, 12), (vanishing, 2)] {
        let server = start(faults);
        write(&server, &RowChange::Rows(&[ready("site")])).0.expect_err("refused");
        assert!(server.writes().len() <= most, "{:?}", server.writes());
    }
}

/// Runs so many jobs at once, each with one row, beside `existing` notes.
fn run_jobs(sandbox: &Sandbox, count: usize, delay: u64, existing: &[NewNote]) {
    let behaviour = Behaviour { delay, per_page: 3, ..Behaviour::default() };
    let server = sandbox.merge_request(existing, behaviour);
    let env = TestEnv::new();
    let variables = server.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let names: Vec<String> = (0..count).map(|number| format!("site-{number}")).collect();
    let start = |name: &String| {
        let file = format!("{name}.json");
        env.write(&file, &serde_json::to_string(&[ready(name)]).expect("JSON"));
        let mut job = env.command(&["comment", &file, "--json"], &variables);
        job.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        job.spawn().expect("xtask runs")
    };
    let jobs: Vec<_> = names.iter().map(start).collect();
    for job in jobs {
        ran(job.wait_with_output().expect("it ends")).exits(0);
    }
    let notes = server.notes();
    let [only] = notes.as_slice() else { panic!("{notes:?}") };
    let rows = state::rows(&only.body);
    let found: BTreeSet<&str> = rows.iter().map(|row| row.project.as_str()).collect();
    let mut wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    if !existing.is_empty() {
        wanted.insert("before");
    }
    assert_eq!(found, wanted, "{:?}", server.writes());
}

#[test]
fn keeps_all_rows_of_eight_concurrent_jobs() {
    let sandbox = Sandbox::start();
    run_jobs(&sandbox, 8, 60, &[]);
    run_jobs(&sandbox, 8, 60, &[ours(body(&["before"]))]);
}

/// The jobs are threads, because a hundred processes of a debug build would measure this machine: the
/// writer needs that no edit takes longer than its delay, which is generous here.
#[test]
fn keeps_all_rows_of_over_a_hundred_concurrent_jobs() {
    let sandbox = Sandbox::start();
    let server = sandbox.merge_request(&[], Behaviour { per_page: 3, ..Behaviour::default() });
    let names: BTreeSet<String> = (0..110).map(|number| format!("site-{number}")).collect();
    let gitlab = &server;
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || {
                let retry_budget = RetryBudget::new(|_| ());
                let settle = Duration::from_secs(5);
                let rows = [ready(name)];
                let written =
                    write_with(gitlab, &RowChange::Rows(&rows), &retry_budget, Timing { settle });
                written.unwrap_or_else(|error| panic!("{name}: {error:#}"));
            });
        }
    });
    let notes = server.notes();
    let [only] = notes.as_slice() else { panic!("{notes:?}") };
    let rows = state::rows(&only.body);
    let found: BTreeSet<String> = rows.into_iter().map(|row| row.project).collect();
    assert_eq!(found, names, "{:?}", server.writes());
}
