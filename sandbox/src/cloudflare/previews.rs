//! Worker Previews, as `wrangler preview` makes and deletes them.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::assets::finished;
use super::body::{Body, Parts};
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::metadata::Metadata;
use super::settings::{change, worker as find};
use super::upload::{OLDEST, Upload, load};
use super::versions::{Page, without_text};
use super::{Place, done, rules};
use crate::app::{App, SUBDOMAIN};
use crate::ids::{now, uuid};
use crate::state::model::{Assets, Version, Worker};
use crate::state::preview::{Preview, good_name};

/// Account, Worker and Preview.
type Named = Path<(String, String, String)>;

/// The entry that wrangler 4.164 uploads for a Worker of assets alone. It stands for none.
const NO_CODE: &str = "no-op-worker.js";

/// The longest tag and message in bytes, by the API's description of Previews.
const LONGEST: (usize, usize) = (25, 100);

/// `GET …/previews`
pub async fn list(
    State(app): State<App>,
    Path((account, name)): Place,
    Query(page): Query<Page>,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let shown: Vec<Value> =
        page.of(worker.previews.iter()).map(|p| presented(&worker, p)).collect();
    Ok(listed(&shown))
}

/// `GET …/previews/{preview}`, by name, slug or id.
pub async fn view(State(app): State<App>, Path((account, name, preview)): Named) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    Ok(ok(&presented(&worker, worker.preview(&preview).ok_or_else(no_preview)?)))
}

/// `POST …/previews`: its name, and what belongs to it rather than to a deployment.
pub async fn create(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(mut settings): Body<Map<String, Value>>,
) -> ApiResult {
    let given = settings.remove("name").unwrap_or_default();
    let given = given.as_str().filter(|given| good_name(given)).ok_or_else(|| {
        ApiError::invalid(
            "The name of a Preview has 1 to 256 letters, digits and -_/.+=, a letter or digit at both ends",
        )
    })?;
    let answer = change(&app, &account, &name, |worker| {
        if worker.preview(given).is_some_and(|preview| preview.name == given) {
            return Err(ApiError::new(409, 10_026, "A Preview of this name exists already"));
        }
        let preview = worker.add_preview(given, Value::Object(settings));
        Ok(presented(worker, &preview))
    })??;
    Ok(ok(&answer))
}

/// `PATCH …/previews/{preview}`
pub async fn patch(
    State(app): State<App>,
    Path((account, name, preview)): Named,
    Body(settings): Body<Map<String, Value>>,
) -> ApiResult {
    let answer = change(&app, &account, &name, |worker| {
        let changed = worker.preview_mut(&preview).ok_or_else(no_preview)?;
        for (field, value) in settings.into_iter().filter(|(field, _)| field != "name") {
            changed.settings[field] = value;
        }
        let changed = changed.clone();
        Ok::<Value, ApiError>(presented(worker, &changed))
    })??;
    Ok(ok(&answer))
}

/// `DELETE …/previews/{preview}`: with its deployments.
pub async fn delete(State(app): State<App>, Path((account, name, preview)): Named) -> ApiResult {
    let there = change(&app, &account, &name, |worker| worker.remove_preview(&preview))?;
    if there { Ok(done()) } else { Err(no_preview()) }
}

/// `GET …/previews/{preview}/deployments/{deployment}`, by id or as `latest`.
pub async fn deployment(
    State(app): State<App>,
    Path((account, name, preview, id)): Path<(String, String, String, String)>,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let preview = worker.preview(&preview).ok_or_else(no_preview)?;
    let found = preview.deployment(&id).ok_or_else(|| {
        ApiError::new(404, 10_222, &format!("This Preview has no deployment {id}"))
    })?;
    Ok(shown(&worker, found))
}

/// `GET …/previews/{preview}/deployments`, newest first.
pub async fn deployments(
    State(app): State<App>,
    Path((account, name, preview)): Named,
) -> ApiResult {
    let worker = find(&app, &account, &name)?;
    let preview = worker.preview(&preview).ok_or_else(no_preview)?;
    let all = preview.deployments.iter().rev().map(|one| presented_deployment(&worker, one));
    Ok(listed(&all.collect::<Vec<_>>()))
}

