//! Formats reports as text. Does no IO.

pub mod affected;
pub mod ci;
pub mod comment_outcome;
pub mod projects;
pub mod script;
pub mod status;

use serde::Serialize;

use crate::plan::Operation;
use crate::plan::destination::Destination;
use crate::record::{DeployStatus, Record};
use base::command::xtask_line;
use base::error::Exit;
use base::terminal::{BOLD, CYAN, DIM, RED, YELLOW, paint};
use base::text::{list_first, short_version};
use cloudflare::api::Share;
use workspace::strategy::Strategy;

/// The report of a run over several projects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// The exit code of the run.
    pub exit: Exit,
    /// One record per project.
    pub records: &'a [Record],
    /// The reason why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<&'a str>,
}

impl<'a> RunReport<'a> {
    /// Creates the report of `records`.
    #[must_use]
    pub fn new(records: &'a [Record]) -> RunReport<'a> {
        RunReport { schema: 1, exit: exit(records), records, nothing: None }
    }

    /// Creates the report of a run that had nothing to do.
    #[must_use]
    pub fn nothing(because: &'a str) -> RunReport<'a> {
        RunReport { nothing: Some(because), ..RunReport::new(&[]) }
    }
}

/// Returns the exit code of a run.
#[must_use]
pub fn exit(records: &[Record]) -> Exit {
    Exit::worst(records.iter().filter_map(|record| record.status.error_kind()))
}

/// Returns the result of an attempt in a few words.
#[must_use]
pub fn outcome(record: &Record) -> String {
    let ended = ending(record);
    match record.output.as_ref().filter(|output| output.from_cache) {
        Some(output) => format!("{ended}, from the cache (built {})", output.built),
        None => ended,
    }
}

/// Returns the previous and the new version. Empty if one of them is unknown.
fn change(record: &Record) -> String {
    match (&record.previous, &record.live) {
        (Some(previous), Some(live)) => {
            format!("  {} → {}", short_version(&previous.version), short_version(&live.version))
        }
        (None, Some(live)) => format!("  {}", short_version(&live.version)),
        _ => String::new(),
    }
}

fn ending(record: &Record) -> String {
    match record.status {
        DeployStatus::Built => "built".to_owned(),
        DeployStatus::Live if record.percent.is_some() => {
            let shares = record.live.iter().flat_map(|live| &live.shares);
            let shares: Vec<String> = shares.map(Share::words).collect();
            format!("gradual deployment in {}  {}", record.environment, shares.join(", "))
        }
        DeployStatus::Live => format!("live in {}{}", record.environment, change(record)),
        DeployStatus::Ready => format!("preview of {} is ready", record.environment),
        DeployStatus::RolledBack => {
            "health check failed; the previous version is live again".to_owned()
        }
        DeployStatus::Unchanged if record.operation == Operation::Preview => {
            "preview is up to date".to_owned()
        }
        DeployStatus::Unchanged => format!("already live in {}", record.environment),
        DeployStatus::Undeployed => {
            format!("no preview before `{}` is deployed for the first time", record.worker)
        }
        DeployStatus::Failed if record.operation == Operation::Build => {
            "the build failed".to_owned()
        }
        DeployStatus::Failed => "failed; the live version is unchanged".to_owned(),
        DeployStatus::Refused => "refused before anything changed".to_owned(),
        DeployStatus::Unknown => "failed, and what is live may have changed".to_owned(),
        DeployStatus::Interrupted => "interrupted".to_owned(),
        DeployStatus::Deleted => format!("deleted from {}", record.environment),
    }
}

/// Returns the end of a run: the results of each project, then the failures, then the counts.
#[must_use]
pub fn summary(records: &[Record]) -> String {
    let (done, failed): (Vec<&Record>, Vec<&Record>) =
        records.iter().partition(|record| record.status.is_done());
    let mut text: String = done.iter().map(|record| block(record, records.len() > 1)).collect();
    text += &failures(&failed);
    if records.len() > 1 {
        let names: Vec<&str> = failed.iter().map(|record| record.project.as_str()).collect();
        let line = match names.as_slice() {
            [] => format!("{} projects", done.len()),
            names => {
                format!(
                    "{} of {} projects succeeded; failed: {}",
                    done.len(),
                    records.len(),
                    names.join(", ")
                )
            }
        };
        text += &paint(DIM, &line);
        text.push('\n');
    }
    text
}

/// Returns the warnings and errors of failed attempts. Projects with the same error, such as that of a shared install,
/// are grouped.
fn failures(failed: &[&Record]) -> String {
    const MAX_LISTED_NAMES: usize = 3;
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in failed {
        let is_same = |group: &&mut Vec<&Record>| group[0].error_text() == record.error_text();
        match groups.iter_mut().find(is_same).filter(|_| record.error.is_some()) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    let mut text = String::new();
    for group in groups {
        text += &group.iter().map(|record| warnings(record)).collect::<String>();
        let names: Vec<&str> = group.iter().map(|record| record.project.as_str()).collect();
        text += &error(&list_first(MAX_LISTED_NAMES, &names), group[0]);
    }
    text
}

/// Returns the URLs of a successful attempt, the command that comes next, and the warnings.
fn block(record: &Record, has_heading: bool) -> String {
    let urls: Vec<String> = record.urls.iter().map(|url| paint(CYAN, url)).collect();
    let mut lines: Vec<(&str, String)> = Vec::new();
    if record.alias.is_some() {
        lines.extend(["Preview", "Pinned"].into_iter().zip(urls));
    } else {
        lines.extend(urls.into_iter().map(|url| ("Live", url)));
    }
    let sandbox = record.urls.first().filter(|_| record.sandbox).and_then(|url| port(url));
    lines.extend(sandbox.map(|port| ("Sandbox", paint(CYAN, &format!("http://127.0.0.1:{port}")))));
    lines.extend(next_command(record));
    let mut text = String::new();
    if has_heading && !lines.is_empty() {
        text += &format!("{}\n", paint(BOLD, &record.project));
    }
    for (label, value) in lines {
        text += &format!("  {label:8}{value}\n");
    }
    text + &notices(record)
}

/// Returns the port of a URL on this machine. `None` if it has none.
fn port(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("http://")?.split('/').next()?;
    authority.rsplit_once(':').map(|(_, port)| port)
}

/// Returns the command that undoes a deployment or promotes a preview. `None` if there is nothing to undo.
fn next_command(record: &Record) -> Option<(&'static str, String)> {
    let options = Destination::options(&record.environment, record.sandbox);
    let project = &record.project;
    match (&record.alias, record.status) {
        (None, DeployStatus::Live) => {
            let previous = record.previous.as_ref()?;
            // Only what `deploy` made is newer than the version before, which `rollback` takes by itself.
            let to = match record.operation {
                Operation::Deploy => String::new(),
                _ => format!(" --to {}", short_version(&previous.version)),
            };
            Some(("Undo", format!("{}{to}{options}", xtask_line(&["rollback", project]))))
        }
        (Some(alias), _)
            if record.strategy != Some(Strategy::Preview) && record.version.is_some() =>
        {
            Some(("Promote", xtask_line(&["promote", project, "--from", alias]) + &options))
        }
        _ => None,
    }
}

fn notices(record: &Record) -> String {
    warnings(record) + &error(&record.project, record)
}

fn warnings(record: &Record) -> String {
    let line = |warning| format!("{} {}: {warning}\n", paint(YELLOW, "warning:"), record.project);
    record.warnings.iter().map(line).collect()
}

/// Returns the error of an attempt with the name of its project, or of all projects with this error.
fn error(names: &str, record: &Record) -> String {
    let line = |error| format!("{} {names}: {error}\n", paint(RED, "error:"));
    record.error_text().map(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base::text::strip_escapes;
    use expect_test::expect;

    use workspace::config::LOCAL;

    use super::*;
    use cloudflare::api::Live;
    use gitlab::ci::CiVariables;
    use workspace::config::Config;

    #[test]
    fn groups_projects_with_the_same_error() {
        let names = ["a", "b", "c", "d", "e"];
        let mut records: Vec<Record> = names
            .iter()
            .map(|name| Record {
                error: Some("the install failed".to_owned()),
                hints: vec!["try again".to_owned()],
                ..record(Operation::Deploy, name, "local", DeployStatus::Failed)
            })
            .collect();
        records[1].error = Some("another".to_owned());
        records[1].hints.clear();
        expect![[r#"
            error: a, c, d and 1 more: the install failed
            hint: try again
            error: b: another
            0 of 5 projects succeeded; failed: a, b, c, d, e
        "#]]
        .assert_eq(&bare(&summary(&records)));
    }

    fn record(
        operation: Operation,
        project: &str,
        environment: &str,
        status: DeployStatus,
    ) -> Record {
        let config = Config::parse(workspace::toolchain::CONFIG);
        let config = config.expect("valid");
        let port = (environment == LOCAL).then_some(8787);
        let destination =
            Destination::resolve(&config, environment, port, &CiVariables::default(), None);
        let destination = destination.expect("a destination");
        Record { status, ..Record::new(operation, project, "site", &destination, "n0") }
    }

    /// Returns the text without colours.
    fn bare(text: &str) -> String {
        text.lines().map(|line| strip_escapes(line) + "\n").collect()
    }

    #[test]
    fn failures_come_last_with_the_next_command() {
        let live: Live = serde_json::from_value(serde_json::json!({
            "version": "896c0854-0000-4000-8000-000000000000", "deployment": "d", "since": null,
            "tag": null, "message": null
        }))
        .expect("a version");
        let failed = Record {
            error: Some("the build failed".to_owned()),
            hints: vec!["fix it".to_owned()],
            ..record(Operation::Deploy, "broken", LOCAL, DeployStatus::Failed)
        };
        let deployed = Record {
            urls: vec!["http://site.localhost:8787/".to_owned()],
            previous: Some(live.clone()),
            live: Some(Live { version: "5d06ec86-0000-4000-8000-000000000000".to_owned(), ..live }),
            ..record(Operation::Deploy, "site", LOCAL, DeployStatus::Live)
        };
        assert_eq!(outcome(&deployed), "live in local  896c0854 → 5d06ec86");
        let preview = Record {
            urls: vec!["https://demo.example/".to_owned(), "https://0a1b.example/".to_owned()],
            alias: Some("demo".to_owned()),
            version: Some("0a1b".to_owned()),
            ..record(Operation::Preview, "api", "staging", DeployStatus::Ready)
        };
        let all = [failed, deployed, preview];
        expect![[r#"
            site
              Live    http://site.localhost:8787/
              Sandbox http://127.0.0.1:8787
              Undo    cargo xtask rollback site
            api
              Preview https://demo.example/
              Pinned  https://0a1b.example/
              Promote cargo xtask promote api --from demo --env staging
            error: broken: the build failed
            hint: fix it
            2 of 3 projects succeeded; failed: broken
        "#]]
        .assert_eq(&bare(&summary(&all)));
        let first = summary(&all[1..2]);
        assert!(bare(&first).starts_with("  Live    http"), "{first}");
    }
}
