//! Defines the shape of what is deployed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::preview::Preview;
use crate::ids::{hex, now, random, uuid};

/// A Worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Worker {
    /// The account that it belongs to.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its immutable id.
    pub tag: String,
    /// The time when it was made.
    pub created_on: String,
    /// Uploaded versions, oldest first.
    pub versions: Vec<Version>,
    /// Deployments, oldest first. The last one is live.
    pub deployments: Vec<Deployment>,
    /// Worker Previews, in the order they were made.
    #[serde(default)]
    pub previews: Vec<Preview>,
    /// Whether `<worker>.<subdomain>.workers.dev` is on.
    pub enabled: bool,
    /// Whether version and alias addresses are on.
    pub previews_enabled: bool,
    /// Custom domains.
    pub domains: Vec<String>,
    /// Zone routes, as sent.
    pub routes: Value,
    /// Cron triggers, as sent.
    pub schedules: Value,
    /// Tags of the service.
    pub tags: Vec<String>,
    /// What belongs to the Worker rather than to a version, as sent: `observability`, `logpush`,
    /// `tail_consumers` and the like.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The tag of the last migration of Durable Objects.
    #[serde(default)]
    pub migration_tag: Option<String>,
    /// The classes of Durable Objects that migrations made.
    #[serde(default)]
    pub classes: Vec<DurableClass>,
}

/// A class of Durable Objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DurableClass {
    /// The id of its namespace, which a rename keeps.
    pub id: String,
    /// The class's name in the code.
    pub name: String,
    /// Whether its storage is SQLite.
    pub sqlite: bool,
}

/// What the code of a version exports, as workerd found when it loaded it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Exports {
    /// The handlers of the default export: `fetch`, `scheduled`, `queue` and so on.
    pub handlers: Vec<String>,
    /// The other exports that can be bound to.
    pub entrypoints: Vec<Entrypoint>,
}

/// An export that can be bound to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entrypoint {
    /// Its name.
    pub name: String,
    /// `durable-object`, `workflow`, `worker`, or `class` for a class that extends none of these.
    pub kind: String,
    /// Its handlers.
    pub handlers: Vec<String>,
}

impl Exports {
    /// Whether a class of this name can be bound to.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entrypoints.iter().any(|entrypoint| entrypoint.name == name)
    }
}

/// An uploaded version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Version {
    /// Its id.
    pub id: String,
    /// Counted from 1 in each Worker.
    pub number: usize,
    /// The time when it was uploaded.
    pub created_on: String,
    /// `workers/tag`, `workers/message`, `workers/alias`.
    pub annotations: BTreeMap<String, String>,
    /// The entry module. `None` if it has no code.
    pub main_module: Option<String>,
    /// The modules.
    pub modules: Vec<Module>,
    /// The bindings, secrets with their text.
    pub bindings: Vec<Value>,
    /// The compatibility date.
    pub compatibility_date: String,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// The assets. `None` if it has none.
    pub assets: Option<Assets>,
    /// What its code exports. `None` for a version of assets alone.
    #[serde(default)]
    pub exports: Option<Exports>,
    /// The limits on CPU time and subrequests, as sent.
    #[serde(default)]
    pub limits: Value,
    /// Where it runs, as sent.
    #[serde(default)]
    pub placement: Value,
}

/// A module of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Module {
    /// Its name, by which others import it.
    pub name: String,
    /// Its content type, which decides what it is.
    pub content_type: String,
    /// Its content, by hash.
    pub blob: String,
}

/// The assets of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Assets {
    /// Paths and hashes: a manifest, by the hash of its content.
    pub manifest: String,
    /// The number of files.
    pub files: usize,
    /// `html_handling`, `not_found_handling`, `run_worker_first`, `_headers`, `_redirects`.
    pub config: Value,
}

/// One asset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Asset {
    /// The hash that wrangler gives it.
    pub hash: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A deployment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The time when it was made.
    pub created_on: String,
    /// `workers/message`.
    pub annotations: BTreeMap<String, String>,
    /// The versions with their parts of the traffic.
    pub versions: Vec<Share>,
}

/// A version's part of the traffic.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Share {
    /// The version.
    pub version_id: String,
    /// Percent.
    pub percentage: f64,
}

impl Worker {
    /// Makes a Worker without any version.
    #[must_use]
    pub fn new(account: &str, name: &str) -> Worker {
        Worker {
            account: account.to_owned(),
            name: name.to_owned(),
            tag: hex(&random::<16>()),
            created_on: now(),
            versions: Vec::new(),
            deployments: Vec::new(),
            previews: Vec::new(),
            enabled: false,
            previews_enabled: false,
            domains: Vec::new(),
            routes: Value::Array(Vec::new()),
            schedules: Value::Array(Vec::new()),
            tags: Vec::new(),
            settings: Map::new(),
            migration_tag: None,
            classes: Vec::new(),
        }
    }

    /// Returns a version.
    #[must_use]
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// Returns the version that gets most of the traffic.
    #[must_use]
    pub fn live(&self) -> Option<&Version> {
        let shares = &self.deployments.last()?.versions;
        let most = shares.iter().max_by(|a, b| a.percentage.total_cmp(&b.percentage))?;
        self.version(&most.version_id)
    }

    /// Returns the newest version with this alias.
    #[must_use]
    pub fn alias(&self, alias: &str) -> Option<&Version> {
        let has = |version: &&Version| {
            version.annotations.get("workers/alias").is_some_and(|a| a == alias)
        };
        self.versions.iter().rev().find(has)
    }

    /// Makes versions live.
    pub fn deploy(
        &mut self,
        versions: Vec<Share>,
        annotations: BTreeMap<String, String>,
    ) -> String {
        let id = uuid();
        let created_on = now();
        self.deployments.push(Deployment { id: id.clone(), created_on, annotations, versions });
        id
    }
}

/// Gives all of the traffic to one version.
#[must_use]
pub fn whole(version: &str) -> Vec<Share> {
    vec![Share { version_id: version.to_owned(), percentage: 100.0 }]
}
