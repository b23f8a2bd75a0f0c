//! Creates the storage that a wrangler config names. The API refuses an upload whose storage is missing, and the
//! storage of a site exists only in the Cloudflare account.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::auth::RequireToken;
use super::body::JsonBody;
use super::envelope::CloudflareError;
use super::metadata::check_name;
use super::secrets;
use crate::app::App;
use crate::ids::{is_uuid, now};
use crate::state::model::Worker;
use crate::state::resources::{
    Bucket, Database, DefaultSecrets, LocalHyperdrive, Namespace, Queue, Resources, WorkerOrigin,
};

/// The body of `POST /__sandbox/resources`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceList {
    account: String,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    databases: Vec<DatabaseRequest>,
    /// `true` to create storage also for ids without Cloudflare's format, such as `<your-id>`.
    #[serde(default)]
    accepts_placeholders: bool,
    #[serde(default)]
    buckets: Vec<String>,
    #[serde(default)]
    queues: Vec<String>,
    #[serde(default)]
    hyperdrives: Vec<LocalHyperdrive>,
    #[serde(default)]
    projects: Vec<WorkerOrigin>,
    #[serde(default)]
    secrets: Vec<SecretsRequest>,
}

/// The default values of a Worker's secrets. They replace those of an earlier request.
#[derive(Debug, Deserialize)]
struct SecretsRequest {
    #[serde(flatten)]
    defaults: DefaultSecrets,
    /// `true` to create the Worker if it is missing. wrangler deploys a Worker with required secrets only if
    /// it exists.
    #[serde(default)]
    is_required: bool,
}

#[derive(Debug, Deserialize)]
struct DatabaseRequest {
    id: String,
    name: String,
}

/// `POST /__sandbox/resources`. Creates missing resources and returns their names. Ignores placeholders, which are
/// ids without Cloudflare's format, unless the request accepts them. Stores default secrets, and returns the
/// names of those in use.
pub async fn provide(
    State(app): State<App>,
    _: RequireToken,
    JsonBody(list): JsonBody<ResourceList>,
) -> Result<Response, CloudflareError> {
    if !app.accounts.contains(&list.account) {
        return Err(CloudflareError::authentication());
    }
    let (created, secrets) = tokio::task::block_in_place(|| {
        let created = app.store.resources.change(&list.account, |resources| {
            Ok::<_, CloudflareError>(create_missing(resources, &list))
        })?;
        let mut used_secrets = Vec::new();
        for SecretsRequest { defaults, is_required } in &list.secrets {
            let worker = app.store.worker(&list.account, &defaults.worker);
            used_secrets.extend(secrets::used_defaults(worker.as_deref(), defaults));
            if *is_required && worker.is_none() && !defaults.values.is_empty() {
                create_worker(&app, &list.account, &defaults.worker)?;
            }
        }
        Ok::<_, CloudflareError>((created, used_secrets))
    })?;
    Ok(Json(json!({ "schema": 1, "made": created, "secrets": secrets })).into_response())
}

/// Creates a Worker without any version.
fn create_worker(app: &App, account: &str, name: &str) -> Result<(), CloudflareError> {
    check_name(name)?;
    if let Some(reason) = app.store.damage(account, name) {
        return Err(CloudflareError::new(500, 10_013, reason));
    }
    app.store.change(account, name, |worker| {
        let worker = worker.unwrap_or_else(|| Worker::new(account, name));
        Ok::<_, CloudflareError>((worker, ()))
    })
}

/// Creates the missing resources of `list`. Returns their names.
fn create_missing(resources: &mut Resources, list: &ResourceList) -> Vec<String> {
    let mut created = Vec::new();
    let is_placeholder = |id: &str| list.accepts_placeholders && is_placeholder(id);
    for id in list.namespaces.iter().filter(|id| is_hex(id) || is_placeholder(id)) {
        if !resources.namespaces.iter().any(|namespace| namespace.id == *id) {
            resources
                .namespaces
                .push(Namespace { id: id.clone(), title: format!("from-config-{id}") });
            created.push(format!("KV namespace {id}"));
        }
    }
    let has_id =
        |database: &&DatabaseRequest| is_uuid(&database.id) || is_placeholder(&database.id);
    for DatabaseRequest { id, name } in list.databases.iter().filter(has_id) {
        if !resources.databases.iter().any(|database| database.uuid == *id) {
            let (region, jurisdiction) = (None, None);
            let uuid = id.clone();
            let database =
                Database { uuid, name: name.clone(), created_at: now(), region, jurisdiction };
            resources.databases.push(database);
            created.push(format!("D1 database {name}"));
        }
    }
    for name in &list.buckets {
        if resources.bucket(name).is_none() {
            resources.buckets.push(Bucket {
                name: name.clone(),
                creation_date: now(),
                location: "weur".to_owned(),
                storage_class: "Standard".to_owned(),
                jurisdiction: None,
                cors: None,
                lifecycle: None,
            });
            created.push(format!("R2 bucket {name}"));
        }
    }
    for name in &list.queues {
        if resources.queue(name).is_none() {
            resources.queues.push(Queue::new(name, json!({})));
            created.push(format!("queue {name}"));
        }
    }
    for hyperdrive in &list.hyperdrives {
        resources.hyperdrives.retain(|one| one.id != hyperdrive.id);
        resources.hyperdrives.push(hyperdrive.clone());
    }
    for origin in &list.projects {
        resources.projects.retain(|project| project.worker != origin.worker);
        resources.projects.push(origin.clone());
    }
    for SecretsRequest { defaults, .. } in &list.secrets {
        resources.default_secrets.retain(|default_secret| default_secret.worker != defaults.worker);
        if !defaults.values.is_empty() {
            resources.default_secrets.push(defaults.clone());
        }
    }
    created
}

fn is_hex(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// Returns whether `id` can be used instead of an id from Cloudflare. It becomes part of a path.
fn is_placeholder(id: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_<>{}$ ".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_created_once() {
        let list: ResourceList = serde_json::from_value(json!({
            "account": "a", "namespaces": ["0123456789abcdef0123456789abcdef", "<your-id>"],
            "databases": [{ "id": "11111111-1111-4111-8111-111111111111", "name": "data" }, { "id": "x", "name": "x" }],
            "buckets": ["files"], "queues": ["jobs", "jobs"],
        }))
        .expect("a body");
        let mut resources = Resources::default();
        let created = create_missing(&mut resources, &list);
        let lines = [
            "KV namespace 0123456789abcdef0123456789abcdef",
            "D1 database data",
            "R2 bucket files",
            "queue jobs",
        ];
        assert_eq!(created, lines);
        assert!(create_missing(&mut resources, &list).is_empty());
    }

    #[test]
    fn placeholders_are_created_only_if_the_request_accepts_them() {
        let body = |accepts: bool| {
            json!({
                "account": "a", "namespaces": ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "<your-id>", "../x", ""],
                "databases": [{ "id": "local-dev-placeholder", "name": "data" }, { "id": "a/b", "name": "x" }],
                "accepts_placeholders": accepts,
            })
        };
        let created = |accepts: bool| {
            let list: ResourceList = serde_json::from_value(body(accepts)).expect("a body");
            create_missing(&mut Resources::default(), &list)
        };
        assert_eq!(created(false), [""; 0]);
        let lines = [
            "KV namespace xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "KV namespace <your-id>",
            "D1 database data",
        ];
        assert_eq!(created(true), lines);
    }
}
