//! Builds on this machine, or restores the output of an earlier build from the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use base::mutex;
use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};

use crate::cache::{BuildCache, Lookup, OutputParts};
use crate::engine::build::install::{DependencyResult, install_dependencies};
use crate::engine::build::output_parts::{OutputFolders, generated_files};
use crate::engine::build::variables::digests;
use crate::engine::deployment::BuildResult;
use crate::engine::project_run::ProjectRun;
use crate::engine::upload::host::is_redirected;
use crate::plan::Operation;
use crate::record::BuildSource;
use crate::tools::packages::failure;
use base::command::{ProcessCommand, xtask_line};
use base::env::variable;
use base::error::{ErrorContext as _, Result, failed};
use base::time::{rfc3339, unix_now};
use cloudflare::wrangler::REDIRECT;
use workspace::git;
use workspace::installation::PackageToolchain;
use workspace::key;
use workspace::key::hex;
use workspace::paths::normalize;

/// The inherited variables that change the output of tools. The others of
/// [`INHERITED`](base::command::INHERITED) are only paths.
const BUILD_ENV: [&str; 4] = ["CI", "LANG", "LC_ALL", "TZ"];

/// The prefixes of names of ignored files that builds read.
pub(crate) const ENVIRONMENT_FILES: [&str; 2] = [".env", ".dev.vars"];

/// The facts that affect the output of a build.
pub(crate) struct BuildFacts<'a> {
    /// The folders and files that it reads, relative to the root.
    pub inputs: &'a BTreeSet<Utf8PathBuf>,
    /// Its commands.
    pub commands: &'a [ProcessCommand],
    /// The tools that run them.
    pub toolchain: &'a PackageToolchain,
    /// The folders that it runs in and writes to, for the key.
    pub folders: String,
    /// The folders whose `.env` files it may read.
    pub dirs: &'a [&'a Utf8Path],
}

/// Installs and builds, with a lock on the package's folder. Or restores the output of an earlier
/// build of the same content.
pub(crate) fn build_on_host(run: &ProjectRun<'_>) -> Result<BuildResult> {
    let lock = run.shared.package_lock(run.project);
    let _guard = mutex::lock(&lock);
    let Some(dir) = run.project.build.as_ref().filter(|_| !run.project.is_built_by_wrangler) else {
        return Ok(BuildResult::new(install_dependencies(run)?));
    };
    // Trouble with the cache does not stop the build.
    let key = build_key(run, dir);
    let usable = key.as_ref().ok().filter(|_| !run.plan.options.rebuild);
    let corrupt = match usable.map_or(Lookup::Miss, |key| restore(run, key)) {
        Lookup::Hit { built, .. } => return use_restored(run, built),
        Lookup::Miss => None,
        Lookup::Corrupt(damage) => Some(damage),
    };
    if let Some(damage) = &corrupt {
        run.step(&format!("build again, because the cached output is corrupt: {damage}"));
    }
    let dependencies = install_dependencies(run)?;
    let before = project_files(run);
    run.step("build");
    clear_outputs(run)?;
    let started = Instant::now();
    let command = xtask_line(&["build", &run.project.name]);
    let hint = match run.plan.operation {
        Operation::Build => format!("correct the build, then run `{command}`"),
        _ => format!("nothing was uploaded; run the build alone with `{command}`"),
    };
    for command in build_commands(run) {
        let finished = run.execute(&command)?;
        failure::check_build(finished).map_err(|failure| failure.hint_if_failed(&hint))?;
    }
    let duration = Some(started.elapsed());
    let built = rfc3339(unix_now());
    let stored = key.and_then(|key| store(run, dir, &key, &before, &built));
    let not_stored = stored.err().map(|because| format!("{because:#}"));
    if let Some(because) = &not_stored {
        run.step(&format!("the output is not cached: {because}"));
    }
    let output = Some(BuildSource { from_cache: false, built, not_stored, corrupt });
    Ok(BuildResult { duration, output, dependencies })
}

/// Returns the result for a restored output, after the install of the packages that wrangler bundles. An adapter has
/// bundled its code already.
fn use_restored(run: &ProjectRun<'_>, built: String) -> Result<BuildResult> {
    let is_bundled = OutputFolders::find(&run.ctx.root, run.project)?.is_bundled;
    let needs_packages = run.project.may_have_code() && !is_bundled;
    let dependencies =
        if needs_packages { install_dependencies(run)? } else { DependencyResult::default() };
    let output = BuildSource { from_cache: true, built, not_stored: None, corrupt: None };
    Ok(BuildResult { output: Some(output), ..BuildResult::new(dependencies) })
}

