//! The shared config file, `dagger/config/config.json`: read by xtask and by the Dagger modules.

pub mod cargo_config;
pub mod environment_names;
pub mod modules;
pub mod own_repository;
pub mod pipeline;
pub mod toolchain;

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::config::pipeline::PipelineSettings;
use crate::files::Source;
pub use crate::files::names::CONFIG_FILE;
use crate::settings::strategy::Strategy;
use base::error::{Error, Result, did_you_mean, did_you_mean_in, invalid_config, usage};

/// The name of the built-in environment that deploys to the sandbox on this machine.
pub const LOCAL: &str = "local";

/// Account configuration shared by every project. It holds ids and the names of variables, never a
/// token.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct Config {
    /// The schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The Cloudflare account that environments deploy to unless they name another.
    pub cloudflare: Cloudflare,
    /// The GitLab project whose merge requests get comments.
    pub gitlab: Gitlab,
    /// The environments by name. `local`, the sandbox on this machine, is always there.
    pub environments: BTreeMap<String, Environment>,
    /// Pinned versions of tools. By default those that this version of xtask was tested with.
    #[serde(default = "toolchain::default_tools")]
    pub tools: Tools,
    /// Container images that the Dagger modules start from, by purpose. By default those that fit the
    /// default of `tools`.
    #[serde(default = "toolchain::default_images")]
    pub images: Images,
    /// Settings of GitLab's pipeline.
    #[serde(default)]
    pub pipeline: PipelineSettings,
    /// The variables of the caller that installs and builds see. They see no others.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub variables: Variables,
    /// Settings of the Dagger engine.
    #[serde(default, skip_serializing_if = "DaggerSettings::is_default")]
    pub dagger: DaggerSettings,
    /// The folders that are searched for projects, as patterns like those of `workspaces` in a
    /// `package.json`: `apps/*`, `services/**`, `!apps/fixture`. By default `projects/`, or the whole
    /// repository if that folder has no project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
}

/// Settings of the Dagger engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, expecting = "an object")]
pub struct DaggerSettings {
    /// The way to upload. `api` uses Dagger's own API and loads no module, which is faster on a cold engine.
    /// `module` calls the functions of `dagger/cloudflare`.
    pub upload: ContainerUpload,
}

impl DaggerSettings {
    /// Returns true if every setting has its default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == DaggerSettings::default()
    }
}

/// The way to upload from a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ContainerUpload {
    /// By the functions of the module `dagger/cloudflare`
    Module,
    /// By Dagger's own API, without a module
    #[default]
    Api,
}

/// A Cloudflare account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct Cloudflare {
    /// The account id: 32 hexadecimal digits. It is not a secret.
    pub account_id: String,
    /// The environment variable that holds the API token.
    pub token_variable: String,
}

impl Cloudflare {
    /// Returns true if the account id is the placeholder of a new repository.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        self.account_id.bytes().all(|digit| digit == b'0')
    }
}

/// A GitLab project.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct Gitlab {
    /// The URL of the instance, with its relative root if it has one.
    pub url: String,
    /// The numeric id of the project. It is not a secret.
    pub project_id: String,
    /// The environment variable that holds the token for merge request comments.
    pub token_variable: String,
}

impl Gitlab {
    /// Returns the project's number. `None` if it is the placeholder of a new repository.
    #[must_use]
    pub fn number(&self) -> Option<&str> {
        Some(self.project_id.as_str()).filter(|id| is_project_number(id))
    }

    /// Returns the address of the instance's API.
    #[must_use]
    pub fn api(&self) -> String {
        format!("{}/api/v4", self.url.trim_end_matches('/'))
    }
}

/// Returns true if a text has the format of the ids of Cloudflare's accounts and KV namespaces: 32 hexadecimal digits.
#[must_use]
pub fn is_cloudflare_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns true if `id` is the number of a GitLab project. The placeholder 0 is none.
#[must_use]
pub fn is_project_number(id: &str) -> bool {
    id.bytes().all(|b| b.is_ascii_digit()) && id != "0" && !id.is_empty()
}

