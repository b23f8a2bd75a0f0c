//! The dependency of another repository on this library.

use camino::{Utf8Path, Utf8PathBuf};

use base::error::{Result, refused, usage};
use workspace::git;

/// The lock file of the new crate for a library in a folder: the versions that we tested. `cargo dev generate` writes it.
const LOCK: &str = include_str!("../../templates/xtask/Cargo.lock");

/// The source of this library for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LibrarySource {
    /// A folder on this machine, relative to the new crate.
    Path(Utf8PathBuf),
    /// A revision in a git repository.
    Git {
        /// Its URL, in Cargo's format.
        url: String,
        /// The commit.
        rev: String,
        /// The release tag of that commit.
        tag: Option<String>,
    },
}

impl LibrarySource {
    /// Returns the path of this library's source at compile time, from the absolute folder `from`.
    #[must_use]
    pub fn path(from: &Utf8Path) -> LibrarySource {
        LibrarySource::Path(relative(from, Utf8Path::new(env!("CARGO_MANIFEST_DIR"))))
    }

    /// Returns the revision `rev` at `url`. The defaults are the origin and the commit of `checkout`.
    pub fn git(
        checkout: &Utf8Path,
        url: Option<String>,
        rev: Option<String>,
    ) -> Result<LibrarySource> {
        let ask = |arguments: &[&str]| git::ask(checkout, arguments);
        // A release tag of this checkout may not exist in another repository.
        let is_own = url.is_none() && rev.is_none();
        let url = url.or_else(|| ask(&["remote", "get-url", "origin"])).ok_or_else(|| {
            usage(format!("{checkout} has no origin, so no other machine could get this tool"))
                .hint("name a repository with `--git URL --rev REVISION`, or take this checkout with `--path`")
        })?;
        let rev = rev.or_else(|| ask(&["rev-parse", "HEAD"])).ok_or_else(|| {
            usage(format!("the commit of {checkout} is not known"))
                .hint("name it with `--rev REVISION`")
        })?;
        let tag = is_own.then(|| git::release_of_head(checkout)).flatten();
        Ok(LibrarySource::Git { url: cargo_url(&url)?, rev, tag })
    }

    /// Returns the value of `delivery` in `[dependencies]`.
    #[must_use]
    pub fn dependency(&self) -> String {
        match self {
            LibrarySource::Path(path) => format!("{{ path = \"{path}\" }}"),
            LibrarySource::Git { url, rev, tag: None } => {
                format!("{{ git = \"{url}\", rev = \"{rev}\" }}")
            }
            LibrarySource::Git { url, tag: Some(tag), .. } => {
                format!("{{ git = \"{url}\", tag = \"{tag}\" }}")
            }
        }
    }

    /// Returns the lock file of the new crate. Cargo removes unused packages.
    #[must_use]
    pub fn lock(&self) -> String {
        let source = match self {
            LibrarySource::Path(_) => return LOCK.to_owned(),
            LibrarySource::Git { url, rev, tag } => {
                let revision = match tag {
                    None => format!("rev={rev}"),
                    Some(tag) => format!("tag={tag}"),
                };
                format!("source = \"git+{url}?{revision}#{rev}\"")
            }
        };
        let blocks = LOCK.trim_end().split("\n\n").map(|block| with_source(block, &source));
        blocks.collect::<Vec<_>>().join("\n\n") + "\n"
    }
}

/// Returns a block of the lock file. A package of this library gets its source, and the new crate has none.
fn with_source(block: &str, source: &str) -> String {
    let has_own_source = block.contains("\nsource = ");
    let is_new_crate = block.contains("\nname = \"xtask\"\n");
    match block.split_once("\nversion = ") {
        Some((head, rest))
            if block.starts_with("[[package]]") && !has_own_source && !is_new_crate =>
        {
            let (version, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            format!("{head}\nversion = {version}\n{source}\n{rest}").trim_end().to_owned()
        }
        _ => block.to_owned(),
    }
}

/// Converts a URL to Cargo's format, which does not support `git@host:path`. Refuses a URL with a password.
fn cargo_url(url: &str) -> Result<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(match url.split_once(':') {
            Some((host, path)) if !host.contains('/') => format!("ssh://{host}/{path}"),
            _ => format!("file://{url}"),
        });
    };
    let user = rest.split('/').next().and_then(|host| host.rsplit_once('@'));
    match user {
        Some((user, _)) if scheme != "ssh" || user.contains(':') => Err(refused(
            "the address of this checkout's origin holds a name or a password",
        )
        .hint("name one without it: `--git https://…`; git's credential helper knows the rest")),
        _ => Ok(url.to_owned()),
    }
}

/// Returns `to` as a path from the folder `from`, both absolute.
fn relative(from: &Utf8Path, to: &Utf8Path) -> Utf8PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.components().count() - shared);
    up.chain(to.components().skip(shared).map(|part| part.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_urls_that_cargo_accepts() {
        for (url, expected) in [
            ("https://gitlab.com/a/b.git", Some("https://gitlab.com/a/b.git")),
            ("git@gitlab.com:a/b.git", Some("ssh://git@gitlab.com/a/b.git")),
            ("ssh://git@gitlab.com:2222/a/b", Some("ssh://git@gitlab.com:2222/a/b")),
            ("/srv/git/b", Some("file:///srv/git/b")),
            ("https://me:glpat-1@gitlab.com/a/b.git", None),
            ("https://token@gitlab.com/a/b.git", None),
        ] {
            assert_eq!(cargo_url(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn relative_paths_lead_from_one_folder_to_another() {
        let path = |from: &str, to: &str| relative(from.into(), to.into());
        assert_eq!(path("/a/shop/xtask", "/a/tool/library"), "../../tool/library");
        assert_eq!(path("/a", "/a/b"), "b");
    }

    #[test]
    fn reads_the_source_of_this_library_from_the_lock_file() {
        let release = |tag: Option<&str>| LibrarySource::Git {
            url: "https://h/r".to_owned(),
            rev: "abc".to_owned(),
            tag: tag.map(str::to_owned),
        };
        let tagged = release(Some("v1.2.0"));
        assert_eq!(tagged.dependency(), r#"{ git = "https://h/r", tag = "v1.2.0" }"#);
        assert!(tagged.lock().contains("\nsource = \"git+https://h/r?tag=v1.2.0#abc\"\n"));
        let source = release(None);
        let lock = source.lock();
        assert!(lock.starts_with("# This file is automatically @generated by Cargo."), "{lock}");
        let block = |name: &str| {
            let start = format!("[[package]]\nname = \"{name}\"\n");
            lock.split("\n\n").find(|block| block.starts_with(&start)).map(str::to_owned)
        };
        let delivery = block("delivery").expect("a block");
        assert!(
            delivery.contains("\nsource = \"git+https://h/r?rev=abc#abc\"\ndependencies = ["),
            "{delivery}"
        );
        assert!(block("xtask").expect("a block").ends_with("dependencies = [\n \"delivery\",\n]"));
        assert_eq!(block("sandbox"), None);
        assert!(!LibrarySource::Path("../x".into()).lock().contains("git+"));
    }
}
