//! `setup`: the account id, the tokens in GitLab, and the schedule.

pub mod inputs;
mod report;
mod script;

use clap::Args;
use serde_json::json;

use crate::config_edit;
use base::error::{Error, Exit, Result, failed, refused};
use base::files::write_whole;
use base::secret::Secret;
use deployment::context::Ctx;
use deployment::plan::destination::Destination;
use deployment::tools::sandbox;
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
const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

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
        let mut inputs = SetupInputs::new(ctx);
        let edited = EditedConfig::read(ctx, &mut inputs)?;
        let config = &edited.config;
        let gitlab = GitlabSettings::read(ctx, config, inputs.gitlab_token())?;
        let rows = table(config);
        let tokens = self.read_tokens(ctx, &mut inputs, &rows, gitlab.as_ref());
        self.require_answers(ctx, &inputs)?;
        self.verify(ctx, config, &tokens)?;
        if let Some(gitlab) = &gitlab {
            gitlab.note_replaced(ctx, &tokens);
        }
        let mut report = SetupReport::new(ctx.dry_run);
        report.steps.push(self.write_ids(ctx, &edited));
        for row in &rows {
            let token = tokens.iter().find(|token| token.row == row);
            self.store_variable(ctx, gitlab.as_ref(), row, token, &mut report);
        }
        self.create_schedule(ctx, gitlab.as_ref(), &mut report);
        report.add_remaining(config);
        let text = if ctx.dry_run {
            SetupScript {
                root: &ctx.root,
                config,
                config_text: edited.has_new_ids.then_some(edited.text.as_str()),
                port: self.sandbox.then(|| sandbox::planned_port(&ctx.root)),
                tokens: &tokens,
                gitlab: gitlab.as_ref(),
                remaining: &report.remaining,
            }
            .text()?
        } else {
            report.text(ctx.ui.width())
        };
        ctx.ui.report(&report, &text);
        Ok(Exit::worst(report.error_kind()))
    }

    /// Reads the tokens of the pipeline's variables, except those that GitLab has and that `--replace` does not name.
    fn read_tokens<'r>(
        &self,
        ctx: &Ctx,
        inputs: &mut SetupInputs<'_>,
        rows: &'r [Variable],
        gitlab: Option<&GitlabSettings<'_>>,
    ) -> Vec<PipelineToken<'r>> {
        let mut tokens = Vec::new();
        for row in rows {
            let is_stored = gitlab.is_some_and(|gitlab| gitlab.has_value(row));
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
        tokens
    }

    /// Errors if a value or the confirmation is missing and there is no terminal to ask for it.
    fn require_answers(&self, ctx: &Ctx, inputs: &SetupInputs<'_>) -> Result<()> {
        if ctx.ui.can_ask() {
            return Ok(());
        }
        if !inputs.missing.is_empty() {
            return Err(inputs.refusal());
        }
        if !self.yes && !ctx.dry_run {
            return Err(refused("the writes are not confirmed; nothing was changed")
                .hint("add `--yes`, because stdin is not a terminal"));
        }
        Ok(())
    }

    /// Asks for confirmation of a planned step, then writes. A failed write is a row, and does not stop the others.
    fn write(&self, ctx: &Ctx, step: SetupStep, write: impl FnOnce() -> Result<()>) -> SetupStep {
        if step.state != StepState::Planned || ctx.dry_run {
            return step;
        }
        let state = if !self.yes && ctx.ui.confirm(&step.question()) != Some(true) {
            StepState::NotConfirmed
        } else {
            match write() {
                Ok(()) => StepState::Done,
                Err(error) => StepState::Failed(format!("{error:#}")),
            }
        };
        SetupStep { state, ..step }
    }

    /// Writes the ids to the config if it lacks them.
    fn write_ids(&self, ctx: &Ctx, edited: &EditedConfig) -> SetupStep {
        let step = SetupStep::new("ids", CONFIG_FILE).with_need(edited.has_new_ids);
        self.write(ctx, step, || write_whole(&ctx.root.join(CONFIG_FILE), &edited.text))
    }

    /// Stores the token of a variable in GitLab.
    fn store_variable(
        &self,
        ctx: &Ctx,
        gitlab: Option<&GitlabSettings<'_>>,
        row: &Variable,
        token: Option<&PipelineToken<'_>>,
        report: &mut SetupReport,
    ) {
        let step = SetupStep::new("variable", &format!("{} for {}", row.name, row.scope));
        match (gitlab, token) {
            (Some(gitlab), None) if gitlab.has_value(row) => {
                report.steps.push(step.with_need(false));
            }
            (Some(gitlab), Some(token)) => {
                let replaces = gitlab.has_variable(row);
                let store = if replaces { variables::replace } else { variables::create };
                let write = || store(&gitlab.client, &gitlab.project, row, &token.value);
                report.steps.push(self.write(ctx, SetupStep { replaces, ..step }, write));
            }
            _ => report.add_remaining_variable(row),
        }
    }

    /// Creates the schedule if the default branch has no active one.
    fn create_schedule(
        &self,
        ctx: &Ctx,
        gitlab: Option<&GitlabSettings<'_>>,
        report: &mut SetupReport,
    ) {
        let Some((gitlab, branch)) =
            gitlab.and_then(|gitlab| Some((gitlab, gitlab.branch.as_ref()?)))
        else {
            report.add_remaining_schedule();
            return;
        };
        let step = SetupStep::new("schedule", &format!("every night on {branch}"));
        let create = || schedules::create(&gitlab.client, &gitlab.project, branch, SCHEDULE);
        report.steps.push(self.write(ctx, step.with_need(!gitlab.has_schedule), create));
    }

    /// Verifies the tokens before anything is changed.
    fn verify(&self, ctx: &Ctx, config: &Config, tokens: &[PipelineToken<'_>]) -> Result<()> {
        let port = self.sandbox.then(|| sandbox::planned_port(&ctx.root));
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
            let api = destination.client(value).patient(&ctx.retry_budget);
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

/// The config file with the ids that the user gave.
struct EditedConfig {
    text: String,
    config: Config,
    has_new_ids: bool,
}

impl EditedConfig {
    /// Reads the config file, and adds the ids that it lacks.
    fn read(ctx: &Ctx, inputs: &mut SetupInputs<'_>) -> Result<EditedConfig> {
        let mut text = std::fs::read_to_string(ctx.root.join(CONFIG_FILE)).map_err(|error| {
            refused(format!("cannot read {CONFIG_FILE}: {error}"))
                .hint("run `init` from a checkout of this tool, which writes it")
        })?;
        let config = Config::parse(&text)?;
        let account = inputs.account(&config)?;
        let project = inputs.project(&config)?;
        let has_new_ids = account.is_some() || project.is_some();
        if let Some(account) = account {
            text = config_edit::set(&text, &["cloudflare", "accountId"], &json!(account))?;
        }
        if let Some(project) = project {
            text = config_edit::set(&text, &["gitlab", "projectId"], &json!(project))?;
        }
        let config = Config::parse(&text)?;
        Ok(EditedConfig { text, config, has_new_ids })
    }
}

fn client<'a>(ctx: &'a Ctx, config: &Config, token: &Secret) -> Result<Client<'a>> {
    Client::connect(&config.gitlab.api(), token.clone(), REQUEST_TIMEOUT, &ctx.retry_budget)
}

