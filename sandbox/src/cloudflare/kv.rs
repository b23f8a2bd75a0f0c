//! Reads and changes KV namespaces and their keys (<https://developers.cloudflare.com/api/resources/kv/>).

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountAndName;
use super::body::{JsonBody, MultipartParts, Query};
use super::envelope::{ApiResult, CloudflareError, list_page, ok, with_info};
use super::paging::Page;
use super::storage::{StorageTarget, without_nulls};
use crate::app::App;
use crate::state::resources::Namespace;

/// The path parameters: account, namespace, key.
type KeyPath = Path<(String, String, String)>;

/// The body of a new or renamed namespace.
#[derive(Debug, Deserialize)]
pub struct NamespaceFields {
    title: String,
}

fn namespace_json(namespace: &Namespace) -> Value {
    json!({ "id": namespace.id, "title": namespace.title, "supports_url_encoding": true })
}

fn not_found(id: &str) -> CloudflareError {
    CloudflareError::new(404, 10_013, &format!("get namespace: 'namespace not found': {id}"))
}

fn find(app: &App, account: &str, id: &str) -> Result<Namespace, CloudflareError> {
    let resources = app.store.resources.get(account)?;
    resources
        .namespaces
        .iter()
        .find(|namespace| namespace.id == id)
        .cloned()
        .ok_or_else(|| not_found(id))
}

/// `GET …/namespaces`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    Ok(list_page(&page, &resources.namespaces.iter().map(namespace_json).collect::<Vec<_>>()))
}

/// `POST …/namespaces`
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(NamespaceFields { title }): JsonBody<NamespaceFields>,
) -> ApiResult {
    if title.is_empty() || title.len() > 512 {
        return Err(CloudflareError::new(400, 10_019, "a namespace title has 1 to 512 characters"));
    }
    let namespace = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            if resources.namespaces.iter().any(|namespace| namespace.title == title) {
                let text =
                    "create namespace: 'a namespace with this account ID and title already exists'";
                return Err(CloudflareError::new(400, 10_014, text));
            }
            Ok(resources.add_namespace(&title))
        })
    })?;
    Ok(ok(&namespace_json(&namespace)))
}

/// `GET …/namespaces/{namespace}`
pub async fn view(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    Ok(ok(&namespace_json(&find(&app, &account, &id)?)))
}

/// `PUT …/namespaces/{namespace}`
pub async fn rename(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(NamespaceFields { title }): JsonBody<NamespaceFields>,
) -> ApiResult {
    let renamed = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            let namespace = resources.namespaces.iter_mut().find(|namespace| namespace.id == id);
            let namespace = namespace.ok_or_else(|| not_found(&id))?;
            namespace.title = title;
            Ok::<_, CloudflareError>(namespace_json(namespace))
        })
    })?;
    Ok(ok(&renamed))
}

/// `DELETE …/namespaces/{namespace}`
pub async fn delete(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    find(&app, &account, &id)?;
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            resources.namespaces.retain(|namespace| namespace.id != id);
            Ok::<_, CloudflareError>(())
        })
    })?;
    Ok(ok(&json!({})))
}

