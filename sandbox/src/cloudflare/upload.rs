//! Uploads code. Each upload creates a version, and a deployment if the version goes live at once.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountAndName;
use super::assets::completed_manifest;
use super::body::{JsonBody, MultipartParts, Query};
use super::envelope::{ApiResult, CloudflareError, ok};
use super::exports::DeclaredClasses;
use super::metadata::{UploadMetadata, check_name};
use super::migrations::{self, Migrations};
use super::versions::version_json;
use super::{exports as declared, flat, rules, scripts, secrets, settings, workers};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::serve::check::CheckOutcome;
use crate::state::model::{Assets, Exports, StoredModule, Worker, WorkerVersion, full_traffic};

/// The compatibility date of a Worker without one
/// (<https://developers.cloudflare.com/workers/configuration/compatibility-dates/>).
pub(super) const DEFAULT_DATE: &str = "2021-11-02";

/// `PUT …/scripts/{worker}`: creates a version that is live at once. Creates the Worker if it is missing.
pub async fn put_script(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    parts: MultipartParts,
) -> ApiResult {
    check_name(&name)?;
    let upload = CodeUpload::read(&app, &name, parts).await?;
    let exports = upload.check(&app, &account, &name, true).await?;
    let (worker, changes) = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.unwrap_or_else(|| Worker::new(&account, &name));
            let message = upload.metadata.annotations.get_key_value("workers/message");
            let message = message.map(|(key, text)| (key.clone(), text.clone()));
            let changes = upload.change_worker(&app, &mut worker, &exports)?;
            let version = upload.version(&app, &worker, exports)?;
            worker.deploy(full_traffic(&version.id), message.into_iter().collect());
            worker.versions.push(version);
            let result = (worker.clone(), changes);
            Ok::<_, CloudflareError>((worker, result))
        })
    })?;
    let mut document = scripts::script_json(&worker);
    // This endpoint returns ids without dashes, and wrangler adds them.
    document["deployment_id"] = document["etag"].clone();
    document["startup_time_ms"] = json!(1);
    if let Some(changes) = changes {
        document["exports_reconciliation"] = changes;
    }
    Ok(ok(&document))
}

/// `POST …/scripts/{worker}/versions`: creates a version that is not live.
pub async fn post_version(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    parts: MultipartParts,
) -> ApiResult {
    let upload = CodeUpload::read(&app, &name, parts).await?;
    if upload.metadata.migrations.is_some() {
        return Err(CloudflareError::new(400, 10_211, "Migrations need a separate deployment"));
    }
    if app.store.worker(&account, &name).is_none() {
        return Err(CloudflareError::worker_not_found());
    }
    let exports = upload.check(&app, &account, &name, false).await?;
    let document = tokio::task::block_in_place(|| {
        app.store.change(&account, &name, |worker| {
            let mut worker = worker.ok_or_else(CloudflareError::worker_not_found)?;
            let version = upload.version(&app, &worker, exports)?;
            let document = version_json(&version);
            worker.versions.push(version);
            Ok::<_, CloudflareError>((worker, document))
        })
    })?;
    Ok(ok(&document))
}

/// The query of `POST /workers/workers/{worker}/versions`.
#[derive(Debug, Deserialize)]
pub struct VersionQuery {
    #[serde(default)]
    deploy: bool,
}

/// `POST /workers/workers/{worker}/versions`: creates a version from JSON, which is live at once with `?deploy=true`
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/beta/subresources/workers/subresources/versions/methods/create/>).
pub async fn post_json_version(
    State(app): State<App>,
    Path((account, identifier)): AccountAndName,
    Query(query): Query<VersionQuery>,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    let name = workers::by_id(&app, &account, &identifier)?.name.clone();
    let upload = CodeUpload::from_json(&app, &name, body)?;
    if upload.metadata.migrations.is_some() && !query.deploy {
        let text = "The sandbox applies the migrations of a version only with `deploy=true`. Add it to the query";
        return Err(CloudflareError::new(501, 7000, text));
    }
    let exports = upload.check(&app, &account, &name, query.deploy).await?;
    let document = settings::try_change(&app, &account, &name, |worker| {
        if query.deploy {
            upload.change_worker(&app, worker, &exports)?;
        }
        let version = upload.version(&app, worker, exports)?;
        if query.deploy {
            worker.deploy(full_traffic(&version.id), BTreeMap::new());
        }
        let document = workers::version_json(worker, &version);
        worker.versions.push(version);
        Ok(document)
    })?;
    Ok(ok(&document))
}

