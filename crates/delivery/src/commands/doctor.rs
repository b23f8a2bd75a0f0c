//! `doctor`: checks of this machine, the configuration and the credentials.

use clap::Args;
use serde::Serialize;

use crate::doctor::check::{Check, Need};
use crate::doctor::pins::Pins;
use crate::doctor::scope::Scope;
use crate::doctor::{self, DoctorOptions, fix, readiness};
use base::error::{Exit, Result};
use deployment::context::Ctx;
use gitlab::pipeline::own_jobs;

/// Check this machine, the configuration and the credentials.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    /// Checks by name (see `--list`), or the requirements of a command: `build [PROJECT…]`, `deploy [PROJECT…]`
    /// [default: all checks]. `pins` alone prints every pinned version
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Environment whose credentials are required [default: none is required]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Skip checks that use the network
    #[arg(long)]
    offline: bool,
    /// Fix what can be fixed safely
    #[arg(long)]
    fix: bool,
    /// Allow `--fix` in a pipeline
    #[arg(long, requires = "fix")]
    yes: bool,
    /// List the checks and run none
    #[arg(long)]
    list: bool,
    /// Exit with 1 on warnings
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct List<'a> {
    schema: u32,
    checks: &'a [Check],
}

impl DoctorCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let scope = Scope::parse(&self.what);
        if scope == Scope::Pins {
            let pins = Pins::read(&ctx.root, &[])?;
            ctx.ui.report(&pins, &pins.text());
            return Ok(pins.exit());
        }
        let environment = doctor::environment(ctx, &scope, self.env)?;
        let options = DoctorOptions { offline: self.offline, strict: self.strict };
        let (mut context, checks) = doctor::prepare(ctx, &scope, environment.clone(), options)?;
        if self.list {
            let list = List { schema: 1, checks: &checks };
            ctx.ui.report(&list, &names(&checks));
            return Ok(Exit::Done);
        }
        if self.fix && !ctx.dry_run {
            fix::refuse_in_pipeline(self.yes)?;
        }
        let mut report = doctor::examine(&checks, &context, options)?;
        if self.fix && ctx.dry_run {
            ctx.ui.report(&report, &fix::script(&ctx.root, &report));
            return Ok(report.exit);
        }
        if self.fix {
            let mut fixed = fix::apply(ctx, &report)?;
            if !fixed.is_empty() {
                // A fix may have changed the input of any check.
                let checks;
                (context, checks) = doctor::prepare(ctx, &scope, environment, options)?;
                report = doctor::examine(&checks, &context, options)?;
            }
            for fixed in &mut fixed {
                let now = report.checks.iter().find(|entry| entry.check.id == fixed.id);
                fixed.after = now.map_or(fixed.after, |entry| entry.finding.status);
            }
            report.fixed = fixed;
        }
        let verbose = ctx.ui.verbose() || matches!(scope, Scope::Checks(_));
        let mut text = doctor::text::text(&report, verbose);
        if scope == Scope::All
            && let Ok(workspace) = context.workspace()
        {
            report.projects = readiness::rows(workspace);
            report.pipeline = own_jobs::note(&workspace.root, &workspace.config);
            let note = report.pipeline.as_ref().map(|note| format!("{}\n", note.text()));
            let note = note.unwrap_or_default();
            let projects = readiness::text(workspace, &report.projects, ctx.ui.width());
            text = format!("{projects}\n{note}{text}");
        }
        ctx.ui.report(&report, &text);
        Ok(report.exit)
    }
}

fn names(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let titles = checks.iter().map(|check| check.title.len()).max().unwrap_or(0);
    let line = |check: &Check| {
        let needs = Need::words(check.needed_by).join(", ");
        format!("{:width$}  {:titles$}  {needs}", check.id, check.title)
    };
    let pins = format!("{:width$}  {}", "pins", "every pinned version and its files");
    checks.iter().map(line).chain([pins]).collect::<Vec<_>>().join("\n")
}
