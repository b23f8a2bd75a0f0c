//! Checks of this machine, the configuration and the credentials: what is there, what should be
//! there, where it came from, and how to fix it. Without `--fix` nothing is written or started.

pub mod check;
pub mod checks;
pub mod context;
pub mod finding;
pub mod fix;
pub mod pins;
pub mod readiness;
pub mod report;
pub mod run;
pub mod scope;
pub mod table;
pub mod text;

use std::sync::Arc;

use crate::context::Ctx;
use crate::plan::Engine;
use crate::plan::destination::Destination;
use base::error::{Failure, refused};
use check::{Check, CheckGroup, Cost, Need};
use context::Context;
use finding::{CheckStatus, Finding};
use report::DoctorReport;
use scope::Scope;
use workspace::config::LOCAL;
use workspace::project::Project;

/// The options of doctor.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoctorOptions {
    /// Leave the network alone.
    pub offline: bool,
    /// A warning counts as a problem.
    pub strict: bool,
}

/// The context and the requested checks.
pub fn prepare(
    ctx: &Ctx,
    scope: &Scope,
    environment: Option<String>,
    options: DoctorOptions,
) -> Result<(Arc<Context>, Vec<Check>), anyhow::Error> {
    let mut context = Context::new(&ctx.root, environment, scope.projects().to_vec());
    context.offline = options.offline;
    context.refuse_unknown_names()?;
    let checks = scope.choose(table::all(&context), &context)?;
    Ok((Arc::new(context), checks))
}

/// Looks, and says what was found.
pub fn examine(
    checks: &[Check],
    context: &Arc<Context>,
    options: DoctorOptions,
) -> Result<DoctorReport, Failure> {
    let result = run::run(checks, context)?;
    Ok(DoctorReport::new(checks, result, context.environment.clone(), options.strict))
}

/// Checks the needs of a deployment of `projects` to `destination` before it begins. Only cheap
/// checks run, and a tool that the deployment installs by itself is no failure. The error ends with
/// exit code 3 and lists everything at once.
pub fn preflight(
    ctx: &Ctx,
    destination: &Destination,
    engine: Engine,
    projects: &[&Project],
) -> Result<(), Failure> {
    // Containers bring their own tools; the sandbox needs them here in any case.
    let bare = engine == Engine::Dagger && destination.sandbox.is_none();
    check_needs(ctx, destination, projects, |group| !(bare && group == CheckGroup::Tools))
}

/// Checks the needs of this machine alone, as [`preflight`] does.
pub fn preflight_machine(
    ctx: &Ctx,
    destination: &Destination,
    engine: Engine,
) -> Result<(), Failure> {
    let bare = engine == Engine::Dagger && destination.sandbox.is_none();
    let is_meant = |group| group != CheckGroup::Projects && !(bare && group == CheckGroup::Tools);
    check_needs(ctx, destination, &[], is_meant)
}

/// Checks `projects` alone, as [`preflight`] does.
pub fn preflight_projects(
    ctx: &Ctx,
    destination: &Destination,
    projects: &[&Project],
) -> Result<(), Failure> {
    check_needs(ctx, destination, projects, |group| group == CheckGroup::Projects)
}

fn check_needs(
    ctx: &Ctx,
    destination: &Destination,
    projects: &[&Project],
    is_meant: impl Fn(CheckGroup) -> bool,
) -> Result<(), Failure> {
    let environment = destination.environment.clone();
    let projects = projects.iter().map(|&project| project.clone()).collect();
    let context = Context::new(&ctx.root, Some(environment), Vec::new()).with_projects(projects);
    let need = match destination.sandbox {
        Some(_) => Need::Local,
        None => Need::Remote,
    };
    let checks = table::all(&context).into_iter().filter(|check| is_meant(check.group));
    let cheap = checks.filter(|check| check.cost == Cost::Read && check.needed_by.contains(&need));
    let found = cheap.map(|check| ((check.run)(&context), check.title));
    let failed: Vec<(Finding, String)> =
        found.filter(|(finding, _)| finding.status >= CheckStatus::Fail).collect();
    summary(&failed)
}

fn summary(failed: &[(Finding, String)]) -> Result<(), Failure> {
    let message = match failed {
        [] => return Ok(()),
        [(finding, _)] => finding.detail.clone(),
        several => several.iter().fold(
            format!("{} things are missing or wrong", several.len()),
            |text, (finding, title)| {
                format!("{text}\n  {title}: {}", finding.detail.replace('\n', "\n  "))
            },
        ),
    };
    let mut hints: Vec<&str> = Vec::new();
    for (finding, _) in failed {
        hints.extend(finding.fix.iter().flat_map(|fix| fix.text.lines()));
    }
    hints.dedup();
    Err(hints.into_iter().fold(refused(message), Failure::hint))
}

/// The environment that a deploy would take when none is named, for `doctor deploy`.
pub fn environment(scope: &Scope, named: Option<String>) -> Result<Option<String>, Failure> {
    match (scope, named) {
        (Scope::Deploy(_), None) => crate::context::default_environment().map(Some),
        (Scope::Build(_), None) => Ok(Some(LOCAL.to_owned())),
        (_, named) => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::Exit;

    #[test]
    fn preflight_lists_everything_at_once() {
        let one =
            (Finding::fail("the variable T is not set").manual_fix("set it"), "token".to_owned());
        let other = (Finding::fail("a\nb").manual_fix("fix it"), "fields".to_owned());
        assert!(summary(&[]).is_ok());
        let single = summary(std::slice::from_ref(&one)).expect_err("a failure");
        assert_eq!(
            (single.exit, single.message.as_str()),
            (Exit::Refused, "the variable T is not set")
        );
        let both = summary(&[one, other]).expect_err("a failure");
        assert_eq!(
            both.message,
            "2 things are missing or wrong\n  token: the variable T is not set\n  fields: a\n  b"
        );
        assert_eq!(both.hints, ["set it", "fix it"]);
    }
}
