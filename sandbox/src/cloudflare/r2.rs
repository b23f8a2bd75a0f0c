//! Reads and changes R2 buckets and their objects (<https://developers.cloudflare.com/api/resources/r2/>).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, ok, with_info};
use super::products::SERVE_WITH_WORKER;
use super::storage::{StorageTarget, without_nulls};
use super::{AccountAndName, empty_result};
use crate::app::App;
use crate::ids::{derived_id, now};
use crate::state::resources::Bucket;

/// The locations of buckets, by the API's names.
const LOCATIONS: [&str; 6] = ["apac", "eeur", "enam", "weur", "wnam", "oc"];

/// The storage classes of buckets and objects (<https://developers.cloudflare.com/r2/buckets/storage-classes/>).
const STORAGE_CLASSES: [&str; 2] = ["Standard", "InfrequentAccess"];

/// The header with a storage class.
const STORAGE_CLASS_HEADER: &str = "cf-r2-storage-class";

/// The path parameters: account, bucket, object.
type ObjectPath = Path<(String, String, String)>;

/// The body of a new bucket. wrangler sends its fields in camel case.
#[derive(Debug, Deserialize)]
pub struct NewBucket {
    name: String,
    #[serde(alias = "locationHint")]
    location_hint: Option<String>,
    #[serde(alias = "storageClass", alias = "storage_class")]
    storage_class: Option<String>,
}

fn bucket_json(bucket: &Bucket) -> Value {
    json!({ "name": bucket.name, "creation_date": bucket.creation_date, "location": bucket.location,
        "storage_class": bucket.storage_class,
        "jurisdiction": bucket.jurisdiction.as_deref().unwrap_or("default") })
}

fn missing_bucket() -> CloudflareError {
    CloudflareError::new(404, 10_006, "The specified bucket does not exist.")
}

fn find(app: &App, account: &str, name: &str) -> Result<Bucket, CloudflareError> {
    let resources = app.store.resources.get(account)?;
    resources.bucket(name).cloned().ok_or_else(missing_bucket)
}

/// The filter of a list of buckets.
#[derive(Debug, Deserialize)]
pub struct BucketQuery {
    name_contains: Option<String>,
    start_after: Option<String>,
    per_page: Option<usize>,
}

/// `GET /accounts/{account}/r2/buckets`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(query): Query<BucketQuery>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let is_selected = |bucket: &&Bucket| {
        query.name_contains.as_ref().is_none_or(|part| bucket.name.contains(part))
            && query.start_after.as_ref().is_none_or(|name| bucket.name > *name)
    };
    let mut buckets: Vec<&Bucket> = resources.buckets.iter().filter(is_selected).collect();
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    buckets.truncate(query.per_page.unwrap_or(1000).clamp(1, 1000));
    Ok(ok(&json!({ "buckets": buckets.into_iter().map(bucket_json).collect::<Vec<_>>() })))
}

/// `POST /accounts/{account}/r2/buckets`
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewBucket>,
) -> ApiResult {
    let name = body.name;
    let is_valid_name = (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_valid_name {
        return Err(CloudflareError::new(400, 10_005, "The specified bucket name is not valid."));
    }
    let location = body.location_hint.map(|hint| hint.to_ascii_lowercase());
    let location = location.unwrap_or_else(|| "weur".to_owned());
    if !LOCATIONS.contains(&location.as_str()) {
        return Err(CloudflareError::new(
            400,
            10_033,
            &format!("The location {location:?} is not valid."),
        ));
    }
    let storage_class = body.storage_class.unwrap_or_else(|| STORAGE_CLASSES[0].to_owned());
    check_storage_class(&storage_class)?;
    let jurisdiction = header(&headers, "cf-r2-jurisdiction").map(str::to_owned);
    let created = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            if resources.bucket(&name).is_some() {
                let text = "The bucket you tried to create already exists, and you own it.";
                return Err(CloudflareError::new(409, 10_004, text));
            }
            let created = Bucket {
                name,
                creation_date: now(),
                location,
                storage_class,
                jurisdiction,
                cors: None,
                lifecycle: None,
            };
            resources.buckets.push(created.clone());
            Ok(created)
        })
    })?;
    Ok(ok(&bucket_json(&created)))
}

/// `GET /accounts/{account}/r2/buckets/{bucket}`
pub async fn view(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(ok(&bucket_json(&find(&app, &account, &name)?)))
}

