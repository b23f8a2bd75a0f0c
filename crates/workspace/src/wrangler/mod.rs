//! The fields of a wrangler config file that delivery depends on.

mod block_bindings;
pub mod bound_workers;
pub mod compatibility_date;
mod containers;
pub mod cron_rules;
pub mod dev_vars;
pub mod field_types;
pub mod host_name;
pub mod remote_binding;
pub mod route_rules;
pub mod routes;
mod storage;
pub mod triggers;

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::config_text::{parse_config, parse_config_with_dates};
use crate::packages::build_script::runs_build;
use crate::packages::package::{BuildOrigin, Package};
use crate::wrangler::bound_workers::bound_workers;
use crate::wrangler::containers::built_image;
use crate::wrangler::field_types::{field_line, type_of};
use crate::wrangler::remote_binding::{Hyperdrive, RemoteBinding, hyperdrives, remote_bindings};
use base::error::{Result, invalid_config};

pub use crate::wrangler::storage::Storage;

/// The names of wrangler's configs, in its order of preference.
pub const CONFIG_NAMES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// Returns true if wrangler uses `config` without `--config`. Only then it follows an adapter's redirect.
#[must_use]
pub fn is_default_config(root: &Utf8Path, config: &Utf8Path) -> bool {
    let dir = root.join(config.parent().unwrap_or(Utf8Path::new("")));
    let first = CONFIG_NAMES.iter().find(|name| dir.join(name).is_file());
    first.is_some_and(|first| config.file_name() == Some(*first))
}

/// One environment of a wrangler config: the top level, or a block of `env`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The Worker's name there.
    pub worker: String,
    /// The default for the `name` of the config, if the Worker's name comes from it. wrangler itself has none.
    #[serde(skip)]
    pub default_name: Option<String>,
    /// The entry point, if the Worker has code. Relative to the config file.
    pub main: Option<Utf8PathBuf>,
    /// The folder of static assets. Relative to the config file.
    pub assets: Option<Utf8PathBuf>,
    /// `assets.html_handling`, if it is set.
    pub html_handling: Option<String>,
    /// Host names attached by `custom_domain` routes.
    pub domains: Vec<String>,
    /// `preview_urls`, if it is set.
    pub preview_urls: Option<bool>,
    /// `account_id`, which overrides that of the shared config file.
    pub account_id: Option<String>,
    /// `true` if wrangler runs a `build.command` before it bundles.
    #[serde(default)]
    pub has_build_command: bool,
    /// The folder in which that command runs. Relative to the config file. `None` without a command.
    #[serde(skip)]
    pub build_command_folder: Option<Utf8PathBuf>,
    /// That command, if it runs in the folder of the config.
    #[serde(skip)]
    pub build_command: Option<String>,
    /// The storage that bindings name.
    #[serde(default, skip_serializing_if = "Storage::is_empty")]
    pub storage: Storage,
    /// The secrets that the Worker requires. `None` if the config has no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_secrets: Option<Vec<String>>,
    /// The folders of its databases' migrations. Relative to the config file.
    #[serde(skip)]
    pub migrations: Vec<Utf8PathBuf>,
    /// The other Workers that it names, which have to exist before it is uploaded.
    #[serde(skip)]
    pub bound_workers: BTreeSet<String>,
    /// The names of its variables.
    #[serde(skip)]
    pub variables: Vec<String>,
    /// The bindings that only Cloudflare can run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_bindings: Vec<RemoteBinding>,
    /// The first image of a container that wrangler would build: its path in the block, and its value.
    #[serde(skip)]
    pub built_image: Option<(String, String)>,
    /// The Hyperdrive bindings. Their connection strings may contain passwords, so no output contains them.
    #[serde(skip)]
    pub hyperdrives: Vec<Hyperdrive>,
}

impl Target {
    /// Returns true if `build.command` runs the script `build` of `package`. wrangler runs it whenever it bundles.
    #[must_use]
    pub fn runs_script_build(&self, package: Option<&Package>) -> bool {
        let script = package.filter(|package| package.build == Some(BuildOrigin::Script));
        let script = script.and_then(|package| package.build_script.as_deref());
        let commands = self.build_command.as_deref().zip(script);
        commands.is_some_and(|(command, script)| runs_build(command, script))
    }
}

