//! Reads and changes environments (<https://docs.gitlab.com/api/environments/>).

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created, ok};
use super::deployments;
use super::fields::Fields;
use super::model::Environment;
use super::place::{Place, position};
use super::store::{Draft, now};
use super::tokens::Role;

/// What an environment is for.
const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

/// The longest name, and the longest address.
const LONGEST: usize = 255;

/// `GET /projects/{project}/environments`
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    fields.only(&["name", "search", "states"])?;
    let states = fields.choice("states", &["available", "stopping", "stopped"])?;
    let (name, search) = (fields.text("name"), fields.text("search"));
    if name.is_some() && search.is_some() {
        return Err(Refusal::error(400, "name, search cannot be used together"));
    }
    if search.as_ref().is_some_and(|search| search.chars().count() < 3) {
        return Err(Refusal::bad("Search query is less than 3 characters"));
    }
    let fits = |one: &&Environment| {
        name.as_ref().is_none_or(|name| one.name == *name)
            && search.as_ref().is_none_or(|search| one.name.contains(search))
            && states.as_ref().is_none_or(|state| one.state == *state)
    };
    let found: Vec<&Environment> = project.environments.iter().filter(fits).collect();
    at.page(&fields, &found, |one| Some(shown(one)))
}

/// `POST /projects/{project}/environments`
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.make(Role::Developer, |draft| {
        fields.require(&["name"])?;
        let name = valid(&fields.text("name").unwrap_or_default())?;
        let tier = fields.choice("tier", &TIERS)?;
        let url = address(&fields)?;
        if draft.project.environment(&name).is_some() {
            return Err(Refusal::message(400, json!({ "name": ["has already been taken"] })));
        }
        let one = ensure(draft, &name);
        one.external_url = url;
        one.tier = tier.unwrap_or_else(|| one.tier.clone());
        Ok(created(shown(one)))
    })
}

/// `GET /projects/{project}/environments/{environment}`
pub async fn view(at: Place) -> Answer {
    let project = at.project()?;
    let one = &project.environments[position(&project.environments, at.item(), |one| one.id)?];
    let mut answer = shown(one);
    let finished = project.deployments.iter().rev();
    let mut finished = finished.filter(|d| d.environment == one.name && d.status == "success");
    answer["last_deployment"] =
        finished.next().map_or(Value::Null, |last| deployments::shown(&at.app, &project, last));
    Ok(ok(answer))
}

/// `PUT /projects/{project}/environments/{environment}`
pub async fn update(at: Place, fields: Fields) -> Answer {
    let url = address(&fields)?;
    let tier = fields.choice("tier", &TIERS)?;
    change(&at, |one| {
        one.external_url = url.or(one.external_url.take());
        one.tier = tier.unwrap_or_else(|| one.tier.clone());
    })
}

/// `POST /projects/{project}/environments/{environment}/stop`. There are no pipelines here, so no
/// `on_stop` job runs, with or without `force`.
pub async fn stop(at: Place) -> Answer {
    change(&at, |one| "stopped".clone_into(&mut one.state))
}

/// `DELETE /projects/{project}/environments/{environment}`, which must be stopped.
pub async fn delete(at: Place) -> Answer {
    at.change(Role::Developer, |draft| {
        let all = &mut draft.project.environments;
        let index = position(all, at.item(), |one| one.id)?;
        if all[index].state != "stopped" {
            return Err(Refusal::forbidden());
        }
        let gone = all.remove(index);
        draft.project.deployments.retain(|one| one.environment != gone.name);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

fn change(at: &Place, change: impl FnOnce(&mut Environment)) -> Answer {
    at.change(Role::Developer, |draft| {
        let all = &mut draft.project.environments;
        let index = position(all, at.item(), |one| one.id)?;
        change(&mut all[index]);
        all[index].updated_at = now();
        Ok(ok(shown(&all[index])))
    })
}

/// The environment of this name, made when missing, available when it was stopped.
pub fn ensure<'d>(draft: &'d mut Draft, name: &str) -> &'d mut Environment {
    let time = now();
    let index = draft.project.environments.iter().position(|one| one.name == name);
    let index = index.unwrap_or_else(|| {
        let id = draft.id();
        draft.project.environments.push(Environment {
            id,
            name: name.to_owned(),
            external_url: None,
            state: String::new(),
            tier: tier(name).to_owned(),
            created_at: time.clone(),
            updated_at: String::new(),
        });
        draft.project.environments.len() - 1
    });
    let one = &mut draft.project.environments[index];
    "available".clone_into(&mut one.state);
    one.updated_at = time;
    one
}

/// A name that an environment can have.
pub fn valid(name: &str) -> Result<String, Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || " -_/${}.".contains(c);
    let said = if name.trim().is_empty() {
        "can't be blank"
    } else if name.chars().count() > LONGEST {
        "is too long (maximum is 255 characters)"
    } else if !name.chars().all(fits) || name.starts_with('/') || name.ends_with('/') {
        "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, but it cannot start or end with '/'"
    } else {
        return Ok(name.to_owned());
    };
    Err(Refusal::message(400, json!({ "name": [said] })))
}

fn address(fields: &Fields) -> Result<Option<String>, Refusal> {
    let url = fields.text("external_url").filter(|url| !url.is_empty());
    match &url {
        Some(url) if url.len() > LONGEST => {
            let said = "is too long (maximum is 255 characters)";
            Err(Refusal::message(400, json!({ "external_url": [said] })))
        }
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(Refusal::message(
                400,
                json!({ "external_url": ["is blocked: Only allowed schemes are http, https"] }),
            ))
        }
        _ => Ok(url),
    }
}

/// The tier that GitLab guesses from a name
/// (<https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments>).
fn tier(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if holds(&["dev", "review", "trunk"]) {
        "development"
    } else if holds(&["test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality"]) {
        "testing"
    } else if holds(&["stag", "stg", "model", "modl", "pre", "demo", "non"]) {
        "staging"
    } else if holds(&["prod", "prd", "live"]) {
        "production"
    } else {
        "other"
    }
}

/// GitLab's form of a slug: 24 characters, with a suffix unless the name is one already. The
/// suffix's letters are not GitLab's.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_ascii_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
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

/// An environment inside another document.
#[must_use]
pub fn basic(one: &Environment) -> Value {
    json!({ "id": one.id, "name": one.name, "slug": slug(&one.name), "external_url": one.external_url })
}

fn shown(one: &Environment) -> Value {
    json!({
        "id": one.id, "name": one.name, "slug": slug(&one.name), "external_url": one.external_url,
        "state": one.state, "tier": one.tier, "created_at": one.created_at,
        "updated_at": one.updated_at, "auto_stop_at": null, "description": null,
    })
}
