//! The project and environment of the commands that act on one project.

use clap::Args;

use super::deploy::sandbox_port;
use base::error::{Result, refused};
use base::secret::Secret;
use cloudflare::api::{Api, Live};
use deployment::context::Ctx;
use deployment::engine::setup::Setup;
use deployment::plan::destination::Destination;
use deployment::plan::{block, protection};
use workspace::Workspace;
use workspace::project::Project;

/// Options that select one project and its environment.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Project, by any unique suffix of its path, its Worker name or package name. `.` is that of the
    /// current folder
    #[arg(value_name = "PROJECT", default_value = ".", hide_default_value = true)]
    project: String,
    /// Environment: `local` (the sandbox) or one of the shared config file [default: `local`; none in
    /// pipelines]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Use the sandbox instead of Cloudflare
    #[arg(long)]
    sandbox: bool,
}

/// Options that select one project whose live version changes.
#[derive(Debug, Args)]
pub struct ChangeTargetArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Change a protected environment from this machine, and record the reason
    #[arg(long, value_name = "REASON", value_parser = super::deploy::reason)]
    break_glass: Option<String>,
}

impl ChangeTargetArgs {
    /// Returns the target as [`TargetArgs::to_change`] does.
    pub fn resolve(&self, ctx: &Ctx) -> Result<ProjectTarget> {
        self.target.to_change(ctx, self.break_glass.as_deref(), EnvironmentUse::Worker)
    }
}

/// The part of an environment that a command uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentUse {
    /// The project's Worker or a binding of it. A deployment to the environment must be possible.
    Worker,
    /// Only the account and the token.
    Account,
}

impl EnvironmentUse {
    /// Refuses an environment that the wrangler config is not meant for, because its Worker would be that of another one.
    fn check(self, workspace: &Workspace, project: &Project, environment: &str) -> Result<()> {
        match self {
            EnvironmentUse::Worker => block::check(workspace, project, environment),
            EnvironmentUse::Account => Ok(()),
        }
    }
}

/// A project in an environment.
#[derive(Debug)]
pub struct ProjectTarget {
    /// The project.
    pub project: Project,
    /// Its destination.
    pub destination: Destination,
    /// The repository.
    pub workspace: Workspace,
}

impl TargetArgs {
    /// Returns the target of a command that changes nothing. Errors if its sandbox does not run.
    pub fn to_read(&self, ctx: &Ctx, needed: EnvironmentUse) -> Result<ProjectTarget> {
        let (workspace, project, environment) = self.find(ctx)?;
        let port = sandbox_port(ctx, &environment, self.sandbox);
        let destination = Destination::to_read(&workspace.config, &environment, port)?;
        needed.check(&workspace, &project, &environment)?;
        Ok(ProjectTarget { project, destination, workspace })
    }

    /// Returns the target of a command that may change the live version. Starts the sandbox if the target is there,
    /// unless this is a dry run. Errors if the environment is protected.
    pub fn to_change(
        &self,
        ctx: &Ctx,
        break_glass: Option<&str>,
        needed: EnvironmentUse,
    ) -> Result<ProjectTarget> {
        let (workspace, project, environment) = self.find(ctx)?;
        let port = sandbox_port(ctx, &environment, self.sandbox);
        let mut destination = if ctx.dry_run && break_glass.is_none() {
            Destination::to_read(&workspace.config, &environment, port)?
        } else {
            Destination::resolve(&workspace.config, &environment, port, &ctx.ci, break_glass)?
        };
        protection::check(&workspace.config, &workspace.projects, &[&project], &environment)?;
        needed.check(&workspace, &project, &environment)?;
        if destination.sandbox.is_some() && !ctx.dry_run {
            let mut setup = Setup::new(ctx, &workspace.config)?;
            let port = setup.running_sandbox(&workspace.config.account_ids())?.port;
            setup.finish(&format!("sandbox at http://127.0.0.1:{port}"));
            destination.move_sandbox(port);
        }
        Ok(ProjectTarget { project, destination, workspace })
    }

    fn find(&self, ctx: &Ctx) -> Result<(Workspace, Project, String)> {
        let workspace = Workspace::load(&ctx.root)?;
        let project = workspace.project(&self.project)?.clone();
        let environment = self.env.clone().map_or_else(|| ctx.default_environment(), Ok)?;
        Ok((workspace, project, environment))
    }
}

impl ProjectTarget {
    /// Returns the Worker's name.
    #[must_use]
    pub fn worker(&self) -> String {
        self.project.target(&self.destination.environment).worker
    }

    /// Returns the Cloudflare account: that of the wrangler config, else that of the environment. The sandbox has only
    /// the latter.
    #[must_use]
    pub fn account(&self) -> String {
        let account = self.project.target(&self.destination.environment).account_id;
        let account = account.filter(|_| self.destination.sandbox.is_none());
        account.unwrap_or_else(|| self.destination.account_id.clone())
    }

    /// Returns the account and the token that its API requests need.
    pub fn credentials(&self, ctx: &Ctx) -> Result<ApiCredentials> {
        Ok(ApiCredentials { token: ctx.checked_token(&self.destination)?, account: self.account() })
    }

    /// Returns the client of its API, within the retry budget of this run.
    #[must_use]
    pub fn api<'a>(&'a self, ctx: &'a Ctx, credentials: &'a ApiCredentials) -> Api<'a> {
        let ApiCredentials { account, token } = credentials;
        Api::new(&self.destination.api, account, token).patient(&ctx.retry_budget)
    }

    /// Returns the live version. Errors if there is none.
    pub fn live(&self, api: &Api<'_>) -> Result<Live> {
        let (name, environment) = (&self.project.name, &self.destination.environment);
        let live = api.live(&self.worker())?.ok_or_else(|| {
            refused(format!("nothing of {name} is live in {environment}"))
                .hint(format!("run `{}`", self.destination.command_line("deploy", name)))
        })?;
        Ok(live)
    }

    /// Returns the URLs of the live version, custom domains first.
    pub fn urls(&self, api: &Api<'_>) -> Result<Vec<String>> {
        let target = self.project.target(&self.destination.environment);
        self.destination.live_urls(&target, || api.address(&target.worker))
    }
}

/// The account and the token that API requests need.
#[derive(Debug)]
pub struct ApiCredentials {
    account: String,
    token: Secret,
}
