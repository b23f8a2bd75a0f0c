//! Checks that a wrangler config means the environment that it is deployed to.

use camino::Utf8Path;

use base::error::{Result, refused};
use base::text::list_first;
use workspace::Workspace;
use workspace::config::{CONFIG_FILE, Config, LOCAL};
use workspace::environment_names::{is_config_of, is_other_form};
use workspace::names::MANIFEST;
use workspace::project::Project;
use workspace::wrangler::variant_words;

/// Refuses an environment without an `env` block if the top level is not meant for it.
pub fn check(workspace: &Workspace, project: &Project, environment: &str) -> Result<()> {
    if environment == LOCAL || project.wrangler.has(environment) {
        return Ok(());
    }
    check_other_name(&workspace.config, project, environment)?;
    check_other_config(workspace, project, environment)?;
    check_missing(&workspace.config, project, environment)
}

/// Refuses an environment whose block has another form of its name, such as `prod` for `production`. The top level is often
/// the Worker for development.
fn check_other_name(config: &Config, project: &Project, environment: &str) -> Result<()> {
    let mut blocks = project.wrangler.environments.iter();
    let Some(block) = blocks.find(|block| is_other_form(block, environment)) else {
        return Ok(());
    };
    let failure = refused(format!(
        "{}: it has the block `env.{block}` but none for `{environment}`, which would get the top level with the Worker `{}`",
        project.config,
        project.target(environment).worker
    ));
    let failure = if config.environments.contains_key(block) {
        failure.hint(format!("deploy to `{block}` with `--env {block}`"))
    } else {
        let is_deployed = config.pipeline.environments.iter().any(|name| name == environment);
        let also = if is_deployed { ", also in `pipeline.environments`" } else { "" };
        failure.hint(format!(
            "rename the environment `{environment}` to `{block}` in {CONFIG_FILE}{also}"
        ))
    };
    Err(failure.hint(format!("or rename the block to `{environment}`")))
}

/// Refuses an environment whose config file is in the folder and is not used.
fn check_other_config(workspace: &Workspace, project: &Project, environment: &str) -> Result<()> {
    let own = workspace.packages.get(project.dir.as_str());
    if own.is_some_and(|package| !package.settings.configs.is_empty()) {
        return Ok(());
    }
    let is_in_folder = |config: &&Utf8Path| config.parent() == Some(project.dir.as_path());
    let ignored = workspace.ignored_configs.iter().map(|path| (path.as_path(), false));
    let projects: Vec<&Utf8Path> = workspace
        .projects
        .iter()
        .map(|other| other.config.as_path())
        .filter(is_in_folder)
        .collect();
    let others = projects.iter().map(|path| (*path, true));
    let others = ignored.filter(|(path, _)| is_in_folder(path)).chain(others);
    let name_of = |path: &Utf8Path| path.file_name().unwrap_or_default().to_owned();
    let is_of = |config: &Utf8Path, (other, is_project): (&Utf8Path, bool)| {
        config != other && is_config_of(&name_of(other), &name_of(config), environment, is_project)
    };
    // `wrangler.api.prod.toml` belongs to `wrangler.api.toml` rather than to `wrangler.toml`.
    let belongs_here = |other: &(&Utf8Path, bool)| {
        let words = |config: &Utf8Path| variant_words(&name_of(config)).count();
        let mut longer = projects.iter().filter(|config| words(config) > words(&project.config));
        is_of(&project.config, *other) && !longer.any(|config| is_of(config, *other))
    };
    let Some((other, _)) = others.into_iter().find(belongs_here) else { return Ok(()) };
    let name = name_of(other);
    let manifest = project.dir.join(MANIFEST);
    let failure = refused(format!(
        "{}: it has no block `env.{environment}`, and {other} beside it is not used, so `{environment}` would get the Worker `{}`",
        project.config,
        project.target(environment).worker
    ));
    Err(failure
        .hint(format!(
            "list the configs that are projects in {manifest}: `\"xtask\": {{ \"configs\": [\"{name}\"] }}`"
        ))
        .hint(format!(
            "or add {} to {}",
            written_block(&project.config, environment),
            project.config
        )))
}

/// Returns an `env` block in the syntax of `config`.
fn written_block(config: &Utf8Path, environment: &str) -> String {
    match config.extension() {
        Some("toml") => format!("`[env.{environment}]`"),
        _ => format!("`\"env\": {{ \"{environment}\": {{ … }} }}`"),
    }
}

/// Refuses an environment without an `env` block if the config has other blocks and the top level belongs to no environment,
/// because it has no name, or lacks bindings that every block has. Wrangler refuses each environment without a block. But a
/// config often has production at the top level and a block for staging.
fn check_missing(config: &Config, project: &Project, environment: &str) -> Result<()> {
    let wrangler = &project.wrangler;
    if wrangler.environments.is_empty() {
        return Ok(());
    }
    let is_protected = |name: &str| config.environments.get(name).is_some_and(|own| own.protected);
    let target = project.target(environment);
    let mut missing = wrangler.bindings_only_in_blocks();
    // Production at the top level may lack what distinguishes the others.
    if wrangler.environments.iter().any(|name| is_protected(name)) {
        missing.extend(wrangler.variables_only_in_blocks());
    }
    let missing: Vec<String> = missing.into_iter().map(|name| format!("`{name}`")).collect();
    let missing = list_first(MAX_LISTED, &missing);
    let (reason, hint) = if target.default_name.is_some() {
        let hint = format!("or add `name` to the top level, if `{environment}` is to use it");
        ("and the top level has no `name` for its Worker".to_owned(), hint)
    } else if is_protected(environment) || missing.is_empty() {
        return Ok(());
    } else {
        let hint = format!("or add {missing} to the top level, if `{environment}` is to use it");
        let reason = format!(
            "and the Worker of the top level, `{}`, lacks {missing}, which every block has",
            target.worker
        );
        (reason, hint)
    };
    let blocks = list_first(MAX_LISTED, &wrangler.environments);
    let block = written_block(&project.config, environment);
    let text = format!(
        "{}: it has no block `env.{environment}` (its blocks: {blocks}), {reason}",
        project.config
    );
    Err(refused(text)
        .hint(format!("add {block} with the bindings of `{environment}`"))
        .hint(hint)
        .hint("or choose an environment that has a block with `--env`"))
}

/// The number of blocks or bindings that a message lists.
const MAX_LISTED: usize = 8;
