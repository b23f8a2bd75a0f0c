//! Deletes the remaining previews of merged and closed merge requests.

pub mod report;
pub mod skip;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};

use super::comment::{self, Comment};
use super::stop::{Outcome, PreviewDeletion, Previews};
use crate::context::Ctx;
use crate::plan::destination::Destination;
use crate::plan::merge_request::{self, GitlabProject, MergeRequest};
use base::env::variable;
use base::error::Failure;
use base::secret::Secret;
use base::time::{rfc3339, unix_now};
use gitlab::api::leftovers;
use gitlab::api::leftovers::{GitlabEnvironment, Request, RequestState};
use gitlab::api::request::Client;
use gitlab::api::{Notes, User};
use gitlab::comment::state::{has_marker, rows};
use gitlab::comment::{CommentRow, PreviewStatus};
use report::{CleanupReport, Leftover, Unknown};
use skip::Skipped;
use workspace::Workspace;
use workspace::config::Config;
use workspace::strategy::Strategy;

/// Does the work of `preview stop` for each merge request that was merged or closed within `days`, and stops its
/// environment. Worker Previews at `place` and environments count without that limit. Previews that may belong to
/// another merge request are skipped, because a deletion cannot be undone, and the next run lists them again.
pub fn clean_up(
    ctx: &Ctx,
    workspace: &Workspace,
    place: Option<&Destination>,
    days: u32,
) -> Result<CleanupReport> {
    let config = &workspace.config;
    let destination = place;
    let place = GitlabProject::from_variables(variable, &config.gitlab);
    place.check(&config.gitlab, destination.is_some_and(|at| at.sandbox.is_some()))?;
    let previews = destination.map(|at| (at, Previews::at(ctx, at)));
    let mut report = CleanupReport { schema: 2, ..CleanupReport::default() };
    let name = &config.gitlab.token_variable;
    let Some(token) = variable(name) else {
        report.message = Some(format!("nothing looked at: the variable {name} is not set"));
        return Ok(report);
    };
    let client = comment::client(ctx, &place.api, name, Some(token))?;
    // Stopping an environment needs more rights than commenting. The job token has them.
    let job = match variable("CI_JOB_TOKEN") {
        Some(token) => Some(comment::connect(ctx, &place.api, Secret::new(token.trim()))?.of_job()),
        None => None,
    };
    let environments = job.as_ref().unwrap_or(&client);
    let explain = |error| comment::explain(error, name, None, &place.request(0));
    let since = rfc3339(unix_now().saturating_sub(u64::from(days) * 86_400));
    let (requests, more) =
        leftovers::list_finished(&client, &place.number, &since).map_err(&explain)?;
    report.more = more;
    let mut open = BTreeMap::new();
    match leftovers::available(environments, &place.number) {
        Ok(found) => open.extend(found.into_iter().filter_map(|one| Some((iid(&one)?, one)))),
        Err(error) => report.message = Some(format!("environments are not looked at: {error:#}")),
    }
    let mut requests: BTreeMap<u64, Request> =
        requests.into_iter().map(|request| (request.iid, request)).collect();
    let mut found = match &previews {
        Some((at, previews)) => ask(ctx, workspace, at, previews, &mut report.unknown),
        None => BTreeMap::new(),
    };
    let older = open.keys().chain(found.keys()).filter(|iid| !requests.contains_key(iid));
    let older: BTreeSet<u64> = older.copied().collect();
    let older = leftovers::list_by_number(&client, &place.number, &older).map_err(&explain)?;
    requests.extend(older.into_iter().map(|request| (request.iid, request)));
    let user = Notes::whoami(&client).map_err(&explain)?;
    // If the cleanup cannot continue, it reports the actions so far.
    let cut = |error, report: &CleanupReport| {
        if !report.leftovers.is_empty() {
            ctx.ui.note(&format!("done before that:\n{}", report.text(ctx.dry_run)));
        }
        explain(error)
    };
    // Their previews are aliases, which still work.
    let name = destination.map_or("", |place| place.environment.as_str());
    let projects = workspace.projects.iter();
    let aliases: Vec<&str> = projects
        .filter(|project| project.strategy(config, name, None) == Strategy::Alias)
        .map(|project| project.name.as_str())
        .collect();
    for request in requests.into_values().filter(|request| request.state != RequestState::Open) {
        let iid = request.iid;
        let environment = open.remove(&iid);
        let mut worker_previews = found.remove(&iid).unwrap_or_default();
        if request.state == RequestState::Unknown {
            let found = (worker_previews.as_slice(), environment.as_ref());
            report.skipped.extend(Skipped::unknown(iid, &place, found, destination));
            continue;
        }
        report.merge_requests += 1;
        let shown = live(&client, &user, &place, &request);
        let projects = shown.map_err(|error| cut(error, &report))?;
        if let Some((_, Ok(previews))) = &previews {
            report.skipped.extend(skip::take_foreign(
                &mut worker_previews,
                &request,
                &projects,
                previews,
            ));
        }
        if projects.is_empty() && environment.is_none() && worker_previews.is_empty() {
            continue;
        }
        // The lists may be out of date: the merge request may have been reopened.
        let now = || leftovers::state(&client, &place.number, iid);
        if !ctx.dry_run && now().map_err(|error| cut(error, &report))? != request.state {
            ctx.ui.note(&format!("!{iid} has changed meanwhile and is left to the next run"));
            continue;
        }
        let unknown = |name: &&String| report.unknown.iter().any(|one| one.project == **name);
        let mut leftover = Leftover {
            iid,
            state: request.state,
            url: request.web_url.clone(),
            kept: projects.iter().filter(unknown).cloned().collect(),
            projects,
            previews: worker_previews,
            environment: environment.as_ref().map(|one| one.name.clone()),
            comment: None,
            stopped: false,
        };
        if !ctx.dry_run {
            if let Some((_, Ok(previews))) = &previews {
                delete(previews, &mut leftover);
            }
            end(ctx, config, &place, environments, environment.as_ref(), &aliases, &mut leftover);
        }
        report.leftovers.push(leftover);
    }
    Ok(report)
}

