//! Wrangler: its arguments, its verdict, its schema.

pub mod verdict;

use camino::Utf8Path;
use serde_json::Value;

use crate::error::nearest;
pub use verdict::{Expected, Verdict, urls, verdict};

/// Where wrangler is pinned and installed, relative to the repository's root.
pub const TOOLCHAIN: &str = "dagger/cloudflare/toolchain";

/// The launcher inside the toolchain. It is run on Bun, so no Node is needed.
pub const LAUNCHER: &str = "node_modules/wrangler/bin/wrangler.js";

/// The options of Bun when it runs wrangler: in Node's place, and blind to the `.env` files and the
/// `bunfig.toml` of the folder. Those could name another Worker (`WRANGLER_CI_OVERRIDE_NAME`) or run
/// code in the process that holds the token. Wrangler's launcher hands them to its child.
pub const ON_BUN: [&str; 3] = ["--no-env-file", "--config=/dev/null", "--bun"];

/// The same for wrangler itself, which reads `.env` files too (observed with 4.164).
const NO_ENV_FILE: &str = "--env-file=/dev/null";

/// The variables that make wrangler quiet, non-interactive and free of side trips: no metrics, no
/// banner, no log files, no fetch of request metadata for a local workerd.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("CI", "1"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("WRANGLER_LOG_SANITIZE", "true"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_WRITE_LOGS", "false"),
];

/// Where an adapter leaves the config that it generated, relative to the project. Wrangler follows it
/// only without `--config`.
pub const REDIRECT: &str = ".wrangler/deploy/config.json";

/// The arguments of `wrangler deploy`. `config` is the config file's name, none where wrangler is to
/// follow an adapter's. `environment` is a block of the config; the empty one means the top level of
/// a config that has blocks. The Cloudflare module passes the same (a test compares them).
///
/// `--autoconfig=false` because a deploy without a config file would write one and install things;
/// `--strict` refuses to overwrite changes made elsewhere; `--no-x-provision` refuses to create
/// storage for bindings without an id (observed with wrangler 4.164).
#[must_use]
pub fn deploy_arguments(
    config: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["deploy".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    let options = ["--autoconfig=false", "--strict", "--no-x-provision", NO_ENV_FILE];
    arguments.extend(options.map(str::to_owned));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// The arguments of `wrangler versions upload`, as [`deploy_arguments`] has those of `deploy`. There is
/// no `--autoconfig` here.
#[must_use]
pub fn upload_arguments(
    config: Option<&str>,
    alias: Option<&str>,
    environment: Option<&str>,
    tag: &str,
    message: &str,
) -> Vec<String> {
    let mut arguments = vec!["versions".to_owned(), "upload".to_owned()];
    arguments.extend(config.map(|config| format!("--config={config}")));
    arguments.extend(["--strict", "--no-x-provision", NO_ENV_FILE].map(str::to_owned));
    arguments.extend(alias.map(|alias| format!("--preview-alias={alias}")));
    arguments.extend(environment.map(|environment| format!("--env={environment}")));
    arguments.push(format!("--tag={tag}"));
    arguments.push(format!("--message={message}"));
    arguments
}

/// A field that wrangler would ignore with no more than a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where: `assets.directoy`.
    pub path: String,
    /// The field that was probably meant.
    pub nearest: Option<String>,
}

/// The fields of `config` that wrangler's own JSON schema does not know.
#[must_use]
pub fn unknown_fields(schema: &Value, config: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    check(schema, schema, config, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<UnknownField>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
        return check(root, &root["definitions"][name], value, path, found);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(root, part, value, path, found);
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        let tried = branches.iter().filter(|branch| fits(root, branch, value)).map(|branch| {
            let mut inner = Vec::new();
            check(root, branch, value, path, &mut inner);
            inner
        });
        // The branch that complains least is the one that was meant.
        found.extend(tried.min_by_key(Vec::len).unwrap_or_default());
    }
    if let (Some(items), true) = (value.as_array(), schema["items"].is_object()) {
        for (index, item) in items.iter().enumerate() {
            check(root, &schema["items"], item, &format!("{path}[{index}]"), found);
        }
    }
    let (Some(known), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        if let (Some(fields), true) =
            (value.as_object(), schema["additionalProperties"].is_object())
        {
            for (name, inner) in fields {
                check(root, &schema["additionalProperties"], inner, &join(path, name), found);
            }
        }
        return;
    };
    for (name, inner) in fields {
        match known.get(name) {
            Some(field) => check(root, field, inner, &join(path, name), found),
            None if schema["additionalProperties"] == Value::Bool(false) => {
                found.push(UnknownField {
                    path: join(path, name),
                    nearest: nearest(name, known.keys().map(String::as_str)).map(str::to_owned),
                });
            }
            None if schema["additionalProperties"].is_object() => {
                check(root, &schema["additionalProperties"], inner, &join(path, name), found);
            }
            None => {}
        }
    }
}

/// Whether `value` is of the kind that `schema` is about. A schema without a kind is about any.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
        return fits(root, &root["definitions"][name], value);
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number" | "integer") => value.is_number(),
        _ => true,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The installed version of wrangler, read from its manifest; nothing when it is not installed.
#[must_use]
pub fn installed_version(root: &Utf8Path) -> Option<String> {
    version_of(&root.join(TOOLCHAIN).join("node_modules/wrangler/package.json"), "/version")
}

/// The pinned version of wrangler.
#[must_use]
pub fn pinned_version(root: &Utf8Path) -> Option<String> {
    version_of(&root.join(TOOLCHAIN).join("package.json"), "/dependencies/wrangler")
}

fn version_of(manifest: &Utf8Path, pointer: &str) -> Option<String> {
    let text = std::fs::read_to_string(manifest).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn misspelt_fields_are_found_at_every_depth() {
        let schema = json!({
            "allOf": [{"$ref": "#/definitions/Config"}],
            "definitions": {
                "Config": {"type": "object", "additionalProperties": false, "properties": {
                    "name": {}, "assets": {"$ref": "#/definitions/Assets"}, "vars": {"type": "object"},
                    "env": {"type": "object", "additionalProperties": {"$ref": "#/definitions/Config"}},
                    "routes": {"type": "array", "items": {"anyOf": [{"type": "string"},
                        {"type": "object", "additionalProperties": false, "properties": {"pattern": {}}}]}}}},
                "Assets": {"type": "object", "additionalProperties": false, "properties": {"directory": {}}}
            }
        });
        let config = json!({"name": "a", "asssets": {}, "assets": {"directoy": "x"}, "vars": {"ANY": 1},
            "routes": ["a", {"patern": "b"}], "env": {"staging": {"nam": "b"}}});
        let found: Vec<(String, Option<String>)> =
            unknown_fields(&schema, &config).into_iter().map(|f| (f.path, f.nearest)).collect();
        let expected = [
            ("assets.directoy", "directory"),
            ("asssets", "assets"),
            ("env.staging.nam", "name"),
            ("routes[1].patern", "pattern"),
        ];
        assert_eq!(found, expected.map(|(path, near)| (path.to_owned(), Some(near.to_owned()))));
    }
}
