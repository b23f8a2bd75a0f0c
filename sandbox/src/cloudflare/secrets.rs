//! Secrets: changing one makes a new version, as at Cloudflare.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::versions::{is_secret, presented};
use super::{Place, done, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Version, Worker, whole};

/// Texts by name; none deletes.
type Changes = BTreeMap<String, Option<String>>;

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

/// A secret.
#[derive(Deserialize)]
pub struct Secret {
    name: String,
    text: String,
}

/// `PUT …/secrets`
pub async fn put(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(Secret { name: secret, text }): Body<Secret>,
) -> ApiResult {
    let changes = Changes::from([(secret.clone(), Some(text))]);
    deployed(&app, &account, &name, &changes)?;
    Ok(ok(&json!({ "name": secret, "type": "secret_text" })))
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
    deployed(&app, &account, &name, &changes(&body["secrets"]))?;
    Ok(done())
}

/// The body of a patch to the latest version.
#[derive(Deserialize)]
pub struct Patch {
    #[serde(default)]
    env: Value,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `PATCH /workers/workers/{worker}/versions/latest`: a version that is not deployed.
pub async fn patch_latest(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Patch>,
) -> ApiResult {
    let changes = changes(&body.env);
    let version = change(&app, &account, &name, |worker| {
        let version = changed(worker, &changes, body.annotations)?;
        worker.versions.push(version.clone());
        Ok(version)
    })?;
    Ok(ok(&presented(&version)))
}

fn no_secret(secret: &str) -> ApiError {
    ApiError::new(404, 10_056, &format!("Secret {secret} not found"))
}

fn changes(secrets: &Value) -> Changes {
    let named = secrets.as_object().into_iter().flatten();
    let text = |secret: &Value| secret["text"].as_str().map(str::to_owned);
    named.map(|(name, secret)| (name.clone(), text(secret))).collect()
}

/// Changes secrets of what is live. Refused, as at Cloudflare, when the latest version is not: it
/// would go live with them.
fn deployed(app: &App, account: &str, name: &str, changes: &Changes) -> Result<(), ApiError> {
    change(app, account, name, |worker| {
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

fn change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    tokio::task::block_in_place(|| {
        app.store.change(account, name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            let result = change(&mut worker)?;
            Ok((worker, result))
        })
    })
}

/// The latest version with other secrets.
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
    for (secret, text) in changes {
        version.bindings.retain(|binding| binding["name"] != secret.as_str());
        if let Some(text) = text {
            let binding = json!({ "name": secret, "type": "secret_text", "text": text });
            version.bindings.push(binding);
        }
    }
    Ok(version)
}
