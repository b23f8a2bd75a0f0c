//! Stores an account's KV namespaces, D1 databases, R2 buckets, queues and workflows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::seal::{seal, unseal};
use super::{RESTORE_OR_DELETE, remove_temporary, report_damage, write_durably};
use crate::ids::{now, random_id, uuid};
use crate::mutex::lock;

/// The resources of one account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Resources {
    /// KV namespaces, oldest first.
    pub namespaces: Vec<Namespace>,
    /// D1 databases, oldest first.
    pub databases: Vec<Database>,
    /// R2 buckets, oldest first.
    pub buckets: Vec<Bucket>,
    /// Queues, oldest first.
    pub queues: Vec<Queue>,
    /// Workflows, oldest first.
    pub workflows: Vec<StoredWorkflow>,
    /// The local databases of Hyperdrive bindings.
    pub hyperdrives: Vec<LocalHyperdrive>,
    /// The projects of Workers, from xtask.
    pub projects: Vec<WorkerOrigin>,
    /// The default values of secrets, from xtask.
    pub default_secrets: Vec<DefaultSecrets>,
    /// The changed settings of Workers in the account.
    pub account_settings: Map<String, Value>,
}

/// A KV namespace.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Namespace {
    /// Its id, which bindings use.
    pub id: String,
    /// Its display name.
    pub title: String,
}

/// A D1 database.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Database {
    /// Its id, which bindings use.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The time of its creation.
    pub created_at: String,
    /// The requested location, in upper case.
    #[serde(default)]
    pub region: Option<String>,
    /// The requested jurisdiction.
    #[serde(default)]
    pub jurisdiction: Option<String>,
}

/// An R2 bucket.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Bucket {
    /// Its name, which bindings use.
    pub name: String,
    /// The time of its creation.
    pub creation_date: String,
    /// The location, in lower case.
    pub location: String,
    /// `Standard` or `InfrequentAccess`.
    pub storage_class: String,
    /// The requested jurisdiction.
    #[serde(default)]
    pub jurisdiction: Option<String>,
    /// The CORS rules, as the client sent them.
    #[serde(default)]
    pub cors: Option<Value>,
    /// The lifecycle rules. `None` if they were never changed.
    #[serde(default)]
    pub lifecycle: Option<Value>,
}

/// The default number of retries of a message
/// (<https://developers.cloudflare.com/queues/configuration/configure-queues/>).
pub const DEFAULT_MAX_RETRIES: u64 = 3;

/// The default time after which messages are dropped, in seconds.
pub const DEFAULT_RETENTION: u64 = 345_600;

/// A queue.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Queue {
    /// Its id.
    pub id: String,
    /// Its name, which bindings use.
    pub name: String,
    /// The time of its creation.
    pub created_on: String,
    /// The time of its last change.
    pub modified_on: String,
    /// `delivery_delay`, `delivery_paused` and `message_retention_period`, as the client sent them.
    pub settings: Value,
    /// Its consumers. The API allows one.
    pub consumers: Vec<Consumer>,
    /// The time of the latest purge. `None` if there was none.
    #[serde(default)]
    pub purged_on: Option<String>,
}

/// A consumer of a queue.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Consumer {
    /// Its id.
    pub id: String,
    /// `worker` or `http_pull`.
    pub kind: String,
    /// The name of the Worker. `None` if clients pull the messages.
    pub script: Option<String>,
    /// `batch_size`, `max_retries`, `max_wait_time_ms`, `retry_delay` and `max_concurrency`, as the client sent them.
    pub settings: Value,
    /// The queue for messages that failed too often.
    pub dead_letter_queue: Option<String>,
    /// The time of its creation.
    pub created_on: String,
}

impl Queue {
    /// Makes a queue without consumers.
    #[must_use]
    pub fn new(name: &str, settings: Value) -> Queue {
        let time = now();
        Queue {
            id: random_id(),
            name: name.to_owned(),
            created_on: time.clone(),
            modified_on: time,
            settings,
            consumers: Vec::new(),
            purged_on: None,
        }
    }

    /// Returns whether clients pull its messages over HTTP.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.kind == "http_pull")
    }

    /// Returns whether a Worker consumes its messages. Otherwise the sandbox stores them.
    #[must_use]
    pub fn has_worker(&self) -> bool {
        !self.consumers.is_empty() && !self.is_pulled()
    }

    /// Returns whether its delivery is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.settings["delivery_paused"] == true
    }
}

/// The project and the environment that a Worker belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WorkerOrigin {
    /// The Worker.
    pub worker: String,
    /// The project's name.
    pub project: String,
    /// The environment.
    pub environment: String,
}

