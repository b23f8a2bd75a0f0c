//! Reads branches, commits and comparisons of the git repository (<https://docs.gitlab.com/api/commits/>).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::context::RequestContext;
use super::diffs::diff_json;
use super::fields::RequestFields;
use super::git::{FileDiff, GitCommit, GitRefs, GitRepository};
use super::model::StoredProject;
use super::projects::web_url;
use super::response::{GitlabError, GitlabResult, ok_response};
use crate::app::App;

/// The number of digits in a short hash.
const SHORT_ID: usize = 8;

/// Makes the response for a missing commit.
pub(super) fn commit_not_found() -> GitlabError {
    GitlabError::message(404, "404 Commit Not Found")
}

/// Returns the repository with its branches and tags. Errors if the sandbox has no repository.
pub fn open(request: &RequestContext) -> Result<(&GitRepository, GitRefs), GitlabError> {
    let repository = request.app.gitlab.repository.as_ref().ok_or_else(|| {
        GitlabError::not_implemented(
            "commits, branches and files, because it has no git repository. Start it with \
             `--gitlab-repository DIR` or `SANDBOX_GITLAB_REPOSITORY=DIR`",
        )
    })?;
    Ok((repository, repository.refs()?))
}

/// Returns the commit that the path names.
fn find(request: &RequestContext) -> Result<(&GitRepository, GitCommit), GitlabError> {
    let (repository, refs) = open(request)?;
    let id = repository.resolve(&refs, request.item())?.ok_or_else(commit_not_found)?;
    Ok((repository, repository.commit(&id)?))
}

/// Returns a commit in the API's format, without its statistics.
#[must_use]
pub fn commit_json(app: &App, project: &StoredProject, commit: &GitCommit) -> Value {
    let [author_name, author_email, authored_date] = &commit.author;
    let [committer_name, committer_email, committed_date] = &commit.committer;
    let mut all_trailers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &commit.trailers {
        all_trailers.entry(name).or_default().push(value);
    }
    let last_trailers: BTreeMap<&str, &str> =
        commit.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({
        "id": commit.id, "short_id": commit.id.get(..SHORT_ID), "created_at": committed_date,
        "parent_ids": commit.parents, "title": commit.message.lines().next().unwrap_or_default(),
        "message": commit.message, "author_name": author_name, "author_email": author_email,
        "authored_date": authored_date, "committer_name": committer_name,
        "committer_email": committer_email, "committed_date": committed_date, "trailers": last_trailers,
        "extended_trailers": all_trailers,
        "web_url": format!("{}/-/commit/{}", web_url(app, project), commit.id),
    })
}

/// `GET /projects/{project}/repository/commits/{commit}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&["stats"])?;
    let (repository, commit) = find(&request)?;
    let mut document = commit_json(&request.app, &project, &commit);
    if fields.text("stats").is_none_or(|text| text != "false") {
        let changes = repository.changes(&commit)?;
        let count = |sign| changes.iter().map(|change| count_lines(change, sign)).sum::<usize>();
        let (additions, deletions) = (count('+'), count('-'));
        document["stats"] = json!({ "additions": additions, "deletions": deletions, "total": additions + deletions });
    }
    document["project_id"] = json!(project.id);
    // The sandbox has no pipelines.
    document["status"] = Value::Null;
    document["last_pipeline"] = Value::Null;
    Ok(ok_response(document))
}

/// Counts the lines of a diff that begin with `sign`.
fn count_lines(change: &FileDiff, sign: char) -> usize {
    change.text.lines().filter(|line| line.starts_with(sign)).count()
}

/// `GET …/commits/{commit}/diff`
pub async fn diff(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.project()?;
    fields.require_known(&[])?;
    let (repository, commit) = find(&request)?;
    request.page(&fields, &repository.changes(&commit)?, |change| Some(diff_json(change)))
}

/// `GET …/commits/{commit}/comments`. The sandbox has no comments on commits.
pub async fn comments(request: RequestContext, fields: RequestFields) -> GitlabResult {
    empty_list_of_commit(&request, &fields, &[])
}

