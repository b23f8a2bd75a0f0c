//! The pin of this library in a repository that only uses it.

use std::ops::Range;

use camino::Utf8Path;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use super::archive;
use super::effect::UpgradeEffect;
use crate::commands::keys::KeyReport;
use base::error::{ErrorKind, Exit, Result, failed, refused};
use base::files::write_whole;
use base::probe;
use base::runner::CompletedProcess;
use deployment::context::Ctx;
use deployment::tools::cargo;
use workspace::config::Config;
use workspace::git;
use workspace::modules::{TOOL, TOOL_LOCK};

/// Moves the pin in `xtask/Cargo.toml` and its lock file, and compiles the new revision. If it does not compile, both
/// files keep their content.
pub fn upgrade(ctx: &Ctx, revision: Option<&str>) -> Result<Exit> {
    let manifest = Utf8Path::new(TOOL).join("Cargo.toml");
    let text = workspace::symlinks::read(&ctx.root, &manifest).map_err(|failure| {
        failure.hint(format!(
            "upgrade a repository that `init` set up, because `init` writes {manifest}"
        ))
    })?;
    let pin = LibraryPin::find(&text).ok_or_else(|| {
        refused(format!("{manifest} does not pin `delivery` by `git` and `rev` or `tag`"))
            .hint("pull in that checkout, because a path is as new as its checkout")
    })?;
    let next = match (revision, pin.kind) {
        (Some(rev), _) => Revision::parse(rev),
        (None, RevisionKind::Rev) => Revision::rev(&newest_commit(ctx, &pin.url)?),
        (None, RevisionKind::Tag) => Revision::tag(&newest_tag(ctx, &pin.url)?),
    };
    let mut report = UpgradeReport::new(&pin, &next);
    report.note = Config::load(&ctx.root).ok().as_ref().and_then(archive::note);
    if next.is(&pin) {
        ctx.ui.report(&report.json(), &format!("up to date: {}", next.name));
        return Ok(Exit::Done);
    }
    if ctx.dry_run {
        ctx.ui.report(&report.json(), &report.text(&manifest));
        return Ok(Exit::Done);
    }
    let before = KeyReport::read(ctx).ok();
    let lock = std::fs::read_to_string(ctx.root.join(TOOL_LOCK)).ok();
    write_whole(&ctx.root.join(&manifest), &pin.move_to(&text, &next))?;
    if let Err(error) = compile(ctx, &manifest) {
        write_whole(&ctx.root.join(&manifest), &text)?;
        if let Some(lock) = lock {
            write_whole(&ctx.root.join(TOOL_LOCK), &lock)?;
        }
        if error.kind == ErrorKind::Interrupted {
            return Err(error);
        }
        return Err(error.hint(format!(
            "{manifest} and {TOOL_LOCK} are as before; check that {} is a revision of {}, and that \
             {TOOL}/src/main.rs compiles with it",
            next.name, pin.url
        )));
    }
    report.written = true;
    let after = key_report(ctx, &manifest);
    report.effect = before.zip(after).map(|(before, after)| UpgradeEffect::new(&before, &after));
    ctx.ui.report(&report.json(), &report.text(&manifest));
    Ok(Exit::Done)
}

/// Returns the revision of this library that the repository pins, and its file. `None` if it pins none.
pub fn current(ctx: &Ctx) -> Option<(String, String)> {
    let manifest = Utf8Path::new(TOOL).join("Cargo.toml");
    let text = workspace::symlinks::read(&ctx.root, &manifest).ok()?;
    let pin = LibraryPin::find(&text)?;
    Some((pin.revision, manifest.into_string()))
}

/// Returns the newest revision of the kind that the repository pins.
pub fn newest(ctx: &Ctx) -> Result<String> {
    let text = workspace::symlinks::read(&ctx.root, &Utf8Path::new(TOOL).join("Cargo.toml"))?;
    match LibraryPin::find(&text) {
        Some(LibraryPin { url, kind: RevisionKind::Rev, .. }) => newest_commit(ctx, &url),
        Some(LibraryPin { url, kind: RevisionKind::Tag, .. }) => newest_tag(ctx, &url),
        None => Err(refused(format!("{TOOL}/Cargo.toml pins no revision"))),
    }
}

/// The field of a git dependency that names a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RevisionKind {
    Rev,
    Tag,
}

