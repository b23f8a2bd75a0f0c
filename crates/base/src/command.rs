//! A command as a value. A run executes it, and `--dry-run` prints it.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use xshell::{Cmd, Shell};

use crate::error::{Error, refused};

/// Variables of the caller's environment that every child inherits. No other variable is inherited,
/// so no credential reaches a child by accident.
pub const INHERITED: &[&str] = &[
    "ALL_PROXY",
    "BUN_INSTALL_CACHE_DIR",
    // Bun's cache of transpiled sources, including wrangler's 15 MB. Without it, every new home
    // directory costs half a second (observed with Bun 1.4.5).
    "BUN_RUNTIME_TRANSPILER_CACHE_PATH",
    // The image `rust` has both outside of the home directory. `RUSTUP_TOOLCHAIN` is not passed on, because rustup sets it
    // for xtask, and it would replace the toolchain that a project pins.
    "CARGO_HOME",
    "CI",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "NODE_EXTRA_CA_CERTS",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "RUSTUP_HOME",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "npm_config_cache",
    "npm_config_registry",
    "npm_config_cafile",
    "npm_config_userconfig",
    "pnpm_config_cafile",
    "pnpm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_CAFILE",
    "NPM_CONFIG_USERCONFIG",
    "BUN_CONFIG_REGISTRY",
];

/// Creates a [`ProcessCommand`] from a command line as you would type it: `cmd!(dir, "mkdir -p {folder}", DEADLINE)`.
///
/// `{name}` is one word, or a part of one, whatever it contains. `{names...}` is one word for each item, so that an
/// `Option` is an optional argument. Single quotes keep spaces.
#[macro_export]
macro_rules! cmd {
    ($dir:expr, $line:literal, $deadline:expr) => {
        $crate::command::ProcessCommand::from_line($dir, $deadline, |shell| {
            $crate::xshell::cmd!(shell, $line)
        })
    };
}

/// The value of a variable in a child's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// Plain text.
    Text(String),
    /// The caller's variable of the same name, if it is set.
    FromCaller {
        /// Its value is kept out of the output.
        is_hidden: bool,
    },
    /// A credential, which is read when the child starts.
    Credential(Credential),
}

/// The place of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// This variable of the caller's environment.
    Variable(String),
    /// The file with the sandbox's token, which only its owner can read.
    SandboxToken,
}

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessCommand {
    /// The absolute working directory.
    pub dir: Utf8PathBuf,
    /// Program and arguments. Never a credential, because every user of the machine can read them.
    pub argv: Vec<String>,
    /// Further variables that the child inherits.
    pub inherit: Vec<&'static str>,
    /// Variables set in addition to the inherited ones.
    pub env: Vec<(String, EnvValue)>,
    /// Folders that are searched for programs before those of `PATH`.
    pub path: Vec<Utf8PathBuf>,
    /// The child's input.
    pub stdin: Option<String>,
    /// Time after which its process group is stopped.
    pub deadline: Duration,
}

impl ProcessCommand {
    /// Creates a command of these words, which [`cmd!`](crate::cmd) takes from a line.
    pub(crate) fn new(
        dir: impl Into<Utf8PathBuf>,
        argv: &[&str],
        deadline: Duration,
    ) -> ProcessCommand {
        ProcessCommand {
            dir: dir.into(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            inherit: Vec::new(),
            env: Vec::new(),
            path: Vec::new(),
            stdin: None,
            deadline,
        }
    }

    /// Creates the command of [`cmd!`](crate::cmd).
    #[doc(hidden)]
    pub fn from_line(
        dir: impl Into<Utf8PathBuf>,
        deadline: Duration,
        line: impl FnOnce(&Shell) -> Cmd<'_>,
    ) -> ProcessCommand {
        let mut command = ProcessCommand::new(dir, &[], deadline);
        // A shell has a current folder, which we do not use. If that folder was deleted, the command stays
        // empty, and its run reports the reason.
        if let Ok(shell) = Shell::new() {
            let line = std::process::Command::from(line(&shell));
            let words = std::iter::once(line.get_program()).chain(line.get_args());
            command.argv = words.map(|word| word.to_string_lossy().into_owned()).collect();
        }
        command
    }

    /// Sets the child's input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> ProcessCommand {
        self.stdin = Some(text.into());
        self
    }

