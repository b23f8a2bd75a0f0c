//! Finds the tasks of Turborepo and Nx that the build of a package is, or runs.

use std::collections::BTreeSet;

use crate::packages::build_script::{is_local_wrangler, program, script_name};
use crate::packages::manifest::Specs;

/// The task that is the build of a package by convention.
const BUILD: &str = "build";

/// Programs that write what they compile, and run no code of the project or of a plugin.
const COMPILERS: [&str; 12] = [
    "echo",
    "esbuild",
    "hugo",
    "mkdir",
    "rm",
    "sass",
    "true",
    "tsc",
    "tsgo",
    "worker-build",
    "wrangler",
    "zola",
];

/// The text in each path of the config that a build writes for wrangler.
const WRANGLER_STATE: &str = ".wrangler";

/// The tasks of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BuildTasks {
    /// `build`, the scripts that the build runs, and the tasks that it gives to a task runner.
    pub(crate) names: BTreeSet<String>,
    /// `true` if the build runs Turborepo.
    pub(crate) runs_turbo: bool,
    /// `true` if the build runs Nx.
    pub(crate) runs_nx: bool,
    /// `true` if a program of the build may write a wrangler config: any that is not in [`COMPILERS`].
    pub(crate) may_write_config: bool,
}

impl BuildTasks {
    /// Finds the tasks in `commands`, and in the scripts that these run.
    pub(crate) fn find(scripts: &Specs, commands: &[String]) -> BuildTasks {
        let mut tasks = BuildTasks { names: [BUILD.to_owned()].into(), ..BuildTasks::default() };
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&str> = commands.iter().map(String::as_str).collect();
        while let Some(text) = waiting.pop() {
            let text = match scripts.get(text) {
                Some(script) => script,
                // There need be no `prebuild`.
                None if is_hook(text) => continue,
                None => text,
            };
            for command in text.split([';', '&', '|', '(', ')', '\n']) {
                let is_script =
                    script_name(command.trim()).is_some_and(|name| scripts.contains_key(name));
                tasks.may_write_config |= !is_script && !is_compiler(command);
                for word in tasks.read(command) {
                    // A word may be the name of a script, whatever the program is that runs it.
                    if scripts.contains_key(word) && seen.insert(word) {
                        tasks.names.insert(word.to_owned());
                        waiting.push(word);
                    }
                }
            }
        }
        tasks
    }

    /// Reads one command, and returns its words. The words after a task runner may be names of tasks.
    fn read<'c>(&mut self, command: &'c str) -> Vec<&'c str> {
        let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'', '`']));
        let words: Vec<&str> = words.collect();
        let is_runner = |word: &&str| {
            let program = word.split_once('@').map_or(*word, |(name, _)| name);
            ["turbo", "nx"].contains(&program)
        };
        let Some(at) = words.iter().position(is_runner) else { return words };
        match words[at].starts_with("turbo") {
            true => self.runs_turbo = true,
            false => self.runs_nx = true,
        }
        let arguments = words[at + 1..].iter().take_while(|word| **word != "--");
        // `nx run shop:build`, `turbo run build --filter=shop`, `nx run-many --targets=build,css`
        let values = arguments.map(|word| match word.split_once('=') {
            Some(("-t" | "--target" | "--targets", value)) => value,
            _ => word,
        });
        let names = values.filter(|word| !word.starts_with('-'));
        // A name may have a colon itself.
        let parts = names.flat_map(|word| word.split([':', ',', '#']).chain([word]));
        self.names.extend(parts.map(str::to_owned));
        words
    }
}

/// Returns true for a name that is looked up as a script and is no command.
fn is_hook(text: &str) -> bool {
    ["prebuild", BUILD, "postbuild"].contains(&text)
}

/// Returns true if a command runs only one of [`COMPILERS`].
fn is_compiler(command: &str) -> bool {
    let is_assignment = |word: &&str| *word == "cross-env" || word.contains('=');
    let words: Vec<&str> = command.split_whitespace().skip_while(is_assignment).collect();
    let command = words.join(" ");
    let is_known = program(&command).is_none_or(|name| {
        COMPILERS.contains(&name) && (name != "wrangler" || is_local_wrangler(&command))
    });
    is_known && ![WRANGLER_STATE, "$", "`"].iter().any(|part| command.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_a_build() {
        let scripts = [
            ("build", "npm run css && vite build"),
            ("css", "tailwindcss -o a.css"),
            ("all", "turbo run build:css --filter=shop"),
            ("lint", "eslint ."),
        ];
        let specs: Specs = scripts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        for (commands, names, runs_turbo, runs_nx) in [
            (&["build"][..], &["build", "css"][..], false, false),
            (&["vite build"], &["build", "css"], false, false),
            (&["npm run all"], &["all", "build", "build:css", "css", "run"], true, false),
            (&["npx nx run shop:web"], &["build", "run", "shop", "shop:web", "web"], false, true),
            (&["nx run-many --targets=x,y"], &["build", "run-many", "x", "x,y", "y"], false, true),
            (&["turbo@2 build"], &["build", "css"], true, false),
            (&["echo turboprop nxt"], &["build"], false, false),
        ] {
            let commands: Vec<String> = commands.iter().map(|text| (*text).to_owned()).collect();
            let found = BuildTasks::find(&specs, &commands);
            let found_names: Vec<&str> = found.names.iter().map(String::as_str).collect();
            assert_eq!(found_names, names, "{commands:?}");
            assert_eq!((found.runs_turbo, found.runs_nx), (runs_turbo, runs_nx), "{commands:?}");
        }
    }

    #[test]
    fn only_other_programs_than_compilers_may_write_a_config() {
        let scripts = [
            ("build", "npm run css && tsc"),
            ("css", "sass a.scss a.css"),
            ("site", "vite build"),
            ("all", "npm run css && npm run site"),
        ];
        let specs: Specs = scripts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        for (command, expected) in [
            ("build", false),
            ("npm run build", false),
            ("npx tsc -p . && rm -rf dist", false),
            ("NODE_ENV=production cross-env A=1 esbuild a.ts --outfile=b.js", false),
            ("wrangler types && tsc", false),
            ("wrangler d1 execute DB", true),
            ("npm run all", true),
            ("vite build", true),
            ("node build.mjs", true),
            ("make", true),
            ("echo {} > .wrangler/deploy/config.json", true),
            ("echo $(node build.mjs)", true),
            ("npx --yes tsc", true),
        ] {
            let found = BuildTasks::find(&specs, &[command.to_owned()]);
            assert_eq!(found.may_write_config, expected, "{command}");
        }
    }
}
