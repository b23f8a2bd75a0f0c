//! The shape of what is deployed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// When it was made.
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
}

/// An uploaded version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Version {
    /// Its id.
    pub id: String,
    /// Counted from 1 in each Worker.
    pub number: usize,
    /// When it was uploaded.
    pub created_on: String,
    /// `workers/tag`, `workers/message`, `workers/alias`.
    pub annotations: BTreeMap<String, String>,
    /// The entry module, when it has code.
    pub main_module: Option<String>,
    /// The modules.
    pub modules: Vec<Module>,
    /// The bindings, secrets with their text.
    pub bindings: Vec<Value>,
    /// The compatibility date.
    pub compatibility_date: String,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// The assets, when it has any.
    pub assets: Option<Assets>,
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
    /// How many files there are.
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
    /// When it was made.
    pub created_on: String,
    /// `workers/message`.
    pub annotations: BTreeMap<String, String>,
    /// Which versions get how much of the traffic.
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
    /// A Worker without any version.
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
        }
    }

    /// The version of this id.
    #[must_use]
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that gets most of the traffic.
    #[must_use]
    pub fn live(&self) -> Option<&Version> {
        let shares = &self.deployments.last()?.versions;
        let most = shares.iter().max_by(|a, b| a.percentage.total_cmp(&b.percentage))?;
        self.version(&most.version_id)
    }

    /// The newest version with this alias.
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

/// All of the traffic to one version.
#[must_use]
pub fn whole(version: &str) -> Vec<Share> {
    vec![Share { version_id: version.to_owned(), percentage: 100.0 }]
}
