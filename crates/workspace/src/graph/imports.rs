//! Names that a TypeScript config maps to code outside of a project. A config may map the names of all code of a repository,
//! so the imports of the project's code tell what it uses.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::Source;
use crate::files::paths::normalize;
use crate::git::{FileList, FoundText};
use base::error::Result;

/// The extensions of files that are imported without one.
const EXTENSIONS: [&str; 14] = [
    "ts", "tsx", "mts", "cts", "d.ts", "js", "jsx", "mjs", "cjs", "json", "vue", "svelte", "astro",
    "css",
];

/// Names of modules that mean files below a folder: a `paths` entry with `*`, or `baseUrl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportMapping {
    /// The name before and after the `*`.
    name: (String, String),
    /// The folder that the target leads to, and what follows it, before and after the `*`.
    folder: Utf8PathBuf,
    target: (String, String),
}

impl ImportMapping {
    /// Returns the mapping of `name` to a target in `folder`, which is written as `before*after`.
    #[must_use]
    pub fn new(name: &str, folder: &Utf8Path, before: &str, after: &str) -> ImportMapping {
        let (start, end) = name.split_once('*').unwrap_or((name, ""));
        ImportMapping {
            name: (start.to_owned(), end.to_owned()),
            folder: folder.to_owned(),
            target: (before.to_owned(), after.to_owned()),
        }
    }

    /// Returns the mapping of every name to a file in `folder`, as `baseUrl` means it.
    #[must_use]
    pub fn everything(folder: Utf8PathBuf) -> ImportMapping {
        ImportMapping { name: Default::default(), folder, target: Default::default() }
    }

    /// Returns the path that a name means. `None` if it is no such name, or means nothing in the folder.
    fn resolve(&self, name: &str) -> Option<Utf8PathBuf> {
        let (start, end) = (self.name.0.as_str(), self.name.1.as_str());
        let name = name.split('?').next().unwrap_or_default();
        let middle = name.strip_prefix(start)?;
        let middle = middle.strip_suffix(end).unwrap_or(middle);
        if start.is_empty() && (middle.starts_with(['.', '/']) || middle.contains(':')) {
            return None;
        }
        let path = format!("{}{middle}{}", self.target.0, self.target.1);
        let path = normalize(&self.folder.join(before_pattern(&path)?))?;
        (path.starts_with(&self.folder) && path != self.folder).then_some(path)
    }
}

/// Returns the path of an import. For a pattern, such as `~/pages/**` or `~/text/${language}.json`, returns the folder
/// before it. `None` if there is none.
pub(super) fn before_pattern(path: &str) -> Option<&str> {
    match path.find(['*', '{']) {
        Some(at) => path[..at].rsplit_once('/').map(|(folder, _)| folder),
        None => Some(path),
    }
}

/// Finds the imports of the repository's code that may match one of `mappings`. Each is the file and the text in quotes, or in
/// `url()` of a style.
pub fn find_imports(
    files: &Source,
    listed: Option<&FileList>,
    mappings: &[&ImportMapping],
) -> Result<Vec<FoundText>> {
    let mut starts = BTreeSet::new();
    for mapping in mappings {
        match mapping.name.0.as_str() {
            "" => starts.extend(files.names_in(&mapping.folder)),
            start => drop(starts.insert(start.to_owned())),
        }
    }
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    // The names that begin with another one are found with it.
    let mut shortest: Vec<&str> = Vec::new();
    for start in &starts {
        if !shortest.last().is_some_and(|last| start.starts_with(last)) {
            shortest.push(start);
        }
    }
    let starts: Vec<String> = shortest.into_iter().map(escape).collect();
    files.grep(&format!("[\"'`(]({})[^\"'`)]*", starts.join("|")), listed)
}

/// Returns the files and folders that the texts in quotes mean by `mappings`.
pub fn targets(
    files: &Source,
    texts: &BTreeSet<&str>,
    mappings: &[ImportMapping],
) -> BTreeSet<Utf8PathBuf> {
    let names: BTreeSet<&str> =
        texts.iter().map(|text| text.trim_start_matches(['"', '\'', '`', '('])).collect();
    let pairs = names.iter().flat_map(|name| mappings.iter().map(move |mapping| (name, mapping)));
    let found = pairs.filter_map(|(name, mapping)| {
        let path = module_file(files, &mapping.resolve(name)?)?;
        // With `baseUrl`, any text may be the name of a folder. Only a folder with an index is code.
        let is_text = mapping.name.0.is_empty() && before_pattern(name) == Some(*name);
        let is_code =
            || !files.is_folder(&path) || module_file(files, &path.join("index")).is_some();
        (!is_text || is_code()).then_some(path)
    });
    found.collect()
}

/// Returns the file or folder that an import without its extension means.
pub fn module_file(files: &Source, path: &Utf8Path) -> Option<Utf8PathBuf> {
    if files.exists(path) {
        return Some(path.to_owned());
    }
    // TypeScript's own files are imported by the name of what is made from them.
    let stem = ["js", "jsx", "mjs", "cjs"].contains(&path.extension().unwrap_or_default());
    let stems = [Some(path.to_owned()), stem.then(|| path.with_extension(""))];
    let named = |stem: Utf8PathBuf| {
        EXTENSIONS.iter().map(move |extension| Utf8PathBuf::from(format!("{stem}.{extension}")))
    };
    stems.into_iter().flatten().flat_map(named).find(|path| files.is_file(path))
}

/// Returns a text as an extended regular expression.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if !letter.is_alphanumeric() && !matches!(letter, '/' | '-' | '_' | '@' | '~' | '#') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_above() {
        let folder = Utf8Path::new("");
        let tilde = ImportMapping::new("~/*", folder, "", "");
        let parts = ImportMapping::new("@acme/*", folder, "lib-", "/src");
        let whole = ImportMapping::new("@acme/ui", Utf8Path::new("libs"), "ui.ts", "");
        let base = ImportMapping::everything("libs".into());
        for (mapping, name, expected) in [
            (&tilde, "~/lib/a", Some("lib/a")),
            (&tilde, "~/lib/a.svg?raw", Some("lib/a.svg")),
            (&tilde, "~/text/${language}.json", Some("text")),
            (&tilde, "~/*.md", None),
            (&tilde, "~/../outside", None),
            (&tilde, "lib/a", None),
            (&parts, "@acme/ui", Some("lib-ui/src")),
            (&whole, "@acme/ui", Some("libs/ui.ts")),
            (&whole, "@acme/ui-kit", Some("libs/ui.ts-kit")),
            (&whole, "@acme/u", None),
            (&base, "shared/a", Some("libs/shared/a")),
            (&base, "./shared/a", None),
            (&base, "node:fs", None),
        ] {
            assert_eq!(mapping.resolve(name).as_deref(), expected.map(Utf8Path::new), "{name}");
        }
    }

    #[test]
    fn names_are_no_expressions() {
        assert_eq!(escape("@acme/ui.x[1]"), "@acme/ui\\.x\\[1\\]");
    }
}
