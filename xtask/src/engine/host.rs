//! An attempt's steps with the pinned tools on this machine.

use std::sync::PoisonError;

use anyhow::{Context as _, Result};

use super::attempt::{Attempt, millis};
use crate::error::failed;
use crate::plan::{Verb, guard};
use crate::tools::wrangler::{self, Expected};
use crate::workspace::strategy::Strategy;

impl Attempt<'_> {
    /// Installs and builds, alone in the package's folder.
    pub(super) fn build_on_host(&mut self) -> Result<()> {
        let alone = self.run.package_lock(self.part);
        let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
        let places = &self.run.places;
        if let Some(dir) = &self.part.install {
            self.step("install dependencies");
            let finished = self.execute(&places.install(dir))?.success()?;
            self.record.timings.install = Some(millis(finished.took));
        }
        if let Some(dir) = &self.part.build {
            self.step("build");
            self.clear_dist()?;
            let finished = self.execute(&places.build(self.part, dir))?.success()?;
            self.record.timings.build = Some(millis(finished.took));
        }
        Ok(())
    }

    /// Uploads and deploys what was built.
    pub(super) fn upload_from_host(&mut self) -> Result<()> {
        if let Some(dist) = &self.part.dist {
            guard::filled(&self.run.ctx.root, dist)?;
        }
        self.step("upload");
        let places = &self.run.places;
        let output_file = places.output_file(self.part);
        if let Some(folder) = output_file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
        }
        let redirected = places.root.join(&self.part.dir).join(wrangler::REDIRECT).is_file();
        let verb = self.run.plan.verb;
        let command = places.upload(self.part, &self.run.plan.destination, verb, redirected);
        self.uploading = true;
        let finished = self.execute(&command)?;
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
            wrangler::Verdict::Failed { reason } => {
                finished.success().with_context(|| reason.clone())?;
                Err(failed(reason).into())
            }
        }
    }
}