/// `PUT …/scripts/{worker}/content`: creates a version with new code and the latest settings.
pub async fn put_content(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    parts: MultipartParts,
) -> ApiResult {
    let mut upload = CodeUpload::read(&app, &name, parts).await?;
    let worker = settings::worker(&app, &account, &name)?;
    let latest = worker.versions.last().ok_or_else(CloudflareError::worker_not_found)?;
    upload.metadata.bindings.clone_from(&latest.bindings);
    upload.metadata.compatibility_date = Some(latest.compatibility_date.clone());
    upload.metadata.compatibility_flags.clone_from(&latest.compatibility_flags);
    upload.metadata.keep_assets = true;
    if upload.metadata.exports.is_null() {
        upload.metadata.exports.clone_from(&latest.declared_exports);
    }
    let exports = upload.check(&app, &account, &name, true).await?;
    let worker = settings::try_change(&app, &account, &name, |worker| {
        upload.change_worker(&app, worker, &exports)?;
        let version = upload.version(&app, worker, exports)?;
        worker.deploy(full_traffic(&version.id), BTreeMap::new());
        worker.versions.push(version);
        Ok(worker.clone())
    })?;
    Ok(ok(&scripts::script_json(&worker)))
}

/// Returns the exports of a version. Errors if it does not start.
pub(super) async fn load(
    app: &App,
    version: &WorkerVersion,
) -> Result<Option<Exports>, CloudflareError> {
    if version.main_module.is_none() {
        return Ok(None);
    }
    match app.runtime.checker.check(&app.store.blobs, version).await? {
        CheckOutcome::Starts(exports) => Ok(Some(exports)),
        CheckOutcome::Fails(reason) => Err(CloudflareError::invalid(&reason)),
        CheckOutcome::TooLarge(limit) => {
            let text = format!("Your Worker exceeded the size limit of {limit} MiB.");
            Err(CloudflareError::new(413, 10_027, &text))
        }
    }
}

/// A module in the JSON of a new version.
#[derive(Debug, Deserialize)]
struct EncodedModule {
    name: String,
    content_type: String,
    content_base64: String,
}

/// An uploaded version. The content of its modules is stored in blobs.
#[derive(Clone)]
pub(super) struct CodeUpload {
    pub(super) metadata: UploadMetadata,
    pub(super) modules: Vec<StoredModule>,
}

impl CodeUpload {
    /// Reads a multipart body.
    pub(super) async fn read(
        app: &App,
        worker: &str,
        mut parts: MultipartParts,
    ) -> Result<CodeUpload, CloudflareError> {
        let mut metadata = None;
        let mut form_fields = Value::Null;
        let mut modules = Vec::new();
        while let Some(part) = parts.next().await? {
            let name = part.file_name().or(part.name()).unwrap_or_default().to_owned();
            let is_metadata = part.name() == Some("metadata");
            let content_type = part.content_type().unwrap_or("application/octet-stream").to_owned();
            let bytes = part.bytes().await.map_err(|e| CloudflareError::invalid(&e.body_text()))?;
            if is_metadata {
                metadata = Some(UploadMetadata::parse(&bytes)?);
            } else if flat::add(
                &mut form_fields,
                "metadata",
                &name,
                &String::from_utf8_lossy(&bytes),
            ) {
                continue;
            } else {
                let blob = tokio::task::block_in_place(|| app.store.blobs.add(&bytes))?;
                modules.push(StoredModule { name, content_type, blob });
            }
        }
        if form_fields.is_object() {
            metadata = Some(UploadMetadata::parse(form_fields.to_string().as_bytes())?);
        }
        let mut metadata =
            metadata.ok_or_else(|| CloudflareError::invalid("The part `metadata` is missing"))?;
        metadata.check_annotations(worker)?;
        metadata.check_modules(&modules)?;
        Ok(CodeUpload { metadata, modules })
    }

    /// Reads a JSON body, which contains the modules. Modules named `_headers` and `_redirects` configure the
    /// assets.
    fn from_json(app: &App, worker: &str, mut body: Value) -> Result<CodeUpload, CloudflareError> {
        let modules = body.as_object_mut().and_then(|fields| fields.remove("modules"));
        let encoded: Vec<EncodedModule> = serde_json::from_value(modules.unwrap_or(json!([])))
            .map_err(|error| CloudflareError::invalid(&format!("Invalid modules: {error}")))?;
        let mut metadata = UploadMetadata::parse(body.to_string().as_bytes())?;
        let mut modules = Vec::new();
        for EncodedModule { name, content_type, content_base64 } in encoded {
            let bytes = STANDARD.decode(content_base64).map_err(|_| {
                CloudflareError::invalid(&format!("The content of {name} is not base64"))
            })?;
            match &mut metadata.assets {
                Some(assets) if matches!(name.as_str(), "_headers" | "_redirects") => {
                    assets.config[name] = json!(String::from_utf8_lossy(&bytes));
                }
                _ => {
                    let blob = tokio::task::block_in_place(|| app.store.blobs.add(&bytes))?;
                    modules.push(StoredModule { name, content_type, blob });
                }
            }
        }
        metadata.check_annotations(worker)?;
        metadata.check_modules(&modules)?;
        Ok(CodeUpload { metadata, modules })
    }

