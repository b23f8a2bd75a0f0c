//! Parses and checks the `metadata` part of an upload.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::body;
use super::envelope::CloudflareError;
use crate::state::model::StoredModule;

/// The `metadata` part in wrangler's format.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UploadMetadata {
    /// The entry module.
    pub main_module: Option<String>,
    /// A script in the old service-worker format.
    pub body_part: Option<String>,
    /// The bindings.
    pub bindings: Vec<Value>,
    /// The bindings of a Preview, by name.
    pub env: serde_json::Map<String, Value>,
    /// The compatibility date.
    pub compatibility_date: Option<String>,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// The kinds of bindings to keep from the previous version.
    pub keep_bindings: Vec<String>,
    /// The completed upload of assets, with its serving config.
    pub assets: Option<AssetsMetadata>,
    /// Keep the assets of the previous version.
    pub keep_assets: bool,
    /// Changes to classes of Durable Objects.
    pub migrations: Option<Value>,
    /// The limits on CPU time and subrequests.
    pub limits: Value,
    /// The placement of the version.
    pub placement: Value,
    /// The observability settings of the Worker.
    pub observability: Option<Value>,
    /// The Logpush setting of the Worker.
    pub logpush: Option<Value>,
    /// The Workers that receive the tail.
    pub tail_consumers: Option<Value>,
    /// Tags of the Worker.
    pub tags: Option<Vec<String>>,
    /// `workers/tag`, `workers/message`, `workers/alias`.
    pub annotations: BTreeMap<String, String>,
}

/// The `assets` of the metadata.
#[derive(Clone, Debug, Deserialize)]
pub struct AssetsMetadata {
    /// The token of the completed upload.
    pub jwt: String,
    /// The serving config.
    #[serde(default)]
    pub config: Value,
}

/// Checks an alias. It has lower-case letters, digits and dashes, begins with a letter, and fits into
/// a DNS label together with the Worker's name
/// (<https://developers.cloudflare.com/workers/configuration/previews/>).
pub fn check_alias(alias: &str, worker: &str) -> Result<(), CloudflareError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !alias.starts_with(|c: char| c.is_ascii_lowercase())
        || !alias.bytes().all(good)
        || alias.ends_with('-')
    {
        return Err(CloudflareError::invalid(&format!(
            "The alias {alias:?} is invalid: lower-case letters, digits and dashes, starting with a letter"
        )));
    }
    if alias.len() + 1 + worker.len() > 63 {
        return Err(CloudflareError::invalid(&format!(
            "The alias {alias:?} is too long for the Worker {worker}"
        )));
    }
    Ok(())
}

/// Checks a Worker's name, which is a label of its addresses.
pub fn check_name(name: &str) -> Result<(), CloudflareError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let ends = |c: char| c == '-' || c == '_';
    let is_ended = name.starts_with('-') || name.ends_with(ends);
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) || is_ended {
        return Err(CloudflareError::new(
            400,
            10_016,
            &format!("The Worker name {name:?} is invalid"),
        ));
    }
    Ok(())
}

/// Renames the field of a database's id. The libraries of Cloudflare also send `database_id`.
fn rename_database_id(binding: &mut Value) {
    let is_database = binding["type"] == "d1" && binding["id"].is_null();
    if let Some(fields) = binding.as_object_mut().filter(|_| is_database)
        && let Some(id) = fields.remove("database_id")
    {
        fields.insert("id".to_owned(), id);
    }
}

/// The maximum length of a tag and of a message, in bytes
/// (<https://developers.cloudflare.com/api/resources/workers/>).
const MAX_LENGTHS: (usize, usize) = (100, 1000);

impl UploadMetadata {
    /// Parses the part.
    pub fn parse(bytes: &[u8]) -> Result<UploadMetadata, CloudflareError> {
        let mut metadata: UploadMetadata = body::parse(bytes)
            .map_err(|error| CloudflareError::invalid(&format!("Invalid metadata: {error}")))?;
        metadata.bindings.iter_mut().for_each(rename_database_id);
        Ok(metadata)
    }

    /// Checks that the code is in the module format and that its entry is among the modules.
    pub fn check_modules(&self, modules: &[StoredModule]) -> Result<(), CloudflareError> {
        if self.body_part.is_some() {
            return Err(CloudflareError::service_worker());
        }
        let Some(main) = &self.main_module else {
            return Ok(());
        };
        if modules.iter().any(|module| module.name == *main) {
            return Ok(());
        }
        Err(CloudflareError::invalid(&format!("No such module: {main:?}")))
    }

    /// Checks the annotations of a version of `worker` and truncates its message.
    pub fn check_annotations(&mut self, worker: &str) -> Result<(), CloudflareError> {
        if let Some(alias) = self.annotations.get("workers/alias") {
            check_alias(alias, worker)?;
        }
        if self.annotations.get("workers/tag").is_some_and(|tag| tag.len() > MAX_LENGTHS.0) {
            return Err(CloudflareError::invalid("A version's tag has at most 100 bytes"));
        }
        if let Some(message) = self.annotations.get_mut("workers/message") {
            message.truncate(message.floor_char_boundary(MAX_LENGTHS.1));
        }
        Ok(())
    }

