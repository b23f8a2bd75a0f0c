//! Deletes the remaining previews of merged and closed merge requests.

pub mod report;
pub mod skip;

use std::collections::{BTreeMap, BTreeSet};

use crate::context::Ctx;
use crate::engine::previews::comment::{self, Comment};
use crate::engine::previews::stop::{Outcome, PreviewDeletion, Previews};
use crate::plan::block;
use crate::plan::destination::Destination;
use crate::plan::merge_request::{self, GitlabProject, MergeRequest};
use base::env::variable;
use base::error::{Error, Result};
use base::secret::TokenProblem;
use base::time::{rfc3339, unix_now};
use gitlab::api::leftovers;
use gitlab::api::leftovers::{GitlabEnvironment, ListedMergeRequest, ListedState};
use gitlab::api::request::Client;
use gitlab::api::{Notes, User};
use gitlab::comment::PreviewStatus;
use gitlab::comment::state::{has_marker, rows};
use report::{CleanupReport, Leftover, Unknown};
use skip::Skipped;
use workspace::Workspace;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// Does the work of `preview stop` for each merge request that was merged or closed within `days`, and stops its
/// environment. Worker Previews at `destination` and environments count without that limit. Previews that may belong to
/// another merge request are skipped, because a deletion cannot be undone, and the next run lists them again.
pub fn clean_up(
    ctx: &Ctx,
    workspace: &Workspace,
    destination: Option<&Destination>,
    days: u32,
) -> Result<CleanupReport> {
    let config = &workspace.config;
    let project = GitlabProject::from_ci(&ctx.ci, &config.gitlab);
    project.check(&config.gitlab, destination.is_some_and(|at| at.sandbox.is_some()))?;
    let previews = match destination.map(|at| Previews::at(ctx, at)) {
        None => PreviewAccess::None,
        Some(Ok(previews)) => PreviewAccess::Available(previews),
        Some(Err(error)) => PreviewAccess::Unreadable(error),
    };
    let mut report = CleanupReport { schema: 2, ..CleanupReport::default() };
    let name = &config.gitlab.token_variable;
    let Some(token) = variable(name) else {
        let unset = TokenProblem::Unset.message(name);
        report.message = Some(format!("nothing was checked: {unset}"));
        return Ok(report);
    };
    let client = comment::client(ctx, &project.api, name, Some(&token))?;
    // Stopping an environment needs more rights than commenting. The job token has them.
    let job = match ctx.ci.job_token.clone() {
        Some(token) => Some(comment::connect(ctx, &project.api, token)?.of_job()),
        None => None,
    };
    let environments = job.as_ref().unwrap_or(&client);
    let cleanup =
        Cleanup { ctx, workspace, destination, previews, project, client: &client, environments };
    let explain = |error| comment::explain(error, name, None, &cleanup.project.number, None);
    let candidates = cleanup.candidates(days, &mut report).map_err(explain)?;
    let user = Notes::whoami(&client).map_err(explain)?;
    for mut candidate in candidates {
        match cleanup.decide(&mut candidate, &user, &mut report) {
            Ok(None) => {}
            Ok(Some(mut leftover)) => {
                if !ctx.dry_run {
                    cleanup.remove(candidate.environment.as_ref(), &mut leftover);
                }
                report.leftovers.push(leftover);
            }
            // The cleanup cannot continue, so it reports the actions so far.
            Err(error) => {
                if !report.leftovers.is_empty() {
                    ctx.ui.note(&format!("done before that:\n{}", report.text(ctx.dry_run)));
                }
                return Err(explain(error));
            }
        }
    }
    Ok(report)
}

/// A merge request that is not open, with what may remain of it.
struct Candidate {
    request: ListedMergeRequest,
    environment: Option<GitlabEnvironment>,
    previews: Vec<PreviewDeletion>,
}

/// The access to Worker Previews.
enum PreviewAccess<'a> {
    /// No destination was requested.
    None,
    /// They can be read and deleted.
    Available(Previews<'a>),
    /// They cannot be read.
    Unreadable(Error),
}

