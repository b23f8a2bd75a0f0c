//! The fields of a `package.json` that delivery depends on.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::Value;

use crate::files::names::MANIFEST;
use crate::files::paths::normalize;
use crate::packages::build_script::{self, OPEN_NEXT_BUILD, OPEN_NEXT_OUTPUT};
use crate::packages::build_tasks::BuildTasks;
use crate::packages::deploy_script::{BuildCommands, DeployScript, code_of_deploy_script};
use crate::packages::manifest::{InstallRules, PackageManifest, Specs};
use crate::packages::script_paths::outside_paths;
use crate::packages::spec::Spec;
use crate::settings::Settings;
use base::error::{Error, Result, did_you_mean_in, invalid_config};

/// A folder with a `package.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// `name`, if it has one.
    pub name: Option<String>,
    /// The folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// The names of its scripts.
    #[serde(skip)]
    pub scripts: BTreeSet<String>,
    /// The setting that defines its build. `None` if there is no build.
    #[serde(skip)]
    pub build: Option<BuildOrigin>,
    /// The text of the script `build`.
    #[serde(skip)]
    pub build_script: Option<String>,
    /// The paths with `../` in the commands of its build.
    #[serde(skip)]
    pub(crate) outside_paths: BTreeSet<String>,
    /// The tasks of Turborepo and Nx that its build is, or runs.
    #[serde(skip)]
    pub(crate) build_tasks: BuildTasks,
    /// The parts of its script `deploy` that xtask does not run. `None` if there are none.
    #[serde(skip)]
    pub deploy_script: Option<DeployScript>,
    /// The file with the Worker's code that its script `deploy` gives to wrangler. `None` if it gives none.
    #[serde(skip)]
    pub deployed_code: Option<String>,
    /// `true` if the script `build` does not run the adapter of Next.js, but may have to.
    #[serde(skip)]
    needs_open_next: bool,
    /// Dependencies that point into this repository: name to specifier (`workspace:`, `file:`,
    /// `link:`, `portal:`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub local_dependencies: BTreeMap<String, String>,
    /// The other dependencies, which a package manager may resolve to this repository by name.
    #[serde(skip)]
    pub named_dependencies: BTreeMap<String, String>,
    /// The names of the dependencies that its code imports when it runs: `dependencies` alone.
    #[serde(skip)]
    pub runtime_dependencies: BTreeSet<String>,
    /// Its peer dependencies. A member of the workspace may be one.
    #[serde(skip)]
    pub peer_dependencies: BTreeMap<String, String>,
    /// Additions to the dependencies of everything that is installed below it.
    #[serde(skip)]
    pub rules: InstallRules,
    /// `packageManager`, such as `pnpm@9.1.0`, or the name in `devEngines`.
    #[serde(skip)]
    pub package_manager: Option<String>,
    /// `version`, if it has one.
    #[serde(skip)]
    pub version: Option<String>,
    /// The patterns of `workspaces`, which match the folders that are installed together with this one.
    #[serde(skip)]
    pub workspaces: Vec<String>,
    /// The folders of the package that `main`, `exports` and similar fields refer to, such as `dist`.
    #[serde(skip)]
    pub exported_folders: BTreeSet<Utf8PathBuf>,
    /// `true` if names may mean any file of the package (`imports`, `exports`), or if an install runs its code.
    #[serde(skip)]
    pub(crate) may_use_any_file: bool,
    /// `true` if it has any dependency, so that a build needs an install first.
    pub has_dependencies: bool,
    /// The optional `xtask` key.
    pub settings: Settings,
}

/// The setting that defines the build of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildOrigin {
    /// `xtask.build`.
    Setting,
    /// The script `build`.
    Script,
    /// Commands of another script, or the build that the wrangler config requires.
    Inference,
}