impl RevisionKind {
    fn field(self) -> &'static str {
        match self {
            RevisionKind::Rev => "rev",
            RevisionKind::Tag => "tag",
        }
    }
}

/// The pin of this library in a manifest.
#[derive(Debug)]
struct LibraryPin {
    url: String,
    kind: RevisionKind,
    revision: String,
    /// The bytes of the revision in the manifest, with its quotes.
    span: Range<usize>,
}

/// The part of a `Cargo.toml` that pins this library.
#[derive(Deserialize)]
struct LibraryManifest {
    dependencies: LibraryDependencies,
}

#[derive(Deserialize)]
struct LibraryDependencies {
    delivery: LibraryDependency,
}

#[derive(Deserialize)]
struct LibraryDependency {
    git: String,
    rev: Option<Spanned<String>>,
    tag: Option<Spanned<String>>,
}

/// A revision to move to.
#[derive(Debug, PartialEq, Eq)]
struct Revision {
    kind: RevisionKind,
    name: String,
}

impl LibraryPin {
    /// Reads the pin. `None` if the manifest names no revision of a git repository.
    fn find(manifest: &str) -> Option<LibraryPin> {
        let manifest: LibraryManifest = toml::from_str(manifest).ok()?;
        let LibraryDependency { git, rev, tag } = manifest.dependencies.delivery;
        let rev = rev.map(|rev| (RevisionKind::Rev, rev));
        let (kind, revision) = rev.or_else(|| Some((RevisionKind::Tag, tag?)))?;
        let span = revision.span();
        Some(LibraryPin { url: git, kind, revision: revision.into_inner(), span })
    }

    /// Returns the manifest with another revision. The rest keeps its form.
    fn move_to(&self, manifest: &str, next: &Revision) -> String {
        let (before, after) = (&manifest[..self.span.start], &manifest[self.span.end..]);
        let field = before.rfind(self.kind.field()).unwrap_or(before.len());
        let assignment = &before[(field + self.kind.field().len()).min(before.len())..];
        format!("{}{}{assignment}\"{}\"{after}", &before[..field], next.kind.field(), next.name)
    }
}

impl Revision {
    fn rev(name: &str) -> Revision {
        Revision { kind: RevisionKind::Rev, name: name.to_owned() }
    }

    fn tag(name: &str) -> Revision {
        Revision { kind: RevisionKind::Tag, name: name.to_owned() }
    }

    /// Returns the requested revision: a commit by its id, or a tag.
    fn parse(name: &str) -> Revision {
        let is_id = name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { Revision::rev(name) } else { Revision::tag(name) }
    }

    fn is(&self, pin: &LibraryPin) -> bool {
        self.kind == pin.kind && self.name == pin.revision
    }
}

#[derive(Debug)]
struct UpgradeReport<'a> {
    pin: &'a LibraryPin,
    next: &'a Revision,
    written: bool,
    /// `None` if it is unknown: in a dry run, and if one of the revisions has no command `keys`.
    effect: Option<UpgradeEffect>,
    /// The next step for the archive that jobs download.
    note: Option<String>,
}

impl<'a> UpgradeReport<'a> {
    fn new(pin: &'a LibraryPin, next: &'a Revision) -> UpgradeReport<'a> {
        UpgradeReport { pin, next, written: false, effect: None, note: None }
    }

    fn json(&self) -> Value {
        let effect = self.effect.as_ref();
        json!({
            "schema": 1,
            "url": self.pin.url,
            "from": self.pin.revision,
            "to": self.next.name,
            "written": self.written,
            "tools": effect.map(|effect| &effect.tools),
            "redeployed": effect.map(|effect| &effect.changed),
        })
    }

    fn text(&self, manifest: &Utf8Path) -> String {
        let head = format!("{} → {}\n", self.pin.revision, self.next.name);
        let effect = match (&self.effect, self.written) {
            (Some(effect), _) => effect.text(),
            (None, true) => {
                "the new revision does not say which content keys change: `cargo xtask status` shows them\n"
                    .to_owned()
            }
            (None, false) => {
                let note = self.note.as_deref().unwrap_or_default();
                return format!("{head}nothing is written by a dry run\n{note}");
            }
        };
        format!(
            "{head}{effect}next: `cargo xtask doctor`, then commit {manifest} and {TOOL_LOCK}\n{}",
            self.note.as_deref().unwrap_or_default()
        )
    }
}

