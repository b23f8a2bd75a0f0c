//! `doctor`: what this machine has, and what it lacks.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::context::Ctx;
use crate::doctor::check::{Check, Need};
use crate::doctor::pins::Pins;
use crate::doctor::scope::Scope;
use crate::doctor::{self, Options, fix, readiness};
use base::error::Exit;
use workspace::Workspace;

/// Check this machine, the configuration and the credentials.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What to check: checks by name (`--list` prints them), or what a command needs: `build
    /// [PROJECT…]`, `deploy [PROJECT…]` [default: everything]. `pins` prints every pinned version and
    /// where it is pinned
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// The environment whose credentials must be there [default: they are all optional]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Leave the network alone
    #[arg(long)]
    offline: bool,
    /// Mend what can be mended without touching anything that a person made
    #[arg(long)]
    fix: bool,
    /// With `--fix`, also in a pipeline
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Print the names of the checks, and check nothing
    #[arg(long)]
    list: bool,
    /// Exit with 1 on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct List<'a> {
    schema: u32,
    checks: &'a [Check],
}

impl Doctor {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let scope = Scope::parse(&self.what);
        if scope == Scope::Pins {
            let pins = Pins::read(&ctx.root)?;
            ctx.ui.report(&pins, &pins.text());
            return Ok(pins.exit());
        }
        let environment = doctor::environment(&scope, self.env)?;
        let options = Options { offline: self.offline, strict: self.strict };
        let (scene, checks) = doctor::prepare(ctx, &scope, environment.clone(), options)?;
        if self.list {
            let list = List { schema: 1, checks: &checks };
            ctx.ui.report(&list, &names(&checks));
            return Ok(Exit::Done);
        }
        if self.fix && !ctx.dry_run {
            fix::refuse_in_pipeline(self.yes)?;
        }
        let mut report = doctor::examine(&checks, &scene, options)?;
        if self.fix && ctx.dry_run {
            ctx.ui.report(&report, &fix::script(&ctx.root, &report));
            return Ok(report.exit());
        }
        if self.fix {
            let mut mended = fix::apply(ctx, &report)?;
            if !mended.is_empty() {
                // What was looked at before may have changed in any respect.
                let (scene, checks) = doctor::prepare(ctx, &scope, environment, options)?;
                report = doctor::examine(&checks, &scene, options)?;
            }
            for mended in &mut mended {
                let now = report.checks.iter().find(|entry| entry.check.id == mended.id);
                mended.after = now.map_or(mended.after, |entry| entry.finding.status);
            }
            report.fixed = mended;
        }
        let verbose = ctx.ui.verbose() || matches!(scope, Scope::Named(_));
        let mut text = report.text(verbose);
        if scope == Scope::All
            && let Ok(workspace) = Workspace::survey(&ctx.root)
        {
            report.projects = readiness::rows(&workspace);
            text = format!("{}\n{text}", readiness::text(&report.projects));
        }
        ctx.ui.report(&report, &text);
        Ok(report.exit())
    }
}

fn names(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let titles = checks.iter().map(|check| check.title.len()).max().unwrap_or(0);
    let line = |check: &Check| {
        let needs = Need::words(check.needed_by).join(", ");
        format!("{:width$}  {:titles$}  {needs}", check.id, check.title)
    };
    let pins = format!("{:width$}  {}", "pins", "every pinned version, and where it is pinned");
    checks.iter().map(line).chain([pins]).collect::<Vec<_>>().join("\n")
}