/// The default values of a Worker's secrets. A value that a client sets replaces a default.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct DefaultSecrets {
    /// The Worker.
    pub worker: String,
    /// The values by name.
    pub values: BTreeMap<String, String>,
}

// Hides the values.
impl fmt::Debug for DefaultSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("DefaultSecrets")
            .field("worker", &self.worker)
            .field("names", &names)
            .finish()
    }
}

/// The local database of a Hyperdrive binding.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LocalHyperdrive {
    /// Its id, which bindings use.
    pub id: String,
    /// The connection string. `None` if the project names no local database.
    pub address: Option<String>,
}

/// A workflow.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredWorkflow {
    /// Its id.
    pub id: String,
    /// Its name, which bindings use.
    pub name: String,
    /// The Worker that has its class.
    pub script_name: String,
    /// The class.
    pub class_name: String,
    /// The time of its creation.
    pub created_on: String,
    /// The time of its last change.
    pub modified_on: String,
}

impl Resources {
    /// Adds a KV namespace with a new id.
    pub fn add_namespace(&mut self, title: &str) -> Namespace {
        let created = Namespace { id: random_id(), title: title.to_owned() };
        self.namespaces.push(created.clone());
        created
    }

    /// Adds a D1 database with a new id.
    pub fn add_database(
        &mut self,
        name: &str,
        region: Option<String>,
        jurisdiction: Option<String>,
    ) -> Database {
        let created = Database {
            uuid: uuid(),
            name: name.to_owned(),
            created_at: now(),
            region,
            jurisdiction,
        };
        self.databases.push(created.clone());
        created
    }

    /// Returns a D1 database by its id or its name.
    #[must_use]
    pub fn database(&self, identifier: &str) -> Option<&Database> {
        self.databases
            .iter()
            .find(|database| database.uuid == identifier || database.name == identifier)
    }

    /// Returns an R2 bucket.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name == name)
    }

    /// Returns a queue by its name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    /// Returns the default secrets of a Worker. `None` if it has none.
    #[must_use]
    pub fn default_secrets(&self, worker: &str) -> Option<&DefaultSecrets> {
        self.default_secrets.iter().find(|default_secret| default_secret.worker == worker)
    }

    /// Returns a workflow.
    #[must_use]
    pub fn workflow(&self, name: &str) -> Option<&StoredWorkflow> {
        self.workflows.iter().find(|workflow| workflow.name == name)
    }
}

/// The resources of all accounts. Requests read from memory. A change is written to disk before memory.
#[derive(Debug)]
pub struct ResourceStore {
    dir: Utf8PathBuf,
    accounts: Mutex<BTreeMap<String, Arc<Resources>>>,
    /// Accounts whose state file cannot be read, with the reason.
    damaged: BTreeMap<String, String>,
    write_lock: Mutex<()>,
}

impl ResourceStore {
    /// Opens the resources in the folder `state`. Creates the folder if it is missing.
    pub fn open(state: &Utf8Path) -> Result<ResourceStore> {
        let dir = state.join("cloudflare/resources");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir}"))?;
        remove_temporary(&dir)?;
        let (mut accounts, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for entry in dir.read_dir_utf8()? {
            let entry = entry?;
            let path = entry.path();
            let Some(account) = entry.file_name().strip_suffix(".json") else { continue };
            let read = std::fs::read(path).context("it cannot be read");
            match read.and_then(|bytes| unseal(&bytes)) {
                Ok(resources) => drop(accounts.insert(account.to_owned(), Arc::new(resources))),
                Err(error) => {
                    let message = report_damage(path, &error, RESTORE_OR_DELETE);
                    damaged.insert(account.to_owned(), message);
                }
            }
        }
        Ok(ResourceStore {
            dir,
            accounts: Mutex::new(accounts),
            damaged,
            write_lock: Mutex::default(),
        })
    }

    /// Returns the resources of an account. Errors if their state file is damaged.
    pub fn get(&self, account: &str) -> Result<Arc<Resources>> {
        match self.damaged.get(account) {
            Some(reason) => Err(anyhow!("{reason}")),
            None => Ok(self.lock().get(account).cloned().unwrap_or_default()),
        }
    }

    /// Changes the resources of an account. If `change` or the write fails, nothing is changed.
    pub fn change<T, E: From<anyhow::Error>>(
        &self,
        account: &str,
        change: impl FnOnce(&mut Resources) -> Result<T, E>,
    ) -> Result<T, E> {
        let _guard = lock(&self.write_lock);
        let mut resources = Arc::unwrap_or_clone(self.get(account)?);
        let result = change(&mut resources)?;
        write_durably(&self.dir.join(format!("{account}.json")), &seal(&resources)?)?;
        self.lock().insert(account.to_owned(), Arc::new(resources));
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Resources>>> {
        lock(&self.accounts)
    }
}
