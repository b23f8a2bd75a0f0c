//! Checks of a plan. Each refusal names the broken rule and the fix.

use camino::{Utf8Path, Utf8PathBuf};

use base::command::xtask_line;
use base::error::{Error, Result, refused};
use base::text::is_control_or_bidi;
use cloudflare::wrangler_fields::{ConfigSchema, UnknownField};
use workspace::Workspace;
use workspace::before_deploy::{BeforeDeploy, WranglerStep};
use workspace::config::{CONFIG_FILE, Config, is_cloudflare_id};
use workspace::exclusion::leave_out;
use workspace::field_types::field_line;
use workspace::files::folder_name;
use workspace::package::Package;
use workspace::paths::normalize;
use workspace::project::Project;
use workspace::remote_binding::RemoteBinding;
use workspace::strategy::Strategy;
use workspace::wrangler::{Target, WranglerConfig};

/// The next step if `assets.directory` is no folder of an output.
const OUTPUT_FOLDER: &str =
    "name the folder that the build writes, below the config: `\"directory\": \"./dist\"`";

/// Returns the folder of static assets, relative to the root. Refuses one that contains the project.
pub fn dist(project: &Project, target: &Target) -> Result<Option<Utf8PathBuf>> {
    assets_folder(project, target, false)
}

/// Returns the folder of static assets, relative to the root. It may contain the project if it has an `.assetsignore`, which
/// leaves files out. The upload refuses private files.
pub fn assets_folder(
    project: &Project,
    target: &Target,
    has_ignore_file: bool,
) -> Result<Option<Utf8PathBuf>> {
    let Some(assets) = &target.assets else {
        return Ok(None);
    };
    if assets.as_str().chars().any(is_control_or_bidi) {
        return Err(refused(format!(
            "{}: `assets.directory` has an invisible character: {assets:?}",
            project.config
        ))
        .hint("type the path again"));
    }
    let dist = normalize(&project.dir.join(assets)).ok_or_else(|| {
        refused(format!("{}: `assets.directory` is outside of the repository", project.config))
            .hint(OUTPUT_FOLDER)
    })?;
    if project.dir.starts_with(&dist) && !has_ignore_file {
        return Err(refused(format!(
            "{}: `assets.directory` contains the project itself, which would publish its sources",
            project.config
        ))
        .hint(OUTPUT_FOLDER)
        .hint(
            "or add an `.assetsignore` to that folder, which lists the files that are not public",
        ));
    }
    Ok(Some(dist))
}

/// Refuses dependencies without a lock file, because their versions would change over time. The lock file of a member of
/// a workspace belongs into the workspace's root.
#[must_use]
pub fn no_lock_file(workspace: &Workspace, package: &Package) -> Error {
    let (dir, manager) = workspace.install_folder(package);
    let install = manager.map_or_else(
        || "`npm install`, `pnpm install`, `yarn install` or `bun install`".to_owned(),
        |manager| format!("`{}`", manager.install_command()),
    );
    let (name, dir) = (folder_name(&package.dir), folder_name(dir));
    refused(format!("{name} has dependencies but no lock file in its folder or above"))
        .hint(format!("run {install} in {dir} and commit the lock file"))
}

/// Refuses configs that would fail silently in `environment`. A build may write the config that names the code, as Nitro
/// and the plugin of Vite do.
pub fn check(config: &Config, project: &Project, environment: &str) -> Result<()> {
    let target = project.target(environment);
    let package = project.package.as_ref();
    // The `build.command` runs after wrangler read its config.
    let is_built = package.is_some_and(|package| package.build.is_some())
        && !target.runs_script_build(package);
    if target.main.is_none() && target.assets.is_none() && !is_built {
        let own = package.filter(|package| package.dir == project.dir);
        let code = own.and_then(|package| package.deployed_code.as_ref());
        let add = match code {
            Some(code) => {
                let line = field_line(&project.config, "main", &code.as_str().into());
                format!("add {line} to its top level, because the script `deploy` names that code")
            }
            None => "add the code or the assets of the Worker".to_owned(),
        };
        return Err(refused(format!("{}: neither `main` nor `assets.directory`", project.config))
            .hint(add)
            .hint(format!("or {}", leave_out(config, &project.dir))));
    }
    Ok(())
}

