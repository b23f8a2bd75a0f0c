//! Reads and changes environments (<https://docs.gitlab.com/api/environments/>).

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::context::{RequestContext, position};
use super::deployments;
use super::fields::RequestFields;
use super::model::StoredEnvironment;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::store::{Draft, now};
use super::tokens::UserRole;
use crate::ids::slug_of;

/// The tiers of environments (<https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments>).
const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

/// The maximum length of a name and of a URL, in characters.
const MAX_LENGTH: usize = 255;

/// `GET /projects/{project}/environments`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&["name", "search", "states"])?;
    let states = fields.choice("states", &["available", "stopping", "stopped"])?;
    let (name, search) = (fields.text("name"), fields.text("search"));
    if name.is_some() && search.is_some() {
        return Err(GitlabError::error(400, "name, search cannot be used together"));
    }
    if search.as_ref().is_some_and(|search| search.chars().count() < 3) {
        return Err(GitlabError::bad_request("Search query is less than 3 characters"));
    }
    let is_selected = |environment: &&StoredEnvironment| {
        name.as_ref().is_none_or(|name| environment.name == *name)
            && search.as_ref().is_none_or(|search| environment.name.contains(search))
            && states.as_ref().is_none_or(|state| environment.state == *state)
    };
    let environments: Vec<&StoredEnvironment> =
        project.environments.iter().filter(is_selected).collect();
    request.page(&fields, &environments, |environment| Some(environment_json(environment)))
}

/// `POST /projects/{project}/environments`
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.create(UserRole::Developer, |draft| {
        fields.require(&["name"])?;
        let name = validate_name(&fields.text("name").unwrap_or_default())?;
        let tier = fields.choice("tier", &TIERS)?;
        let url = external_url(&fields)?;
        if draft.project.environment(&name).is_some() {
            return Err(GitlabError::message(400, json!({ "name": ["has already been taken"] })));
        }
        let environment = ensure(draft, &name);
        environment.external_url = url;
        environment.description = fields.text("description");
        environment.tier = tier.unwrap_or_else(|| environment.tier.clone());
        Ok(created_response(environment_json(environment)))
    })
}

/// `GET /projects/{project}/environments/{environment}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[])?;
    let environment =
        &project.environments[position(&project.environments, request.item(), |one| one.id)?];
    let mut document = environment_json(environment);
    let last = project
        .deployments
        .iter()
        .rfind(|d| d.environment == environment.name && d.status == "success");
    document["last_deployment"] =
        last.map_or(Value::Null, |last| deployments::deployment_json(&request.app, &project, last));
    Ok(ok_response(document))
}

/// `PUT /projects/{project}/environments/{environment}`
pub async fn update(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let url = external_url(&fields)?;
    let tier = fields.choice("tier", &TIERS)?;
    change(&request, |environment| {
        environment.external_url = url.or(environment.external_url.take());
        environment.description = fields.text("description").or(environment.description.take());
        environment.tier = tier.unwrap_or_else(|| environment.tier.clone());
    })
}

/// `POST /projects/{project}/environments/{environment}/stop`. The sandbox has no pipelines, so
/// no `on_stop` job runs, with or without `force`.
pub async fn stop(request: RequestContext) -> GitlabResult {
    change(&request, |environment| "stopped".clone_into(&mut environment.state))
}

