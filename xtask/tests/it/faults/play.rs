//! Plays one row, and compares what is true afterwards with what the row says.

use std::process::Stdio;

use serde_json::Value;

use super::stage::{ACCOUNT, Stage, VERSIONS};
use super::{Case, moment};
use crate::support::{Ran, ran};

/// What is wrong with the row; nothing when all of it is true.
pub fn play(stage: &Stage, case: &Case) -> Option<String> {
    let before = stage.worker(case);
    let ran = run(stage, case);
    let after = stage.worker(case);
    let wrong = compare(case, &ran, &before, &after);
    (!wrong.is_empty()).then(|| {
        let shown = |text: &str| text.trim().replace('\n', "\n    ");
        format!(
            "{}\n  - {}\n    {}\n    {}",
            case.title(),
            wrong.join("\n  - "),
            shown(&ran.stdout),
            shown(&ran.stderr)
        )
    })
}

fn run(stage: &Stage, case: &Case) -> Ran {
    let mut arguments = vec![case.group.verb.as_str(), &case.name, "--json"];
    if ["deploy", "preview"].contains(&case.group.verb.as_str()) {
        arguments.push("--engine=host");
    }
    if case.account != ACCOUNT {
        arguments.extend(["--env", &case.name, "--sandbox"]);
    }
    arguments.extend(case.group.args.iter().map(String::as_str));
    let deadline = case.row.deadline.map(|seconds| seconds.to_string());
    let deadline: Vec<(&str, &str)> =
        deadline.iter().map(|text| ("XTASK_DEADLINE", text.as_str())).collect();
    let mut command = stage.env.command(&arguments, &deadline);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask runs");
    if let Some(then) = &case.row.then {
        moment::act(stage, case, then, child.id());
    }
    let ran = ran(child.wait_with_output().expect("an end"));
    moment::end_orphans(stage, case);
    ran
}

fn compare(case: &Case, ran: &Ran, before: &Value, after: &Value) -> Vec<String> {
    let row = &case.row;
    let mut wrong = Vec::new();
    let mut check = |good: bool, text: String| {
        if !good {
            wrong.push(text);
        }
    };
    check(ran.code == row.exit, format!("it exits with {}, not {}", ran.code, row.exit));
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let record = &json["records"][0];
    let status = record["status"].as_str();
    check(status == row.status.as_deref(), format!("the record says {status:?}"));

    let live = live(after);
    let named = name(before, record, &live);
    check(named == row.live, format!("`{named}` is live, not `{}`", row.live));
    let count = |worker: &Value| worker["deployments"].as_array().map_or(0, Vec::len);
    let made = count(after).saturating_sub(count(before));
    check(made == row.made(), format!("{made} deployments were made"));

    // Where the record says what is live, it is that; where it does not, it does not claim to know.
    let said = &record["live"]["version"];
    let known = !matches!(status, Some("unknown" | "interrupted") | None);
    check(said.is_null() || *said == live, format!("the record takes {said} for live"));
    let silent = said.is_null() && !live.is_null() && status != Some("refused");
    check(!(known && silent), "the record does not say what is live".to_owned());

    let text = text(&json) + &ran.stderr;
    check(text.contains(&row.says), format!("it does not say `{}`", row.says));
    if let Some(hint) = &row.hint {
        let found = text.lines().any(|line| line.contains("hint") && line.contains(hint));
        check(found, format!("it does not hint at `{hint}`"));
    }
    let failed = ran.code > 0 && ran.code != 130;
    check(!failed || row.hint.is_some(), "the row has no next step".to_owned());
    wrong
}

/// The id of the version that is live; null when there is none.
fn live(worker: &Value) -> Value {
    let newest = worker["deployments"].as_array().and_then(|all| all.last());
    newest.map_or(Value::Null, |deployment| deployment["versions"][0]["version_id"].clone())
}

/// What the tables call a version.
fn name(before: &Value, record: &Value, version: &Value) -> &'static str {
    let known = before["versions"].as_array().cloned().unwrap_or_default();
    let at = known.iter().position(|known| known["id"] == *version);
    match at {
        Some(at) => VERSIONS[at],
        None if version.is_null() => "nothing",
        None if record["version"].is_null() || record["version"] == *version => "new",
        None => "another",
    }
}

/// Everything that a person could read in the report.
fn text(json: &Value) -> String {
    let error = &json["error"];
    let list = |value: &Value, prefix: &str| -> String {
        let lines = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.map(|line| format!("{prefix}{line}\n")).collect()
    };
    let record = json["records"][0]["error"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    format!(
        "{record}\n{message}\n{}{}",
        list(&error["causes"], ""),
        list(&error["hints"], "hint: ")
    )
}
