//! Reading versions.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Place;
use super::envelope::{ApiError, ApiResult, ok};
use crate::app::App;
use crate::state::model::Version;

/// Which page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    #[serde(default = "first")]
    page: usize,
    #[serde(default = "ten")]
    per_page: usize,
}

fn first() -> usize {
    1
}

/// The API shows the last ten (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/>).
fn ten() -> usize {
    10
}

/// `GET …/versions`, newest first.
pub async fn list(
    State(app): State<App>,
    Path((account, name)): Place,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = app.store.worker(&account, &name).ok_or_else(ApiError::no_worker)?;
    let skipped = page.per_page.max(1) * (page.page.max(1) - 1);
    let newest = worker.versions.iter().rev().skip(skipped).take(page.per_page.max(1));
    Ok(ok(&json!({ "items": newest.map(brief).collect::<Vec<_>>() })))
}

/// `GET …/versions/{version}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = app.store.worker(&account, &name).ok_or_else(ApiError::no_worker)?;
    let version = worker.version(&id).ok_or_else(|| ApiError::no_version(&id))?;
    Ok(ok(&presented(version)))
}

fn brief(version: &Version) -> Value {
    json!({
        "id": version.id,
        "number": version.number,
        "metadata": {
            "created_on": version.created_on, "modified_on": version.created_on, "source": "wrangler",
            "author_id": "5a4db0c5a4db0c5a4db0c5a4db0c5a4d", "author_email": "you@sandbox.localhost",
            "has_preview": true,
        },
        "annotations": version.annotations,
    })
}

/// A version as the API shows it: secrets by name only.
#[must_use]
pub fn presented(version: &Version) -> Value {
    let mut shown = brief(version);
    shown["startup_time_ms"] = json!(1);
    shown["resources"] = json!({
        "bindings": version.bindings.iter().map(without_text).collect::<Vec<_>>(),
        "script": { "etag": version.id.replace('-', ""), "handlers": ["fetch"], "last_deployed_from": "wrangler" },
        "script_runtime": {
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
            "usage_model": "standard", "limits": {},
        },
    });
    shown
}

/// A binding without the text of a secret.
#[must_use]
pub fn without_text(binding: &Value) -> Value {
    let mut binding = binding.clone();
    if binding["type"] == "secret_text"
        && let Some(fields) = binding.as_object_mut()
    {
        fields.remove("text");
    }
    binding
}