impl Package {
    /// Parses the `package.json` of `dir`.
    pub fn parse(dir: &Utf8Path, text: &str) -> Result<Package> {
        let manifest = PackageManifest::parse(text).map_err(|error| manifest_error(dir, error))?;
        let runtime_dependencies = manifest.dependencies.keys().cloned().collect();
        let (mut local_dependencies, named_dependencies) = split_local([
            manifest.dependencies,
            manifest.dev_dependencies,
            manifest.optional_dependencies,
        ]);
        let (local_peers, peer_dependencies) = split_local([manifest.peer_dependencies]);
        for (name, spec) in local_peers {
            local_dependencies.entry(name).or_insert(spec);
        }
        let all = [&local_dependencies, &named_dependencies, &peer_dependencies];
        let has_dependencies = all.iter().any(|specs| !specs.is_empty());
        let mut settings = manifest.xtask;
        let build = find_build(&mut settings, &manifest.scripts);
        let own_build = match settings.build.commands() {
            [] => ["prebuild", "build", "postbuild"].map(str::to_owned).to_vec(),
            commands => commands.to_vec(),
        };
        Ok(Package {
            dir: dir.to_owned(),
            outside_paths: outside_paths(&manifest.scripts, &own_build),
            build_tasks: BuildTasks::find(&manifest.scripts, &own_build),
            deploy_script: DeployScript::find(&manifest.scripts, &build_commands(build, &settings)),
            deployed_code: code_of_deploy_script(&manifest.scripts),
            needs_open_next: build_script::needs_open_next(&manifest.scripts),
            may_use_any_file: manifest.maps_imports || has_install_script(&manifest.scripts),
            build,
            build_script: manifest.scripts.get("build").cloned(),
            scripts: names_of_scripts(manifest.scripts),
            has_dependencies,
            local_dependencies,
            named_dependencies,
            runtime_dependencies,
            peer_dependencies,
            rules: manifest.rules,
            exported_folders: exported_folders(&manifest.exported),
            package_manager: manifest.package_manager,
            version: manifest.version,
            workspaces: manifest.workspaces,
            name: manifest.name,
            settings,
        })
    }

    /// Returns true if the package has a build.
    #[must_use]
    pub fn builds(&self) -> bool {
        self.build.is_some()
    }

    /// Returns true if its build may write a wrangler config. False only if its programs are known not to.
    #[must_use]
    pub fn may_write_config(&self) -> bool {
        self.build_tasks.may_write_config || self.build == Some(BuildOrigin::Inference)
    }

    /// Returns the package with the build that its wrangler config needs: that of OpenNext if the config names the folder
    /// of OpenNext, and the script `build` runs Next.js alone.
    #[must_use]
    pub fn for_config(mut self, config: &Value) -> Package {
        let is_open_next = |path: &Value| {
            let path = path.as_str().and_then(|path| normalize(Utf8Path::new(path)));
            path.is_some_and(|path| path.starts_with(OPEN_NEXT_OUTPUT))
        };
        let is_named =
            is_open_next(&config["main"]) || is_open_next(&config["assets"]["directory"]);
        if is_named && self.needs_open_next && self.settings.build.is_empty() {
            self.settings.build = OPEN_NEXT_BUILD.to_owned().into();
            self.build = Some(BuildOrigin::Inference);
        }
        self
    }

    /// Returns the package with the target `build` of the project `name` of Nx as its build.
    #[must_use]
    pub fn with_nx_build(mut self, name: &str) -> Package {
        self.settings.build = format!("nx build {name}").into();
        self.build = Some(BuildOrigin::Inference);
        self.build_tasks.runs_nx = true;
        self
    }
}

/// Creates the error for the `package.json` of `dir`.
fn manifest_error(dir: &Utf8Path, mut error: String) -> Error {
    // The message names the setting, so it needs no position in the file.
    if let Some(at) = error.rfind(" at line ").filter(|_| error.contains("`xtask.")) {
        error.truncate(at);
    }
    let path = dir.join(MANIFEST);
    let failure = invalid_config(format!("{path}: {error}"));
    let setting = error.split('`').find(|part| part.starts_with("xtask."));
    let correct = setting.map(|name| format!("correct `{name}` in {path}"));
    did_you_mean_in(&error).or(correct).into_iter().fold(failure, Error::hint)
}

/// Returns the dependencies that point into this repository, and the others. Of two with one name the later one counts.
fn split_local(dependencies: impl IntoIterator<Item = Specs>) -> (Specs, Specs) {
    dependencies.into_iter().flatten().partition(|(_, spec)| Spec::parse(spec).is_local())
}