/// An environment that projects are deployed to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct Environment {
    /// Only a pipeline of the protected default branch may change it.
    #[serde(default)]
    pub protected: bool,
    /// Merge requests are previewed here unless another environment is named. One environment at most.
    #[serde(default)]
    pub previews: bool,
    /// The kind of previews in this environment. `alias` uploads a version that runs with the
    /// Worker's own bindings. `preview` creates a Worker Preview with separate bindings, which can
    /// be deleted. A project's `previewStrategy` has precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_strategy: Option<Strategy>,
    /// Route patterns that may match requests of a protected environment's routes. Others are refused, because
    /// they would take over its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_routes: Vec<String>,
    /// Fields of `cloudflare` that differ here, such as another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudflare: Option<CloudflareOverride>,
}

/// The fields of [`Cloudflare`] that an environment replaces.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub struct CloudflareOverride {
    /// The account id of this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The environment variable that holds this environment's API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_variable: Option<String>,
}

/// Versions that must match exactly.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Tools {
    /// The Dagger CLI and engine.
    pub dagger: String,
    /// Bun, which runs wrangler, and installs and builds projects with a lock file of Bun.
    pub bun: String,
    /// Node, for projects that need it. By default the version that `.node-version` or `.nvmrc` names,
    /// else the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// npm, if no `packageManager` names a version. By default the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npm: Option<String>,
    /// pnpm, if no `packageManager` names a version. By default one that fits the lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pnpm: Option<String>,
    /// Yarn, if neither `packageManager` nor `yarnPath` names a version. By default one that fits the
    /// lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yarn: Option<String>,
}

/// Names of variables. Their values come from the environment and are in no file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, expecting = "an object")]
pub struct Variables {
    /// Variables that only installs see, such as `NPM_TOKEN` for `${NPM_TOKEN}` in an `.npmrc`. Their
    /// values are redacted in all output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub install: Vec<String>,
    /// Variables that builds see, such as `PUBLIC_API_URL`. The output depends on the value, so its
    /// digest is part of the content key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
}

impl Variables {
    /// Returns true if no variable is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.install.is_empty() && self.build.is_empty()
    }
}

