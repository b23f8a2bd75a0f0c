//! `status`: the live version of each project in each environment.

use std::collections::BTreeMap;

use clap::Args;

use super::content_keys::content_keys;
use super::deploy::sandbox_port;
use super::orphans;
use base::error::{Error, Exit, Result};
use base::parallel;
use base::secret::Secret;
use base::time::unix_now;
use cloudflare::api::Api;
use deployment::builds::plan_builds;
use deployment::context::Ctx;
use deployment::plan::block;
use deployment::plan::destination::Destination;
use deployment::report::status::{LiveState, StatusReport, StatusRow};
use workspace::Workspace;
use workspace::config::{Config, LOCAL};
use workspace::git;
use workspace::project::Project;
use workspace::triggers::Triggers;

/// The number of parallel reads, well within Cloudflare's limits.
pub(super) const READERS: usize = 8;

/// Show the live version of each project and whether it matches the working tree.
#[derive(Debug, Args)]
pub struct StatusCommand {
    /// Projects, by any unique suffix of the path, Worker name or package name [default: all]
    #[arg(value_name = "PROJECT")]
    names: Vec<String>,
    /// Show only this environment [default: all with a credential on this machine]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Read from the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
}

/// An environment that can be read.
pub(super) struct ReadableEnvironment {
    pub(super) destination: Destination,
    pub(super) token: Secret,
    /// The content key of each project in the working tree.
    keys: BTreeMap<String, Result<String>>,
}

impl StatusCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let projects = workspace.select(&self.names)?;
        let mut readable = Vec::new();
        let mut skipped = BTreeMap::new();
        for environment in self.environments(&workspace) {
            match self.prepare_read(ctx, &workspace, &projects, &environment) {
                Ok(one) => readable.push(one),
                Err(error) if self.env.is_some() => return Err(error),
                Err(error) => drop(skipped.insert(environment, format!("{error:#}"))),
            }
        }
        let mut rows = read(ctx, &workspace, &readable, &projects);
        name_shared(&workspace, &readable, &projects, &mut rows);
        let head = git::head(&ctx.root)?;
        let mut report = StatusReport::new(&head, rows, skipped);
        if self.names.is_empty() {
            report.unowned = orphans::find(ctx, &workspace, &readable);
        }
        ctx.ui.report(&report, &report.text(unix_now(), ctx.ui.width()));
        Ok(if report.complete() { Exit::Done } else { Exit::Failed })
    }

    fn environments(&self, workspace: &Workspace) -> Vec<String> {
        match &self.env {
            Some(environment) => vec![environment.clone()],
            None => std::iter::once(LOCAL.to_owned())
                .chain(workspace.config.environments.keys().cloned())
                .collect(),
        }
    }

    /// Prepares reading an environment. Reads ignore protection. Errors if the credential is missing.
    fn prepare_read(
        &self,
        ctx: &Ctx,
        workspace: &Workspace,
        projects: &[&Project],
        environment: &str,
    ) -> Result<ReadableEnvironment> {
        let port = sandbox_port(ctx, environment, self.sandbox);
        let destination = Destination::to_read(&workspace.config, environment, port)?;
        let token = ctx.checked_token(&destination)?;
        let builds = plan_builds(workspace, projects);
        let keys = content_keys(workspace, &builds, &destination, None)?;
        let keys = projects.iter().map(|project| project.name.clone()).zip(keys).collect();
        Ok(ReadableEnvironment { destination, token, keys })
    }
}

/// Reads every project in every environment in parallel.
fn read(
    ctx: &Ctx,
    workspace: &Workspace,
    readable: &[ReadableEnvironment],
    projects: &[&Project],
) -> Vec<StatusRow> {
    let questions: Vec<(&ReadableEnvironment, &Project)> =
        readable.iter().flat_map(|one| projects.iter().map(move |&p| (one, p))).collect();
    parallel::map(&questions, READERS, |(one, project)| row(ctx, workspace, one, project))
}

