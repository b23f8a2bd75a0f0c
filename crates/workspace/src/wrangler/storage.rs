//! The storage that the bindings of a wrangler config name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::is_cloudflare_id;

/// The storage of an account that bindings name by id or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Storage {
    /// The ids of KV namespaces.
    pub namespaces: Vec<String>,
    /// The ids of D1 databases, with their names.
    pub databases: Vec<(String, String)>,
    /// The names of R2 buckets.
    pub buckets: Vec<String>,
    /// The names of queues that are written to or read from.
    pub queues: Vec<String>,
}

impl Storage {
    /// Returns true if bindings name no storage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Storage::default()
    }

    /// Returns the first id of a KV namespace without Cloudflare's format, such as `<your-id>`.
    #[must_use]
    pub fn namespace_placeholder(&self) -> Option<&str> {
        self.namespaces.iter().map(String::as_str).find(|id| !is_cloudflare_id(id))
    }

    /// Returns the first id of a D1 database without Cloudflare's format, and the name of the database. `None` if the
    /// config has no name, or a placeholder such as `<your-name>`.
    #[must_use]
    pub fn database_placeholder(&self) -> Option<(&str, Option<&str>)> {
        let is_id = |id: &str| {
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && is_cloudflare_id(&id.replace('-', ""))
        };
        let databases = self.databases.iter().map(|(id, name)| (id.as_str(), name.as_str()));
        let (id, name) = databases.into_iter().find(|(id, _)| !is_id(id))?;
        let is_name = name != id && !name.is_empty() && !name.contains(['<', '>', '{', '}', '$']);
        Some((id, Some(name).filter(|_| is_name)))
    }

    /// Reads a block of a config. Blocks of `env` inherit no bindings.
    pub(super) fn from_block(block: &Value) -> Storage {
        let all = |list: &Value, field: &str| -> Vec<String> {
            let entries = list.as_array().into_iter().flatten();
            entries.filter_map(|entry| entry[field].as_str().map(str::to_owned)).collect()
        };
        let databases = block["d1_databases"].as_array().into_iter().flatten();
        let database = |entry: &Value| {
            let id = entry["database_id"].as_str()?.to_owned();
            let name = entry["database_name"].as_str().unwrap_or(&id).to_owned();
            Some((id, name))
        };
        let queues = &block["queues"];
        Storage {
            namespaces: all(&block["kv_namespaces"], "id"),
            databases: databases.filter_map(database).collect(),
            buckets: all(&block["r2_buckets"], "bucket_name"),
            queues: [
                all(&queues["producers"], "queue"),
                all(&queues["consumers"], "queue"),
                all(&queues["consumers"], "dead_letter_queue"),
            ]
            .concat(),
        }
    }
}
