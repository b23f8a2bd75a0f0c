//! `keys`: the content key of each project, for a comparison of two revisions of this tool.

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::content_keys::content_keys;
use base::error::{Exit, Result};
use deployment::builds::plan_builds;
use deployment::context::Ctx;
use deployment::plan::destination::Destination;
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::config::LOCAL;
use workspace::project::Project;

/// Print the content key of each project and the versions of the tools. `upgrade` calls it.
#[derive(Debug, Args)]
pub struct KeysCommand {}

/// The content keys and tools of one revision of this tool.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReport {
    /// The version of this shape.
    pub schema: u32,
    /// The versions of wrangler and Bun.
    pub tools: BTreeMap<String, String>,
    /// The content key of each project. Projects without a key are missing.
    pub keys: BTreeMap<String, String>,
}

impl KeysCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let report = KeyReport::read(ctx)?;
        ctx.ui.out(&serde_json::to_string(&report)?);
        Ok(Exit::Done)
    }
}

impl KeyReport {
    /// Computes the keys in the environment `local`.
    pub fn read(ctx: &Ctx) -> Result<KeyReport> {
        let workspace = Workspace::load(&ctx.root)?;
        let projects: Vec<&Project> = workspace.projects.iter().collect();
        let builds = plan_builds(&workspace, &projects);
        let port = Some(sandbox::DEFAULT_PORT);
        let destination = Destination::to_read(&workspace.config, LOCAL, port)?;
        let keys = content_keys(&workspace, &builds, &destination, None)?;
        let keys =
            projects.iter().zip(keys).filter_map(|(one, key)| Some((one.name.clone(), key.ok()?)));
        let wrangler = cloudflare::wrangler::pinned_version(&ctx.root).unwrap_or_default();
        let tools = [("Bun", workspace.config.tools.bun.clone()), ("wrangler", wrangler)];
        Ok(KeyReport {
            schema: 1,
            tools: tools.map(|(name, version)| (name.to_owned(), version)).into(),
            keys: keys.collect(),
        })
    }

    /// Returns the projects whose key differs in `next`, and those that only `next` has.
    #[must_use]
    pub fn changed_projects<'n>(&self, next: &'n KeyReport) -> Vec<&'n str> {
        let differs = |(name, key): &(&String, &String)| self.keys.get(*name) != Some(*key);
        next.keys.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the tools whose version differs in `next`, with both versions.
    #[must_use]
    pub fn moved_tools(&self, next: &KeyReport) -> Vec<String> {
        let tools = self.tools.iter().filter_map(|(name, version)| {
            let newer = next.tools.get(name).filter(|newer| *newer != version)?;
            Some(format!("{name} {version} → {newer}"))
        });
        tools.collect()
    }
}