    /// Sets a variable to plain text.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> ProcessCommand {
        self.env.push((name.to_owned(), EnvValue::Text(value.into())));
        self
    }

    /// Sets a variable to a credential.
    #[must_use]
    pub fn credential(mut self, name: &str, credential: Credential) -> ProcessCommand {
        self.env.push((name.to_owned(), EnvValue::Credential(credential)));
        self
    }

    /// Passes the caller's variables of these names.
    #[must_use]
    pub fn inherits(mut self, names: &[String], is_hidden: bool) -> ProcessCommand {
        let names = names.iter().map(|name| (name.clone(), EnvValue::FromCaller { is_hidden }));
        self.env.extend(names);
        self
    }

    /// Sets the folder of `process`, and clears its environment but for the variables that every child inherits and those
    /// of `inherit`.
    pub(crate) fn prepare(&self, process: &mut std::process::Command) {
        process.current_dir(&self.dir).env_clear();
        pass_variables(process, INHERITED.iter().chain(&self.inherit).copied());
    }

    /// Returns the names of the caller's variables that the child gets under the same name.
    pub(crate) fn passed_variables(&self) -> impl Iterator<Item = &str> {
        let passed = |value: &EnvValue| matches!(value, EnvValue::FromCaller { .. });
        self.env.iter().filter(move |(_, value)| passed(value)).map(|(name, _)| name.as_str())
    }

    /// Returns the command line as you would type it.
    #[must_use]
    pub fn line(&self) -> String {
        self.argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    }

    /// Returns [`ProcessCommand::line`] with the program's name instead of its path, for messages.
    #[must_use]
    pub fn brief(&self) -> String {
        let (first, rest) = self.argv.split_first().map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
        let name = Utf8Path::new(first).file_name().unwrap_or(first);
        let words = std::iter::once(name).chain(rest.iter().map(String::as_str));
        words.map(quote).collect::<Vec<_>>().join(" ")
    }

    /// Returns the command as a POSIX subshell that starts in `root`. [`preamble`] defines `only`. The subshell
    /// sees the credentials that this command names, and no others.
    #[must_use]
    pub fn script(&self, root: &Utf8Path, sandbox_token: &Utf8Path) -> String {
        let dir = self.dir.strip_prefix(root).unwrap_or(&self.dir);
        let mut text = String::from("(\n");
        if !dir.as_str().is_empty() {
            text += &format!("  cd {}\n", quote(dir.as_str()));
        }
        let credentials = self.env.iter().filter_map(|(_, value)| match value {
            EnvValue::Credential(Credential::Variable(name)) => Some(name.as_str()),
            _ => None,
        });
        let credentials: Vec<&str> = credentials.collect();
        let passed = std::iter::once("only").chain(self.inherit.iter().copied());
        let passed = passed.chain(credentials.iter().copied()).chain(self.passed_variables());
        text += &format!("  {}\n", passed.collect::<Vec<_>>().join(" "));
        if !self.path.is_empty() {
            let folders: Vec<String> = self.path.iter().map(|dir| quote(dir.as_str())).collect();
            text += &format!("  export PATH={}:\"$PATH\"\n", folders.join(":"));
        }
        for (name, value) in &self.env {
            let value = match value {
                EnvValue::Text(text) => quote(text),
                EnvValue::FromCaller { .. } => continue,
                EnvValue::Credential(Credential::Variable(variable)) => {
                    format!("\"${variable}\"")
                }
                EnvValue::Credential(Credential::SandboxToken) => {
                    format!("\"$(cat {})\"", quote(sandbox_token.as_str()))
                }
            };
            text += &format!("  export {name}={value}\n");
        }
        for variable in credentials {
            if !self.env.iter().any(|(name, _)| name == variable) {
                text += &format!("  unset {variable}\n");
            }
        }
        match &self.stdin {
            None => text + "  " + &self.line() + "\n)\n",
            Some(stdin) => {
                format!("{text}  {} {})\n", self.line(), heredoc(stdin))
            }
        }
    }
}

/// Passes the caller's variables of these names to `process`.
pub(crate) fn pass_variables<'a>(
    process: &mut std::process::Command,
    names: impl IntoIterator<Item = &'a str>,
) {
    for name in names {
        if let Some(value) = crate::env::os_variable(name) {
            process.env(name, value);
        }
    }
}

/// Checks that a program exists, by the search of the system, to distinguish a missing program from one that fails.
pub(crate) fn check_exists(program: &str, dir: &Utf8Path) -> std::io::Result<()> {
    let path = crate::env::raw_variable("PATH").unwrap_or_default();
    let exists = match program.contains('/') {
        true => dir.join(program).exists(),
        false => path.split(':').any(|folder| Utf8Path::new(folder).join(program).exists()),
    };
    if exists { Ok(()) } else { Err(std::io::Error::from_raw_os_error(nix::libc::ENOENT)) }
}

