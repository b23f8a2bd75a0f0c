//! Reads and changes what belongs to a Worker rather than to one of its versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{Body, Parts};
use super::envelope::{ApiError, ApiResult, ok};
use super::metadata::Metadata;
use super::versions::without_text;
use super::{Place, crons, rules, upload, zones};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Version, Worker, whole};

/// Returns a Worker. Errors if there is none.
pub fn worker(app: &App, account: &str, name: &str) -> Result<Arc<Worker>, ApiError> {
    app.store.worker(account, name).ok_or_else(ApiError::no_worker)
}

/// Changes a Worker. Errors if there is none.
pub fn change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Worker) -> T,
) -> Result<T, ApiError> {
    try_change(app, account, name, |worker| Ok(change(worker)))
}

/// Changes a Worker. Nothing is changed if there is none, or if `change` refuses.
pub fn try_change<T>(
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

/// The settings of a Worker that are kept as they were sent, and what they are without it.
const KEPT: [(&str, Value); 4] = [
    ("logpush", Value::Bool(false)),
    ("observability", Value::Null),
    ("tail_consumers", Value::Null),
    ("cache_options", Value::Null),
];

/// Refuses a setting that is not of its kind, and a tail consumer that is not there.
pub fn check_setting(
    app: &App,
    worker: &Worker,
    name: &str,
    value: &Value,
) -> Result<(), ApiError> {
    let good = match name {
        "logpush" => value.is_boolean(),
        "observability" => value["enabled"].is_boolean(),
        "tail_consumers" => value.is_array(),
        _ => value.is_object(),
    };
    if !good && !value.is_null() {
        return Err(ApiError::invalid(&format!("The setting {name} is invalid: {value}")));
    }
    if name == "tail_consumers" {
        for consumer in value.as_array().into_iter().flatten() {
            let service = consumer["service"].as_str().unwrap_or_default();
            if service != worker.name && app.store.worker(&worker.account, service).is_none() {
                let text = format!("The tail consumer '{service}' is not a Worker of this account");
                return Err(ApiError::new(400, 10_143, &text));
            }
        }
    }
    Ok(())
}

/// Returns the settings that are the Worker's own.
pub fn own(worker: &Worker) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("tags".to_owned(), json!(worker.tags));
    for (name, default) in KEPT {
        let kept = worker.settings.get(name).cloned().unwrap_or(default);
        shown.insert(name.to_owned(), kept);
    }
    shown
}

/// Returns the settings of a Worker and of its latest version.
fn all(worker: &Worker) -> Value {
    let latest = worker.versions.last();
    let bindings: Vec<Value> =
        latest.iter().flat_map(|version| &version.bindings).map(without_text).collect();
    let mut shown = Value::Object(own(worker));
    shown["bindings"] = json!(bindings);
    shown["usage_model"] = json!("standard");
    shown["compatibility_date"] = json!(latest.map(|version| &version.compatibility_date));
    shown["compatibility_flags"] = json!(latest.map(|version| &version.compatibility_flags));
    let or_empty = |value: Option<&Value>| {
        value.filter(|value| value.is_object()).cloned().unwrap_or_else(|| json!({}))
    };
    shown["limits"] = or_empty(latest.map(|version| &version.limits));
    shown["placement"] = or_empty(latest.map(|version| &version.placement));
    shown["migration_tag"] = json!(worker.migration_tag);
    shown
}

/// `GET …/settings`
pub async fn view(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&all(&*worker(&app, &account, &name)?)))
}

/// `PATCH …/settings`, a multipart body with a part `settings`: makes a version with other bindings
/// and dates if there are any in it, which is live at once.
pub async fn patch(
    State(app): State<App>,
    Path((account, name)): Place,
    settings: Settings,
) -> ApiResult {
    let Settings(mut settings) = settings;
    let latest = worker(&app, &account, &name)?.versions.last().cloned();
    let latest = latest.ok_or_else(ApiError::no_worker)?;
    let mut version = Version { id: uuid(), created_on: now(), ..latest.clone() };
    version.annotations = BTreeMap::new();
    let is_new = ["bindings", "compatibility_date", "compatibility_flags", "limits", "placement"]
        .iter()
        .any(|field| settings.contains_key(*field));
    let invalid =
        |error: serde_json::Error| ApiError::invalid(&format!("Invalid settings: {error}"));
    if let Some(bindings) = settings.remove("bindings") {
        let bindings = serde_json::from_value(bindings).map_err(invalid)?;
        // Secrets that are not named are kept, as wrangler's uploads do.
        let metadata = Metadata {
            bindings,
            keep_bindings: vec!["secret_text".to_owned(), "secret_key".to_owned()],
            ..Metadata::default()
        };
        version.bindings = metadata.resolve_bindings(Some(&latest))?;
    }
    if let Some(date) = settings.remove("compatibility_date") {
        version.compatibility_date = serde_json::from_value(date).map_err(invalid)?;
    }
    if let Some(flags) = settings.remove("compatibility_flags") {
        version.compatibility_flags = serde_json::from_value(flags).map_err(invalid)?;
    }
    version.limits = settings.remove("limits").unwrap_or(version.limits);
    version.placement = settings.remove("placement").unwrap_or(version.placement);
    if is_new {
        let worker = worker(&app, &account, &name)?;
        rules::check_version(&app, &worker, &version)?;
        version.exports = upload::load(&app, &version).await?;
        let exports = version.exports.clone().unwrap_or_default();
        rules::check_exports(&app, &worker, &version, &exports)?;
    }
    let answer = try_change(&app, &account, &name, |worker| {
        keep(&app, worker, settings)?;
        if is_new {
            version.number = worker.versions.len() + 1;
            worker.deploy(whole(&version.id), BTreeMap::new());
            worker.versions.push(version);
        }
        Ok(all(worker))
    })?;
    Ok(ok(&answer))
}

