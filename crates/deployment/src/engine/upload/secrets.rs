//! Checks that a Worker has the secrets that its wrangler config requires, before anything is uploaded.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::project_run::ProjectRun;
use crate::plan::Operation;
use crate::plan::destination::Destination;
use crate::tools::sandbox;
use base::env::variable;
use base::error::{Result, refused};
use base::secret::Secret;
use workspace::dev_vars::{DEV_VARS, DevVars};
use workspace::project::Project;
use workspace::strategy::Strategy;
use workspace::wrangler::Target;

/// The timeout of the request of a dry run.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A project whose secrets are checked.
struct Subject<'a> {
    project: &'a str,
    /// Its wrangler config, relative to the root.
    config: &'a Utf8Path,
    target: &'a Target,
    destination: &'a Destination,
}

impl Subject<'_> {
    /// Returns the required secrets that are not in `set` and have no default.
    fn missing(&self, root: &Utf8Path, set: &[String]) -> Result<Vec<String>> {
        let defaults = self.defaults(root)?;
        let has_default =
            |name: &String| defaults.as_ref().is_some_and(|vars| vars.values.contains_key(name));
        let required = self.target.required_secrets.iter().flatten();
        Ok(required.filter(|name| !set.contains(name) && !has_default(name)).cloned().collect())
    }

    /// Returns the default values that the sandbox gets. `None` at Cloudflare.
    fn defaults(&self, root: &Utf8Path) -> Result<Option<DevVars>> {
        if self.destination.sandbox.is_none() {
            return Ok(None);
        }
        DevVars::read(root, self.dir(), &self.destination.environment, self.target)
    }

    fn dir(&self) -> &Utf8Path {
        self.config.parent().unwrap_or(Utf8Path::new(""))
    }

    /// Refuses if secrets are missing.
    fn refuse(&self, missing: &[String]) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let Subject { project, config, target, destination } = self;
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        let failure = refused(format!(
            "{config}: `secrets.required` names {}, which the Worker `{}` does not have in {}; nothing was uploaded",
            names.join(", "),
            target.worker,
            destination.environment
        ));
        let command = destination.command_line("wrangler", project);
        let failure = missing.iter().fold(failure, |failure, name| {
            failure.hint(format!("run `{command} -- secret put {name}`"))
        });
        Err(match destination.sandbox {
            Some(_) => failure.hint(format!(
                "or add a line `{}=…` to {}, which git should ignore",
                missing[0],
                self.dir().join(DEV_VARS)
            )),
            None => failure,
        })
    }
}

/// Refuses an upload of a Worker without the secrets that its config requires.
pub fn refuse_missing(run: &ProjectRun<'_>) -> Result<()> {
    let project = run.project;
    let is_own =
        run.plan.operation == Operation::Preview && project.strategy == Some(Strategy::Preview);
    // Worker Previews have their own secrets.
    if project.target.required_secrets.as_ref().is_none_or(Vec::is_empty) || is_own {
        return Ok(());
    }
    let subject = Subject {
        project: &project.name,
        config: &project.config,
        target: &project.target,
        destination: &run.plan.destination,
    };
    let set = run.read("its secrets", |api| api.secret_names(&project.target.worker))?;
    subject.refuse(&subject.missing(&run.ctx.root, &set)?)
}

/// Refuses a deployment of `project` without its required secrets, without changing anything. Returns `false` if
/// neither Cloudflare nor the sandbox can be read.
pub fn refuse_missing_if_readable(
    root: &Utf8Path,
    project: &Project,
    destination: &Destination,
    timeout: Duration,
) -> Result<bool> {
    let target = project.target(&destination.environment);
    let subject =
        Subject { project: &project.name, config: &project.config, target: &target, destination };
    if subject.missing(root, &[])?.is_empty() {
        return Ok(true);
    }
    let Some(token) = readable_token(root, destination) else { return Ok(false) };
    let api = destination.client(&token).within(timeout);
    let Ok(set) = api.secret_names(&target.worker) else { return Ok(false) };
    subject.refuse(&subject.missing(root, &set)?).map(|()| true)
}

/// Returns the token. `None` if there is none, or if the sandbox does not run on the port of the destination,
/// because another program may use that port.
fn readable_token(root: &Utf8Path, destination: &Destination) -> Option<Secret> {
    match destination.sandbox {
        Some(port) if sandbox::running(root)?.port == port => sandbox::token(root).ok(),
        Some(_) => None,
        None => variable(&destination.token_variable).map(|token| Secret::new(&token)),
    }
}

/// Describes the file of default secrets and the names in use.
#[must_use]
pub fn defaults_note(project: &str, path: &Utf8PathBuf, names: &[String]) -> Option<String> {
    let names = names.join(", ");
    (!names.is_empty()).then(|| format!("{project}: secrets from {path}: {names}"))
}
