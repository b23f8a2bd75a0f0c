//! The only module that prints. Reports go to stdout, everything else to stderr.

mod hidden_input;
pub mod progress;
mod sections;
pub mod table;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error;
use crate::error::{Error, Exit, Result, failed};
use crate::interactive::Stream;
use crate::mutex;
use crate::secret::{Secret, redact};
use progress::{ProgressArea, ProgressLine};

/// Success, and commands.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Errors.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// Warnings.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Hints, paths and URLs.
pub const CYAN: Style = AnsiColor::Cyan.on_default();
/// Secondary information.
pub const DIM: Style = Style::new().dimmed();
/// Headings.
pub const BOLD: Style = Style::new().bold();

/// Returns `text` in `style`. Colour is removed on output if the terminal does not want it.
#[must_use]
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Output options of the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputOptions {
    /// Print one JSON document on stdout and nothing else.
    pub json: bool,
    /// Print no progress and no notes. Warnings, errors and reports remain.
    pub quiet: bool,
    /// Print the output of children as it arrives.
    pub verbose: bool,
    /// Print progress as plain lines even on a terminal.
    pub no_progress: bool,
}

/// The printer.
#[derive(Clone)]
pub struct Ui {
    options: OutputOptions,
    area: Arc<Mutex<ProgressArea>>,
    /// The error of the first failed write to stdout.
    lost: Arc<OnceLock<String>>,
}

impl Ui {
    /// Creates a printer with these options.
    #[must_use]
    pub fn new(options: OutputOptions) -> Ui {
        let animated = std::io::stderr().is_terminal()
            && !options.quiet
            && !options.verbose
            && !options.no_progress
            && crate::env::os_variable("NO_PROGRESS").is_none()
            && crate::env::os_variable("TERM").is_none_or(|term| term != "dumb");
        let gitlab = crate::env::raw_variable("GITLAB_CI").is_some_and(|value| value == "true");
        let area = ProgressArea::new(animated, gitlab && !options.quiet);
        Ui { options, area: Arc::new(Mutex::new(area)), lost: Arc::default() }
    }