    /// Checks the upload without changing the Worker. Returns the exports of its code. `is_deployed` is `true` if the
    /// version goes live at once.
    async fn check(
        &self,
        app: &App,
        account: &str,
        name: &str,
        is_deployed: bool,
    ) -> Result<Option<Exports>, CloudflareError> {
        let worker = app.store.worker(account, name).map(|worker| Worker::clone(&worker));
        let mut worker = worker.unwrap_or_else(|| Worker::new(account, name));
        let candidate = self.clone().version(app, &worker, None)?;
        rules::check_version(app, &worker, &candidate, None)?;
        let exports = load(app, &candidate).await?;
        let declares = !DeclaredClasses::parse(&self.metadata.exports)?.is_empty();
        // The declared exports of a version are applied when it is deployed.
        if is_deployed || !(declares || worker.declares_classes) {
            self.change_worker(app, &mut worker, &exports)?;
        }
        rules::check_exports(app, &worker, &candidate, &exports.clone().unwrap_or_default())?;
        Ok(exports)
    }

    /// Applies the migrations, declared exports, tags and settings of an upload to the Worker. Returns the changes that
    /// the exports made. `None` if the upload has none.
    fn change_worker(
        &self,
        app: &App,
        worker: &mut Worker,
        exports: &Option<Exports>,
    ) -> Result<Option<Value>, CloudflareError> {
        let no_exports = Exports::default();
        let exports = exports.as_ref().unwrap_or(&no_exports);
        let classes = DeclaredClasses::parse(&self.metadata.exports)?;
        let migrations = &self.metadata.migrations;
        if !classes.is_empty() && migrations.is_some() {
            let text =
                "An upload has either `migrations` or classes of Durable Objects in `exports`";
            return Err(CloudflareError::invalid(text));
        }
        let mut changes = None;
        if !classes.is_empty() || worker.declares_classes {
            let (account, name) = (worker.account.clone(), worker.name.clone());
            let users = |class: &str| declared::binding_workers(app, &account, &name, class);
            changes = Some(declared::reconcile(worker, &classes, exports, users)?);
        } else if let Some(migrations) = migrations {
            let migrations: Migrations =
                serde_json::from_value(migrations.clone()).map_err(|error| {
                    CloudflareError::invalid(&format!("Invalid migrations: {error}"))
                })?;
            migrations::apply(worker, &migrations, exports)?;
        }
        migrations::check_existing_classes(worker, exports)?;
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
        Ok(changes)
    }

    /// Makes the version, with the next number of the Worker.
    fn version(
        self,
        app: &App,
        worker: &Worker,
        exports: Option<Exports>,
    ) -> Result<WorkerVersion, CloudflareError> {
        let CodeUpload { metadata, modules } = self;
        let previous = worker.versions.last();
        let assets = match &metadata.assets {
            Some(assets) => {
                let (manifest, files) = completed_manifest(app, &worker.account, &assets.jwt)?;
                Some(Assets { manifest, files, config: assets.config.clone() })
            }
            None if metadata.keep_assets => previous.and_then(|version| version.assets.clone()),
            None => None,
        };
        let resources = app.store.resources.get(&worker.account)?;
        let bindings = secrets::with_defaults(
            previous.map_or(&[] as &[_], |version| version.bindings.as_slice()),
            resources.default_secrets(&worker.name),
            |previous| metadata.resolve_bindings(previous),
        )?;
        if metadata.main_module.is_none() && assets.is_none() {
            return Err(CloudflareError::invalid("A version needs a main module, assets, or both"));
        }
        Ok(WorkerVersion {
            id: uuid(),
            number: worker.versions.len() + 1,
            created_on: now(),
            bindings,
            annotations: metadata.annotations,
            main_module: metadata.main_module,
            modules,
            compatibility_date: metadata
                .compatibility_date
                .unwrap_or_else(|| DEFAULT_DATE.to_owned()),
            compatibility_flags: metadata.compatibility_flags,
            assets,
            exports,
            limits: metadata.limits,
            placement: metadata.placement,
            declared_exports: metadata.exports,
        })
    }
}
