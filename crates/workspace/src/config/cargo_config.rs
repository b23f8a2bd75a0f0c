//! Cargo's config of a repository (<https://doc.rust-lang.org/cargo/reference/config.html>).

use camino::Utf8Path;
use serde_json::Value;

use crate::files::config_text::parse_config;
use crate::files::names::{CARGO_CONFIGS, RUST_TOOLCHAINS};

/// Returns the path of the file that Cargo reads at `root`, relative to it. If both exist, that is the one without an
/// extension, which was its name before Cargo 1.39. The other one if none exists.
#[must_use]
pub fn file(root: &Utf8Path) -> &'static Utf8Path {
    let is_there = |name: &&str| root.join(name).symlink_metadata().is_ok();
    let [old, new] = CARGO_CONFIGS;
    Utf8Path::new(Some(old).filter(is_there).unwrap_or(new))
}

/// Parses a config. `None` if it is not TOML.
#[must_use]
pub fn parse(text: &str) -> Option<Value> {
    // Its old name has no extension.
    parse_config(Utf8Path::new("config.toml"), text).ok()
}

/// Returns true if `config` chooses another target than that of the machine, as repositories of Rust Workers do. Then
/// Cargo builds a program for this machine only with `--target host-tuple`.
#[must_use]
pub fn has_build_target(config: &Value) -> bool {
    !config["build"]["target"].is_null()
}

/// Returns true if the config at `root` chooses another target than that of the machine.
#[must_use]
pub fn sets_build_target(root: &Utf8Path) -> bool {
    let text = std::fs::read_to_string(root.join(file(root)));
    text.ok().and_then(|text| parse(&text)).is_some_and(|config| has_build_target(&config))
}

/// Returns the file at `root` that pins a toolchain, and the channel in it, such as `1.70.0` or `stable`. `None` if there is
/// none. If both exist, rustup reads the one without an extension
/// (<https://rust-lang.github.io/rustup/overrides.html#the-toolchain-file>).
#[must_use]
pub fn pinned_toolchain(root: &Utf8Path) -> Option<(&'static str, String)> {
    RUST_TOOLCHAINS.into_iter().find_map(|name| {
        let text = std::fs::read_to_string(root.join(name)).ok()?;
        let table = parse(&text).unwrap_or_default();
        let channel = table["toolchain"]["channel"].as_str().map(str::to_owned);
        // The file without an extension may be the channel alone.
        let channel =
            channel.or_else(|| (text.trim().lines().count() == 1).then(|| text.trim().to_owned()));
        Some((name, channel?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_cargo_reads_is_found() {
        let name = format!("xtask-cargo-config-{}", std::process::id());
        let root =
            camino::Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8").join(name);
        std::fs::create_dir_all(root.join(".cargo")).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).expect("a file");
        assert_eq!((file(&root).as_str(), sets_build_target(&root)), (".cargo/config.toml", false));
        write(".cargo/config.toml", "[build]\njobs = 1\n");
        assert_eq!((file(&root).as_str(), sets_build_target(&root)), (".cargo/config.toml", false));
        write(".cargo/config", "[build]\ntarget = [\"wasm32-unknown-unknown\"]\n");
        assert_eq!((file(&root).as_str(), sets_build_target(&root)), (".cargo/config", true));

        assert_eq!(pinned_toolchain(&root), None);
        write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.70.0\"\n");
        assert_eq!(pinned_toolchain(&root), Some(("rust-toolchain.toml", "1.70.0".to_owned())));
        write("rust-toolchain", "nightly-2026-01-01\n");
        assert_eq!(
            pinned_toolchain(&root),
            Some(("rust-toolchain", "nightly-2026-01-01".to_owned()))
        );
        std::fs::remove_dir_all(&root).expect("removable");
    }
}
