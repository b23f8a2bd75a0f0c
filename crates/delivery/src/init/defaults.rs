//! Reads the defaults of `init` from a repository: its GitLab, account, environments and workspaces.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::Value;

use gitlab::pipeline::steps::check_needs;
use workspace::Workspace;
use workspace::config::{Cloudflare, Config, Environment, Gitlab, is_cloudflare_id};
use workspace::discovery::BrokenConfig;
use workspace::environment_names::{PRODUCTION, is_other_form, is_production};
use workspace::git;
use workspace::pipeline::{DeployJobs, GITLAB_FILE, HOST, PipelineSettings, Stages};
use workspace::toolchain;

/// The placeholder of an account id.
const NO_ACCOUNT: &str = "00000000000000000000000000000000";

/// The file of a pipeline that an existing one includes.
const INCLUDED: &str = ".gitlab/xtask.yml";

/// Hosts that are not GitLab.
const OTHER_HOSTS: [&str; 4] = ["github.com", "bitbucket.org", "codeberg.org", "dev.azure.com"];

/// Returns an empty config.
#[must_use]
pub fn empty_config() -> Config {
    let production = Environment { protected: true, previews: true, ..Environment::default() };
    Config {
        schema: None,
        cloudflare: Cloudflare {
            account_id: NO_ACCOUNT.to_owned(),
            token_variable: "CLOUDFLARE_WORKERS_TOKEN".to_owned(),
        },
        gitlab: Gitlab {
            url: "https://gitlab.com".to_owned(),
            project_id: "0".to_owned(),
            token_variable: "CICD_COMMENT_TOKEN".to_owned(),
        },
        environments: BTreeMap::from([(PRODUCTION.to_owned(), production)]),
        tools: toolchain::default_tools(),
        images: toolchain::default_images(),
        pipeline: PipelineSettings { engine: HOST.to_owned(), ..PipelineSettings::default() },
        dagger: workspace::config::DaggerSettings::default(),
        projects: None,
        variables: workspace::config::Variables::default(),
    }
}

/// Returns the config for `workspace`, which was read with [`empty_config`].
#[must_use]
pub fn config(workspace: &Workspace) -> Config {
    let mut config = empty_config();
    let root = &workspace.root;
    if let Some(url) = remote(root).as_deref().and_then(gitlab) {
        config.gitlab.url = url;
    }
    if let Some(account) = account(workspace) {
        config.cloudflare.account_id = account;
    }
    let blocks = workspace.projects.iter().flat_map(|project| &project.environments);
    let blocks: BTreeSet<&String> = blocks
        .filter(|name| !name.is_empty() && *name != workspace::config::LOCAL)
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .collect();
    add_environments(&mut config, &blocks);
    if let Ok(text) = std::fs::read_to_string(root.join(GITLAB_FILE)) {
        config.pipeline.file = INCLUDED.to_owned();
        config.pipeline.stages = Some(stages(&text));
    }
    config.projects = projects(workspace);
    // GitLab would refuse a job for each project.
    if check_needs(&workspace.projects, &config).is_err() {
        config.pipeline.deploy = DeployJobs::OneJob;
    }
    config
}

/// Adds the environments that wrangler configs have a block for. If the blocks call production `prod`, for example, that is
/// the name of its environment.
fn add_environments(config: &mut Config, blocks: &BTreeSet<&String>) {
    let called = blocks.iter().find(|name| is_other_form(name, PRODUCTION));
    if let Some(name) = called.filter(|_| !blocks.iter().any(|block| *block == PRODUCTION))
        && let Some(production) = config.environments.remove(PRODUCTION)
    {
        config.environments.insert((*name).clone(), production);
        config.pipeline.environments = vec![(*name).clone()];
    }
    for name in blocks {
        let environment = config.environments.entry((*name).clone()).or_default();
        environment.protected |= is_production(name);
    }
}