/// `GET …/commits/{commit}/statuses`. The sandbox has no pipelines and no external statuses.
pub async fn statuses(request: RequestContext, fields: RequestFields) -> GitlabResult {
    empty_list_of_commit(&request, &fields, &["ref", "stage", "name", "pipeline_id", "all"])
}

/// Returns an empty list for a commit that exists.
fn empty_list_of_commit(
    request: &RequestContext,
    fields: &RequestFields,
    known: &[&str],
) -> GitlabResult {
    request.project()?;
    fields.require_known(known)?;
    find(request)?;
    request.page(fields, &[(); 0], |()| None)
}

/// `GET …/compare`. Compares `from` and `to` with `straight=true`. Otherwise compares their common ancestor with `to`.
pub async fn compare(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&["from", "to", "straight", "unidiff"])?;
    if fields.flag("unidiff") {
        return Err(GitlabError::not_implemented("`unidiff=true`"));
    }
    fields.require(&["from", "to"])?;
    let (repository, refs) = open(&request)?;
    let resolve = |name: &str| {
        let id = repository.resolve(&refs, &fields.text(name).unwrap_or_default())?;
        id.ok_or_else(|| GitlabError::message(404, "404 Ref Not Found"))
    };
    let (from, to) = (resolve("from")?, resolve("to")?);
    let mut commits = repository.commits(&from, &to)?;
    commits.reverse();
    let commits: Vec<Value> =
        commits.iter().map(|commit| commit_json(&request.app, &project, commit)).collect();
    let base = match fields.flag("straight") {
        true => Some(from.clone()),
        false => repository.merge_base(&from, &to)?,
    };
    let changes = base.map(|base| repository.diff(&base, &to)).transpose()?.unwrap_or_default();
    let diffs: Vec<Value> = changes.iter().map(diff_json).collect();
    let url = format!("{}/-/compare/{from}...{to}", web_url(&request.app, &project));
    Ok(ok_response(json!({
        "commit": commits.last(), "commits": commits, "diffs": diffs, "compare_timeout": false,
        "compare_same_ref": from == to, "web_url": url,
    })))
}

fn branch_json(
    request: &RequestContext,
    project: &StoredProject,
    (repository, refs): (&GitRepository, &GitRefs),
    (name, id): (&str, &str),
) -> Result<Value, GitlabError> {
    let is_default = name == refs.default_branch;
    let default = refs.branches.get(&refs.default_branch).filter(|_| !is_default);
    let is_merged = default.map(|default| repository.is_ancestor(id, default)).transpose()?;
    let commit = commit_json(&request.app, project, &repository.commit(id)?);
    Ok(json!({
        "name": name, "commit": commit, "merged": is_merged.unwrap_or(false),
        // The sandbox protects no branch.
        "protected": false, "developers_can_push": false, "developers_can_merge": false,
        "can_push": true, "default": is_default,
        "web_url": format!("{}/-/tree/{name}", web_url(&request.app, project)),
    }))
}

/// `GET …/repository/branches`
pub async fn branches(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&["search"])?;
    let (repository, refs) = open(&request)?;
    let search = fields.text("search").unwrap_or_default();
    let is_selected = |name: &str| match (search.strip_prefix('^'), search.strip_suffix('$')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(&search),
    };
    let branches: Vec<_> = refs.branches.iter().filter(|(name, _)| is_selected(name)).collect();
    // Leaves out a branch that another process has just deleted.
    request.page(&fields, &branches, |(name, id)| {
        branch_json(&request, &project, (repository, &refs), (name, id)).ok()
    })
}

/// `GET …/repository/branches/{branch}`
pub async fn branch(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let (repository, refs) = open(&request)?;
    let branch = refs.branches.get_key_value(request.item());
    let (name, id) = branch.ok_or_else(|| GitlabError::message(404, "404 Branch Not Found"))?;
    Ok(ok_response(branch_json(&request, &project, (repository, &refs), (name, id))?))
}
