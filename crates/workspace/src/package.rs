//! The fields of a `package.json` that delivery depends on.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::before_deploy::BeforeDeploy;
use super::graph::normalize;
use super::health::Health;
use super::manifest::{InstallRules, PackageManifest, Specs};
use super::spec::Spec;
use super::steps::{Runtime, Steps};
use super::strategy::Strategy;
use super::wrangler_flags::WranglerFlags;
use base::error::{Failure, did_you_mean, refused};

/// A folder with a `package.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// `name`, when it has one.
    pub name: Option<String>,
    /// The folder, relative to the repository's root.
    pub dir: Utf8PathBuf,
    /// The names of its scripts.
    #[serde(skip)]
    pub scripts: BTreeSet<String>,
    /// `true` if it has a build: `scripts.build`, `xtask.build`, or commands before wrangler in `scripts.deploy`.
    pub builds: bool,
    /// `true` if the build is what `scripts.deploy` does before wrangler.
    #[serde(skip)]
    pub builds_in_deploy: bool,
    /// Dependencies that point into this repository: name to specifier (`workspace:`, `file:`,
    /// `link:`, `portal:`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub local_dependencies: BTreeMap<String, String>,
    /// The other dependencies, which a package manager may find in this repository by their name.
    #[serde(skip)]
    pub named_dependencies: BTreeMap<String, String>,
    /// Packages that whoever installs this one has to provide. A member of the workspace may be one.
    #[serde(skip)]
    pub peer_dependencies: BTreeMap<String, String>,
    /// Additions to the dependencies of everything that is installed below it.
    #[serde(skip)]
    pub rules: InstallRules,
    /// `packageManager`, such as `pnpm@9.1.0`, or the name in `devEngines`.
    #[serde(skip)]
    pub package_manager: Option<String>,
    /// `version`, when it has one.
    #[serde(skip)]
    pub version: Option<String>,
    /// The patterns of `workspaces`, which name the folders that are installed together with this one.
    #[serde(skip)]
    pub workspaces: Vec<String>,
    /// The folders of the package that hold what `main`, `exports` and the like name, such as `dist`.
    #[serde(skip)]
    pub exported_folders: BTreeSet<Utf8PathBuf>,
    /// `true` if it has any dependency, so that a build needs an install first.
    pub has_dependencies: bool,
    /// The optional `xtask` key.
    pub settings: Settings,
}

/// The `xtask` key of a `package.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Projects or packages that this one depends on beyond what its manifest says.
    pub depends_on: Vec<String>,
    /// Further files or folders that decide the output, relative to the repository's root.
    pub inputs: Vec<Utf8PathBuf>,
    /// `true` if the output is the same for every environment. The build is then not told its
    /// environment, and runs once for all of them.
    pub one_build: bool,
    /// The health check after a deployment: a path, a list of accepted status codes, or `false`.
    pub health: Health,
    /// The way its previews are made. It has precedence over the environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_strategy: Option<Strategy>,
    /// The commands that build it, in place of the script `build`.
    #[serde(skip_serializing_if = "Steps::is_empty")]
    pub build: Steps,
    /// Commands of wrangler that run with the environment's token before each upload of a deployment.
    #[serde(skip_serializing_if = "BeforeDeploy::is_empty")]
    pub before_deploy: BeforeDeploy,
    /// Flags of wrangler for the steps that bundle and upload.
    #[serde(skip_serializing_if = "WranglerFlags::is_empty")]
    pub wrangler: WranglerFlags,
    /// The wrangler configs of its folder that are projects. The first has the folder's name. By default those that
    /// wrangler takes and those that name another Worker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<String>,
    /// The program that runs its scripts. By default Bun if the lock file is Bun's or there is none,
    /// else Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}

