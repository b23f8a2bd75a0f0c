//! Finds the paths from parent folders in the build of a package, such as `node ../../scripts/build.mjs`.

use std::collections::BTreeSet;

use crate::packages::manifest::Specs;

/// Returns the paths with `../` in `commands`, and in the scripts that these run, as the scripts have them.
pub(crate) fn outside_paths(scripts: &Specs, commands: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<&str> = commands.iter().map(String::as_str).collect();
    while let Some(text) = waiting.pop() {
        for word in text.split(|c: char| c.is_whitespace() || ";&|()".contains(c)) {
            let word = word.trim_matches(['"', '\'', '`']);
            // A word may be the name of a script, whatever the program is that runs it.
            if seen.insert(word) && scripts.contains_key(word) {
                let names = [format!("pre{word}"), word.to_owned(), format!("post{word}")];
                waiting
                    .extend(names.iter().filter_map(|name| scripts.get(name)).map(String::as_str));
            }
            let path = word.rsplit_once('=').map_or(word, |(_, value)| value);
            if path.starts_with("../") || path.starts_with("./../") {
                found.insert(path.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_build() {
        let scripts = [
            ("build", "run-s css \"site\""),
            ("css", "tailwindcss -c ../../tailwind.config.js -o dist/a.css"),
            ("presite", "node '../../scripts/before.mjs' && cd ../.. && echo ../"),
            ("site", "vite build --config=../../vite.config.ts; FILE=./../a.json node b.mjs"),
            ("lint", "eslint -c ../../eslint.config.js"),
        ];
        let specs = scripts.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let found = outside_paths(&specs.into(), &["npm run build".to_owned()]);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "../",
                "../..",
                "../../scripts/before.mjs",
                "../../tailwind.config.js",
                "../../vite.config.ts",
                "./../a.json"
            ]
        );
    }
}