/// Returns the folder in which the command of a `build` block runs. `None` without a command.
fn build_command_folder(build: &Value) -> Option<Utf8PathBuf> {
    build["command"].as_str().filter(|line| !line.is_empty())?;
    Some(build["cwd"].as_str().unwrap_or(".").into())
}

/// Returns the command of a `build` block. `None` if there is none, or if it runs in another folder.
fn build_command(build: &Value) -> Option<String> {
    let is_here = build["cwd"].as_str().is_none_or(|cwd| ["", ".", "./"].contains(&cwd));
    build["command"].as_str().filter(|_| is_here).map(str::to_owned)
}

/// A wrangler config file, parsed.
#[derive(Clone, Debug)]
pub struct WranglerConfig {
    /// The whole file, for checks against wrangler's schema.
    pub value: Value,
    /// The names of its `env` blocks.
    pub environments: Vec<String>,
    /// The paths of the values that are dates of TOML. They are strings in `value`.
    dates: Vec<String>,
    /// The name that replaces a missing top-level one.
    default_name: Option<String>,
}

impl WranglerConfig {
    /// Returns true if neither the config nor one of its blocks has a name. wrangler cannot deploy it, so it is probably
    /// that of a test.
    #[must_use]
    pub fn is_unnamed(path: &Utf8Path, text: &str) -> bool {
        parse_config(path, text).is_ok_and(|value: Value| {
            let mut blocks = value["env"].as_object().into_iter().flatten();
            value.is_object()
                && value["name"].is_null()
                && value["pages_build_output_dir"].is_null()
                && !blocks.any(|(_, block)| block["name"].is_string())
        })
    }

    /// Returns true if the file has a field of a Worker, so that it is not another file whose name begins with `wrangler`.
    #[must_use]
    pub fn is_of_worker(path: &Utf8Path, text: &str) -> bool {
        parse_config(path, text).is_ok_and(|value: Value| {
            let fields = ["main", "assets", "compatibility_date", "env", "routes", "route"];
            fields.iter().any(|field| !value[*field].is_null())
        })
    }

