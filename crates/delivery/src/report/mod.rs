//! Values as people read them. Nothing here reads or writes.

pub mod affected;
pub mod ci;
pub mod comment_outcome;
pub mod new_project;
pub mod projects;
pub mod script;
pub mod status;

use serde::Serialize;

use crate::plan::Verb;
use crate::record::{Record, Status};
use base::error::Exit;
use base::terminal::{CYAN, DIM, RED, YELLOW, paint};

/// The report of a run over several projects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// The exit code of the run.
    pub exit: u8,
    /// One record a project.
    pub records: &'a [Record],
    /// Why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<&'a str>,
}

impl<'a> RunReport<'a> {
    /// The report on `records`.
    #[must_use]
    pub fn new(records: &'a [Record]) -> RunReport<'a> {
        RunReport { schema: 1, exit: exit(records) as u8, records, nothing: None }
    }

    /// The report on a run that had nothing to do.
    #[must_use]
    pub fn nothing(because: &'a str) -> RunReport<'a> {
        RunReport { nothing: Some(because), ..RunReport::new(&[]) }
    }
}

/// The exit code of a run.
#[must_use]
pub fn exit(records: &[Record]) -> Exit {
    Exit::worst(records.iter().map(|record| record.status.exit()))
}

/// How an attempt ended, in a few words.
#[must_use]
pub fn outcome(record: &Record) -> String {
    let ended = ending(record);
    match record.output.as_ref().filter(|output| output.from_cache) {
        Some(output) => format!("{ended}, from the cache (built {})", output.built),
        None => ended,
    }
}

fn ending(record: &Record) -> String {
    match record.status {
        Status::Built => "built".to_owned(),
        Status::Live => format!("live in {}", record.environment),
        Status::Ready => format!("preview of {} is ready", record.environment),
        Status::RolledBack => "does not answer; the former version is live again".to_owned(),
        Status::Unchanged if record.verb == Verb::Preview => "preview is there already".to_owned(),
        Status::Unchanged => format!("already live in {}", record.environment),
        Status::Undeployed => {
            format!("no preview before `{}` is deployed for the first time", record.worker)
        }
        Status::Failed => "failed, and nothing of it is live".to_owned(),
        Status::Refused => "refused before anything changed".to_owned(),
        Status::Unknown => "failed, and what is live may have changed".to_owned(),
        Status::Interrupted => "interrupted".to_owned(),
    }
}

/// The end of a run: the address of each project that answers, the reason of each that failed.
#[must_use]
pub fn summary(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        for url in &record.urls {
            if record.status.exit() == Exit::Done {
                text += &format!("{}  {}\n", record.project, paint(CYAN, url));
            }
        }
        for warning in &record.warnings {
            text += &format!("{} {}: {warning}\n", paint(YELLOW, "warning:"), record.project);
        }
        if let Some(error) = &record.error {
            text += &format!("{} {}: {}\n", paint(RED, "error:"), record.project, error);
        }
    }
    let failed: Vec<&str> = records
        .iter()
        .filter(|record| record.status.exit() != Exit::Done)
        .map(|record| record.project.as_str())
        .collect();
    if records.len() > 1 {
        let good = records.len() - failed.len();
        let line = match failed.as_slice() {
            [] => format!("{good} projects"),
            failed => {
                format!("{good} of {} projects; not done: {}", records.len(), failed.join(", "))
            }
        };
        text += &paint(DIM, &line);
        text.push('\n');
    }
    text
}
