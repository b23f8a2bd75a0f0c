//! Reads and changes the settings of a Worker that all its versions share.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{JsonBody, MultipartParts};
use super::envelope::{ApiResult, CloudflareError, ok};
use super::metadata::UploadMetadata;
use super::versions::without_text;
use super::{AccountAndName, rules, upload, zones};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Worker, WorkerVersion, full_traffic};

/// Returns a Worker. Errors if it does not exist.
pub fn worker(app: &App, account: &str, name: &str) -> Result<Arc<Worker>, CloudflareError> {
    app.store.worker(account, name).ok_or_else(CloudflareError::worker_not_found)
}

/// Changes a Worker. Errors if it does not exist.
pub fn change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker) -> T,
) -> Result<T, CloudflareError> {
    try_change(app, account, name, |worker| Ok(change(worker)))
}

/// Changes a Worker. Errors if it does not exist or if `change` fails. Then nothing is changed.
pub fn try_change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker) -> Result<T, CloudflareError>,
) -> Result<T, CloudflareError> {
    tokio::task::block_in_place(|| {
        app.store.change(account, name, |worker| {
            let mut worker = worker.ok_or_else(CloudflareError::worker_not_found)?;
            let result = change(&mut worker)?;
            Ok((worker, result))
        })
    })
}

/// The settings of a Worker that are stored unchanged, each with its default.
const WORKER_SETTINGS: [(&str, Value); 4] = [
    ("logpush", Value::Bool(false)),
    ("observability", Value::Null),
    ("tail_consumers", Value::Null),
    ("cache_options", Value::Null),
];

/// The settings that belong to a version.
const VERSION_SETTINGS: [&str; 5] =
    ["bindings", "compatibility_date", "compatibility_flags", "limits", "placement"];

/// Refuses a setting of the wrong type, and a tail consumer that does not exist.
pub fn check_setting(
    app: &App,
    worker: &Worker,
    name: &str,
    value: &Value,
) -> Result<(), CloudflareError> {
    let is_valid = match name {
        "logpush" => value.is_boolean(),
        "observability" => is_observability(value),
        "tail_consumers" => value.is_array(),
        _ => value.is_object(),
    };
    if !is_valid && !value.is_null() {
        return Err(CloudflareError::invalid(&format!("The setting {name} is invalid: {value}")));
    }
    if name == "tail_consumers" {
        for consumer in value.as_array().into_iter().flatten() {
            let service = consumer["service"].as_str().unwrap_or_default();
            if service != worker.name && app.store.worker(&worker.account, service).is_none() {
                let text = format!("The tail consumer '{service}' is not a Worker of this account");
                return Err(CloudflareError::new(400, 10_143, &text));
            }
        }
    }
    Ok(())
}

/// Returns whether at least one field `enabled` is present, and all of them are booleans. Each kind of
/// observability has such a field, so the one for all kinds may be missing, as in wrangler's
/// `validateObservability`.
fn is_observability(value: &Value) -> bool {
    let fields = [
        &value["enabled"],
        &value["logs"]["enabled"],
        &value["traces"]["enabled"],
        &value["issues"]["enabled"],
    ];
    fields.iter().any(|field| field.is_boolean())
        && fields.iter().all(|field| field.is_boolean() || field.is_null())
}

/// Returns the settings that all versions of a Worker share.
pub fn worker_settings(worker: &Worker) -> Map<String, Value> {
    let mut settings = Map::new();
    settings.insert("tags".to_owned(), json!(worker.tags));
    for (name, default) in WORKER_SETTINGS {
        let value = worker.settings.get(name).cloned().unwrap_or(default);
        settings.insert(name.to_owned(), value);
    }
    settings
}

/// Returns the settings of a Worker and of its latest version.
fn all_settings(worker: &Worker) -> Value {
    let latest = worker.versions.last();
    let bindings: Vec<Value> =
        latest.iter().flat_map(|version| &version.bindings).map(without_text).collect();
    let mut settings = Value::Object(worker_settings(worker));
    settings["bindings"] = json!(bindings);
    settings["usage_model"] = json!("standard");
    settings["compatibility_date"] = json!(latest.map(|version| &version.compatibility_date));
    settings["compatibility_flags"] = json!(latest.map(|version| &version.compatibility_flags));
    for (name, value) in [
        ("limits", latest.map(|version| &version.limits)),
        ("placement", latest.map(|version| &version.placement)),
    ] {
        // The libraries of Cloudflare have no type for an empty placement.
        if let Some(value) = value.filter(|value| value.is_object()) {
            settings[name] = value.clone();
        }
    }
    settings["migration_tag"] = json!(worker.migration_tag);
    settings
}

