//! Reads and writes data in KV, D1 and R2, through a helper Worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::envelope::CloudflareError;
use crate::app::App;
use crate::ids::now;
use crate::serve::group::{NodeRole, VersionNode};
use crate::serve::proxy;
use crate::serve::runtime::LoadedGroup;
use crate::state::model::{Exports, StoredModule, Worker, WorkerVersion};
use crate::stream;

/// The code of the helper Worker.
const CODE: &str = include_str!("../../runtime/storage.js");

/// The name of its entry module.
const MAIN: &str = "storage.js";

/// The compatibility date of the helper Worker.
const DATE: &str = "2026-01-01";

/// A resource that stores data of Workers.
#[derive(Clone, Debug)]
pub enum StorageTarget<'a> {
    /// A KV namespace, by its id.
    Namespace(&'a str),
    /// A D1 database, by its id.
    Database(&'a str),
    /// An R2 bucket, by its name.
    Bucket(&'a str),
}

/// The response to an operation. The helper Worker stays loaded until this is dropped.
#[derive(Debug)]
pub struct StorageResponse {
    response: reqwest::Response,
    loaded: Arc<LoadedGroup>,
}

impl StorageResponse {
    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Reads the whole body.
    pub async fn bytes(self) -> Result<Bytes, CloudflareError> {
        Ok(self.response.bytes().await.map_err(anyhow::Error::from)?)
    }

    /// Returns the body as a stream.
    pub fn into_body(self) -> Body {
        Body::from_stream(stream::keep_alive(self.response.bytes_stream(), self.loaded))
    }
}

/// Removes the fields of `options` that are null.
#[must_use]
pub fn without_nulls(mut options: Value) -> Value {
    if let Some(fields) = options.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    options
}

impl StorageTarget<'_> {
    /// Returns the binding of the helper Worker, and the id or name of the resource.
    fn binding(&self) -> (Value, &str) {
        match self {
            StorageTarget::Namespace(id) => {
                (json!({ "name": "STORE", "type": "kv_namespace", "namespace_id": id }), id)
            }
            StorageTarget::Database(id) => (json!({ "name": "STORE", "type": "d1", "id": id }), id),
            StorageTarget::Bucket(name) => {
                (json!({ "name": "STORE", "type": "r2_bucket", "bucket_name": name }), name)
            }
        }
    }

    /// Makes the error for an operation that failed, with the code of the product.
    fn error(&self, text: &str) -> CloudflareError {
        let code = match self {
            // Captured from the API (alchemy-run/distilled, `patches/kv/putNamespaceValue.json`).
            StorageTarget::Namespace(_) if text.contains("Invalid expiration") => 10_034,
            // miniflare's code for the errors of its API, which copies Cloudflare's.
            StorageTarget::Namespace(_) | StorageTarget::Bucket(_) => 10_001,
            // For each error of SQLite, with its text (<https://github.com/cloudflare/workers-sdk/issues/15690>).
            StorageTarget::Database(_) => 7500,
        };
        CloudflareError::new(400, code, text)
    }

    /// Executes an operation with `body` as its input. Returns `None` if its key or object does not exist.
    pub async fn execute(
        &self,
        app: &App,
        account: &str,
        operation: &Value,
        body: impl Into<Bytes>,
    ) -> Result<Option<StorageResponse>, CloudflareError> {
        let blob = tokio::task::block_in_place(|| app.store.blobs.add(CODE.as_bytes()))?;
        let node = self.helper(account, blob);
        let loaded = app.runtime.load(&app.store, &node).await?;
        let header = utf8_percent_encode(&operation.to_string(), NON_ALPHANUMERIC).to_string();
        let request = proxy::client().post(format!("http://127.0.0.1:{}/", loaded.port));
        let request = request.header(proxy::MEMBER_HEADER, node.name()).header("operation", header);
        let response = request.body(reqwest::Body::from(body.into())).send().await;
        let response = response.map_err(|error| anyhow::Error::from(error.without_url()))?;
        match response.status().as_u16() {
            200 => Ok(Some(StorageResponse { response, loaded })),
            404 => Ok(None),
            _ => {
                let text = response.text().await.map_err(anyhow::Error::from)?;
                Err(self.error(&text))
            }
        }
    }

    /// Makes the helper Worker, which has a binding to the resource. `blob` has its code.
    fn helper(&self, account: &str, blob: String) -> VersionNode {
        let (binding, name) = self.binding();
        let mut worker = Worker::new(account, "sandbox-storage");
        let version = WorkerVersion {
            // The id is the same for each operation, so that the Worker stays loaded.
            id: format!("storage-{account}-{}", blake3::hash(name.as_bytes()).to_hex()),
            number: 1,
            created_on: now(),
            annotations: BTreeMap::new(),
            main_module: Some(MAIN.to_owned()),
            modules: vec![StoredModule {
                name: MAIN.to_owned(),
                content_type: "application/javascript+module".to_owned(),
                blob,
            }],
            bindings: vec![binding],
            compatibility_date: DATE.to_owned(),
            compatibility_flags: Vec::new(),
            assets: None,
            exports: Some(Exports::default()),
            limits: Value::Null,
            placement: Value::Null,
            declared_exports: Value::Null,
        };
        let id = version.id.clone();
        worker.versions.push(version);
        VersionNode { worker: Arc::new(worker), id, role: NodeRole::Uploaded }
    }

    /// Executes an operation whose result is JSON.
    pub async fn json(
        &self,
        app: &App,
        account: &str,
        operation: &Value,
        body: impl Into<Bytes>,
    ) -> Result<Value, CloudflareError> {
        match self.execute(app, account, operation, body).await? {
            Some(response) => {
                let bytes = response.bytes().await?;
                Ok(serde_json::from_slice(&bytes).map_err(anyhow::Error::from)?)
            }
            None => Err(CloudflareError::new(404, 10_009, "key not found")),
        }
    }
}
