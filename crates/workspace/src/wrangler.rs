//! What a wrangler config file says, as far as delivery depends on it.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use base::error::{Failure, refused};

/// The names wrangler looks for, in its own order of preference.
pub const CONFIG_NAMES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// One environment of a wrangler config: the top level, or a block of `env`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The Worker's name there.
    pub worker: String,
    /// The entry point, when the Worker has code. Relative to the config file.
    pub main: Option<Utf8PathBuf>,
    /// The folder of static assets. Relative to the config file.
    pub assets: Option<Utf8PathBuf>,
    /// `assets.html_handling`, if it is set.
    pub html_handling: Option<String>,
    /// Host names attached by `custom_domain` routes.
    pub domains: Vec<String>,
    /// `preview_urls`, when it is set.
    pub preview_urls: Option<bool>,
    /// `account_id`, which overrules the shared config file's.
    pub account_id: Option<String>,
    /// Wrangler runs a `build.command` before it bundles.
    #[serde(default)]
    pub has_build_command: bool,
    /// The storage that bindings name.
    #[serde(default, skip_serializing_if = "Storage::is_empty")]
    pub storage: Storage,
}

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
    /// Whether bindings name no storage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Storage::default()
    }

    /// Reads a block of a config. Blocks of `env` inherit no bindings.
    fn of(block: &Value) -> Storage {
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

/// A wrangler config file, parsed.
#[derive(Clone, Debug)]
pub struct WranglerConfig {
    /// The whole file, for checks against wrangler's schema.
    pub value: Value,
    /// The names of its `env` blocks.
    pub environments: Vec<String>,
}

impl WranglerConfig {
    /// Parses `text`; `path` decides the syntax and appears in errors.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<WranglerConfig, Failure> {
        let value = match path.extension() {
            Some("toml") => {
                basic_toml::from_str(text).map_err(|error| refused(format!("{path}: {error}")))?
            }
            _ => jsonc_parser::parse_to_serde_value::<Value>(
                text,
                &jsonc_parser::ParseOptions::default(),
            )
            .map_err(|error| refused(format!("{path}: {error}")))?,
        };
        let config = WranglerConfig { environments: object_keys(&value["env"]), value };
        if !config.value["pages_build_output_dir"].is_null() {
            return Err(refused(format!("{path}: this is a Pages project, and xtask deploys Workers"))
                .hint("https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/"));
        }
        if config.value["name"].as_str().is_none_or(|name| !valid_name(name)) {
            return Err(refused(format!(
                "{path}: `name` must be a Worker name: lower-case letters, digits and dashes"
            )));
        }
        // The name becomes part of addresses, of the API and of the site.
        let worker = |environment: &&String| !valid_name(&config.target(environment).worker);
        if let Some(environment) = config.environments.iter().find(worker) {
            return Err(refused(format!(
                "{path}: `env.{environment}`: `{}` is no Worker name: lower-case letters, digits and dashes, at most 63",
                config.target(environment).worker
            )));
        }
        Ok(config)
    }

    /// What the config says for the `env` block called `environment`, or for the top level when
    /// there is no such block. Names and routes follow wrangler's inheritance.
    #[must_use]
    pub fn target(&self, environment: &str) -> Target {
        let block = &self.value["env"][environment];
        let named = self.has(environment);
        let get = |key: &str| {
            if named && !block[key].is_null() { &block[key] } else { &self.value[key] }
        };
        let name = self.value["name"].as_str().unwrap_or_default();
        let worker = match block["name"].as_str() {
            Some(own) if named => own.to_owned(),
            _ if named => format!("{name}-{environment}"),
            _ => name.to_owned(),
        };
        Target {
            worker,
            main: get("main").as_str().map(Utf8PathBuf::from),
            assets: get("assets")["directory"].as_str().map(Utf8PathBuf::from),
            html_handling: get("assets")["html_handling"].as_str().map(str::to_owned),
            domains: domains(get("routes"), get("route")),
            preview_urls: get("preview_urls").as_bool(),
            account_id: get("account_id").as_str().map(str::to_owned),
            has_build_command: get("build")["command"].is_string(),
            storage: Storage::of(if named { block } else { &self.value }),
        }
    }

    /// The patterns of the routes and custom domains of `environment`, which a block inherits.
    #[must_use]
    pub fn patterns(&self, environment: &str) -> Vec<String> {
        let block = &self.value["env"][environment];
        let own =
            self.has(environment) && (!block["routes"].is_null() || !block["route"].is_null());
        let from = if own { block } else { &self.value };
        let listed = from["routes"].as_array().into_iter().flatten();
        let pattern = |route: &Value| {
            let text = route.as_str().or_else(|| route["pattern"].as_str());
            text.map(str::to_owned)
        };
        listed.chain(std::iter::once(&from["route"])).filter_map(pattern).collect()
    }

    /// Whether there is a `previews` block for `environment`. Blocks of `env` inherit it (observed with
    /// wrangler 4.164).
    #[must_use]
    pub fn has_previews(&self, environment: &str) -> bool {
        [&self.value["env"][environment], &self.value].iter().any(|at| at["previews"].is_object())
    }

    /// Whether the config has an `env` block of this name.
    #[must_use]
    pub fn has(&self, environment: &str) -> bool {
        self.environments.iter().any(|name| name == environment)
    }
}

fn domains(routes: &Value, route: &Value) -> Vec<String> {
    let listed = routes.as_array().into_iter().flatten();
    listed
        .chain(std::iter::once(route))
        .filter(|route| route["custom_domain"] == Value::Bool(true))
        .filter_map(|route| route["pattern"].as_str().map(str::to_owned))
        .collect()
}

fn object_keys(value: &Value) -> Vec<String> {
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> WranglerConfig {
        WranglerConfig::parse(Utf8Path::new(name), text).expect("valid")
    }

    #[test]
    fn jsonc_with_environment() {
        let config = parse(
            "wrangler.jsonc",
            r#"{ // comment
              "name": "site", "main": "src/worker.ts", "assets": { "directory": "./dist" },
              "routes": [{ "pattern": "example.com", "custom_domain": true }, "other.com/*"],
              "env": { "staging": { "routes": [] }, "qa": { "name": "quality" } }, }"#,
        );
        let top = config.target("production");
        assert_eq!((top.worker.as_str(), top.domains), ("site", vec!["example.com".to_owned()]));
        let staging = config.target("staging");
        assert_eq!(staging.worker, "site-staging");
        assert_eq!(staging.assets.as_deref(), Some(Utf8Path::new("./dist")));
        assert!(staging.domains.is_empty());
        assert_eq!(config.target("qa").worker, "quality");
    }

    #[test]
    fn toml_and_top_level() {
        let config = parse("wrangler.toml", "name = \"api\"\nmain = \"a.js\"\n[env.staging]\n");
        assert_eq!(config.environments, ["staging"]);
        assert_eq!(config.target("local").worker, "api");
    }

    #[test]
    fn errors_name_the_file() {
        for (path, text) in [
            ("a/wrangler.jsonc", "{"),
            ("a/wrangler.toml", "name = "),
            ("a/wrangler.json", "{\"name\": \"Bad Name\"}"),
        ] {
            let failure = WranglerConfig::parse(Utf8Path::new(path), text).expect_err("an error");
            assert!(failure.message.starts_with(path), "{}", failure.message);
        }
    }
}
