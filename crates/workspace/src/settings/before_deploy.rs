//! The setting `xtask.beforeDeploy`: commands of wrangler that run with the environment's token before each upload.
//!
//! No code of a project may run with a token. So a step is one of a few commands of the pinned wrangler that run no
//! code of a project, with options from a list, and without a shell.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize, Serializer};

use crate::files::paths::normalize;
use crate::settings::steps::Steps;

/// The steps before each upload of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Steps")]
pub struct BeforeDeploy(Vec<WranglerStep>);

/// A command of wrangler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WranglerStep {
    /// The command as the project writes it.
    pub text: String,
    /// The words after `wrangler`. Each option is one word with its value.
    pub arguments: Vec<String>,
    /// The files that wrangler reads, relative to the project's folder.
    pub files: Vec<Utf8PathBuf>,
    /// `true` if it reads the migration folders of the databases.
    pub reads_migrations: bool,
}

/// A command that may be a step.
struct AllowedCommand {
    words: &'static [&'static str],
    /// The minimum and the maximum number of words after it.
    values: (usize, usize),
    options: &'static [(&'static str, OptionKind)],
    /// The index of a value that is a file.
    file: Option<usize>,
}

/// The kind of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionKind {
    Flag,
    Value,
    File,
}

/// The commands that change data and run no code of a project (according to the source of wrangler 4.164). Commands
/// that change the live version are not included, so a failed step does not change it. All of them accept `--remote`.
const ALLOWED: [AllowedCommand; 5] = [
    AllowedCommand {
        words: &["d1", "migrations", "apply"],
        values: (1, 1),
        options: &[],
        file: None,
    },
    AllowedCommand {
        words: &["d1", "execute"],
        values: (1, 1),
        options: &[
            ("--command", OptionKind::Value),
            ("--file", OptionKind::File),
            ("--yes", OptionKind::Flag),
        ],
        file: None,
    },
    AllowedCommand {
        words: &["kv", "key", "put"],
        values: (1, 2),
        options: &[
            ("--binding", OptionKind::Value),
            ("--namespace-id", OptionKind::Value),
            ("--path", OptionKind::File),
            ("--ttl", OptionKind::Value),
            ("--expiration", OptionKind::Value),
            ("--metadata", OptionKind::Value),
        ],
        file: None,
    },
    AllowedCommand {
        words: &["kv", "bulk", "put"],
        values: (1, 1),
        options: &[("--binding", OptionKind::Value), ("--namespace-id", OptionKind::Value)],
        file: Some(0),
    },
    AllowedCommand {
        words: &["r2", "object", "put"],
        values: (1, 1),
        options: &[
            ("--file", OptionKind::File),
            ("--content-type", OptionKind::Value),
            ("--cache-control", OptionKind::Value),
            ("--content-encoding", OptionKind::Value),
        ],
        file: None,
    },
];

const REMOTE: &str = "--remote";

impl BeforeDeploy {
    /// Returns the steps in order.
    #[must_use]
    pub fn steps(&self) -> &[WranglerStep] {
        &self.0
    }

    /// Returns true if there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The format of the setting: the commands as strings.
impl Serialize for BeforeDeploy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|step| &step.text))
    }
}

impl TryFrom<Steps> for BeforeDeploy {
    type Error = String;

    fn try_from(steps: Steps) -> Result<BeforeDeploy, String> {
        let steps = steps.commands().iter().map(|text| WranglerStep::parse(text));
        steps.collect::<Result<Vec<_>, String>>().map(BeforeDeploy)
    }
}

impl WranglerStep {
    /// Parses a command line. The error begins with the name of the setting, or with `unknown`.
    fn parse(text: &str) -> Result<WranglerStep, String> {
        let text = text.trim();
        let wrong = |what: &str| format!("`xtask.beforeDeploy`: `{text}` {what}");
        let words = split(text).map_err(|what| wrong(&what))?;
        let (allowed, words) = find_command(&words).ok_or_else(|| unknown_command(&words))?;
        let arguments = Arguments::parse(allowed, words, wrong)?;
        arguments.check(allowed).map_err(|what| wrong(&what))?;
        let Arguments { options, values, files, .. } = arguments;
        // Words after the values are never options, even if they begin with a dash.
        let command = allowed.words.iter().map(|&word| word.to_owned());
        let remote = [REMOTE.to_owned()];
        Ok(WranglerStep {
            text: text.to_owned(),
            arguments: command.chain(values).chain(options).chain(remote).collect(),
            files,
            reads_migrations: allowed.words[0] == "d1" && allowed.words[1] == "migrations",
        })
    }

