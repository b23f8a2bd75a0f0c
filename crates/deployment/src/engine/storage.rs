//! Provides the storage of the projects in the sandbox.

use super::RunContext;
use super::secrets::defaults_note;
use crate::plan::{Operation, ProjectPlan};
use crate::tools::sandbox::{self, ProvisionResult};
use base::error::Result;
use base::runner::is_interrupted;
use workspace::dev_vars::DevVars;

impl RunContext<'_> {
    /// Creates the storage that the projects' configs name by id in the sandbox, and gives it the default values of
    /// their secrets. Once for a run: it starts beside the reads of the live versions, and everything after them waits for
    /// it. The upload reports a failure, because it knows the binding.
    pub(super) fn provide_storage(&self) {
        let uploads = self.plan.operation != Operation::Build;
        self.storage.get_or_init(|| {
            let Some(port) = self.plan.destination.sandbox.filter(|_| uploads) else { return };
            for part in &self.plan.projects {
                if !is_interrupted() {
                    self.provide_to(part, port);
                }
            }
        });
    }

    fn provide_to(&self, part: &ProjectPlan, port: u16) {
        let ui = &self.ctx.ui;
        let project = &part.project;
        match self.provide(part, port) {
            Ok((ProvisionResult { created, .. }, note)) => {
                if !created.is_empty() {
                    let names = created.join(", ");
                    ui.note(&format!("{project}: new and empty in the sandbox: {names}"));
                }
                note.iter().for_each(|note| ui.note(note));
            }
            Err(failure) => ui.note(&format!("{project}: {failure:#}")),
        }
    }

    /// Returns what the sandbox created, and a note about the default values of secrets.
    fn provide(&self, part: &ProjectPlan, port: u16) -> Result<(ProvisionResult, Option<String>)> {
        let root = &self.ctx.root;
        let environment = &self.plan.destination.environment;
        // The account of the upload, even if the wrangler config names another one.
        let account = &self.plan.destination.account_id;
        let secrets = DevVars::read(root, &part.dir, environment, &part.target)?;
        let secrets = secrets.as_ref();
        let provided = sandbox::provide(root, port, account, part, environment, secrets)?;
        let path = secrets.map(|secrets| secrets.path.clone()).unwrap_or_default();
        let note = defaults_note(&part.project, &path, &provided.default_secrets);
        Ok((provided, note))
    }
}
