//! Deployments: which versions get the traffic.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::EMAIL;
use super::body::Body;
use super::envelope::{ApiError, ApiResult, ok};
use super::{Place, settings};
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

/// `GET …/deployments`: the last ten, newest first.
pub async fn list(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let newest: Vec<Value> = worker.deployments.iter().rev().take(10).map(presented).collect();
    Ok(ok(&json!({ "deployments": newest })))
}

/// `GET …/deployments/{deployment}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let found = worker.deployments.iter().find(|deployment| deployment.id == id);
    let found = found.ok_or_else(|| {
        ApiError::new(404, 10_007, &format!("This deployment does not exist: {id}"))
    })?;
    Ok(ok(&presented(found)))
}

/// `POST …/deployments`
pub async fn create(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Create>,
) -> ApiResult {
    check(&body)?;
    let answer = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            let unknown = body.versions.iter().find(|v| worker.version(&v.version_id).is_none());
            if let Some(unknown) = unknown {
                return Err(ApiError::no_version(&unknown.version_id));
            }
            worker.deploy(body.versions, body.annotations);
            let answer = worker.deployments.last().map(presented);
            Ok((worker, answer))
        })
    })?;
    Ok(ok(&answer))
}

fn check(body: &Create) -> Result<(), ApiError> {
    if body.strategy != "percentage" {
        return Err(ApiError::invalid("The strategy of a deployment must be `percentage`"));
    }
    let ids: BTreeSet<&str> = body.versions.iter().map(|v| v.version_id.as_str()).collect();
    if ids.len() != body.versions.len() || !matches!(ids.len(), 1 | 2) {
        return Err(ApiError::invalid("A deployment has one or two different versions"));
    }
    let total: f64 = body.versions.iter().map(|share| share.percentage).sum();
    let valid = body.versions.iter().all(|share| (0.0..=100.0).contains(&share.percentage));
    if !valid || (total - 100.0).abs() > 0.001 {
        return Err(ApiError::invalid("The percentages of a deployment must add up to 100"));
    }
    Ok(())
}

fn presented(deployment: &Deployment) -> Value {
    let mut annotations = deployment.annotations.clone();
    annotations.retain(|_, text| !text.is_empty());
    annotations.insert("workers/triggered_by".to_owned(), "deployment".to_owned());
    json!({
        "id": deployment.id, "source": "wrangler", "strategy": "percentage",
        "author_email": EMAIL, "created_on": deployment.created_on,
        "annotations": annotations, "versions": deployment.versions,
    })
}
