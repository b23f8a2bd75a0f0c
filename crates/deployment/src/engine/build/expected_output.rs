//! Refuses projects whose config names files that no build writes, before and after the build.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::plan::ProjectPlan;
use base::error::{Result, refused};
use cloudflare::wrangler::REDIRECT;
use workspace::Workspace;
use workspace::build_script::{OPEN_NEXT_BUILD, OPEN_NEXT_OUTPUT};
use workspace::package::INSTALL_SCRIPTS;
use workspace::package::Package;
use workspace::paths::normalize;
use workspace::project::Project;
use workspace::wrangler::is_default_config;

/// Extensions of code. An entry without one may be that of a package.
const CODE: [&str; 8] = ["js", "mjs", "cjs", "ts", "mts", "jsx", "tsx", "py"];

/// Refuses a config with a missing file that no build writes.
pub fn check_unbuilt(workspace: &Workspace, project: &Project) -> Result<()> {
    // The build of a package that it depends on may write files anywhere.
    let has_other_build = || {
        let inputs = workspace.graph.build_inputs(&project.dir);
        let mut packages = inputs.iter().filter_map(|dir| workspace.packages.get(dir.as_str()));
        packages.any(Package::builds)
    };
    check_files(&workspace.root, project, has_other_build)
}

/// Returns true if the deployed config may be one that a build writes, as the plugin of Vite and Nitro do. wrangler follows
/// it only from the default config of a folder. Without a build, the config of an earlier one is not used
/// ([`ProjectPlan::may_be_redirected`]). The `build.command` of `environment` runs after wrangler read its config.
#[must_use]
pub fn may_be_generated(root: &Utf8Path, project: &Project, environment: &str) -> bool {
    // A build leaves a config that git tracks.
    let may_write = |package: &Package| {
        package.builds()
            && !project.target(environment).runs_script_build(Some(package))
            && (package.may_write_config() || root.join(&project.dir).join(REDIRECT).is_file())
    };
    is_default_config(root, &project.config)
        && (project.module || project.package.as_ref().is_some_and(may_write))
}

/// Refuses a missing file. `has_other_build` returns true if a build of another package runs before the upload.
fn check_files(
    root: &Utf8Path,
    project: &Project,
    has_other_build: impl Fn() -> bool,
) -> Result<()> {
    let value = &project.wrangler.value;
    let blocks = value["env"].as_object().into_iter().flatten().map(|(_, block)| block);
    let has_command = blocks.chain([value]).any(|block| block["build"]["command"].is_string());
    if has_command
        || project.module
        || project.package.as_ref().is_some_and(|package| {
            package.build.is_some()
                || INSTALL_SCRIPTS.iter().any(|name| package.scripts.contains(*name))
        })
    {
        return Ok(());
    }
    let main = value["main"].as_str().filter(|path| is_code(Utf8Path::new(path)));
    let assets = value["assets"]["directory"].as_str();
    for (field, path) in [("main", main), ("assets.directory", assets)] {
        let Some(path) = path else { continue };
        // An install writes the files of a dependency.
        let is_installed = |path: &Utf8PathBuf| {
            path.components().any(|project| project.as_str() == "node_modules")
        };
        let file = normalize(&project.dir.join(path)).filter(|path| !is_installed(path));
        let is_missing = file
            .filter(|path| !root.join(path).exists())
            .is_some_and(|path| path.starts_with(&project.dir) || !has_other_build());
        if is_missing {
            return Err(refused(format!(
                "{}: `{field}` is {path}, which does not exist, and the project has no build",
                project.config
            ))
            .hint(build_hint(project)));
        }
    }
    Ok(())
}

/// Returns the hint with the line that sets a build.
fn build_hint(project: &Project) -> String {
    let Some(package) = &project.package else {
        let setting = build_setting(&project.manifest(), "…", false);
        return format!("{setting}, or add the missing file");
    };
    let is_build =
        |name: &&String| ["build", "compile", "bundle"].iter().any(|word| name.contains(word));
    let script = package.scripts.iter().find(is_build).map(|name| format!("npm run {name}"));
    let command = script.unwrap_or_else(|| "…".to_owned());
    let setting = build_setting(&project.manifest(), &command, true);
    format!("{setting}, or add the missing file")
}

/// Returns the step that sets `command` as the build in a manifest, which has to be created unless it exists.
fn build_setting(manifest: &Utf8Path, command: &str, exists: bool) -> String {
    if exists {
        format!("set `\"xtask\": {{ \"build\": \"{command}\" }}` in {manifest}")
    } else {
        format!("create {manifest} with `{{ \"xtask\": {{ \"build\": \"{command}\" }} }}`")
    }
}

