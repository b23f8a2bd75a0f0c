//! Reads, changes and deploys Worker Previews, for `wrangler preview`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::assets::completed_manifest;
use super::body::{JsonBody, MultipartParts, Query};
use super::envelope::{ApiResult, CloudflareError, list as listed, ok};
use super::metadata::UploadMetadata;
use super::paging::Page;
use super::settings::{change, try_change, worker as find};
use super::upload::{CodeUpload, DEFAULT_DATE, load};
use super::versions::without_text;
use super::{AccountAndName, empty_result, rules};
use crate::app::{App, SUBDOMAIN};
use crate::ids::{now, uuid};
use crate::state::model::{Assets, Worker, WorkerVersion};
use crate::state::preview::{WorkerPreview, is_valid_name};

/// The path parameters: account, Worker, Preview.
type PreviewPath = Path<(String, String, String)>;

/// The placeholder entry that wrangler 4.164 uploads for a Worker with only assets.
const NO_CODE: &str = "no-op-worker.js";

/// The maximum lengths of a tag and of a message in bytes, from the API's description of Previews.
const MAX_TAG: usize = 25;
const MAX_MESSAGE: usize = 100;

/// `GET …/previews`
pub async fn list(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let items: Vec<Value> =
        page.slice(worker.previews.iter()).map(|p| preview_json(&worker, p)).collect();
    Ok(listed(&items))
}

/// `GET …/previews/{preview}`, by name, slug or id.
pub async fn view(
    State(app): State<App>,
    Path((account, name, preview)): PreviewPath,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    Ok(ok(&preview_json(&worker, worker.preview(&preview).ok_or_else(preview_not_found)?)))
}

/// `POST …/previews`. The body has the name of the Preview, and the settings that its deployments share.
pub async fn create(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(mut settings): JsonBody<Map<String, Value>>,
) -> ApiResult {
    let preview_name = settings.remove("name").unwrap_or_default();
    let preview_name = preview_name.as_str().filter(|name| is_valid_name(name)).ok_or_else(|| {
        CloudflareError::invalid(
            "The name of a Preview has 1 to 256 letters, digits and -_/.+=, with a letter or digit at both ends",
        )
    })?;
    let document = try_change(&app, &account, &name, |worker| {
        if worker.preview(preview_name).is_some_and(|preview| preview.name == preview_name) {
            return Err(CloudflareError::new(
                409,
                10_026,
                "A Preview with this name already exists",
            ));
        }
        let preview = worker.add_preview(preview_name, Value::Object(settings));
        Ok(preview_json(worker, &preview))
    })?;
    Ok(ok(&document))
}

/// `PATCH …/previews/{preview}`
pub async fn patch(
    State(app): State<App>,
    Path((account, name, preview)): PreviewPath,
    JsonBody(settings): JsonBody<Map<String, Value>>,
) -> ApiResult {
    let document = try_change(&app, &account, &name, |worker| {
        let changed = worker.preview_mut(&preview).ok_or_else(preview_not_found)?;
        for (field, value) in settings.into_iter().filter(|(field, _)| field != "name") {
            changed.settings[field] = value;
        }
        let changed = changed.clone();
        Ok(preview_json(worker, &changed))
    })?;
    Ok(ok(&document))
}

/// `DELETE …/previews/{preview}`. Deletes its deployments too.
pub async fn delete(
    State(app): State<App>,
    Path((account, name, preview)): PreviewPath,
) -> ApiResult {
    let was_removed = change(&app, &account, &name, |worker| worker.remove_preview(&preview))?;
    if was_removed { Ok(empty_result()) } else { Err(preview_not_found()) }
}

/// `GET …/previews/{preview}/deployments/{deployment}`, by id or as `latest`.
pub async fn deployment(
    State(app): State<App>,
    Path((account, name, preview, id)): Path<(String, String, String, String)>,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let preview = worker.preview(&preview).ok_or_else(preview_not_found)?;
    let deployment = preview.deployment(&id).ok_or_else(|| {
        CloudflareError::new(404, 10_222, &format!("This Preview has no deployment {id}"))
    })?;
    Ok(deployment_response(&worker, deployment))
}

/// `GET …/previews/{preview}/deployments`, newest first.
pub async fn deployments(
    State(app): State<App>,
    Path((account, name, preview)): PreviewPath,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let preview = worker.preview(&preview).ok_or_else(preview_not_found)?;
    if page.is_after_first() {
        return Ok(listed(&[] as &[Value]));
    }
    let all =
        preview.deployments.iter().rev().map(|deployment| deployment_json(&worker, deployment));
    Ok(listed(&all.collect::<Vec<_>>()))
}

/// `POST …/previews/{preview}/deployments`. The deployment is live at once.
pub async fn deploy(
    State(app): State<App>,
    Path((account, name, preview)): PreviewPath,
    parts: MultipartParts,
) -> ApiResult {
    let upload = CodeUpload::read(&app, &name, parts).await?;
    check_annotations(&upload.metadata)?;
    let current = find(&app, &account, &name)?;
    let target = current.preview(&preview).ok_or_else(preview_not_found)?;
    let candidate = version(&app, &account, target, upload.clone())?;
    let storage_prefix = rules::preview_storage_prefix(&target.id);
    rules::check_version(&app, &current, &candidate, Some(&storage_prefix))?;
    let exports = load(&app, &candidate).await?;
    if let Some(exports) = &exports {
        rules::check_handlers(exports)?;
    }
    let (worker, deployment) = try_change(&app, &account, &name, |worker| {
        let target = worker.preview(&preview).ok_or_else(preview_not_found)?;
        let mut deployment = version(&app, &account, target, upload)?;
        deployment.exports = exports;
        if let Some(target) = worker.preview_mut(&preview) {
            target.deploy(deployment.clone());
        }
        Ok((Arc::new(worker.clone()), deployment))
    })?;
    Ok(deployment_response(&worker, &deployment))
}

