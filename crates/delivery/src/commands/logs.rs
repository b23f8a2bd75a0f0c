//! `logs`: what a project's Worker writes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use camino::Utf8Path;
use clap::Args;
use serde::Serialize;

use super::target::{EnvironmentUse, ProjectTarget, TargetArgs};
use super::wrangler::{command, exit};
use base::error::{Exit, Result};
use base::runner::is_interrupted;
use deployment::context::Ctx;
use deployment::engine::setup::Setup;
use deployment::tools::sandbox;

/// The interval at which the sandbox's log is read.
const LOG_READ_INTERVAL: Duration = Duration::from_millis(100);

/// Show what a project's Worker writes: console output and uncaught exceptions.
///
/// In the sandbox these are the last lines of its log. Cloudflare keeps none for wrangler, so there new lines are shown
/// as they come, until Ctrl-C.
#[derive(Debug, Args)]
pub struct LogsCommand {
    #[command(flatten)]
    target: TargetArgs,
    /// Wait for new lines, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Number of lines to show first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
}

/// One message, which may have several lines.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct LogMessage {
    /// The time, RFC 3339.
    time: String,
    /// `debug`, `log`, `info`, `warn` or `error`.
    level: String,
    /// Its text.
    text: String,
}

#[derive(Serialize)]
struct LogsReport<'a> {
    schema: u32,
    project: &'a str,
    environment: &'a str,
    worker: &'a str,
    entries: &'a [LogMessage],
}

impl LogsCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx, EnvironmentUse::Worker)?;
        let worker = target.worker();
        if target.destination.sandbox.is_none() {
            return tail(ctx, &target, &worker);
        }
        // The log of a stopped sandbox can be read too.
        let file = sandbox::output_file(&ctx.root);
        let (text, mut position) = read_from(&file, 0);
        let mut entries = entries(&text, &worker);
        let shown = entries.split_off(entries.len().saturating_sub(self.lines));
        if !self.follow {
            let report = LogsReport {
                schema: 1,
                project: &target.project.name,
                environment: &target.destination.environment,
                worker: &worker,
                entries: &shown,
            };
            let text: Vec<String> = shown.iter().map(LogMessage::line).collect();
            if shown.is_empty() {
                ctx.ui.note(&format!("the Worker `{worker}` has written nothing in the sandbox"));
            }
            ctx.ui.report(&report, &text.join("\n"));
            return Ok(Exit::Done);
        }
        show(ctx, &shown);
        while !is_interrupted() {
            std::thread::sleep(LOG_READ_INTERVAL);
            let (text, end) = read_from(&file, position);
            position = end;
            show(ctx, &self::entries(&text, &worker));
        }
        Ok(Exit::Interrupted)
    }
}

/// Prints entries. With `--json`, one JSON object per line.
fn show(ctx: &Ctx, entries: &[LogMessage]) {
    for entry in entries {
        let json = || serde_json::to_string(entry).unwrap_or_default();
        ctx.ui.out(&if ctx.ui.json() { json() } else { entry.line() });
    }
}

/// Lets wrangler print new entries.
fn tail(ctx: &Ctx, target: &ProjectTarget, worker: &str) -> Result<Exit> {
    let mut setup = Setup::new(ctx, &target.workspace.config)?;
    let paths = setup.tools()?;
    setup.finish("ready");
    let format = if ctx.ui.json() { "--format=json" } else { "--format=pretty" };
    let arguments = ["tail", worker, format].map(str::to_owned);
    Ok(exit(ctx.run_attached(&command(&paths, target, &arguments, true))?))
}

/// Reads whole lines of `file` from `position`, and returns the position after them. A file that is shorter now is read
/// from its start, because the sandbox has truncated it.
fn read_from(file: &Utf8Path, position: u64) -> (String, u64) {
    let read = || -> std::io::Result<(Vec<u8>, u64)> {
        let mut file = File::open(file)?;
        let start = if file.metadata()?.len() < position { 0 } else { position };
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        let end = start + bytes.len() as u64;
        Ok((bytes, end))
    };
    let (bytes, end) = read().unwrap_or_default();
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

/// Returns the entries of `worker` in the sandbox's log.
fn entries(text: &str, worker: &str) -> Vec<LogMessage> {
    let mut entries: Vec<LogMessage> = Vec::new();
    let mut is_own = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("    ") {
            if let Some(last) = entries.last_mut().filter(|_| is_own) {
                last.text += "\n    ";
                last.text += rest;
            }
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let (time, name, level) = (words.next(), words.next(), words.next());
        is_own = name == Some(worker);
        if let (true, Some(time), Some(level)) = (is_own, time, level) {
            let text = words.next().unwrap_or_default().to_owned();
            entries.push(LogMessage { time: time.to_owned(), level: level.to_owned(), text });
        }
    }
    entries
}

impl LogMessage {
    fn line(&self) -> String {
        format!("{} {} {}", self.time, self.level, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_multi_line_entries_of_one_worker() {
        let text = "2026-01-01T00:00:00.000Z shop log hello world\n2026-01-01T00:00:01.000Z api error GET /: Uncaught Error: x\n    at a.js\n2026-01-01T00:00:02.000Z shop error two\n    lines\n";
        let found = entries(text, "shop");
        let texts: Vec<(&str, &str)> =
            found.iter().map(|entry| (entry.level.as_str(), entry.text.as_str())).collect();
        assert_eq!(texts, [("log", "hello world"), ("error", "two\n    lines")]);
        assert_eq!(entries(text, "sho"), []);
    }
}
