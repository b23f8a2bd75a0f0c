//! Uploads code: makes a new version, and for a first deploy its deployment.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde_json::json;

use super::Place;
use super::assets::finished;
use super::body::Parts;
use super::envelope::{ApiError, ApiResult, ok};
use super::metadata::{Metadata, check_name};
use super::migrations::{self, Migrations};
use super::versions::presented;
use super::{rules, scripts, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::serve::check::Checked;
use crate::state::model::{Assets, Exports, Module, Version, Worker, whole};

/// The compatibility date of a Worker that names none
/// (<https://developers.cloudflare.com/workers/configuration/compatibility-dates/>).
pub(super) const OLDEST: &str = "2021-11-02";

/// `PUT …/scripts/{worker}`: makes a version that is live at once. Makes the Worker if there is none.
pub async fn put_script(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Parts,
) -> ApiResult {
    check_name(&name)?;
    let upload = Upload::read(&app, &name, parts).await?;
    let exports = upload.check(&app, &account, &name).await?;
    let worker = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.unwrap_or_else(|| Worker::new(&account, &name));
            let message = upload.metadata.annotations.get_key_value("workers/message");
            let message = message.map(|(key, text)| (key.clone(), text.clone()));
            upload.change_worker(&app, &mut worker, &exports)?;
            let version = upload.version(&app, &worker, exports)?;
            worker.deploy(whole(&version.id), message.into_iter().collect());
            worker.versions.push(version);
            let result = worker.clone();
            Ok::<_, ApiError>((worker, result))
        })
    })?;
    let mut shown = scripts::presented(&worker);
    // Here the API leaves out the dashes, which wrangler puts back.
    shown["deployment_id"] = shown["etag"].clone();
    shown["startup_time_ms"] = json!(1);
    Ok(ok(&shown))
}

/// `POST …/scripts/{worker}/versions`: makes a version that is not live before it is deployed.
pub async fn post_version(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Parts,
) -> ApiResult {
    let upload = Upload::read(&app, &name, parts).await?;
    if upload.metadata.migrations.is_some() {
        return Err(ApiError::new(400, 10_211, "Migrations need a deployment of their own"));
    }
    if app.store.worker(&account, &name).is_none() {
        return Err(ApiError::no_worker());
    }
    let exports = upload.check(&app, &account, &name).await?;
    let answer = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(ApiError::no_worker)?;
            let version = upload.version(&app, &worker, exports)?;
            let answer = presented(&version);
            worker.versions.push(version);
            Ok::<_, ApiError>((worker, answer))
        })
    })?;
    Ok(ok(&answer))
}

/// `PUT …/scripts/{worker}/content`: makes a version with other code, and all else as it was.
pub async fn put_content(
    State(app): State<App>,
    Path((account, name)): Place,
    parts: Parts,
) -> ApiResult {
    let mut upload = Upload::read(&app, &name, parts).await?;
    let worker = settings::worker(&app, &account, &name)?;
    let latest = worker.versions.last().ok_or_else(ApiError::no_worker)?;
    upload.metadata.bindings.clone_from(&latest.bindings);
    upload.metadata.compatibility_date = Some(latest.compatibility_date.clone());
    upload.metadata.compatibility_flags.clone_from(&latest.compatibility_flags);
    upload.metadata.keep_assets = true;
    let exports = upload.check(&app, &account, &name).await?;
    let worker = settings::try_change(&app, &account, &name, |worker| {
        let version = upload.version(&app, worker, exports)?;
        worker.deploy(whole(&version.id), BTreeMap::new());
        worker.versions.push(version);
        Ok(worker.clone())
    })?;
    Ok(ok(&scripts::presented(&worker)))
}

/// Refuses a version that does not start. Returns what it exports.
pub(super) async fn load(app: &App, version: &Version) -> Result<Option<Exports>, ApiError> {
    if version.main_module.is_none() {
        return Ok(None);
    }
    match app.runtime.checker.check(&app.store.blobs, version).await? {
        Checked::Starts(exports) => Ok(Some(exports)),
        Checked::Fails(reason) => Err(ApiError::invalid(&reason)),
    }
}

/// The content of a multipart body. The modules' content is in blobs already.
#[derive(Clone)]
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
            } else {
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

    /// Refuses what Cloudflare refuses, before anything is changed. Returns what the code exports.
    async fn check(
        &self,
        app: &App,
        account: &str,
        name: &str,
    ) -> Result<Option<Exports>, ApiError> {
        let worker = app.store.worker(account, name).map(|worker| Worker::clone(&worker));
        let mut worker = worker.unwrap_or_else(|| Worker::new(account, name));
        let candidate = self.clone().version(app, &worker, None)?;
        rules::check_version(app, &worker, &candidate)?;
        let exports = load(app, &candidate).await?;
        self.change_worker(app, &mut worker, &exports)?;
        rules::check_exports(app, &worker, &candidate, &exports.clone().unwrap_or_default())?;
        Ok(exports)
    }

    /// Applies what an upload changes of the Worker itself.
    fn change_worker(
        &self,
        app: &App,
        worker: &mut Worker,
        exports: &Option<Exports>,
    ) -> Result<(), ApiError> {
        let none = Exports::default();
        let exports = exports.as_ref().unwrap_or(&none);
        if let Some(migrations) = &self.metadata.migrations {
            let migrations: Migrations = serde_json::from_value(migrations.clone())
                .map_err(|error| ApiError::invalid(&format!("Invalid migrations: {error}")))?;
            migrations::apply(worker, &migrations, exports)?;
        }
        migrations::check_kept(worker, exports)?;
        if let Some(tags) = &self.metadata.tags {
            worker.tags.clone_from(tags);
        }
        let metadata = &self.metadata;
        for (name, value) in [
            ("observability", &metadata.observability),
            ("logpush", &metadata.logpush),
            ("tail_consumers", &metadata.tail_consumers),
        ] {
            if let Some(value) = value {
                settings::check_setting(app, worker, name, value)?;
                worker.settings.insert(name.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    fn version(
        self,
        app: &App,
        worker: &Worker,
        exports: Option<Exports>,
    ) -> Result<Version, ApiError> {
        let Upload { metadata, modules } = self;
        let previous = worker.versions.last();
        let assets = match &metadata.assets {
            Some(assets) => {
                let (manifest, files) = finished(app, &worker.account, &assets.jwt)?;
                Some(Assets { manifest, files, config: assets.config.clone() })
            }
            None if metadata.keep_assets => previous.and_then(|version| version.assets.clone()),
            None => None,
        };
        if metadata.main_module.is_none() && assets.is_none() {
            return Err(ApiError::invalid("A version needs a main module, assets, or both"));
        }
        Ok(Version {
            id: uuid(),
            number: worker.versions.len() + 1,
            created_on: now(),
            bindings: metadata.resolve_bindings(previous)?,
            annotations: metadata.annotations,
            main_module: metadata.main_module,
            modules,
            compatibility_date: metadata.compatibility_date.unwrap_or_else(|| OLDEST.to_owned()),
            compatibility_flags: metadata.compatibility_flags,
            assets,
            exports,
            limits: metadata.limits,
            placement: metadata.placement,
        })
    }
}
