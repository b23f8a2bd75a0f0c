//! Finds the bindings that the blocks of `env` or the top level alone declare. Neither inherits them from the other.

use std::collections::BTreeSet;

use serde_json::Value;

use base::text::list_first;

use super::{WranglerConfig, is_empty_value};

/// The number of names that a list shows.
const MAX_LISTED: usize = 8;

/// The fields for bindings that code reads by name, one or a list of them. Blocks of `env` do not inherit them
/// (wrangler 4.164).
const FIELDS: [&str; 27] = [
    "agent_memory",
    "ai",
    "ai_search",
    "ai_search_namespaces",
    "analytics_engine_datasets",
    "artifacts",
    "browser",
    "d1_databases",
    "dispatch_namespaces",
    "durable_objects",
    "hyperdrive",
    "images",
    "k2",
    "kv_namespaces",
    "media",
    "mtls_certificates",
    "pipelines",
    "queues",
    "r2_buckets",
    "ratelimits",
    "secrets_store_secrets",
    "send_email",
    "services",
    "stream",
    "vectorize",
    "worker_loaders",
    "workflows",
];

/// The other fields that blocks do not inherit (`notInheritable` in wrangler 4.164).
const OTHER_FIELDS: [&str; 6] =
    ["define", "secrets", "streaming_tail_consumers", "tail_consumers", "vars", "version_metadata"];

impl WranglerConfig {
    /// Returns the fields of the top level that the block of `environment` lacks, each with the names that are missing:
    /// `vars` (`STAGE`). Empty without such a block. wrangler only warns, and deploys a Worker without them.
    #[must_use]
    pub fn not_inherited(&self, environment: &str) -> Vec<String> {
        if !self.has(environment) {
            return Vec::new();
        }
        let block = self.block(environment);
        let missing = |field: &&str| {
            let top = &self.value[*field];
            let own = &block[*field];
            let own_names = names_in(field, own);
            let names: Vec<String> = names_in(field, top).difference(&own_names).cloned().collect();
            let is_missing = !names.is_empty() || (own.is_null() && !is_empty_value(top));
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let list = match names.is_empty() {
                true => String::new(),
                false => format!(" ({})", list_first(MAX_LISTED, &names)),
            };
            is_missing.then(|| format!("`{field}`{list}"))
        };
        let fields: BTreeSet<&str> = FIELDS.iter().chain(&OTHER_FIELDS).copied().collect();
        fields.iter().filter_map(missing).collect()
    }

    /// Returns the bindings that every block of `env` declares and the top level lacks, so that the code of the top level
    /// misses them. Empty if there are fewer than two blocks, because a single one may have more than the top level.
    #[must_use]
    pub fn bindings_only_in_blocks(&self) -> BTreeSet<String> {
        let top = binding_names(&self.value);
        self.in_every_block(binding_names).into_iter().filter(|name| !top.contains(name)).collect()
    }

