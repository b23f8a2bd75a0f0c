//! `versions`: the versions of a Worker, as `rollback --to` and `promote --from` take them.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::target::TargetArgs;
use crate::context::Ctx;
use crate::report::status::age;
use base::error::Exit;
use base::terminal::{BOLD, CYAN, DIM, GREEN, paint};
use base::time::{parse_rfc3339, unix_now};
use cloudflare::api::{Deployment, ListedVersion};

/// List the versions of a project's Worker, newest first.
#[derive(Debug, Args)]
pub struct VersionsCommand {
    #[command(flatten)]
    target: TargetArgs,
}

/// One version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionRow {
    id: String,
    /// The share of the traffic in percent. `None` if it gets none.
    live: Option<f64>,
    /// It was live before.
    was_live: bool,
    commit: Option<String>,
    /// It was made from a working tree with uncommitted changes.
    dirty: bool,
    /// The tool that made it, or `secret` if a changed secret did.
    source: Option<String>,
    alias: Option<String>,
    /// The content key.
    key: Option<String>,
    created: Option<String>,
    author: Option<String>,
    /// Its own address. `None` if the Worker's preview addresses are off.
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
}

impl VersionsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx)?;
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let worker = target.worker();
        let deployments = api.deployments(&worker)?;
        let suffix = api.preview_suffix(&worker)?;
        let destination = &target.destination;
        let url =
            |id: &str| Some(destination.preview_url(id.get(..8)?, &worker, suffix.as_deref()?));
        let rows = api.versions(&worker)?.into_iter().map(|version| {
            let url = url(&version.id);
            VersionRow::new(&version, &deployments, url)
        });
        let report = VersionsReport {
            schema: 1,
            project: target.project.name.clone(),
            environment: target.destination.environment.clone(),
            versions: rows.collect(),
            worker,
        };
        ctx.ui.report(&report, &report.text(unix_now()));
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
    fn cells(&self, now: u64) -> [String; 7] {
        let short = |text: &str, length: usize| text.get(..length).unwrap_or(text).to_owned();
        let commit = self.commit.as_deref().map_or("-".to_owned(), |commit| short(commit, 12));
        let created = self.created.as_deref().and_then(parse_rfc3339);
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            short(&self.id, 8),
            self.state(),
            commit + if self.dirty { " + changes" } else { "" },
            or_dash(&self.source),
            or_dash(&self.alias),
            created.map_or("?".to_owned(), |created| age(now.saturating_sub(created)) + " ago"),
            or_dash(&self.url),
        ]
    }
}

impl VersionsReport {
    fn text(&self, now: u64) -> String {
        let place = format!("{} in {}", self.project, self.environment);
        if self.versions.is_empty() {
            return format!("{place}: the Worker `{}` has no version\n", self.worker);
        }
        let heading = ["VERSION", "STATE", "COMMIT", "SOURCE", "ALIAS", "AGE", "URL"];
        let cells: Vec<[String; 7]> = self.versions.iter().map(|row| row.cells(now)).collect();
        let width = |column: usize| {
            let cells = cells.iter().map(|row| row[column].chars().count());
            cells.chain([heading[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; 7] = std::array::from_fn(width);
        let line = |row: [&str; 7], paint_cell: &dyn Fn(usize, String) -> String| {
            let padded = row.iter().enumerate().map(|(column, cell)| {
                let last = column + 1 == row.len();
                let text =
                    if last { (*cell).to_owned() } else { format!("{cell:0$}", widths[column]) };
                paint_cell(column, text)
            });
            padded.collect::<Vec<_>>().join("  ") + "\n"
        };
        let mut text = paint(BOLD, &place) + "\n" + &line(heading, &|_, text| paint(DIM, &text));
        for (row, version) in cells.iter().zip(&self.versions) {
            let clean: [String; 7] =
                std::array::from_fn(|column| row[column].replace(char::is_control, "?"));
            text += &line(std::array::from_fn(|column| clean[column].as_str()), &|column, text| {
                match column {
                    1 if version.live.is_some() => paint(GREEN, &text),
                    6 => paint(CYAN, &text),
                    _ => text,
                }
            });
        }
        if let Some(previous) = self.versions.iter().find(|row| row.was_live) {
            let id = previous.id.get(..8).unwrap_or(&previous.id);
            let env = match self.environment.as_str() {
                workspace::config::LOCAL => String::new(),
                environment => format!(" --env {environment}"),
            };
            let name = &self.project;
            text += &format!("next: `cargo xtask rollback {name} --to {id}{env}`\n");
        }
        text
    }
}
