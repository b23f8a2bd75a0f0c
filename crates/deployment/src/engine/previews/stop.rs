//! Deletes Worker Previews and finds the aliases that cannot be deleted. Live versions are not affected.

use serde::Serialize;

use crate::context::Ctx;
use crate::plan::alias;
use crate::plan::destination::Destination;
use crate::tools::sandbox;
use base::env::variable;
use base::error::{Result, with_hints};
use base::secret::Secret;
use base::text::short_version;
use base::time::parse_rfc3339;
use cloudflare::api;
use cloudflare::api::{Api, ListedVersion};
use workspace::project::Project;

/// The outcome for one project's preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was deleted.
    Deleted,
    /// It would be deleted.
    Planned,
    /// It does not exist, or is an alias, which cannot be deleted.
    Absent,
    /// It may still exist.
    Failed,
}

/// One project's preview.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewDeletion {
    /// The project's name.
    pub project: String,
    /// The Worker that it is a preview of.
    pub worker: String,
    /// The preview's name.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The next steps after a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl PreviewDeletion {
    /// Stores the result.
    pub fn set_result(&mut self, result: Result<Outcome>) {
        match result {
            Ok(outcome) => self.outcome = outcome,
            Err(error) => {
                self.outcome = Outcome::Failed;
                self.error = Some(format!("{error:#}"));
                self.hints = vec![format!("{}; that does no harm", api::next_step(&error))];
            }
        }
    }

    /// Returns the text for people. `None` if there was no preview.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let PreviewDeletion { project, worker, name, .. } = self;
        match self.outcome {
            Outcome::Deleted => Some(format!("{project}  preview {name} is deleted")),
            Outcome::Planned => Some(format!(
                "# {project}: delete the preview {name}; manually: wrangler preview delete --name={name} --worker-name={worker} -y"
            )),
            Outcome::Absent => None,
            Outcome::Failed => {
                let error = with_hints(self.error.as_deref().unwrap_or_default(), &self.hints);
                Some(format!("{project}  preview {name} may still be there: {error}"))
            }
        }
    }
}

/// An alias that still works, because Cloudflare cannot delete it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemainingAlias {
    /// The project's name.
    pub project: String,
    /// The Worker of its version.
    pub worker: String,
    /// The alias.
    pub alias: String,
    /// The version that it serves.
    pub version: String,
    /// The URL. `None` if the Worker's preview URLs are off.
    pub url: Option<String>,
    /// The events that end it.
    pub until: &'static str,
}

/// The events that end an alias at Cloudflare
/// (<https://developers.cloudflare.com/workers/configuration/previews/>).
const UNTIL: &str =
    "until the alias is used again, the Worker has 1000 newer aliases or the Worker is deleted";

/// The events that end an alias in the sandbox.
const UNTIL_IN_SANDBOX: &str = "until the alias is used again or the Worker is deleted";

impl RemainingAlias {
    /// Returns the text for people.
    #[must_use]
    pub fn line(&self) -> String {
        let RemainingAlias { project, alias, version, until, .. } = self;
        let version = short_version(version);
        match &self.url {
            Some(url) => format!(
                "{project}  alias {alias} cannot be deleted: {url} answers with version {version} {until}"
            ),
            None => format!("{project}  alias {alias} cannot be deleted, but it has no URL"),
        }
    }
}

/// The Worker Previews of one destination.
pub struct Previews<'a> {
    ctx: &'a Ctx,
    destination: &'a Destination,
    token: Secret,
}

