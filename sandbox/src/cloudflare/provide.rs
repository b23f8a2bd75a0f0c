//! Makes the storage that a config names by id or by name, for clients that deploy what was made at
//! Cloudflare. An upload to the API alone is refused there.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::auth::Authorized;
use super::body::Body;
use super::envelope::ApiError;
use crate::app::App;
use crate::ids::{hex, now, random};
use crate::state::resources::{Bucket, Database, Hyperdrive, Namespace, Origin, Queue, Resources};

/// The body of `POST /__sandbox/resources`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    account: String,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    databases: Vec<NamedDatabase>,
    #[serde(default)]
    buckets: Vec<String>,
    #[serde(default)]
    queues: Vec<String>,
    #[serde(default)]
    hyperdrives: Vec<Hyperdrive>,
    #[serde(default)]
    projects: Vec<Origin>,
}

#[derive(Debug, Deserialize)]
struct NamedDatabase {
    id: String,
    name: String,
}

/// `POST /__sandbox/resources`: makes what is not there, and lists it. Ids that are not of Cloudflare's
/// form, such as placeholders, are left out.
pub async fn provide(
    State(app): State<App>,
    _: Authorized,
    Body(wanted): Body<Wanted>,
) -> Result<Response, ApiError> {
    if !app.accounts.contains(&wanted.account) {
        return Err(ApiError::authentication());
    }
    let made = tokio::task::block_in_place(|| {
        app.store
            .resources
            .change(&wanted.account, |resources| Ok::<_, ApiError>(make(resources, &wanted)))
    })?;
    Ok(Json(json!({ "schema": 1, "made": made })).into_response())
}

fn make(resources: &mut Resources, wanted: &Wanted) -> Vec<String> {
    let mut made = Vec::new();
    for id in wanted.namespaces.iter().filter(|id| is_hex(id)) {
        if !resources.namespaces.iter().any(|one| one.id == *id) {
            resources
                .namespaces
                .push(Namespace { id: id.clone(), title: format!("from-config-{id}") });
            made.push(format!("KV namespace {id}"));
        }
    }
    for NamedDatabase { id, name } in wanted.databases.iter().filter(|one| is_uuid(&one.id)) {
        if !resources.databases.iter().any(|one| one.uuid == *id) {
            let one = Database { uuid: id.clone(), name: name.clone(), created_at: now() };
            resources.databases.push(one);
            made.push(format!("D1 database {name}"));
        }
    }
    for name in &wanted.buckets {
        if resources.bucket(name).is_none() {
            resources.buckets.push(Bucket {
                name: name.clone(),
                creation_date: now(),
                location: "weur".to_owned(),
                storage_class: "Standard".to_owned(),
            });
            made.push(format!("R2 bucket {name}"));
        }
    }
    for name in &wanted.queues {
        if resources.queue(name).is_none() {
            resources.queues.push(Queue {
                id: hex(&random::<16>()),
                name: name.clone(),
                created_on: now(),
                modified_on: now(),
                settings: json!({}),
                consumers: Vec::new(),
            });
            made.push(format!("queue {name}"));
        }
    }
    for wanted in &wanted.hyperdrives {
        resources.hyperdrives.retain(|one| one.id != wanted.id);
        resources.hyperdrives.push(wanted.clone());
    }
    for wanted in &wanted.projects {
        resources.projects.retain(|one| one.worker != wanted.worker);
        resources.projects.push(wanted.clone());
    }
    made
}

fn is_hex(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

fn is_uuid(id: &str) -> bool {
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_cloudflare_s_form_are_made_once() {
        let wanted: Wanted = serde_json::from_value(json!({
            "account": "a", "namespaces": ["0123456789abcdef0123456789abcdef", "<your-id>"],
            "databases": [{ "id": "11111111-1111-4111-8111-111111111111", "name": "data" }, { "id": "x", "name": "x" }],
            "buckets": ["files"], "queues": ["jobs", "jobs"],
        }))
        .expect("a body");
        let mut resources = Resources::default();
        let made = make(&mut resources, &wanted);
        let lines = [
            "KV namespace 0123456789abcdef0123456789abcdef",
            "D1 database data",
            "R2 bucket files",
            "queue jobs",
        ];
        assert_eq!(made, lines);
        assert!(make(&mut resources, &wanted).is_empty());
    }
}
