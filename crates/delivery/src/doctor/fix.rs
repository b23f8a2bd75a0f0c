//! `--fix`: runs the commands of safe fixes, and nothing else.

use camino::Utf8Path;

use super::finding::{CheckStatus, Fix, brief};
use super::report::{DoctorReport, FixResult};
use base::command::{ProcessCommand, preamble};
use base::env::variable;
use base::error::{ErrorKind, Result, usage};
use base::terminal::{BOLD, paint};
use deployment::context::Ctx;
use deployment::engine::setup::setup_lock;

/// A safe fix, with its check.
struct FixStep<'a> {
    id: &'a str,
    before: CheckStatus,
    fix: &'a Fix,
}

fn steps(report: &DoctorReport) -> Vec<FixStep<'_>> {
    let problems = report.checks.iter().filter(|entry| entry.finding.is_problem());
    problems
        .filter_map(|entry| {
            let fix = entry.finding.fix.as_ref().filter(|fix| fix.safe)?;
            Some(FixStep { id: &entry.check.id, before: entry.finding.status, fix })
        })
        .collect()
}

/// Refuses to fix a pipeline's machine, because it is shared.
pub fn refuse_in_pipeline(yes: bool) -> Result<()> {
    if variable("CI").is_some() && !yes {
        return Err(usage("in a pipeline, `--fix` needs `--yes`")
            .hint("use an image that already has the missing programs"));
    }
    Ok(())
}

/// Returns the fixes of `report` as a POSIX shell script.
#[must_use]
pub fn script(root: &Utf8Path, report: &DoctorReport) -> String {
    let mut text = "#!/bin/sh\n# doctor --fix\n".to_owned() + &preamble(root);
    for step in steps(report) {
        text += &format!("\n# {}: {}\n", step.id, step.fix.text);
        for command in &step.fix.commands {
            text += &command.script(root, Utf8Path::new(""));
        }
    }
    text
}

/// Prints the commands and runs them, under the setup lock. Commands that several fixes share run
/// once. A failed command ends only its own fix. The caller checks the status afterwards.
pub fn apply(ctx: &Ctx, report: &DoctorReport) -> Result<Vec<FixResult>> {
    let steps = steps(report);
    if steps.is_empty() {
        ctx.ui.note("`--fix` found nothing that it may fix");
        return Ok(Vec::new());
    }
    ctx.ui.note(&paint(BOLD, "will run"));
    let mut planned: Vec<&ProcessCommand> = Vec::new();
    for command in steps.iter().flat_map(|step| &step.fix.commands) {
        if !planned.contains(&command) {
            ctx.ui.note(&format!("  {}", brief(&ctx.root, command)));
            planned.push(command);
        }
    }
    let task = ctx.ui.task("doctor");
    let lock = setup_lock(&ctx.root, |holder| task.step(&format!("wait for {holder}")))?;
    let mut done: Vec<&ProcessCommand> = Vec::new();
    let mut fixed = Vec::new();
    for step in &steps {
        task.step(&format!("{}: {}", step.id, step.fix.text));
        let mut error = None;
        for command in &step.fix.commands {
            if error.is_none() && !done.contains(&command) {
                let ran = ctx
                    .run("doctor", command, &|line| task.output(line))
                    .and_then(base::runner::CompletedProcess::success);
                match ran {
                    Err(stop) if stop.kind == ErrorKind::Interrupted => return Err(stop),
                    ran => error = ran.err().map(|error| format!("{error:#}")),
                }
                done.push(command);
            }
        }
        fixed.push(FixResult {
            id: step.id.to_owned(),
            before: step.before,
            after: step.before,
            error,
        });
    }
    drop(lock);
    Ok(fixed)
}
