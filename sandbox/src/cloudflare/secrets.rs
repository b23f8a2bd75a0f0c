//! Secrets: changing one makes a new version, as at Cloudflare.

use std::collections::BTreeMap;

use axum::extract::{Json, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Place;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::versions::presented;
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Version, whole};

/// Changes by name; none deletes.
type Changes = BTreeMap<String, Option<String>>;

/// `GET …/secrets`
pub async fn list(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = app.store.worker(&account, &name).ok_or_else(ApiError::no_worker)?;
    let bindings =
        worker.versions.last().map(|version| version.bindings.clone()).unwrap_or_default();
    let secrets = bindings.iter().filter(|binding| binding["type"] == "secret_text");
    let shown: Vec<Value> =
        secrets.map(|binding| json!({ "name": binding["name"], "type": "secret_text" })).collect();
    Ok(listed(&shown))
}

/// `PUT …/secrets`
pub async fn put(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    let secret =
        body["name"].as_str().ok_or_else(|| ApiError::invalid("`name` is missing"))?.to_owned();
    let text =
        body["text"].as_str().ok_or_else(|| ApiError::invalid("`text` is missing"))?.to_owned();
    apply(
        &app,
        &account,
        &name,
        &Changes::from([(secret.clone(), Some(text))]),
        BTreeMap::new(),
        true,
    )?;
    Ok(ok(&json!({ "name": secret, "type": "secret_text" })))
}

/// `DELETE …/secrets/{secret}`
pub async fn delete(
    State(app): State<App>,
    Path((account, name, secret)): Path<(String, String, String)>,
) -> ApiResult {
    apply(&app, &account, &name, &Changes::from([(secret, None)]), BTreeMap::new(), true)?;
    Ok(super::done())
}

/// `PATCH …/secrets-bulk`
pub async fn bulk(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Value>,
) -> ApiResult {
    apply(&app, &account, &name, &changes(&body["secrets"]), BTreeMap::new(), true)?;
    Ok(super::done())
}

/// The body of a patch to the latest version.
#[derive(Debug, Deserialize)]
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
    Json(body): Json<Patch>,
) -> ApiResult {
    let version = apply(&app, &account, &name, &changes(&body.env), body.annotations, false)?;
    Ok(ok(&presented(&version)))
}

fn changes(secrets: &Value) -> Changes {
    let named = secrets.as_object().into_iter().flatten();
    named.map(|(name, secret)| (name.clone(), secret["text"].as_str().map(str::to_owned))).collect()
}

fn apply(
    app: &App,
    account: &str,
    name: &str,
    changes: &Changes,
    annotations: BTreeMap<String, String>,
    live: bool,
) -> Result<Version, ApiError> {
    tokio::task::block_in_place(|| {
        app.store.change(account, name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
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
                    version
                        .bindings
                        .push(json!({ "name": secret, "type": "secret_text", "text": text }));
                }
            }
            if live {
                worker.deploy(whole(&version.id), BTreeMap::new());
            }
            worker.versions.push(version.clone());
            Ok((worker, version))
        })
    })
}