/// Container images.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Images {
    /// The image with Bun.
    pub bun: String,
    /// The image with Node. By default `node:VERSION-slim` in the version that a project requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Config {
    /// Reads and checks the file below `root`. Every error ends with exit 3 and names the position in the file.
    pub fn load(root: &Utf8Path) -> Result<Config> {
        Config::read(&Source::from_working_tree(root))
    }

    /// Reads the config from a commit or from the working tree.
    pub fn read(files: &Source) -> Result<Config> {
        let text = files.read(CONFIG_FILE.into()).map_err(|failure| match files {
            Source::WorkingTree { root, .. } => {
                failure.hint(format!("restore it in {root} with `git checkout -- {CONFIG_FILE}`"))
            }
            Source::Commit(_) => failure.hint("name a commit in which this tool is set up"),
        })?;
        Config::parse(&text)
    }

    /// Parses the file's text. Does no IO.
    pub fn parse(text: &str) -> Result<Config> {
        let config: Config = serde_json::from_str(text).map_err(|error| explain(&error))?;
        config.check(text)?;
        Ok(config)
    }

    /// Returns the account and token variable of `environment`. [`LOCAL`] has the shared ones.
    #[must_use]
    pub fn cloudflare(&self, environment: &str) -> Cloudflare {
        let over = self.environments.get(environment).and_then(|e| e.cloudflare.as_ref());
        let pick = |field: Option<&String>, shared: &String| field.unwrap_or(shared).clone();
        Cloudflare {
            account_id: pick(over.and_then(|o| o.account_id.as_ref()), &self.cloudflare.account_id),
            token_variable: pick(
                over.and_then(|o| o.token_variable.as_ref()),
                &self.cloudflare.token_variable,
            ),
        }
    }

    /// Returns the path of the field that holds the account id of `environment`.
    #[must_use]
    pub fn account_field(&self, environment: &str) -> String {
        let over = self.environments.get(environment).and_then(|e| e.cloudflare.as_ref());
        match over.and_then(|over| over.account_id.as_ref()) {
            Some(_) => format!("environments.{environment}.cloudflare.accountId"),
            None => "cloudflare.accountId".to_owned(),
        }
    }

    /// Returns every account id in the file, without duplicates.
    #[must_use]
    pub fn account_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = std::iter::once(LOCAL)
            .chain(self.environments.keys().map(String::as_str))
            .map(|environment| self.cloudflare(environment).account_id)
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// Returns the environment of previews.
    pub fn preview_environment(&self) -> Result<String> {
        let marked = self.environments.iter().find(|(_, environment)| environment.previews);
        marked.map(|(name, _)| name.clone()).ok_or_else(|| {
            usage("say which environment: `--env staging`, for example")
                .hint(format!("or mark one in {CONFIG_FILE}: `\"previews\": true`"))
        })
    }

    /// Checks that `environment` exists.
    pub fn require_environment(&self, environment: &str) -> Result<()> {
        if environment == LOCAL || self.environments.contains_key(environment) {
            return Ok(());
        }
        let names = || std::iter::once(LOCAL).chain(self.environments.keys().map(String::as_str));
        let failure = usage(format!("unknown environment `{environment}`"));
        let hint = did_you_mean(environment, names());
        let all = || format!("{CONFIG_FILE} has: {}", names().collect::<Vec<_>>().join(", "));
        Err(failure.hint(hint.unwrap_or_else(all)))
    }

    fn check(&self, text: &str) -> Result<()> {
        let at = |needle: &str| {
            let line = text.lines().position(|line| line.contains(needle)).map_or(1, |n| n + 1);
            format!("{CONFIG_FILE}:{line}")
        };
        for id in self.account_ids() {
            if !is_cloudflare_id(&id) {
                return Err(invalid_config(format!(
                    "{}: `accountId` must be 32 hexadecimal digits, found `{id}`",
                    at(&id)
                ))
                .hint("copy it from the address of the Cloudflare dashboard: dash.cloudflare.com/<accountId>"));
            }
        }
        let variables = self.environments.keys().map(|name| self.cloudflare(name).token_variable);
        let shared = [&self.cloudflare.token_variable, &self.gitlab.token_variable];
        let mut variables = shared.into_iter().cloned().chain(variables);
        if let Some(name) = variables.find(|name| !is_variable(name)) {
            return Err(invalid_config(format!(
                "{}: `tokenVariable` must be the name of a variable: letters, digits and `_`, found `{name}`",
                at(&name)
            )));
        }
        self.check_variables(&at)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if let Some(name) =
            self.environments.keys().find(|name| name.is_empty() || !name.chars().all(plain))
        {
            return Err(invalid_config(format!(
                "{}: the name of an environment holds letters, digits, dashes, dots and `_`, found `{name}`",
                at(name)
            )));
        }
        if self.environments.contains_key(LOCAL) {
            return Err(invalid_config(format!(
                "{}: the environment `{LOCAL}` is built in and cannot be configured",
                at("\"local\"")
            )));
        }
        self.pipeline.check(self, &at)
    }

    /// Refuses invalid names, and tokens, because an install or a build runs untrusted code.
    fn check_variables(&self, at: &dyn Fn(&str) -> String) -> Result<()> {
        let named = self.environments.keys().map(|name| self.cloudflare(name).token_variable);
        let mut tokens: Vec<String> = named.collect();
        tokens.extend(
            [&self.cloudflare.token_variable, &self.gitlab.token_variable].map(Clone::clone),
        );
        tokens.extend(["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_KEY"].map(str::to_owned));
        let lists = [("install", &self.variables.install), ("build", &self.variables.build)];
        for (list, name) in
            lists.iter().flat_map(|(list, names)| names.iter().map(move |n| (list, n)))
        {
            let place = at(&format!("\"{name}\""));
            if !is_variable(name) {
                return Err(invalid_config(format!(
                    "{place}: `variables.{list}` holds names of variables: letters, digits and `_`, found `{name}`"
                ))
                .hint("write the name alone; the value comes from the environment"));
            }
            if tokens.contains(name) {
                return Err(invalid_config(format!(
                    "{place}: `variables.{list}` names `{name}`, which holds a token for deployments"
                ))
                .hint("remove it there; a step that needs the token is a `beforeDeploy` of the project"));
            }
        }
        Ok(())
    }
}

/// Returns true if every shell accepts `name` as a variable.
fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit()
}

