//! `upgrade`: moves a repository that only uses this tool to another revision of it.

use anyhow::Result;
use camino::Utf8Path;
use clap::Args;
use serde_json::json;

use crate::context::Ctx;
use crate::tools::cargo;
use base::error::{Exit, Failure, failed, refused};
use base::files::write_whole;
use workspace::git;
use workspace::modules::{TOOL, TOOL_LOCK};

/// Move this tool to another revision.
#[derive(Debug, Args)]
pub struct UpgradeCommand {
    /// The commit [default: the newest of the default branch]
    #[arg(long, value_name = "REVISION")]
    rev: Option<String>,
}

impl UpgradeCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let manifest = Utf8Path::new(TOOL).join("Cargo.toml");
        let text = workspace::symlinks::read(&ctx.root, &manifest)?;
        let pin = LibraryPin::find(&text).ok_or_else(|| {
            refused(format!("{manifest} does not pin `delivery` by `git` and `rev`"))
                .hint("a path is as new as its checkout; pull there")
        })?;
        let rev = match self.rev {
            Some(rev) => rev,
            None => newest(ctx, pin.url)?,
        };
        let document = |written: bool| json!({ "schema": 1, "url": pin.url, "from": pin.rev, "to": rev, "written": written });
        if rev == pin.rev {
            ctx.ui.report(&document(false), &format!("up to date: {rev}"));
            return Ok(Exit::Done);
        }
        let upgraded =
            text.replacen(&format!("rev = \"{}\"", pin.rev), &format!("rev = \"{rev}\""), 1);
        let next = format!(
            "{} → {rev}\nits pins of wrangler and Bun are part of every content key: each project whose pins changed is deployed once more\n\
             next: `cargo xtask doctor`, then commit {manifest} and {TOOL_LOCK}",
            pin.rev
        );
        if ctx.dry_run {
            ctx.ui.report(&document(false), &next);
            return Ok(Exit::Done);
        }
        let lock = std::fs::read_to_string(ctx.root.join(TOOL_LOCK)).unwrap_or_default();
        write_whole(&ctx.root.join(&manifest), &upgraded)?;
        if let Err(error) = resolve(ctx, &manifest) {
            write_whole(&ctx.root.join(&manifest), &text)?;
            write_whole(&ctx.root.join(TOOL_LOCK), &lock)?;
            return Err(error
                .hint(format!(
                    "is {rev} a commit of {}? {manifest} and {TOOL_LOCK} are as before",
                    pin.url
                ))
                .into());
        }
        ctx.ui.report(&document(true), &next);
        Ok(Exit::Done)
    }
}

/// The pin of this library in a manifest.
#[derive(Debug, PartialEq, Eq)]
struct LibraryPin<'a> {
    url: &'a str,
    rev: &'a str,
}

impl LibraryPin<'_> {
    fn find(manifest: &str) -> Option<LibraryPin<'_>> {
        let line = manifest.lines().find(|line| line.starts_with("delivery = {"))?;
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name} = \""))?;
            Some(rest.split_once('"')?.0)
        };
        Some(LibraryPin { url: field("git")?, rev: field("rev")? })
    }
}

/// Asks the repository at `url` for the newest commit of its default branch.
fn newest(ctx: &Ctx, url: &str) -> Result<String, Failure> {
    let listed = git::ask(&ctx.root, &["ls-remote", url, "HEAD"]);
    let commit = listed.as_deref().and_then(|text| text.split_whitespace().next());
    commit.map(str::to_owned).ok_or_else(|| {
        failed(format!("{url} does not say its newest commit; nothing was changed"))
            .hint(format!("`git ls-remote {url} HEAD` says more; or name a commit with `--rev`"))
    })
}

/// Lets Cargo write the lock file of the new manifest.
fn resolve(ctx: &Ctx, manifest: &Utf8Path) -> Result<(), Failure> {
    let task = ctx.ui.task("upgrade");
    let arguments = ["metadata", "--format-version=1", "--manifest-path", manifest.as_str()];
    let command = cargo::command(&ctx.root, &arguments);
    let ran = ctx.run("upgrade", &command, &|_| ());
    let ran = ran
        .map_err(|error| failed(format!("{error:#}")))
        .and_then(base::runner::CompletedProcess::success);
    task.end(ran.is_ok(), if ran.is_ok() { "resolved" } else { "not resolved" });
    ran.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_found() {
        let text = "[dependencies]\ndelivery = { git = \"https://h/r\", rev = \"abc\" }\n";
        assert_eq!(LibraryPin::find(text), Some(LibraryPin { url: "https://h/r", rev: "abc" }));
        assert_eq!(LibraryPin::find("delivery = { path = \"../x\" }\n"), None);
    }
}