/// The values that the steps of a cleanup share.
struct Cleanup<'a> {
    ctx: &'a Ctx,
    workspace: &'a Workspace,
    destination: Option<&'a Destination>,
    previews: PreviewAccess<'a>,
    project: GitlabProject,
    client: &'a Client<'a>,
    /// The client that may stop environments.
    environments: &'a Client<'a>,
}

impl Cleanup<'_> {
    /// Finds the merge requests that are not open and were updated within `days`, or still have an environment or a
    /// Worker Preview.
    fn candidates(&self, days: u32, report: &mut CleanupReport) -> Result<Vec<Candidate>> {
        let number = &self.project.number;
        let since = rfc3339(unix_now().saturating_sub(u64::from(days) * 86_400));
        let (requests, more) = leftovers::list_finished(self.client, number, &since)?;
        report.more = more;
        let mut environments = BTreeMap::new();
        match leftovers::available(self.environments, number) {
            Ok(found) => {
                environments.extend(found.into_iter().filter_map(|one| Some((iid(&one)?, one))));
            }
            Err(error) => {
                report.message = Some(format!("environments were not checked: {error:#}"));
            }
        }
        let mut previews = self.worker_previews(&mut report.unknown);
        let mut requests: BTreeMap<u64, ListedMergeRequest> =
            requests.into_iter().map(|request| (request.iid, request)).collect();
        let older = environments.keys().chain(previews.keys());
        let older: BTreeSet<u64> =
            older.filter(|iid| !requests.contains_key(iid)).copied().collect();
        let older = leftovers::list_by_number(self.client, number, &older)?;
        requests.extend(older.into_iter().map(|request| (request.iid, request)));
        let ended = requests.into_values().filter(|request| request.state != ListedState::Open);
        let candidate = |request: ListedMergeRequest| Candidate {
            environment: environments.remove(&request.iid),
            previews: previews.remove(&request.iid).unwrap_or_default(),
            request,
        };
        Ok(ended.map(candidate).collect())
    }

    /// Decides what to remove. `None` if nothing remains, or if it may belong to another merge request.
    fn decide(
        &self,
        candidate: &mut Candidate,
        user: &User,
        report: &mut CleanupReport,
    ) -> Result<Option<Leftover>> {
        let Candidate { request, environment, previews } = candidate;
        let iid = request.iid;
        if request.state == ListedState::Unknown {
            let found = (previews.as_slice(), environment.as_ref());
            report.skipped.extend(Skipped::unknown(iid, &self.project, found, self.destination));
            return Ok(None);
        }
        report.merge_requests += 1;
        let projects = live(self.client, user, &self.project, request)?;
        if let PreviewAccess::Available(at) = &self.previews {
            report.skipped.extend(skip::take_foreign(previews, request, &projects, at));
        }
        if projects.is_empty() && environment.is_none() && previews.is_empty() {
            return Ok(None);
        }
        // The lists may be out of date: the merge request may have been reopened.
        if !self.ctx.dry_run
            && leftovers::state(self.client, &self.project.number, iid)? != request.state
        {
            self.ctx.ui.note(&format!(
                "!{iid} changed during this run and was skipped; the next run checks it again"
            ));
            return Ok(None);
        }
        let unknown = |name: &&String| report.unknown.iter().any(|one| one.project == **name);
        Ok(Some(Leftover {
            iid,
            state: request.state,
            url: request.web_url.clone(),
            kept: projects.iter().filter(unknown).cloned().collect(),
            projects,
            previews: std::mem::take(previews),
            environment: environment.as_ref().map(|one| one.name.clone()),
            comment: None,
            stopped: false,
        }))
    }

    /// Deletes the Worker Previews, updates the comment as `preview stop` does, and stops the environment.
    fn remove(&self, environment: Option<&GitlabEnvironment>, leftover: &mut Leftover) {
        if let PreviewAccess::Available(previews) = &self.previews {
            delete(previews, leftover);
        }
        let removed: Vec<&str> = leftover.removed_projects().collect();
        if !removed.is_empty() {
            let page = leftover.url.clone();
            let request = MergeRequest { page, ..self.project.request(leftover.iid) };
            let comment =
                Comment::for_merge_request(self.ctx, &self.workspace.config, Some(request));
            let all = removed.len() == leftover.projects.len();
            let has_alias = |name: &str| self.has_alias(name) && !leftover.has_deleted(name);
            leftover.comment = Some(comment.show_removed(&removed, all, has_alias));
        }
        if let Some(one) = environment.filter(|_| !leftover.may_have_preview()) {
            match leftovers::stop(self.environments, &self.project.number, one.id) {
                Ok(()) => leftover.stopped = true,
                Err(error) => {
                    self.ctx.ui.warn(&format!("{} is not stopped: {error:#}", one.name));
                }
            }
        }
    }

    /// Returns true if the previews of a project are aliases, which still work.
    fn has_alias(&self, name: &str) -> bool {
        let environment = self.destination.map_or("", |at| at.environment.as_str());
        let mut projects = self.workspace.projects.iter();
        projects.any(|project| {
            project.name == name
                && project.strategy(&self.workspace.config, environment, None) == Strategy::Alias
        })
    }

    /// Returns the Worker Previews of merge requests, by number. Reads every project, because a preview may
    /// be older than a change of the strategy. A read error counts only if the strategy is `preview`.
    fn worker_previews(&self, unknown: &mut Vec<Unknown>) -> BTreeMap<u64, Vec<PreviewDeletion>> {
        let mut found: BTreeMap<u64, Vec<PreviewDeletion>> = BTreeMap::new();
        let Some(destination) = self.destination else { return found };
        let environment = &destination.environment;
        // `preview` refuses the others, whose Worker would be that of another environment.
        let is_own =
            |project: &&Project| block::check(self.workspace, project, environment).is_ok();
        for project in self.workspace.projects.iter().filter(is_own) {
            let strategy = project.strategy(&self.workspace.config, environment, None);
            let numbered = match &self.previews {
                PreviewAccess::None => continue,
                PreviewAccess::Unreadable(_) if strategy == Strategy::Alias => continue,
                PreviewAccess::Unreadable(failure) => Err(failure.clone()),
                PreviewAccess::Available(previews) => previews.of_merge_requests(project),
            };
            match numbered {
                Ok(numbered) => {
                    for (iid, one) in numbered {
                        found.entry(iid).or_default().push(one);
                    }
                }
                Err(error) if strategy == Strategy::Preview => {
                    let project = project.name.clone();
                    unknown.push(Unknown { project, error: format!("{error:#}") });
                }
                Err(error) => {
                    let name = &project.name;
                    self.ctx.ui.note(&format!("previews of {name} are not searched: {error:#}"));
                }
            }
        }
        found
    }
}

