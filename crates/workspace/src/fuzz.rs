//! Feeds mutated copies of files that others write to the parsers: none panics, and each returns within a second.
//!
//! `XTASK_FUZZ=20000` sets the number of inputs for each target.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use camino::Utf8Path;

use super::mutation;
use crate::cargo::lock::CargoLock;
use crate::cargo::manifest::CargoManifest;
use crate::cargo::settings::CargoSettings;
use crate::files::pattern::Patterns;
use crate::graph::references;
use crate::packages::locks::LockFile;
use crate::packages::manifest::Specs;
use crate::packages::package::Package;
use crate::packages::roots::{Root, RootFiles};
use crate::wrangler::WranglerConfig;

/// Feeds changed copies of the files in one folder of the corpus to `parse`.
fn run(folder: &str, parse: impl Fn(&str)) {
    mutation::run(folder, base::env::variable("XTASK_FUZZ"), parse);
}

fn wrangler(name: &str, text: &str) {
    if let Ok(config) = WranglerConfig::parse(Utf8Path::new(name), text) {
        let config = config.with_default_name(None, Utf8Path::new("apps/shop"));
        for environment in ["local", "staging"] {
            black_box((config.target(environment), config.patterns(environment)));
        }
        black_box(references::of_wrangler(&config, Utf8Path::new("apps/shop")));
    }
}

fn lock(name: &str, text: &str) {
    if let Some(lock) = LockFile::parse(name, text) {
        let specs = Specs::from([("one".to_owned(), "^1.0.0".to_owned())]);
        let manifests = BTreeMap::from([("", &specs), ("a", &specs)]);
        for folder in ["", "a", "missing"] {
            black_box(lock.slice(&BTreeSet::from([folder]), &manifests));
        }
    }
}

#[test]
fn wrangler_configs_of_json() {
    run("wrangler-json", |text| wrangler("wrangler.jsonc", text));
}

#[test]
fn wrangler_configs_of_toml() {
    run("wrangler-toml", |text| wrangler("wrangler.toml", text));
}

#[test]
fn manifests_and_settings_of_cargo() {
    run("cargo-toml", |text| {
        if let Ok(manifest) = CargoManifest::parse(text) {
            let table = manifest.workspace.as_ref();
            black_box(table.map(|table| table.excludes(Utf8Path::new("apps/shop"))));
        }
        black_box(CargoSettings::parse(text));
    });
}

#[test]
fn manifests() {
    run("package-json", |text| {
        if let Ok(package) = Package::parse(Utf8Path::new("a"), text) {
            let files = RootFiles { package: Some(&package), ..RootFiles::default() };
            Root::new(&files).map(|root| root.names(Utf8Path::new("apps/shop")));
        }
    });
}

#[test]
fn lock_files_of_cargo() {
    run("cargo-lock", |text| {
        if let Some(lock) = CargoLock::parse(text) {
            black_box(lock.slice(&BTreeSet::from(["api".to_owned()])));
        }
    });
}

#[test]
fn lock_files_of_npm() {
    run("npm-lock", |text| lock("package-lock.json", text));
}

#[test]
fn lock_files_of_pnpm() {
    run("pnpm-lock", |text| lock("pnpm-lock.yaml", text));
}

#[test]
fn lock_files_of_yarn() {
    run("yarn-lock", |text| lock("yarn.lock", text));
}

#[test]
fn lock_files_of_bun() {
    run("bun-lock", |text| lock("bun.lock", text));
}

#[test]
fn workspaces_of_pnpm() {
    run("pnpm-workspace", |text| {
        let files = RootFiles { pnpm_workspace: Some(text), ..RootFiles::default() };
        Root::new(&files).map(|root| root.names(Utf8Path::new("apps/shop")));
    });
}

#[test]
fn patterns() {
    run("patterns", |text| {
        if let Ok(patterns) = Patterns::new(text.lines()) {
            black_box(patterns.matches(Utf8Path::new(&"a/b".repeat(30))));
        }
    });
}
