//! Checks this machine, the configuration and the credentials. Each finding has the observed value,
//! the expected value, the source and the fix. Without `--fix` nothing is written or started.

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

use base::error::{Error, Result, refused};
use check::{Check, CheckGroup, Cost, Need};
use context::Context;
use deployment::context::Ctx;
use deployment::plan::Engine;
use deployment::plan::destination::Destination;
use deployment::plan::refusal::{ProjectRefusal, all_at_once};
use finding::{CheckStatus, Finding};
use report::DoctorReport;
use scope::Scope;
use workspace::config::{Config, LOCAL};

/// The options of doctor.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoctorOptions {
    /// Skip requests over the network.
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
) -> Result<(Arc<Context>, Vec<Check>)> {
    let mut context = Context::new(&ctx.root, environment, scope.projects().to_vec());
    context.ci = ctx.ci.clone();
    context.offline = options.offline;
    context.refuse_unknown_names()?;
    let checks = scope.choose(table::all(&context), &context)?;
    Ok((Arc::new(context), checks))
}

/// Runs the checks and returns the report.
pub fn examine(
    checks: &[Check],
    context: &Arc<Context>,
    options: DoctorOptions,
) -> Result<DoctorReport> {
    let result = run::run(checks, context)?;
    Ok(DoctorReport::new(checks, result, context.environment.clone(), options.strict))
}

/// Checks the requirements of a deployment to `destination` on this machine. Only cheap checks run, and a missing tool
/// that the deployment installs is not a failure. The error has exit code 3 and lists all problems, with the
/// `refusals` of the plan.
pub fn preflight(
    ctx: &Ctx,
    config: &Config,
    destination: &Destination,
    engine: Engine,
    refusals: &[ProjectRefusal],
) -> Result<()> {
    // Containers have their own tools. The sandbox always needs local ones.
    let is_bare = engine == Engine::Dagger && destination.sandbox.is_none();
    let is_meant =
        |group| group != CheckGroup::Projects && !(is_bare && group == CheckGroup::Tools);
    let need = match destination.sandbox {
        Some(_) => Need::Local,
        None => Need::Remote,
    };
    let environment = Some(destination.environment.clone());
    let mut context = Context::with_config(&ctx.root, Ok(config.clone()), environment, Vec::new());
    context.ci = ctx.ci.clone();
    let checks = table::all(&context).into_iter().filter(|check| is_meant(check.group));
    let cheap = checks.filter(|check| check.cost == Cost::Read && check.needed_by.contains(&need));
    let found = cheap.map(|check| ((check.run)(&context), check.title));
    let failed: Vec<(String, Error)> = found
        .filter(|(finding, _)| finding.status >= CheckStatus::Fail)
        .map(|(finding, title)| (title, as_refusal(&finding)))
        .collect();
    let own = failed.iter().map(|(title, failure)| (title.as_str(), failure));
    let all = own.chain(refusals.iter().map(|each| (each.rule.subject(), &each.failure)));
    all_at_once(&all.collect::<Vec<_>>()).map_or(Ok(()), Err)
}

fn as_refusal(finding: &Finding) -> Error {
    let hints = finding.fix.iter().flat_map(|fix| fix.text.lines());
    hints.fold(refused(&finding.detail), Error::hint)
}

/// Returns the default environment of a deployment, for `doctor deploy`.
pub fn environment(ctx: &Ctx, scope: &Scope, named: Option<String>) -> Result<Option<String>> {
    match (scope, named) {
        (Scope::Deploy(_), None) => ctx.default_environment().map(Some),
        (Scope::Build(_), None) => Ok(Some(LOCAL.to_owned())),
        (_, named) => Ok(named),
    }
}
