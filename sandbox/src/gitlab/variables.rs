//! Reads, creates and changes a project's variables (<https://docs.gitlab.com/api/project_level_variables/>).
//! The sandbox does not store their values. All variables are *masked and hidden*, and GitLab never returns the
//! values of hidden variables.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::context::RequestContext;
use super::fields::RequestFields;
use super::model::ProjectVariable;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::tokens::UserRole;

/// The maximum length of a name, in characters.
const MAX_KEY: usize = 255;

/// The maximum length of a value, in characters.
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
        let variable = ProjectVariable {
            key: text("key"),
            protected: fields.flag("protected"),
            masked: fields.flag("masked"),
            scope: fields.text("environment_scope").unwrap_or_else(|| "*".to_owned()),
            empty: text("value").is_empty(),
        };
        let refusal = |problem: &str| Err(GitlabError::message(400, json!({ "key": [problem] })));
        if variable.key.is_empty()
            || !variable.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return refusal("can contain only letters, digits and '_'.");
        }
        if variable.key.len() > MAX_KEY {
            return refusal("is too long (maximum is 255 characters)");
        }
        check_value(&text("value"), variable.masked, fields.flag("raw"))?;
        let variables = &mut draft.project.variables;
        if variables.iter().any(|other| other.key == variable.key && other.scope == variable.scope)
        {
            return refusal(&format!("({}) has already been taken", variable.key));
        }
        let document = variable_json(&variable);
        variables.push(variable);
        Ok(created_response(document))
    })
}

/// Returns the index of the variable that a request names. Errors if several variables have the name and the
/// request has no scope.
fn find(
    variables: &[ProjectVariable],
    request: &RequestContext,
    fields: &RequestFields,
) -> Result<usize, GitlabError> {
    let scope = fields.text("filter[environment_scope]");
    let matches = |variable: &ProjectVariable| {
        variable.key == request.item()
            && scope.as_ref().is_none_or(|scope| variable.scope == *scope)
    };
    let mut indexes = (0..variables.len()).filter(|index| matches(&variables[*index]));
    match (indexes.next(), indexes.next()) {
        (Some(index), None) => Ok(index),
        (None, _) => Err(GitlabError::not_found()),
        (Some(_), Some(_)) => Err(GitlabError::message(
            409,
            json!(
                "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'"
            ),
        )),
    }
}

/// `GET /projects/{project}/variables/{variable}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    request.caller.require_role(UserRole::Maintainer)?;
    fields.require_known(&["filter[environment_scope]"])?;
    let index = find(&project.variables, &request, &fields)?;
    Ok(ok_response(variable_json(&project.variables[index])))
}

/// `DELETE /projects/{project}/variables/{variable}`
pub async fn delete(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.change(UserRole::Maintainer, |draft| {
        let index = find(&draft.project.variables, &request, &fields)?;
        draft.project.variables.remove(index);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// `PUT /projects/{project}/variables/{variable}`
pub async fn update(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.change(UserRole::Maintainer, |draft| {
        let index = find(&draft.project.variables, &request, &fields)?;
        let variable = &mut draft.project.variables[index];
        if fields.has("protected") {
            variable.protected = fields.flag("protected");
        }
        if fields.has("masked") {
            variable.masked = fields.flag("masked");
        }
        if let Some(value) = fields.text("value") {
            check_value(&value, variable.masked, fields.flag("raw"))?;
            variable.empty = value.is_empty();
        }
        Ok(ok_response(variable_json(variable)))
    })
}

fn check_value(value: &str, is_masked: bool, is_raw: bool) -> Result<(), GitlabError> {
    let refusal = |problem: &str| Err(GitlabError::message(400, json!({ "value": [problem] })));
    if value.chars().count() > MAX_VALUE {
        return refusal("is too long (maximum is 10000 characters)");
    }
    if is_masked && !is_maskable(value, is_raw) {
        return refusal("is invalid");
    }
    Ok(())
}

/// Returns whether GitLab can mask a value in job logs. It is one line of at least 8 characters without spaces. Unless
/// it is raw, only some characters are permitted
/// (<https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable>).
fn is_maskable(value: &str, is_raw: bool) -> bool {
    let is_permitted = |c: char| match is_raw {
        true => !c.is_whitespace() && !c.is_control(),
        false => c.is_ascii_alphanumeric() || "_+=/@:.~-".contains(c),
    };
    value.chars().count() >= 8 && value.chars().all(is_permitted)
}

fn variable_json(variable: &ProjectVariable) -> Value {
    json!({
        "key": variable.key, "value": variable.empty.then_some(""), "variable_type": "env_var",
        "protected": variable.protected, "masked": variable.masked, "hidden": !variable.empty, "raw": false,
        "environment_scope": variable.scope, "description": null,
    })
}
