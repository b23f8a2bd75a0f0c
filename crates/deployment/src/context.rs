//! The context of a run: repository, printer, global options, credentials.

use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::plan::destination::Destination;
use crate::tools::packages::waiting;
use crate::tools::sandbox;
use base::command::{Credential, ProcessCommand};
use base::deadline;
use base::env::{os_variable, variable};
use base::error::{Error, ErrorContext as _, Result, refused, usage};
use base::interactive;
use base::interactive::Stream;
use base::retry::RetryBudget;
use base::runner::{CompletedProcess, ExitReason, Runner};
use base::secret::{Secret, parse_token, remember};
use base::supervisor;
use base::terminal::Ui;
use gitlab::ci::CiVariables;
use workspace::config::{CONFIG_FILE, LOCAL};

/// Environment variable with the repository's root, for calls from outside of it.
pub const ROOT_VARIABLE: &str = "XTASK_ROOT";

/// The context of a run.
pub struct Ctx {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// The printer.
    pub ui: Ui,
    /// Print a script instead of running it.
    pub dry_run: bool,
    /// The number of projects that are built and uploaded in parallel.
    pub jobs: usize,
    /// The remaining time for retries.
    pub retry_budget: RetryBudget,
    /// The variables of the GitLab job.
    pub ci: CiVariables,
    /// The command line with every command, for completions.
    pub command_line: clap::Command,
}

/// The limits of a child in addition to its deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLimits<'a> {
    /// A locked file that the child keeps locked for as long as it lives.
    pub lock: Option<&'a File>,
    /// The child is stopped once this is set.
    pub stop: Option<&'a AtomicBool>,
}

impl Ctx {
    /// Finds the repository from the current folder.
    pub fn new(
        ui: Ui,
        dry_run: bool,
        jobs: Option<usize>,
        command_line: clap::Command,
    ) -> Result<Ctx> {
        // Checked once at the start, instead of by every child.
        deadline::within(Duration::ZERO)?;
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let speaker = ui.clone();
        let retry_budget = RetryBudget::new(move |text| speaker.note(text));
        Ok(Ctx {
            root: root()?,
            ui,
            dry_run,
            jobs: jobs.unwrap_or(cores).max(1),
            retry_budget,
            ci: CiVariables::read(variable),
            command_line,
        })
    }

    /// Runs `command`, writes its output to `.xtask/logs/<log>.log`, and calls `on_line` for each line.
    pub fn run(
        &self,
        log: &str,
        command: &ProcessCommand,
        on_line: &(dyn Fn(&str) + Sync),
    ) -> Result<CompletedProcess> {
        self.run_within(log, command, RunLimits::default(), on_line)
    }

    /// Runs a command that installs packages like [`Ctx::run`]. Prints the registry if it waits for an unreachable
    /// one.
    pub fn run_install(
        &self,
        log: &str,
        command: &ProcessCommand,
        on_line: &(dyn Fn(&str) + Sync),
    ) -> Result<CompletedProcess> {
        let ui = self.ui.clone();
        waiting::run(&command.dir, move |text| ui.warn(text), || self.run(log, command, on_line))
    }

    /// Runs `command` as [`Ctx::run`] does, within `limits`.
    pub fn run_within(
        &self,
        log: &str,
        command: &ProcessCommand,
        limits: RunLimits<'_>,
        on_line: &(dyn Fn(&str) + Sync),
    ) -> Result<CompletedProcess> {
        let log = self.root.join(".xtask/logs").join(format!("{log}.log"));
        let supervisor = supervisor::executable();
        let supervisor = supervisor.as_deref();
        let secret = |credential: &Credential| self.secret(credential);
        let RunLimits { lock, stop } = limits;
        Runner { log: &log, secret: &secret, on_line, supervisor, lock, stop }.run(command)
    }

    /// Runs `command` with this terminal. Output that does not go to a terminal is passed on without credentials.
    pub fn run_attached(&self, command: &ProcessCommand) -> Result<ExitReason> {
        let pass = |stream: Stream, line: &str| self.ui.pass(stream, line);
        let on_line: interactive::OnLine<'_> = &pass;
        let on_line = (!self.ui.is_on_terminal()).then_some(on_line);
        interactive::run(command, &|credential| self.secret(credential), on_line)
    }

    /// Returns the token for a destination. Errors if the sandbox does not run, so that no other
    /// program on its port gets the token.
    pub fn checked_token(&self, destination: &Destination) -> Result<Secret> {
        if let Some(port) = destination.sandbox {
            sandbox::check(&self.root, port)?;
        }
        self.token(destination)
    }

    /// Returns the token for a destination. The caller has checked that its sandbox runs. Refuses a
    /// placeholder in place of the account id, so that no request is sent with it.
    pub fn token(&self, destination: &Destination) -> Result<Secret> {
        match (self.secret(&destination.credential()), destination.check_account()) {
            (Err(failure), Err(account)) => {
                Err(account.hints.into_iter().fold(failure, Error::hint))
            }
            (Ok(_), Err(failure)) | (Err(failure), Ok(())) => Err(failure),
            (Ok(secret), Ok(())) => Ok(secret),
        }
    }

    /// Returns the default environment: the sandbox. Errors in a pipeline, where a guess could change
    /// production.
    pub fn default_environment(&self) -> Result<String> {
        if self.ci.is_pipeline() {
            return Err(usage("a pipeline has no default environment")
                .hint("name one with `--env`, such as `--env staging`"));
        }
        Ok(LOCAL.to_owned())
    }

    /// Reads a credential.
    pub fn secret(&self, credential: &Credential) -> Result<Secret> {
        let secret = match credential {
            Credential::SandboxToken => sandbox::token(&self.root)?,
            Credential::Variable(name) => token(name)?,
        };
        remember(&secret);
        Ok(secret)
    }
}

/// Returns the API token in the variable `name`.
fn token(name: &str) -> Result<Secret> {
    parse_token(os_variable(name).as_deref()).map_err(|problem| {
        refused(problem.message(name))
            .hint(format!("set {name} to a Cloudflare API token; {CONFIG_FILE} names the variable"))
            .hint("check in GitLab that the variable is not protected, or use a protected branch")
    })
}

fn root() -> Result<Utf8PathBuf> {
    if let Some(root) = variable(ROOT_VARIABLE) {
        return Utf8PathBuf::from(root).canonicalize_utf8().context(ROOT_VARIABLE);
    }
    let here = Utf8PathBuf::from_path_buf(std::env::current_dir()?).map_err(|path| {
        refused(format!("the path {} is not UTF-8", path.display()))
            .hint("rename the folder, or check the repository out elsewhere")
    })?;
    let is_root = |dir: &&Utf8Path| dir.join(CONFIG_FILE).exists() || dir.join(".git").exists();
    here.ancestors().find(is_root).map(Utf8Path::to_owned).ok_or_else(|| {
        refused(format!("no {CONFIG_FILE} and no git repository at or above {here}"))
            .hint("change into the repository, or set `XTASK_ROOT` to its root")
    })
}
