//! An attempt's steps as one Dagger Shell script.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use serde::Deserialize;
use workspace::modules;

use super::attempt::{Attempt, millis};
use crate::plan::{ProjectPlan, Verb};
use crate::script;
use crate::tools::dagger;
use base::command;
use base::error::{Failure, failed, refused};
use base::runner::{CompletedProcess, ExitReason, plain};
use cloudflare::wrangler;
use workspace::git;
use workspace::inside;
use workspace::strategy::Strategy;

/// What can be done about a failure that nobody knows.
const ELSEWHERE: &str =
    "`cargo xtask doctor dagger`; without containers: the same command with `--engine=host`";

/// The record that the Cloudflare module leaves, as far as we read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleRecord {
    nonce: String,
    exit_code: i32,
    version_id: Option<String>,
    #[serde(default)]
    deployment_id: Option<String>,
    #[serde(default)]
    urls: Vec<String>,
    wrangler: Option<String>,
    error: Option<String>,
    #[serde(default)]
    log: String,
}

/// What the module's record says of an attempt.
#[derive(Debug)]
pub struct Said {
    /// The version of wrangler.
    pub wrangler: Option<String>,
    /// The version or the preview's deployment that was made, and where it can be seen.
    pub made: Result<(String, Vec<String>), Failure>,
}

/// Reads the text of a record; nothing when it is none, or of another attempt than that with `nonce`.
#[must_use]
pub fn said(text: &str, nonce: &str, strategy: Option<Strategy>) -> Option<Said> {
    let record: ModuleRecord = serde_json::from_str(text).ok()?;
    if record.nonce != nonce {
        return None;
    }
    let made = match strategy {
        Some(Strategy::Preview) => record.deployment_id,
        Some(Strategy::Alias) | None => record.version_id,
    };
    let made = match (record.exit_code, made, record.error) {
        (0, Some(version), None) => Ok((version, record.urls)),
        (code, _, error) => {
            let reason = error.unwrap_or_else(|| format!("wrangler exited with {code}"));
            let failure = failed(format!("{reason}\n    {}", indented(&record.log)));
            Err(failure.hint(wrangler::AGAIN))
        }
    };
    Some(Said { wrangler: record.wrangler, made })
}

impl Attempt<'_> {
    /// Runs the project's script. Exit 0 proves nothing: what counts is a record with our nonce.
    pub(super) fn run_script(&mut self) -> Result<()> {
        let root = &self.run.ctx.root;
        check_modules(root, self.part)?;
        self.check_wipe()?;
        let record_file = root.join(&self.part.dir).join(script::RECORD);
        if record_file.exists() {
            std::fs::remove_file(&record_file)
                .with_context(|| format!("cannot remove {record_file}"))?;
        }
        let deploys = self.run.plan.verb != Verb::Build;
        self.step(if deploys { "dagger: build and upload" } else { "dagger: build" });
        let command = command(self.run.plan, self.part, root)?;
        if deploys {
            self.begin_upload()?;
        }
        let finished = match deploys {
            true => self.execute_upload(&command)?,
            false => self.execute(&command)?,
        };
        self.record.timings.deploy = Some(millis(finished.took));
        if !deploys {
            return finished_well(finished).map(|_| ());
        }
        let text = std::fs::read_to_string(&record_file).unwrap_or_default();
        let Some(said) = said(&text, &self.part.nonce, self.part.strategy) else {
            finished_well(finished)?;
            return Err(anyhow!(
                failed("dagger exited with 0 but left no record of this attempt: it ran nothing, or answered from a cache")
                    .hint(format!("the record should be {record_file}"))
            ));
        };
        self.record.tools.wrangler = said.wrangler;
        let (version, urls) = said.made?;
        finished_well(finished)?;
        self.made(version, urls);
        Ok(())
    }

    /// `export --wipe` deletes everything else in the folder, so it must be a build's to lose.
    fn check_wipe(&self) -> Result<()> {
        let exported = self.part.build.as_ref().and_then(|_| script::exported(self.part));
        let Some(dist) = exported else {
            return Ok(());
        };
        let root = &self.run.ctx.root;
        inside::check(root, &dist)?;
        if !root.join(&dist).is_dir() || git::is_ignored(root, &dist)? {
            return Ok(());
        }
        let failure =
            refused(format!("{dist} is not ignored by git, and the build would replace all of it"));
        Err(match self.part.dist {
            Some(_) => failure.hint(format!("add `{dist}` to .gitignore")),
            None => failure.hint(
                "Dagger exports the folder of `main`, so a build has to write it: into a folder that git \
                 ignores; where the build writes something else, take `--engine host`",
            ),
        }
        .into())
    }
}

/// The command that runs a project's script in its folder.
pub fn command(
    plan: &crate::plan::Plan,
    part: &ProjectPlan,
    root: &Utf8Path,
) -> Result<command::Command, Failure> {
    let command = dagger::command(&root.join(&part.dir), script::script(plan, part)?);
    Ok(match (plan.verb, plan.destination.sandbox) {
        (Verb::Build, _) => command,
        (_, Some(_)) => command.env(script::SANDBOX_TOKEN, plan.destination.token()),
        (_, None) => {
            let variable = plan.destination.token_variable.clone();
            command.env(&variable, plan.destination.token())
        }
    })
}

/// Dagger looks upwards for a module when a reference leads nowhere, and loads another one.
fn check_modules(root: &Utf8Path, part: &ProjectPlan) -> Result<(), Failure> {
    let own = part.dir.as_path();
    let builder = if part.module { own } else { Utf8Path::new(modules::BUN) };
    let builder = part.build.as_ref().map(|_| builder);
    for module in [Some(Utf8Path::new(modules::CLOUDFLARE)), builder].into_iter().flatten() {
        inside::check(root, &module.join("dagger.json"))?;
        if !root.join(module).join("dagger.json").is_file() {
            return Err(refused(format!("{module} has no dagger.json"))
                .hint("it should be a Dagger module"));
        }
    }
    if !root.ancestors().any(|dir| dir.join(".git").exists()) {
        return Err(refused(format!(
            "{root} is in no git repository, which Dagger's references need"
        )));
    }
    Ok(())
}

fn finished_well(finished: CompletedProcess) -> Result<CompletedProcess> {
    let hint = dagger::hint(&finished.tail);
    let deadline = finished.exit_reason == ExitReason::Deadline;
    finished.success().map_err(|failure| {
        let failure = match hint {
            Some(hint) => failure.hint(hint),
            None if deadline => failure
                .hint("without an engine the CLI waits for ever: `cargo xtask doctor dagger`"),
            None => failure.hint_if_failed(ELSEWHERE),
        };
        // The message names a trace that only Dagger's own service can show.
        let message =
            failure.message.lines().map(|line| line.split(" [traceparent:").next().unwrap_or(line));
        Failure { message: message.collect::<Vec<_>>().join("\n"), ..failure }.into()
    })
}

fn indented(log: &str) -> String {
    log.lines().map(plain).collect::<Vec<_>>().join("\n    ")
}
