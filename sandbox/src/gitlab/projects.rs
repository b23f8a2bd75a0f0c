//! Reads projects.

use serde_json::{Value, json};

use super::answer::{GitlabResult, ok_response};
use super::context::RequestContext;
use super::fields::RequestFields;
use super::model::StoredProject;
use super::users::instance_url;
use crate::app::App;

/// `GET /projects/{project}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    // The sandbox lacks the fields that these parameters add.
    fields.require_known(&["statistics", "license", "with_custom_attributes"])?;
    Ok(ok_response(project_json(&request.app, &*request.project()?)))
}

/// Returns the address of a project's page.
#[must_use]
pub fn web_url(app: &App, project: &StoredProject) -> String {
    format!("{}/{}", instance_url(app), project.path)
}

fn project_json(app: &App, project: &StoredProject) -> Value {
    let (namespace, name) = project.path.rsplit_once('/').unwrap_or(("", &project.path));
    json!({
        "id": project.id, "name": name, "path": name, "path_with_namespace": project.path,
        "namespace": { "path": namespace, "full_path": namespace, "kind": "group" },
        "default_branch": "main", "visibility": "private", "archived": false,
        "web_url": web_url(app, project),
    })
}
