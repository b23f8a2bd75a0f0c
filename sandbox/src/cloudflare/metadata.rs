//! The `metadata` part of an upload, and the rules that it must keep.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::envelope::ApiError;
use crate::state::model::{Module, Version};

/// The `metadata` part, as wrangler sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The entry module.
    pub main_module: Option<String>,
    /// A script in the old service-worker form.
    pub body_part: Option<String>,
    /// The bindings.
    pub bindings: Vec<Value>,
    /// The bindings of a Preview, by name.
    pub env: serde_json::Map<String, Value>,
    /// The compatibility date.
    pub compatibility_date: Option<String>,
    /// The compatibility flags.
    pub compatibility_flags: Vec<String>,
    /// Kinds of bindings that the former version's are kept of.
    pub keep_bindings: Vec<String>,
    /// The finished upload, and how to serve it.
    pub assets: Option<AssetsMetadata>,
    /// Keep the former version's assets.
    pub keep_assets: bool,
    /// Changes to classes of Durable Objects.
    pub migrations: Option<Value>,
    /// The limits on CPU time and subrequests.
    pub limits: Value,
    /// Where the version runs.
    pub placement: Value,
    /// Settings of the Worker, which an upload may carry.
    pub observability: Option<Value>,
    /// Whether logs are pushed.
    pub logpush: Option<Value>,
    /// The Workers that get the tail.
    pub tail_consumers: Option<Value>,
    /// Tags of the Worker.
    pub tags: Option<Vec<String>>,
    /// `workers/tag`, `workers/message`, `workers/alias`.
    pub annotations: BTreeMap<String, String>,
}

/// The `assets` of the metadata.
#[derive(Clone, Debug, Deserialize)]
pub struct AssetsMetadata {
    /// Stands for the finished upload.
    pub jwt: String,
    /// How to serve.
    #[serde(default)]
    pub config: Value,
}

/// Checks an alias: lower-case letters, digits and dashes, a letter first, and with the Worker's name
/// no longer than a DNS label
/// (<https://developers.cloudflare.com/workers/configuration/previews/>).
pub fn check_alias(alias: &str, worker: &str) -> Result<(), ApiError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !alias.starts_with(|c: char| c.is_ascii_lowercase())
        || !alias.bytes().all(good)
        || alias.ends_with('-')
    {
        return Err(ApiError::invalid(&format!(
            "The alias {alias:?} is invalid: lower-case letters, digits and dashes, starting with a letter"
        )));
    }
    if alias.len() + 1 + worker.len() > 63 {
        return Err(ApiError::invalid(&format!(
            "The alias {alias:?} is too long for the Worker {worker}"
        )));
    }
    Ok(())
}

/// Checks a Worker's name: it is a label of its addresses.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let ends = |c: char| c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(good) || name.ends_with(ends) {
        return Err(ApiError::new(400, 10_016, &format!("The Worker name {name:?} is invalid")));
    }
    Ok(())
}

/// The longest tag and the longest message in bytes
/// (<https://developers.cloudflare.com/api/resources/workers/>).
const LONGEST: (usize, usize) = (100, 1000);

