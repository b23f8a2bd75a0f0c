//! Reads the versions of a Worker.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::account::{EMAIL, USER};
use super::body::Query;
use super::envelope::{ApiResult, CloudflareError, ok, with_info};
use super::paging::Page;
use super::{AccountAndName, scripts, settings};
use crate::app::App;
use crate::state::model::WorkerVersion;

/// The number of newest versions that can be deployed
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/>).
const MAX_DEPLOYABLE: usize = 100;

/// `GET …/versions`, newest first.
pub async fn list(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let deployable = page.is_deployable();
    let all =
        worker.versions.iter().rev().take(if deployable { MAX_DEPLOYABLE } else { usize::MAX });
    let total = all.clone().count();
    // wrangler reads the bindings of the latest deployable version from the list.
    let to_json = if deployable { version_json } else { version_summary };
    let items: Vec<Value> = page.slice(all).map(to_json).collect();
    let info = page.info(items.len(), total);
    Ok(with_info(&json!({ "items": items }), &info))
}

/// `GET …/versions/{version}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let version = worker.version(&id).ok_or_else(|| CloudflareError::version_not_found(&id))?;
    Ok(ok(&version_json(version)))
}

/// Returns a version in the format of lists.
fn version_summary(version: &WorkerVersion) -> Value {
    let mut annotations = json!(version.annotations);
    if annotations["workers/triggered_by"].is_null() {
        annotations["workers/triggered_by"] = json!("version_upload");
    }
    json!({
        "id": version.id,
        "number": version.number,
        "metadata": {
            "created_on": version.created_on, "modified_on": version.created_on,
            "source": "wrangler", "author_id": USER, "author_email": EMAIL, "has_preview": true,
        },
        "annotations": annotations,
    })
}

/// Returns a version in the API's format, without the texts of secrets.
#[must_use]
pub fn version_json(version: &WorkerVersion) -> Value {
    let mut document = version_summary(version);
    document["startup_time_ms"] = json!(1);
    document["resources"] = json!({
        "bindings": version.bindings.iter().map(without_text).collect::<Vec<_>>(),
        "script": {
            "etag": version.id.replace('-', ""), "handlers": scripts::handlers(version),
            "named_handlers": scripts::named_handlers(version), "last_deployed_from": "wrangler",
        },
        "script_runtime": {
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
            "usage_model": "standard",
            "limits": if version.limits.is_object() { version.limits.clone() } else { json!({}) },
        },
    });
    document
}

/// Returns a binding without the text of a secret.
#[must_use]
pub fn without_text(binding: &Value) -> Value {
    let mut binding = binding.clone();
    if is_secret(&binding)
        && let Some(fields) = binding.as_object_mut()
    {
        fields.retain(|field, _| field == "name" || field == "type");
    }
    binding
}

/// Returns whether a binding holds a secret.
#[must_use]
pub fn is_secret(binding: &Value) -> bool {
    matches!(binding["type"].as_str(), Some("secret_text" | "secret_key"))
}
