//! Deleting Worker Previews. What is live is another matter, and the API has another address for it.

use anyhow::Result;
use serde::Serialize;

use crate::context::Ctx;
use crate::error::Failure;
use crate::plan::alias;
use crate::plan::destination::Destination;
use crate::secret::Secret;
use crate::tools::cloudflare::{self, Api};
use crate::workspace::project::Project;

/// What came of one project's preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is gone.
    Deleted,
    /// It would be deleted.
    Planned,
    /// There was none, or it is an alias, which cannot be deleted.
    Absent,
    /// It may still be there.
    Failed,
}

/// One project's preview.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The project's name.
    pub project: String,
    /// The Worker that it is a preview of.
    pub worker: String,
    /// The preview's name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Stopped {
    /// What a person reads of it; nothing where there was nothing.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let Stopped { project, worker, name, .. } = self;
        match self.outcome {
            Outcome::Deleted => Some(format!("{project}  preview {name} is deleted")),
            Outcome::Planned => Some(format!(
                "# {project}: delete the preview {name}; by hand: wrangler preview delete --name={name} --worker-name={worker} -y"
            )),
            Outcome::Absent => None,
            Outcome::Failed => {
                let error = self.error.as_deref().unwrap_or_default();
                Some(format!("{project}  preview {name} may still be there: {error}"))
            }
        }
    }
}

/// A deletion in progress.
pub struct Stop<'a> {
    ctx: &'a Ctx,
    place: &'a Destination,
    name: &'a str,
    token: Secret,
}

impl<'a> Stop<'a> {
    /// Of the previews called `name`.
    pub fn new(ctx: &'a Ctx, place: &'a Destination, name: &'a str) -> Result<Stop<'a>, Failure> {
        Ok(Stop { ctx, place, name, token: ctx.secret(&place.token())? })
    }

    /// Deletes the preview of each project. One that fails does not stop the others; where none is
    /// `needed`, a failure to ask is the caller's.
    pub fn all(&self, projects: &[&Project], needed: bool) -> Result<Vec<Stopped>> {
        let mut all = Vec::new();
        for project in projects {
            let worker = project.target(&self.place.environment).worker;
            // A name that this Worker cannot have was never given to a preview of it.
            let result = match alias::check(self.name, &worker) {
                Ok(()) => self.one(&worker),
                Err(_) => Ok(Outcome::Absent),
            };
            let (outcome, error) = match result {
                Ok(outcome) => (outcome, None),
                Err(error) if needed => {
                    let next = cloudflare::next_step(&error);
                    let text = format!("{error:#}\nhint: {next}; that does no harm");
                    (Outcome::Failed, Some(text))
                }
                Err(error) => return Err(error),
            };
            let (project, name) = (project.name.clone(), self.name.to_owned());
            all.push(Stopped { project, worker, name, outcome, error });
        }
        Ok(all)
    }

    fn one(&self, worker: &str) -> Result<Outcome> {
        let api = Api::new(&self.place.api, &self.place.account_id, &self.token);
        let api = api.patient(&self.ctx.patience);
        if self.ctx.dry_run {
            let found = api.preview(worker, self.name)?;
            return Ok(if found.is_some() { Outcome::Planned } else { Outcome::Absent });
        }
        let there = api.delete_preview(worker, self.name)?;
        Ok(if there { Outcome::Deleted } else { Outcome::Absent })
    }
}
