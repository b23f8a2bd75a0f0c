//! Reads the commits and changes of merge requests (<https://docs.gitlab.com/api/merge_requests/>).

use serde_json::{Value, json};

use super::commits::{commit_json, open};
use super::context::{RequestContext, find_merge_request, position};
use super::fields::RequestFields;
use super::git::{FileDiff, GitRefs, GitRepository};
use super::merge_requests::{known_head, merge_request_json};
use super::model::{StoredMergeRequest, StoredProject};
use super::response::{GitlabError, GitlabResult, ok_response};
use crate::app::App;

/// The commits that a merge request compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRefs {
    /// The newest common ancestor of the two branches.
    pub base: String,
    /// The newest commit of the target branch.
    pub start: String,
    /// The newest commit of the source branch.
    pub head: String,
}

/// The result of a search for the commits of a merge request.
enum DiffRefsSearch {
    Success(DiffRefs),
    /// The repository lacks them, for this reason.
    Missing(String),
}

fn search_diff_refs(
    repository: &GitRepository,
    refs: &GitRefs,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> Result<DiffRefsSearch, GitlabError> {
    let (source, target) = (&merge_request.source_branch, &merge_request.target_branch);
    let dir = repository.dir();
    let missing_branch = |branch: &str| {
        Ok(DiffRefsSearch::Missing(format!("the branch `{branch}` is not in {dir}")))
    };
    let Some(head) = known_head(refs, project, merge_request) else {
        return missing_branch(source);
    };
    let Some(head) = repository.resolve(refs, &head)? else {
        return Ok(DiffRefsSearch::Missing(format!("the commit {head} is not in {dir}")));
    };
    let Some(start) = refs.branches.get(target) else {
        return missing_branch(target);
    };
    Ok(match repository.merge_base(start, &head)? {
        Some(base) => DiffRefsSearch::Success(DiffRefs { base, start: start.clone(), head }),
        None => DiffRefsSearch::Missing(format!(
            "the branches `{source}` and `{target}` have no common commit"
        )),
    })
}

/// Returns the commits of a merge request. `None` if there is no git repository or if it lacks them.
pub fn diff_refs(
    app: &App,
    refs: &GitRefs,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> Result<Option<DiffRefs>, GitlabError> {
    let Some(repository) = &app.gitlab.repository else { return Ok(None) };
    match search_diff_refs(repository, refs, project, merge_request)? {
        DiffRefsSearch::Success(refs) => Ok(Some(refs)),
        DiffRefsSearch::Missing(_) => Ok(None),
    }
}

/// Returns the repository and the commits of a merge request. Errors if the repository lacks them.
fn find<'a>(
    request: &'a RequestContext,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> Result<(&'a GitRepository, DiffRefs), GitlabError> {
    let (repository, refs) = open(request)?;
    match search_diff_refs(repository, &refs, project, merge_request)? {
        DiffRefsSearch::Success(refs) => Ok((repository, refs)),
        DiffRefsSearch::Missing(reason) => {
            let feature = format!("the commits of !{}: {reason}", merge_request.iid);
            Err(GitlabError::not_implemented(&feature))
        }
    }
}

/// Returns a change in the API's format.
#[must_use]
pub fn diff_json(change: &FileDiff) -> Value {
    let ([old_path, new_path], [old_mode, new_mode]) = (&change.paths, &change.modes);
    json!({
        "diff": change.text, "collapsed": false, "too_large": false, "new_path": new_path,
        "old_path": old_path, "a_mode": old_mode, "b_mode": new_mode,
        "new_file": change.status == 'A', "renamed_file": change.status == 'R',
        "deleted_file": change.status == 'D', "generated_file": false,
    })
}

/// `GET …/commits`, newest first.
pub async fn commits(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, merge_request)?;
    let commits = repository.commits(&refs.base, &refs.head)?;
    request.page(&fields, &commits, |commit| Some(commit_json(&request.app, &project, commit)))
}

/// `GET …/diffs`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    check_diff_parameters(&fields, &["unidiff"])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, merge_request)?;
    request
        .page(&fields, &repository.diff(&refs.base, &refs.head)?, |change| Some(diff_json(change)))
}

/// Refuses unknown parameters and `unidiff=true`.
fn check_diff_parameters(fields: &RequestFields, known: &[&str]) -> Result<(), GitlabError> {
    fields.require_known(known)?;
    if fields.flag("unidiff") {
        return Err(GitlabError::not_implemented("`unidiff=true`"));
    }
    Ok(())
}

/// `GET …/changes`. GitLab replaced it with `…/diffs`.
pub async fn changes(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    check_diff_parameters(&fields, &["unidiff", "access_raw_diffs"])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, merge_request)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    let mut document =
        merge_request_json(&request.app, &project, merge_request, &request.app.gitlab.refs()?)?;
    document["changes_count"] = json!(changes.len().to_string());
    document["changes"] = changes.iter().map(diff_json).collect();
    document["overflow"] = json!(false);
    Ok(ok_response(document))
}

/// Returns the only version of a merge request's changes, because the sandbox stores no history.
fn version_json(
    merge_request: &StoredMergeRequest,
    refs: &DiffRefs,
    changes: &[FileDiff],
) -> Value {
    json!({
        "id": merge_request.id, "head_commit_sha": refs.head, "base_commit_sha": refs.base,
        "start_commit_sha": refs.start, "created_at": merge_request.created_at, "merge_request_id": merge_request.id,
        "state": if changes.is_empty() { "empty" } else { "collected" },
        "real_size": changes.len().to_string(), "patch_id_sha": null,
    })
}

/// `GET …/versions`
pub async fn versions(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, merge_request)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    request.page(&fields, &[()], |()| Some(version_json(merge_request, &refs, &changes)))
}

/// `GET …/versions/{version}`
pub async fn version(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    check_diff_parameters(&fields, &["unidiff"])?;
    let merge_request = find_merge_request(&project, request.item())?;
    position(&[merge_request.id], request.note(), |id| *id)?;
    let (repository, refs) = find(&request, &project, merge_request)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    let commits = repository.commits(&refs.base, &refs.head)?;
    let mut document = version_json(merge_request, &refs, &changes);
    document["commits"] =
        commits.iter().map(|commit| commit_json(&request.app, &project, commit)).collect();
    document["diffs"] = changes.iter().map(diff_json).collect();
    Ok(ok_response(document))
}