/// Refuses a config of another account. The sandbox has every account, so nothing is checked for it.
pub fn check_account(config: &Config, project: &Project, environment: &str) -> Result<()> {
    let target = project.target(environment);
    let here = config.cloudflare(environment);
    let account = target.account_id.as_ref().unwrap_or(&here.account_id);
    if !account.eq_ignore_ascii_case(&here.account_id) {
        let failure = refused(format!(
            "{}: `account_id` is {account}, but `{environment}` is {}",
            project.config, here.account_id
        ))
        .hint(format!("remove `account_id` if its Worker is in {}", here.account_id));
        // A placeholder is no account.
        return Err(if is_cloudflare_id(account) {
            failure.hint(format!(
                "or give an environment of {CONFIG_FILE} this account, as its `cloudflare.accountId`, and deploy there"
            ))
        } else {
            failure
        });
    }
    Ok(())
}

/// Refuses a container whose image wrangler would build, because the upload runs no program of the project.
pub fn check_containers(config: &Utf8Path, target: &Target) -> Result<()> {
    let Some((path, image)) = &target.built_image else { return Ok(()) };
    Err(refused(format!(
        "{config}: `{path}` is {image}, which would build an image in the process that has the token"
    ))
    .hint("push the image first (`wrangler containers build --push`), and name it with its registry and tag"))
}

/// Refuses a Worker in Python for the sandbox, whose workerd would download an interpreter for it.
pub fn check_local_runtime(config: &Utf8Path, target: &Target) -> Result<()> {
    match target.main.as_deref().and_then(Utf8Path::extension) {
        Some("py") => Err(refused(format!("{config}: the sandbox does not run Python Workers"))
            .hint("deploy it to Cloudflare with `--env`")),
        _ => Ok(()),
    }
}

/// Refuses to upload bindings to the sandbox that only Cloudflare can run. `is_set` returns whether a
/// variable that makes a binding available locally is set.
pub fn check_local_form(
    config: &Utf8Path,
    target: &Target,
    is_set: impl Fn(&str) -> bool,
) -> Result<()> {
    let is_missing = |binding: &&RemoteBinding| !binding.variable.as_deref().is_some_and(&is_set);
    let missing: Vec<&RemoteBinding> = target.remote_bindings.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let failure =
        refused(format!("{config}: the sandbox has no local form of {}", names.join(", ")));
    let variables = missing.iter().filter_map(|binding| binding.variable.as_ref());
    Err(variables
        .fold(failure, |failure, variable| {
            failure.hint(format!(
                "set `localConnectionString` in the config, or {variable}, to the address of a local database"
            ))
        })
        .hint("add `--allow-stub` to deploy anyway; a request that uses one is answered with 501")
        .hint("or deploy to Cloudflare with `--env`"))
}

/// Refuses ids of storage without Cloudflare's format, such as `<your-id>`, because the upload would fail after the build.
/// The local environment accepts them.
pub fn check_storage(project: &Project, environment: &str) -> Result<()> {
    let target = project.target(environment);
    let storage = &target.storage;
    let command = |create: &[&str]| {
        let wrangler = ["wrangler", &project.name, "--env", environment, "--"];
        format!("`{}`", xtask_line(&[&wrangler[..], create].concat()))
    };
    if let Some(id) = storage.namespace_placeholder() {
        let text = format!(
            "{}: `{id}` is not the id of a KV namespace, which is 32 hexadecimal digits",
            project.config
        );
        let create = command(&["kv", "namespace", "create", "NAME"]);
        return Err(refused(text)
            .hint(format!("create one with {create}, and write its id into `kv_namespaces`")));
    }
    if let Some((id, name)) = storage.database_placeholder() {
        let text =
            format!("{}: `{id}` is not the id of a D1 database, which is a UUID", project.config);
        let create = command(&["d1", "create", name.unwrap_or("NAME")]);
        return Err(refused(text)
            .hint(format!("create one with {create}, and write its id into `d1_databases`")));
    }
    Ok(())
}

