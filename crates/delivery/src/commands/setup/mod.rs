//! `setup`: the account id, the tokens in GitLab, and the schedule.

pub mod inputs;
mod report;
mod script;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::config_edit;
use crate::context::Ctx;
use crate::plan::destination::Destination;
use crate::tools::sandbox;
use base::error::{Exit, Failure, failed, refused};
use base::files::write_whole;
use base::secret::Secret;
use cloudflare::api::Api;
use gitlab::api::request::Client;
use gitlab::api::variables::StoredVariable;
use gitlab::api::{Notes, schedules, variables};
use gitlab::pipeline::variables::{Variable, table};
use inputs::{PipelineToken, SetupInputs};
use report::{SetupReport, SetupStep, StepState};
use script::SetupScript;
use workspace::config::{CONFIG_FILE, Config};

/// The description of the schedule.
const SCHEDULE: &str = "Deploy what is left and delete previews (cargo xtask)";

/// The time limit of one request to GitLab.
const REQUEST: std::time::Duration = std::time::Duration::from_secs(15);

/// Write the account id, and store the tokens and the schedule in GitLab.
///
/// It asks for what is missing, with hidden input for tokens, and verifies it before anything is changed. Then it asks
/// before each write. Without a terminal, the values come from the environment, and `--yes` confirms the writes.
#[derive(Debug, Args)]
pub struct SetupCommand {
    /// Do not ask before each write
    #[arg(long)]
    yes: bool,
    /// Replace variables that GitLab has already
    #[arg(long)]
    replace: bool,
    /// Verify the tokens of Cloudflare with the sandbox
    #[arg(long)]
    sandbox: bool,
}