/// Creates the error for a program that cannot be started.
pub(crate) fn cannot_run(program: &str, error: &std::io::Error) -> Error {
    refused(format!("cannot run `{program}`: {error}"))
        .hint("run `cargo xtask doctor`, which says what is missing and how to get it")
}

/// Creates the error for an empty command. [`cmd!`](crate::cmd) creates one only if there is no current folder.
pub(crate) fn without_words() -> Error {
    refused("cannot run a program, because the current folder was deleted")
        .hint("change to a folder that exists, then retry")
}

/// Returns `text` as a heredoc, from its operator to the line of its delimiter.
#[must_use]
pub fn heredoc(text: &str) -> String {
    let mut end = "DAGGER".to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    format!("<<'{end}'\n{text}{newline}{end}\n")
}

/// Returns the start of a dry-run script: strict mode, the working directory, and a function that clears
/// the environment as a run does.
#[must_use]
pub fn preamble(root: &Utf8Path) -> String {
    format!(
        "set -eu\n\
         cd {}\n\
         # Each command sees these variables and those listed after `only`, and no others.\n\
         only() {{\n  \
           keep=\" {} $* \"\n  \
           for name in $(env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'); do\n    \
             case \"$keep\" in *\" $name \"*) ;; *) unset \"$name\" ;; esac\n  \
           done\n\
         }}\n",
        quote(root.as_str()),
        INHERITED.join(" ")
    )
}

/// Quotes `word` as one word of a POSIX shell. Any character except NUL is allowed.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns a command line of xtask for people. Each of `words` is quoted for a shell.
#[must_use]
pub fn xtask_line(words: &[&str]) -> String {
    let words = words.iter().map(|word| quote(word));
    std::iter::once("cargo xtask".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_xtask_can_be_pasted_into_a_shell() {
        assert_eq!(xtask_line(&["build", "apps/shop"]), "cargo xtask build apps/shop");
        assert_eq!(
            xtask_line(&["wrangler", "my app", "--", "d1", "list"]),
            "cargo xtask wrangler 'my app' -- d1 list"
        );
        assert_eq!(xtask_line(&["deploy", "it's $5"]), r"cargo xtask deploy 'it'\''s $5'");
    }

    #[test]
    fn a_real_shell_reads_back_every_word() {
        let words =
            ["plain", "", "a b", "it's", "$HOME `id` \"x\" \\", "line\nbreak", "-flag=*", "é~"];
        for word in words {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }

    #[test]
    fn distinguishes_a_missing_program() {
        let dir = Utf8Path::new("/");
        for missing in ["no-such-program-here", "./no/such"] {
            assert!(check_exists(missing, dir).is_err(), "{missing}");
        }
        assert!(check_exists("sh", dir).is_ok() && check_exists("/bin/sh", dir).is_ok());
    }

    #[test]
    fn a_line_becomes_words_that_no_value_can_split() {
        let (folder, key) = (Utf8Path::new("/a b/it's"), "x=1 2");
        let (all, some, none) = (["-v", "--jobs 2"], Some("last one"), None::<String>);
        let command = cmd!(
            folder,
            "'my tool' -p {folder} --set={key} {all...} {some...} {none...} 'a b' -",
            Duration::ZERO
        );
        assert_eq!(
            command.argv,
            ["my tool", "-p", "/a b/it's", "--set=x=1 2", "-v", "--jobs 2", "last one", "a b", "-"]
        );
        assert_eq!(command.dir, folder);
    }

    #[test]
    fn a_script_clears_the_environment_and_keeps_tokens_out_of_argv() {
        let mut command = ProcessCommand::new(
            "/tmp",
            &["sh", "-c", "echo \"${CANARY-none} ${CI_TOKEN-gone} $TOKEN $MODE $EXTRA\""],
            Duration::ZERO,
        )
        .credential("TOKEN", Credential::Variable("CI_TOKEN".into()))
        .text("MODE", "a b");
        command.inherit.push("EXTRA");
        command.path.push("/tools dir".into());
        let root = Utf8Path::new("/");
        let without =
            ProcessCommand::new("/tmp", &["sh", "-c", "echo ${CI_TOKEN-gone}"], Duration::ZERO);
        let token = Utf8Path::new("token");
        let script = preamble(root) + &without.script(root, token) + &command.script(root, token);
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("CANARY", "seen")
            .env("CI_TOKEN", "t0")
            .env("EXTRA", "more")
            .env("LISTED", "listed")
            .output()
            .expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "gone\nnone gone t0 a b more\n");
    }
}
