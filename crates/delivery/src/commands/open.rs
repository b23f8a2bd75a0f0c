//! `open`: opens the URL of a project in a browser.

use clap::Args;

use super::target::{EnvironmentUse, TargetArgs};
use base::error::{Exit, Result, refused};
use base::interactive::open;
use cloudflare::api::ListedVersion;
use deployment::context::Ctx;

/// Open a project's URL in the browser.
#[derive(Debug, Args)]
pub struct OpenCommand {
    #[command(flatten)]
    target: TargetArgs,
    /// Open the preview of this alias, such as `mr-42`
    #[arg(long, value_name = "ALIAS")]
    alias: Option<String>,
}

/// The programs that open a URL, by system.
const OPENERS: [&str; 2] =
    if cfg!(target_os = "macos") { ["open", "xdg-open"] } else { ["xdg-open", "open"] };

impl OpenCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let target = self.target.to_read(ctx, EnvironmentUse::Worker)?;
        let credentials = target.credentials(ctx)?;
        let api = target.api(ctx, &credentials);
        let (name, worker) = (&target.project.name, target.worker());
        let environment = &target.destination.environment;
        let url = match &self.alias {
            None => {
                target.live(&api)?;
                target.urls(&api)?.into_iter().next()
            }
            Some(alias) => {
                let has_alias = |one: &ListedVersion| one.alias() == Some(alias);
                let versions = api.versions_until(&worker, has_alias)?;
                let is_there = versions.iter().any(has_alias);
                if !is_there {
                    return Err(refused(format!(
                        "no version of {name} in {environment} has the alias `{alias}`"
                    ))
                    .hint(format!(
                        "run `{}` to list them",
                        target.destination.command_line("versions", name)
                    )));
                }
                let suffix = api.preview_suffix(&worker)?;
                suffix.and_then(|suffix| target.destination.preview_url(alias, &worker, &suffix))
            }
        };
        let url = url.ok_or_else(|| {
            refused(format!("the Worker `{worker}` has no address in {environment}")).hint(format!(
                "set `workers_dev`, `preview_urls` or a route in {} and deploy",
                target.project.config
            ))
        })?;
        let opened = !ctx.ui.json() && OPENERS.iter().any(|opener| open(opener, &url));
        let report = serde_json::json!({ "schema": 1, "project": name, "environment": environment, "url": url });
        ctx.ui.report(&report, &url);
        if !opened && !ctx.ui.json() {
            ctx.ui.note("no browser could be started; open the URL yourself");
        }
        Ok(Exit::Done)
    }
}
