//! The archive of `dist`: xtask, the sandbox, and the revision that they were compiled from.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::context::Ctx;
use workspace::git;
use workspace::modules::{TOOL, TOOL_LOCK};
use workspace::own_repository::OwnRepository;

/// The file next to the programs of an archive.
pub const MARK: &str = "dist.json";

/// The origin of the programs in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// The version of this shape.
    pub schema: u32,
    /// The release, else the first digits of the commit.
    pub version: String,
    /// The system that the programs run on.
    pub target: String,
    /// The commit that they were compiled from.
    pub commit: String,
    /// Git's ids of their source files.
    pub source: String,
}

impl Distribution {
    /// Reads the file next to this program. `None` if the program is not from an archive.
    #[must_use]
    pub fn of_this_program() -> Option<Distribution> {
        let text = std::fs::read_to_string(folder()?.join(MARK)).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Returns the folder of this program.
fn folder() -> Option<Utf8PathBuf> {
    let own = Utf8PathBuf::from_path_buf(std::env::current_exe().ok()?).ok()?;
    Some(own.parent()?.to_owned())
}

/// Returns true if this program is from an archive. Then the sandbox is in the same folder.
#[must_use]
pub fn is_distributed() -> bool {
    folder().is_some_and(|folder| folder.join(MARK).is_file())
}

/// Returns the paths of a repository that its xtask is compiled from, relative to the root.
#[must_use]
pub fn parts(root: &Utf8Path) -> Vec<String> {
    let parts: &[&str] = match OwnRepository::read(root) {
        Some(own) => return own.sources,
        None if root.join(TOOL_LOCK).is_file() => &[TOOL],
        // A member of the repository's own Cargo workspace.
        None => &["Cargo.lock", TOOL],
    };
    parts.iter().map(|&part| part.to_owned()).collect()
}

/// Returns git's ids of xtask's source files in the commit that is checked out. `None` if there is no commit.
#[must_use]
pub fn source(root: &Utf8Path) -> Option<String> {
    let objects: Vec<String> = parts(root).iter().map(|part| format!("HEAD:{part}")).collect();
    let mut arguments = vec!["rev-parse", "--verify", "--quiet"];
    // Git verifies one name only.
    if objects.len() > 1 {
        arguments = vec!["rev-parse"];
    }
    arguments.extend(objects.iter().map(String::as_str));
    git::ask(root, &arguments).map(|ids| ids.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Warns if this program is from an archive and the checkout has another revision of it.
pub fn warn_if_other(ctx: &Ctx) {
    let Some(own) = Distribution::of_this_program() else { return };
    if let Some(warning) = difference(&own, source(&ctx.root).as_deref()) {
        ctx.ui.warn(&warning);
    }
}

/// Returns the warning about an archive of another revision. `None` if the checkout has the same.
fn difference(own: &Distribution, checkout: Option<&str>) -> Option<String> {
    let Distribution { version, source, .. } = own;
    (checkout != Some(source)).then(|| {
        format!(
            "this xtask is {version} from an archive, but the checkout has another revision of it; \
             the archive is used. Make a new one with `cargo xtask dist` and set `pipeline.xtaskArchive`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::checkout;
    use super::*;

    #[test]
    fn warns_about_an_archive_of_another_revision() {
        let own = Distribution {
            schema: 1,
            version: "v1.2.0".to_owned(),
            target: "x86_64-linux".to_owned(),
            commit: "c".to_owned(),
            source: "a b".to_owned(),
        };
        assert_eq!(difference(&own, Some("a b")), None);
        for other in [Some("a c"), None] {
            let warning = difference(&own, other).expect("a warning");
            assert!(warning.starts_with("this xtask is v1.2.0 from an archive"), "{warning}");
        }
    }

    #[test]
    fn reads_the_source_of_the_commit() {
        let root = checkout::root().expect("the root");
        let ids = source(root).expect("a commit");
        assert_eq!(ids.split(' ').count(), parts(root).len(), "{ids}");
        assert_eq!(source(Utf8Path::new("/")), None);
        assert!(!is_distributed());
    }
}
