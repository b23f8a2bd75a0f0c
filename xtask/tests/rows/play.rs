//! Plays one row, and compares what is true afterwards with what the row says.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::stage::{ACCOUNT, DAGGER, Stage, VERSIONS};
use super::{Case, machine, moment};
use crate::canary::find_token;
use crate::support::{Ran, ran};

/// Returns the problems of the row. `None` if all of it is true.
pub fn play(stage: &Stage, case: &Case) -> Option<String> {
    let before = stage.worker(case);
    let (mut first, mut beside) = run(stage, case, 1);
    let mut wrong = compare(stage, case, &first, &before, 1);
    // On a slow machine a deadline stops a child that is not at fault. Then nothing has changed yet, and the row runs again
    // with a longer one.
    for factor in [4, 16] {
        let is_early = case.row.deadline.is_some() && stage.worker(case) == before;
        if wrong.is_empty() || !is_early {
            break;
        }
        (first, beside) = run(stage, case, factor);
        wrong = compare(stage, case, &first, &before, factor);
    }
    let mut told = vec![format_output(&first)];
    if let Some(next) = &case.row.next {
        let again = || ran(next_command(stage, case).output().expect("xtask runs"));
        let second = beside.unwrap_or_else(again);
        let record = record(&second);
        let live = live(&stage.worker(case));
        let named = name(&before, &record, &live);
        let came = (second.code, record["status"].as_str(), named);
        if came != (next.exit, Some(next.status.as_str()), next.live.as_str()) {
            wrong.push(format!("the next run ends with {came:?}"));
        }
        if !text(&second).contains(&next.says) {
            wrong.push(format!("the next run does not say `{}`", next.says));
        }
        told.push(format_output(&second));
    }
    (!wrong.is_empty())
        .then(|| format!("{}\n  - {}\n{}", case.title(), wrong.join("\n  - "), told.join("\n")))
}

fn format_output(ran: &Ran) -> String {
    let text = |text: &str| text.trim().replace('\n', "\n    ");
    format!("    {}\n    {}", text(&ran.stdout), text(&ran.stderr))
}

/// The row's command, not started.
fn command(stage: &Stage, case: &Case, variables: &[(&str, &str)]) -> Command {
    let verb = case.group.verb.as_str();
    let mut arguments: Vec<&str> = verb.split(' ').chain([&*case.name, "--json"]).collect();
    let engine = case.group.args.iter().any(|word| word == DAGGER);
    if !engine && ["deploy", "preview"].contains(&verb) {
        arguments.push("--engine=host");
    }
    if case.account != ACCOUNT {
        arguments.extend(["--env", &case.name, "--sandbox"]);
    }
    arguments.extend(case.group.args.iter().map(String::as_str));
    stage.on_machine(case, stage.env.command(&arguments, variables))
}

/// A row that ends well ends as soon as it can, so its limits only have to be long enough for a busy machine.
const LONG: (&str, &str) = ("XTASK_LIMIT_FACTOR", "10");

/// Returns the command of the row's next run.
fn next_command(stage: &Stage, case: &Case) -> Command {
    let ends_well = case.row.next.as_ref().is_some_and(|next| next.exit == 0);
    command(stage, case, ends_well.then_some(LONG).as_slice())
}

/// Runs the row's command with `factor` times its deadline, and what is run beside it.
fn run(stage: &Stage, case: &Case, factor: u32) -> (Ran, Option<Ran>) {
    let deadline = case.row.deadline.map(|seconds| (seconds * factor).to_string());
    let limit = deadline.as_ref().map(|text| ("XTASK_DEADLINE", text.as_str()));
    let ends_well = case.row.exit == 0 && case.row.then.is_none();
    let limit = limit.or_else(|| ends_well.then_some(LONG));
    let mut command = command(stage, case, limit.as_slice());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask runs");
    let beside =
        case.row.then.as_ref().and_then(|then| {
            moment::act(stage, case, then, child.id(), || next_command(stage, case))
        });
    let ran = ran(child.wait_with_output().expect("an end"));
    moment::end_orphans(stage, case);
    (ran, beside)
}

