//! Reads projects.

use axum::extract::State;
use serde_json::{Value, json};

use super::context::RequestContext;
use super::fields::RequestFields;
use super::git::GitRefs;
use super::model::StoredProject;
use super::paging::{RequestUrl, page, sort_rows};
use super::response::{GitlabResult, ok_response};
use super::tokens::Caller;
use super::users::instance_url;
use crate::app::App;

/// `GET /projects/{project}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    // The sandbox lacks the fields that these parameters add.
    fields.require_known(&["statistics", "license", "with_custom_attributes"])?;
    let refs = request.app.gitlab.refs()?;
    Ok(ok_response(project_json(&request.app, &*request.project()?, &refs)))
}

/// `GET /projects`. The caller is a member of all projects that it can read.
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    url: RequestUrl,
    fields: RequestFields,
) -> GitlabResult {
    let known =
        ["archived", "membership", "min_access_level", "simple", "with_merge_requests_enabled"];
    fields.require_known(&known)?;
    let refs = app.gitlab.refs()?;
    // The sandbox has no archived projects.
    let wants_archived = fields.flag("archived");
    let mut projects = app.gitlab.store.all();
    projects.retain(|project| !wants_archived && caller.check_access(project.id).is_ok());
    sort_rows(&mut projects, &fields, "desc")?;
    page(&url, &fields, &projects, |project| Some(project_json(&app, project, &refs)))
}

/// Returns the URL of a project.
#[must_use]
pub fn web_url(app: &App, project: &StoredProject) -> String {
    format!("{}/{}", instance_url(app), project.path)
}

fn project_json(app: &App, project: &StoredProject, refs: &GitRefs) -> Value {
    let (namespace, name) = project.path.rsplit_once('/').unwrap_or(("", &project.path));
    let access = |is_enabled: bool| if is_enabled { "enabled" } else { "disabled" };
    let has_repository = app.gitlab.repository.is_some();
    let default_branch = if has_repository { refs.default_branch.as_str() } else { "main" };
    json!({
        "id": project.id, "name": name, "path": name, "path_with_namespace": project.path,
        "namespace": { "path": namespace, "full_path": namespace, "kind": "group" },
        "default_branch": default_branch, "visibility": "private", "archived": false,
        "web_url": web_url(app, project), "name_with_namespace": project.path.replace('/', " / "),
        "description": null, "topics": [], "merge_method": "merge", "squash_option": "default_off",
        // The sandbox has no issues, and git cannot clone its projects.
        "http_url_to_repo": null, "ssh_url_to_repo": null, "issues_enabled": false,
        "merge_requests_enabled": true, "issues_access_level": access(false),
        "merge_requests_access_level": access(true),
        "repository_access_level": access(has_repository),
        "empty_repo": has_repository && refs.branches.is_empty(),
    })
}