/// Refuses steps before the upload that read files outside of the repository.
pub fn check_steps(project: &Project) -> Result<()> {
    let steps = project.before_deploy().map(BeforeDeploy::steps).unwrap_or_default();
    for step in steps {
        step.files_below(&project.dir)
            .map_err(|file| step_outside(&project.manifest(), step, file))?;
    }
    Ok(())
}

/// Refuses a step that reads `file` outside of the repository.
#[must_use]
fn step_outside(manifest: &Utf8Path, step: &WranglerStep, file: &Utf8Path) -> Error {
    refused(format!(
        "{manifest}: the step `{}` of `xtask.beforeDeploy` reads {file}, which is outside of the repository",
        step.text
    ))
    .hint("put a copy of it into the repository")
}

/// Refuses unknown fields, because wrangler only warns and deploys a Worker without them.
#[must_use]
pub fn unknown_fields(
    path: &Utf8Path,
    config: &WranglerConfig,
    schema: &ConfigSchema,
) -> Vec<Error> {
    let refusal = |field: UnknownField| {
        let remove = || format!("remove `{}`, or move it to where it belongs", field.path);
        refused(format!("{path}: wrangler knows no field `{}`", field.path))
            .hint(field.hint.unwrap_or_else(remove))
    };
    schema.unknown_fields(&config.value).into_iter().map(refusal).collect()
}

/// Refuses a preview without a URL, or without the bindings that it must have.
pub fn check_preview(project: &Project, environment: &str, strategy: Strategy) -> Result<()> {
    if strategy == Strategy::Preview && !project.wrangler.has_previews(environment) {
        let toml = project.config.extension() == Some("toml");
        let (none, some) = if toml {
            ("`[previews]`", "`[previews.vars]` with lines like `STAGE = \"preview\"`")
        } else {
            ("`\"previews\": {}`", "`\"previews\": { \"vars\": { \"STAGE\": \"preview\" } }`")
        };
        return Err(refused(format!(
            "{}: no `previews` block, which says what a preview has for bindings",
            project.config
        ))
        .hint(format!("add {none} for a preview without any, or {some}"))
        .hint("repeat variables and bindings there, because those of the top level are not taken over")
        .hint("pass `--strategy alias` to use an alias instead"));
    }
    if strategy == Strategy::Alias && project.wrangler.has_durable_objects(environment) {
        return Err(refused(format!(
            "{}: the Worker implements a Durable Object, and Cloudflare gives its versions no address",
            project.config
        ))
        .hint("take `--strategy preview`, which gives the preview its own Durable Objects"));
    }
    match preview_without_address(project, environment) {
        Some(reason) => Err(refused(format!(
            "{}: {reason}, so a preview would have no address",
            project.config
        ))
        .hint(PREVIEW_URLS)),
        None => Ok(()),
    }
}

/// The fix for a preview without a URL.
pub const PREVIEW_URLS: &str =
    "set `\"preview_urls\": true` and deploy it once; an upload alone does not apply it";

/// Returns the reason why a preview would have no URL. `None` if it would have one.
#[must_use]
pub fn preview_without_address(project: &Project, environment: &str) -> Option<&'static str> {
    let is_on = |field: &str| project.wrangler.field(environment, field).as_bool();
    // If it is unset, it has the value of `workers_dev`, which any route turns off.
    match (is_on("preview_urls"), is_on("workers_dev")) {
        (Some(true), _) | (None, Some(true)) => None,
        (Some(false), _) => Some("`preview_urls` is false"),
        (None, Some(false)) => Some("`preview_urls` is not set, and `workers_dev` is false"),
        (None, None) if project.wrangler.patterns(environment).is_empty() => None,
        (None, None) => Some("`preview_urls` is not set, and with a route that means off"),
    }
}