/// Removes the output of an earlier build, such as the config of an adapter that the project no longer uses.
/// Deletes only folders that git ignores, and that config if git does not track it.
fn clear_outputs(run: &ProjectRun<'_>) -> Result<()> {
    let root = &run.ctx.root;
    for folder in OutputFolders::find(root, run.project)?.folders {
        clear(root, &folder)?;
    }
    let redirect = run.project.dir.join(REDIRECT);
    if is_redirected(root, run.project) && !git::is_tracked(root, &redirect)? {
        std::fs::remove_file(root.join(&redirect))
            .with_context(|| format!("cannot remove {redirect}"))?;
    }
    Ok(())
}

/// Restores the cached output to the folders of the build. If the cache cannot be read, the project
/// is built.
fn restore(run: &ProjectRun<'_>, key: &str) -> Lookup {
    let root = &run.ctx.root;
    let temporary = root.join(".xtask/tmp").join(format!("{}-output", run.project.nonce));
    let restored = BuildCache::at(root).restore(key, &temporary).and_then(|found| {
        let Lookup::Hit { parts, .. } = &found else { return Ok(found) };
        for folder in &parts.folders {
            if !git::is_generated(root, folder)? {
                return Ok(Lookup::Miss);
            }
        }
        let files: Vec<&Utf8Path> = parts.files.iter().map(Utf8PathBuf::as_path).collect();
        if git::ignored_paths(root, &files)?.len() < files.len() {
            return Ok(Lookup::Miss);
        }
        clear_outputs(run)?;
        for folder in &parts.folders {
            clear(root, folder)?;
        }
        for path in parts.folders.iter().chain(&parts.files) {
            let to = root.join(path);
            std::fs::create_dir_all(to.parent().unwrap_or(root))?;
            let from = temporary.join(path);
            // An entry has no empty folders.
            let moved =
                if from.exists() { std::fs::rename(&from, &to) } else { std::fs::create_dir(&to) };
            moved.with_context(|| format!("cannot create {path}"))?;
        }
        Ok(found)
    });
    let _rest = std::fs::remove_dir_all(&temporary);
    restored.unwrap_or_else(|error| Lookup::Corrupt(format!("{error:#}")))
}

/// Caches the output. Errors if something that the build wrote or read is not known.
fn store(
    run: &ProjectRun<'_>,
    dir: &Utf8Path,
    key: &str,
    before: &FileStamps,
    built: &str,
) -> Result<()> {
    if build_key(run, dir)? != key {
        return Err(failed(CHANGED));
    }
    let root = &run.ctx.root;
    let output = OutputFolders::find(root, run.project)?;
    if let Some(problem) = output.problem {
        return Err(failed(problem));
    }
    if output.folders.is_empty() {
        return Err(failed(NO_OUTPUT));
    }
    let is_output = |path: &Utf8Path| output.folders.iter().any(|dir| path.starts_with(dir));
    let after = project_files(run);
    // Most folders were cleared before the build. A new one may have had files.
    if let Some((path, _)) = after
        .iter()
        .find(|(path, stamp)| is_output(path) && before.get(*path) == Some(stamp))
        .filter(|(path, _)| root.join(path).exists())
    {
        return Err(failed(format!("it did not write {path}")));
    }
    let mut parts = OutputParts { folders: output.folders.clone(), ..OutputParts::default() };
    // Wrangler bundles the code with its imports.
    if run.project.may_have_code() && !output.is_bundled {
        let mut outside = after;
        // Types are not code.
        outside.retain(|path, _| !is_output(path) && !path.as_str().ends_with(".d.ts"));
        parts.files = generated_files(root, run.project, before, &outside)?;
    }
    BuildCache::at(root).store_parts(key, root, parts, built.to_owned())
}

fn build_commands(run: &ProjectRun<'_>) -> Vec<ProcessCommand> {
    let environment = run.project.build_environment.as_deref();
    let build = |build| run.shared.paths.build(build, environment);
    run.project.build_plan.own.as_ref().map(build).unwrap_or_default()
}

/// Returns the digest of everything that affects the output.
fn build_key(run: &ProjectRun<'_>, dir: &Utf8Path) -> Result<String> {
    let (root, project) = (&run.ctx.root, run.project);
    if let Some(dist) = &project.dist
        && !git::is_generated(root, dist)?
    {
        return Err(failed(format!("git does not ignore {dist}")));
    }
    key_of(
        run,
        &BuildFacts {
            inputs: &project.inputs,
            commands: &build_commands(run),
            toolchain: &project.build_plan.toolchain,
            folders: format!(
                "{:?}",
                (&project.dir, dir, &project.dist, &project.target.main, &project.install)
            ),
            dirs: &[&project.dir, dir],
        },
    )
}

