//! Parses the paths in the settings of Cargo (<https://doc.rust-lang.org/cargo/reference/config.html>).

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::cargo::manifest::{PathDependency, patches_in, texts};
use crate::files::config_text::parse_config;

/// The settings that name a program, or a file that describes a target.
const FILES: [&str; 6] =
    ["linker", "rustc", "rustc-wrapper", "rustc-workspace-wrapper", "target", "ar"];

/// The paths in one file of settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CargoSettings {
    /// The replacements of crates by a path, relative to the folder above that of the file.
    pub(crate) patches: BTreeSet<PathDependency>,
    /// The other files and folders that it names, relative to the same folder. They need not exist.
    pub(crate) files: BTreeSet<String>,
    /// The further files of settings, relative to the folder of the file.
    pub(crate) included: BTreeSet<String>,
}

impl CargoSettings {
    /// Parses a file of settings. One that cannot be parsed names no path: Cargo reports it.
    pub(crate) fn parse(text: &str) -> CargoSettings {
        let value = parse_config(Utf8Path::new("config.toml"), text).unwrap_or_default();
        let overrides = texts(&value["paths"]);
        let overrides = overrides.map(|path| PathDependency { name: "paths".to_owned(), path });
        let mut settings = CargoSettings {
            patches: patches_in(&value["patch"]).chain(overrides).collect(),
            ..CargoSettings::default()
        };
        let tables = value["target"].as_object().into_iter().flatten().map(|(_, target)| target);
        for table in tables.chain([&value["build"]]) {
            let names = FILES.iter().flat_map(|name| texts(&table[*name]));
            // Other names are those of programs on PATH and of built-in targets.
            settings
                .files
                .extend(names.filter(|name| name.contains('/') || name.ends_with(".json")));
        }
        let variables = value["env"].as_object().into_iter().flatten();
        let relative = variables.filter(|(_, variable)| variable["relative"] == true);
        settings.files.extend(relative.flat_map(|(_, variable)| texts(&variable["value"])));
        let included = value["include"].as_array().into_iter().flatten();
        let paths = included.flat_map(|entry| texts(&entry["path"]));
        settings.included = texts(&value["include"]).chain(paths).collect();
        settings
    }

    /// Returns the folder that the paths in the file at `path` are relative to.
    pub(crate) fn base(path: &Utf8Path) -> Utf8PathBuf {
        path.ancestors().nth(2).unwrap_or(Utf8Path::new("")).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_settings() {
        let text = "paths = ['../vendor/a']\ninclude = ['shared.toml', { path = 'b.toml', optional = true }]\n\
                    [alias]\nxtask = ['run', '--manifest-path', 'xtask/Cargo.toml']\n\
                    [build]\ntarget = 'specs/wasm.json'\nrustc-wrapper = 'tools/wrap.sh'\nrustc = 'rustc'\n\
                    [target.wasm32-unknown-unknown]\nlinker = 'tools/link.sh'\nrustflags = ['-C', 'x=1']\n\
                    [env]\nSCHEMA = { value = 'schema.json', relative = true }\nOTHER = 'other.json'\n\
                    [patch.crates-io]\nserde = { path = 'forks/serde' }\nrand = { git = 'https://example.com/rand' }\n";
        let settings = CargoSettings::parse(text);
        let patches: Vec<&str> = settings.patches.iter().map(|patch| patch.path.as_str()).collect();
        assert_eq!(patches, ["../vendor/a", "forks/serde"]);
        let files: Vec<&str> = settings.files.iter().map(String::as_str).collect();
        assert_eq!(files, ["schema.json", "specs/wasm.json", "tools/link.sh", "tools/wrap.sh"]);
        let included: Vec<&str> = settings.included.iter().map(String::as_str).collect();
        assert_eq!(included, ["b.toml", "shared.toml"]);
        assert_eq!(CargoSettings::parse("paths = ["), CargoSettings::default());
    }

    #[test]
    fn paths_are_relative_to_the_folder_of_dot_cargo() {
        for (path, base) in [(".cargo/config.toml", ""), ("a/b/.cargo/config", "a/b")] {
            assert_eq!(CargoSettings::base(Utf8Path::new(path)), base);
        }
    }
}