impl Package {
    /// Parses the `package.json` of `dir`.
    pub fn parse(dir: &Utf8Path, text: &str) -> Result<Package, Failure> {
        let manifest = PackageManifest::parse(text).map_err(|mut error| {
            // The text names the setting, so that no place in the file is needed.
            if let Some(at) = error.rfind(" at line ").filter(|_| error.contains("`xtask.")) {
                error.truncate(at);
            }
            let failure = refused(format!("{}: {error}", dir.join("package.json")));
            match did_you_mean(&error) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        let local = |spec: &str| Spec::parse(spec).is_local();
        let optional = manifest.optional_dependencies;
        let all = manifest.dependencies.into_iter().chain(manifest.dev_dependencies);
        let (mut local_dependencies, named_dependencies): (Specs, Specs) =
            all.chain(optional).partition(|(_, spec)| local(spec));
        let (local_peers, peer_dependencies): (Specs, Specs) =
            manifest.peer_dependencies.into_iter().partition(|(_, spec)| local(spec));
        for (name, spec) in local_peers {
            local_dependencies.entry(name).or_insert(spec);
        }
        let none = [&local_dependencies, &named_dependencies, &peer_dependencies];
        let has_dependencies = none.iter().any(|specs| !specs.is_empty());
        let mut settings = manifest.xtask;
        let has_build = manifest.scripts.contains_key("build") || !settings.build.is_empty();
        let before_upload = manifest.scripts.get("deploy").and_then(|deploy| before_upload(deploy));
        let before_upload = before_upload.filter(|_| !has_build);
        let builds_in_deploy = before_upload.is_some();
        settings.build = before_upload.map_or(settings.build, Steps::from);
        Ok(Package {
            dir: dir.to_owned(),
            builds: has_build || builds_in_deploy,
            builds_in_deploy,
            scripts: manifest.scripts.into_keys().collect(),
            has_dependencies,
            local_dependencies,
            named_dependencies,
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
}

/// Returns what a script does before it ends with `wrangler deploy`: most often `vite build`. `None` if that is nothing, or
/// if it runs wrangler, which would act on Cloudflare without this tool.
fn before_upload(script: &str) -> Option<String> {
    let (before, upload) = script.rsplit_once("&&")?;
    let mut words = upload.split_whitespace().skip_while(|word| LAUNCHERS.contains(word));
    let is_upload = words.next() == Some("wrangler") && words.next() == Some("deploy");
    let before = before.trim();
    (is_upload && !before.is_empty() && !before.contains("wrangler")).then(|| before.to_owned())
}

/// Words before the name of a program that a package brings.
const LAUNCHERS: [&str; 8] = ["npx", "bunx", "pnpx", "pnpm", "yarn", "bun", "exec", "dlx"];

/// Returns the first folder of each path, such as `dist` of `./dist/index.js`. A lone name, as in `files`, may be a
/// folder too.
fn exported_folders(paths: &[String]) -> BTreeSet<Utf8PathBuf> {
    let first = |path: &String| {
        let path = normalize(Utf8Path::new(path.trim_start_matches('/')))?;
        path.components().next().map(|part| Utf8PathBuf::from(part.as_str()))
    };
    let is_plain = |dir: &Utf8PathBuf| !dir.as_str().contains(['*', '?', '[', '!', '{']);
    paths.iter().filter_map(first).filter(is_plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_build_in_the_deploy_script() {
        for (script, expected) in [
            ("vite build && wrangler deploy", Some("vite build")),
            (
                "cd web && astro build && npx wrangler deploy --minify",
                Some("cd web && astro build"),
            ),
            ("pnpm run build:site && pnpm exec wrangler deploy", Some("pnpm run build:site")),
            ("wrangler deploy", None),
            ("wrangler d1 migrations apply DB --remote && wrangler deploy", None),
            ("opennextjs-cloudflare build && opennextjs-cloudflare deploy", None),
            ("vite build && wrangler pages deploy dist", None),
            ("wrangler deploy && node setup.js", None),
        ] {
            assert_eq!(before_upload(script).as_deref(), expected, "{script}");
            let text = format!(r#"{{"scripts":{{"deploy":"{script}"}}}}"#);
            let package = Package::parse(Utf8Path::new("p"), &text).expect("valid");
            let steps: Vec<&str> =
                package.settings.build.commands().iter().map(String::as_str).collect();
            assert_eq!(steps, expected.into_iter().collect::<Vec<_>>(), "{script}");
            assert_eq!(package.builds, expected.is_some(), "{script}");
        }
        let text = r#"{"scripts":{"deploy":"vite build && wrangler deploy","build":"tsc"}}"#;
        let package = Package::parse(Utf8Path::new("p"), text).expect("valid");
        assert!(package.builds && !package.builds_in_deploy && package.settings.build.is_empty());
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
        assert!(package.builds && package.has_dependencies);
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
