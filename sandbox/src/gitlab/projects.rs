//! Shows projects.

use serde_json::{Value, json};

use super::answer::{Answer, ok};
use super::fields::Fields;
use super::model::Project;
use super::place::Place;
use super::users::origin;
use crate::app::App;

/// `GET /projects/{project}`
pub async fn view(at: Place, fields: Fields) -> Answer {
    // What these add is not in the sandbox's document anyhow.
    fields.only(&["statistics", "license", "with_custom_attributes"])?;
    Ok(ok(shown(&at.app, &*at.project()?)))
}

/// Returns the address of a project's page.
#[must_use]
pub fn web_url(app: &App, project: &Project) -> String {
    format!("{}/{}", origin(app), project.path)
}

fn shown(app: &App, project: &Project) -> Value {
    let (namespace, name) = project.path.rsplit_once('/').unwrap_or(("", &project.path));
    json!({
        "id": project.id, "name": name, "path": name, "path_with_namespace": project.path,
        "namespace": { "path": namespace, "full_path": namespace, "kind": "group" },
        "default_branch": "main", "visibility": "private", "archived": false,
        "web_url": web_url(app, project),
    })
}
