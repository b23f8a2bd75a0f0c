//! Reads and creates a project's variables (<https://docs.gitlab.com/api/project_level_variables/>).
//! The sandbox does not store their values. All are *masked and hidden*, and GitLab never returns
//! hidden values.

use serde_json::{Value, json};

use super::answer::{GitlabError, GitlabResult, created_response};
use super::context::RequestContext;
use super::fields::RequestFields;
use super::model::ProjectVariable;
use super::tokens::UserRole;

/// The maximum length of a name.
const MAX_KEY: usize = 255;

/// The maximum length of a value.
const MAX_VALUE: usize = 10_000;

/// `GET /projects/{project}/variables`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    request.caller.require_role(UserRole::Maintainer)?;
    fields.require_known(&[])?;
    request.page(&fields, &project.variables, |one| Some(variable_json(one)))
}

/// `POST /projects/{project}/variables`
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.create(UserRole::Maintainer, |draft| {
        fields.require(&["key", "value"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let one = ProjectVariable {
            key: text("key"),
            protected: fields.flag("protected"),
            masked: fields.flag("masked"),
            scope: fields.text("environment_scope").unwrap_or_else(|| "*".to_owned()),
            empty: text("value").is_empty(),
        };
        let refusal = |problem: &str| Err(GitlabError::message(400, json!({ "key": [problem] })));
        if one.key.is_empty() || !one.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return refusal("can contain only letters, digits and '_'.");
        }
        if one.key.len() > MAX_KEY {
            return refusal("is too long (maximum is 255 characters)");
        }
        let value = text("value");
        let value_refusal =
            |problem: &str| Err(GitlabError::message(400, json!({ "value": [problem] })));
        if value.chars().count() > MAX_VALUE {
            return value_refusal("is too long (maximum is 10000 characters)");
        }
        if one.masked && !is_maskable(&value, fields.flag("raw")) {
            return value_refusal("is invalid");
        }
        let variables = &mut draft.project.variables;
        if variables.iter().any(|other| other.key == one.key && other.scope == one.scope) {
            return refusal(&format!("({}) has already been taken", one.key));
        }
        let answer = variable_json(&one);
        variables.push(one);
        Ok(created_response(answer))
    })
}

/// Tells whether GitLab can hide a value in job logs: one line of at least 8 characters without spaces, and only some
/// characters if variables in it are expanded
/// (<https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable>).
fn is_maskable(value: &str, is_raw: bool) -> bool {
    let is_permitted = |c: char| match is_raw {
        true => !c.is_whitespace() && !c.is_control(),
        false => c.is_ascii_alphanumeric() || "_+=/@:.~-".contains(c),
    };
    value.chars().count() >= 8 && value.chars().all(is_permitted)
}

fn variable_json(one: &ProjectVariable) -> Value {
    json!({
        "key": one.key, "value": one.empty.then_some(""), "variable_type": "env_var",
        "protected": one.protected, "masked": one.masked, "hidden": !one.empty, "raw": false,
        "environment_scope": one.scope, "description": null,
    })
}