    /// Returns the files relative to the repository's root. Errors with a path that leads out of it.
    pub fn files_below(&self, dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, &Utf8Path> {
        let path = |file: &'_ Utf8PathBuf| normalize(&dir.join(file));
        self.files.iter().map(|file| path(file).ok_or(file.as_path())).collect()
    }
}

/// Returns the command that a line calls, and the words after it. `None` if it is not an allowed command of wrangler.
fn find_command(words: &[String]) -> Option<(&'static AllowedCommand, &[String])> {
    let (_, rest) = words.split_first().filter(|(first, _)| *first == "wrangler")?;
    let allowed = ALLOWED.iter().find(|one| {
        rest.len() >= one.words.len() && one.words.iter().zip(rest).all(|(a, b)| a == b)
    })?;
    Some((allowed, &rest[allowed.words.len()..]))
}

/// Describes a command line that calls no allowed command.
fn unknown_command(words: &[String]) -> String {
    let known = ALLOWED.iter().map(|one| format!("`wrangler {}`", one.words.join(" ")));
    let head = words.iter().map(String::as_str).take_while(|word| !word.starts_with('-'));
    // A command has at most three words after `wrangler`; the next one is a name.
    let head: Vec<&str> = head.take(4).collect();
    format!(
        "unknown command `{}` in `xtask.beforeDeploy`, where only these commands of wrangler may run with the token: {}",
        head.join(" "),
        known.collect::<Vec<_>>().join(", ")
    )
}

/// Describes an option that a command must not have.
fn unknown_option(allowed: &AllowedCommand, name: &str) -> String {
    let known = allowed.options.iter().map(|(option, _)| format!("`{option}`"));
    let known: Vec<String> = known.chain([format!("`{REMOTE}`")]).collect();
    format!(
        "unknown option `{name}` of `wrangler {}` in `xtask.beforeDeploy`, which may have {}",
        allowed.words.join(" "),
        known.join(", ")
    )
}

/// The words after a command.
#[derive(Default)]
struct Arguments {
    /// The options except `--remote`, each as one word.
    options: Vec<String>,
    values: Vec<String>,
    /// The files that options and values name.
    files: Vec<Utf8PathBuf>,
    is_remote: bool,
}

impl Arguments {
    /// Parses the words after `allowed`. `wrong` adds the command line to an error.
    fn parse(
        allowed: &AllowedCommand,
        words: &[String],
        wrong: impl Fn(&str) -> String,
    ) -> Result<Arguments, String> {
        let mut parsed = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == REMOTE {
                parsed.is_remote = true;
                continue;
            }
            if !word.starts_with('-') {
                parsed.values.push(word.clone());
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let option = allowed.options.iter().find(|(option, _)| *option == name);
            let (_, kind) = option.ok_or_else(|| unknown_option(allowed, name))?;
            if *kind == OptionKind::Flag {
                parsed.options.push(name.to_owned());
                continue;
            }
            let value = value.or_else(|| words.next().cloned());
            let value = value.ok_or_else(|| wrong(&format!("has no value for `{name}`")))?;
            if *kind == OptionKind::File {
                parsed.files.push(Utf8PathBuf::from(&value));
            }
            parsed.options.push(format!("{name}={value}"));
        }
        let file = allowed.file.and_then(|index| parsed.values.get(index));
        parsed.files.extend(file.map(Utf8PathBuf::from));
        Ok(parsed)
    }