impl SetupCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let text = std::fs::read_to_string(ctx.root.join(CONFIG_FILE)).map_err(|error| {
            refused(format!("cannot read {CONFIG_FILE}: {error}"))
                .hint("run `init` from a checkout of this tool, which writes it")
        })?;
        let config = Config::parse(&text)?;
        let mut inputs = SetupInputs::new(ctx);
        let account = inputs.account(&config)?;
        let project = inputs.project(&config)?;
        let text = with_ids(&text, account.as_deref(), project.as_deref())?;
        let config = Config::parse(&text)?;
        let gitlab_token = inputs.gitlab_token();
        let number = config.gitlab.number().map(str::to_owned);
        let client = match (&gitlab_token, &number) {
            (Some(token), Some(_)) => Some(client(ctx, &config, token)?),
            _ => None,
        };
        let gitlab = match (&client, number.as_deref()) {
            (Some(client), Some(project)) => Some(GitlabSettings::read(client, project)?),
            _ => None,
        };
        let stored = gitlab.as_ref().map(|gitlab| gitlab.stored.as_slice()).unwrap_or_default();
        let rows = table(&config);
        let mut tokens = Vec::new();
        for row in &rows {
            let is_stored = is_stored(row, stored);
            if is_stored && !self.replace {
                if inputs::is_given(row) {
                    ctx.ui.note(&format!(
                        "GitLab has {} for {} already; `--replace` replaces it",
                        row.name, row.scope
                    ));
                }
                continue;
            }
            tokens.extend(inputs.token(row, is_stored).map(|value| PipelineToken { row, value }));
        }
        if !inputs.missing.is_empty() && !ctx.ui.can_ask() {
            return Err(inputs.refusal().into());
        }
        if !self.yes && !ctx.dry_run && !ctx.ui.can_ask() {
            return Err(refused("the writes are not confirmed; nothing was changed")
                .hint("add `--yes`, because this is no terminal that could ask")
                .into());
        }
        self.verify(ctx, &config, &tokens)?;
        let replaced: Vec<String> = tokens
            .iter()
            .filter(|token| is_stored(token.row, stored))
            .map(|token| format!("{} for {}", token.row.name, token.row.scope))
            .collect();
        if !replaced.is_empty() {
            let will = if ctx.dry_run { "would replace" } else { "replaces" };
            ctx.ui.note(&format!("{will} in GitLab: {}", replaced.join(", ")));
        }
        let mut report = SetupReport::new(ctx.dry_run);
        let has_ids = account.is_some() || project.is_some();
        let ids = SetupWrite::new("ids", CONFIG_FILE.to_owned());
        let write = || write_whole(&ctx.root.join(CONFIG_FILE), &text);
        report.steps.push(self.write(ctx, ids.with_need(has_ids), write));
        for row in &rows {
            let name = format!("{} for {}", row.name, row.scope);
            let token = tokens.iter().find(|token| token.row == row);
            match (&gitlab, token) {
                (Some(_), None) if is_stored(row, stored) => {
                    report.steps.push(SetupStep::new("variable", &name, StepState::AlreadyThere));
                }
                (Some(gitlab), Some(token)) => {
                    let replaces = find_stored(row, stored).is_some();
                    let store = if replaces { variables::replace } else { variables::create };
                    let write = || store(gitlab.client, gitlab.project, row, &token.value);
                    let variable = SetupWrite { replaces, ..SetupWrite::new("variable", name) };
                    report.steps.push(self.write(ctx, variable, write));
                }
                _ => report.left_variable(row),
            }
        }
        match &gitlab {
            Some(gitlab) => self.schedule(ctx, gitlab, &mut report),
            None => report.left_schedule(),
        }
        report.leave_rest(&config);
        let shown = match ctx.dry_run {
            true => SetupScript {
                root: &ctx.root,
                config: &config,
                config_text: has_ids.then_some(text.as_str()),
                port: self.sandbox.then(|| sandbox::planned_port(&ctx.root)),
                tokens: &tokens,
                gitlab: gitlab.as_ref(),
                left: &report.left,
            }
            .text()?,
            false => report.text(ctx.ui.width()),
        };
        ctx.ui.report(&report, &shown);
        Ok(report.exit())
    }

    /// Asks for confirmation, then writes. A failed write is a row, and does not stop the others.
    fn write(&self, ctx: &Ctx, step: SetupWrite, write: impl FnOnce() -> Result<()>) -> SetupStep {
        let SetupWrite { what, name, replaces, is_needed } = step;
        let instead = if replaces { ", in place of the one in GitLab" } else { "" };
        let question = format!("{what}: {name}{instead}. Continue?");
        let state = if !is_needed {
            StepState::AlreadyThere
        } else if ctx.dry_run {
            StepState::Planned
        } else if self.yes || ctx.ui.confirm(&question) == Some(true) {
            match write() {
                Ok(()) => StepState::Done,
                Err(error) => StepState::Failed(format!("{error:#}")),
            }
        } else {
            StepState::NotConfirmed
        };
        SetupStep::new(what, &name, state).replacing(replaces)
    }

    /// Creates the schedule if the default branch has no active one.
    fn schedule(&self, ctx: &Ctx, gitlab: &GitlabSettings<'_>, report: &mut SetupReport) {
        let Some(branch) = &gitlab.branch else {
            report.left_schedule();
            return;
        };
        let name = format!("every night on {branch}");
        let create = || schedules::create(gitlab.client, gitlab.project, branch, SCHEDULE);
        let schedule = SetupWrite::new("schedule", name).with_need(!gitlab.has_schedule);
        report.steps.push(self.write(ctx, schedule, create));
    }

    /// Verifies the tokens before anything is changed.
    fn verify(&self, ctx: &Ctx, config: &Config, tokens: &[PipelineToken<'_>]) -> Result<()> {
        let port = match self.sandbox {
            true => Some(sandbox::planned_port(&ctx.root)),
            false => None,
        };
        if let Some(port) = port {
            sandbox::check(&ctx.root, port)?;
        }
        for PipelineToken { row, value } in tokens {
            let at = format!("{} for {}", row.name, row.scope);
            if row.name == config.gitlab.token_variable {
                let client = client(ctx, config, value)?;
                Notes::whoami(&client).map_err(|error| {
                    refused(format!("GitLab does not accept {at}: {error:#}; nothing was changed"))
                        .hint("create a project access token with the scope `api`, then retry")
                })?;
                continue;
            }
            let environment = environment_of(config, row);
            let destination = Destination::to_read(config, &environment, port)?;
            let api = Api::new(&destination.api, &destination.account_id, value)
                .patient(&ctx.retry_budget);
            api.token_kind().and_then(|_| api.worker_names()).map_err(|error| {
                refused(format!("Cloudflare does not accept {at}: {error:#}; nothing was changed"))
                    .hint(format!(
                        "check that the token is of the account {} and has *Workers Scripts: Edit*",
                        destination.account_id
                    ))
            })?;
        }
        Ok(())
    }
}