/// `DELETE /projects/{project}/environments/{environment}`. Refuses an environment that is not stopped.
pub async fn delete(request: RequestContext) -> GitlabResult {
    request.change(UserRole::Developer, |draft| {
        let all = &mut draft.project.environments;
        let index = position(all, request.item(), |one| one.id)?;
        if all[index].state != "stopped" {
            return Err(GitlabError::forbidden());
        }
        let removed = all.remove(index);
        draft.project.deployments.retain(|deployment| deployment.environment != removed.name);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

fn change(request: &RequestContext, change: impl FnOnce(&mut StoredEnvironment)) -> GitlabResult {
    request.change(UserRole::Developer, |draft| {
        let all = &mut draft.project.environments;
        let index = position(all, request.item(), |one| one.id)?;
        change(&mut all[index]);
        all[index].updated_at = now();
        Ok(ok_response(environment_json(&all[index])))
    })
}

/// Returns the environment with this name and makes it available. Creates it if it is missing.
pub fn ensure<'d>(draft: &'d mut Draft, name: &str) -> &'d mut StoredEnvironment {
    let time = now();
    let index = draft.project.environments.iter().position(|environment| environment.name == name);
    let index = index.unwrap_or_else(|| {
        let id = draft.id();
        draft.project.environments.push(StoredEnvironment {
            id,
            name: name.to_owned(),
            external_url: None,
            state: String::new(),
            tier: tier(name).to_owned(),
            created_at: time.clone(),
            updated_at: String::new(),
            description: None,
        });
        draft.project.environments.len() - 1
    });
    let environment = &mut draft.project.environments[index];
    "available".clone_into(&mut environment.state);
    environment.updated_at = time;
    environment
}

/// Returns `name`. Errors if an environment cannot have this name.
pub fn validate_name(name: &str) -> Result<String, GitlabError> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || " -_/${}.".contains(c);
    let problem = if name.trim().is_empty() {
        "can't be blank"
    } else if name.chars().count() > MAX_LENGTH {
        "is too long (maximum is 255 characters)"
    } else if !name.chars().all(is_valid) || name.starts_with('/') || name.ends_with('/') {
        "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, but it cannot start or end with '/'"
    } else {
        return Ok(name.to_owned());
    };
    Err(GitlabError::message(400, json!({ "name": [problem] })))
}

/// Reads the parameter `external_url`. Errors if it is too long or not HTTP.
fn external_url(fields: &RequestFields) -> Result<Option<String>, GitlabError> {
    let url = fields.text("external_url").filter(|url| !url.is_empty());
    match &url {
        Some(url) if url.len() > MAX_LENGTH => {
            let problem = "is too long (maximum is 255 characters)";
            Err(GitlabError::message(400, json!({ "external_url": [problem] })))
        }
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(GitlabError::message(
                400,
                json!({ "external_url": ["is blocked: Only allowed schemes are http, https"] }),
            ))
        }
        _ => Ok(url),
    }
}

/// Returns the tier that GitLab derives from a name
/// (<https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments>).
fn tier(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let contains_any = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if contains_any(&["dev", "review", "trunk"]) {
        "development"
    } else if contains_any(&[
        "test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality",
    ]) {
        "testing"
    } else if contains_any(&["stag", "stg", "model", "modl", "pre", "demo", "non"]) {
        "staging"
    } else if contains_any(&["prod", "prd", "live"]) {
        "production"
    } else {
        "other"
    }
}

/// Returns a slug in GitLab's format: at most 24 characters, with a suffix unless the name is a slug
/// already. The letters of the suffix differ from GitLab's.
fn slug(name: &str) -> String {
    let mut slug = slug_of(name);
    if !slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        slug = format!("env-{}", slug.trim_start_matches('-'));
    }
    if slug.len() > 24 || slug != name {
        slug.truncate(17);
        let suffix = &blake3::hash(name.as_bytes()).to_hex()[..6];
        slug = format!("{}-{suffix}", slug.trim_end_matches('-'));
    }
    slug.trim_end_matches('-').to_owned()
}

/// Returns an environment in the format of a nested object.
#[must_use]
pub fn environment_reference(environment: &StoredEnvironment) -> Value {
    json!({ "id": environment.id, "name": environment.name, "slug": slug(&environment.name), "external_url": environment.external_url })
}

fn environment_json(environment: &StoredEnvironment) -> Value {
    json!({
        "id": environment.id, "name": environment.name, "slug": slug(&environment.name), "external_url": environment.external_url,
        "state": environment.state, "tier": environment.tier, "created_at": environment.created_at,
        "updated_at": environment.updated_at, "auto_stop_at": null, "description": environment.description,
    })
}
