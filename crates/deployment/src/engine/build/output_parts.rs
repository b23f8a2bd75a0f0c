//! Finds the parts of the repository that a build writes and a deployment reads: the assets, built code, and the
//! files that a framework's adapter generates for wrangler.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::engine::build::project::{ENVIRONMENT_FILES, FileStamps};
use crate::engine::upload::host::is_redirected;
use crate::plan::ProjectPlan;
use base::error::{Result, failed};
use cloudflare::wrangler::REDIRECT;
use workspace::git;
use workspace::paths::normalize;
use workspace::symlinks;
use workspace::wrangler::WranglerConfig;

/// The fields of a redirect with the path of a generated config.
const CONFIG_PATHS: [&str; 2] = ["/configPath", "/prerenderWorkerConfigPath"];

/// The folders that a build writes as a whole.
#[derive(Debug, Default)]
pub(crate) struct OutputFolders {
    /// Folders with only generated files. None is inside of another one.
    pub folders: BTreeSet<Utf8PathBuf>,
    /// The reason why the output cannot be cached.
    pub problem: Option<String>,
    /// `true` if wrangler uploads the code without bundling, so that it has no other imports.
    pub is_bundled: bool,
}

impl OutputFolders {
    /// Finds the current folders in the wrangler config and an adapter's redirect.
    pub(crate) fn find(root: &Utf8Path, part: &ProjectPlan) -> Result<OutputFolders> {
        let mut found = OutputFolders::default();
        if let Some(dist) = &part.dist {
            found.add(root, part, dist)?;
        }
        // `build.command` writes it later, when wrangler bundles.
        let main = part.target.main.as_ref().filter(|_| !part.target.has_build_command);
        if let Some(folder) = main.and_then(|main| folder_of(&part.dir, main))
            && folder != part.dir
            && folder.starts_with(&part.dir)
            && !is_of_packages(&folder)
            && git::is_generated(root, &folder)?
        {
            found.folders.insert(folder);
        }
        if is_redirected(root, part) {
            found.follow(root, part, &part.dir.join(REDIRECT))?;
        }
        let all = found.folders.clone();
        let is_inside =
            |folder: &Utf8PathBuf| folder.ancestors().skip(1).any(|dir| all.contains(dir));
        found.folders.retain(|folder| !is_inside(folder));
        Ok(found)
    }

    /// Adds the folders of the configs in a redirect.
    fn follow(&mut self, root: &Utf8Path, part: &ProjectPlan, redirect: &Utf8Path) -> Result<()> {
        let folder = redirect.parent().unwrap_or(&part.dir).to_owned();
        self.add(root, part, &folder)?;
        let Some(value) = read_json(root, redirect) else {
            self.problem.get_or_insert(format!("{redirect} cannot be read"));
            return Ok(());
        };
        let others = value["auxiliaryWorkers"].as_array().into_iter().flatten();
        let others = others.filter_map(|worker| worker["configPath"].as_str());
        let configs = CONFIG_PATHS.iter().filter_map(|path| value.pointer(path)?.as_str());
        for path in configs.chain(others) {
            let Some(config) = normalize(&folder.join(path)) else {
                self.problem.get_or_insert(format!("{redirect} leads out of the repository"));
                continue;
            };
            // Astro names a config of prerendering even if it prerenders no page.
            if value["configPath"] != path && !root.join(&config).exists() {
                continue;
            }
            self.add_config(root, part, &config, value["configPath"] == path)?;
        }
        Ok(())
    }

    /// Adds the folders of a generated config.
    fn add_config(
        &mut self,
        root: &Utf8Path,
        part: &ProjectPlan,
        config: &Utf8Path,
        is_own: bool,
    ) -> Result<()> {
        let folder = config.parent().unwrap_or(&part.dir).to_owned();
        self.add(root, part, &folder)?;
        let parsed =
            symlinks::read(root, config).and_then(|text| WranglerConfig::parse(config, &text));
        let Ok(parsed) = parsed else {
            self.problem.get_or_insert(format!("{config} cannot be read"));
            return Ok(());
        };
        if is_own {
            self.is_bundled = parsed.value["no_bundle"] == true;
        }
        let target = parsed.target("");
        let code = target.main.and_then(|main| folder_of(&folder, &main));
        let assets = target.assets.and_then(|assets| normalize(&folder.join(assets)));
        code.into_iter().chain(assets).try_for_each(|folder| self.add(root, part, &folder))
    }

    fn add(&mut self, root: &Utf8Path, part: &ProjectPlan, folder: &Utf8Path) -> Result<()> {
        if part.dir.starts_with(folder) || is_of_packages(folder) {
            self.problem.get_or_insert(format!("it writes into {folder}/, beside other files"));
        } else if git::is_generated(root, folder)? {
            self.folders.insert(folder.to_owned());
        } else {
            self.problem.get_or_insert(format!("git does not ignore {folder}"));
        }
        Ok(())
    }
}

/// Returns true for a folder of installed packages.
fn is_of_packages(folder: &Utf8Path) -> bool {
    folder.components().any(|component| component.as_str() == "node_modules")
}

/// Returns the folder of the file `path`, relative to `dir`.
fn folder_of(dir: &Utf8Path, path: &Utf8Path) -> Option<Utf8PathBuf> {
    normalize(&dir.join(path))?.parent().map(Utf8Path::to_owned)
}

fn read_json(root: &Utf8Path, path: &Utf8Path) -> Option<Value> {
    let value: Value = serde_json::from_str(&symlinks::read(root, path).ok()?).ok()?;
    value["configPath"].is_string().then_some(value)
}

/// Returns the files outside of the output folders that a build wrote and git ignores: a Worker's code may import
/// them. The files that git does not ignore are inputs, so the cache key has their content. Errors if
/// one belongs to another package, because it is not cached.
pub(crate) fn generated_files(
    root: &Utf8Path,
    part: &ProjectPlan,
    before: &FileStamps,
    after: &FileStamps,
) -> Result<BTreeSet<Utf8PathBuf>> {
    let state = part.dir.join(".wrangler");
    let is_kept_elsewhere = |path: &Utf8Path| {
        let name = path.file_name().unwrap_or_default();
        // The state of a local Worker belongs to the user. The cache key has the files that set variables.
        path.starts_with(&state) || ENVIRONMENT_FILES.iter().any(|start| name.starts_with(start))
    };
    let written: Vec<&Utf8Path> = after
        .iter()
        .filter(|(path, stamp)| before.get(*path) != Some(stamp) && !is_kept_elsewhere(path))
        .map(|(path, _)| path.as_path())
        .collect();
    let written = git::ignored_paths(root, &written)?;
    let is_own = |path: &Utf8PathBuf| {
        path.starts_with(&part.dir) || part.build.as_ref().is_some_and(|dir| path.starts_with(dir))
    };
    match written.iter().find(|path| !is_own(path)) {
        Some(path) => Err(failed(format!("it wrote {path}, which belongs to another package"))),
        None => Ok(written),
    }
}