    /// Returns the variables that every block of `env` sets to another value and the top level lacks. Empty if there are
    /// fewer than two blocks.
    #[must_use]
    pub fn variables_only_in_blocks(&self) -> BTreeSet<String> {
        let names = |block: &Value| {
            block["vars"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        let mut found = self.in_every_block(names);
        found.retain(|name| {
            let values: BTreeSet<String> =
                self.blocks().map(|block| block["vars"][name].to_string()).collect();
            values.len() == self.environments.len() && self.value["vars"][name].is_null()
        });
        found
    }

    fn blocks(&self) -> impl Iterator<Item = &Value> {
        self.environments.iter().map(|name| &self.value["env"][name])
    }

    fn in_every_block(&self, names: impl Fn(&Value) -> BTreeSet<String>) -> BTreeSet<String> {
        if self.environments.len() < 2 {
            return BTreeSet::new();
        }
        let all = self.blocks().map(names);
        all.reduce(|common, own| &common & &own).unwrap_or_default()
    }
}

/// Returns the names that the value of a field declares.
fn names_in(field: &str, value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match field {
        "vars" | "define" => {
            found.extend(value.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        "secrets" => {
            let names = value["required"].as_array().into_iter().flatten();
            found.extend(names.filter_map(Value::as_str).map(str::to_owned));
        }
        _ => add_names(value, &mut found),
    }
    found
}

/// Returns the names of the bindings in a block of a config.
fn binding_names(block: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for field in FIELDS {
        add_names(&block[field], &mut found);
    }
    found
}

/// Adds the names in the value of a field: of one binding, of a list, or of a list in `bindings` or `producers`.
fn add_names(value: &Value, found: &mut BTreeSet<String>) {
    for entry in value.as_array().into_iter().flatten() {
        add_names(entry, found);
    }
    let name = value["binding"].as_str().or_else(|| value["name"].as_str());
    found.extend(name.map(str::to_owned));
    for list in ["bindings", "producers"] {
        for entry in value[list].as_array().into_iter().flatten() {
            add_names(entry, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn only_in_blocks(text: &str) -> (Vec<String>, Vec<String>) {
        let config = WranglerConfig::parse(Utf8Path::new("wrangler.json"), text).expect("a config");
        let list = |names: BTreeSet<String>| names.into_iter().collect();
        (list(config.bindings_only_in_blocks()), list(config.variables_only_in_blocks()))
    }

    #[test]
    fn a_block_inherits_neither_variables_nor_bindings() {
        for (config, expected) in [
            (r#""vars": { "A": "1" }, "env": { "qa": { "vars": { "A": "2" } } }"#, &[][..]),
            (r#""vars": { "A": "1", "B": "2" }, "env": { "qa": {} }"#, &["`vars` (`A`, `B`)"]),
            (
                r#""vars": { "A": "1", "B": "2" }, "env": { "qa": { "vars": { "B": "" } } }"#,
                &["`vars` (`A`)"],
            ),
            (
                r#""kv_namespaces": [{ "binding": "KV" }, { "binding": "OTHER" }], "ai": { "binding": "AI" },
                    "env": { "qa": { "kv_namespaces": [{ "binding": "KV" }] } }"#,
                &["`ai` (`AI`)", "`kv_namespaces` (`OTHER`)"],
            ),
            (
                r#""queues": { "consumers": [{ "queue": "q" }] }, "tail_consumers": [{ "service": "t" }],
                    "durable_objects": { "bindings": [{ "name": "DO" }] }, "secrets": { "required": ["KEY"] }, "env": { "qa": {} }"#,
                &["`durable_objects` (`DO`)", "`queues`", "`secrets` (`KEY`)", "`tail_consumers`"],
            ),
            (
                r#""vars": {}, "kv_namespaces": [], "queues": { "producers": [] }, "env": { "qa": {} }"#,
                &[],
            ),
            (r#""main": "a.ts", "routes": ["a.example/*"], "env": { "qa": {} }"#, &[]),
        ] {
            let text = format!(r#"{{ "name": "web", {config} }}"#);
            let parsed =
                WranglerConfig::parse(Utf8Path::new("wrangler.json"), &text).expect("a config");
            assert_eq!(parsed.not_inherited("qa"), expected, "{config}");
            assert!(parsed.not_inherited("production").is_empty(), "{config}");
        }
    }

    #[test]
    fn finds_what_every_block_has_and_the_top_level_lacks() {
        let none: [&str; 0] = [];
        for (config, bindings, variables) in [
            (r#""env": { "a": { "kv_namespaces": [{ "binding": "KV" }] } }"#, &none[..], &none[..]),
            (
                r#""env": { "a": { "kv_namespaces": [{ "binding": "KV" }], "ai": { "binding": "AI" } }, "b": { "kv_namespaces": [{ "binding": "KV" }] } }"#,
                &["KV"],
                &none,
            ),
            (
                r#""kv_namespaces": [{ "binding": "KV" }], "env": { "a": { "kv_namespaces": [{ "binding": "KV" }] }, "b": { "kv_namespaces": [{ "binding": "KV" }] } }"#,
                &none,
                &none,
            ),
            (
                r#""env": { "a": { "queues": { "producers": [{ "binding": "Q" }] }, "durable_objects": { "bindings": [{ "name": "DO" }] } },
                    "b": { "queues": { "producers": [{ "binding": "Q" }] }, "durable_objects": { "bindings": [{ "name": "DO" }] } } }"#,
                &["DO", "Q"],
                &none,
            ),
            (
                r#""env": { "a": { "vars": { "STAGE": "a", "NOINDEX": "1" } }, "b": { "vars": { "STAGE": "b", "NOINDEX": "1" } } }"#,
                &none,
                &["STAGE"],
            ),
            (
                r#""vars": { "STAGE": "top" }, "env": { "a": { "vars": { "STAGE": "a" } }, "b": { "vars": { "STAGE": "b" } } }"#,
                &none,
                &none,
            ),
            (r#""env": { "a": {}, "b": {} }"#, &none, &none),
        ] {
            let found = only_in_blocks(&format!(r#"{{ "name": "web", {config} }}"#));
            assert_eq!(
                (found.0, found.1),
                (
                    bindings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
                    variables.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()
                ),
                "{config}"
            );
        }
    }
}