/// Returns the value of a header. `None` if it is missing or not text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn check_storage_class(class: &str) -> Result<(), CloudflareError> {
    if STORAGE_CLASSES.contains(&class) {
        return Ok(());
    }
    Err(invalid_field())
}

/// Makes the error for an invalid field (<https://github.com/cloudflare/workers-sdk/issues/8486>).
fn invalid_field() -> CloudflareError {
    CloudflareError::new(400, 10_040, "The JSON you provided was not well formed.")
}

fn change(
    app: &App,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut Bucket),
) -> Result<Bucket, CloudflareError> {
    tokio::task::block_in_place(|| {
        app.store.resources.change(account, |resources| {
            let bucket = resources.buckets.iter_mut().find(|bucket| bucket.name == name);
            let bucket = bucket.ok_or_else(missing_bucket)?;
            change(bucket);
            Ok(bucket.clone())
        })
    })
}

/// `PATCH /accounts/{account}/r2/buckets/{bucket}`: changes the storage class of new objects.
pub async fn patch(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    headers: HeaderMap,
) -> ApiResult {
    let class = header(&headers, STORAGE_CLASS_HEADER).unwrap_or_default();
    check_storage_class(class)?;
    let bucket =
        change(&app, &account, &name, |bucket| class.clone_into(&mut bucket.storage_class))?;
    Ok(ok(&bucket_json(&bucket)))
}

/// The CORS rules of a bucket. The sandbox stores and returns them. They have no other effect, because its
/// buckets have no public URL.
#[derive(Debug, Deserialize)]
pub struct CorsRules {
    rules: Vec<CorsRule>,
}

