//! Deployments: which versions get the traffic.

use std::collections::BTreeMap;

use axum::extract::{Json, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Place;
use super::envelope::{ApiError, ApiResult, ok};
use crate::app::App;
use crate::state::model::{Deployment, Share};

/// The body of a new deployment.
#[derive(Debug, Deserialize)]
pub struct Create {
    strategy: String,
    versions: Vec<Share>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `GET …/deployments`, newest first.
pub async fn list(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = app.store.worker(&account, &name).ok_or_else(ApiError::no_worker)?;
    let newest: Vec<Value> = worker.deployments.iter().rev().take(10).map(presented).collect();
    Ok(ok(&json!({ "deployments": newest })))
}

/// `POST …/deployments`
pub async fn create(
    State(app): State<App>,
    Path((account, name)): Place,
    Json(body): Json<Create>,
) -> ApiResult {
    let total: f64 = body.versions.iter().map(|share| share.percentage).sum();
    if body.strategy != "percentage" || body.versions.is_empty() || (total - 100.0).abs() > 0.001 {
        return Err(ApiError::invalid("The percentages of a deployment must add up to 100"));
    }
    let answer = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            if let Some(share) =
                body.versions.iter().find(|share| worker.version(&share.version_id).is_none())
            {
                return Err(ApiError::no_version(&share.version_id));
            }
            worker.deploy(body.versions, body.annotations);
            let answer = worker.deployments.last().map(presented);
            Ok((worker, answer))
        })
    })?;
    Ok(ok(&answer))
}

fn presented(deployment: &Deployment) -> Value {
    let mut annotations: BTreeMap<&str, &str> =
        deployment.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    annotations.insert("workers/triggered_by", "deployment");
    json!({
        "id": deployment.id, "source": "wrangler", "strategy": "percentage",
        "author_email": "you@sandbox.localhost", "created_on": deployment.created_on,
        "annotations": annotations, "versions": deployment.versions,
    })
}
