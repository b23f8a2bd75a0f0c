//! Reads the results of an upload by Dagger's own API: exit codes and outputs of its steps, and wrangler's output file.

use camino::Utf8Path;

use crate::engine::project_run::ProjectRun;
use crate::engine::upload::NewVersion;
use crate::engine::upload::before_deploy;
use crate::engine::upload::host;
use crate::record::StepResult;
use crate::script::upload;
use base::error::{Error, Result, failed, refused};
use base::runner::ExitReason;
use base::text::strip_escapes;
use cloudflare::wrangler;

/// A shell reports this number plus the signal as the exit code of a killed program.
pub(crate) const SIGNALS: i32 = 128;

/// The hint of a refusal in a container.
pub(crate) const REFUSAL_HINT: &str = "nothing was changed; do what the message says, then retry";

/// The result that an attempt in containers left.
#[derive(Debug)]
pub enum AttemptResult {
    /// There is no whole result of this attempt.
    Missing,
    /// It uploaded this version.
    Uploaded(NewVersion),
    /// It failed.
    Failed(Error),
}

impl From<Result<NewVersion>> for AttemptResult {
    fn from(result: Result<NewVersion>) -> AttemptResult {
        match result {
            Ok(version) => AttemptResult::Uploaded(version),
            Err(failure) => AttemptResult::Failed(failure),
        }
    }
}

/// The files with the results of one attempt.
struct Results<'a> {
    folder: &'a Utf8Path,
}

impl<'a> Results<'a> {
    /// Returns the results of this attempt. `None` if the folder has none, or those of another attempt.
    fn read(run: &ProjectRun<'_>, folder: &'a Utf8Path) -> Option<Results<'a>> {
        let results = Results { folder };
        (results.text(upload::NONCE) == run.project.nonce).then_some(results)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read(self.folder.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Returns the exit code of a step. `None` if the step did not end.
    fn exit_code(&self, step: &str) -> Option<i32> {
        self.text(&format!("{step}.exit")).trim().parse().ok()
    }

    /// Returns the output of a step.
    fn log(&self, step: &str) -> Vec<String> {
        self.text(&format!("{step}.log")).lines().map(strip_escapes).collect()
    }
}

/// Reads the results in the folder.
pub fn read(run: &ProjectRun<'_>, folder: &Utf8Path) -> AttemptResult {
    let Some(results) = Results::read(run, folder) else { return AttemptResult::Missing };
    for step in upload::steps(run.plan, run.project) {
        match results.exit_code(&step) {
            None => return AttemptResult::Missing,
            Some(code) if step == upload::UPLOAD => return new_version(run, &results, code).into(),
            Some(0) => {}
            Some(code) => return AttemptResult::Failed(failure(run, &results, &step, code)),
        }
    }
    AttemptResult::Missing
}

/// Returns the steps before the upload that ran.
pub fn read_steps(run: &ProjectRun<'_>, folder: &Utf8Path) -> Vec<StepResult> {
    let Some(results) = Results::read(run, folder) else { return Vec::new() };
    let steps = run.project.before_deploy.steps().iter().enumerate();
    let result = |(index, step): (usize, &workspace::before_deploy::WranglerStep)| {
        let code = results.exit_code(&upload::before_deploy_step(index))?;
        Some(StepResult { command: step.text.clone(), took: None, is_ok: code == 0 })
    };
    steps.map_while(result).collect()
}

/// Returns true if a signal ended the step that uploads.
pub fn is_upload_killed(run: &ProjectRun<'_>, folder: &Utf8Path) -> bool {
    let results = Results::read(run, folder);
    results.and_then(|results| results.exit_code(upload::UPLOAD)).is_some_and(|code| code > SIGNALS)
}

/// Returns the new version, by wrangler's exit code and output file.
fn new_version(run: &ProjectRun<'_>, results: &Results<'_>, code: i32) -> Result<NewVersion> {
    let entries = results.text(upload::ENTRIES);
    let log = results.log(upload::UPLOAD);
    match host::upload_outcome(run, exit_reason(code), &entries, &log) {
        wrangler::WranglerOutcome::Done { version, targets, previews } => Ok(NewVersion {
            id: version,
            urls: host::urls(run, &targets, previews),
            wrangler: wrangler::version_in(&entries),
            warnings: host::warnings(&results.log(upload::PREPARE)),
        }),
        wrangler::WranglerOutcome::Failed { reason, hint } => {
            let text = wrangler::excerpt(&reason, &log, None);
            Err(hint.into_iter().fold(failed(text), Error::hint))
        }
    }
}

/// Returns why a step before the upload failed.
fn failure(run: &ProjectRun<'_>, results: &Results<'_>, step: &str, code: i32) -> Error {
    let log = results.log(step);
    let ending = exit_reason(code);
    if step == upload::BUNDLE {
        let reason = format!("wrangler bundled nothing: it {ending}");
        let hint = wrangler::bundle_hint(&log.join("\n"));
        return failed(wrangler::excerpt(&reason, &log, None)).hint(hint);
    }
    let mut own = run.project.before_deploy.steps().iter().enumerate();
    if let Some((_, own)) = own.find(|(index, _)| upload::before_deploy_step(*index) == step) {
        let reason = format!(
            "the step `{}` of `xtask.beforeDeploy` {ending}; nothing was uploaded",
            own.text
        );
        return failed(wrangler::excerpt(&reason, &log, None)).hint(before_deploy::HINT);
    }
    match host::refusal_in(&log).filter(|_| code == wrangler::REFUSAL_EXIT_CODE) {
        Some(refusal) => refusal,
        None => refused(wrangler::excerpt(
            &format!("the program that checks the upload {ending}; nothing was uploaded"),
            &log,
            None,
        ))
        .hint(REFUSAL_HINT),
    }
}

/// Converts the exit code of a shell.
fn exit_reason(code: i32) -> ExitReason {
    if code > SIGNALS { ExitReason::Signal(code - SIGNALS) } else { ExitReason::Code(code) }
}
