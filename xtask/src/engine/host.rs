//! An attempt's steps with the pinned tools on this machine.

use std::sync::PoisonError;

use anyhow::{Context as _, Result};

use super::attempt::{Attempt, millis};
use crate::error::failed;
use crate::plan::guard;
use crate::tools::wrangler;

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
        let command = places.deploy(self.part, &self.run.plan.destination, redirected);
        self.uploading = true;
        let finished = self.execute(&command)?;
        self.record.timings.deploy = Some(millis(finished.took));
        let output = std::fs::read_to_string(&output_file).unwrap_or_default();
        match wrangler::verdict(finished.ended, &output) {
            wrangler::Verdict::Deployed { version, targets } => {
                self.deployed(version, wrangler::urls(&targets));
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