/// Refuses a tag or a message that is too long.
fn check_annotations(metadata: &UploadMetadata) -> Result<(), CloudflareError> {
    let is_longer = |name: &str, limit: usize| {
        metadata.annotations.get(name).is_some_and(|text| text.len() > limit)
    };
    if is_longer("workers/tag", MAX_TAG) || is_longer("workers/message", MAX_MESSAGE) {
        return Err(CloudflareError::invalid(
            "A Preview's deployment has a tag of at most 25 bytes and a message of at most 100",
        ));
    }
    Ok(())
}

/// Makes the version of a deployment. The upload of a Preview has `_headers` and `_redirects` as modules.
fn version(
    app: &App,
    account: &str,
    preview: &WorkerPreview,
    upload: CodeUpload,
) -> Result<WorkerVersion, CloudflareError> {
    let CodeUpload { metadata, mut modules } = upload;
    let mut config = metadata.assets.as_ref().map_or(Value::Null, |assets| assets.config.clone());
    if config.is_object() {
        for module in modules.iter().filter(|m| m.name == "_headers" || m.name == "_redirects") {
            config[&module.name] = {
                let bytes = std::fs::read(app.store.blobs.path(&module.blob));
                let bytes = bytes.map_err(anyhow::Error::from)?;
                json!(String::from_utf8_lossy(&bytes))
            };
        }
    }
    modules.retain(|m| m.name != "_headers" && m.name != "_redirects" && m.name != NO_CODE);
    let main_module = metadata.main_module.filter(|main| main != NO_CODE);
    let assets = match &metadata.assets {
        Some(assets) => {
            let (manifest, files) = completed_manifest(app, account, &assets.jwt)?;
            Some(Assets { manifest, files, config })
        }
        None => None,
    };
    if main_module.is_none() && assets.is_none() {
        return Err(CloudflareError::invalid("A deployment needs a main module, assets, or both"));
    }
    Ok(WorkerVersion {
        id: uuid(),
        number: preview.deployments.len() + 1,
        created_on: now(),
        bindings: bindings(preview, &metadata.env)?,
        annotations: metadata.annotations,
        main_module,
        modules,
        compatibility_date: metadata.compatibility_date.unwrap_or_else(|| DEFAULT_DATE.to_owned()),
        compatibility_flags: metadata.compatibility_flags,
        assets,
        exports: None,
        limits: metadata.limits,
        placement: metadata.placement,
        declared_exports: metadata.exports,
    })
}

/// Returns the bindings of a deployment. A storage binding without an id gets separate storage of the
/// Preview.
fn bindings(
    preview: &WorkerPreview,
    env: &Map<String, Value>,
) -> Result<Vec<Value>, CloudflareError> {
    let previous = preview.latest().map_or(&[] as &[Value], |latest| latest.bindings.as_slice());
    let resolve = |(name, binding): (&String, &Value)| {
        if binding["type"] == "inherit" {
            let inherited = previous.iter().find(|old| old["name"] == name.as_str());
            return inherited.cloned().ok_or_else(|| {
                CloudflareError::invalid(&format!("There is no binding {name} to inherit"))
            });
        }
        let mut binding = binding.clone();
        binding["name"] = json!(name);
        let id_field = match binding["type"].as_str().unwrap_or_default() {
            "kv_namespace" => "namespace_id",
            "d1" => "id",
            "r2_bucket" => "bucket_name",
            _ => return Ok(binding),
        };
        if binding[id_field].is_null() {
            let prefix = rules::preview_storage_prefix(&preview.id);
            binding[id_field] = json!(format!("{prefix}{name}"));
        }
        Ok(binding)
    };
    env.iter().map(resolve).collect()
}

fn preview_not_found() -> CloudflareError {
    CloudflareError::new(404, 10_025, "This Preview does not exist.")
}

/// Returns the list with the URL of `label`. Empty if the Worker has no preview URLs.
fn urls(worker: &Worker, label: &str) -> Value {
    let url = || format!("https://{label}-{}.{SUBDOMAIN}.workers.dev", worker.name);
    json!(worker.previews_enabled.then(url).into_iter().collect::<Vec<_>>())
}

fn preview_json(worker: &Worker, preview: &WorkerPreview) -> Value {
    let mut document = preview.settings.clone();
    document["id"] = json!(preview.id);
    document["name"] = json!(preview.name);
    document["slug"] = json!(preview.slug);
    document["urls"] = urls(worker, &preview.slug);
    document["worker_name"] = json!(worker.name);
    document["created_on"] = json!(preview.created_on);
    document
}

fn deployment_response(worker: &Worker, deployment: &WorkerVersion) -> Response {
    ok(&deployment_json(worker, deployment))
}

fn deployment_json(worker: &Worker, deployment: &WorkerVersion) -> Value {
    let mut env = Map::new();
    for binding in deployment.bindings.iter().map(without_text) {
        let name = binding["name"].as_str().unwrap_or_default().to_owned();
        let mut fields = binding.as_object().cloned().unwrap_or_default();
        fields.remove("name");
        env.insert(name, Value::Object(fields));
    }
    json!({
        "id": deployment.id, "created_on": deployment.created_on, "env": env,
        "urls": urls(worker, &deployment.id[..8]), "annotations": deployment.annotations,
        "compatibility_date": deployment.compatibility_date,
        "compatibility_flags": deployment.compatibility_flags,
    })
}
