//! Reads, creates and changes a project's variables (<https://docs.gitlab.com/api/project_level_variables/>).
//! The sandbox does not store their values. All are *masked and hidden*, and GitLab never returns
//! hidden values.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::context::RequestContext;
use super::fields::RequestFields;
use super::model::ProjectVariable;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
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
        check_value(&text("value"), one.masked, fields.flag("raw"))?;
        let variables = &mut draft.project.variables;
        if variables.iter().any(|other| other.key == one.key && other.scope == one.scope) {
            return refusal(&format!("({}) has already been taken", one.key));
        }
        let answer = variable_json(&one);
        variables.push(one);
        Ok(created_response(answer))
    })
}

/// Returns the index of the variable that a request names. The scope is needed if several variables have the name.
fn find(
    variables: &[ProjectVariable],
    request: &RequestContext,
    fields: &RequestFields,
) -> Result<usize, GitlabError> {
    let scope = fields.text("filter[environment_scope]");
    let is_meant = |one: &ProjectVariable| {
        one.key == request.item() && scope.as_ref().is_none_or(|scope| one.scope == *scope)
    };
    let mut found = (0..variables.len()).filter(|index| is_meant(&variables[*index]));
    match (found.next(), found.next()) {
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
        let one = &mut draft.project.variables[index];
        if fields.has("protected") {
            one.protected = fields.flag("protected");
        }
        if fields.has("masked") {
            one.masked = fields.flag("masked");
        }
        if let Some(value) = fields.text("value") {
            check_value(&value, one.masked, fields.flag("raw"))?;
            one.empty = value.is_empty();
        }
        Ok(ok_response(variable_json(one)))
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