/// Returns true if a pipeline for GitLab is useful.
#[must_use]
pub fn has_gitlab(root: &Utf8Path) -> bool {
    root.join(GITLAB_FILE).is_file() || remote(root).is_none_or(|url| gitlab(&url).is_some())
}

fn remote(root: &Utf8Path) -> Option<String> {
    git::ask(root, &["remote", "get-url", "origin"])
}

/// Returns the URL of a remote's GitLab. `None` if it is another service or a folder.
fn gitlab(remote: &str) -> Option<String> {
    let (scheme, rest) = match remote.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(("ssh", rest)) => ("https", rest),
        Some(_) => return None,
        None => {
            let (host, _) = remote.split_once(':')?;
            ("https", host)
        }
    };
    let host = rest.split('/').next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    // The port of SSH is not that of the web server.
    let is_web = remote.starts_with("http");
    let host = if is_web { host } else { host.split(':').next()? };
    // The host of gitlab.com for SSH on port 443 (https://docs.gitlab.com/user/gitlab_com/#alternative-ssh-port).
    let host = if host == "altssh.gitlab.com" { "gitlab.com" } else { host };
    let is_other = OTHER_HOSTS.contains(&host) || !host.contains('.');
    (!is_other).then(|| format!("{scheme}://{host}"))
}

/// Returns the account of the wrangler configs that name one. `None` if they differ.
fn account(workspace: &Workspace) -> Option<String> {
    let named = workspace.projects.iter().filter_map(|project| {
        let id = project.wrangler.value["account_id"].as_str()?;
        is_cloudflare_id(id).then(|| id.to_lowercase())
    });
    let named: BTreeSet<String> = named.collect();
    (named.len() == 1).then(|| named.into_iter().next())?
}

/// Returns the top-level folders of projects, if that excludes configs that cannot be used, such as fixtures
/// and templates. `None` means the whole repository.
fn projects(workspace: &Workspace) -> Option<Vec<String>> {
    let top = |dir: &Utf8Path| dir.components().next().map(|part| part.as_str().to_owned());
    if workspace.folders.is_projects_folder() {
        return None;
    }
    let tops: Option<BTreeSet<String>> =
        workspace.projects.iter().map(|project| top(&project.dir)).collect();
    let tops = tops.filter(|tops| !tops.is_empty())?;
    let is_left_out = |dir: &Utf8Path| top(dir).is_some_and(|top| !tops.contains(&top));
    let mut unusable = BrokenConfig::needing_attention(&workspace.broken);
    let is_of_use = unusable.any(|broken| is_left_out(&broken.dir));
    is_of_use.then(|| tops.iter().map(|top| format!("{top}/**")).collect())
}

/// Returns the stages for our jobs among those of a pipeline file.
fn stages(text: &str) -> Stages {
    let stages = named_stages(text);
    let Some(last) = stages.last() else {
        return Stages::default();
    };
    let find = |wanted: &[&str]| {
        let found = wanted.iter().find(|name| stages.iter().any(|stage| stage == *name));
        found.map(|name| (*name).to_owned())
    };
    let deploy = find(&["deploy", "release", "publish"]).unwrap_or_else(|| last.clone());
    Stages {
        check: find(&["check", "test", "verify", "lint"]).unwrap_or_else(|| stages[0].clone()),
        preview: find(&["preview", "review"]).unwrap_or_else(|| deploy.clone()),
        deploy,
    }
}

/// Returns the items of `stages:` at the top level of a YAML file.
fn named_stages(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("stages:"));
    let first = lines.next().and_then(|line| line.strip_prefix("stages:")).unwrap_or_default();
    let clean = |word: &str| {
        let word = word.split(" #").next().unwrap_or_default();
        word.trim().trim_matches(['"', '\'']).to_owned()
    };
    let stages: Vec<String> = match first.trim().strip_prefix('[') {
        Some(list) => list.trim_end_matches(']').split(',').map(clean).collect(),
        None => lines
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map_while(|line| line.strip_prefix("- "))
            .map(clean)
            .collect(),
    };
    stages.into_iter().filter(|stage| !stage.is_empty() && !stage.starts_with('.')).collect()
}