impl<'a> Previews<'a> {
    /// Creates the access to the previews at `destination`. Errors if there is no token.
    pub fn at(ctx: &'a Ctx, destination: &'a Destination) -> Result<Previews<'a>> {
        Ok(Previews { ctx, destination, token: ctx.checked_token(destination)? })
    }

    /// Deletes the preview called `name` of each project. A failure does not stop the others. If
    /// none is `needed`, a failed read is returned as an error.
    pub fn stop(
        &self,
        projects: &[&Project],
        name: &str,
        needed: bool,
    ) -> Result<Vec<PreviewDeletion>> {
        let mut all = Vec::new();
        for project in projects {
            let mut one = self.plan_deletion(project, name);
            // A Worker never has a preview with an invalid name.
            let result = match alias::check(name, &one.worker) {
                Ok(()) => self.delete(&one),
                Err(_) => Ok(Outcome::Absent),
            };
            match result {
                Err(error) if !needed => return Err(error),
                result => one.set_result(result),
            }
            all.push(one);
        }
        Ok(all)
    }

    /// Returns the aliases called `name` of these projects.
    pub fn remaining_aliases(
        &self,
        projects: &[&Project],
        name: &str,
    ) -> Result<Vec<RemainingAlias>> {
        let api = self.api();
        let mut all = Vec::new();
        for project in projects {
            let worker = project.target(&self.destination.environment).worker;
            if alias::check(name, &worker).is_err() {
                continue;
            }
            let has_alias = |one: &ListedVersion| one.alias() == Some(name);
            let versions = api.versions_until(&worker, has_alias)?;
            let Some(version) = versions.into_iter().find(has_alias) else {
                continue;
            };
            let suffix = api.preview_suffix(&worker)?;
            all.push(RemainingAlias {
                project: project.name.clone(),
                url: suffix.and_then(|suffix| self.destination.preview_url(name, &worker, &suffix)),
                worker,
                alias: name.to_owned(),
                version: version.id,
                until: if self.destination.sandbox.is_some() { UNTIL_IN_SANDBOX } else { UNTIL },
            });
        }
        Ok(all)
    }

    /// Returns the previews of merge requests of this project, with their numbers.
    pub fn of_merge_requests(&self, project: &Project) -> Result<Vec<(u64, PreviewDeletion)>> {
        let worker = project.target(&self.destination.environment).worker;
        let names = self.api().preview_names(&worker)?;
        let found = names.iter().filter_map(|name| {
            Some((alias::merge_request(name)?, self.plan_deletion(project, name)))
        });
        Ok(found.collect())
    }

    /// Returns the time of the last deployment of a preview, in seconds since 1970. `None` if it is unknown.
    pub fn deployed_at(&self, one: &PreviewDeletion) -> Result<Option<u64>> {
        let last = self.api().preview_deployment(&one.worker, &one.name)?;
        Ok(last.and_then(|last| parse_rfc3339(&last.created_on?)))
    }

    /// Returns their destination.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        self.destination
    }

    /// Deletes a preview.
    pub fn end(&self, one: &mut PreviewDeletion) {
        one.set_result(self.delete(one));
    }

    fn plan_deletion(&self, project: &Project, name: &str) -> PreviewDeletion {
        let worker = project.target(&self.destination.environment).worker;
        let (project, name) = (project.name.clone(), name.to_owned());
        PreviewDeletion {
            project,
            worker,
            name,
            outcome: Outcome::Planned,
            error: None,
            hints: Vec::new(),
        }
    }

    fn delete(&self, one: &PreviewDeletion) -> Result<Outcome> {
        if self.ctx.dry_run {
            let found = self.api().preview(&one.worker, &one.name)?;
            return Ok(if found.is_some() { Outcome::Planned } else { Outcome::Absent });
        }
        let there = self.api().delete_preview(&one.worker, &one.name)?;
        Ok(if there { Outcome::Deleted } else { Outcome::Absent })
    }

    fn api(&self) -> Api<'_> {
        let api = self.destination.client(&self.token);
        api.patient(&self.ctx.retry_budget)
    }
}

/// Returns true if requests are possible: the token is set, or the sandbox runs.
#[must_use]
pub fn reachable(ctx: &Ctx, destination: &Destination) -> bool {
    match destination.sandbox {
        Some(port) => sandbox::check(&ctx.root, port).is_ok(),
        None => variable(&destination.token_variable).is_some(),
    }
}