/// Returns the setting that defines the build. Adds the commands of another script to `settings`.
fn find_build(settings: &mut Settings, scripts: &Specs) -> Option<BuildOrigin> {
    if !settings.build.is_empty() {
        return Some(BuildOrigin::Setting);
    }
    if let Some(commands) = build_script::find_build(scripts) {
        settings.build = commands.into();
        return Some(BuildOrigin::Inference);
    }
    scripts.contains_key("build").then_some(BuildOrigin::Script)
}

fn build_commands(build: Option<BuildOrigin>, settings: &Settings) -> BuildCommands {
    match build {
        Some(BuildOrigin::Setting) => BuildCommands::Setting,
        Some(BuildOrigin::Inference) => {
            let all = settings.build.commands().iter().flat_map(|text| text.split("&&"));
            BuildCommands::Inference(all.map(|step| step.trim().to_owned()).collect())
        }
        Some(BuildOrigin::Script) | None => BuildCommands::Script,
    }
}

/// Returns the first folder of each path, such as `dist` of `./dist/index.js`. A single name, as in `files`, may be
/// a folder too.
fn exported_folders(paths: &[String]) -> BTreeSet<Utf8PathBuf> {
    let first = |path: &String| {
        let path = normalize(Utf8Path::new(path.trim_start_matches('/')))?;
        path.components().next().map(|part| Utf8PathBuf::from(part.as_str()))
    };
    let is_plain = |dir: &Utf8PathBuf| !dir.as_str().contains(['*', '?', '[', '!', '{']);
    paths.iter().filter_map(first).filter(is_plain).collect()
}

/// Scripts of the repository's own packages that npm runs with an install. They may read and write anything.
pub const INSTALL_SCRIPTS: [&str; 7] =
    ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];

/// Programs of install scripts that read no code: they set up git hooks, check the package manager or apply patches, which
/// count anyway.
const INSTALL_HELPERS: [&str; 6] =
    ["husky", "lefthook", "simple-git-hooks", "is-ci", "only-allow", "patch-package"];

/// Returns true if an install runs a script that may read any file of the package.
fn has_install_script(scripts: &Specs) -> bool {
    let texts = INSTALL_SCRIPTS.iter().filter_map(|name| scripts.get(*name));
    let mut commands = texts.flat_map(|text| text.split("&&").flat_map(|part| part.split("||")));
    commands.any(|command| {
        let mut words = command.split_whitespace();
        let program = words.find(|word| !["npx", "bunx"].contains(word));
        !program.is_some_and(|program| INSTALL_HELPERS.contains(&program))
    })
}

/// The text of the script `test` that `npm init` writes, which always fails.
const NO_TEST: &str = "echo \"Error: no test specified\" && exit 1";

