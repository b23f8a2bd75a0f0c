//! Parses the specifiers of dependencies in a manifest.

/// The meaning of a dependency's specifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec<'s> {
    /// A member of the workspace: `workspace:*`, `workspace:other@^1`.
    Member {
        /// The name of the member, if it differs from that of the dependency.
        alias: Option<&'s str>,
    },
    /// A folder or archive: `file:`, `link:`, `portal:`, `exec:`, `./`, `../`, relative to the manifest.
    Path(&'s str),
    /// A folder relative to the root of the workspace: `workspace:packages/ui`.
    MemberPath(&'s str),
    /// A version from a catalog. The default catalog has an empty name.
    Catalog(&'s str),
    /// A version of the registry, or of a member that satisfies it.
    Range(&'s str),
    /// An alias: a version of a package with another name.
    Alias(&'s str, &'s str),
    /// Another package with patches applied: `patch:left-pad@npm%3A1.0.0#./left-pad.patch`.
    Patch(&'s str),
    /// A git repository on this machine: `git+file:///srv/shop/vendor/ui#v1`.
    Repository(&'s str),
    /// The URL of another repository or archive.
    Elsewhere,
}

impl<'s> Spec<'s> {
    /// Parses a specifier.
    #[must_use]
    pub fn parse(text: &'s str) -> Spec<'s> {
        let text = text.trim();
        let Some((protocol, rest)) = text.split_once(':') else {
            return Spec::without_protocol(text);
        };
        match protocol {
            "workspace" if rest.starts_with('.') => Spec::Path(rest),
            "workspace" => Spec::member(rest),
            "file" | "link" | "portal" | "exec" => Spec::Path(path_of(rest)),
            "git+file" => Spec::Repository(path_of(rest)),
            "catalog" => Spec::Catalog(if rest == "default" { "" } else { rest.trim() }),
            "patch" => Spec::Patch(rest),
            "npm" => Spec::npm(rest),
            _ if text.starts_with(['.', '/', '~']) => Spec::without_protocol(text),
            _ => Spec::Elsewhere,
        }
    }

    fn without_protocol(text: &'s str) -> Spec<'s> {
        // `~1.2` is a range, `~/folder` a path.
        if ["./", "../", "/", "~/"].iter().any(|start| text.starts_with(start)) || text == ".." {
            return Spec::Path(text);
        }
        let archive = [".tgz", ".tar.gz", ".tar"].iter().any(|end| text.ends_with(end));
        match (archive, text.contains('/')) {
            (true, _) => Spec::Path(text),
            (false, true) => Spec::Elsewhere,
            (false, false) => Spec::Range(text),
        }
    }

    fn member(rest: &'s str) -> Spec<'s> {
        match rest.rsplit_once('@') {
            Some((name, _)) if !name.is_empty() => Spec::Member { alias: Some(name) },
            None if rest.contains('/') => Spec::MemberPath(rest),
            _ => Spec::Member { alias: None },
        }
    }

    fn npm(rest: &'s str) -> Spec<'s> {
        match rest.rsplit_once('@') {
            Some((name, range)) if !name.is_empty() => Spec::Alias(name, range),
            _ if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '@') => {
                Spec::Alias(rest, "")
            }
            _ => Spec::Range(rest),
        }
    }

    /// Returns true if it always refers to a package of this repository, in any version.
    #[must_use]
    pub fn is_local(self) -> bool {
        match self {
            Spec::Member { .. } | Spec::Path(_) | Spec::MemberPath(_) | Spec::Patch(_) => true,
            Spec::Catalog(_)
            | Spec::Range(_)
            | Spec::Alias(..)
            | Spec::Repository(_)
            | Spec::Elsewhere => false,
        }
    }
}

/// Returns the path of a specifier without the parts that a manager adds: `#…`, `::locator=…`.
fn path_of(rest: &str) -> &str {
    let path = rest.split("::").next().unwrap_or_default().split('#').next().unwrap_or_default();
    path.strip_prefix("//").unwrap_or(path)
}

/// The files that `patch:` applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchSpec {
    /// The specifier of the package that is patched.
    pub inner: String,
    /// The patch files, with `true` for those relative to the root of the project.
    pub files: Vec<(String, bool)>,
}

impl PatchSpec {
    /// Parses the text after `patch:`, as Yarn writes it: a locator, `#`, files separated by `&`.
    #[must_use]
    pub fn parse(rest: &str) -> PatchSpec {
        let rest = rest.split("::").next().unwrap_or_default();
        let (locator, files) = rest.split_once('#').unwrap_or((rest, ""));
        let locator = decode(locator);
        let inner =
            locator.get(1..).and_then(|rest| rest.split_once('@')).map_or("", |(_, spec)| spec);
        let file = |file: &str| {
            let file = decode(file.strip_prefix("optional!").unwrap_or(file));
            match file.strip_prefix("~/") {
                _ if file.starts_with("builtin<") => None,
                Some(below_root) => Some((below_root.to_owned(), true)),
                None => Some((file, false)),
            }
        };
        let files = files.split('&').filter(|file| !file.is_empty()).filter_map(file).collect();
        PatchSpec { inner: inner.to_owned(), files }
    }
}

/// Decodes a percent-encoded text.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_of_each_manager() {
        for (text, expected) in [
            ("workspace:*", Spec::Member { alias: None }),
            ("workspace:^", Spec::Member { alias: None }),
            ("workspace:other@*", Spec::Member { alias: Some("other") }),
            ("workspace:@acme/ui@^1.0.0", Spec::Member { alias: Some("@acme/ui") }),
            ("workspace:../ui", Spec::Path("../ui")),
            ("workspace:packages/ui", Spec::MemberPath("packages/ui")),
            ("file:../ui", Spec::Path("../ui")),
            ("file:./ui.tgz#abc", Spec::Path("./ui.tgz")),
            ("portal:./ui::locator=root%40workspace%3A.", Spec::Path("./ui")),
            ("../ui", Spec::Path("../ui")),
            ("vendor/ui.tgz", Spec::Path("vendor/ui.tgz")),
            ("acme/ui", Spec::Elsewhere),
            ("catalog:", Spec::Catalog("")),
            ("catalog:default", Spec::Catalog("")),
            ("catalog:react18", Spec::Catalog("react18")),
            ("^1.0.0", Spec::Range("^1.0.0")),
            ("~1.0", Spec::Range("~1.0")),
            ("", Spec::Range("")),
            ("npm:^1.0.0", Spec::Range("^1.0.0")),
            ("npm:@acme/ui@^1", Spec::Alias("@acme/ui", "^1")),
            ("npm:ui", Spec::Alias("ui", "")),
            ("git+file:///srv/shop/vendor/ui#v1", Spec::Repository("/srv/shop/vendor/ui")),
            ("https://example.com/a.tgz", Spec::Elsewhere),
            ("github:acme/ui", Spec::Elsewhere),
        ] {
            assert_eq!(Spec::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn patches_name_files() {
        let patch =
            PatchSpec::parse("left-pad@npm%3A1.0.0#~/.yarn/patches/left%20pad.patch&./b.patch");
        assert_eq!(patch.inner, "npm:1.0.0");
        assert_eq!(
            patch.files,
            [(".yarn/patches/left pad.patch".to_owned(), true), ("./b.patch".to_owned(), false)]
        );
        let local = PatchSpec::parse("@a/b@file:../b#optional!builtin<compat/x>");
        assert_eq!((local.inner.as_str(), local.files.len()), ("file:../b", 0));
    }
}