/// Keeps settings of the Worker.
fn keep(app: &App, worker: &mut Worker, mut settings: Map<String, Value>) -> Result<(), ApiError> {
    if let Some(tags) = settings.remove("tags") {
        // wrangler clears the tags with null.
        let tags: Option<Vec<String>> = serde_json::from_value(tags)
            .map_err(|error| ApiError::invalid(&format!("Invalid tags: {error}")))?;
        worker.tags = tags.unwrap_or_default();
    }
    for (name, _) in KEPT {
        if let Some(value) = settings.remove(name) {
            check_setting(app, worker, name, &value)?;
            worker.settings.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// The settings of a patch: a JSON body, or the part `settings` of a multipart body.
#[derive(Debug)]
pub struct Settings(Map<String, Value>);

impl FromRequest<App> for Settings {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Settings, ApiError> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            let Body(settings) = Body::from_request(request, app).await?;
            return Ok(Settings(settings));
        }
        let mut parts = Parts::from_request(request, app).await?;
        while let Some(part) = parts.next().await? {
            if part.name() == Some("settings") {
                let bytes = part.bytes().await.map_err(|e| ApiError::invalid(&e.body_text()))?;
                return serde_json::from_slice(&bytes)
                    .map(Settings)
                    .map_err(|error| ApiError::invalid(&format!("Invalid settings: {error}")));
            }
        }
        Err(ApiError::invalid("The part `settings` is missing"))
    }
}

/// `GET …/script-settings`
pub async fn script(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&own(&*worker(&app, &account, &name)?)))
}

/// `PATCH …/script-settings`
pub async fn patch_script(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Map<String, Value>>,
) -> ApiResult {
    let answer = try_change(&app, &account, &name, |worker| {
        keep(&app, worker, body)?;
        Ok(own(worker))
    })?;
    Ok(ok(&answer))
}

/// The addresses at workers.dev that are on.
#[derive(Debug, Deserialize)]
pub struct Subdomain {
    enabled: bool,
    previews_enabled: Option<bool>,
}

fn shown((enabled, previews_enabled): (bool, bool)) -> Response {
    ok(&json!({ "enabled": enabled, "previews_enabled": previews_enabled }))
}

/// `GET …/subdomain`
pub async fn subdomain(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    let worker = worker(&app, &account, &name)?;
    Ok(shown((worker.enabled, worker.previews_enabled)))
}

/// `POST …/subdomain`. Previews follow `enabled` if they are not named.
pub async fn set_subdomain(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Subdomain>,
) -> ApiResult {
    let now = change(&app, &account, &name, |worker| {
        worker.enabled = body.enabled;
        worker.previews_enabled = body.previews_enabled.unwrap_or(body.enabled);
        (worker.enabled, worker.previews_enabled)
    })?;
    Ok(shown(now))
}

/// `GET …/routes`
pub async fn routes(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&worker(&app, &account, &name)?.routes))
}

/// `PUT …/routes`
pub async fn set_routes(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(routes): Body<Value>,
) -> ApiResult {
    zones::check_routes(&app, &routes)?;
    change(&app, &account, &name, |worker| {
        worker.routes.clone_from(&routes);
    })?;
    Ok(ok(&routes))
}

/// `GET …/schedules`
pub async fn schedules(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
    Ok(ok(&json!({ "schedules": worker(&app, &account, &name)?.schedules })))
}

/// A cron trigger.
#[derive(Debug, Deserialize)]
pub struct Schedule {
    cron: String,
}

/// `PUT …/schedules`
pub async fn set_schedules(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(schedules): Body<Vec<Schedule>>,
) -> ApiResult {
    let wanted: Vec<&str> = schedules.iter().map(|one| one.cron.as_str()).collect();
    crons::check(&wanted)?;
    let schedules = change(&app, &account, &name, |worker| {
        let previous = worker.schedules.as_array().cloned().unwrap_or_default();
        let shown = |cron: &&str| {
            let same =
                previous.iter().find(|one| one["cron"] == *cron && one["created_on"].is_string());
            let created = same.map_or_else(|| json!(now()), |one| one["created_on"].clone());
            json!({ "cron": cron, "created_on": created, "modified_on": created })
        };
        worker.schedules = wanted.iter().map(shown).collect();
        worker.schedules.clone()
    })?;
    Ok(ok(&json!({ "schedules": schedules })))
}