impl Metadata {
    /// Reads the part.
    pub fn parse(bytes: &[u8]) -> Result<Metadata, ApiError> {
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::invalid(&format!("Invalid metadata: {error}")))
    }

    /// Checks that the code is in a form that runs, and that its entry is among the modules.
    pub fn check_modules(&self, modules: &[Module]) -> Result<(), ApiError> {
        if self.body_part.is_some() {
            let text = "The sandbox runs Workers in the module format only";
            return Err(ApiError::invalid(text));
        }
        let Some(main) = &self.main_module else {
            return Ok(());
        };
        if modules.iter().any(|module| module.name == *main) {
            return Ok(());
        }
        Err(ApiError::invalid(&format!("No such module: {main:?}")))
    }

    /// Checks what a version of `worker` is annotated with, and shortens its message.
    pub fn check_annotations(&mut self, worker: &str) -> Result<(), ApiError> {
        if let Some(alias) = self.annotations.get("workers/alias") {
            check_alias(alias, worker)?;
        }
        if self.annotations.get("workers/tag").is_some_and(|tag| tag.len() > LONGEST.0) {
            return Err(ApiError::invalid("A version's tag has at most 100 bytes"));
        }
        if let Some(message) = self.annotations.get_mut("workers/message") {
            message.truncate(message.floor_char_boundary(LONGEST.1));
        }
        Ok(())
    }

    /// The bindings of the new version: its own, those that it inherits by name, and those of the
    /// former version whose kind is kept.
    pub fn resolve_bindings(&self, former: Option<&Version>) -> Result<Vec<Value>, ApiError> {
        let former = former.map_or(&[] as &[Value], |version| version.bindings.as_slice());
        let mut bindings = Vec::new();
        for binding in &self.bindings {
            if binding["type"] != "inherit" {
                bindings.push(binding.clone());
                continue;
            }
            let name = binding["old_name"].as_str().or(binding["name"].as_str());
            let found =
                former.iter().find(|old| old["name"].as_str() == name).ok_or_else(|| {
                    ApiError::invalid(&format!(
                        "There is no binding {} to inherit",
                        binding["name"]
                    ))
                })?;
            let mut found = found.clone();
            found["name"] = binding["name"].clone();
            bindings.push(found);
        }
        let kept = former.iter().filter(|old| {
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
        for name in ["", "Website", "a-", "a.b", "a/b", "a b", &"a".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn long_tags_are_refused_and_long_messages_cut() {
        let metadata = |key: &str, length: usize| Metadata {
            annotations: BTreeMap::from([(key.to_owned(), "é".repeat(length))]),
            ..Metadata::default()
        };
        assert!(metadata("workers/tag", 50).check_annotations("site").is_ok());
        assert!(metadata("workers/tag", 51).check_annotations("site").is_err());
        let mut long = metadata("workers/message", 600);
        long.check_annotations("site").expect("it is cut");
        assert_eq!(long.annotations["workers/message"].len(), 1000);
    }

    #[test]
    fn the_part_is_read_as_wrangler_sends_it() {
        let sent = br#"{"main_module":"index.js","bindings":[{"name":"ASSETS","type":"assets"}],
            "compatibility_date":"2026-11-01","compatibility_flags":["nodejs_compat"],
            "keep_bindings":["secret_text","secret_key"],"observability":{"enabled":true},
            "code_update_strategy":{"mode":"deferred","max_delay":300},
            "assets":{"jwt":"a.b.c","config":{"_redirects":"/a /b"}},
            "annotations":{"workers/tag":"t"}}"#;
        let metadata = Metadata::parse(sent).expect("metadata");
        assert_eq!(metadata.main_module.as_deref(), Some("index.js"));
        assert_eq!(metadata.assets.expect("assets").config["_redirects"], "/a /b");
        assert_eq!(metadata.annotations["workers/tag"], "t");
        assert!(Metadata::parse(b"{\"bindings\": 1}").is_err());
        let module = |name: &str| Module {
            name: name.to_owned(),
            content_type: String::new(),
            blob: String::new(),
        };
        let metadata = Metadata::parse(b"{\"main_module\": \"a.js\"}").expect("metadata");
        assert!(metadata.check_modules(&[module("a.js")]).is_ok());
        assert!(metadata.check_modules(&[module("b.js")]).is_err());
        assert!(
            Metadata::parse(b"{\"body_part\": \"a\"}").expect("it").check_modules(&[]).is_err()
        );
    }

    #[test]
    fn secrets_are_kept_and_names_are_not_doubled() {
        let former: Version = serde_json::from_value(json!({
            "id": "", "number": 1, "created_on": "", "annotations": {}, "main_module": null, "modules": [],
            "compatibility_date": "", "compatibility_flags": [], "assets": null,
            "bindings": [{"name": "S", "type": "secret_text", "text": "x"}, {"name": "V", "type": "plain_text", "text": "old"}]
        }))
        .expect("a version");
        let metadata: Metadata = serde_json::from_value(json!({
            "bindings": [{"name": "W", "type": "inherit", "old_name": "V"}], "keep_bindings": ["secret_text"]
        }))
        .expect("metadata");
        let names: Vec<String> = metadata
            .resolve_bindings(Some(&former))
            .expect("bindings")
            .iter()
            .map(|binding| binding["name"].to_string())
            .collect();
        assert_eq!(names, ["\"W\"", "\"S\""]);
        assert!(metadata.resolve_bindings(None).is_err());
    }
}
