//! Imports by a relative path that lead out of a package, such as `../../lib/a`. No manifest names them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::Source;
use crate::files::paths::normalize;
use crate::git::FileList;
use crate::graph::imports::{before_pattern, module_file};
use base::error::Result;

/// Matches a path from a folder above, in quotes or in `url()` of a style.
const PATTERN: &str = r#"["'`(](\./)?\.\./[^"'`)]*"#;

/// The beginnings of the names of files that configure checks and tests. They do not change the output of a build.
const CHECK_CONFIGS: [&str; 12] = [
    ".eslintrc.",
    "eslint.config.",
    ".prettierrc.",
    "prettier.config.",
    "stylelint.config.",
    "commitlint.config.",
    "jest.",
    "vitest.",
    "cypress.config.",
    "playwright.config.",
    "playwright-ct.config.",
    "knip.",
];

/// The imports that may lead out of a package.
#[derive(Debug, Default)]
pub(crate) struct RelativeImports {
    /// The paths that each file imports, without those that cannot lead out of a package or project.
    paths: BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>>,
}

impl RelativeImports {
    /// Finds them in the code of the repository. `packages` are the folders of packages and projects.
    pub(crate) fn find(
        files: &Source,
        listed: Option<&FileList>,
        packages: &BTreeSet<&Utf8Path>,
    ) -> Result<RelativeImports> {
        // A project in a folder of a package may use code of that package, which counts by its imports.
        let above = packages.iter().flat_map(|dir| dir.ancestors().skip(1));
        let around: BTreeSet<&Utf8Path> = above.filter(|dir| packages.contains(dir)).collect();
        let mut imports = RelativeImports::default();
        for (file, text) in files.grep(PATTERN, listed)? {
            if is_check(&file) {
                continue;
            }
            let Some(path) = imported_path(&file, &text) else { continue };
            let package = file.ancestors().skip(1).find(|dir| packages.contains(dir));
            let stays_inside = |dir: &Utf8Path| {
                !dir.as_str().is_empty() && !around.contains(dir) && path.starts_with(dir)
            };
            // The root is around every path, so its code has no package here.
            if !package.is_some_and(stays_inside) {
                imports.paths.entry(file).or_default().push(path);
            }
        }
        Ok(imports)
    }

    /// Returns the files with such imports.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Utf8Path> {
        self.paths.keys().map(Utf8PathBuf::as_path)
    }

    /// Returns the existing files and folders that the code at or below `from` imports from outside.
    pub(crate) fn targets(&self, files: &Source, from: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
        let below = self.paths.range(from.to_owned()..);
        let below = below.take_while(|(file, _)| file.starts_with(from));
        let paths: BTreeSet<&Utf8PathBuf> = below.flat_map(|(_, paths)| paths).collect();
        let outside = paths.into_iter().filter(|path| !path.starts_with(from));
        outside.filter_map(|path| module_file(files, path)).collect()
    }
}

/// Returns true for the code of tests, and of the configs of checks.
fn is_check(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    CHECK_CONFIGS.iter().any(|start| name.starts_with(start))
        || [".test.", ".spec."].iter().any(|part| name.contains(part))
        || file.components().any(|part| part.as_str() == "__tests__")
}

/// Returns the path that an import means: a quote, and the path as the code of `file` has it. `None` as in [`resolve`].
fn imported_path(file: &Utf8Path, text: &str) -> Option<Utf8PathBuf> {
    resolve(file.parent()?, text.get(1..)?.split(['?', '#']).next()?)
}

/// Returns the path that code in `dir` means by `path`. `None` if it leads out of the repository or into a dependency
/// folder. For a pattern, such as `../text/*.json`, returns the folder before it.
pub(crate) fn resolve(dir: &Utf8Path, path: &str) -> Option<Utf8PathBuf> {
    let path = normalize(&dir.join(before_pattern(path)?))?;
    let is_installed = path.components().any(|part| part.as_str() == "node_modules");
    (!is_installed).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_imports() {
        for (text, expected) in [
            ("\"../../../lib/a", Some("lib/a")),
            ("'./../b.ts", Some("apps/site/b.ts")),
            ("\"../../ui/a.svg?raw", Some("apps/ui/a.svg")),
            ("(../../../fonts/a.woff2#iefix", Some("fonts/a.woff2")),
            ("`../../../text/${language}.json", Some("text")),
            ("\"../../../content/**/*.md", Some("content")),
            ("\"../../../node_modules/a/a.css", None),
            ("\"../../../../outside", None),
            ("\"../../../*.md", Some("")),
        ] {
            let found = imported_path(Utf8Path::new("apps/site/src/a.ts"), text);
            assert_eq!(found.as_deref(), expected.map(Utf8Path::new), "{text}");
        }
    }

    #[test]
    fn checks_are_no_part_of_an_output() {
        for (file, expected) in [
            ("apps/site/eslint.config.mjs", true),
            ("apps/site/vitest.config.ts", true),
            ("apps/site/src/a.test.ts", true),
            ("apps/site/src/__tests__/a.ts", true),
            ("apps/site/vite.config.ts", false),
            ("apps/site/src/tests/a.ts", false),
            ("apps/site/src/contest.ts", false),
        ] {
            assert_eq!(is_check(Utf8Path::new(file)), expected, "{file}");
        }
    }
}
