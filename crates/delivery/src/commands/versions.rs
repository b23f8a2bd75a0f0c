//! `versions`: the versions of a Worker, for `rollback --to` and `promote --from`.

use clap::Args;
use serde::Serialize;

use super::target::{EnvironmentUse, TargetArgs};
use base::error::{Exit, Result};
use base::terminal::table::{Cell, Table};
use base::terminal::{BOLD, CYAN, GREEN, paint};
use base::text::{join_lines, short_commit, short_version};
use base::time::{parse_rfc3339, unix_now};
use cloudflare::api::{Deployment, ListedVersion};
use deployment::context::Ctx;
use deployment::report::status::age;

/// List the versions of a project's Worker, newest first.
#[derive(Debug, Args)]
pub struct VersionsCommand {
    #[command(flatten)]
    target: TargetArgs,
}

/// The number of newest versions in the table. It lists older ones only if they are or were live.
const MAX_ROWS: usize = 10;

/// One version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionRow {
    id: String,
    /// The share of the traffic in percent. `None` if it gets none.
    live: Option<f64>,
    /// `true` if it was live before.
    was_live: bool,
    commit: Option<String>,
    /// `true` if it was built from a working tree with uncommitted changes.
    dirty: bool,
    /// The tool that uploaded it, or `secret` for a changed secret.
    source: Option<String>,
    alias: Option<String>,
    /// The content key.
    key: Option<String>,
    created: Option<String>,
    author: Option<String>,
    /// Its preview URL. `None` if the Worker's preview URLs are off, or its name is too long.
    url: Option<String>,
}

/// The JSON document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionsReport {
    schema: u32,
    project: String,
    environment: String,
    worker: String,
    versions: Vec<VersionRow>,
    /// The command that goes back to a version.
    #[serde(skip)]
    rollback: String,
}

impl VersionsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx, EnvironmentUse::Worker)?;
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let worker = target.worker();
        let deployments = api.deployments(&worker)?;
        let suffix = api.preview_suffix(&worker)?;
        let destination = &target.destination;
        let url = |id: &str| destination.preview_url(id.get(..8)?, &worker, suffix.as_deref()?);
        let versions = api.versions_and_deployed(&worker, &deployments, None)?;
        let rows = versions.into_iter().map(|version| {
            let url = url(&version.id);
            VersionRow::new(&version, &deployments, url)
        });
        let report = VersionsReport {
            rollback: destination.command_line("rollback", &target.project.name),
            schema: 1,
            project: target.project.name.clone(),
            environment: target.destination.environment.clone(),
            versions: rows.collect(),
            worker,
        };
        ctx.ui.report(&report, &report.text(unix_now(), ctx.ui.width()));
        Ok(Exit::Done)
    }
}

impl VersionRow {
    fn new(version: &ListedVersion, deployments: &[Deployment], url: Option<String>) -> VersionRow {
        let share = |deployment: &Deployment| {
            let mut shares = deployment.versions.iter();
            shares.find(|share| share.version_id == version.id).map(|share| share.percentage)
        };
        let annotation = |name: &str| version.annotation(name).map(str::to_owned);
        let live = deployments.first().and_then(share).filter(|percent| *percent > 0.0);
        VersionRow {
            live,
            was_live: live.is_none() && deployments.iter().skip(1).any(|one| share(one).is_some()),
            commit: version.commit().map(str::to_owned),
            dirty: version.is_dirty(),
            source: match version.is_of_secret() {
                true => Some("secret".to_owned()),
                false => version.metadata.source.clone(),
            },
            alias: version.alias().map(str::to_owned),
            key: annotation("workers/tag"),
            created: version.metadata.created_on.clone(),
            author: version.metadata.author_email.clone(),
            url,
            id: version.id.clone(),
        }
    }

    fn state(&self) -> String {
        match (self.live, self.was_live) {
            (Some(percent), _) if percent >= 100.0 => "live".to_owned(),
            (Some(percent), _) => format!("live {percent} %"),
            (None, true) => "was live".to_owned(),
            (None, false) => "not live".to_owned(),
        }
    }

    /// Returns the cells of the table.
    fn cells(&self, now: u64) -> Vec<Cell> {
        let commit = self
            .commit
            .as_deref()
            .map_or("none".to_owned(), |commit| join_lines(short_commit(commit)));
        let created = self.created.as_deref().and_then(parse_rfc3339);
        let text = |text: &Option<String>| text.as_deref().map(join_lines).unwrap_or_default();
        let state = self.state();
        let state = if self.live.is_some() { Cell::new(state, GREEN) } else { state.into() };
        vec![
            join_lines(short_version(&self.id)).into(),
            state,
            (commit + if self.dirty { " + changes" } else { "" }).into(),
            text(&self.source).into(),
            text(&self.alias).into(),
            created.map_or("?".to_owned(), |created| age(now.saturating_sub(created))).into(),
            Cell::new(text(&self.url), CYAN),
        ]
    }
}

impl VersionsReport {
    fn text(&self, now: u64, width: Option<usize>) -> String {
        let subject = format!("{} in {}", self.project, self.environment);
        if self.versions.is_empty() {
            return format!("{subject}: the Worker `{}` has no version\n", self.worker);
        }
        let heading = ["VERSION", "STATE", "COMMIT", "SOURCE", "ALIAS", "AGE", "URL"];
        let mut table = Table::new(&heading).with_movable_last_column();
        let is_deployed = |row: &VersionRow| row.live.is_some() || row.was_live;
        let older = self.versions.iter().skip(MAX_ROWS);
        let unlisted = older.filter(|row| !is_deployed(row)).count();
        for (number, version) in self.versions.iter().enumerate() {
            if number < MAX_ROWS || is_deployed(version) {
                table.row(version.cells(now));
            }
        }
        let mut text = paint(BOLD, &subject) + "\n" + &table.text(width);
        if unlisted > 0 {
            let noun = if unlisted == 1 { "version" } else { "versions" };
            text += &format!("and {unlisted} older {noun}; `--json` lists them\n");
        }
        if let Some(previous) = self.versions.iter().find(|row| row.was_live) {
            let id = short_version(&previous.id);
            text += &format!("next: `{} --to {id}`\n", self.rollback);
        }
        text
    }
}
