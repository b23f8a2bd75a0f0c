//! Builds a package that projects import, or restores the output of an earlier build of the same
//! content.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use ring::digest::{SHA256, digest};

use crate::cache::{BuildCache, Lookup};
use crate::engine::build::project::{BuildFacts, CHANGED, FileStamps, key_of, stamps};
use crate::engine::project_run::ProjectRun;
use crate::plan::PackageBuild;
use crate::tools::packages::failure;
use base::error::{Error, ErrorContext as _, ErrorKind, Result, failed};
use base::time::{rfc3339, unix_now};
use workspace::git;
use workspace::key::hex;

/// The build info files of `tsc`. If one does not match the output, `tsc` does not write the output.
const NOTES: &str = ".tsbuildinfo";

/// The folder in which Turborepo writes its logs.
const LOGS: &str = ".turbo";

/// The output folders of a package, with the cache key of each.
type Keys = BTreeMap<Utf8PathBuf, String>;

/// Builds a package that the project imports, or restores the output of an earlier build of the same content.
pub(crate) fn build_package(run: &ProjectRun<'_>, build: &PackageBuild) -> Result<()> {
    let outputs = outputs(run, build)?;
    // Trouble with the cache does not stop the build.
    let keys = package_keys(run, build, &outputs);
    if let Ok(keys) = &keys
        && !run.plan.options.rebuild
        && restore_package(run, build, keys)?
    {
        run.step(&format!("{} is cached", build.dir));
        return Ok(());
    }
    let before = files(run, build);
    for command in run.shared.paths.build(build, None) {
        let finished = run.execute(&command)?;
        failure::check_build(finished).map_err(|failure| explain(run, build, failure))?;
    }
    let stored = keys.and_then(|keys| store_package(run, build, &outputs, &keys, &before));
    if let Err(because) = stored {
        run.step(&format!("the output of {} is not cached: {because:#}", build.dir));
    }
    Ok(())
}

fn explain(run: &ProjectRun<'_>, build: &PackageBuild, failure: Error) -> Error {
    if failure.kind != ErrorKind::Failed {
        return failure;
    }
    let message = format!(
        "{} could not be built, and {} imports it: {failure:#}",
        build.dir, run.project.name
    );
    failure
        .with_message(message)
        .hint(format!("correct the build of {}; nothing was uploaded", build.dir))
}

/// Returns the exported folders that git ignores. Git does not ignore a folder of sources.
fn outputs(run: &ProjectRun<'_>, build: &PackageBuild) -> Result<Vec<Utf8PathBuf>> {
    let root = &run.ctx.root;
    let mut outputs = Vec::new();
    for folder in &build.exported {
        let is_folder = !root.join(folder).is_file();
        if is_folder && git::is_ignored(root, &Utf8PathBuf::from(format!("{folder}/")))? {
            outputs.push(folder.clone());
        }
    }
    Ok(outputs)
}

/// Returns the key of each output folder.
fn package_keys(
    run: &ProjectRun<'_>,
    build: &PackageBuild,
    outputs: &[Utf8PathBuf],
) -> Result<Keys> {
    if outputs.is_empty() {
        return Err(failed("no folder that git ignores is exported by its package.json"));
    }
    let key = key_of(
        run,
        &BuildFacts {
            inputs: &build.inputs,
            commands: &run.shared.paths.build(build, None),
            toolchain: &build.toolchain,
            folders: format!("package {} {outputs:?}", build.dir),
            dirs: &[&build.dir],
        },
    )?;
    let of_folder =
        |folder: &Utf8PathBuf| hex(digest(&SHA256, format!("{key} {folder}").as_bytes()).as_ref());
    Ok(outputs.iter().map(|folder| (folder.clone(), of_folder(folder))).collect())
}

/// Restores all folders or none. Returns false if one is not cached.
fn restore_package(run: &ProjectRun<'_>, build: &PackageBuild, keys: &Keys) -> Result<bool> {
    let root = &run.ctx.root;
    let cache = BuildCache::at(root);
    let is_in_place = |(folder, key): (&Utf8PathBuf, &String)| {
        cache.is_in_place(key, &root.join(folder)).unwrap_or(false)
    };
    if keys.iter().all(is_in_place) {
        return Ok(true);
    }
    let temporary = root.join(".xtask/tmp").join(format!("{}-package", run.project.nonce));
    let copies = || {
        keys.iter().enumerate().all(|(number, (_, key))| {
            let copied = cache.restore(key, &temporary.join(number.to_string()));
            matches!(copied, Ok(Lookup::Hit { .. }))
        })
    };
    let is_complete = copies();
    if is_complete {
        remove_outputs(run, build, keys)?;
        for (number, folder) in keys.keys().enumerate() {
            std::fs::rename(temporary.join(number.to_string()), root.join(folder))
                .with_context(|| format!("cannot create {folder}"))?;
        }
    }
    let _rest = std::fs::remove_dir_all(&temporary);
    Ok(is_complete)
}

/// Caches the output folders. Errors if something that the build wrote or read is not known.
fn store_package(
    run: &ProjectRun<'_>,
    build: &PackageBuild,
    outputs: &[Utf8PathBuf],
    keys: &Keys,
    before: &FileStamps,
) -> Result<()> {
    if package_keys(run, build, outputs)? != *keys {
        return Err(failed(CHANGED));
    }
    for (path, at) in files(run, build) {
        let is_written = before.get(&path) != Some(&at);
        let is_output = outputs.iter().any(|folder| path.starts_with(folder));
        match (is_written, is_output) {
            (true, false) => {
                return Err(failed(format!("it wrote {path}, outside of what it exports")));
            }
            // An install or an earlier build wrote it.
            (false, true) => return Err(failed(format!("it did not write {path}"))),
            _ => {}
        }
    }
    let root = &run.ctx.root;
    for (folder, key) in keys {
        let path = root.join(folder);
        if !path.is_dir() {
            return Err(failed(format!("it did not write {folder}")));
        }
        let stored = BuildCache::at(root).store(key, &path, rfc3339(unix_now()));
        stored.with_context(|| folder.to_string())?;
    }
    Ok(())
}

/// Removes the output folders, which git ignores, and the build info files.
fn remove_outputs(run: &ProjectRun<'_>, build: &PackageBuild, outputs: &Keys) -> Result<()> {
    let root = &run.ctx.root;
    for folder in outputs.keys().map(|folder| root.join(folder)).filter(|path| path.is_dir()) {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {folder}"))?;
    }
    for path in notes(run, &build.dir)? {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {path}"))?;
    }
    Ok(())
}

/// Returns the build info files of `tsc`, in the package and in the folder that Vite's templates use.
fn notes(run: &ProjectRun<'_>, dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let root = &run.ctx.root;
    let mut found = Vec::new();
    for folder in [dir.to_owned(), dir.join("node_modules/.tmp")] {
        let Ok(entries) = root.join(&folder).read_dir_utf8() else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = folder.join(entry.file_name());
            if entry.file_name().ends_with(NOTES) && git::is_ignored(root, &path)? {
                found.push(root.join(path));
            }
        }
    }
    Ok(found)
}

/// Returns the stamps of the package's files.
fn files(run: &ProjectRun<'_>, build: &PackageBuild) -> FileStamps {
    stamps(&run.ctx.root, vec![build.dir.clone()], |path| {
        let name = path.file_name().unwrap_or_default();
        name == LOGS || name.ends_with(NOTES)
    })
}