/// Returns the differences between the row and a run with `factor` times its deadline.
fn compare(stage: &Stage, case: &Case, ran: &Ran, before: &Value, factor: u32) -> Vec<String> {
    let row = &case.row;
    let mut wrong = Vec::new();
    let mut check = |good: bool, text: String| {
        if !good {
            wrong.push(text);
        }
    };
    check(ran.code == row.exit, format!("it exits with {}, not {}", ran.code, row.exit));
    let printed = record(ran);
    let saved = match saves(case) {
        true => stage.record(case, printed["nonce"].as_str()),
        false => printed.clone(),
    };
    let record = if printed.is_null() { &saved } else { &printed };
    let status = record["status"].as_str().or(record["outcome"].as_str());
    check(status == row.status.as_deref(), format!("the record says {status:?}"));
    let same = printed.is_null() || printed == saved || !writes(stage, case);
    check(same, format!("the saved record is {saved}"));

    let after = stage.worker(case);
    let live = live(&after);
    let named = name(before, record, &live);
    check(named == row.live, format!("`{named}` is live, not `{}`", row.live));
    if row.live == "previous" && case.group.verb == "deploy" {
        let (old, new) = (shares(before), shares(&after));
        check(old == new, format!("the traffic was {old:?} and is {new:?}"));
    }
    let has_token = find_token(ran.stdout.as_bytes()).or(find_token(ran.stderr.as_bytes()));
    check(has_token.is_none(), format!("the token was printed as {has_token:?}"));
    let count = |worker: &Value| worker["deployments"].as_array().map_or(0, Vec::len);
    let made = count(&after).saturating_sub(count(before));
    check(made == row.deployment_count(), format!("{made} deployments were made"));

    if let Some(wanted) = &row.preview {
        let (old, new) = (preview(case, before), preview(case, &after));
        let is = if new.is_null() { "gone" } else { ["new", "previous"][usize::from(old == new)] };
        check(is == wanted, format!("the preview is {is}"));
    }

    // Where the record says what is live, it is that; where it does not, it does not claim to know.
    let reported = &record["live"]["version"];
    let known = !matches!(status, Some("unknown" | "interrupted") | None) && saves(case);
    check(reported.is_null() || *reported == live, format!("the record takes {reported} for live"));
    let silent = reported.is_null() && !live.is_null() && status != Some("refused");
    check(!(known && silent), "the record does not say what is live".to_owned());

    let text = text(ran);
    let seconds = |factor: u32| format!("after {} s", row.deadline.unwrap_or(0) * factor);
    let says = row.says.replace(&seconds(1), &seconds(factor));
    check(text.contains(&says), format!("it does not say `{says}`"));
    if let Some(hint) = &row.hint {
        let found = text.lines().any(|line| line.contains("hint") && line.contains(hint));
        check(found, format!("it does not hint at `{hint}`"));
    }
    let failed = ran.code > 0 && ran.code != 130;
    check(!failed || row.hint.is_some(), "the row has no next step".to_owned());
    wrong
}

/// Returns `true` if records can be written until the end.
fn writes(stage: &Stage, case: &Case) -> bool {
    let then = case.row.then.as_deref();
    ![Some(case.row.fault.as_str()), then].contains(&Some(machine::FULL))
        && machine::keeps(&stage.root(case))
}

/// Returns `true` if the row's command leaves records.
fn saves(case: &Case) -> bool {
    case.group.verb != "preview stop"
}

/// The record that a run printed, or what it says of a preview that was to be deleted; null when it
/// printed neither.
fn record(ran: &Ran) -> Value {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    [&json["records"][0], &json["previews"][0]]
        .into_iter()
        .find(|found| !found.is_null())
        .cloned()
        .unwrap_or_default()
}

/// The id of the preview that the row is about; null when there is none.
fn preview(case: &Case, worker: &Value) -> Value {
    let name = case.group.args.iter().skip_while(|word| *word != "--alias").nth(1);
    let name = name.map_or(Value::Null, |name| name.as_str().into());
    let newest = |list: &Value, fits: &dyn Fn(&&Value) -> bool| {
        list.as_array().into_iter().flatten().rev().find(fits).cloned()
    };
    let named = newest(&worker["previews"], &|preview| preview["name"] == name);
    match named {
        Some(preview) => preview["deployments"].as_array().and_then(|all| all.last()).cloned(),
        None => newest(&worker["versions"], &|one| one["annotations"]["workers/alias"] == name),
    }
    .map_or(Value::Null, |made| made["id"].clone())
}

/// Returns the versions that share the traffic, with their percentages.
fn shares(worker: &Value) -> Vec<(String, f64)> {
    let newest = worker["deployments"].as_array().and_then(|all| all.last());
    let versions = newest.and_then(|deployment| deployment["versions"].as_array());
    let share = |one: &Value| {
        (
            one["version_id"].as_str().expect("an id").to_owned(),
            one["percentage"].as_f64().expect("a number"),
        )
    };
    let mut shares: Vec<_> = versions.into_iter().flatten().map(share).collect();
    shares.sort_by(|one, other| one.0.cmp(&other.0));
    shares
}

/// The id of the version with most of the traffic; null when there is none.
fn live(worker: &Value) -> Value {
    let largest = shares(worker).into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
    largest.map_or(Value::Null, |(version, _)| version.into())
}

/// Returns the name of a version in the tables.
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

/// Everything that a person could read of a run.
fn text(ran: &Ran) -> String {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let error = &json["error"];
    let list = |value: &Value, prefix: &str| -> String {
        let lines = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.map(|line| format!("{prefix}{line}\n")).collect()
    };
    let record = record(ran);
    let (record, steps) =
        (record["error"].as_str().unwrap_or_default(), list(&record["hints"], "hint: "));
    let message = error["message"].as_str().unwrap_or_default();
    format!(
        "{record}\n{steps}{message}\n{}{}{}",
        list(&error["causes"], ""),
        list(&error["hints"], "hint: "),
        ran.stderr
    )
}
