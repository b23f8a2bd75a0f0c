//! Runs the steps of `xtask.beforeDeploy` on this machine: after the build, before the upload.

use crate::engine::lock::FileLock;
use crate::engine::project_run::{ProjectRun, millis};
use crate::engine::upload::host::log;
use crate::plan::{Engine, Operation};
use crate::record::StepResult;
use base::error::{Error, Result, failed, interrupted};
use base::runner::{CompletedProcess, ExitReason};
use cloudflare::wrangler;

/// The next step after a failed step.
pub const HINT: &str =
    "correct it and deploy again; what this step and those before it did to the data is not undone";

/// Returns true if steps run on this machine. Dagger runs them in the container of the upload.
#[must_use]
pub fn has_steps(run: &ProjectRun<'_>) -> bool {
    let plan = run.plan;
    let is_here = plan.choice.engine == Engine::Host && plan.operation == Operation::Deploy;
    is_here && !run.project.before_deploy.is_empty()
}

/// Runs the steps in order with the environment's token. Adds each started step to `results`, and stops at the first
/// failure.
pub fn run(run: &ProjectRun<'_>, lock: &FileLock, results: &mut Vec<StepResult>) -> Result<()> {
    let commands = run.shared.paths.before_deploy(run.project, &run.plan.destination);
    for (step, command) in run.project.before_deploy.steps().iter().zip(commands) {
        run.step(&step.text);
        let finished = run.execute_upload(&command, lock)?;
        let is_ok = finished.exit_reason == ExitReason::Code(0);
        results.push(StepResult {
            command: step.text.clone(),
            took: Some(millis(finished.took)),
            is_ok,
        });
        if !is_ok {
            return Err(failure(run, &step.text, &finished));
        }
    }
    Ok(())
}

fn failure(run: &ProjectRun<'_>, step: &str, finished: &CompletedProcess) -> Error {
    if finished.exit_reason == ExitReason::Interrupted {
        return interrupted()
            .hint(format!("`{step}` was stopped; what it did to the data is not undone"));
    }
    let reason = format!(
        "the step `{step}` of `xtask.beforeDeploy` {}; nothing was uploaded",
        finished.ending()
    );
    failed(wrangler::excerpt(&reason, &finished.tail, Some(log(run, finished)))).hint(HINT)
}