    /// Parses `text`. `path` determines the syntax and appears in errors.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<WranglerConfig> {
        let (value, dates) = parse_config_with_dates(path, text)
            .map_err(|error| invalid_config(format!("{path}: {error}")))?;
        let environments = object_keys(&value["env"]);
        let config = WranglerConfig { environments, value, dates, default_name: None };
        if !config.value["pages_build_output_dir"].is_null() {
            return Err(invalid_config(format!("{path}: this is a Pages project, and xtask deploys Workers"))
                .hint("see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/"));
        }
        config.check_names(path)?;
        Ok(config)
    }

    /// Refuses a config without a name, and a name that is not that of a Worker: it becomes part of URLs, of the API and of
    /// the site.
    fn check_names(&self, path: &Utf8Path) -> Result<()> {
        let name = &self.value["name"];
        // wrangler also uses the name of a block, and refuses a config without any.
        let blocks = self.value["env"].as_object().into_iter().flatten();
        let is_named_elsewhere = blocks.into_iter().any(|(_, block)| block["name"].is_string());
        if name.is_null() && !is_named_elsewhere {
            return Err(invalid_config(format!(
                "{path}: it has no `name`, so wrangler cannot deploy it"
            ))
            .hint("add `\"name\": \"my-worker\"` if it is a Worker that is deployed"));
        }
        if !name.is_null() && !name.is_string() {
            let text =
                format!("{path}: `name` is {}, and wrangler expects a string", type_of(name));
            return Err(invalid_config(text)
                .hint(format!("write {}", field_line(path, "name", &"my-worker".into()))));
        }
        if name.as_str().is_some_and(|name| !valid_name(name)) {
            return Err(invalid_config(format!(
                "{path}: `name` must be a Worker name: {NAME_RULE}"
            )));
        }
        let is_invalid = |environment: &&String| {
            let worker = self.target(environment).worker;
            let is_unnamed = name.is_null() && worker == format!("-{environment}");
            !is_unnamed && !valid_name(&worker)
        };
        match self.environments.iter().find(is_invalid) {
            None => Ok(()),
            Some(environment) => Err(invalid_config(format!(
                "{path}: `env.{environment}`: `{}` is not a Worker name: {NAME_RULE}",
                self.target(environment).worker
            ))),
        }
    }

    /// Sets a missing top-level name, from the name of the package, else of the folder. wrangler itself
    /// would use a name of an `env` block or of the command line.
    #[must_use]
    pub fn with_default_name(mut self, package: Option<&str>, dir: &Utf8Path) -> WranglerConfig {
        if self.value["name"].is_null()
            && let Some(config) = self.value.as_object_mut()
        {
            let names = [package, dir.file_name(), Some("worker")];
            let name = names.into_iter().flatten().map(to_name).find(|name| valid_name(name));
            let name = name.unwrap_or_default();
            config.insert("name".to_owned(), name.clone().into());
            self.default_name = Some(name);
        }
        self
    }

    /// Returns the settings of the `env` block called `environment`, or of the top level if there
    /// is no such block. Names and routes follow wrangler's inheritance.
    #[must_use]
    pub fn target(&self, environment: &str) -> Target {
        let get = |key: &str| self.field(environment, key);
        // Blocks of `env` inherit no bindings.
        let own = self.block(environment);
        let name = self.value["name"].as_str().unwrap_or_default();
        let own_name = own["name"].as_str().filter(|_| self.has(environment));
        let worker = match own_name {
            Some(own) => own.to_owned(),
            None if self.has(environment) => format!("{name}-{environment}"),
            None => name.to_owned(),
        };
        Target {
            worker,
            default_name: self.default_name.clone().filter(|_| own_name.is_none()),
            main: get("main").as_str().map(Utf8PathBuf::from),
            assets: get("assets")["directory"].as_str().map(Utf8PathBuf::from),
            html_handling: get("assets")["html_handling"].as_str().map(str::to_owned),
            domains: self.domains(environment),
            preview_urls: get("preview_urls").as_bool(),
            // wrangler ignores an empty one.
            account_id: get("account_id").as_str().filter(|id| !id.is_empty()).map(str::to_owned),
            has_build_command: get("build")["command"]
                .as_str()
                .is_some_and(|line| !line.is_empty()),
            build_command_folder: build_command_folder(get("build")),
            build_command: build_command(get("build")),
            storage: Storage::from_block(own),
            required_secrets: required_secrets(&own["secrets"]),
            migrations: migrations(&own["d1_databases"]),
            bound_workers: bound_workers(own),
            variables: object_keys(&own["vars"]),
            remote_bindings: remote_bindings(own),
            built_image: built_image(own),
            hyperdrives: hyperdrives(own),
        }
    }

    /// Returns the patterns of the routes and custom domains of `environment`, which a block inherits.
    #[must_use]
    pub fn patterns(&self, environment: &str) -> Vec<String> {
        let pattern = |route: &Value| {
            let text = route.as_str().or_else(|| route["pattern"].as_str());
            text.map(str::to_owned)
        };
        self.routes(environment).filter_map(pattern).collect()
    }

    /// Returns the custom domains among the routes of `environment`.
    fn domains(&self, environment: &str) -> Vec<String> {
        self.routes(environment)
            .filter(|route| route["custom_domain"] == Value::Bool(true))
            .filter_map(|route| route["pattern"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the routes of `environment`, custom domains included. A block inherits `routes` and `route` each alone, and
    /// wrangler ignores `route` if there are `routes` (`config.routes ?? [config.route]`, wrangler 4.164).
    fn routes(&self, environment: &str) -> impl Iterator<Item = &Value> {
        let (routes, route) = (self.field(environment, "routes"), self.field(environment, "route"));
        let one = std::iter::once(route).filter(|_| routes.is_null());
        routes.as_array().into_iter().flatten().chain(one)
    }

    /// Returns the block of `environment` without inherited fields. Without a block it is the top level.
    #[must_use]
    pub fn block(&self, environment: &str) -> &Value {
        if self.has(environment) { &self.value["env"][environment] } else { &self.value }
    }

    /// Returns a field of `environment`, which a block inherits. `Null` if neither has it.
    #[must_use]
    pub fn field(&self, environment: &str, name: &str) -> &Value {
        let own = &self.block(environment)[name];
        if own.is_null() { &self.value[name] } else { own }
    }

    /// Returns the path of a field that [`WranglerConfig::field`] reads: `env.staging.routes`, or `routes` if the block
    /// inherits it.
    #[must_use]
    pub fn field_path(&self, environment: &str, name: &str) -> String {
        let is_own = self.has(environment) && !self.block(environment)[name].is_null();
        if is_own { format!("env.{environment}.{name}") } else { name.to_owned() }
    }

    /// Returns the queues that the Worker of `environment` consumes. Blocks inherit none.
    #[must_use]
    pub fn consumed_queues(&self, environment: &str) -> Vec<String> {
        let consumers = self.block(environment)["queues"]["consumers"].as_array();
        let names = consumers.into_iter().flatten().filter_map(|one| one["queue"].as_str());
        names.map(str::to_owned).collect()
    }

    /// Returns true if the Worker of `environment` implements a Durable Object itself.
    #[must_use]
    pub fn has_durable_objects(&self, environment: &str) -> bool {
        // Blocks of `env` inherit no bindings.
        let own = self.block(environment);
        let bindings = own["durable_objects"]["bindings"].as_array().into_iter().flatten();
        let worker = self.target(environment).worker;
        let is_own = |script: &Value| script.as_str().is_none_or(|script| script == worker);
        let exports = self.field(environment, "exports").as_object().into_iter().flatten();
        bindings.into_iter().any(|binding| is_own(&binding["script_name"]))
            || exports.into_iter().any(|(_, export)| export["type"] == "durable-object")
    }

    /// Returns true if there is a `previews` block for `environment`. Blocks of `env` inherit it
    /// (observed with wrangler 4.164).
    #[must_use]
    pub fn has_previews(&self, environment: &str) -> bool {
        [&self.value["env"][environment], &self.value].iter().any(|at| at["previews"].is_object())
    }

    /// Returns true if the config has an `env` block of this name.
    #[must_use]
    pub fn has(&self, environment: &str) -> bool {
        self.environments.iter().any(|name| name == environment)
    }
}

/// Returns the folders of the migrations of databases.
fn migrations(databases: &Value) -> Vec<Utf8PathBuf> {
    let databases = databases.as_array().into_iter().flatten();
    databases.map(|one| one["migrations_dir"].as_str().unwrap_or("migrations").into()).collect()
}

/// Returns the names in `secrets.required`. `None` without a field `secrets`.
fn required_secrets(secrets: &Value) -> Option<Vec<String>> {
    let names = secrets.as_object()?.get("required").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    Some(names.map(str::to_owned).collect())
}

fn object_keys(value: &Value) -> Vec<String> {
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// Converts a name to a Worker's name: `@acme/My Site` becomes `acme-my-site`.
fn to_name(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_') => c,
        _ => '-',
    };
    let name: String = text.chars().map(letter).collect();
    let cut = name.trim_matches('-').get(..55).unwrap_or(name.trim_matches('-'));
    cut.trim_end_matches('-').to_owned()
}

/// Returns the words in the name of a config, without `wrangler` and the extension.
pub fn variant_words(name: &str) -> impl Iterator<Item = &str> {
    let words = name.split(['.', '-', '_']).skip(1);
    words.take_while(|word| !["json", "jsonc", "toml"].contains(word))
}

/// Returns true for a value without content, such as an empty list in an object.
#[must_use]
pub fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty_value),
        _ => false,
    }
}