    /// Returns true if the report is JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.options.json
    }

    /// Returns true if the output of children is printed as it arrives.
    #[must_use]
    pub fn verbose(&self) -> bool {
        self.options.verbose
    }

    /// Prints a report: `value` with `--json`, else `text`.
    pub fn report<T: Serialize>(&self, value: &T, text: &str) {
        if self.options.json {
            let json = serde_json::to_string_pretty(value)
                .unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
            self.write_json(&json);
        } else if !text.is_empty() {
            self.out(text);
        }
    }

    /// Prints text on stdout, above the lines of progress.
    pub fn out(&self, text: &str) {
        let text = redact(&crate::text::sanitize(text));
        let written = mutex::lock(&self.area).without_lines(|| write_out(&text));
        self.remember_failure(written);
    }

    /// Prints a line of a program that people asked to run, on the stream that it wrote to.
    pub fn pass(&self, stream: Stream, line: &str) {
        match stream {
            Stream::Out => self.remember_failure(write_out(&redact(line))),
            Stream::Error => self.above(&redact(line)),
        }
    }

    /// Returns true if standard output and standard error are both a terminal.
    #[must_use]
    pub fn is_on_terminal(&self) -> bool {
        std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Prints a line on stderr, unless `--quiet` is given.
    pub fn note(&self, text: &str) {
        if !self.options.quiet {
            self.above(text);
        }
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.above(&format!("{} {text}", paint(YELLOW, "warning:")));
    }

    /// Returns the width of the terminal that reports go to, in columns: `COLUMNS` if it is set. `None` if reports
    /// go to a file or a pipe.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        width()
    }

    /// Asks a yes-or-no question on the terminal. `None` if stdin or stderr is not a terminal.
    #[must_use]
    pub fn confirm(&self, question: &str) -> Option<bool> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let _closed = write!(anstream::stderr(), "{} [y/N] ", crate::text::sanitize(question));
        let mut reply = String::new();
        let read = std::io::stdin().read_line(&mut reply);
        Some(read.is_ok() && matches!(reply.trim(), "y" | "Y" | "yes"))
    }

    /// Returns true if a person can be asked: stdin and stderr are a terminal.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks for a line on the terminal. `None` if stdin or stderr is not a terminal, or the line is empty.
    #[must_use]
    pub fn ask(&self, question: &str) -> Option<String> {
        self.can_ask().then(|| prompt(question)).flatten()
    }

    /// Asks for a line that the terminal does not show. `None` as with [`Ui::ask`].
    #[must_use]
    pub fn ask_hidden(&self, question: &str) -> Option<Secret> {
        if !self.can_ask() {
            return None;
        }
        let hidden = hidden_input::HiddenInput::start().ok()?;
        let line = prompt(question);
        drop(hidden);
        // The key that ended the line was not shown either.
        let _closed = writeln!(anstream::stderr());
        line.map(|line| Secret::new(&line))
    }

    /// Starts a line of progress for `name`.
    #[must_use]
    pub fn task(&self, name: &str) -> ProgressLine {
        ProgressLine::start(self.clone(), Arc::clone(&self.area), name)
    }

    /// Prints an error with its causes and hints. The JSON document of a run has the exit code too.
    pub fn error(&self, failure: &Error, exit: Exit) {
        self.error_beside_report(failure);
        if self.options.json {
            let (message, causes) = (failure.to_string(), failure.causes());
            let value = serde_json::json!({ "schema": 1, "error": {
                "message": message, "causes": causes, "hints": &failure.hints, "exit": exit as u8 } });
            self.write_json(&serde_json::to_string_pretty(&value).unwrap_or_default());
        }
    }

    /// Prints an error on stderr alone, where stdout has the JSON document of a report already.
    pub fn error_beside_report(&self, failure: &Error) {
        let mut text = format!("{} {failure}", paint(RED, "error:"));
        for cause in failure.causes() {
            text += &format!("\n{} {cause}", paint(RED, "caused by:"));
        }
        for hint in &failure.hints {
            text += &format!("\n{} {hint}", paint(CYAN, "hint:"));
        }
        self.above(&text);
    }

    /// Writes JSON, which has no colours to remove.
    fn write_json(&self, text: &str) {
        let text = redact(&crate::text::sanitize_json(text)) + "\n";
        let mut out = std::io::stdout().lock();
        self.remember_failure(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// Remembers that stdout could not be written. A reader like `| head` may close the pipe early.
    fn remember_failure(&self, result: std::io::Result<()>) {
        if let Err(error) = result
            && error.kind() != ErrorKind::BrokenPipe
        {
            let _first = self.lost.set(error.to_string());
        }
    }

    /// Errors if a part of the report could not be written.
    pub fn complete(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(error) => {
                Err(failed(format!("the report could not be written to stdout: {error}"))
                    .hint(format!("{}; then run it again", error::DISK_HINT)))
            }
        }
    }

    /// Prints on stderr above the lines of progress.
    fn above(&self, text: &str) {
        mutex::lock(&self.area).above(text);
    }
}

/// Prints a question and reads the answer. `None` if it is empty.
fn prompt(question: &str) -> Option<String> {
    let _closed = write!(anstream::stderr(), "{}: ", crate::text::sanitize(question));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{newline}").and_then(|()| out.flush())
}
/// Returns what [`Ui::width`] does, before there is a `Ui`.
#[must_use]
pub fn width() -> Option<usize> {
    let columns = crate::env::variable("COLUMNS").and_then(|text| text.trim().parse().ok());
    let measured = || {
        let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(std::io::stdout())?;
        Some(usize::from(width))
    };
    columns.or_else(measured).filter(|width| *width > 0)
}
