//! Previews that were left behind: of merge requests that are merged or closed.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::comment::write::Action;
use super::comment::{self, Comment, Commented};
use crate::clock::{rfc3339, unix_now};
use crate::context::{Ctx, variable};
use crate::error::Exit;
use crate::plan::merge_request::{MergeRequest, Project};
use crate::report::comment::Status;
use crate::report::comment::state::{marked, rows};
use crate::secret::Secret;
use crate::tools::gitlab::leftovers::{self, Environment, MOST, Request, State};
use crate::tools::gitlab::request::Client;
use crate::tools::gitlab::{Notes, User};
use crate::workspace::config::Config;

/// What was found and done.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// The version of this document.
    pub schema: u32,
    /// How many merge requests were looked at.
    pub looked: usize,
    /// Whether there were more than are looked at in one run.
    pub more: bool,
    /// What was left behind.
    pub left: Vec<Left>,
    /// Why nothing, or not everything, was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What one merge request left behind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Its number.
    pub iid: u64,
    /// What has become of it.
    pub state: State,
    /// Its page.
    pub url: Option<String>,
    /// The projects whose previews its comment still shows.
    pub projects: Vec<String>,
    /// The environment that was not stopped.
    pub environment: Option<String>,
    /// What happened to the comment; nothing in a dry run, or when it was right.
    pub comment: Option<Commented>,
    /// Whether the environment is stopped now.
    pub stopped: bool,
}

impl Swept {
    /// How the run ended.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let failed = |left: &Left| {
            let comment = left.comment.as_ref().map(|comment| comment.action);
            matches!(comment, Some(Action::Failed | Action::Skipped))
        };
        if self.left.iter().any(failed) { Exit::Failed } else { Exit::Done }
    }

    /// What people read.
    #[must_use]
    pub fn text(&self, dry_run: bool) -> String {
        let mut lines: Vec<String> = self.left.iter().map(|left| left.line(dry_run)).collect();
        if self.left.is_empty() && self.message.is_none() {
            lines.push(format!("nothing left behind by {} merge requests", self.looked));
        }
        if self.more {
            lines.push(format!(
                "more than {MOST} merge requests were merged or closed; `--days` takes fewer"
            ));
        }
        lines.extend(self.message.clone());
        lines.join("\n")
    }
}

impl Left {
    fn line(&self, dry_run: bool) -> String {
        let state = match self.state {
            State::Merged => "merged",
            State::Closed => "closed",
            State::Deleted => "deleted",
            State::Open => "open",
        };
        let mut done = Vec::new();
        if !self.projects.is_empty() {
            let said = match self.comment.as_ref().map(|comment| comment.action) {
                None if dry_run => "would be said to be removed",
                Some(Action::Failed | Action::Skipped) => "are still in the comment",
                _ => "removed",
            };
            done.push(format!("{} {said}", self.projects.join(", ")));
        }
        if let Some(name) = &self.environment {
            let said = match (self.stopped, dry_run) {
                (true, _) => "stopped",
                (false, true) => "would be stopped",
                (false, false) => "could not be stopped",
            };
            done.push(format!("environment {name} {said}"));
        }
        format!("!{} {state}: {}", self.iid, done.join("; "))
    }
}

/// Does for each merge request that was merged or closed within `days` what `preview stop` does in its
/// pipeline, where that was not done, and stops its environment.
pub fn sweep(ctx: &Ctx, config: &Config, days: u32) -> Result<Swept> {
    let mut swept = Swept { schema: 1, ..Swept::default() };
    let place = Project::from_variables(variable, &config.gitlab);
    let name = &config.gitlab.token_variable;
    let Some(token) = variable(name) else {
        swept.message = Some(format!("nothing looked at: the variable {name} is not set"));
        return Ok(swept);
    };
    let client = comment::client(&place.api, name, Some(token))?;
    // Stopping takes more rights than commenting; a job's own token has them.
    let job = match variable("CI_JOB_TOKEN") {
        Some(token) => Some(comment::connect(&place.api, Secret::new(token.trim()))?.of_job()),
        None => None,
    };
    let environments = job.as_ref().unwrap_or(&client);
    let explain = |error| comment::explained(error, name, None, &place.request(0));
    let since = rfc3339(unix_now().saturating_sub(u64::from(days) * 86_400));
    let (requests, more) = leftovers::finished(&client, &place.number, &since).map_err(&explain)?;
    swept.more = more;
    let mut open = BTreeMap::new();
    match leftovers::available(environments, &place.number) {
        Ok(found) => open.extend(found.into_iter().filter_map(|one| Some((iid(&one)?, one)))),
        Err(error) => swept.message = Some(format!("environments are not looked at: {error:#}")),
    }
    let mut requests: BTreeMap<u64, Request> =
        requests.into_iter().map(|request| (request.iid, request)).collect();
    for iid in open.keys().filter(|iid| !requests.contains_key(iid)).copied().collect::<Vec<_>>() {
        let request = leftovers::request(&client, &place.number, iid).map_err(&explain)?;
        requests.insert(iid, request);
    }
    let user = Notes::whoami(&client).map_err(&explain)?;
    for request in requests.into_values().filter(|request| request.state != State::Open) {
        swept.looked += 1;
        let projects = live(&client, &user, &place, &request).map_err(&explain)?;
        let environment = open.remove(&request.iid);
        if projects.is_empty() && environment.is_none() {
            continue;
        }
        let mut left = Left {
            iid: request.iid,
            state: request.state,
            url: request.web_url.clone(),
            projects,
            environment: environment.as_ref().map(|one| one.name.clone()),
            comment: None,
            stopped: false,
        };
        if !ctx.dry_run {
            end(ctx, config, &place, environments, environment.as_ref(), &mut left);
        }
        swept.left.push(left);
    }
    Ok(swept)
}

/// What `preview stop` does, and the environment's end.
fn end(
    ctx: &Ctx,
    config: &Config,
    place: &Project,
    client: &Client,
    environment: Option<&Environment>,
    left: &mut Left,
) {
    if !left.projects.is_empty() {
        let request = MergeRequest { page: left.url.clone(), ..place.request(left.iid) };
        left.comment = Some(Comment::of(ctx, config, Some(request)).removed());
    }
    if let Some(one) = environment {
        match leftovers::stop(client, &place.number, one.id) {
            Ok(()) => left.stopped = true,
            Err(error) => ctx.ui.warn(&format!("{} is not stopped: {error:#}", one.name)),
        }
    }
}

/// The projects whose previews the comment still shows.
fn live(client: &Client, user: &User, place: &Project, request: &Request) -> Result<Vec<String>> {
    if request.state == State::Deleted {
        return Ok(Vec::new());
    }
    let iid = request.iid.to_string();
    let ours = Notes::of(client, &place.number, &iid, user.clone(), marked).ours()?;
    let shown = ours.iter().flat_map(|note| rows(&note.body));
    let live =
        shown.filter(|row| matches!(row.status, Status::Building | Status::Ready | Status::Failed));
    Ok(live.map(|row| row.project).collect())
}

/// The merge request of a preview's environment, `review/<iid>`.
fn iid(environment: &Environment) -> Option<u64> {
    environment.name.strip_prefix("review/")?.parse().ok()
}
