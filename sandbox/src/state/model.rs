//! Defines the stored format of Workers, versions and deployments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::preview::WorkerPreview;
use crate::ids::{now, random_id, uuid};

/// A Worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Worker {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its immutable id.
    pub tag: String,
    /// The time of its creation.
    pub created_on: String,
    /// The uploaded versions, oldest first.
    pub versions: Vec<WorkerVersion>,
    /// The deployments, oldest first. The last one is live.
    pub deployments: Vec<WorkerDeployment>,
    /// The Worker Previews, oldest first.
    #[serde(default)]
    pub previews: Vec<WorkerPreview>,
    /// `true` if `<worker>.<subdomain>.workers.dev` is enabled.
    pub enabled: bool,
    /// `true` if the URLs of versions and aliases are enabled.
    pub previews_enabled: bool,
    /// The host names of its custom domains.
    pub domains: Vec<String>,
    /// The routes in zones, as the client sent them.
    pub routes: Value,
    /// The cron triggers, in the API's format.
    pub schedules: Value,
    /// Its tags.
    pub tags: Vec<String>,
    /// The settings that all versions share, as the client sent them: `observability`, `logpush`,
    /// `tail_consumers` and others.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The tag of the last migration of Durable Objects.
    #[serde(default)]
    pub migration_tag: Option<String>,
    /// The classes of Durable Objects, which migrations or `exports` create.
    #[serde(default)]
    pub classes: Vec<DurableClass>,
    /// `true` if `exports` of an upload declared its classes. Each later version must declare them too.
    #[serde(default)]
    pub declares_classes: bool,
}

/// A class of Durable Objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DurableClass {
    /// The id of its namespace. It does not change when the class is renamed.
    pub id: String,
    /// Its name in the code.
    pub name: String,
    /// `true` if its storage is SQLite.
    pub sqlite: bool,
}

/// The exports of a version's code. workerd reports them when it loads the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Exports {
    /// The handlers of the default export: `fetch`, `scheduled`, `queue` and so on.
    pub handlers: Vec<String>,
    /// The other exports, which bindings can name.
    pub entrypoints: Vec<Entrypoint>,
    /// The names of the exports that workerd can load. Empty if it can load all. workerd does not start with an export
    /// such as a text, which Cloudflare ignores (<https://github.com/cloudflare/workers-sdk/issues/10626>).
    pub loadable: Vec<String>,
}

/// An export that a binding can name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entrypoint {
    /// Its name.
    pub name: String,
    /// `durable-object`, `workflow`, `worker`, or `class` for a class that extends none of these.
    pub kind: String,
    /// Its handlers.
    pub handlers: Vec<String>,
}

/// The kind of an entrypoint that is a class of Durable Objects.
pub const DURABLE_OBJECT: &str = "durable-object";

/// The kind of an entrypoint that is a workflow.
pub const WORKFLOW: &str = "workflow";

/// The kind of an entrypoint that extends no class of the runtime. It can be a class of Durable Objects.
const PLAIN_CLASS: &str = "class";

/// The handlers that the API lists. Other Workers call the other methods of an entrypoint.
pub const HANDLERS: [&str; 8] =
    ["fetch", "scheduled", "queue", "email", "tail", "tailStream", "trace", "alarm"];

/// The methods that the runtime calls for events. They are not callable over RPC.
pub const EVENT_HANDLERS: [&str; 12] = [
    "fetch",
    "scheduled",
    "queue",
    "email",
    "tail",
    "tailStream",
    "trace",
    "test",
    "alarm",
    "webSocketMessage",
    "webSocketClose",
    "webSocketError",
];

impl Exports {
    /// Returns whether a class of this kind is exported.
    #[must_use]
    pub fn has_class(&self, name: &str, kind: &str) -> bool {
        self.entrypoints.iter().any(|entrypoint| {
            entrypoint.name == name
                && (entrypoint.kind == kind
                    || (kind == DURABLE_OBJECT && entrypoint.kind == PLAIN_CLASS))
        })
    }

    /// Returns whether a class is exported that extends the runtime's class of Durable Objects.
    #[must_use]
    pub fn has_durable_object(&self, name: &str) -> bool {
        self.durable_objects().any(|class| class == name)
    }

    /// Lists the exported classes that extend the runtime's class of Durable Objects.
    pub fn durable_objects(&self) -> impl Iterator<Item = &str> {
        let classes =
            self.entrypoints.iter().filter(|entrypoint| entrypoint.kind == DURABLE_OBJECT);
        classes.map(|entrypoint| entrypoint.name.as_str())
    }

    /// Returns whether other Workers can call a method over RPC. The handlers of events do not count.
    #[must_use]
    pub fn has_methods(&self) -> bool {
        let is_method = |name: &String| !EVENT_HANDLERS.contains(&name.as_str());
        let has_method = |entrypoint: &Entrypoint| {
            matches!(&*entrypoint.kind, "worker" | DURABLE_OBJECT)
                && entrypoint.handlers.iter().any(is_method)
        };
        self.handlers.iter().any(is_method) || self.entrypoints.iter().any(has_method)
    }