    /// Errors unless the number of values fits, the step is remote, and each file may be in the repository.
    fn check(&self, allowed: &AllowedCommand) -> Result<(), String> {
        let (least, most) = allowed.values;
        if !(least..=most).contains(&self.values.len()) {
            return Err(format!(
                "has {} values after `{}`, which takes {}",
                self.values.len(),
                allowed.words.join(" "),
                if least == most { least.to_string() } else { format!("{least} to {most}") }
            ));
        }
        if !self.is_remote {
            return Err(format!(
                "has no `{REMOTE}`, so it would change data on this machine and not those of the environment"
            ));
        }
        match self.files.iter().find(|file| file.is_absolute()) {
            Some(file) => {
                Err(format!("names the absolute path {file}, but a file must be in the repository"))
            }
            None => Ok(()),
        }
    }
}

/// Splits a command line at spaces. Single and double quotes group a word and are removed. Errors if the line has
/// any other shell syntax.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (
                None,
                '$' | '`' | '\\' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '#' | '~'
                | '{',
            )
            | (Some('"'), '$' | '`' | '\\') => {
                return Err(format!(
                    "has `{c}`, but no shell runs it; put the word into single quotes"
                ));
            }
            (_, c) if c.is_control() => return Err("has a control character".to_owned()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("has a quote that does not end".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BeforeDeploy, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn steps_become_arguments_of_wrangler() {
        for (text, arguments, files) in [
            (
                "wrangler d1 migrations apply DB --remote",
                &["d1", "migrations", "apply", "DB", "--remote"][..],
                &[][..],
            ),
            (
                "  wrangler d1  execute --file seed.sql DB --yes --remote ",
                &["d1", "execute", "DB", "--file=seed.sql", "--yes", "--remote"],
                &["seed.sql"],
            ),
            (
                "wrangler d1 execute DB --remote --command='DELETE FROM t WHERE a = \"$1\"; VACUUM'",
                &[
                    "d1",
                    "execute",
                    "DB",
                    "--command=DELETE FROM t WHERE a = \"$1\"; VACUUM",
                    "--remote",
                ],
                &[],
            ),
            (
                "wrangler kv bulk put ../seed.json --binding KV --remote",
                &["kv", "bulk", "put", "../seed.json", "--binding=KV", "--remote"],
                &["../seed.json"],
            ),
            (
                "wrangler r2 object put bucket/logo.png --file=\"my logo.png\" --remote",
                &["r2", "object", "put", "bucket/logo.png", "--file=my logo.png", "--remote"],
                &["my logo.png"],
            ),
        ] {
            let step = WranglerStep::parse(text).expect(text);
            assert_eq!(step.arguments, arguments, "{text}");
            assert_eq!(step.files, files, "{text}");
        }
        let steps = parse(
            r#"["wrangler d1 migrations apply A --remote", "wrangler d1 migrations apply B --remote"]"#,
        );
        assert_eq!(steps.expect("valid").steps().len(), 2);
        assert!(
            parse(r#""wrangler d1 migrations apply A --remote""#).expect("valid").steps()[0]
                .reads_migrations
        );
        assert!(parse("[]").expect("valid").is_empty());
    }

    #[test]
    fn refuses_steps_that_could_run_code_beside_the_token() {
        for text in [
            "npm run migrate",
            "npx wrangler d1 migrations apply DB --remote",
            "./node_modules/.bin/wrangler d1 migrations apply DB --remote",
            "wrangler",
            "wrangler deploy",
            "wrangler versions upload",
            "wrangler dev",
            "wrangler delete",
            "wrangler secret put KEY",
            "wrangler triggers deploy",
            "wrangler rollback",
            "wrangler --cwd=/ d1 migrations apply DB --remote",
            "wrangler d1 migrations create DB x",
        ] {
            let error = WranglerStep::parse(text).expect_err(text);
            assert!(error.starts_with("unknown command `"), "{text}: {error}");
        }
        for text in [
            "wrangler d1 migrations apply DB --remote --config=other.toml",
            "wrangler d1 migrations apply DB --remote -c other.toml",
            "wrangler d1 migrations apply DB --remote --env production",
            "wrangler d1 migrations apply DB --remote --env-file .env",
            "wrangler d1 migrations apply DB --remote --local",
            "wrangler d1 execute DB --remote --persist-to x",
            "wrangler r2 object put b/k --remote --pipe",
        ] {
            let error = WranglerStep::parse(text).expect_err(text);
            assert!(error.starts_with("unknown option `-"), "{text}: {error}");
        }
        for (text, what) in [
            (
                "wrangler d1 migrations apply DB --remote && curl evil",
                "has `&`, but no shell runs it",
            ),
            (
                "wrangler d1 execute DB --remote --command \"$(env)\"",
                "has `$`, but no shell runs it",
            ),
            ("wrangler d1 execute DB --remote --command 'x", "has a quote that does not end"),
            ("wrangler d1 execute DB --remote --command", "has no value for `--command`"),
            ("wrangler d1 migrations apply DB", "has no `--remote`"),
            (
                "wrangler d1 migrations apply --remote",
                "has 0 values after `d1 migrations apply`, which takes 1",
            ),
            ("wrangler d1 migrations apply A B --remote", "has 2 values"),
            (
                "wrangler d1 execute DB --remote --file /proc/self/environ",
                "names the absolute path",
            ),
            ("wrangler kv bulk put /etc/passwd --remote --binding KV", "names the absolute path"),
        ] {
            let error = WranglerStep::parse(text).expect_err(text);
            assert!(
                error.contains(what) && error.contains("`xtask.beforeDeploy`"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn finds_files_outside_of_the_repository() {
        let step = |file: &str| {
            WranglerStep::parse(&format!("wrangler d1 execute DB --remote --file {file}"))
                .expect("valid")
        };
        let dir = Utf8Path::new("apps/api");
        assert_eq!(step("../db/a.sql").files_below(dir), Ok(vec!["apps/db/a.sql".into()]));
        assert_eq!(step("../../../a.sql").files_below(dir), Err(Utf8Path::new("../../../a.sql")));
    }
}