/// A CORS rule (<https://developers.cloudflare.com/api/resources/r2/subresources/buckets/subresources/cors/methods/update/>).
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsRule {
    allowed: AllowedRequests,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The requests that a CORS rule allows.
#[derive(Debug, Deserialize, Serialize)]
pub struct AllowedRequests {
    methods: Vec<String>,
    origins: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// `GET …/cors`
pub async fn cors(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    // The code was captured from the API (alchemy-run/distilled, `patches/r2/getBucketCors.json`).
    let missing = || CloudflareError::new(404, 10_059, "The CORS configuration does not exist.");
    let rules = find(&app, &account, &name)?.cors.ok_or_else(missing)?;
    Ok(ok(&json!({ "rules": rules })))
}

/// `PUT …/cors`
pub async fn set_cors(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
    let CorsRules { rules } = serde_json::from_value(body).map_err(|_| invalid_field())?;
    let is_origin = |origin: &String| !origin.is_empty() && !origin.ends_with("://");
    let is_valid = |CorsRule { allowed, .. }: &CorsRule| {
        allowed.methods.iter().all(|method| METHODS.contains(&method.as_str()))
            && allowed.origins.iter().all(is_origin)
            && !(allowed.methods.is_empty() || allowed.origins.is_empty())
    };
    if !rules.iter().all(is_valid) {
        return Err(invalid_field());
    }
    change(&app, &account, &name, |bucket| bucket.cors = Some(json!(rules)))?;
    Ok(ok(&json!({})))
}

/// `DELETE …/cors`
pub async fn delete_cors(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    change(&app, &account, &name, |bucket| bucket.cors = None)?;
    Ok(ok(&json!({})))
}

/// The body with the lifecycle or lock rules of a bucket.
#[derive(Debug, Deserialize)]
pub struct BucketRules {
    rules: Vec<Value>,
}

/// A lifecycle rule (<https://developers.cloudflare.com/api/resources/r2/subresources/buckets/subresources/lifecycle/methods/update/>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the types of the fields are the check")]
struct LifecycleRule {
    id: String,
    enabled: bool,
    conditions: LifecyclePrefix,
    delete_objects_transition: Option<LifecycleTransition>,
    abort_multipart_uploads_transition: Option<LifecycleTransition>,
    storage_class_transitions: Option<Vec<LifecycleTransition>>,
}

/// The objects to which a lifecycle rule applies.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the types of the fields are the check")]
struct LifecyclePrefix {
    prefix: Option<String>,
}

/// An action of a lifecycle rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the types of the fields are the check")]
struct LifecycleTransition {
    condition: Option<LifecycleCondition>,
    storage_class: Option<String>,
}

/// The condition for an action: the age of an object in seconds, or a date.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
#[expect(dead_code, reason = "the types of the fields are the check")]
enum LifecycleCondition {
    Age {
        #[serde(rename = "maxAge")]
        max_age: u64,
    },
    Date {
        date: String,
    },
}

/// Returns the lifecycle rules of a new bucket, as `wrangler r2 bucket lifecycle list` shows them
/// (<https://developers.cloudflare.com/r2/buckets/object-lifecycles/>).
fn default_lifecycle() -> Value {
    let condition = json!({ "type": "Age", "maxAge": 604_800 });
    json!([{ "id": "Default Multipart Abort Rule", "enabled": true, "conditions": {},
        "abortMultipartUploadsTransition": { "condition": condition } }])
}

/// `GET …/lifecycle`. The sandbox stores and returns the rules. They have no other effect.
pub async fn lifecycle(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let rules = find(&app, &account, &name)?.lifecycle.unwrap_or_else(default_lifecycle);
    Ok(ok(&json!({ "rules": rules })))
}

/// `PUT …/lifecycle`
pub async fn set_lifecycle(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    let BucketRules { rules } = serde_json::from_value(body).map_err(|_| invalid_field())?;
    if rules.iter().any(|rule| LifecycleRule::deserialize(rule).is_err()) {
        return Err(invalid_field());
    }
    change(&app, &account, &name, |bucket| bucket.lifecycle = Some(json!(rules)))?;
    Ok(ok(&json!({})))
}

/// `GET …/lock`
pub async fn locks(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    find(&app, &account, &name)?;
    Ok(ok(&json!({ "rules": [] })))
}

/// `PUT …/lock`. Refuses rules, because Workers could change the locked objects.
pub async fn set_locks(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    find(&app, &account, &name)?;
    let BucketRules { rules } = serde_json::from_value(body).map_err(|_| invalid_field())?;
    if rules.is_empty() {
        return Ok(ok(&json!({})));
    }
    let text = "The sandbox does not have the lock rules of R2, because Workers could still change the objects. Add the \
                rule to the bucket in the Cloudflare account";
    Err(CloudflareError::new(501, 7000, text))
}

/// `GET …/domains/custom`. Buckets of the sandbox have no public URL.
pub async fn custom_domains(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    find(&app, &account, &name)?;
    Ok(ok(&json!({ "domains": [] })))
}

/// The body of `PUT …/domains/managed`.
#[derive(Debug, Deserialize)]
pub struct ManagedDomainFields {
    enabled: bool,
}

/// `GET …/domains/managed`: returns the domain below r2.dev, which is always disabled.
pub async fn managed_domain(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    find(&app, &account, &name)?;
    let id = derived_id(&format!("{account} {name}"));
    Ok(ok(&json!({ "bucketId": id, "domain": format!("pub-{id}.r2.dev"), "enabled": false })))
}

/// `PUT …/domains/managed`
pub async fn set_managed_domain(
    app: State<App>,
    path: AccountAndName,
    JsonBody(fields): JsonBody<ManagedDomainFields>,
) -> ApiResult {
    if fields.enabled {
        let text =
            format!("The sandbox does not have the public domains of R2. {SERVE_WITH_WORKER}");
        return Err(CloudflareError::new(501, 7000, &text));
    }
    managed_domain(app, path).await
}

/// `GET …/local-uploads`. The sandbox has only one region.
pub async fn local_uploads(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    find(&app, &account, &name)?;
    Ok(ok(&json!({ "enabled": false })))
}

/// `GET /accounts/{account}/r2-catalog/{bucket}`. Errors with the code of a disabled catalog, which wrangler knows.
pub async fn catalog(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    find(&app, &account, &name)?;
    Err(CloudflareError::new(404, 40_401, "The data catalog is not enabled for this bucket"))
}

/// `GET` and `DELETE …/configuration/queues/{queue}`. Errors like [`notifications`].
pub async fn notification(
    app: State<App>,
    Path((account, name, _)): Path<(String, String, String)>,
) -> ApiResult {
    notifications(app, Path((account, name))).await
}

/// `GET` and `DELETE …/sippy`. The sandbox migrates nothing into its buckets.
pub async fn sippy(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    find(&app, &account, &name)?;
    Ok(ok(&json!({ "enabled": false })))
}

/// `GET /accounts/{account}/event_notifications/r2/{bucket}/configuration`. Errors, because a bucket of the
/// sandbox has no notifications. The code and the text are the example of Cloudflare's OpenAPI document.
pub async fn notifications(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
) -> ApiResult {
    find(&app, &account, &name)?;
    Err(CloudflareError::new(404, 11_015, "workers.api.error.no_configs_found_for_bucket"))
}

/// `DELETE /accounts/{account}/r2/buckets/{bucket}`. Refuses a bucket that is not empty.
pub async fn delete(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    find(&app, &account, &name)?;
    let operation = json!({ "action": "objectList", "options": { "limit": 1 } });
    let page = StorageTarget::Bucket(&name).json(&app, &account, &operation, "").await?;
    if page["objects"].as_array().is_some_and(|objects| !objects.is_empty()) {
        return Err(CloudflareError::new(
            409,
            10_008,
            "The bucket you tried to delete is not empty.",
        ));
    }
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            resources.buckets.retain(|bucket| bucket.name != name);
            Ok::<_, CloudflareError>(())
        })
    })?;
    Ok(empty_result())
}