/// The existing variables and schedules of GitLab.
struct GitlabSettings<'a> {
    client: Client<'a>,
    project: String,
    branch: Option<String>,
    stored: Vec<StoredVariable>,
    has_schedule: bool,
}

impl<'a> GitlabSettings<'a> {
    /// Reads the variables and schedules. `None` without a token or a project number. The token needs the role
    /// Maintainer.
    fn read(
        ctx: &'a Ctx,
        config: &Config,
        token: Option<Secret>,
    ) -> Result<Option<GitlabSettings<'a>>> {
        let (Some(token), Some(project)) = (token, config.gitlab.number()) else {
            return Ok(None);
        };
        let client = client(ctx, config, &token)?;
        let refuse = |error: Error| {
            failed(format!("GitLab's project {project} cannot be read: {error:#}; nothing was changed"))
                .hint("check `gitlab.url` and `gitlab.projectId`; the token needs the role Maintainer and the scope `api`")
        };
        let branch = schedules::default_branch(&client, project).map_err(refuse)?;
        let stored = variables::list(&client, project).map_err(refuse)?;
        let has_schedule = match &branch {
            Some(branch) => {
                schedules::find_active(&client, project, branch).map_err(refuse)?.is_some()
            }
            None => false,
        };
        Ok(Some(GitlabSettings {
            client,
            project: project.to_owned(),
            branch,
            stored,
            has_schedule,
        }))
    }

    /// Returns true if GitLab has a variable of this name and scope.
    fn has_variable(&self, row: &Variable) -> bool {
        self.find(row).is_some()
    }

    /// Returns true if GitLab has a value for a variable of this name and scope.
    fn has_value(&self, row: &Variable) -> bool {
        self.find(row).is_some_and(|one| !one.empty)
    }

    fn find(&self, row: &Variable) -> Option<&StoredVariable> {
        self.stored.iter().find(|one| one.key == row.name && one.scope == row.scope)
    }

    /// Tells the user which values of GitLab are replaced.
    fn note_replaced(&self, ctx: &Ctx, tokens: &[PipelineToken<'_>]) {
        let replaced: Vec<String> = tokens
            .iter()
            .filter(|token| self.has_value(token.row))
            .map(|token| format!("{} for {}", token.row.name, token.row.scope))
            .collect();
        if !replaced.is_empty() {
            let will = if ctx.dry_run { "would replace" } else { "replaces" };
            ctx.ui.note(&format!("{will} in GitLab: {}", replaced.join(", ")));
        }
    }
}