/// Returns the Worker Previews of merge requests, by number. Reads every project, because a preview may
/// be older than a change of the strategy. A read error counts only if the strategy is `preview`.
fn ask(
    ctx: &Ctx,
    workspace: &Workspace,
    place: &Destination,
    previews: &Result<Previews<'_>, Failure>,
    unknown: &mut Vec<Unknown>,
) -> BTreeMap<u64, Vec<PreviewDeletion>> {
    let mut found: BTreeMap<u64, Vec<PreviewDeletion>> = BTreeMap::new();
    for project in &workspace.projects {
        let strategy = project.strategy(&workspace.config, &place.environment, None);
        let numbered = match previews {
            Ok(previews) => previews.of_merge_requests(project),
            Err(_) if strategy == Strategy::Alias => continue,
            Err(failure) => Err(anyhow!(failure.message.clone())),
        };
        match numbered {
            Ok(numbered) => {
                numbered.into_iter().for_each(|(iid, one)| found.entry(iid).or_default().push(one));
            }
            Err(error) if strategy == Strategy::Preview => {
                unknown
                    .push(Unknown { project: project.name.clone(), error: format!("{error:#}") });
            }
            Err(error) => {
                ctx.ui.note(&format!("previews of {} are not searched: {error:#}", project.name));
            }
        }
    }
    found
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

/// Updates the comment as `preview stop` does, and stops the environment.
fn end(
    ctx: &Ctx,
    config: &Config,
    place: &GitlabProject,
    client: &Client<'_>,
    environment: Option<&GitlabEnvironment>,
    aliases: &[&str],
    leftover: &mut Leftover,
) {
    let is_deleted = |name: &str| {
        leftover.previews.iter().any(|one| one.project == name && one.outcome == Outcome::Deleted)
    };
    let answers = |name: &&str| aliases.contains(name) && !is_deleted(name);
    let answering: Vec<&str> = leftover.removed_projects().filter(answers).collect();
    let status = |name: &str| {
        if answering.contains(&name) { PreviewStatus::AliasOnly } else { PreviewStatus::Removed }
    };
    let rows: Vec<CommentRow> =
        leftover.removed_projects().map(|name| CommentRow::new(name, status(name))).collect();
    if !rows.is_empty() {
        let request = MergeRequest { page: leftover.url.clone(), ..place.request(leftover.iid) };
        let comment = Comment::for_merge_request(ctx, config, Some(request));
        let all = rows.len() == leftover.projects.len();
        let comment = if all { comment.mark_stopped(&answering) } else { comment.finish(&rows) };
        leftover.comment = Some(comment);
    }
    if let Some(one) = environment.filter(|_| !leftover.may_have_preview()) {
        match leftovers::stop(client, &place.number, one.id) {
            Ok(()) => leftover.stopped = true,
            Err(error) => ctx.ui.warn(&format!("{} is not stopped: {error:#}", one.name)),
        }
    }
}

/// Returns the projects whose previews the comment still shows.
fn live(
    client: &Client<'_>,
    user: &User,
    place: &GitlabProject,
    request: &Request,
) -> Result<Vec<String>> {
    if request.state == RequestState::Deleted {
        return Ok(Vec::new());
    }
    let iid = request.iid.to_string();
    let ours = Notes::with_user(client, &place.number, &iid, user.clone(), has_marker).ours()?;
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
