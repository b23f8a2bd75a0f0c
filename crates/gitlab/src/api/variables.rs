//! The variables of a project, which are read without their values (<https://docs.gitlab.com/api/project_level_variables/>).

use serde::{Deserialize, Deserializer};

use super::request::{Client, ReplyPage};
use super::segment;
use crate::pipeline::variables::Variable;
use base::error::{Result, failed};
use base::secret::Secret;
use serde_json::json;

/// More pages than any project has.
const MAX_PAGES: u64 = 20;

/// A variable of GitLab. Its value is skipped: only whether it is empty is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredVariable {
    /// Its name.
    pub key: String,
    /// `true` if only pipelines of protected branches and tags see it.
    pub protected: bool,
    /// `true` if it is hidden in logs.
    pub masked: bool,
    /// The environments whose jobs see it.
    #[serde(rename = "environment_scope", default = "everywhere")]
    pub scope: String,
    /// `true` if it is set and empty. GitLab does not return the value of a hidden one.
    #[serde(rename = "value", default, deserialize_with = "is_empty")]
    pub empty: bool,
}

/// Creates a variable. GitLab hides it in job logs and never shows its value again. Variables in its value are not
/// expanded.
pub fn create(client: &Client<'_>, project: &str, one: &Variable, value: &Secret) -> Result<()> {
    let body = json!({
        "key": one.name, "value": value.expose(), "environment_scope": one.scope,
        "protected": one.protected, "masked": one.masked, "masked_and_hidden": one.masked, "raw": true,
    });
    client.post_credential(&variables_path(project), &body)?.ok(201)
}

/// Replaces the value and the protection of a variable with the same name and scope.
pub fn replace(client: &Client<'_>, project: &str, one: &Variable, value: &Secret) -> Result<()> {
    let body = json!({
        "value": value.expose(), "protected": one.protected, "masked": one.masked, "raw": true,
    });
    client.put_credential(&variable_path(project, one), &body)?.ok(200)
}

/// Returns the path of a project's variables, below that of the API.
#[must_use]
pub fn variables_path(project: &str) -> String {
    format!("/projects/{}/variables", segment(project))
}

/// Returns the path of a variable, below that of the API. One name has several scopes.
#[must_use]
pub fn variable_path(project: &str, one: &Variable) -> String {
    format!(
        "{}/{}?filter%5Benvironment_scope%5D={}",
        variables_path(project),
        segment(&one.name),
        segment(&one.scope)
    )
}

fn everywhere() -> String {
    "*".to_owned()
}

fn is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Option::<String>::deserialize(deserializer)?;
    Ok(value.is_some_and(|text| text.trim().is_empty()))
}

/// Returns the variables of `project`, which is a number or a full path. Variables of its group are not included.
pub fn list(client: &Client<'_>, project: &str) -> Result<Vec<StoredVariable>> {
    let mut found = Vec::new();
    for page in client.pages(&variables_path(project), MAX_PAGES) {
        let ReplyPage { reply, .. } = page?;
        reply.ok(200)?;
        // The parser's error could contain a value.
        let rows: Vec<StoredVariable> = serde_json::from_slice(&reply.response.body)
            .map_err(|_| failed("GitLab's answer is not a list of variables"))?;
        found.extend(rows);
    }
    Ok(found)
}