/// `POST …/previews/{preview}/deployments`: it answers at once.
pub async fn deploy(
    State(app): State<App>,
    Path((account, name, preview)): Named,
    parts: Parts,
) -> ApiResult {
    let upload = Upload::read(&app, &name, parts).await?;
    check(&upload.metadata)?;
    let there = find(&app, &account, &name)?;
    let target = there.preview(&preview).ok_or_else(no_preview)?;
    let candidate = version(&app, &account, target, upload.clone())?;
    rules::check_version(&app, &there, &candidate)?;
    let exports = load(&app, &candidate).await?;
    if let Some(exports) = &exports {
        rules::check_handlers(exports)?;
    }
    let (worker, made) = change(&app, &account, &name, |worker| {
        let there = worker.preview(&preview).ok_or_else(no_preview)?;
        let mut made = version(&app, &account, there, upload)?;
        made.exports = exports;
        if let Some(there) = worker.preview_mut(&preview) {
            there.deploy(made.clone());
        }
        Ok::<_, ApiError>((Arc::new(worker.clone()), made))
    })??;
    Ok(shown(&worker, &made))
}

fn check(metadata: &Metadata) -> Result<(), ApiError> {
    let longer = |name: &str, most: usize| {
        metadata.annotations.get(name).is_some_and(|text| text.len() > most)
    };
    if longer("workers/tag", LONGEST.0) || longer("workers/message", LONGEST.1) {
        return Err(ApiError::invalid(
            "A Preview's deployment has a tag of at most 25 bytes and a message of at most 100",
        ));
    }
    Ok(())
}

/// What a deployment runs. `_headers` and `_redirects` come as files here.
fn version(
    app: &App,
    account: &str,
    preview: &Preview,
    upload: Upload,
) -> Result<Version, ApiError> {
    let Upload { metadata, mut modules } = upload;
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
            let (manifest, files) = finished(app, account, &assets.jwt)?;
            Some(Assets { manifest, files, config })
        }
        None => None,
    };
    if main_module.is_none() && assets.is_none() {
        return Err(ApiError::invalid("A deployment needs a main module, assets, or both"));
    }
    Ok(Version {
        id: uuid(),
        number: preview.deployments.len() + 1,
        created_on: now(),
        bindings: bindings(preview, &metadata.env)?,
        annotations: metadata.annotations,
        main_module,
        modules,
        compatibility_date: metadata.compatibility_date.unwrap_or_else(|| OLDEST.to_owned()),
        compatibility_flags: metadata.compatibility_flags,
        assets,
        exports: None,
        limits: metadata.limits,
        placement: metadata.placement,
    })
}

/// The bindings of a deployment. Storage that is named without an id is the Preview's own.
fn bindings(preview: &Preview, env: &Map<String, Value>) -> Result<Vec<Value>, ApiError> {
    let former = preview.latest().map_or(&[] as &[Value], |latest| latest.bindings.as_slice());
    let one = |(name, binding): (&String, &Value)| {
        if binding["type"] == "inherit" {
            let found = former.iter().find(|old| old["name"] == name.as_str());
            return found.cloned().ok_or_else(|| {
                ApiError::invalid(&format!("There is no binding {name} to inherit"))
            });
        }
        let mut binding = binding.clone();
        binding["name"] = json!(name);
        let own = format!("{}{}-{name}", rules::PREVIEW_STORAGE, preview.id);
        let storage = match binding["type"].as_str().unwrap_or_default() {
            "kv_namespace" => "namespace_id",
            "d1" => "id",
            "r2_bucket" => "bucket_name",
            _ => return Ok(binding),
        };
        if binding[storage].is_null() {
            binding[storage] = json!(own);
        }
        Ok(binding)
    };
    env.iter().map(one).collect()
}

fn no_preview() -> ApiError {
    ApiError::new(404, 10_025, "This Preview does not exist.")
}

/// Addresses, where the Worker has any.
fn urls(worker: &Worker, label: &str) -> Value {
    let url = || format!("https://{label}-{}.{SUBDOMAIN}.workers.dev", worker.name);
    json!(worker.previews_enabled.then(url).into_iter().collect::<Vec<_>>())
}

fn presented(worker: &Worker, preview: &Preview) -> Value {
    let mut shown = preview.settings.clone();
    shown["id"] = json!(preview.id);
    shown["name"] = json!(preview.name);
    shown["slug"] = json!(preview.slug);
    shown["urls"] = urls(worker, &preview.slug);
    shown["worker_name"] = json!(worker.name);
    shown["created_on"] = json!(preview.created_on);
    shown
}

fn shown(worker: &Worker, deployment: &Version) -> Response {
    ok(&presented_deployment(worker, deployment))
}

fn presented_deployment(worker: &Worker, deployment: &Version) -> Value {
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
