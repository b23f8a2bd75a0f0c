//! Reading versions.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{EMAIL, USER};
use super::envelope::{ApiError, ApiResult, ok};
use super::handlers::handlers;
use super::{Place, settings};
use crate::app::App;
use crate::state::model::Version;

/// Which page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    page: Option<usize>,
    per_page: Option<usize>,
}

impl Page {
    /// Its part of `all`.
    pub fn of<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let size = self.per_page.unwrap_or(SHOWN).clamp(1, 100);
        all.skip(size.saturating_mul(self.page.unwrap_or(1).saturating_sub(1))).take(size)
    }
}

/// How many the API shows at once when it is not told
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/>).
const SHOWN: usize = 10;

/// `GET …/versions`, newest first.
pub async fn list(
    State(app): State<App>,
    Path((account, name)): Place,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let items: Vec<Value> = page.of(worker.versions.iter().rev()).map(brief).collect();
    Ok(ok(&json!({ "items": items })))
}

/// `GET …/versions/{version}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, id)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let version = worker.version(&id).ok_or_else(|| ApiError::no_version(&id))?;
    let mut shown = presented(version);
    shown["resources"]["script"]["handlers"] = json!(exported(&app, version));
    Ok(ok(&shown))
}

/// Returns the handlers that the version's code exports. A site of files answers requests without any.
fn exported(app: &App, version: &Version) -> Vec<&'static str> {
    let main = version.main_module.as_ref();
    let module = main.and_then(|main| version.modules.iter().find(|module| module.name == *main));
    let path = module.map(|module| app.store.blobs.path(&module.blob));
    let code = path.and_then(|path| std::fs::read_to_string(path).ok());
    code.map_or_else(|| vec!["fetch"], |code| handlers(&code))
}

fn brief(version: &Version) -> Value {
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

/// A version as the API shows it: secrets by name only.
#[must_use]
pub fn presented(version: &Version) -> Value {
    let mut shown = brief(version);
    shown["startup_time_ms"] = json!(1);
    shown["resources"] = json!({
        "bindings": version.bindings.iter().map(without_text).collect::<Vec<_>>(),
        "script": {
            "etag": version.id.replace('-', ""), "handlers": ["fetch"],
            "last_deployed_from": "wrangler",
        },
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
    if is_secret(&binding)
        && let Some(fields) = binding.as_object_mut()
    {
        fields.retain(|field, _| field == "name" || field == "type");
    }
    binding
}

/// Whether a binding holds a secret.
#[must_use]
pub fn is_secret(binding: &Value) -> bool {
    matches!(binding["type"].as_str(), Some("secret_text" | "secret_key"))
}
