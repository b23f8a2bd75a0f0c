//! `pins`: the pins of `cargo xtask doctor pins`, and those of the packages that only this repository has.

use clap::Args;

use base::error::{Exit, Result};
use delivery::Ctx;
use delivery::doctor::pins::Pins;

/// The packages that only tests and benchmarks install.
const TEST_PACKAGES: [&str; 6] = [
    "dagger/test",
    "dev/benches/peers",
    "sandbox/tests/conformance/node",
    "sandbox/tests/gitbeaker",
    "xtask/tests/browser",
    "xtask/tests/pipeline",
];

/// Show every pinned version.
#[derive(Debug, Args)]
pub struct PinsCommand {}

impl PinsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let pins = Pins::read(&ctx.root, &TEST_PACKAGES)?;
        ctx.ui.report(&pins, &pins.text());
        Ok(pins.exit())
    }
}

#[cfg(test)]
mod tests {
    use camino::{Utf8Path, Utf8PathBuf};

    use super::*;

    fn root() -> &'static Utf8Path {
        Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root")
    }

    #[test]
    fn every_package_of_tests_and_benchmarks_is_listed() {
        let files = workspace::git::list(root(), |_| true).expect("git").files;
        let is_of_tests = |dir: &Utf8PathBuf| {
            ["dagger/test", "dev", "sandbox", "xtask"].iter().any(|folder| dir.starts_with(folder))
        };
        let has_lock = |dir: &Utf8PathBuf| {
            ["bun.lock", "package-lock.json"]
                .iter()
                .any(|lock| root().join(dir).join(lock).is_file())
        };
        let mut packages: Vec<Utf8PathBuf> = files
            .iter()
            .filter(|file| file.file_name() == Some("package.json"))
            .filter_map(|file| file.parent().map(Utf8Path::to_owned))
            .filter(|dir| is_of_tests(dir) && has_lock(dir))
            .collect();
        packages.sort();
        assert_eq!(packages, TEST_PACKAGES);
    }

    #[test]
    fn the_files_of_every_pin_agree() {
        let pins = Pins::read(root(), &TEST_PACKAGES).expect("readable");
        assert_eq!(pins.exit(), Exit::Done, "{}", pins.text());
        for name in ["wrangler", "nx"] {
            assert!(pins.text().contains(name), "{name} is not in\n{}", pins.text());
        }
    }
}
