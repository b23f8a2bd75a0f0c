//! A project's variables (<https://docs.gitlab.com/api/project_level_variables/>). Their values are not
//! kept: all are *masked and hidden*, whose values GitLab tells nobody.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created};
use super::fields::Fields;
use super::model::Variable;
use super::paging::{Here, page};
use super::tokens::{Caller, Role};
use crate::app::App;

/// `GET /projects/{project}/variables`
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<String>,
    here: Here,
    fields: Fields,
) -> Answer {
    let project = caller.project(&app, &place)?;
    caller.at_least(Role::Maintainer)?;
    let all: Vec<&Variable> = project.variables.iter().collect();
    page(&here, &fields, &all, |one| Some(shown(one)))
}

/// `POST /projects/{project}/variables`
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<String>,
    fields: Fields,
) -> Answer {
    let id = caller.claim(&app, &place)?;
    caller.at_least(Role::Maintainer)?;
    fields.require(&["key", "value"])?;
    let text = |name: &str| fields.text(name).unwrap_or_default();
    let one = Variable {
        key: text("key"),
        protected: fields.flag("protected"),
        masked: fields.flag("masked"),
        scope: fields.text("environment_scope").unwrap_or_else(|| "*".to_owned()),
        empty: text("value").is_empty(),
    };
    if one.key.is_empty() || !one.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        let said = "can contain only letters, digits and '_'.";
        return Err(Refusal::message(400, json!({ "key": [said] })));
    }
    app.gitlab.store.change(id, &place, |draft| {
        let all = &mut draft.project.variables;
        if all.iter().any(|other| other.key == one.key && other.scope == one.scope) {
            let said = format!("({}) has already been taken", one.key);
            return Err(Refusal::message(400, json!({ "key": [said] })));
        }
        let answer = shown(&one);
        all.push(one);
        Ok(created(answer))
    })
}

fn shown(one: &Variable) -> Value {
    json!({
        "key": one.key, "value": one.empty.then_some(""), "variable_type": "env_var",
        "protected": one.protected, "masked": one.masked, "hidden": !one.empty, "raw": false,
        "environment_scope": one.scope, "description": null,
    })
}