/// Deletes the Worker Previews. The comment still shows a preview that may exist.
fn delete(previews: &Previews<'_>, leftover: &mut Leftover) {
    for one in &mut leftover.previews {
        if one.outcome != Outcome::Failed {
            previews.end(one);
        }
        if one.outcome == Outcome::Failed && leftover.projects.contains(&one.project) {
            leftover.kept.push(one.project.clone());
        }
    }
}

/// Returns the projects whose previews the comment still shows.
fn live(
    client: &Client<'_>,
    user: &User,
    project: &GitlabProject,
    request: &ListedMergeRequest,
) -> Result<Vec<String>> {
    if request.state == ListedState::Deleted {
        return Ok(Vec::new());
    }
    let iid = request.iid.to_string();
    let ours = Notes::with_user(client, &project.number, &iid, user.clone(), has_marker).ours()?;
    let shown = ours.iter().flat_map(|note| rows(&note.body));
    let live = shown.filter(|row| {
        matches!(row.status, PreviewStatus::Building | PreviewStatus::Ready | PreviewStatus::Failed)
    });
    Ok(live.map(|row| row.project).collect())
}

/// Returns the merge request of a preview's environment, `review/<iid>`.
fn iid(environment: &GitlabEnvironment) -> Option<u64> {
    merge_request::iid(environment.name.strip_prefix("review/")?)
}
