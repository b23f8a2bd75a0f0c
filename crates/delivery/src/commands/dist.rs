//! `dist`: one archive with xtask and the sandbox, for machines without Rust.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use ring::digest::{SHA256, digest};
use serde_json::json;

use base::cmd;
use base::command::ProcessCommand;
use base::error::{Exit, Result, failed, refused};
use base::files::write_whole;
use deployment::context::Ctx;
use deployment::report::script::script_of;
use deployment::tools::distribution::{self, Distribution, MARK};
use deployment::tools::{cargo, sandbox};
use workspace::config::{CONFIG_FILE, Config};
use workspace::git;
use workspace::key::hex;
use workspace::modules::TOOL;

/// The folder of archives and their build artifacts.
const FOLDER: &str = ".xtask/dist";

/// Make an archive of xtask and the sandbox for runners without Rust.
///
/// Upload it to a place that the runners reach, and write its address and checksum into `pipeline.xtaskArchive` and
/// `pipeline.xtaskSha256`. It runs on the system and the C library that it was compiled for, or a newer one.
#[derive(Debug, Args)]
pub struct DistCommand {
    /// Compile for this target of Rust [default: this machine]
    #[arg(long, value_name = "TRIPLE", conflicts_with = "from")]
    target: Option<String>,
    /// Take the programs `xtask` and `sandbox` of this folder, which were compiled elsewhere
    #[arg(long, value_name = "FOLDER")]
    from: Option<Utf8PathBuf>,
    /// Folder for the archive
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    out: Utf8PathBuf,
}