    /// Returns whether a binding can name this export.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entrypoints.iter().any(|entrypoint| entrypoint.name == name)
    }
}

/// An uploaded version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorkerVersion {
    /// Its id.
    pub id: String,
    /// The number in its Worker, from 1.
    pub number: usize,
    /// The time when it was uploaded.
    pub created_on: String,
    /// `workers/tag`, `workers/message`, `workers/alias`.
    pub annotations: BTreeMap<String, String>,
    /// The name of the entry module. `None` if the version has no code.
    pub main_module: Option<String>,
    /// The modules.
    pub modules: Vec<StoredModule>,
    /// The bindings in the API's format, including the texts of secrets.
    pub bindings: Vec<Value>,
    /// The compatibility date.
    pub compatibility_date: String,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// The assets. `None` if the version has none.
    pub assets: Option<Assets>,
    /// The exports of its code. `None` for a version with only assets.
    #[serde(default)]
    pub exports: Option<Exports>,
    /// The limits on CPU time and subrequests, as the client sent them.
    #[serde(default)]
    pub limits: Value,
    /// The placement, as the client sent it.
    #[serde(default)]
    pub placement: Value,
    /// The `exports` that declare its classes, as the client sent them.
    #[serde(default)]
    pub declared_exports: Value,
}

/// A module of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredModule {
    /// The name by which other modules import it.
    pub name: String,
    /// Its content type, which determines how workerd loads it.
    pub content_type: String,
    /// The hash of its content.
    pub blob: String,
}

/// The assets of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Assets {
    /// The hash of the manifest, which has the paths, hashes and sizes of all files.
    pub manifest: String,
    /// The number of files.
    pub files: usize,
    /// `html_handling`, `not_found_handling`, `run_worker_first`, `_headers`, `_redirects`.
    pub config: Value,
}

/// One asset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Asset {
    /// The hash from the client, 32 hexadecimal digits.
    pub hash: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A deployment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorkerDeployment {
    /// Its id.
    pub id: String,
    /// The time of its creation.
    pub created_on: String,
    /// `workers/message`.
    pub annotations: BTreeMap<String, String>,
    /// The versions with their shares of the traffic.
    pub versions: Vec<TrafficShare>,
}

/// The share of the traffic that a version gets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TrafficShare {
    /// The id of the version.
    pub version_id: String,
    /// The share in percent.
    pub percentage: f64,
}

impl Worker {
    /// Makes a Worker without versions.
    #[must_use]
    pub fn new(account: &str, name: &str) -> Worker {
        Worker {
            account: account.to_owned(),
            name: name.to_owned(),
            tag: random_id(),
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
            declares_classes: false,
        }
    }

    /// Returns a version.
    #[must_use]
    pub fn version(&self, id: &str) -> Option<&WorkerVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// Returns the version that gets most of the traffic. `None` if no version is deployed.
    #[must_use]
    pub fn live(&self) -> Option<&WorkerVersion> {
        self.main_version(self.deployments.last()?)
    }

    /// Returns the version that gets most of the traffic of a deployment. `None` if it was deleted.
    #[must_use]
    pub fn main_version(&self, deployment: &WorkerDeployment) -> Option<&WorkerVersion> {
        let shares = deployment.versions.iter();
        let largest = shares.max_by(|a, b| a.percentage.total_cmp(&b.percentage))?;
        self.version(&largest.version_id)
    }

    /// Returns the versions that get traffic, with their percentages.
    pub fn serving(&self) -> impl Iterator<Item = (&WorkerVersion, f64)> {
        let shares =
            self.deployments.last().map_or(&[] as &[TrafficShare], |last| last.versions.as_slice());
        let shares = shares.iter().filter(|share| share.percentage > 0.0);
        shares.filter_map(|share| Some((self.version(&share.version_id)?, share.percentage)))
    }

    /// Returns the version that serves a request. `percentile` is a number from 0 to 100, by which one of several
    /// versions is selected.
    #[must_use]
    pub fn version_at(&self, percentile: f64) -> Option<&WorkerVersion> {
        let mut end = 0.0;
        for (version, percentage) in self.serving() {
            end += percentage;
            if percentile < end {
                return Some(version);
            }
        }
        self.live()
    }

    /// Returns the newest version with this alias.
    #[must_use]
    pub fn alias(&self, alias: &str) -> Option<&WorkerVersion> {
        let has_alias = |version: &&WorkerVersion| {
            version.annotations.get("workers/alias").is_some_and(|a| a == alias)
        };
        self.versions.iter().rev().find(has_alias)
    }

    /// Adds a deployment, which makes its versions live. Returns the id of the deployment.
    pub fn deploy(
        &mut self,
        versions: Vec<TrafficShare>,
        annotations: BTreeMap<String, String>,
    ) -> String {
        let id = uuid();
        let created_on = now();
        self.deployments.push(WorkerDeployment {
            id: id.clone(),
            created_on,
            annotations,
            versions,
        });
        id
    }
}

/// Returns the shares that route all traffic to one version.
#[must_use]
pub fn full_traffic(version: &str) -> Vec<TrafficShare> {
    vec![TrafficShare { version_id: version.to_owned(), percentage: 100.0 }]
}