/// Returns the digest of everything that affects the output of a build.
pub(crate) fn key_of(run: &ProjectRun<'_>, build: &BuildFacts<'_>) -> Result<String> {
    let root = &run.ctx.root;
    let inputs: Vec<&Utf8Path> = build.inputs.iter().map(Utf8PathBuf::as_path).collect();
    let blobs = git::contents(root, &inputs, None)?.blobs;
    for (path, blob) in &blobs {
        let is_known = match blob.mode.as_str() {
            git::REPOSITORY => false,
            git::LINK => leads_inside(root, path, &inputs),
            _ => true,
        };
        if !is_known {
            return Err(failed(format!("it reads more than is known, through {path}")));
        }
    }
    // Without the program, because its path differs between machines.
    let commands = build.commands.iter();
    let commands: Vec<_> = commands.map(|command| (&command.argv[1..], &command.env)).collect();
    let inherited = BUILD_ENV.map(variable);
    let facts = BTreeMap::from([
        ("xtask", env!("CARGO_PKG_VERSION").to_owned()),
        ("bun", run.shared.versions.bun.clone().unwrap_or_default()),
        ("system", format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)),
        ("commands", format!("{commands:?}")),
        ("tools", format!("{:?}", build.toolchain.fact())),
        ("variables", format!("{:?}", digests(&run.shared.paths.variables.build))),
        ("inherited", format!("{inherited:?}")),
        ("folders", build.folders.clone()),
        ("environment files", format!("{:?}", environment_files(root, build.dirs)?)),
    ]);
    Ok(key::digest(&blobs, &facts))
}

/// Returns the stamps of every file of the project and of its imported packages, except dependencies.
fn project_files(run: &ProjectRun<'_>) -> FileStamps {
    stamps(&run.ctx.root, run.project.inputs.iter().cloned().collect(), |_| false)
}

/// The reason why a build is not cached if its inputs no longer match its key.
pub(crate) const CHANGED: &str = "its inputs changed during the build";

/// The reason why a build without known output is not cached.
const NO_OUTPUT: &str = "neither `assets.directory` nor `main` nor a generated wrangler config is in a folder that git ignores";

/// Removes a folder if it exists.
fn clear(root: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    let path = root.join(folder);
    if path.is_dir() {
        std::fs::remove_dir_all(&path).with_context(|| format!("cannot clear {folder}"))?;
    }
    Ok(())
}

/// Files with their sizes and modification times.
pub(crate) type FileStamps = BTreeMap<Utf8PathBuf, (u64, Option<SystemTime>)>;

/// Returns the stamps of every file below the folders, except in those that `is_output` names and in dependencies.
pub(crate) fn stamps(
    root: &Utf8Path,
    folders: Vec<Utf8PathBuf>,
    is_output: impl Fn(&Utf8Path) -> bool,
) -> FileStamps {
    let (mut found, mut waiting) = (FileStamps::new(), folders);
    while let Some(path) = waiting.pop() {
        let Ok(entries) = root.join(&path).read_dir_utf8() else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = path.join(entry.file_name());
            let skipped = ["node_modules", ".git", ".xtask"].contains(&entry.file_name());
            if skipped || is_output(&path) {
                continue;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => waiting.push(path),
                Ok(meta) => {
                    found.insert(path, (meta.len(), meta.modified().ok()));
                }
                Err(_) => {}
            }
        }
    }
    found
}

/// Returns true if the target of the link at `path` is one of the inputs.
fn leads_inside(root: &Utf8Path, path: &Utf8Path, inputs: &[&Utf8Path]) -> bool {
    let target = root.join(path).read_link_utf8().ok();
    let target = target.and_then(|to| normalize(&path.parent().unwrap_or(path).join(to)));
    target.is_some_and(|target| inputs.iter().any(|input| target.starts_with(input)))
}

/// Returns the hashes of the files that set variables for a build. Only hashes, because the files contain secrets.
fn environment_files(root: &Utf8Path, dirs: &[&Utf8Path]) -> Result<BTreeMap<Utf8PathBuf, String>> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        for entry in root.join(dir).read_dir_utf8()?.filter_map(Result::ok) {
            let named = ENVIRONMENT_FILES.iter().any(|name| entry.file_name().starts_with(name));
            if named && entry.path().is_file() {
                let content = std::fs::read(entry.path())?;
                let hash = hex(digest(&SHA256, &content).as_ref());
                found.insert(dir.join(entry.file_name()), hash);
            }
        }
    }
    Ok(found)
}