/// Returns the names of the scripts that do something.
fn names_of_scripts(scripts: Specs) -> BTreeSet<String> {
    scripts.into_iter().filter(|(_, text)| text.trim() != NO_TEST).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::steps::Runtime;

    #[test]
    fn install_scripts_that_may_read_code() {
        for (scripts, expected) in [
            (r#"{ "prepare": "husky" }"#, false),
            (
                r#"{ "prepare": "is-ci || husky install", "preinstall": "npx only-allow pnpm" }"#,
                false,
            ),
            (r#"{ "postinstall": "patch-package && prisma generate" }"#, true),
            (r#"{ "postinstall": "node scripts/setup.mjs" }"#, true),
            (r#"{ "start": "node server.mjs" }"#, false),
        ] {
            let text = format!(r#"{{ "scripts": {scripts} }}"#);
            let package = Package::parse(Utf8Path::new(""), &text).expect("valid");
            assert_eq!(package.may_use_any_file, expected, "{scripts}");
        }
        for field in ["imports", "exports"] {
            let text = format!(r##"{{ "{field}": {{ "#lib/*": "./lib/*.js" }} }}"##);
            let package = Package::parse(Utf8Path::new(""), &text).expect("valid");
            assert!(package.may_use_any_file, "{field}");
        }
    }

    #[test]
    fn the_test_of_npm_init_is_no_script() {
        let text =
            r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1","build":"tsc"}}"#;
        let package = Package::parse(Utf8Path::new("p"), text).expect("a package");
        assert_eq!(package.scripts, BTreeSet::from(["build".to_owned()]));
    }

    #[test]
    fn the_build_is_the_setting_the_script_or_what_another_script_does() {
        let deploy = r#""deploy":"vite build && wrangler deploy""#;
        for (text, origin, commands) in [
            (r#"{"scripts":{"deploy":"wrangler deploy"}}"#.to_owned(), None, &[][..]),
            (r#"{"scripts":{"build":"tsc"}}"#.to_owned(), Some(BuildOrigin::Script), &[]),
            (
                format!(r#"{{"scripts":{{{deploy}}}}}"#),
                Some(BuildOrigin::Inference),
                &["vite build"],
            ),
            (
                format!(r#"{{"scripts":{{{deploy}}},"xtask":{{"build":["a","b"]}}}}"#),
                Some(BuildOrigin::Setting),
                &["a", "b"],
            ),
        ] {
            let package = Package::parse(Utf8Path::new("p"), &text).expect("valid");
            assert_eq!(package.build, origin, "{text}");
            assert_eq!(package.settings.build.commands(), commands, "{text}");
        }
    }

    #[test]
    fn a_config_of_opennext_needs_the_build_of_opennext() {
        let build = |package: &str, config: &str| {
            let value = serde_json::from_str(config).expect("JSON");
            let package = Package::parse(Utf8Path::new("p"), package).expect("valid");
            package.for_config(&value).settings.build.commands().join(" && ")
        };
        let config = r#"{ "main": "./.open-next/worker.js" }"#;
        let next = r#"{"scripts":{"build":"next build"}}"#;
        assert_eq!(build(next, config), OPEN_NEXT_BUILD);
        assert_eq!(
            build("{}", r#"{ "assets": { "directory": ".open-next/assets" } }"#),
            OPEN_NEXT_BUILD
        );
        assert_eq!(build(next, r#"{ "main": "src/index.ts" }"#), "");
        // These may write the folder with another command.
        assert_eq!(build(r#"{"scripts":{"build":"node build.mjs"}}"#, config), "");
        assert_eq!(build(r#"{"xtask":{"build":"make"}}"#, config), "make");
    }

    #[test]
    fn exported_folders_are_the_first_parts_of_paths() {
        let text = r#"{"name":"ui","main":"./dist/index.js","module":"dist/index.mjs","bin":{"ui":"bin/ui.js"},
            "exports":{".":{"types":"./types/index.d.ts","default":["./lib/a.js"]},"./x":"../out/x.js"},
            "files":["/dist","assets/**","*.md","!src"],"types":7}"#;
        let package = Package::parse(Utf8Path::new("packages/ui"), text).expect("valid");
        let folders: Vec<&str> = package.exported_folders.iter().map(|dir| dir.as_str()).collect();
        assert_eq!(folders, ["assets", "bin", "dist", "lib", "types"]);
    }

    #[test]
    fn reads_what_delivery_needs() {
        let package = Package::parse(
            Utf8Path::new("projects/a"),
            r#"{"name":"a","scripts":{"build":"x"},"devDependencies":{"ui":"workspace:*","astro":"7.3.5"},
               "xtask":{"health":"/up","dependsOn":["b"],"runtime":"node","build":"vite build"}}"#,
        )
        .expect("valid");
        assert_eq!(package.settings.runtime, Some(Runtime::Node));
        assert_eq!(package.settings.build.commands(), ["vite build"]);
        assert!(package.builds() && package.has_dependencies);
        assert_eq!(package.local_dependencies.keys().collect::<Vec<_>>(), ["ui"]);
        assert_eq!(package.settings.health.path(), "/up");
    }

    #[test]
    fn an_unknown_setting_names_the_file() {
        let failure =
            Package::parse(Utf8Path::new("p"), r#"{"xtask":{"helth":"/"}}"#).expect_err("an error");
        assert!(failure.message.starts_with("p/package.json: unknown field `helth`"));
        assert_eq!(failure.hints, ["did you mean `health`?"]);
        let text = r#"{"xtask":{"wrangler":["--minfy"]}}"#;
        let failure = Package::parse(Utf8Path::new("p"), text).expect_err("an error");
        assert!(
            failure
                .message
                .starts_with("p/package.json: unknown flag `--minfy` in `xtask.wrangler`")
        );
        assert_eq!(failure.hints, ["did you mean `--minify`?"]);
        let text = r#"{"xtask":{"previewStrategy":"allias"}}"#;
        let failure = Package::parse(Utf8Path::new("p"), text).expect_err("an error");
        assert_eq!(failure.hints, ["did you mean `alias`?"]);
    }
}
