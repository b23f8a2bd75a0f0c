//! Changes secrets, which makes a new version, as at Cloudflare.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::versions::{is_secret, presented};
use super::{Place, done, rules, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Version, Worker, whole};

/// Secrets by name; `None` deletes one.
type Changes = BTreeMap<String, Option<Secret>>;

fn names(worker: &Worker) -> Vec<Value> {
    let latest = worker.versions.last();
    let secrets = latest.iter().flat_map(|version| &version.bindings).filter(|b| is_secret(b));
    secrets.map(|secret| json!({ "name": secret["name"], "type": secret["type"] })).collect()
}

/// `GET …/secrets`
pub async fn list(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(listed(&names(&*settings::worker(&app, &account, &name)?)))
}

/// `GET …/secrets/{secret}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, secret)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let found = names(&worker).into_iter().find(|found| found["name"] == secret.as_str());
    Ok(ok(&found.ok_or_else(|| no_secret(&secret))?))
}

/// A secret, as it is sent.
#[derive(Clone, Deserialize)]
pub struct Secret {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    text: Option<String>,
    /// The fields of a `secret_key`.
    #[serde(flatten)]
    key: Map<String, Value>,
}

impl Secret {
    /// Returns the kind. Clients from before there were two send none.
    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("secret_text")
    }

    fn binding(&self, name: &str) -> Value {
        let mut binding = Value::Object(self.key.clone());
        binding["name"] = json!(name);
        binding["type"] = json!(self.kind());
        if let Some(text) = &self.text {
            binding["text"] = json!(text);
        }
        binding
    }

    fn check(&self, name: &str) -> Result<(), ApiError> {
        let text = match self.kind() {
            "secret_text" => self.text.as_deref(),
            "secret_key" => self.key.get("algorithm").map(|_| ""),
            other => {
                let text = format!("The secret {name} has the unknown type {other:?}");
                return Err(ApiError::invalid(&text));
            }
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$';
        if name.is_empty() || !name.bytes().all(good) || name.as_bytes()[0].is_ascii_digit() {
            let text = format!(
                "The secret name {name:?} is invalid: letters, digits and underscores, no digit first"
            );
            return Err(ApiError::invalid(&text));
        }
        let text =
            text.ok_or_else(|| ApiError::invalid(&format!("The secret {name} has no value")))?;
        rules::check_text(name, text)
    }
}

/// `PUT …/secrets`
pub async fn put(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(secret): Body<Secret>,
) -> ApiResult {
    let answer = json!({ "name": secret.name, "type": secret.kind() });
    let changes = Changes::from([(secret.name.clone(), Some(secret))]);
    deployed(&app, &account, &name, &changes)?;
    Ok(ok(&answer))
}

/// `DELETE …/secrets/{secret}`
pub async fn delete(
    State(app): State<App>,
    Path((account, name, secret)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    if !names(&worker).iter().any(|found| found["name"] == secret.as_str()) {
        return Err(no_secret(&secret));
    }
    deployed(&app, &account, &name, &Changes::from([(secret, None)]))?;
    Ok(done())
}

/// `PATCH …/secrets-bulk`
pub async fn bulk(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Value>,
) -> ApiResult {
    let changes = changes(&body["secrets"])?;
    deployed(&app, &account, &name, &changes)?;
    Ok(ok(&json!({ "secrets": names(&*settings::worker(&app, &account, &name)?) })))
}

/// The body of a patch to the latest version.
#[derive(Deserialize)]
pub struct Patch {
    #[serde(default)]
    env: Value,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `PATCH /workers/workers/{worker}/versions/latest`: makes a version that is not deployed.
pub async fn patch_latest(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Patch>,
) -> ApiResult {
    let changes = changes(&body.env)?;
    let version = settings::try_change(&app, &account, &name, |worker| {
        let version = changed(worker, &changes, body.annotations)?;
        worker.versions.push(version.clone());
        Ok(version)
    })?;
    Ok(ok(&presented(&version)))
}

fn no_secret(secret: &str) -> ApiError {
    ApiError::new(404, 10_056, &format!("Secret {secret} not found"))
}

fn changes(secrets: &Value) -> Result<Changes, ApiError> {
    let named = secrets.as_object().into_iter().flatten();
    let change = |(name, secret): (&String, &Value)| {
        let secret: Option<Secret> = serde_json::from_value(secret.clone()).map_err(|error| {
            ApiError::invalid(&format!("The secret {name} is invalid: {error}"))
        })?;
        Ok((name.clone(), secret))
    };
    named.map(change).collect()
}

/// Changes secrets of what is live. Refuses, as Cloudflare does, if the latest version is not live,
/// because it would go live with them.
fn deployed(app: &App, account: &str, name: &str, changes: &Changes) -> Result<(), ApiError> {
    settings::try_change(app, account, name, |worker| {
        let latest = worker.versions.last().map(|version| &version.id);
        if latest != worker.live().map(|version| &version.id) {
            let text = "Secret edit failed: the latest version isn't currently deployed";
            return Err(ApiError::new(400, 10_215, text));
        }
        let by = ("workers/triggered_by".to_owned(), "secret".to_owned());
        let version = changed(worker, changes, BTreeMap::from([by]))?;
        worker.deploy(whole(&version.id), BTreeMap::new());
        worker.versions.push(version);
        Ok(())
    })
}

/// Returns the latest version with other secrets.
fn changed(
    worker: &Worker,
    changes: &Changes,
    annotations: BTreeMap<String, String>,
) -> Result<Version, ApiError> {
    let latest = worker.versions.last().ok_or_else(ApiError::no_worker)?;
    let mut version = Version {
        id: uuid(),
        number: worker.versions.len() + 1,
        created_on: now(),
        annotations,
        ..latest.clone()
    };
    for (name, secret) in changes {
        let same = version.bindings.iter().find(|binding| binding["name"] == name.as_str());
        if same.is_some_and(|same| !is_secret(same)) {
            return Err(ApiError::name_taken(name));
        }
        version.bindings.retain(|binding| binding["name"] != name.as_str());
        if let Some(secret) = secret {
            secret.check(name)?;
            version.bindings.push(secret.binding(name));
        }
    }
    rules::check_count(&version.bindings)?;
    Ok(version)
}
