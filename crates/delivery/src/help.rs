//! Help pages: groups of commands, examples, and the global options that a command accepts.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Arg, Args as _, Command};

use crate::cli::Global;

/// The groups of the overview, in order. A command without a group is listed below `More`.
const GROUPS: [(&str, &[&str]); 3] = [
    (
        "Deliver",
        &[
            "deploy", "preview", "promote", "rollback", "status", "versions", "diff", "logs",
            "open", "delete", "comment",
        ],
    ),
    ("Work", &["dev", "new", "projects", "affected", "build", "run", "wrangler", "clean"]),
    ("Set up", &["init", "setup", "doctor", "upgrade", "dist", "ci", "sandbox", "completions"]),
];

/// The global options of commands that do not accept all of them.
const OPTIONS: [(&str, &[&str]); 33] = [
    ("promote", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("rollback", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("preview stop", &["dry_run", "json", "quiet"]),
    ("status", &["json", "quiet"]),
    ("versions", &["json", "quiet"]),
    ("diff", &["json", "quiet"]),
    ("logs", &["json", "quiet", "verbose", "no_progress"]),
    ("open", &["json", "quiet"]),
    ("delete", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("dev", &["dry_run", "quiet", "verbose", "no_progress"]),
    ("run", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("wrangler", &["dry_run", "quiet", "verbose", "no_progress"]),
    ("comment", &["dry_run", "json", "quiet"]),
    ("new", &["dry_run", "json"]),
    ("projects", &["json"]),
    ("affected", &["json", "quiet"]),
    ("doctor", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("ci generate", &["dry_run", "json"]),
    ("clean", &["dry_run", "json", "quiet", "no_progress"]),
    ("sandbox up", &["json", "quiet", "verbose", "no_progress"]),
    ("sandbox down", &["json"]),
    ("sandbox status", &["json"]),
    ("sandbox logs", &[]),
    ("sandbox cron", &["json"]),
    ("sandbox reset", &["json"]),
    ("sandbox merge-request", &["json", "quiet", "verbose", "no_progress"]),
    ("init", &["dry_run", "json", "quiet", "verbose"]),
    ("setup", &["dry_run", "json", "quiet"]),
    ("upgrade", &["dry_run", "json", "quiet", "verbose"]),
    ("dist", &["dry_run", "json", "quiet", "verbose", "no_progress"]),
    ("completions", &[]),
    ("complete", &[]),
    ("keys", &[]),
];

/// Examples by command: a command line, and its effect.
#[rustfmt::skip]
const EXAMPLES: [(&str, &[(&str, &str)]); 37] = [
    ("", &[
        ("deploy website", "Deploy one project to the local sandbox"),
        ("deploy --env staging", "Deploy all affected projects to Cloudflare"),
        ("rollback website --env staging", "Make the previous version live again"),
        ("doctor --fix", "Find and fix problems of this machine"),
    ]),
    ("deploy", &[
        ("deploy website", "Deploy to the local sandbox"),
        ("deploy --env staging", "Deploy all affected projects to staging"),
        ("deploy website --env staging --dry-run", "Print the script instead of running it"),
        ("deploy .", "Deploy the project of the current folder"),
    ]),
    ("preview", &[
        ("preview website", "Preview the working tree in the local sandbox"),
        ("preview website --env staging --alias demo", "Choose the first part of the URL"),
    ]),
    ("preview stop", &[
        ("preview stop --alias mr-42", "Delete the previews of one merge request"),
        ("preview stop --merged", "Delete the previews of merged and closed merge requests"),
    ]),
    ("promote", &[
        ("promote website --from demo", "Make a preview of the sandbox live there"),
        ("promote website --from mr-42 --env staging", "Make the version of a preview live"),
        ("promote website --from mr-42 --env staging --percent 10", "Give it a tenth of the traffic"),
    ]),
    ("rollback", &[
        ("rollback website", "Return to the previous version"),
        ("rollback website --to 896c0854 --env staging", "Choose a version or commit"),
    ]),
    ("status", &[
        ("status", "Show all projects in all environments"),
        ("status website --env staging", "Show one project in one environment"),
    ]),
    ("versions", &[
        ("versions website", "List the versions in the sandbox"),
        ("versions website --env staging", "List the versions that `rollback --to` takes"),
    ]),
    ("diff", &[
        ("diff website", "Compare the working tree with the sandbox"),
        ("diff website --env staging", "Show why it would be deployed again"),
    ]),
    ("logs", &[
        ("logs shop-api", "Show the last lines in the sandbox"),
        ("logs shop-api -f", "Wait for new lines"),
        ("logs shop-api --env staging", "Show new lines of Cloudflare"),
    ]),
    ("open", &[
        ("open website", "Open the sandbox's site"),
        ("open website --alias mr-42 --env staging", "Open a preview"),
    ]),
    ("delete", &[
        ("delete website --env staging", "Ask, then delete the Worker"),
        ("delete website --yes", "Delete it in the sandbox without a question"),
    ]),
    ("dev", &[
        ("dev website", "Start its script `dev`, else `wrangler dev`"),
        ("dev website --port 4000 -- --open", "Choose the port and pass an option on"),
    ]),
    ("wrangler", &[
        ("wrangler shop-api --env staging -- secret put STRIPE_KEY", "Set a secret"),
        ("wrangler shop-api -- d1 migrations apply DB --remote", "Apply migrations in the sandbox"),
        ("wrangler shop-api -- types", "Generate types, without a token"),
    ]),
    ("comment", &[("comment rows.json", "Write the rows of a file into the comment")]),
    ("new", &[
        ("new shop", "Create projects/shop from the default template"),
        ("new api --template worker", "Choose a template"),
        ("new --list", "List the templates"),
    ]),
    ("projects", &[
        ("projects", "List projects with their Workers and environments"),
        ("projects --json", "List them for a program"),
    ]),
    ("affected", &[
        ("affected --why", "Show the reasons"),
        ("affected --base main --head topic", "Compare two revisions"),
    ]),
    ("build", &[("build website", "Build one project"), ("build --all", "Build every project")]),
    ("run", &[
        ("run test", "Run the tests of the affected projects"),
        ("run lint website", "Run a script of one project"),
    ]),
    ("doctor", &[
        ("doctor", "Run every check"),
        ("doctor deploy website --env staging", "Check the requirements of one deployment"),
        ("doctor --fix", "Fix what can be fixed safely"),
    ]),
    ("ci generate", &[
        ("ci generate", "Write the pipeline file"),
        ("ci generate --check", "Fail if the pipeline file is out of date"),
    ]),
    ("ci", &[("ci generate", "Write the pipeline file")]),
    ("sandbox", &[
        ("sandbox status", "Show its URL and process"),
        ("sandbox logs", "Print what its Workers wrote"),
        ("sandbox reset", "Ask, then delete all of its deployments"),
    ]),
    ("sandbox up", &[("sandbox up --port 9000", "Start it on a port of your choice")]),
    ("sandbox down", &[("sandbox down", "Stop it and keep its deployments")]),
    ("sandbox status", &[("sandbox status", "Show its URL and process")]),
    ("sandbox logs", &[
        ("sandbox logs -n 200", "Print the last 200 lines"),
        ("sandbox logs --requests", "Print requests to the APIs instead"),
    ]),
    ("sandbox cron", &[
        ("sandbox cron shop-api", "Run all of its cron triggers now"),
        ("sandbox cron shop-api --cron '0 3 * * 1'", "Run one of them"),
    ]),
    ("clean", &[
        ("clean --dry-run", "Show what would be deleted"),
        ("clean --tools", "Delete the installed tools too"),
    ]),
    ("sandbox merge-request", &[
        ("sandbox merge-request", "Open one for the current branch"),
        ("sandbox merge-request --source new-home --export", "Print only the variables of its pipeline"),
    ]),
    ("sandbox reset", &[("sandbox reset --yes", "Delete all deployments without a question")]),
    ("init", &[
        ("init ../their-monorepo --dry-run", "Show the files that it would write"),
        ("init ../their-monorepo", "Set up delivery there"),
    ]),
    ("upgrade", &[
        ("upgrade", "List the pins and their newest versions"),
        ("upgrade xtask", "Move this tool to the newest release or commit"),
        ("upgrade xtask v1.3.0", "Move it to a tag or commit of your choice"),
        ("upgrade wrangler --dry-run", "Show what would change, and change nothing"),
        ("upgrade bun 1.4.5", "Move Bun to a version of your choice"),
    ]),
    ("setup", &[
        ("setup", "Ask for what is missing, and before each write"),
        ("setup --dry-run", "Verify the tokens, and print a script that does the rest"),
        ("setup --yes", "Take the values from the environment"),
        ("setup --replace", "Replace tokens that GitLab has already"),
    ]),
    ("dist", &[
        ("dist", "Compile and pack for this machine"),
        ("dist --target x86_64-unknown-linux-musl", "Compile for runners with any C library"),
        ("dist --from target/release --out public", "Pack programs that were compiled elsewhere"),
    ]),
    ("completions", &[
        ("completions bash >> ~/.bashrc", "Complete in bash"),
        ("completions zsh >> ~/.zshrc", "Complete in zsh"),
        ("completions fish > ~/.config/fish/completions/xtask.fish", "Complete in fish"),
    ]),
];

/// The width of help pages that are no terminal's, and of wider terminals: longer lines are hard to read.
pub const WIDTH: usize = 100;

/// Adds the global options and the pages of help to the command line of `program`, for a terminal of `width` columns. If
/// the first of `arguments` names a command, only that one gets them, because those of all commands take a millisecond.
#[must_use]
pub fn arrange_for(
    mut arguments: impl Iterator<Item = OsString>,
    command: Command,
    program: &str,
    width: usize,
) -> Command {
    let first = arguments.nth(1).and_then(|word| word.into_string().ok());
    let is_alone = |name: &String| {
        !OF_ALL_COMMANDS.contains(&name.as_str())
            && command.get_subcommands().any(|inner| inner.get_name() == name)
    };
    let Some(name) = first.filter(is_alone) else {
        return arrange(command, program, width);
    };
    let pages = HelpPages::new(program, width);
    pages.add_options(command).mut_subcommand(&name, |inner| pages.extend(inner, &name))
}

/// The commands that read the options of all others.
const OF_ALL_COMMANDS: [&str; 3] = ["help", "complete", "completions"];

/// Adds global options, examples and groups to the command line of `program`, for a terminal of `width` columns.
#[must_use]
pub fn arrange(command: Command, program: &str, width: usize) -> Command {
    let pages = HelpPages::new(program, width);
    let command = pages.add_examples(pages.add_options(command), "");
    let groups = groups(&command, width);
    let command = command.mut_subcommands(|inner| {
        let path = inner.get_name().to_owned();
        pages.extend(inner, &path)
    });
    let heading = command.get_styles().get_header();
    let mut template = format!("{{about}}\n\n{{usage-heading}} {program} <COMMAND>\n");
    for (title, commands) in groups {
        let _infallible = write!(template, "\n{heading}{title}:{heading:#}\n{commands}");
    }
    let _infallible = write!(template, "\n{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    command.help_template(template)
}

/// The help pages of one program.
struct HelpPages<'a> {
    program: &'a str,
    /// The columns of the terminal.
    width: usize,
    /// The global options.
    options: Vec<Arg>,
}

impl HelpPages<'_> {
    fn new(program: &str, width: usize) -> HelpPages<'_> {
        let global = Global::augment_args(Command::new("global"));
        HelpPages { program, width, options: global.get_arguments().cloned().collect() }
    }

    /// Adds the global options to the command line itself, which accepts them before the command too.
    fn add_options(&self, command: Command) -> Command {
        let hidden = self.options.iter().map(|option| option.clone().hide(true));
        command.args(hidden).term_width(self.width)
    }

    /// Adds global options and examples to a command and its subcommands.
    fn extend(&self, command: Command, path: &str) -> Command {
        let command = self.add_examples(command, path);
        let has_arguments = command.get_arguments().next().is_some();
        let is_leaf = command.get_subcommands().next().is_none();
        let command =
            if is_leaf || has_arguments { command.args(self.options_of(path)) } else { command };
        command.mut_subcommands(|inner| {
            let path = format!("{path} {}", inner.get_name());
            self.extend(inner, &path)
        })
    }

    /// Returns the global options of the command at `path`: those of [`OPTIONS`], or all of them.
    fn options_of(&self, path: &str) -> impl Iterator<Item = Arg> {
        let accepted = OPTIONS.iter().find(|(own, _)| *own == path);
        let options = self.options.iter().filter(move |option| {
            accepted.is_none_or(|(_, ids)| ids.contains(&option.get_id().as_str()))
        });
        options.cloned()
    }

    /// Adds the examples of the command at `path`. Each effect is beside its command line, or below it if one of them is
    /// too long.
    fn add_examples(&self, command: Command, path: &str) -> Command {
        let found = EXAMPLES.iter().find(|(own, _)| *own == path);
        let Some((_, examples)) = found else { return command };
        let heading = command.get_styles().get_header();
        let longest =
            |part: fn(&(&str, &str)) -> usize| examples.iter().map(part).max().unwrap_or(0);
        let width = longest(|(line, _)| line.chars().count());
        let whole = self.program.len() + width + longest(|(_, effect)| effect.chars().count()) + 5;
        let mut text = format!("{heading}Examples:{heading:#}");
        for (line, effect) in *examples {
            let _infallible = if whole <= self.width {
                write!(text, "\n  {} {line:width$}  {effect}", self.program)
            } else {
                write!(text, "\n  {} {line}\n      {effect}", self.program)
            };
        }
        command.after_help(text)
    }
}

/// Breaks text into lines of at most `width` columns, between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                *line += &format!(" {word}");
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the groups of the overview, each command with its effect.
fn groups(command: &Command, columns: usize) -> Vec<(&'static str, String)> {
    let shown = || command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let width = shown().map(|inner| inner.get_name().len()).max().unwrap_or(0);
    let literal = command.get_styles().get_literal();
    let line = |inner: &Command| {
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        let indent = format!("\n{:1$}", "", width + 4);
        let about = wrap(&about, columns.saturating_sub(width + 4)).join(&indent);
        format!("  {literal}{:width$}{literal:#}  {about}\n", inner.get_name())
    };
    let mut groups: Vec<(&str, String)> = Vec::new();
    for (title, names) in GROUPS {
        let members = names.iter().filter_map(|name| shown().find(|one| one.get_name() == *name));
        groups.push((title, members.map(line).collect()));
    }
    let is_grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let rest: String = shown().filter(|inner| !is_grouped(inner.get_name())).map(line).collect();
    let title = if groups.iter().all(|(_, lines)| lines.is_empty()) { "Commands" } else { "More" };
    groups.push((title, rest));
    groups.retain(|(_, lines)| !lines.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn command_line() -> Command {
        let mut command = arrange(Cli::<crate::cli::Command>::command(), "cargo xtask", WIDTH);
        command.build();
        command
    }

    /// Returns each command that can run, with its path.
    fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
        let mut found = Vec::new();
        for inner in command
            .get_subcommands()
            .filter(|inner| inner.get_name() != "help" && !inner.is_hide_set())
        {
            let path = format!("{path} {}", inner.get_name()).trim_start().to_owned();
            if !inner.has_subcommands() || inner.get_arguments().any(|one| one.get_id() == "env") {
                found.push((path.clone(), inner.clone()));
            }
            found.extend(leaves(inner, &path));
        }
        found
    }

    #[test]
    fn every_command_has_a_group_and_examples() {
        let command = command_line();
        let titles: Vec<&str> = groups(&command, WIDTH).iter().map(|(title, _)| *title).collect();
        assert_eq!(titles, ["Deliver", "Work", "Set up", "More"], "`help` alone is in no group");
        for (path, _) in leaves(&command, "") {
            assert!(EXAMPLES.iter().any(|(own, _)| *own == path), "{path} has no example");
        }
    }

    #[test]
    fn pages_fit_the_terminal() {
        for width in [40, 80] {
            let mut command = arrange(Cli::<crate::cli::Command>::command(), "cargo xtask", width);
            command.build();
            let pages = leaves(&command, "").into_iter().chain([(String::new(), command)]);
            for (path, mut page) in pages {
                for line in page.render_long_help().to_string().lines() {
                    // clap breaks neither one long word, such as a command line, nor the usage.
                    let is_fixed = line.starts_with("Usage:") || line.trim().split(' ').count() < 4;
                    assert!(line.chars().count() <= width || is_fixed, "{path} at {width}: {line}");
                }
            }
        }
    }

    #[test]
    fn every_example_parses() {
        for (_, examples) in EXAMPLES {
            for (line, _) in examples {
                let line = line.split(" >").next().unwrap_or(line);
                // Every second part is quoted.
                let parts = line.split('\'').enumerate();
                let words = parts.flat_map(|(index, part)| match index % 2 {
                    0 => part.split(' ').filter(|word| !word.is_empty()).collect(),
                    _ => vec![part],
                });
                let words = std::iter::once("xtask").chain(words);
                let parsed = command_line().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("an error"));
            }
        }
    }

    #[test]
    fn tables_name_commands_and_options_that_exist() {
        let leaves = leaves(&command_line(), "");
        for (path, ids) in
            OPTIONS.iter().filter(|(path, _)| !["test", "complete", "keys"].contains(path))
        {
            assert!(leaves.iter().any(|(own, _)| own == path), "{path}");
            for id in *ids {
                let mut options = HelpPages::new("xtask", WIDTH).options.into_iter();
                assert!(options.any(|option| option.get_id() == *id), "{path}: {id}");
            }
        }
    }
}
