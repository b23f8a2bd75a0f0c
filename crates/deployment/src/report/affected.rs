//! Reports the projects that a change affects, with the reasons.

use camino::Utf8PathBuf;
use serde::Serialize;

use base::terminal::{DIM, paint};
use base::text::{is_control_or_bidi, short_commit};
use workspace::affected::{Affected, AffectedItem, Reason};
use workspace::change_base::{Base, Changes};
use workspace::discovery::BrokenConfig;
use workspace::graph::Origin;
use workspace::summary::Summary;

/// The JSON document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AffectedReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// The compared states.
    #[serde(flatten)]
    pub changes: &'a Changes,
    /// Affected projects, by folder.
    pub projects: &'a [AffectedItem<'a>],
    /// Affected packages, by folder. Includes the package of an affected project.
    pub packages: &'a [AffectedItem<'a>],
    /// The number of projects.
    pub of: usize,
    /// Wrangler configs that cannot be used.
    pub broken: &'a [BrokenConfig],
}

impl<'a> AffectedReport<'a> {
    /// Creates the report of `affected`.
    #[must_use]
    pub fn new(
        summary: &'a Summary,
        changes: &'a Changes,
        affected: &'a Affected<'a>,
    ) -> AffectedReport<'a> {
        AffectedReport {
            schema: 1,
            changes,
            projects: &affected.projects,
            packages: &affected.packages,
            of: summary.projects(),
            broken: &summary.broken,
        }
    }

    /// Formats one project per line. With `why`, adds the base and the reasons.
    #[must_use]
    pub fn text(&self, why: bool) -> String {
        if self.projects.is_empty() {
            return nothing(self.changes);
        }
        let mut text = String::new();
        if why {
            let count = format!("{} of {} projects", self.projects.len(), self.of);
            text += &paint(DIM, &format!("{count}: {}\n", since(self.changes)));
        }
        for entry in self.projects {
            text += entry.name;
            text.push('\n');
            for reason in entry.reasons.iter().take(if why { MAX_LISTED_REASONS } else { 0 }) {
                text += &format!("  {}\n", sentence(reason));
            }
            if why && entry.reasons.len() > MAX_LISTED_REASONS {
                text += &format!(
                    "  and {} more (`--json`)\n",
                    entry.reasons.len() - MAX_LISTED_REASONS
                );
            }
        }
        text
    }
}

/// The maximum number of reasons in text output.
const MAX_LISTED_REASONS: usize = 5;

/// Returns the message if no project is affected.
#[must_use]
pub fn nothing(changes: &Changes) -> String {
    format!("no project is affected: {}", since(changes))
}

/// Describes the compared states in one line.
fn since(changes: &Changes) -> String {
    let files = match changes.paths.len() {
        1 => "1 file differs".to_owned(),
        count => format!("{count} files differ"),
    };
    match &changes.base {
        Base::Commit { commit, why } => {
            let short = short_commit(commit);
            let tree = if changes.uncommitted { ", with uncommitted changes" } else { "" };
            format!("{files} from {short} ({why}){tree}")
        }
        Base::PathList => format!("{} paths were given", changes.paths.len()),
        Base::Everything { because } => format!("everything, because {because}"),
    }
}

/// Formats the reasons of one project in one line, for plans.
#[must_use]
pub fn line(reasons: &[Reason]) -> String {
    match reasons {
        [] => String::new(),
        [only] => sentence(only),
        [first, rest @ ..] => format!("{}, and {} more", sentence(first), rest.len()),
    }
}

/// Formats one reason. Names of files are untrusted, so none may start a line.
#[must_use]
pub fn sentence(reason: &Reason) -> String {
    let text = match reason {
        Reason::ChangedFile { path } => format!("{path} changed"),
        Reason::GlobalInput { path } => format!("{path} changed, which every project depends on"),
        Reason::UnknownBase { because } => format!("everything, because {because}"),
        Reason::Dependency { on, origin, through, path } => {
            let name = |dir: &Utf8PathBuf| match dir.as_str() {
                "" => "the package in the repository's root".to_owned(),
                dir => dir.to_owned(),
            };
            let steps: String = through.iter().map(|dir| format!(" → {}", name(dir))).collect();
            format!("{} {}{steps}: {path} changed", verb(*origin), name(on))
        }
    };
    text.replace(is_control_or_bidi, "?")
}

fn verb(origin: Origin) -> &'static str {
    match origin {
        Origin::Package => "is built by",
        Origin::Manifest | Origin::DependsOn | Origin::Crate => "depends on",
        Origin::Module => "its Dagger module uses",
        Origin::Input => "is made from",
        Origin::Install => "is installed by",
        Origin::Config => "its wrangler config names",
        Origin::Link => "has a link to",
        Origin::Cargo => "is compiled with",
    }
}
