//! Determines the state after a failed upload, because the version may have gone live before the failure, or still
//! may.

use std::fmt;

use crate::engine::live::PreviousState;
use crate::engine::project_run::ProjectRun;
use crate::engine::traffic::watch_for_effect;
use crate::record::DeployStatus;
use base::error::Error;
use cloudflare::api::Live;
use cloudflare::wrangler::UploadKind;
use cloudflare::wrangler::requests::{RequestState, deploy_request_state};

/// An upload that failed after its start.
#[derive(Debug)]
pub struct FailedUpload {
    /// The cause.
    pub error: Error,
    /// `true` if a signal, the deadline or an interruption ended the command when it may have sent a request.
    pub is_killed: bool,
}

impl fmt::Display for FailedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for FailedUpload {}

impl From<FailedUpload> for Error {
    fn from(error: FailedUpload) -> Error {
        let (kind, hints) = (error.error.kind, error.error.hints.clone());
        Error { kind, hints, ..Error::from_source(error) }
    }
}

/// The state after a failed upload.
pub struct AfterFailure {
    /// The live version. `None` if nothing is live, or if it is unknown.
    pub live: Option<Live>,
    /// The status of the record.
    pub status: DeployStatus,
    /// The description of the state.
    pub text: String,
    /// The next steps.
    pub hints: Vec<String>,
}

/// Reads the live version after a failed upload and describes the state. `status` and `hints` are those
/// of the failure.
pub fn explain_failed_upload(
    run: &ProjectRun<'_>,
    before: &PreviousState,
    failed: &FailedUpload,
    status: DeployStatus,
    mut hints: Vec<String>,
) -> AfterFailure {
    let previous = before.version();
    // An upload for a preview or a gradual deployment does not make its version live.
    let deploys = run.plan.kind(run.project) == UploadKind::Deployment;
    let is_open = deploys && may_go_live(run, before, failed);
    let changed = match status {
        DeployStatus::Interrupted => DeployStatus::Interrupted,
        _ => DeployStatus::Unknown,
    };
    let is_previous = |live: Option<&Live>| live.map(|live| live.version.as_str()) == previous;
    let mut now = run.live();
    if is_open {
        now = watch_for_effect(now, is_previous, || run.live());
    }
    let status_command = format!("run `{}`", run.command_line("status"));
    match now {
        Ok(live) if is_previous(live.as_ref()) => {
            let as_before = match previous {
                Some(version) => format!("version {version} is still live, as before"),
                None => "nothing is live, as before".to_owned(),
            };
            if !is_open {
                return AfterFailure { live, status, text: as_before, hints };
            }
            // The hints of the failure would start another deployment.
            let hints = vec![format!("{status_command} in a minute; deploy again only after that")];
            let text = format!(
                "{as_before}, but the request to deploy was sent and not answered: the new version may still go live"
            );
            AfterFailure { live: None, status: DeployStatus::Unknown, text, hints }
        }
        Ok(live) => {
            let previous = previous.unwrap_or("none");
            let text = match &live {
                Some(now) => {
                    format!("version {} is live now; before it was {previous}", now.version)
                }
                None => format!("nothing is live now; before it was {previous}"),
            };
            hints.push(next_step(run, before, live.as_ref(), status_command));
            AfterFailure { live, status: changed, text, hints }
        }
        Err(error) => {
            hints.push(status_command);
            let text = format!("what is live now cannot be read: {error:#}");
            let status = if is_open { DeployStatus::Unknown } else { changed };
            AfterFailure { live: None, status, text, hints }
        }
    }
}

/// Returns true if a failed upload may still make its version live: the request was or may have been
/// sent and has no response. Without a new version this is impossible.
fn may_go_live(run: &ProjectRun<'_>, before: &PreviousState, failed: &FailedUpload) -> bool {
    let state = deploy_request_state(&format!("{:#}", failed.error), &run.project.target.worker);
    if before.live.is_none() {
        // The first upload of a Worker makes its version live.
        return failed.is_killed || state == Some(RequestState::Open);
    }
    if state == Some(RequestState::Refused) {
        return false;
    }
    let newest = run.ask(|api| api.newest_versions(&run.project.target.worker));
    let newest = newest.ok().and_then(|versions| Some(versions.first()?.id.clone()));
    newest.is_none() || before.newest.is_none() || newest != before.newest
}

/// Returns the next step if the live version changed.
fn next_step(
    run: &ProjectRun<'_>,
    before: &PreviousState,
    now: Option<&Live>,
    status_command: String,
) -> String {
    let is_ours = now.is_some_and(|live| live.tag.as_deref() == Some(&run.project.key));
    let again = run.command_line("deploy");
    match &before.live {
        _ if !is_ours => status_command,
        None => format!("to finish (addresses, schedules), run `{again} --force`"),
        Some(previous) => format!(
            "to finish (addresses, schedules), run `{again} --force`; to go back, run `{} --to {}`",
            run.command_line("rollback"),
            previous.version
        ),
    }
}