/// Returns the environment of a variable's token, to select the account.
fn environment_of(config: &Config, row: &Variable) -> String {
    let first = row.scope.split('/').next().unwrap_or_default();
    match config.environments.contains_key(first) {
        true => first.to_owned(),
        false => config.preview_environment().unwrap_or_else(|_| first.to_owned()),
    }
}

/// Returns the config with the ids.
fn with_ids(text: &str, account: Option<&str>, project: Option<&str>) -> Result<String, Failure> {
    let mut edited = text.to_owned();
    if let Some(account) = account {
        edited = config_edit::set(&edited, &["cloudflare", "accountId"], &json!(account))?;
    }
    if let Some(project) = project {
        edited = config_edit::set(&edited, &["gitlab", "projectId"], &json!(project))?;
    }
    Ok(edited)
}

/// A write that needs a confirmation.
struct SetupWrite {
    what: &'static str,
    name: String,
    replaces: bool,
    is_needed: bool,
}

impl SetupWrite {
    fn new(what: &'static str, name: String) -> SetupWrite {
        SetupWrite { what, name, replaces: false, is_needed: true }
    }

    fn with_need(self, is_needed: bool) -> SetupWrite {
        SetupWrite { is_needed, ..self }
    }
}

/// Returns the variable of this name and scope in GitLab.
fn find_stored<'s>(row: &Variable, stored: &'s [StoredVariable]) -> Option<&'s StoredVariable> {
    stored.iter().find(|one| one.key == row.name && one.scope == row.scope)
}

/// Returns true if GitLab has a value for a variable of this name and scope.
fn is_stored(row: &Variable, stored: &[StoredVariable]) -> bool {
    find_stored(row, stored).is_some_and(|one| !one.empty)
}

fn client<'a>(ctx: &'a Ctx, config: &Config, token: &Secret) -> Result<Client<'a>, Failure> {
    Client::connect(&config.gitlab.api(), token.clone(), REQUEST, &ctx.retry_budget)
}

/// The existing variables and schedules of GitLab.
struct GitlabSettings<'a> {
    client: &'a Client<'a>,
    project: &'a str,
    branch: Option<String>,
    stored: Vec<StoredVariable>,
    has_schedule: bool,
}

impl<'a> GitlabSettings<'a> {
    /// Reads the variables and schedules. The token needs the role Maintainer.
    fn read(client: &'a Client<'a>, project: &'a str) -> Result<GitlabSettings<'a>, Failure> {
        let refuse = |error: anyhow::Error| {
            failed(format!("GitLab's project {project} cannot be read: {error:#}; nothing was changed"))
                .hint("check `gitlab.url` and `gitlab.projectId`; the token needs the role Maintainer and the scope `api`")
        };
        let branch = schedules::default_branch(client, project).map_err(refuse)?;
        let stored = variables::list(client, project).map_err(refuse)?;
        let has_schedule = match &branch {
            Some(branch) => {
                schedules::find_active(client, project, branch).map_err(refuse)?.is_some()
            }
            None => false,
        };
        Ok(GitlabSettings { client, project, branch, stored, has_schedule })
    }
}
