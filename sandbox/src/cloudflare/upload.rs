//! Uploading code: a new version, and for a first deploy its deployment.

use axum::extract::{Multipart, Path, State};
use serde_json::json;

use super::Place;
use super::assets::{complete, next};
use super::envelope::{ApiError, ApiResult, ok};
use super::metadata::{Metadata, check_alias, check_name};
use super::versions::presented;
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Assets, Module, Version, Worker, whole};

/// `PUT …/scripts/{worker}`: a version that is live at once. Makes the Worker when there is none.
pub async fn put_script(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Multipart,
) -> ApiResult {
    check_name(&name)?;
    let (metadata, modules) = read(&app, parts).await?;
    let (tag, id) = change(&app, &account, &name, |worker| {
        let mut worker = worker.unwrap_or_else(|| Worker::new(&account, &name));
        let version = version(&app, &worker, &metadata, modules)?;
        let message = metadata.annotations.get("workers/message").cloned();
        let annotations = message.map(|message| ("workers/message".to_owned(), message));
        worker.deploy(whole(&version.id), annotations.into_iter().collect());
        let result = (worker.tag.clone(), version.id.clone());
        worker.versions.push(version);
        Ok((worker, result))
    })?;
    Ok(ok(&json!({
        "id": name, "tag": tag, "etag": id.replace('-', ""), "deployment_id": id.replace('-', ""),
        "handlers": ["fetch"], "created_on": now(), "modified_on": now(), "startup_time_ms": 1,
        "has_assets": metadata.assets.is_some(), "last_deployed_from": "wrangler", "usage_model": "standard",
    })))
}

/// `POST …/scripts/{worker}/versions`: a version that nobody sees before it is deployed.
pub async fn post_version(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Multipart,
) -> ApiResult {
    let (metadata, modules) = read(&app, parts).await?;
    if let Some(alias) = metadata.annotations.get("workers/alias") {
        check_alias(alias, &name)?;
    }
    let answer = change(&app, &account, &name, |worker| {
        let mut worker = worker.ok_or_else(ApiError::no_worker)?;
        let version = version(&app, &worker, &metadata, modules)?;
        let answer = presented(&version);
        worker.versions.push(version);
        Ok((worker, answer))
    })?;
    Ok(ok(&answer))
}

fn change<T>(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(Option<Worker>) -> Result<(Worker, T), ApiError>,
) -> Result<T, ApiError> {
    tokio::task::block_in_place(|| app.store.change(account, name, change))
}

/// Reads the multipart body: the metadata, and the modules into blobs.
async fn read(app: &App, mut parts: Multipart) -> Result<(Metadata, Vec<Module>), ApiError> {
    let mut metadata = None;
    let mut modules = Vec::new();
    while let Some(part) = next(&mut parts).await? {
        let name = part.file_name().or(part.name()).unwrap_or_default().to_owned();
        let is_metadata = part.name() == Some("metadata");
        let content_type = part.content_type().unwrap_or("application/octet-stream").to_owned();
        let bytes = part.bytes().await.map_err(|error| ApiError::invalid(&error.to_string()))?;
        if is_metadata {
            let parsed = serde_json::from_slice(&bytes);
            metadata =
                Some(parsed.map_err(|e| ApiError::invalid(&format!("Invalid metadata: {e}")))?);
        } else if content_type != "application/source-map" {
            let blob = tokio::task::block_in_place(|| app.store.blobs.add(&bytes))?;
            modules.push(Module { name, content_type, blob });
        }
    }
    let metadata: Metadata =
        metadata.ok_or_else(|| ApiError::invalid("The part `metadata` is missing"))?;
    if metadata.body_part.is_some() {
        return Err(ApiError::invalid("The sandbox runs Workers in the module format only"));
    }
    if let Some(main) = &metadata.main_module
        && !modules.iter().any(|module| module.name == *main)
    {
        return Err(ApiError::invalid(&format!("No such module {main:?}")));
    }
    Ok((metadata, modules))
}

fn version(
    app: &App,
    worker: &Worker,
    metadata: &Metadata,
    modules: Vec<Module>,
) -> Result<Version, ApiError> {
    let former = worker.versions.last();
    let assets = match &metadata.assets {
        Some(assets) => {
            Some(Assets { manifest: complete(app, &assets.jwt)?, config: assets.config.clone() })
        }
        None if metadata.keep_assets => former.and_then(|version| version.assets.clone()),
        None => None,
    };
    if metadata.main_module.is_none() && assets.is_none() {
        return Err(ApiError::invalid("A version needs a main module, assets, or both"));
    }
    Ok(Version {
        id: uuid(),
        number: worker.versions.len() + 1,
        created_on: now(),
        annotations: metadata.annotations.clone(),
        main_module: metadata.main_module.clone(),
        modules,
        bindings: metadata.resolve_bindings(former)?,
        compatibility_date: metadata
            .compatibility_date
            .clone()
            .unwrap_or_else(|| "2021-11-02".to_owned()),
        compatibility_flags: metadata.compatibility_flags.clone(),
        assets,
    })
}