impl DistCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let root = &ctx.root;
        let origin = self.origin(root)?;
        let name = format!("xtask-{}-{}.tar.gz", origin.version, origin.target);
        let archive = root.join(&self.out).join(&name);
        let commands = self.commands(root, &origin, &archive)?;
        if ctx.dry_run {
            let report = json!({ "schema": 1, "archive": archive, "written": false });
            ctx.ui.report(&report, &script_of(root, &commands));
            return Ok(Exit::Done);
        }
        let task = ctx.ui.task("dist");
        for command in &commands {
            task.step(step(command));
            let ran = ctx.run("dist", command, &|line| task.output(line))?;
            if let Err(failure) = ran.success() {
                task.end(false, "no archive was made");
                return Err(failure.hint_if_failed("read `.xtask/logs/dist.log`, then retry"));
            }
        }
        task.end(true, "archive made");
        let bytes = std::fs::read(&archive)
            .map_err(|error| failed(format!("cannot read the new archive {archive}: {error}")))?;
        let sum = hex(digest(&SHA256, &bytes).as_ref());
        let checksum = Utf8PathBuf::from(format!("{archive}.sha256"));
        write_whole(&checksum, &format!("{sum}  {name}\n"))?;
        let size = bytes.len();
        let report = json!({ "schema": 1, "archive": archive, "written": true, "checksum": checksum,
            "sha256": sum, "bytes": size, "version": origin.version, "target": origin.target });
        let shown = archive.strip_prefix(root).unwrap_or(&archive);
        ctx.ui.report(&report, &text(root, shown, &name, &sum, size, &origin));
        Ok(Exit::Done)
    }

    /// Returns the revision that the programs are compiled from. Errors if it is not a commit.
    fn origin(&self, root: &Utf8Path) -> Result<Distribution> {
        let parts = distribution::parts(root);
        let names = parts.join(", ");
        let no_commit = || {
            refused("xtask of this repository is in no commit, so an archive would have no version")
                .hint(format!("commit {names}, then retry"))
        };
        let source = distribution::source(root).ok_or_else(no_commit)?;
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(parts.iter().map(String::as_str));
        if git::ask(root, &status).is_some() {
            return Err(refused(format!(
                "{names} has uncommitted changes, so no commit would be the version of the archive"
            ))
            .hint("commit them, then retry"));
        }
        let commit = git::ask(root, &["rev-parse", "HEAD"]).ok_or_else(no_commit)?;
        let version = git::release_of_head(root)
            .unwrap_or_else(|| commit.get(..12).unwrap_or(&commit).to_owned());
        let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
        let this_machine = || format!("{}-{}{libc}", std::env::consts::ARCH, std::env::consts::OS);
        let target = self.target.clone().unwrap_or_else(this_machine);
        Ok(Distribution { schema: 1, version, target, commit, source })
    }

    /// Returns the commands that create the archive.
    fn commands(
        &self,
        root: &Utf8Path,
        origin: &Distribution,
        archive: &Utf8Path,
    ) -> Result<Vec<ProcessCommand>> {
        let mut commands = Vec::new();
        let from = match &self.from {
            Some(from) => {
                let from = root.join(from);
                if let Some(missing) =
                    ["xtask", "sandbox"].iter().find(|name| !from.join(name).is_file())
                {
                    return Err(refused(format!("{from} has no program `{missing}`"))
                        .hint("name the folder with both, such as `target/release`"));
                }
                from
            }
            None => {
                let source = sandbox::source(root).ok_or_else(|| {
                    refused("the source of the sandbox is not on this machine")
                        .hint("run `dist` where `cargo xtask` was compiled")
                })?;
                let target_folder = root.join(FOLDER).join("target");
                commands.extend([
                    self.compile(root, &root.join(TOOL), TOOL, &target_folder),
                    self.compile(root, &source.root, &source.package, &target_folder),
                ]);
                let triple = self.target.as_deref().unwrap_or_default();
                target_folder.join(triple).join("release")
            }
        };
        let stage = root.join(FOLDER).join("stage");
        let mut mark = cmd!(root, "tee {stage}/{MARK}", cargo::RUN_DEADLINE);
        mark.stdin = serde_json::to_string_pretty(origin).ok().map(|text| text + "\n");
        let out = archive.parent().unwrap_or(root);
        commands.extend([
            cmd!(root, "mkdir -p {stage} {out}", cargo::RUN_DEADLINE),
            cmd!(root, "cp {from}/xtask {from}/sandbox {stage}", cargo::RUN_DEADLINE),
            mark,
            cmd!(root, "tar -czf {archive} -C {stage} xtask sandbox {MARK}", cargo::RUN_DEADLINE),
            cmd!(root, "rm -r {stage}", cargo::RUN_DEADLINE),
        ]);
        Ok(commands)
    }

    fn compile(
        &self,
        root: &Utf8Path,
        source: &Utf8Path,
        package: &str,
        target_folder: &Utf8Path,
    ) -> ProcessCommand {
        let manifest = source.join("Cargo.toml");
        let mut arguments = vec!["build", "--release", "--locked", "--package", package];
        arguments.extend(["--manifest-path", manifest.as_str()]);
        arguments.extend(["--target-dir", target_folder.as_str()]);
        // Smaller programs, because each job downloads them. Backtraces then name only functions of the library.
        arguments.extend(["--config", "profile.release.strip=\"symbols\""]);
        if let Some(target) = &self.target {
            arguments.extend(["--target", target]);
        }
        cargo::command(root, &arguments)
    }
}

/// Returns the purpose of a command.
fn step(command: &ProcessCommand) -> &'static str {
    let has = |word: &str| command.argv.iter().any(|argument| argument == word);
    match (has("build"), has("sandbox")) {
        (true, true) => "compile the sandbox",
        (true, false) => "compile xtask (the first time takes a minute or two)",
        _ => "pack the archive",
    }
}

/// Returns the result and the next steps.
fn text(
    root: &Utf8Path,
    archive: &Utf8Path,
    name: &str,
    sum: &str,
    size: usize,
    origin: &Distribution,
) -> String {
    let number =
        Config::load(root).ok().and_then(|config| config.gitlab.number().map(str::to_owned));
    let number = number.unwrap_or_else(|| "PROJECT".to_owned());
    let version = &origin.version;
    format!(
        "{archive}  {} MB\n{archive}.sha256\n\
         next: upload the archive to a place that the runners reach, such as GitLab's package registry as\n  \
         projects/{number}/packages/generic/xtask/{version}/{name}\n\
         then set in {CONFIG_FILE} and run `cargo xtask ci generate`:\n  \
         \"pipeline\": {{\n    \
         \"xtaskArchive\": \"$CI_API_V4_URL/projects/{number}/packages/generic/xtask/{version}/{name}\",\n    \
         \"xtaskSha256\": \"{sum}\"\n  }}\n",
        size.div_ceil(1_000_000)
    )
}
