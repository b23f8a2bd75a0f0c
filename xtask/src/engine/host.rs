//! An attempt's steps with the pinned tools on this machine.

use anyhow::{Context as _, Result};

use super::attempt::{Attempt, millis};
use crate::error::{Exit, Failure, failed, refused, unwritable};
use crate::plan::{Verb, guard};
use crate::tools::wrangler::{self, Expected};
use crate::workspace::graph::normalize;
use crate::workspace::inside;
use crate::workspace::strategy::Strategy;
use crate::workspace::wrangler::WranglerConfig;

impl Attempt<'_> {
    /// Uploads and deploys what was built.
    pub(super) fn upload_from_host(&mut self) -> Result<()> {
        if let Some(dist) = &self.part.dist {
            guard::filled(&self.run.ctx.root, dist)?;
            inside::check_tree(&self.run.ctx.root, dist)?;
        }
        self.step("upload");
        let places = &self.run.places;
        let output_file = places.output_file(self.part);
        if let Some(folder) = output_file.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| unwritable(format!("cannot make {folder}: {error}")))?;
        }
        let redirected = self.check_redirect()?;
        let verb = self.run.plan.verb;
        let command = places.upload(self.part, &self.run.plan.destination, verb, redirected);
        self.begin_upload()?;
        let finished = self.execute_upload(&command)?;
        self.record.timings.deploy = Some(millis(finished.took));
        let output = std::fs::read_to_string(&output_file).unwrap_or_default();
        let expected = match (verb, self.part.strategy) {
            (Verb::Preview, Some(Strategy::Preview)) => Expected::Preview,
            (Verb::Preview, _) => Expected::Upload,
            _ => Expected::Deploy,
        };
        match wrangler::verdict(expected, finished.ended, &output) {
            wrangler::Verdict::Done { version, targets, previews } => {
                let urls = if verb == Verb::Preview { previews } else { wrangler::urls(&targets) };
                self.made(version, urls);
                // Kept when it failed, as evidence.
                std::fs::remove_file(&output_file).context("cannot remove wrangler's output file")
            }
            wrangler::Verdict::Failed { reason, hint } => {
                let failure = match finished.success() {
                    Ok(finished) => failed(format!("{reason}: {}", finished.explain())),
                    Err(failure) if failure.exit == Exit::Failed => {
                        Failure { message: format!("{reason}: {}", failure.message), ..failure }
                    }
                    Err(failure) => failure,
                };
                Err(hint.into_iter().fold(failure, Failure::hint).into())
            }
        }
    }

    /// Whether an adapter left a config that wrangler will follow, which must be about our Worker.
    fn check_redirect(&self) -> Result<bool> {
        let root = &self.run.ctx.root;
        let redirect = self.part.dir.join(wrangler::REDIRECT);
        if !root.join(&redirect).is_file() {
            return Ok(false);
        }
        let text = inside::read(root, &redirect)?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| refused(format!("{redirect}: {error}")))?;
        let target = value["configPath"]
            .as_str()
            .and_then(|path| normalize(&redirect.parent().unwrap_or(&self.part.dir).join(path)));
        let path = target.ok_or_else(|| {
            refused(format!("{redirect}: `configPath` names no file of the repository"))
        })?;
        let generated = WranglerConfig::parse(&path, &inside::read(root, &path)?)?;
        let account = &self.run.plan.destination.account_id;
        guard::check_generated(&path, &generated, &self.part.target, account)?;
        Ok(true)
    }
}