/// `GET …/settings`
pub async fn view(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&all_settings(&*worker(&app, &account, &name)?)))
}

/// `PATCH …/settings`. Fields that belong to versions, such as bindings, create a version that is live at
/// once.
pub async fn patch(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    settings: SettingsPatch,
) -> ApiResult {
    let SettingsPatch(mut settings) = settings;
    let current = worker(&app, &account, &name)?;
    let latest = current.versions.last().ok_or_else(CloudflareError::worker_not_found)?;
    let creates_version = VERSION_SETTINGS.iter().any(|field| settings.contains_key(*field));
    let mut version = patch_version(latest, &mut settings)?;
    if creates_version {
        rules::check_version(&app, &current, &version, None)?;
        version.exports = upload::load(&app, &version).await?;
        let exports = version.exports.clone().unwrap_or_default();
        rules::check_exports(&app, &current, &version, &exports)?;
    }
    let document = try_change(&app, &account, &name, |worker| {
        store_settings(&app, worker, settings)?;
        if creates_version {
            version.number = worker.versions.len() + 1;
            worker.deploy(full_traffic(&version.id), BTreeMap::new());
            worker.versions.push(version);
        }
        Ok(all_settings(worker))
    })?;
    Ok(ok(&document))
}

/// Returns a copy of the `latest` version, with the fields that belong to versions. Removes them from
/// `settings`.
fn patch_version(
    latest: &WorkerVersion,
    settings: &mut Map<String, Value>,
) -> Result<WorkerVersion, CloudflareError> {
    let invalid =
        |error: serde_json::Error| CloudflareError::invalid(&format!("Invalid settings: {error}"));
    let mut version = WorkerVersion {
        id: uuid(),
        created_on: now(),
        annotations: BTreeMap::new(),
        ..latest.clone()
    };
    if let Some(bindings) = settings.remove("bindings") {
        let bindings = serde_json::from_value(bindings).map_err(invalid)?;
        version.bindings = patch_bindings(&latest.bindings, bindings)?;
    }
    if let Some(date) = settings.remove("compatibility_date") {
        version.compatibility_date = serde_json::from_value(date).map_err(invalid)?;
    }
    if let Some(flags) = settings.remove("compatibility_flags") {
        version.compatibility_flags = serde_json::from_value(flags).map_err(invalid)?;
    }
    version.limits = settings.remove("limits").unwrap_or(version.limits);
    version.placement = settings.remove("placement").unwrap_or(version.placement);
    Ok(version)
}

/// Returns the bindings of a patch. Adds the secrets of the previous version, as for wrangler's uploads. A binding
/// with only a name and a type takes its value from the previous version. `wrangler secret bulk` up to 4.60 sends
/// these.
fn patch_bindings(
    previous: &[Value],
    mut bindings: Vec<Value>,
) -> Result<Vec<Value>, CloudflareError> {
    for binding in &mut bindings {
        let has_value = binding.as_object().is_none_or(|fields| fields.len() != 2);
        let is_same =
            |old: &&Value| old["name"] == binding["name"] && old["type"] == binding["type"];
        if let Some(old) = previous.iter().find(is_same).filter(|_| !has_value) {
            binding.clone_from(old);
        }
    }
    let metadata = UploadMetadata {
        bindings,
        keep_bindings: vec!["secret_text".to_owned(), "secret_key".to_owned()],
        ..UploadMetadata::default()
    };
    metadata.resolve_bindings(previous)
}

/// Stores the settings that belong to the Worker. Ignores unknown ones.
fn store_settings(
    app: &App,
    worker: &mut Worker,
    mut settings: Map<String, Value>,
) -> Result<(), CloudflareError> {
    if let Some(tags) = settings.remove("tags") {
        // wrangler clears the tags with null.
        let tags: Option<Vec<String>> = serde_json::from_value(tags)
            .map_err(|error| CloudflareError::invalid(&format!("Invalid tags: {error}")))?;
        worker.tags = tags.unwrap_or_default();
    }
    for (name, _) in WORKER_SETTINGS {
        if let Some(value) = settings.remove(name) {
            check_setting(app, worker, name, &value)?;
            worker.settings.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// The settings of a patch, from a JSON body or the part `settings` of a multipart body.
#[derive(Debug)]
pub struct SettingsPatch(Map<String, Value>);

impl FromRequest<App> for SettingsPatch {
    type Rejection = CloudflareError;

    async fn from_request(request: Request, app: &App) -> Result<SettingsPatch, CloudflareError> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            let JsonBody(settings) = JsonBody::from_request(request, app).await?;
            return Ok(SettingsPatch(settings));
        }
        let mut parts = MultipartParts::from_request(request, app).await?;
        while let Some(part) = parts.next().await? {
            if part.name() == Some("settings") {
                let bytes =
                    part.bytes().await.map_err(|e| CloudflareError::invalid(&e.body_text()))?;
                return serde_json::from_slice(&bytes).map(SettingsPatch).map_err(|error| {
                    CloudflareError::invalid(&format!("Invalid settings: {error}"))
                });
            }
        }
        Err(CloudflareError::invalid("The part `settings` is missing"))
    }
}

/// `GET …/script-settings`
pub async fn script(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&worker_settings(&*worker(&app, &account, &name)?)))
}

