//! Cache of program versions by file identity: asking Dagger's CLI takes 0.1 s, Bun 5 ms.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::write_whole;

/// The first bytes of a compiled program on Linux and macOS.
const COMPILED: [[u8; 4]; 3] = [*b"\x7fELF", [0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];

/// The identity of a file at the time of the query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Identity {
    path: Utf8PathBuf,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since 1970.
    modified: [i64; 2],
}

#[derive(Deserialize, Serialize)]
struct CachedVersion {
    program: Identity,
    version: String,
}

/// Returns the version of `program` from the cache below `root`, or from `ask`. Scripts, links to a program of
/// another name, and files in a folder called `shims` are not cached, because version managers use them and
/// choose the version on each call.
#[must_use]
pub fn version(
    root: &Utf8Path,
    program: &Utf8Path,
    ask: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let Some(identity) = identity(program) else { return ask() };
    let file = format!("{}-{}.json", identity.path.file_name()?, identity.inode);
    // Beside the tools of this checkout, even if they are elsewhere, because a shared folder may be read-only.
    let file = root.join(".xtask/tools").join(file);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(CachedVersion { program, version }) if program == identity => Some(version),
        _ => {
            let version = ask()?;
            let cached = CachedVersion { program: identity, version: version.clone() };
            // A version that cannot be stored is queried again next time.
            let _asked_again = serde_json::to_string(&cached)
                .map_err(Error::from)
                .and_then(|text| write_whole(&file, &text));
            Some(version)
        }
    }
}

/// Returns the identity of this program's file as one line. `None` if it is unknown.
#[must_use]
pub fn this_program() -> Option<String> {
    let program = Utf8PathBuf::from_path_buf(std::env::current_exe().ok()?).ok()?;
    serde_json::to_string(&identity(&program)?).ok()
}

fn identity(program: &Utf8Path) -> Option<Identity> {
    let path = program.canonicalize_utf8().ok()?;
    let mut start = [0; 4];
    std::fs::File::open(&path).ok()?.read_exact(&mut start).ok()?;
    let is_cacheable = COMPILED.contains(&start)
        && path.file_name() == program.file_name()
        && !path.components().any(|part| part.as_str() == "shims");
    let meta = path.metadata().ok().filter(|_| is_cacheable)?;
    let modified = [meta.mtime(), meta.mtime_nsec()];
    Some(Identity { path, inode: meta.ino(), bytes: meta.len(), modified })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_version_is_cached_until_the_file_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-cached-{}", std::process::id()));
        let root = Utf8PathBuf::from_path_buf(folder).expect("UTF-8");
        std::fs::create_dir_all(&root).expect("a folder");
        let asked = Cell::new(0);
        let identify = |program: &Utf8Path| {
            version(&root, program, || {
                asked.set(asked.get() + 1);
                Some(format!("0.21.{}", asked.get()))
            })
        };
        let program = root.join("dagger");
        std::fs::write(&program, b"\x7fELF one").expect("a file");
        assert_eq!(
            (identify(&program), identify(&program)),
            (Some("0.21.1".into()), Some("0.21.1".into()))
        );
        std::fs::write(&program, b"\x7fELF another").expect("a file");
        assert_eq!(identify(&program).as_deref(), Some("0.21.2"));
        let file = root.join(".xtask/tools").read_dir_utf8().expect("a folder").next();
        let file = file.expect("one file").expect("an entry").into_path();
        std::fs::write(file, "{ broken").expect("a file");
        assert_eq!(identify(&program).as_deref(), Some("0.21.3"));

        std::fs::write(&program, "#!/bin/sh\nexec mise x dagger\n").expect("a file");
        assert_eq!(
            (identify(&program), identify(&program)),
            (Some("0.21.4".into()), Some("0.21.5".into()))
        );
        let manager = root.join("mise");
        std::fs::write(&manager, b"\x7fELF manager").expect("a file");
        std::fs::remove_file(&program).expect("removed");
        std::os::unix::fs::symlink(&manager, &program).expect("a link");
        assert_eq!(
            (identify(&program), identify(&program)),
            (Some("0.21.6".into()), Some("0.21.7".into()))
        );
        assert_eq!(version(&root, &root.join("none"), || None), None);
        let shim = root.join("shims/dagger");
        std::fs::create_dir_all(root.join("shims")).expect("a folder");
        std::fs::write(&shim, b"\x7fELF shim").expect("a file");
        assert_eq!(
            (identify(&shim), identify(&shim)),
            (Some("0.21.8".into()), Some("0.21.9".into()))
        );
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