/// Replaces the rows of Workers that belong to another environment. If a wrangler config has no block for an
/// environment, the environment uses the Worker of the top level, and one Worker has one state.
fn name_shared(
    workspace: &Workspace,
    readable: &[ReadableEnvironment],
    projects: &[&Project],
    rows: &mut [StatusRow],
) {
    let config = &workspace.config;
    let environments: Vec<&str> =
        std::iter::once(LOCAL).chain(config.environments.keys().map(String::as_str)).collect();
    for project in projects {
        let uses_top_level = |name: &&&str| {
            !project.wrangler.has(name) && block::check(workspace, project, name).is_ok()
        };
        let without_block: Vec<&str> =
            environments.iter().filter(uses_top_level).copied().collect();
        let current: Vec<String> = rows
            .iter()
            .filter(|row| row.project == project.name && row.is_up_to_date())
            .map(|row| row.environment.clone())
            .collect();
        for row in rows.iter_mut().filter(|row| row.project == project.name) {
            if !row.is_outdated() || project.wrangler.has(&row.environment) {
                continue;
            }
            let own = place(config, readable, &row.environment);
            let mut sharing = without_block.clone();
            sharing.retain(|name| place(config, readable, name) == own);
            let owner = owner(config, &sharing, &current);
            if let Some(owner) = owner.filter(|owner| *owner != row.environment) {
                row.state = LiveState::NoBlock { worker_of: owner.to_owned() };
            }
        }
    }
}

/// The place of a Worker: one of the same name and place is the same Worker.
#[derive(PartialEq, Eq)]
struct WorkerPlace {
    is_in_sandbox: bool,
    account: String,
}

/// Returns the place of an environment's Workers. An environment that was not read is at Cloudflare, and `local` never is.
fn place(config: &Config, readable: &[ReadableEnvironment], environment: &str) -> WorkerPlace {
    let read = readable.iter().find(|one| one.destination.environment == environment);
    WorkerPlace {
        is_in_sandbox: read.map_or(environment == LOCAL, |one| one.destination.sandbox.is_some()),
        account: config.cloudflare(environment).account_id.to_lowercase(),
    }
}

/// Returns the environment that owns a Worker of several environments: the one that it was deployed for, else the one of
/// the top level. `current` names the environments whose content is live.
fn owner<'e>(config: &Config, sharing: &[&'e str], current: &[String]) -> Option<&'e str> {
    let is_current = |name: &&&str| current.iter().any(|one| one == **name);
    let is_protected =
        |name: &&&str| config.environments.get(**name).is_some_and(|one| one.protected);
    let owner = sharing
        .iter()
        .find(is_current)
        .or_else(|| sharing.iter().find(|name| **name == LOCAL))
        .or_else(|| sharing.iter().find(is_protected))
        .or_else(|| sharing.first());
    owner.copied()
}

fn row(
    ctx: &Ctx,
    workspace: &Workspace,
    one: &ReadableEnvironment,
    project: &Project,
) -> StatusRow {
    let Destination { environment, api, account_id, .. } = &one.destination;
    let target = project.target(environment);
    let api = Api::new(api, account_id, &one.token).patient(&ctx.retry_budget);
    let ask = || -> Result<LiveState> {
        if let Err(Error { message, hints, .. }) = block::check(workspace, project, environment) {
            return Ok(LiveState::Refused { reason: message, hints });
        }
        let Some(live) = api.live(&target.worker)? else { return Ok(LiveState::Nothing) };
        let urls = one.destination.live_urls(&target, || api.address(&target.worker))?;
        let key = one.keys.get(&project.name).cloned().transpose()?;
        let is_up_to_date = live.tag == key;
        let wanted = Triggers::new(&project.wrangler, environment).digest;
        let triggers_applied = live.triggers.as_ref() == Some(&wanted);
        let live = Box::new(live);
        Ok(LiveState::Live { live, urls, is_up_to_date, triggers_applied })
    };
    StatusRow {
        project: project.name.clone(),
        environment: environment.clone(),
        worker: target.worker.clone(),
        diff: one.destination.command_line("diff", &project.name),
        state: ask().unwrap_or_else(|error| LiveState::Unreadable { error: format!("{error:#}") }),
    }
}
