//! Provides the storage of the projects in the sandbox.

use crate::engine::RunContext;
use crate::engine::upload::secrets::defaults_note;
use crate::plan::{Operation, ProjectPlan};
use crate::tools::sandbox::{self, ProvisionResult};
use base::error::Result;
use base::runner::is_interrupted;
use workspace::dev_vars::DevVars;

/// Creates the storage that the projects' configs name by id in the sandbox, and gives it the default values of
/// their secrets. Once for a run: it starts beside the reads of the live versions, and everything after them waits for
/// it. The upload reports a failure, because it knows the binding.
pub(crate) fn provide_storage(run: &RunContext<'_>) {
    let uploads = run.plan.operation != Operation::Build;
    run.storage.get_or_init(|| {
        let Some(port) = run.plan.destination.sandbox.filter(|_| uploads) else { return };
        for project in &run.plan.projects {
            if !is_interrupted() {
                provide_to(run, project, port);
            }
        }
    });
}

fn provide_to(run: &RunContext<'_>, project: &ProjectPlan, port: u16) {
    let ui = &run.ctx.ui;
    let name = &project.name;
    match provide(run, project, port) {
        Ok((ProvisionResult { created, .. }, note)) => {
            if !created.is_empty() {
                let names = created.join(", ");
                ui.note(&format!("{name}: new and empty in the sandbox: {names}"));
            }
            note.iter().for_each(|note| ui.note(note));
        }
        Err(failure) => ui.note(&format!("{name}: {failure:#}")),
    }
}

/// Returns what the sandbox created, and a note about the default values of secrets.
fn provide(
    run: &RunContext<'_>,
    project: &ProjectPlan,
    port: u16,
) -> Result<(ProvisionResult, Option<String>)> {
    let root = &run.ctx.root;
    let environment = &run.plan.destination.environment;
    // The account of the upload, even if the wrangler config names another one.
    let account = &run.plan.destination.account_id;
    let secrets = DevVars::read(root, &project.dir, environment, &project.target)?;
    let secrets = secrets.as_ref();
    let provided = sandbox::provide(root, port, account, project, environment, secrets)?;
    let path = secrets.map(|secrets| secrets.path.clone()).unwrap_or_default();
    let note = defaults_note(&project.name, &path, &provided.default_secrets);
    Ok((provided, note))
}
