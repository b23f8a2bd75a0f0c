//! Reads the commits and changes of merge requests (<https://docs.gitlab.com/api/merge_requests/>).

use serde_json::{Value, json};

use super::commits::{commit_json, open};
use super::context::{RequestContext, merge_request, position};
use super::fields::RequestFields;
use super::git::{FileDiff, GitRefs, GitRepository};
use super::merge_requests::{known_head, merge_request_json};
use super::model::{StoredMergeRequest, StoredProject};
use super::response::{GitlabError, GitlabResult, ok_response};

/// The commits between which a merge request's changes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRefs {
    /// The newest common ancestor of the two branches.
    pub base: String,
    /// The newest commit of the target branch.
    pub start: String,
    /// The newest commit of the source branch.
    pub head: String,
}

/// Returns the commits of a merge request, or the reason for which they are not known.
pub fn diff_refs(
    repository: &GitRepository,
    refs: &GitRefs,
    project: &StoredProject,
    one: &StoredMergeRequest,
) -> Result<Result<DiffRefs, String>, GitlabError> {
    let is_missing = |branch: &str| format!("the branch `{branch}` is not in {}", repository.dir());
    let Some(head) = known_head(refs, project, one) else {
        return Ok(Err(is_missing(&one.source_branch)));
    };
    let Some(head) = repository.resolve(refs, &head)? else {
        return Ok(Err(format!("the commit {head} is not in {}", repository.dir())));
    };
    let Some(start) = refs.branches.get(&one.target_branch) else {
        return Ok(Err(is_missing(&one.target_branch)));
    };
    Ok(match repository.merge_base(start, &head)? {
        Some(base) => Ok(DiffRefs { base, start: start.clone(), head }),
        None => Err(format!(
            "the branches `{}` and `{}` have no common commit",
            one.source_branch, one.target_branch
        )),
    })
}

/// Returns the commits of a merge request. Refuses the request if they are not known.
fn find<'a>(
    request: &'a RequestContext,
    project: &StoredProject,
    one: &StoredMergeRequest,
) -> Result<(&'a GitRepository, DiffRefs), GitlabError> {
    let (repository, refs) = open(request)?;
    let found = diff_refs(repository, &refs, project, one)?.map_err(|reason| {
        GitlabError::not_implemented(&format!("the commits of !{}: {reason}", one.iid))
    })?;
    Ok((repository, found))
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

/// `GET …/commits`, newest first
pub async fn commits(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let one = merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, one)?;
    let commits = repository.commits(&refs.base, &refs.head)?;
    request.page(&fields, &commits, |commit| Some(commit_json(&request.app, &project, commit)))
}

/// `GET …/diffs`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    refuse_unidiff(&fields, &["unidiff"])?;
    let one = merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, one)?;
    request
        .page(&fields, &repository.diff(&refs.base, &refs.head)?, |change| Some(diff_json(change)))
}

/// Refuses unknown parameters, and the format of diffs that the sandbox lacks.
fn refuse_unidiff(fields: &RequestFields, known: &[&str]) -> Result<(), GitlabError> {
    fields.require_known(known)?;
    if fields.flag("unidiff") {
        return Err(GitlabError::not_implemented("`unidiff=true`"));
    }
    Ok(())
}

/// `GET …/changes`, which GitLab replaced with `…/diffs`
pub async fn changes(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    refuse_unidiff(&fields, &["unidiff", "access_raw_diffs"])?;
    let one = merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, one)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    let mut document =
        merge_request_json(&request.app, &project, one, &request.app.gitlab.refs()?)?;
    document["changes_count"] = json!(changes.len().to_string());
    document["changes"] = changes.iter().map(diff_json).collect();
    document["overflow"] = json!(false);
    Ok(ok_response(document))
}

/// Returns the version of a merge request's changes. The sandbox stores no history, so that there is one.
fn version_json(one: &StoredMergeRequest, refs: &DiffRefs, changes: &[FileDiff]) -> Value {
    json!({
        "id": one.id, "head_commit_sha": refs.head, "base_commit_sha": refs.base,
        "start_commit_sha": refs.start, "created_at": one.created_at, "merge_request_id": one.id,
        "state": if changes.is_empty() { "empty" } else { "collected" },
        "real_size": changes.len().to_string(), "patch_id_sha": null,
    })
}

/// `GET …/versions`
pub async fn versions(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let one = merge_request(&project, request.item())?;
    let (repository, refs) = find(&request, &project, one)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    request.page(&fields, &[()], |()| Some(version_json(one, &refs, &changes)))
}

/// `GET …/versions/{version}`
pub async fn version(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    refuse_unidiff(&fields, &["unidiff"])?;
    let one = merge_request(&project, request.item())?;
    position(&[one.id], request.note(), |id| *id)?;
    let (repository, refs) = find(&request, &project, one)?;
    let changes = repository.diff(&refs.base, &refs.head)?;
    let commits = repository.commits(&refs.base, &refs.head)?;
    let mut document = version_json(one, &refs, &changes);
    document["commits"] =
        commits.iter().map(|commit| commit_json(&request.app, &project, commit)).collect();
    document["diffs"] = changes.iter().map(diff_json).collect();
    Ok(ok_response(document))
}