    /// Returns the bindings of the new version: its own, those that it inherits by name, and those of the
    /// `previous` version whose kind is kept.
    pub fn resolve_bindings(&self, previous: &[Value]) -> Result<Vec<Value>, CloudflareError> {
        let mut bindings = Vec::new();
        for binding in &self.bindings {
            if binding["type"] != "inherit" {
                bindings.push(binding.clone());
                continue;
            }
            let name = binding["old_name"].as_str().or(binding["name"].as_str());
            let inherited =
                previous.iter().find(|old| old["name"].as_str() == name).ok_or_else(|| {
                    // The code and the text by which wrangler finds out which secrets are missing.
                    let name = name.unwrap_or_default();
                    let text =
                        format!("inherit binding '{name}' is invalid: there is none of this name");
                    CloudflareError::new(400, 10_057, &text)
                })?;
            let mut inherited = inherited.clone();
            inherited["name"] = binding["name"].clone();
            bindings.push(inherited);
        }
        let kept = previous.iter().filter(|old| {
            self.keep_bindings.iter().any(|kind| old["type"] == kind.as_str())
                && !bindings.iter().any(|new| new["name"] == old["name"])
        });
        let kept: Vec<Value> = kept.cloned().collect();
        bindings.extend(kept);
        Ok(bindings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn aliases_are_dns_labels_with_the_name() {
        for alias in ["mr-42", "a", "feature-x1"] {
            assert!(check_alias(alias, "website").is_ok(), "{alias}");
        }
        for alias in ["MR_42!", "42", "-a", "a-", "", "a.b", "ä"] {
            assert!(check_alias(alias, "website").is_err(), "{alias}");
        }
        assert!(check_alias(&"a".repeat(55), "website").is_ok());
        assert!(check_alias(&"a".repeat(56), "website").is_err());
    }

    #[test]
    fn names_are_labels() {
        for name in ["website", "a", "my_worker-2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "Website", "a-", "-a", "a.b", "a/b", "a b", &"a".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn long_tags_are_refused_and_long_messages_cut() {
        let metadata = |key: &str, length: usize| UploadMetadata {
            annotations: BTreeMap::from([(key.to_owned(), "é".repeat(length))]),
            ..UploadMetadata::default()
        };
        assert!(metadata("workers/tag", 50).check_annotations("site").is_ok());
        assert!(metadata("workers/tag", 51).check_annotations("site").is_err());
        let mut long = metadata("workers/message", 600);
        long.check_annotations("site").expect("it is cut");
        assert_eq!(long.annotations["workers/message"].len(), 1000);
    }

    #[test]
    fn reads_the_metadata_that_wrangler_sends() {
        let sent = br#"{"main_module":"index.js","bindings":[{"name":"ASSETS","type":"assets"}],
            "compatibility_date":"2026-11-01","compatibility_flags":["nodejs_compat"],
            "keep_bindings":["secret_text","secret_key"],"observability":{"enabled":true},
            "code_update_strategy":{"mode":"deferred","max_delay":300},
            "assets":{"jwt":"a.b.c","config":{"_redirects":"/a /b"}},
            "annotations":{"workers/tag":"t"}}"#;
        let metadata = UploadMetadata::parse(sent).expect("metadata");
        assert_eq!(metadata.main_module.as_deref(), Some("index.js"));
        assert_eq!(metadata.assets.expect("assets").config["_redirects"], "/a /b");
        assert_eq!(metadata.annotations["workers/tag"], "t");
        assert!(UploadMetadata::parse(b"{\"bindings\": 1}").is_err());
        let database = br#"{"bindings":[{"name":"DB","type":"d1","database_id":"x"}]}"#;
        let database = UploadMetadata::parse(database).expect("metadata");
        assert_eq!(database.bindings, [json!({ "name": "DB", "type": "d1", "id": "x" })]);
        let module = |name: &str| StoredModule {
            name: name.to_owned(),
            content_type: String::new(),
            blob: String::new(),
        };
        let metadata = UploadMetadata::parse(b"{\"main_module\": \"a.js\"}").expect("metadata");
        assert!(metadata.check_modules(&[module("a.js")]).is_ok());
        assert!(metadata.check_modules(&[module("b.js")]).is_err());
        assert!(
            UploadMetadata::parse(b"{\"body_part\": \"a\"}")
                .expect("it")
                .check_modules(&[])
                .is_err()
        );
    }

    #[test]
    fn keeps_secrets_and_refuses_duplicate_names() {
        let previous = [
            json!({"name": "S", "type": "secret_text", "text": "x"}),
            json!({"name": "V", "type": "plain_text", "text": "old"}),
        ];
        let metadata: UploadMetadata = serde_json::from_value(json!({
            "bindings": [{"name": "W", "type": "inherit", "old_name": "V"}], "keep_bindings": ["secret_text"]
        }))
        .expect("metadata");
        let names: Vec<String> = metadata
            .resolve_bindings(&previous)
            .expect("bindings")
            .iter()
            .map(|binding| binding["name"].to_string())
            .collect();
        assert_eq!(names, ["\"W\"", "\"S\""]);
        assert!(metadata.resolve_bindings(&[]).is_err());
    }
}
