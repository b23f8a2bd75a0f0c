//! Reads and writes data in KV, D1 and R2: in the group of a Worker that uses the data, because two processes
//! refuse each other's writes, and else in a helper Worker.

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
use crate::serve::runtime::{LoadedGroup, STORAGE_MODULE};
use crate::state::model::{Exports, StoredModule, Worker, WorkerVersion};
use crate::stream;

/// The name of its entry module.
const MAIN: &str = "storage.js";

/// The compatibility date of the helper Worker.
const DATE: &str = "2026-01-01";

/// A resource that holds data of Workers.
#[derive(Clone, Debug)]
pub enum StorageTarget<'a> {
    /// A KV namespace, by its id.
    Namespace(&'a str),
    /// A D1 database, by its id.
    Database(&'a str),
    /// An R2 bucket, by its name.
    Bucket(&'a str),
}

/// The response to an operation. It keeps its group loaded.
#[derive(Debug)]
pub struct StorageAnswer {
    response: reqwest::Response,
    loaded: Arc<LoadedGroup>,
}

impl StorageAnswer {
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

impl StorageTarget<'_> {
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

    /// Returns the live version of a Worker with a binding to this storage.
    fn user(&self, app: &App, account: &str) -> Option<VersionNode> {
        let (own, _) = self.binding();
        let fields = ["type", "namespace_id", "id", "bucket_name"];
        let is_same = |one: &Value| fields.iter().all(|field| one[field] == own[field]);
        let workers = app.store.workers();
        workers.iter().filter(|worker| worker.account == account).find_map(|worker| {
            let version = worker.live()?;
            let is_user = version.bindings.iter().any(is_same);
            is_user.then(|| VersionNode::new(worker, &version.id))
        })
    }

    /// Returns the name of this storage in the groups that use it.
    fn store_name(&self) -> String {
        match self {
            StorageTarget::Namespace(id) => format!("@store kv {id}"),
            StorageTarget::Database(id) => format!("@store d1 {id}"),
            StorageTarget::Bucket(name) => format!("@store r2 {name}"),
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

    /// Executes an operation. `None` if its key or object does not exist.
    pub async fn order(
        &self,
        app: &App,
        account: &str,
        order: &Value,
        body: impl Into<Bytes>,
    ) -> Result<Option<StorageAnswer>, CloudflareError> {
        let body = body.into();
        let header = utf8_percent_encode(&order.to_string(), NON_ALPHANUMERIC).to_string();
        if let Some(user) = self.user(app, account)
            && let Ok(loaded) = app.runtime.load(&app.store, &user).await
        {
            let request = proxy::client().post(format!("http://127.0.0.1:{}/", loaded.port));
            let request = request.header(proxy::ORDER_HEADER, "store").header("order", &header);
            let request = request.header(proxy::STORE_HEADER, self.store_name());
            match request.body(body.clone()).send().await {
                Err(error) if error.is_connect() => {}
                sent => return self.answer(sent, loaded).await,
            }
        }
        let (binding, name) = self.binding();
        let blob = tokio::task::block_in_place(|| app.store.blobs.add(STORAGE_MODULE.as_bytes()))?;
        let mut worker = Worker::new(account, "sandbox-storage");
        let version = WorkerVersion {
            // The id is the same for each call, so that the Worker stays loaded.
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
        };
        let id = version.id.clone();
        worker.versions.push(version);
        let node = VersionNode { worker: Arc::new(worker), id, role: NodeRole::Uploaded };
        let loaded = app.runtime.load(&app.store, &node).await?;
        let request = proxy::client().post(format!("http://127.0.0.1:{}/", loaded.port));
        let request = request.header(proxy::MEMBER_HEADER, node.name()).header("order", header);
        self.answer(request.body(body).send().await, loaded).await
    }

    /// Returns the response of a group to an operation. Keeps the group loaded until its last byte.
    async fn answer(
        &self,
        sent: reqwest::Result<reqwest::Response>,
        loaded: Arc<LoadedGroup>,
    ) -> Result<Option<StorageAnswer>, CloudflareError> {
        let response = sent.map_err(|error| anyhow::Error::from(error.without_url()))?;
        match response.status().as_u16() {
            200 => Ok(Some(StorageAnswer { response, loaded })),
            404 => Ok(None),
            _ => {
                let text = response.text().await.map_err(anyhow::Error::from)?;
                Err(self.error(&text))
            }
        }
    }

    /// Executes an operation whose result is JSON.
    pub async fn json(
        &self,
        app: &App,
        account: &str,
        order: &Value,
        body: impl Into<Bytes>,
    ) -> Result<Value, CloudflareError> {
        match self.order(app, account, order, body).await? {
            Some(answer) => {
                let bytes = answer.bytes().await?;
                Ok(serde_json::from_slice(&bytes).map_err(anyhow::Error::from)?)
            }
            None => Err(CloudflareError::new(404, 10_009, "key not found")),
        }
    }
}
