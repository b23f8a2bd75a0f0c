//! Reads and creates deployments, which route traffic to versions.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::EMAIL;
use super::body::JsonBody;
use super::envelope::{ApiResult, CloudflareError, ok};
use super::{AccountAndName, exports, settings};
use crate::app::App;
use crate::state::model::{TrafficShare, WorkerDeployment};

/// The body of a new deployment.
#[derive(Debug, Deserialize)]
pub struct NewDeployment {
    strategy: String,
    versions: Vec<TrafficShare>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `GET …/deployments`: the last ten, newest first.
pub async fn list(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let newest: Vec<Value> =
        worker.deployments.iter().rev().take(10).map(deployment_json).collect();
    Ok(ok(&json!({ "deployments": newest })))
}

/// `GET …/deployments/{deployment}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let deployment = worker.deployments.iter().find(|deployment| deployment.id == id);
    // The code was captured from the API (alchemy-run/distilled, `patches/workers/getScriptDeployment.json`).
    let deployment = deployment.ok_or_else(|| {
        CloudflareError::new(404, 10_336, &format!("This deployment does not exist: {id}"))
    })?;
    Ok(ok(&deployment_json(deployment)))
}

/// `POST …/deployments`
pub async fn create(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<NewDeployment>,
) -> ApiResult {
    check(&body)?;
    let document = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(CloudflareError::worker_not_found)?;
            let unknown = body.versions.iter().find(|v| worker.version(&v.version_id).is_none());
            if let Some(unknown) = unknown {
                return Err(CloudflareError::version_not_found(&unknown.version_id));
            }
            let ids = body.versions.iter().map(|share| &share.version_id);
            let versions: Vec<_> = ids.filter_map(|id| worker.version(id)).cloned().collect();
            exports::reconcile_deployment(&app, &mut worker, &versions)?;
            worker.deploy(body.versions, body.annotations);
            let document = worker.deployments.last().map(deployment_json);
            Ok((worker, document))
        })
    })?;
    Ok(ok(&document))
}

fn check(body: &NewDeployment) -> Result<(), CloudflareError> {
    if body.strategy != "percentage" {
        return Err(CloudflareError::invalid("The strategy of a deployment must be `percentage`"));
    }
    let ids: BTreeSet<&str> = body.versions.iter().map(|v| v.version_id.as_str()).collect();
    if ids.len() != body.versions.len() || !matches!(ids.len(), 1 | 2) {
        return Err(CloudflareError::invalid("A deployment has one or two different versions"));
    }
    let total: f64 = body.versions.iter().map(|share| share.percentage).sum();
    let is_valid = body.versions.iter().all(|share| (0.0..=100.0).contains(&share.percentage));
    if !is_valid || (total - 100.0).abs() > 0.001 {
        return Err(CloudflareError::invalid("The percentages of a deployment must add up to 100"));
    }
    Ok(())
}

fn deployment_json(deployment: &WorkerDeployment) -> Value {
    let mut annotations = deployment.annotations.clone();
    annotations.retain(|_, text| !text.is_empty());
    annotations.insert("workers/triggered_by".to_owned(), "deployment".to_owned());
    json!({
        "id": deployment.id, "source": "wrangler", "strategy": "percentage",
        "author_email": EMAIL, "created_on": deployment.created_on,
        "annotations": annotations, "versions": deployment.versions,
    })
}
