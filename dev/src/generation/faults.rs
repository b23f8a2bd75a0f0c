//! The faults that are tried out, as data: what breaks, and what must be true afterwards. The tests run
//! every row of `xtask/tests/faults/`; the page `docs/reference/faults.md` is made of the same rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base::error::{ErrorContext as _, Exit, Result};
use camino::Utf8Path;
use serde::Deserialize;
use serde_json::Value;

/// The folder of the tables, relative to the root.
pub const TABLES: &str = "xtask/tests/faults";

/// One file: what breaks in one phase of a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSection {
    /// The heading.
    pub title: String,
    /// The topic of the section, and the facts that hold for all of it.
    pub about: String,
    /// Rows that have something in common.
    pub groups: Vec<FaultGroup>,
}

/// Rows that break at the same place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultGroup {
    /// The broken part: a request, a program, a folder.
    pub what: String,
    /// The command, without the project.
    pub verb: String,
    /// The requests to the sandbox that are broken, without the action. `{worker}` and `{account}`
    /// are replaced by the row's own.
    pub at: Option<Value>,
    /// Further broken parts during the whole row: requests, each with its `action`, which may be the name of
    /// an answer.
    #[serde(default)]
    pub besides: Vec<Value>,
    /// The project: `site`, a site of files (the default), `code`, or `new`, a site that was never
    /// deployed.
    #[serde(default = "site")]
    pub project: String,
    /// `true` if it runs in a clone of the repository, of which more may be broken than the project, and
    /// in which a setup that hangs keeps no other row waiting.
    #[serde(default)]
    pub clone: bool,
    /// Further arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// The rows.
    pub rows: Vec<FaultRow>,
}

/// One fault, and what must be true afterwards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRow {
    /// The fault: the name of an answer, or a few words.
    pub fault: String,
    /// The sandbox's action, where `fault` is not the name of an answer.
    pub action: Option<Value>,
    /// The number of times. `None` means always.
    pub times: Option<u32>,
    /// Programs that are first on PATH, by name: shell text, in which `{bun}` is the real Bun.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// Files that are there before the run, by their paths below the root.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Texts that are appended to files of the repository.
    #[serde(default)]
    pub append: BTreeMap<String, String>,
    /// A second event at that moment: a signal, a deployment by another user.
    pub then: Option<String>,
    /// `XTASK_DEADLINE`.
    pub deadline: Option<u32>,
    /// The exit code.
    pub exit: i32,
    /// The record's status, or the outcome of a deleted preview. `None` if there is
    /// neither.
    pub status: Option<String>,
    /// The version that is live: `previous`, `new`, `older`, `preview` or `nothing`.
    pub live: String,
    /// The number of deployments, if it is not 0 for `previous` and `nothing` and else 1.
    pub deployments: Option<usize>,
    /// The state of the preview of the name that `--alias` gives: `previous`, `new` or `gone`.
    pub preview: Option<String>,
    /// A part of what the person reads.
    pub says: String,
    /// A part of the next step.
    pub hint: Option<String>,
    /// The outcome of the same command when it runs again: afterwards, or beside it where `then`
    /// says so.
    pub next: Option<Next>,
}

/// A second run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The exit code.
    pub exit: i32,
    /// The record's status.
    pub status: String,
    /// The version that is live.
    pub live: String,
    /// A part of what the person reads.
    #[serde(default)]
    pub says: String,
}

fn site() -> String {
    "site".to_owned()
}

impl FaultRow {
    /// Returns the number of deployments that the run must have made.
    #[must_use]
    pub fn deployment_count(&self) -> usize {
        let changed = !["previous", "nothing"].contains(&self.live.as_str());
        self.deployments.unwrap_or(usize::from(changed))
    }

    /// The row of the page.
    fn line(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let deployments = match self.deployments {
            Some(count) if count > 1 => format!(" ({count} deployments)"),
            _ => String::new(),
        };
        let preview =
            self.preview.as_ref().map(|which| format!("; preview: {which}")).unwrap_or_default();
        let mut fault = self.fault.clone();
        if let Some(then) = &self.then {
            fault = if fault.is_empty() { then.clone() } else { format!("{fault}; {then}") };
        }
        let mut next = self.hint.clone().unwrap_or_else(|| "nothing".to_owned());
        if let Some(second) = &self.next {
            let status = &second.status;
            next = match &self.hint {
                _ if self.then.as_ref().is_some_and(|then| then.contains("same command")) => {
                    format!("{next}; that one: {status}")
                }
                Some(hint) => format!("{hint}; run again: {status}"),
                None => format!("run it again: {status}"),
            };
        }
        format!(
            "| {} | {} | {}{deployments}{preview} | {} | {} |\n",
            cell(&fault),
            self.exit,
            self.live,
            cell(&self.says),
            cell(&next)
        )
    }
}

/// Reads every table below `root`, in the order of their names.
pub fn read(root: &Utf8Path) -> Result<Vec<FaultSection>> {
    let mut paths = Vec::new();
    for entry in root.join(TABLES).read_dir_utf8().context(TABLES)? {
        paths.push(entry?.into_path());
    }
    paths.sort();
    let read = |path: &Utf8Path| -> Result<FaultSection> {
        let text = std::fs::read_to_string(path).with_context(|| path.to_string())?;
        serde_json::from_str(&text).with_context(|| path.to_string())
    };
    paths.iter().map(|path| read(path)).collect()
}

/// The page.
#[must_use]
pub fn page(sections: &[FaultSection]) -> String {
    let count: usize =
        sections.iter().flat_map(|section| &section.groups).map(|group| group.rows.len()).sum();
    let exits = Exit::ALL.map(|exit| format!("{} {}", exit as u8, exit.meaning())).join(" · ");
    let mut text = format!(
        "# When something breaks\n\n<!-- Written by `cargo dev generate`. -->\n\n\
         {count} faults, each tried out by the tests with the real wrangler: what you see, how the command \
         ends, what is live afterwards, and what to do. *previous* is the version that was live before, *new* \
         the one that the run made. Requests that only read are repeated by xtask after 429, 500, 502 \
         to 504, 520 to 524 and broken connections, with growing pauses or the one that the server asks for, for two \
         minutes a command at most; an order to Cloudflare is repeated only when it is known that it was \
         not carried out. wrangler itself repeats some.\n\n\
         Exit codes: {exits}. `-9` means that xtask itself was killed.\n"
    );
    for section in sections {
        let _infallible = write!(text, "\n## {}\n\n{}\n", section.title, section.about);
        for group in &section.groups {
            let _infallible = write!(
                text,
                "\n**{}** (`{}`)\n\n| fault | exit | live | you see | what to do |\n|---|---|---|---|---|\n",
                group.what,
                std::iter::once(&group.verb)
                    .chain(&group.args)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(" ")
            );
            text.extend(group.rows.iter().map(FaultRow::line));
        }
    }
    text
}