/// `PATCH …/script-settings`
pub async fn patch_script(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> ApiResult {
    let document = try_change(&app, &account, &name, |worker| {
        store_settings(&app, worker, body)?;
        Ok(worker_settings(worker))
    })?;
    Ok(ok(&document))
}

/// The body of `POST …/subdomain`: the workers.dev addresses to enable.
#[derive(Debug, Deserialize)]
pub struct Subdomain {
    enabled: bool,
    previews_enabled: Option<bool>,
}

fn subdomain_response((enabled, previews_enabled): (bool, bool)) -> Response {
    ok(&json!({ "enabled": enabled, "previews_enabled": previews_enabled }))
}

/// `GET …/subdomain`
pub async fn subdomain(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = worker(&app, &account, &name)?;
    Ok(subdomain_response((worker.enabled, worker.previews_enabled)))
}

/// `POST …/subdomain`. `previews_enabled` defaults to `enabled`.
pub async fn set_subdomain(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Subdomain>,
) -> ApiResult {
    let enabled = change(&app, &account, &name, |worker| {
        worker.enabled = body.enabled;
        worker.previews_enabled = body.previews_enabled.unwrap_or(body.enabled);
        (worker.enabled, worker.previews_enabled)
    })?;
    Ok(subdomain_response(enabled))
}

/// `DELETE …/subdomain`: disables the addresses at workers.dev.
pub async fn delete_subdomain(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    change(&app, &account, &name, |worker| {
        worker.enabled = false;
        worker.previews_enabled = false;
    })?;
    Ok(subdomain_response((false, false)))
}

/// `GET …/routes`
pub async fn routes(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&worker(&app, &account, &name)?.routes))
}

/// `PUT …/routes`
pub async fn set_routes(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(routes): JsonBody<Value>,
) -> ApiResult {
    zones::check_routes(&app, &account, &name, &routes)?;
    change(&app, &account, &name, |worker| {
        worker.routes.clone_from(&routes);
    })?;
    Ok(ok(&routes))
}

/// `GET …/schedules`
pub async fn schedules(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&json!({ "schedules": worker(&app, &account, &name)?.schedules })))
}

/// A cron trigger.
#[derive(Debug, Deserialize)]
pub struct CronTrigger {
    cron: String,
}

/// `PUT …/schedules`
pub async fn set_schedules(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(schedules): JsonBody<Vec<CronTrigger>>,
) -> ApiResult {
    let crons: Vec<&str> = schedules.iter().map(|schedule| schedule.cron.as_str()).collect();
    super::crons::check(&crons)?;
    let schedules = change(&app, &account, &name, |worker| {
        let previous = worker.schedules.as_array().cloned().unwrap_or_default();
        let schedule = |cron: &&str| {
            let old =
                previous.iter().find(|old| old["cron"] == *cron && old["created_on"].is_string());
            let created = old.map_or_else(|| json!(now()), |old| old["created_on"].clone());
            json!({ "cron": cron, "created_on": created, "modified_on": created })
        };
        worker.schedules = crons.iter().map(schedule).collect();
        worker.schedules.clone()
    })?;
    Ok(ok(&json!({ "schedules": schedules })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observability_is_enabled_for_one_kind_or_for_all() {
        for (value, expected) in [
            (json!({ "enabled": true }), true),
            (json!({ "enabled": false, "head_sampling_rate": 0.5 }), true),
            (json!({ "logs": { "enabled": true, "invocation_logs": true } }), true),
            (json!({ "traces": { "enabled": true }, "logs": { "invocation_logs": false } }), true),
            (json!({ "issues": { "enabled": false } }), true),
            (json!({ "logs": { "invocation_logs": true } }), false),
            (json!({ "enabled": "yes" }), false),
            (json!({ "enabled": true, "logs": { "enabled": 1 } }), false),
            (json!({}), false),
            (json!(true), false),
        ] {
            assert_eq!(is_observability(&value), expected, "{value}");
        }
    }
}