/// `PUT …/objects/{object}`
pub async fn put(
    State(app): State<App>,
    Path((account, name, key)): ObjectPath,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let bucket = find(&app, &account, &name)?;
    let mut metadata = Map::new();
    for (name, field) in [
        (CONTENT_TYPE, "contentType"),
        (CONTENT_ENCODING, "contentEncoding"),
        (CACHE_CONTROL, "cacheControl"),
    ] {
        if let Some(value) = header(&headers, name.as_str()) {
            metadata.insert(field.to_owned(), json!(value));
        }
    }
    let class = header(&headers, STORAGE_CLASS_HEADER);
    if let Some(class) = class.filter(|class| *class != bucket.storage_class) {
        check_storage_class(class)?;
        // miniflare ignores the class of an object.
        let text = "The sandbox does not store the storage class of single objects. Set the class of the bucket \
                    with `wrangler r2 bucket update storage-class`";
        return Err(CloudflareError::new(501, 7000, text));
    }
    let operation =
        json!({ "action": "objectPut", "key": key, "options": { "httpMetadata": metadata } });
    let mut stored = StorageTarget::Bucket(&name).json(&app, &account, &operation, body).await?;
    stored["storage_class"] = json!(bucket.storage_class);
    Ok(ok(&stored))
}

/// `GET …/objects/{object}`
pub async fn get(State(app): State<App>, Path((account, name, key)): ObjectPath) -> ApiResult {
    find(&app, &account, &name)?;
    let operation = json!({ "action": "objectGet", "key": key });
    let object = StorageTarget::Bucket(&name).execute(&app, &account, &operation, "").await?;
    let object = object
        .ok_or_else(|| CloudflareError::new(404, 10_007, "The specified key does not exist."))?;
    let mut response = Response::builder();
    for header in ["content-type", "content-encoding", "cache-control", "etag"] {
        if let Some(value) = object.headers().get(header) {
            response = response.header(header, value);
        }
    }
    response.body(object.into_body()).map_err(|error| anyhow::Error::from(error).into())
}

/// `DELETE …/objects/{object}`
pub async fn delete_object(
    State(app): State<App>,
    Path((account, name, key)): ObjectPath,
) -> ApiResult {
    find(&app, &account, &name)?;
    let operation = json!({ "action": "objectDelete", "key": key });
    StorageTarget::Bucket(&name).execute(&app, &account, &operation, "").await?;
    Ok(ok(&json!({ "key": key })))
}

/// The filter and the page of a list of objects.
#[derive(Debug, Deserialize)]
pub struct ObjectQuery {
    prefix: Option<String>,
    cursor: Option<String>,
    per_page: Option<u32>,
}

/// `GET …/objects`
pub async fn objects(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    Query(query): Query<ObjectQuery>,
) -> ApiResult {
    find(&app, &account, &name)?;
    let options =
        json!({ "prefix": query.prefix, "cursor": query.cursor, "limit": query.per_page });
    let operation = json!({ "action": "objectList", "options": without_nulls(options) });
    let page = StorageTarget::Bucket(&name).json(&app, &account, &operation, "").await?;
    let info = json!({ "is_truncated": page["truncated"], "cursor": page["cursor"] });
    Ok(with_info(&page["objects"], &info))
}