/// Returns the text of the config file, without default values.
#[must_use]
pub fn text(config: &Config, is_vendored: bool) -> String {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        if !is_vendored {
            fields.remove("tools");
            fields.remove("images");
        }
        if is_vendored {
            fields.insert("$schema".to_owned(), "./config.schema.json".into());
        }
        let usual = serde_json::to_value(PipelineSettings::default()).unwrap_or_default();
        if let Some(Value::Object(pipeline)) = fields.get_mut("pipeline") {
            pipeline.retain(|name, value| usual[name.as_str()] != *value);
        }
        if let Some(Value::Object(environments)) = fields.get_mut("environments") {
            for environment in environments.values_mut().filter_map(Value::as_object_mut) {
                environment.retain(|_, value| *value != Value::Bool(false));
            }
        }
        fields.retain(|name, value| name != "pipeline" || *value != serde_json::json!({}));
    }
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_gitlab_server_from_a_remote() {
        for (remote, expected) in [
            ("git@gitlab.example.org:team/shop.git", Some("https://gitlab.example.org")),
            ("ssh://git@git.acme.dev:2222/team/shop.git", Some("https://git.acme.dev")),
            ("https://ci:secret@gitlab.com/team/shop.git", Some("https://gitlab.com")),
            ("http://gitlab.local:8080/team/shop.git", Some("http://gitlab.local:8080")),
            ("ssh://git@altssh.gitlab.com:443/team/shop.git", Some("https://gitlab.com")),
            ("git@altssh.gitlab.com:team/shop.git", Some("https://gitlab.com")),
            ("git@github.com:team/shop.git", None),
            ("/srv/git/shop.git", None),
        ] {
            assert_eq!(gitlab(remote).as_deref(), expected, "{remote}");
        }
    }

    #[test]
    fn blocks_of_wrangler_configs_become_environments() {
        let environments = |blocks: &[&str]| {
            let blocks: Vec<String> = blocks.iter().map(|name| (*name).to_owned()).collect();
            let mut config = empty_config();
            add_environments(&mut config, &blocks.iter().collect());
            let rows = config.environments.iter().map(|(name, environment)| {
                let marks =
                    [(environment.protected, " protected"), (environment.previews, " previews")];
                let marks = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark);
                name.clone() + &marks.collect::<String>()
            });
            (rows.collect::<Vec<_>>().join(", "), config.pipeline.environments.join(", "))
        };
        for (blocks, expected, deployed) in [
            (&[][..], "production protected previews", "production"),
            (&["staging"], "production protected previews, staging", "production"),
            (&["prod"], "prod protected previews", "prod"),
            (&["live", "stage"], "live protected previews, stage", "live"),
            (
                &["prod", "production"],
                "prod protected, production protected previews",
                "production",
            ),
            (
                &["preprod", "production-eu"],
                "preprod, production protected previews, production-eu protected",
                "production",
            ),
        ] {
            assert_eq!(environments(blocks), (expected.to_owned(), deployed.to_owned()));
        }
    }

    #[test]
    fn uses_the_stages_of_the_existing_file() {
        let words = |text: &str| {
            let Stages { check, preview, deploy } = stages(text);
            format!("{check} {preview} {deploy}")
        };
        assert_eq!(words("job:\n  script: x\n"), "test deploy deploy");
        assert_eq!(words("stages: [build, \"test\", release]\n"), "test release release");
        assert_eq!(
            words("stages:\n  - build # all\n\n  - review\n  - 'ship'\nx: 1\n"),
            "build review ship"
        );
        assert_eq!(words("stages:\n- .pre\n- one\n"), "one one one");
    }

    #[test]
    fn written_defaults_parse() {
        for is_vendored in [false, true] {
            let text = text(&empty_config(), is_vendored);
            Config::parse(&text).expect("valid");
            assert_eq!(text.contains("\"tools\""), is_vendored);
        }
    }
}