/// Reads the newest commit of the default branch from the repository at `url`.
fn newest_commit(ctx: &Ctx, url: &str) -> Result<String> {
    let listed = git::ask(&ctx.root, &["ls-remote", url, "HEAD"]);
    let commit = listed.as_deref().and_then(|text| text.split_whitespace().next());
    commit.map(str::to_owned).ok_or_else(|| {
        failed(format!("{url} does not name its newest commit; nothing was changed")).hint(format!(
            "run `git ls-remote {url} HEAD` for the reason, or name a commit: `cargo xtask upgrade xtask COMMIT`"
        ))
    })
}

/// Reads the newest release from the repository at `url`.
fn newest_tag(ctx: &Ctx, url: &str) -> Result<String> {
    let listed = git::ask(&ctx.root, &["ls-remote", "--tags", "--refs", url]);
    let listed = listed.unwrap_or_default();
    let tags = listed.lines().filter_map(|line| line.split_once("refs/tags/"));
    let newest = git::newest_release(tags.map(|(_, tag)| tag));
    newest.map(str::to_owned).ok_or_else(|| {
        failed(format!("{url} names no release; nothing was changed")).hint(format!(
            "run `git ls-remote --tags {url}` for the reason, or name a revision: `cargo xtask upgrade xtask REVISION`"
        ))
    })
}

/// Lets Cargo write the lock file of the new manifest, and compiles it.
fn compile(ctx: &Ctx, manifest: &Utf8Path) -> Result<()> {
    let task = ctx.ui.task("upgrade");
    task.step("compile the new revision (about a minute)");
    let command = cargo::command(&ctx.root, &["build", "--manifest-path", manifest.as_str()]);
    let ran = ctx.run("upgrade", &command, &|line| task.output(line));
    let ran = ran.and_then(CompletedProcess::success);
    task.end(ran.is_ok(), if ran.is_ok() { "compiled" } else { "not compiled" });
    ran.map(|_| ())
}

/// Runs the compiled revision to print the content keys. `None` if it has no such command.
fn key_report(ctx: &Ctx, manifest: &Utf8Path) -> Option<KeyReport> {
    let run = ["run", "--quiet", "--manifest-path", manifest.as_str(), "--", "keys"];
    let command = cargo::command(&ctx.root, &run);
    serde_json::from_str(&probe::capture_stdout(&command)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_updates_the_pin() {
        let next = Revision::parse("v1.3.0");
        for (text, expected) in [
            (
                "[dependencies]\ndelivery = { git = \"https://h/rev\", rev = \"abc\" }\n",
                Some((
                    RevisionKind::Rev,
                    "abc",
                    "[dependencies]\ndelivery = { git = \"https://h/rev\", tag = \"v1.3.0\" }\n",
                )),
            ),
            (
                "[dependencies]\na = \"1\"\ndelivery={tag=\"v1.2.0\", git = \"https://h/rev\"} # ours\n",
                Some((
                    RevisionKind::Tag,
                    "v1.2.0",
                    "[dependencies]\na = \"1\"\ndelivery={tag=\"v1.3.0\", git = \"https://h/rev\"} # ours\n",
                )),
            ),
            (
                "[dependencies.delivery]\ngit = 'https://h/rev'\nfeatures = []\nrev = 'abc' # rev\n[lints]\n",
                Some((
                    RevisionKind::Rev,
                    "abc",
                    "[dependencies.delivery]\ngit = 'https://h/rev'\nfeatures = []\ntag = \"v1.3.0\" # rev\n[lints]\n",
                )),
            ),
            ("[dependencies]\ndelivery = { path = \"../rev\" }\n", None),
            ("[dependencies]\ndelivery-more = { git = \"https://h\", rev = \"abc\" }\n", None),
            ("[dependencies]\ndelivery = { workspace = true }\n", None),
        ] {
            let pin = LibraryPin::find(text);
            let found = pin.as_ref().map(|pin| (pin, pin.move_to(text, &next)));
            let found = found.as_ref().map(|(pin, text)| (pin.kind, &*pin.revision, text.as_str()));
            assert_eq!(found, expected, "{text}");
            assert!(pin.is_none_or(|pin| pin.url == "https://h/rev"));
        }
    }

    #[test]
    fn a_revision_is_a_commit_or_a_tag() {
        assert_eq!(Revision::parse("0123abc").kind, RevisionKind::Rev);
        assert_eq!(Revision::parse("v1.0.0").kind, RevisionKind::Tag);
    }
}