/// Turns serde's message into one that names the file, the position and the nearest field.
fn explain(error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let failure =
        invalid_config(format!("{CONFIG_FILE}:{}:{}: {message}", error.line(), error.column()));
    match did_you_mean_in(message) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::ErrorKind;

    const VALID: &str = toolchain::CONFIG;

    fn error(text: &str) -> Error {
        Config::parse(text).expect_err("an error")
    }

    #[test]
    fn the_repository_file_is_valid() {
        let config = Config::parse(VALID).expect("valid");
        assert!(config.environments["production"].protected);
        assert_eq!(config.cloudflare("staging").token_variable, "CLOUDFLARE_WORKERS_TOKEN");
    }

    #[test]
    fn an_unknown_field_names_its_place_and_the_nearest_field() {
        let failure = error(&VALID.replace("\"accountId\"", "\"acountId\""));
        assert!(failure.message.starts_with("dagger/config/config.json:4:14: unknown field"));
        assert_eq!(failure.hints, ["did you mean `accountId`?"]);
        assert_eq!(failure.kind, ErrorKind::Config);
    }

    #[test]
    fn variables_are_names_and_no_tokens() {
        let with = |lists: &str| VALID.replacen('{', &format!("{{ \"variables\": {lists},"), 1);
        let config = Config::parse(&with(r#"{ "install": ["NPM_TOKEN"], "build": ["PUBLIC_A"] }"#));
        assert_eq!(config.expect("valid").variables.build, ["PUBLIC_A"]);
        for (lists, message) in [
            (
                r#"{ "build": ["A=b"] }"#,
                "`variables.build` holds names of variables: letters, digits and `_`, found `A=b`",
            ),
            (
                r#"{ "install": ["CLOUDFLARE_WORKERS_TOKEN"] }"#,
                "`variables.install` names `CLOUDFLARE_WORKERS_TOKEN`, which holds a token for deployments",
            ),
            (
                r#"{ "build": ["CICD_COMMENT_TOKEN"] }"#,
                "`variables.build` names `CICD_COMMENT_TOKEN`, which holds a token for deployments",
            ),
        ] {
            assert_eq!(
                error(&with(lists)).message,
                format!("dagger/config/config.json:1: {message}")
            );
        }
    }

    #[test]
    fn an_unknown_strategy_names_its_place_and_the_nearest_one() {
        let with = |strategy: &str| {
            VALID
                .replace(
                    "\"staging\": {",
                    &format!("\"staging\": {{ \"previewStrategy\": \"{strategy}\","),
                )
                .replace(",}", "}")
        };
        let config = Config::parse(&with("preview")).expect("valid");
        assert_eq!(config.environments["staging"].preview_strategy, Some(Strategy::Preview));
        let failure = error(&with("previews"));
        assert!(failure.message.contains("unknown variant `previews`"), "{}", failure.message);
        assert_eq!(failure.hints, ["did you mean `preview`?"]);
    }

    #[test]
    fn a_wrong_type_names_the_place() {
        let failure = error(&VALID.replace("\"protected\": true", "\"protected\": \"yes\""));
        assert!(failure.message.contains("config.json:14:"), "{}", failure.message);
        assert!(failure.message.contains("expected a boolean"), "{}", failure.message);
    }

    #[test]
    fn a_malformed_account_id_names_the_line() {
        let failure = error(&VALID.replace("0000000000000000", "zz"));
        assert!(failure.message.starts_with("dagger/config/config.json:4:"), "{}", failure.message);
    }

    #[test]
    fn overrides_replace_single_fields() {
        let other = "f".repeat(32);
        let text = VALID.replace(
            "\"staging\": {}",
            &format!("\"staging\": {{ \"cloudflare\": {{ \"accountId\": \"{other}\" }} }}"),
        );
        let config = Config::parse(&text).expect("valid");
        assert_eq!(config.cloudflare("staging").account_id, other);
        assert_eq!(config.cloudflare("staging").token_variable, "CLOUDFLARE_WORKERS_TOKEN");
        assert_eq!(config.account_ids().len(), 2);
    }

    #[test]
    fn unknown_environments_get_a_suggestion() {
        let config = Config::parse(VALID).expect("valid");
        assert!(config.require_environment(LOCAL).is_ok());
        let failure = config.require_environment("prodution").expect_err("unknown");
        assert_eq!(failure.hints, ["did you mean `production`?"]);
    }
}
