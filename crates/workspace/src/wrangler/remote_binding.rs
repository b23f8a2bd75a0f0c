//! Finds the bindings of a wrangler config that only Cloudflare can run.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A binding that has no local form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteBinding {
    /// Its name in the code, or the class of a container.
    pub name: String,
    /// The field of the wrangler config that declares it.
    pub field: String,
    /// The variable that makes it available locally. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

impl fmt::Display for RemoteBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.field)
    }
}

/// The fields for bindings that miniflare does not run without Cloudflare, one or a list of them
/// (wrangler 4.164).
const FIELDS: [&str; 18] = [
    "agent_memory",
    "ai",
    "ai_search",
    "ai_search_namespaces",
    "analytics",
    "artifacts",
    "browser",
    "dispatch_namespaces",
    "flagship",
    "k2",
    "media",
    "mtls_certificates",
    "pipelines",
    "secrets_store_secrets",
    "stream",
    "vectorize",
    "vpc_networks",
    "vpc_services",
];

/// Kinds of unsafe bindings that are uploaded like the bindings of a field: `ratelimit` was one before wrangler had
/// the field `ratelimits`.
const LOCAL: [&str; 1] = ["ratelimit"];

/// The prefix of the variables that name a local database, as `wrangler dev` reads them.
pub const HYPERDRIVE: &str = "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_";

/// Lists the bindings of a block of a wrangler config that have no local form.
#[must_use]
pub fn remote_bindings(block: &Value) -> Vec<RemoteBinding> {
    let mut found = Vec::new();
    let mut add = |field: &str, name: &Value, variable: Option<String>| {
        if let Some(name) = name.as_str() {
            found.push(RemoteBinding { name: name.to_owned(), field: field.to_owned(), variable });
        }
    };
    for field in FIELDS {
        for entry in entries(&block[field]) {
            add(field, &entry["binding"], None);
        }
    }
    let is_local =
        |entry: &&Value| entry["type"].as_str().is_some_and(|kind| LOCAL.contains(&kind));
    for entry in entries(&block["unsafe"]["bindings"]).filter(|entry| !is_local(entry)) {
        add("unsafe", &entry["name"], None);
    }
    for entry in entries(&block["logfwdr"]["bindings"]) {
        add("logfwdr", &entry["name"], None);
    }
    for entry in entries(&block["containers"]) {
        add("containers", &entry["class_name"], None);
    }
    for entry in entries(&block["hyperdrive"]).filter(|one| local_address(one).is_none()) {
        let variable = entry["binding"].as_str().map(|name| format!("{HYPERDRIVE}{name}"));
        add("hyperdrive", &entry["binding"], variable);
    }
    found
}

/// A Hyperdrive binding with the connection string of a local database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hyperdrive {
    /// Its name in the code.
    pub name: String,
    /// Its id, which versions refer to.
    pub id: String,
    /// `localConnectionString`, which may contain a password. `None` if it is not set.
    pub address: Option<String>,
}

/// Lists the Hyperdrive bindings of a block of a wrangler config.
#[must_use]
pub fn hyperdrives(block: &Value) -> Vec<Hyperdrive> {
    let hyperdrive = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        Some(Hyperdrive { name: text("binding")?, id: text("id")?, address: local_address(entry) })
    };
    entries(&block["hyperdrive"]).filter_map(hyperdrive).collect()
}

fn local_address(entry: &Value) -> Option<String> {
    entry["localConnectionString"].as_str().map(str::to_owned)
}

/// Returns the entries of a list, or the single entry.
fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    let alone = value.is_object().then_some(value);
    value.as_array().into_iter().flatten().chain(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bindings_without_a_local_form_are_found_by_name() {
        let block = json!({
            "ai": { "binding": "AI" }, "browser": { "binding": "CHROME" },
            "vectorize": [{ "binding": "INDEX", "index_name": "i" }],
            "dispatch_namespaces": [{ "binding": "TENANTS", "namespace": "n" }],
            "containers": [{ "class_name": "Box", "image": "./Dockerfile" }],
            "unsafe": { "bindings": [
                { "name": "ODD", "type": "odd" },
                { "name": "LIMITER", "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 1, "period": 60 } },
            ] },
            "hyperdrive": [
                { "binding": "DB", "id": "1" },
                { "binding": "OWN", "id": "2", "localConnectionString": "postgres://127.0.0.1/a" },
            ],
            "kv_namespaces": [{ "binding": "KV", "id": "3" }], "images": { "binding": "IMAGES" },
        });
        let found: Vec<String> = remote_bindings(&block).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "`AI` (ai)",
                "`CHROME` (browser)",
                "`TENANTS` (dispatch_namespaces)",
                "`INDEX` (vectorize)",
                "`ODD` (unsafe)",
                "`Box` (containers)",
                "`DB` (hyperdrive)"
            ]
        );
        let addresses: Vec<Option<String>> =
            hyperdrives(&block).into_iter().map(|one| one.address).collect();
        assert_eq!(addresses, [None, Some("postgres://127.0.0.1/a".to_owned())]);
        assert!(remote_bindings(&json!({ "name": "site" })).is_empty());
    }
}