/// Refuses an entry point that the build did not write, or that it wrote for another host than Cloudflare. No adapter wrote
/// a config.
pub fn check_entry(root: &Utf8Path, project: &ProjectPlan) -> Result<()> {
    if project.is_named_by_adapter() {
        return Err(refused(format!(
            "{}: neither `main` nor `assets.directory`, and the build wrote no {REDIRECT}",
            project.config
        ))
        .hint("add `main` or `assets` with a `directory`, or let the framework write the config: `preset: \"cloudflare-module\"` of Nitro, `@cloudflare/vite-plugin` of Vite"));
    }
    let is_checked = |main: &&Utf8PathBuf| is_code(main) && !project.target.has_build_command;
    let Some(main) = project.target.main.as_ref().filter(is_checked) else { return Ok(()) };
    let Some(path) = normalize(&project.dir.join(main)) else { return Ok(()) };
    let dir = project.build.as_ref().unwrap_or(&project.dir);
    if !root.join(&path).exists() {
        let state =
            if project.build.is_some() { "is missing after the build" } else { "does not exist" };
        return Err(refused(format!("{path}, the `main` of {}, {state}", project.config))
            .hint(hint(root, &path, &dir.join("package.json"))));
    }
    let nitro = path.ancestors().find(|path| path.file_name() == Some(NITRO_OUTPUT));
    let nitro = nitro.map(|folder| folder.join("nitro.json"));
    let Some(facts) = nitro.and_then(|path| std::fs::read_to_string(root.join(path)).ok()) else {
        return Ok(());
    };
    let facts: Value = serde_json::from_str(&facts).unwrap_or_default();
    match facts["preset"].as_str() {
        Some(preset) if !preset.starts_with("cloudflare") => {
            Err(refused(format!("{path} was built for `{preset}`, which does not run on Workers"))
                .hint(NITRO))
        }
        _ => Ok(()),
    }
}

/// Refuses to publish an assets folder that is missing, or empty where it may not be. `manifest` is the `package.json` of
/// the project.
pub fn check_output(
    root: &Utf8Path,
    dist: &Utf8Path,
    may_be_empty: bool,
    manifest: &Utf8Path,
) -> Result<()> {
    let path = root.join(dist);
    let entries = path.read_dir_utf8().map_err(|error| {
        let failure = refused(format!("{dist} is missing after the build: {error}"));
        failure.hint(hint(root, dist, manifest))
    })?;
    let hidden = ["_headers", "_redirects", ".assetsignore"];
    let filled = entries.filter_map(Result::ok).any(|entry| !hidden.contains(&entry.file_name()));
    if filled || may_be_empty {
        return Ok(());
    }
    Err(refused(format!("{dist} is empty: it would publish an empty site"))
        .hint("the build succeeded but its output folder is empty"))
}

/// Returns true if the Worker's code is in the same output as its assets `dist`, as that of Nitro: the build wrote the code,
/// so the site has no assets if there are none.
#[must_use]
pub fn is_beside_code(project: &ProjectPlan, dist: &Utf8Path) -> bool {
    let output = |path: &Utf8Path| {
        let inside = path.strip_prefix(&project.dir).ok()?;
        inside.components().next().map(|project| project.as_str().to_owned())
    };
    let main = project.target.main.as_ref().and_then(|main| normalize(&project.dir.join(main)));
    let main = main.as_deref().and_then(output);
    main.is_some() && main == output(dist)
}

/// The folder that Nitro writes.
const NITRO_OUTPUT: &str = ".output";

/// The fix of an output of Nitro for another host.
const NITRO: &str = "set `nitro: { preset: \"cloudflare_module\" }` in the config of Nuxt or Nitro";

/// Returns the hint that makes a build write `path`.
#[must_use]
pub fn hint(root: &Utf8Path, path: &Utf8Path, manifest: &Utf8Path) -> String {
    let setting = |command: &str| build_setting(manifest, command, root.join(manifest).is_file());
    let has = |folder: &str| path.components().any(|project| project.as_str() == folder);
    if has("node_modules") {
        let dir = manifest.parent().unwrap_or(Utf8Path::new(""));
        format!(
            "add {dir} to the workspace of the lock file above it, or commit its own lock file, so that the install writes it"
        )
    } else if has(OPEN_NEXT_OUTPUT) {
        setting(OPEN_NEXT_BUILD)
    } else if has(".svelte-kit") {
        "use `@sveltejs/adapter-cloudflare` as the adapter of SvelteKit, which writes `.svelte-kit/cloudflare`"
            .to_owned()
    } else if has(NITRO_OUTPUT) {
        NITRO.to_owned()
    } else {
        format!("let the build write it, or {} for the command that does", setting("…"))
    }
}

