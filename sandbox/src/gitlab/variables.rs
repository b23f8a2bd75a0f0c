//! A project's variables (<https://docs.gitlab.com/api/project_level_variables/>). Their values are not
//! kept: all are *masked and hidden*, whose values GitLab tells nobody.

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created};
use super::fields::Fields;
use super::model::Variable;
use super::place::Place;
use super::tokens::Role;

/// `GET /projects/{project}/variables`
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    at.caller.at_least(Role::Maintainer)?;
    fields.only(&[])?;
    at.page(&fields, &project.variables, |one| Some(shown(one)))
}

/// `POST /projects/{project}/variables`
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.make(Role::Maintainer, |draft| {
        fields.require(&["key", "value"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let one = Variable {
            key: text("key"),
            protected: fields.flag("protected"),
            masked: fields.flag("masked"),
            scope: fields.text("environment_scope").unwrap_or_else(|| "*".to_owned()),
            empty: text("value").is_empty(),
        };
        let refused = |said: &str| Err(Refusal::message(400, json!({ "key": [said] })));
        if one.key.is_empty() || !one.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return refused("can contain only letters, digits and '_'.");
        }
        let all = &mut draft.project.variables;
        if all.iter().any(|other| other.key == one.key && other.scope == one.scope) {
            return refused(&format!("({}) has already been taken", one.key));
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