/// Returns true if a config of this name, such as `wrangler.test.jsonc`, is by convention a variant of
/// the main config, or a template. Names with another separator, such as `wrangler-types.json`, are no convention.
#[must_use]
pub fn is_variant(name: &str) -> bool {
    !name.starts_with("wrangler.")
        || variant_words(name).any(|word| {
            matches!(
                word,
                "example"
                    | "sample"
                    | "template"
                    | "tmpl"
                    | "test"
                    | "tests"
                    | "vitest"
                    | "e2e"
                    | "ci"
                    | "dev"
                    | "development"
                    | "local"
                    | "base"
                    | "common"
                    | "shared"
                    | "stage"
                    | "staging"
                    | "preview"
                    | "prod"
                    | "production"
            )
        })
}

/// The rule of [`valid_name`].
const NAME_RULE: &str = "lower-case letters, digits, dashes and `_`, at most 63 characters";

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
    use crate::files::names::is_config_name;

    fn parse(name: &str, text: &str) -> WranglerConfig {
        WranglerConfig::parse(Utf8Path::new(name), text).expect("valid")
    }

    #[test]
    fn a_block_inherits_routes_and_route_each_alone() {
        let config = serde_json::json!({
            "name": "a",
            "routes": ["many.example/*", { "pattern": "many.example", "custom_domain": true }],
            "env": {
                "route": { "route": "own.example/*" },
                "routes": { "routes": ["own.example/*"] },
                "none": {},
            },
        });
        let config = parse("wrangler.json", &config.to_string());
        for name in ["local", "none", "route"] {
            assert_eq!(config.patterns(name), ["many.example/*", "many.example"], "{name}");
            assert_eq!(config.target(name).domains, ["many.example"], "{name}");
        }
        assert_eq!(config.patterns("routes"), ["own.example/*"]);
        assert!(config.target("routes").domains.is_empty());
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
    fn blocks_inherit_no_required_secrets() {
        let text = r#"{ "name": "a", "secrets": { "required": ["A", "B"] }, "vars": { "V": "1" },
            "env": { "qa": {}, "staging": { "secrets": {}, "vars": { "W": 1 } } } }"#;
        let config = parse("wrangler.json", text);
        let found = ["production", "qa", "staging"].map(|environment| {
            let target = config.target(environment);
            (target.required_secrets, target.variables)
        });
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let expected = [
            (Some(owned(&["A", "B"])), owned(&["V"])),
            (None, Vec::new()),
            (Some(Vec::new()), owned(&["W"])),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn toml_and_top_level() {
        let config = parse("wrangler.toml", "name = \"api\"\nmain = \"a.js\"\n[env.staging]\n");
        assert_eq!(config.environments, ["staging"]);
        assert_eq!(config.target("local").worker, "api");
    }

    #[test]
    fn names_of_other_configs() {
        for (name, is_config, is_other) in [
            ("wrangler.api.jsonc", true, true),
            ("wrangler.cron-worker.toml", true, true),
            ("wrangler.test.jsonc", true, false),
            ("wrangler.prod-eu.toml", true, false),
            ("wrangler.ts", false, true),
            ("wrangler.schema.json5", false, true),
            ("wrangler-production.toml", true, false),
            ("wrangler_api.json", true, false),
            ("wranglers.toml", false, false),
            ("wrangler", false, false),
        ] {
            assert_eq!((is_config_name(name), !is_variant(name)), (is_config, is_other), "{name}");
        }
    }

    #[test]
    fn a_config_without_a_name_has_that_of_its_package_or_folder() {
        let text = r#"{ "main": "a.js", "env": { "production": { "name": "shop" }, "qa": {} } }"#;
        let config = parse("wrangler.json", text);
        let named = |package: Option<&str>, dir: &str| {
            let config = config.clone().with_default_name(package, Utf8Path::new(dir));
            ["local", "production", "qa"].map(|environment| config.target(environment).worker)
        };
        assert_eq!(
            named(Some("@acme/My Shop"), "apps/x"),
            ["acme-my-shop", "shop", "acme-my-shop-qa"]
        );
        assert_eq!(named(None, "apps/Shop 2"), ["shop-2", "shop", "shop-2-qa"]);
        assert_eq!(named(None, ""), ["worker", "shop", "worker-qa"]);
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