fn is_code(path: &Utf8Path) -> bool {
    path.extension().is_some_and(|extension| CODE.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;
    use workspace::wrangler::WranglerConfig;

    #[track_caller]
    fn check(manifest: &str, config: &str, expected: Option<(&str, &str)>) {
        check_with(manifest, config, false, expected);
    }

    #[track_caller]
    fn check_with(manifest: &str, config: &str, has_build: bool, expected: Option<(&str, &str)>) {
        let wrangler =
            WranglerConfig::parse(Utf8Path::new("wrangler.json"), config).expect("valid");
        let package = Package::parse(Utf8Path::new("nowhere/app"), manifest).expect("valid");
        let project = Project {
            name: "app".to_owned(),
            dir: "nowhere/app".into(),
            config: "nowhere/app/wrangler.json".into(),
            worker: "app".to_owned(),
            environments: Vec::new(),
            package: Some(package),
            module: false,
            wrangler,
        };
        let found = check_files(Utf8Path::new("/nonexistent"), &project, || has_build).err();
        let found = found.map(|failure| (failure.message, failure.hints.join("\n")));
        let expected = expected.map(|(message, hint)| {
            (format!("nowhere/app/wrangler.json: {message}, which does not exist, and the project has no build"), hint.to_owned())
        });
        assert_eq!(found, expected, "{manifest} {config}");
    }

    #[test]
    fn a_file_that_nothing_makes_is_refused() {
        let main = r#"{ "name": "app", "main": "dist/index.js" }"#;
        let any = "set `\"xtask\": { \"build\": \"…\" }` in nowhere/app/package.json, or add the missing file";
        check("{}", main, Some(("`main` is dist/index.js", any)));
        check(
            r#"{ "scripts": { "build:worker": "tsup" } }"#,
            r#"{ "name": "app", "assets": { "directory": "./public" } }"#,
            Some((
                "`assets.directory` is ./public",
                "set `\"xtask\": { \"build\": \"npm run build:worker\" }` in nowhere/app/package.json, or add the missing file",
            )),
        );
        for manifest in [
            r#"{ "scripts": { "build": "tsup" } }"#,
            r#"{ "scripts": { "postinstall": "tsup" } }"#,
            r#"{ "scripts": { "deploy": "tsup && wrangler deploy" } }"#,
        ] {
            check(manifest, main, None);
        }
        for config in [
            r#"{ "name": "app", "main": "dist/index.js", "build": { "command": "make" } }"#,
            r#"{ "name": "app", "main": "@astrojs/cloudflare/entrypoints/server" }"#,
            r#"{ "name": "app", "main": "node_modules/ui/dist/worker.js" }"#,
            r#"{ "name": "app", "assets": { "directory": "./node_modules/ui/dashboard" } }"#,
        ] {
            check("{}", config, None);
        }
    }

    #[test]
    fn a_file_outside_of_the_project_may_be_that_of_another_build() {
        let config = r#"{ "name": "app", "assets": { "directory": "../../dist/docs/site/" } }"#;
        let any = "set `\"xtask\": { \"build\": \"…\" }` in nowhere/app/package.json, or add the missing file";
        let missing = ("`assets.directory` is ../../dist/docs/site/", any);
        check_with("{}", config, false, Some(missing));
        check_with("{}", config, true, None);
        check_with(r#"{ "scripts": { "build": "tsup" } }"#, config, false, None);
    }

    #[test]
    fn the_hint_names_what_writes_the_folder() {
        let root = Utf8Path::new("/nonexistent");
        let hint = |path: &str| hint(root, Utf8Path::new(path), Utf8Path::new("a/package.json"));
        assert_eq!(
            hint("a/.open-next/worker.js"),
            "create a/package.json with `{ \"xtask\": { \"build\": \"opennextjs-cloudflare build\" } }`"
        );
        assert!(hint("a/.svelte-kit/cloudflare").starts_with("use `@sveltejs/adapter-cloudflare`"));
        assert!(hint("a/.output/server/index.mjs").contains("cloudflare_module"));
        assert!(
            hint("a/node_modules/ui/dist").starts_with("add a to the workspace of the lock file")
        );
        assert!(hint("a/dist").starts_with("let the build write it"));
    }
}
