//! Completions of a command line: commands, options, and names of projects, environments and aliases.

use clap::{Arg, Command};

/// The names in a repository.
pub trait Names {
    /// Returns the names of the projects.
    fn projects(&self) -> Vec<String>;
    /// Returns the names of the environments.
    fn environments(&self) -> Vec<String>;
    /// Returns the aliases of known previews.
    fn aliases(&self) -> Vec<String>;
}

/// Returns the candidates for the last of `words`. The command line must be built.
#[must_use]
pub fn candidates(command_line: &Command, words: &[&str], names: &dyn Names) -> Vec<String> {
    let (current, before) = words.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
    let mut command = command_line;
    let mut option: Option<&Arg> = None;
    for word in before {
        if option.take().is_some() {
            continue;
        }
        match command.find_subcommand(word) {
            Some(inner) => command = inner,
            None => option = find_option(command, word).filter(|one| takes_value(one)),
        }
    }
    let mut found = match option {
        Some(option) => values(option, names),
        None if current.starts_with('-') => options(command),
        None => {
            let commands = command.get_subcommands().filter(|inner| !inner.is_hide_set());
            let mut found: Vec<String> =
                commands.map(|inner| inner.get_name().to_owned()).collect();
            found.extend(command.get_positionals().flat_map(|one| values(one, names)));
            found
        }
    };
    let is_match = |candidate: &String| candidate.starts_with(current);
    if found.iter().any(is_match) || current.is_empty() {
        found.retain(is_match);
        return found;
    }
    let mut short = unique_suffixes(&found);
    short.retain(is_match);
    short
}

/// Returns the suffixes of paths after a `/` that are unique among `names`, because these select a project too.
fn unique_suffixes(names: &[String]) -> Vec<String> {
    let suffixes = |name: &String| {
        let starts: Vec<usize> = name.match_indices('/').map(|(at, _)| at + 1).collect();
        starts.into_iter().map(|at| name[at..].to_owned()).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = names.iter().flat_map(suffixes).collect();
    all.sort();
    let is_unique = |one: &String| all.iter().filter(|other| *other == one).count() == 1;
    all.iter().filter(|one| is_unique(one)).cloned().collect()
}

fn find_option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let long = word.strip_prefix("--");
    let short = word.strip_prefix('-').filter(|rest| rest.chars().count() == 1);
    command.get_arguments().find(|one| {
        long.is_some_and(|name| one.get_long() == Some(name))
            || short.is_some_and(|name| one.get_short() == name.chars().next())
    })
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn options(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|one| !one.is_hide_set());
    shown.filter_map(|one| Some(format!("--{}", one.get_long()?))).collect()
}

/// Returns the values of an option or positional, from its type or from the name of its value.
fn values(option: &Arg, names: &dyn Names) -> Vec<String> {
    let fixed: Vec<String> = option
        .get_possible_values()
        .iter()
        .filter(|_| takes_value(option))
        .map(|value| value.get_name().to_owned())
        .collect();
    let kind = option.get_value_names().and_then(<[_]>::first).map(clap::builder::Str::as_str);
    if !fixed.is_empty() {
        return fixed;
    }
    // A value may have several kinds, such as `ALIAS|VERSION`.
    let kinds = kind.into_iter().flat_map(|kind| kind.split('|'));
    kinds
        .flat_map(|kind| match kind {
            "PROJECT" => names.projects(),
            "ENVIRONMENT" => names.environments(),
            "ALIAS" => names.aliases(),
            _ => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;
    use crate::help::arrange;

    struct FixedValues;

    impl Names for FixedValues {
        fn projects(&self) -> Vec<String> {
            vec!["rawkode.academy/website".to_owned(), "rawkode.studio".to_owned()]
        }

        fn environments(&self) -> Vec<String> {
            vec!["local".to_owned(), "staging".to_owned()]
        }

        fn aliases(&self) -> Vec<String> {
            vec!["mr-42".to_owned()]
        }
    }

    #[test]
    fn completes_words_by_position() {
        let mut command =
            arrange(Cli::<crate::cli::Command>::command(), "cargo xtask", crate::help::WIDTH);
        command.build();
        let complete =
            |line: &str| candidates(&command, &line.split(' ').collect::<Vec<_>>(), &FixedValues);
        assert_eq!(complete("dep"), ["deploy"]);
        assert_eq!(complete("deploy rawkode.s"), ["rawkode.studio"]);
        assert_eq!(complete("deploy --env s"), ["staging"]);
        assert_eq!(complete("deploy website --dry"), ["--dry-run"]);
        assert_eq!(complete("rollback rawkode.a"), ["rawkode.academy/website"]);
        assert_eq!(complete("promote website --from "), ["mr-42"]);
        assert_eq!(complete("new x --template w"), ["worker"]);
        assert_eq!(complete("completions f"), ["fish"]);
        assert_eq!(complete("deploy web"), ["website"]);
        assert_eq!(complete("deploy rawkode.a"), ["rawkode.academy/website"]);
        assert_eq!(complete("sandbox up --p"), ["--port"]);
        assert_eq!(complete("sandbox do"), ["down"]);
        assert_eq!(complete("projects --dry"), Vec::<String>::new(), "it has no dry run");
    }

    #[test]
    fn completes_the_ends_of_names_that_one_project_has() {
        let names = ["a/site", "b/site", "b/pages/api"].map(str::to_owned);
        assert_eq!(unique_suffixes(&names), ["api", "pages/api"]);
    }
}
