//! Uploading code: a new version, and for a first deploy its deployment.

use axum::extract::{Path, State};
use serde_json::json;

use super::Place;
use super::assets::finished;
use super::body::Parts;
use super::envelope::{ApiError, ApiResult, ok};
use super::metadata::{Metadata, check_name};
use super::versions::presented;
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Assets, Module, Version, Worker, whole};

/// The compatibility date of a Worker that names none
/// (<https://developers.cloudflare.com/workers/configuration/compatibility-dates/>).
pub(super) const OLDEST: &str = "2021-11-02";

/// `PUT …/scripts/{worker}`: a version that is live at once. Makes the Worker when there is none.
pub async fn put_script(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Parts,
) -> ApiResult {
    check_name(&name)?;
    let upload = Upload::read(&app, &name, parts).await?;
    let has_assets = upload.metadata.assets.is_some();
    let (tag, id) = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.unwrap_or_else(|| Worker::new(&account, &name));
            let message = upload.metadata.annotations.get_key_value("workers/message");
            let message = message.map(|(key, text)| (key.clone(), text.clone()));
            let version = upload.version(&app, &worker)?;
            worker.deploy(whole(&version.id), message.into_iter().collect());
            let result = (worker.tag.clone(), version.id.clone());
            worker.versions.push(version);
            Ok::<_, ApiError>((worker, result))
        })
    })?;
    // Here the API leaves out the dashes, which wrangler puts back.
    let id = id.replace('-', "");
    Ok(ok(&json!({
        "id": name, "tag": tag, "etag": id, "deployment_id": id, "has_assets": has_assets,
        "handlers": ["fetch"], "created_on": now(), "modified_on": now(), "startup_time_ms": 1,
        "last_deployed_from": "wrangler", "usage_model": "standard",
    })))
}

/// `POST …/scripts/{worker}/versions`: a version that nobody sees before it is deployed.
pub async fn post_version(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Parts,
) -> ApiResult {
    let upload = Upload::read(&app, &name, parts).await?;
    if upload.metadata.migrations.is_some() {
        return Err(ApiError::new(400, 10_211, "Migrations need a deployment of their own"));
    }
    let answer = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            let version = upload.version(&app, &worker)?;
            let answer = presented(&version);
            worker.versions.push(version);
            Ok::<_, ApiError>((worker, answer))
        })
    })?;
    Ok(ok(&answer))
}

/// What a multipart body held. The modules' content is in blobs already.
pub(super) struct Upload {
    pub(super) metadata: Metadata,
    pub(super) modules: Vec<Module>,
}

impl Upload {
    pub(super) async fn read(
        app: &App,
        worker: &str,
        mut parts: Parts,
    ) -> Result<Upload, ApiError> {
        let mut metadata = None;
        let mut modules = Vec::new();
        while let Some(part) = parts.next().await? {
            let name = part.file_name().or(part.name()).unwrap_or_default().to_owned();
            let is_metadata = part.name() == Some("metadata");
            let content_type = part.content_type().unwrap_or("application/octet-stream").to_owned();
            let bytes = part.bytes().await.map_err(|e| ApiError::invalid(&e.body_text()))?;
            if is_metadata {
                let parsed = Metadata::parse(&bytes)?;
                metadata = Some(parsed);
            } else if content_type != "application/source-map" {
                let blob = tokio::task::block_in_place(|| app.store.blobs.add(&bytes))?;
                modules.push(Module { name, content_type, blob });
            }
        }
        let mut metadata =
            metadata.ok_or_else(|| ApiError::invalid("The part `metadata` is missing"))?;
        metadata.check_annotations(worker)?;
        metadata.check_modules(&modules)?;
        Ok(Upload { metadata, modules })
    }

    fn version(self, app: &App, worker: &Worker) -> Result<Version, ApiError> {
        let Upload { metadata, modules } = self;
        let former = worker.versions.last();
        let assets = match &metadata.assets {
            Some(assets) => {
                let (manifest, files) = finished(app, &worker.account, &assets.jwt)?;
                Some(Assets { manifest, files, config: assets.config.clone() })
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
            bindings: metadata.resolve_bindings(former)?,
            annotations: metadata.annotations,
            main_module: metadata.main_module,
            modules,
            compatibility_date: metadata.compatibility_date.unwrap_or_else(|| OLDEST.to_owned()),
            compatibility_flags: metadata.compatibility_flags,
            assets,
            exports: None,
            limits: metadata.limits,
            placement: metadata.placement,
        })
    }
}
