//! The repository that xtask is developed in: `[workspace.metadata.xtask]` in the `Cargo.toml` at its root.
//! Repositories that use xtask have no such section.

use camino::Utf8Path;
use serde::Deserialize;

/// The section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnRepository {
    /// The paths that xtask and the sandbox are compiled from.
    pub sources: Vec<String>,
    /// The Cargo package of the sandbox.
    pub sandbox: String,
    /// The script that the job `check` runs in place of those of the projects.
    pub check: String,
    /// The page with the table of the pipeline's variables.
    pub guide: String,
}

impl OwnRepository {
    /// Reads the section of the repository at `root`. `None` if it has none.
    #[must_use]
    pub fn read(root: &Utf8Path) -> Option<OwnRepository> {
        OwnRepository::parse(&std::fs::read_to_string(root.join("Cargo.toml")).ok()?)
    }

    fn parse(manifest: &str) -> Option<OwnRepository> {
        let manifest: toml::Table = manifest.parse().ok()?;
        manifest.get("workspace")?.get("metadata")?.get("xtask")?.clone().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_repositories_have_no_section() {
        let section = "[workspace.metadata.xtask]\nsources = [\"Cargo.lock\", \"tool\"]\nsandbox = \"stand-in\"\n\
                       check = \"test.sh\"\nguide = \"guide.md\"\n";
        let expected = OwnRepository {
            sources: vec!["Cargo.lock".to_owned(), "tool".to_owned()],
            sandbox: "stand-in".to_owned(),
            check: "test.sh".to_owned(),
            guide: "guide.md".to_owned(),
        };
        assert_eq!(OwnRepository::parse(section), Some(expected));
        for other in [
            "",
            "[workspace]",
            "[workspace.metadata.xtask]\nsandbox = 1",
            "[workspace.metadata]",
            "[",
        ] {
            assert_eq!(OwnRepository::parse(other), None, "{other}");
        }
    }
}
