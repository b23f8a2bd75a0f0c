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
    /// The completed upload of assets, with their serving config.
    pub assets: Option<AssetsMetadata>,
    /// `true` to keep the assets of the previous version.
    pub keep_assets: bool,
    /// The migrations of classes of Durable Objects.
    pub migrations: Option<Value>,
    /// The declared exports, with the classes of Durable Objects.
    pub exports: Value,
    /// The limits on CPU time and subrequests.
    pub limits: Value,
    /// The placement of the version.
    pub placement: Value,
    /// The observability settings of the Worker.
    pub observability: Option<Value>,
    /// The Logpush setting of the Worker.
    pub logpush: Option<Value>,
    /// The Workers that receive the invocations of the Worker.
    pub tail_consumers: Option<Value>,
    /// The tags of the Worker.
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

/// Checks an alias. It has lower-case letters, digits and dashes, and begins with a letter. Together with
/// the Worker's name it must fit into a DNS label
/// (<https://developers.cloudflare.com/workers/configuration/previews/>).
pub fn check_alias(alias: &str, worker: &str) -> Result<(), CloudflareError> {
    if !alias.starts_with(|c: char| c.is_ascii_lowercase())
        || !alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
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

/// Checks a Worker's name, which is a label of its host names.
pub fn check_name(name: &str) -> Result<(), CloudflareError> {
    let is_valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let has_valid_ends = !name.starts_with('-') && !name.ends_with(['-', '_']);
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_valid) || !has_valid_ends {
        return Err(CloudflareError::new(
            400,
            10_016,
            &format!("The Worker name {name:?} is invalid"),
        ));
    }
    Ok(())
}

/// Renames the field `database_id` of a D1 binding to `id`. Cloudflare's libraries send either name.
fn rename_database_id(binding: &mut Value) {
    let is_database = binding["type"] == "d1" && binding["id"].is_null();
    if let Some(fields) = binding.as_object_mut().filter(|_| is_database)
        && let Some(id) = fields.remove("database_id")
    {
        fields.insert("id".to_owned(), id);
    }
}

/// The maximum lengths of a tag and of a message, in bytes
/// (<https://developers.cloudflare.com/api/resources/workers/>).
const MAX_TAG: usize = 100;
const MAX_MESSAGE: usize = 1000;

impl UploadMetadata {
    /// Parses the `metadata` part.
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
        if self.annotations.get("workers/tag").is_some_and(|tag| tag.len() > MAX_TAG) {
            return Err(CloudflareError::invalid("A version's tag has at most 100 bytes"));
        }
        if let Some(message) = self.annotations.get_mut("workers/message") {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        }
        Ok(())
    }

    /// Returns the bindings of the new version. It has the bindings of the upload, those that the upload
    /// inherits by name, and the `previous` ones whose kind is in `keep_bindings`.
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
                    // wrangler reads the missing secrets from this code and text.
                    let name = name.unwrap_or_default();
                    let text =
                        format!("inherit binding '{name}' is invalid: there is none of this name");
                    CloudflareError::new(400, 10_057, &text)
                })?;
            let mut inherited = inherited.clone();
            inherited["name"] = binding["name"].clone();
            bindings.push(inherited);
        }
        let retained = previous.iter().filter(|old| {
            self.keep_bindings.iter().any(|kind| old["type"] == kind.as_str())
                && !bindings.iter().any(|new| new["name"] == old["name"])
        });
        let retained: Vec<Value> = retained.cloned().collect();
        bindings.extend(retained);
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
    fn long_tags_are_refused_and_long_messages_truncated() {
        let metadata = |key: &str, length: usize| UploadMetadata {
            annotations: BTreeMap::from([(key.to_owned(), "é".repeat(length))]),
            ..UploadMetadata::default()
        };
        assert!(metadata("workers/tag", 50).check_annotations("site").is_ok());
        assert!(metadata("workers/tag", 51).check_annotations("site").is_err());
        let mut long = metadata("workers/message", 600);
        long.check_annotations("site").expect("a valid message");
        assert_eq!(long.annotations["workers/message"].len(), 1000);
    }

    #[test]
    fn reads_the_metadata_that_wrangler_sends() {
        let part = br#"{"main_module":"index.js","bindings":[{"name":"ASSETS","type":"assets"}],
            "compatibility_date":"2026-11-01","compatibility_flags":["nodejs_compat"],
            "keep_bindings":["secret_text","secret_key"],"observability":{"enabled":true},
            "code_update_strategy":{"mode":"deferred","max_delay":300},
            "assets":{"jwt":"a.b.c","config":{"_redirects":"/a /b"}},
            "annotations":{"workers/tag":"t"}}"#;
        let metadata = UploadMetadata::parse(part).expect("metadata");
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
                .expect("metadata")
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