/// The filter and the page of a list of keys.
#[derive(Debug, Deserialize)]
pub struct KeyQuery {
    prefix: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET …/namespaces/{namespace}/keys`
pub async fn keys(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    Query(query): Query<KeyQuery>,
) -> ApiResult {
    find(&app, &account, &id)?;
    let cursor = query.cursor.filter(|cursor| !cursor.is_empty());
    let options = json!({ "prefix": query.prefix, "limit": query.limit, "cursor": cursor });
    let operation = json!({ "action": "list", "options": options });
    let page = StorageTarget::Namespace(&id).json(&app, &account, &operation, "").await?;
    let count = page["keys"].as_array().map_or(0, Vec::len);
    let cursor = page["cursor"].as_str().unwrap_or_default();
    Ok(with_info(&page["keys"], &json!({ "count": count, "cursor": cursor })))
}

/// `GET …/values/{key}`. Returns the stored bytes, without an envelope.
pub async fn get(State(app): State<App>, Path((account, id, key)): KeyPath) -> ApiResult {
    find(&app, &account, &id)?;
    let operation = json!({ "action": "get", "key": key });
    let value = StorageTarget::Namespace(&id).execute(&app, &account, &operation, "").await?;
    let value = value.ok_or_else(|| CloudflareError::new(404, 10_009, "get: 'key not found'"))?;
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, value.into_body()).into_response())
}

/// `GET …/metadata/{key}`
pub async fn metadata(State(app): State<App>, Path((account, id, key)): KeyPath) -> ApiResult {
    find(&app, &account, &id)?;
    let operation = json!({ "action": "metadata", "key": key });
    Ok(ok(&StorageTarget::Namespace(&id).json(&app, &account, &operation, "").await?))
}

/// The expiry of a value: a Unix time, or a lifetime, both in seconds.
#[derive(Debug, Deserialize)]
pub struct Expiry {
    expiration: Option<u64>,
    expiration_ttl: Option<u64>,
}

/// `PUT …/values/{key}`. The value is the whole body, or a part of a multipart body with its metadata.
pub async fn put(
    State(app): State<App>,
    Path((account, id, key)): KeyPath,
    Query(expiry): Query<Expiry>,
    request: Request,
) -> ApiResult {
    find(&app, &account, &id)?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let (mut value, mut metadata) = (Bytes::new(), Value::Null);
    if kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        let mut parts = MultipartParts::from_request(request, &app).await?;
        while let Some(part) = parts.next().await? {
            let is_metadata = part.name() == Some("metadata");
            let bytes = part.bytes().await.map_err(|e| CloudflareError::invalid(&e.body_text()))?;
            if is_metadata {
                metadata = serde_json::from_slice(&bytes).map_err(|error| {
                    CloudflareError::invalid(&format!("Invalid metadata: {error}"))
                })?;
            } else {
                value = bytes;
            }
        }
    } else {
        value = Bytes::from_request(request, &app)
            .await
            .map_err(|error| CloudflareError::invalid(&error.body_text()))?;
    }
    let options = json!({
        "expiration": expiry.expiration, "expirationTtl": expiry.expiration_ttl, "metadata": metadata,
    });
    let operation = json!({ "action": "put", "key": key, "options": without_nulls(options) });
    StorageTarget::Namespace(&id).execute(&app, &account, &operation, value).await?;
    Ok(ok(&json!({})))
}

/// `DELETE …/values/{key}`
pub async fn delete_key(State(app): State<App>, Path((account, id, key)): KeyPath) -> ApiResult {
    delete_keys(&app, &account, &id, &[key]).await?;
    Ok(ok(&json!({})))
}

async fn delete_keys(
    app: &App,
    account: &str,
    id: &str,
    keys: &[String],
) -> Result<(), CloudflareError> {
    find(app, account, id)?;
    let operation = json!({ "action": "delete", "keys": keys });
    StorageTarget::Namespace(id).execute(app, account, &operation, "").await.map(drop)
}

/// `PUT …/bulk`
pub async fn bulk_put(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(pairs): JsonBody<Vec<Value>>,
) -> ApiResult {
    find(&app, &account, &id)?;
    let count = pairs.len();
    let body = Value::Array(pairs).to_string();
    StorageTarget::Namespace(&id)
        .execute(&app, &account, &json!({ "action": "bulkPut" }), body)
        .await?;
    Ok(bulk_result(count))
}

/// `POST …/bulk/delete` and `DELETE …/bulk`
pub async fn bulk_delete(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(keys): JsonBody<Vec<String>>,
) -> ApiResult {
    delete_keys(&app, &account, &id, &keys).await?;
    Ok(bulk_result(keys.len()))
}

fn bulk_result(count: usize) -> Response {
    ok(&json!({ "successful_key_count": count, "unsuccessful_keys": [] }))
}

/// The body of `POST …/bulk/get`.
#[derive(Debug, Deserialize)]
pub struct BulkGet {
    keys: Vec<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, rename = "withMetadata")]
    with_metadata: bool,
}

/// `POST …/bulk/get`
pub async fn bulk_get(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(query): JsonBody<BulkGet>,
) -> ApiResult {
    find(&app, &account, &id)?;
    let operation = json!({
        "action": "bulkGet", "keys": query.keys, "type": query.kind.as_deref().unwrap_or("text"),
        "withMetadata": query.with_metadata,
    });
    Ok(ok(&StorageTarget::Namespace(&id).json(&app, &account, &operation, "").await?))
}
