//! `diff`: the inputs of a project that differ from its live version.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use super::content_keys::content_keys;
use super::target::{EnvironmentUse, ProjectTarget, TargetArgs};
use base::error::{Exit, Result};
use base::terminal::{BOLD, GREEN, YELLOW, paint};
use base::text::{short_commit, short_version};
use cloudflare::api::Live;
use deployment::builds::plan_builds;
use deployment::context::Ctx;
use deployment::report::affected::sentence;
use workspace::affected::{Reason, find_affected};
use workspace::change_base::{Base, Changes};
use workspace::git::history;
use workspace::lock_changes::LockChanges;
use workspace::summary::Summary;
use workspace::triggers::Triggers;

/// Show which inputs of a project differ from its live version.
///
/// Files are compared with the commit of the live version. Exits with 1 if the project is out of date.
#[derive(Debug, Args)]
pub struct DiffCommand {
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DiffReport {
    schema: u32,
    project: String,
    environment: String,
    /// The live version matches the content of the working tree, and its triggers and settings are applied.
    up_to_date: bool,
    /// The content key of the working tree.
    key: String,
    live: Live,
    /// The crons, routes, domains and settings of the working tree are applied.
    triggers_applied: bool,
    /// The inputs that differ from the commit of the live version.
    reasons: Vec<Reason>,
    /// The reasons why the comparison of files is impossible or incomplete.
    notes: Vec<String>,
    /// The command that makes the working tree live.
    #[serde(skip)]
    deploy: String,
}

impl DiffCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx, EnvironmentUse::Worker)?;
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let (project, environment) = (&target.project, &target.destination.environment);
        let live = target.live(&api)?;
        let workspace = &target.workspace;
        let builds = plan_builds(workspace, &[project]);
        let mut keys = content_keys(workspace, &builds, &target.destination, None)?;
        let key = keys.pop().transpose()?.unwrap_or_default();
        let triggers = Triggers::new(&project.wrangler, environment).digest;
        let triggers_applied = live.triggers.as_deref() == Some(triggers.as_str());
        let is_same = live.tag.as_ref() == Some(&key);
        let (mut reasons, mut notes) = (Vec::new(), Vec::new());
        if !is_same {
            (reasons, notes) = compare(ctx, &target, &live)?;
        }
        let report = DiffReport {
            schema: 1,
            project: project.name.clone(),
            environment: environment.clone(),
            up_to_date: is_same && triggers_applied,
            key,
            live,
            triggers_applied,
            reasons,
            notes,
            deploy: target.destination.command_line("deploy", &project.name),
        };
        ctx.ui.report(&report, &report.text());
        Ok(if report.up_to_date { Exit::Done } else { Exit::Failed })
    }
}

/// Returns the inputs that differ from the commit of the live version, and the limits of that comparison.
fn compare(ctx: &Ctx, target: &ProjectTarget, live: &Live) -> Result<(Vec<Reason>, Vec<String>)> {
    let root = &ctx.root;
    let mut notes = Vec::new();
    if live.tag.is_none() {
        notes.push(
            "the live version has no content key, because another tool deployed it".to_owned(),
        );
    }
    let Some(commit) = live.commit() else {
        notes.push("the live version names no commit, so no files can be compared".to_owned());
        return Ok((Vec::new(), notes));
    };
    let short = short_commit(commit);
    if live.is_dirty() {
        notes.push(format!(
            "the live version was made from {short} with uncommitted changes, which git does not know"
        ));
    }
    let Some(commit) = history::commit(root, commit)? else {
        notes.push(format!("this clone does not have the commit {short}; run `git fetch`"));
        return Ok((Vec::new(), notes));
    };
    let working = history::uncommitted_paths(root)?;
    let head = history::commit(root, "HEAD")?;
    let mut paths: BTreeSet<Utf8PathBuf> = working.iter().cloned().collect();
    if let Some(head) = head.as_ref().filter(|head| **head != commit) {
        paths.extend(history::changed_between(root, &commit, head)?);
    }
    let changes = Changes {
        base: Base::Commit { commit, why: "the live version".to_owned() },
        head,
        uncommitted: true,
        paths: paths.into_iter().collect(),
        working,
    };
    let summary = Summary::new(&target.workspace);
    let locks = LockChanges::find(root, &summary, &changes);
    let affected = find_affected(&summary, &changes, &locks);
    let own = affected.projects.into_iter().find(|one| one.name == target.project.name);
    let reasons = own.map(|own| own.reasons).unwrap_or_default();
    if reasons.is_empty() && notes.is_empty() {
        notes.push(
            "no file differs: another tool version, build variable or account makes the difference"
                .to_owned(),
        );
    }
    Ok((reasons, notes))
}

impl DiffReport {
    fn text(&self) -> String {
        let commit = self.live.commit().map(short_commit);
        let origin = commit.map(|commit| format!(", made from {commit}")).unwrap_or_default();
        let state = match (self.up_to_date, self.live.tag.as_ref() == Some(&self.key)) {
            (true, _) => paint(GREEN, "up to date"),
            (false, true) => paint(YELLOW, "crons, routes or settings are not applied"),
            (false, false) => paint(YELLOW, "out of date"),
        };
        let heading = paint(BOLD, &format!("{} in {}", self.project, self.environment));
        let mut text =
            format!("{heading}: {state}; live is {}{origin}\n", short_version(&self.live.version));
        for reason in &self.reasons {
            text += &format!("  {}\n", sentence(reason));
        }
        for note in &self.notes {
            text += &format!("  {note}\n");
        }
        if !self.up_to_date {
            text += &format!("next: `{}`\n", self.deploy);
        }
        text
    }
}
