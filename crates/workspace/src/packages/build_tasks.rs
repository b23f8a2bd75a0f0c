//! Finds the tasks of Turborepo and Nx that the build of a package is, or runs.

use std::collections::BTreeSet;

use crate::packages::manifest::Specs;

/// The task that is the build of a package by convention.
const BUILD: &str = "build";

/// The tasks of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BuildTasks {
    /// `build`, the scripts that the build runs, and the tasks that it gives to a task runner.
    pub(crate) names: BTreeSet<String>,
    /// `true` if the build runs Turborepo.
    pub(crate) runs_turbo: bool,
    /// `true` if the build runs Nx.
    pub(crate) runs_nx: bool,
}

impl BuildTasks {
    /// Finds the tasks in `commands`, and in the scripts that these run.
    pub(crate) fn find(scripts: &Specs, commands: &[String]) -> BuildTasks {
        let mut tasks = BuildTasks { names: [BUILD.to_owned()].into(), ..BuildTasks::default() };
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&str> = commands.iter().map(String::as_str).collect();
        while let Some(text) = waiting.pop() {
            let texts = scripts.get(text).map(String::as_str);
            for command in texts.unwrap_or(text).split([';', '&', '|', '(', ')']) {
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
}
