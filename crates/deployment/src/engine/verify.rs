//! Verifies an uploaded version with the API and its own responses, and rolls back a wrong one.

use std::time::{Duration, Instant};

use crate::engine::deployment::UploadedVersion;
use crate::engine::health::response::Unclear;
use crate::engine::health::{Limits, Verdict, advice, setting};
use crate::engine::live::{PreviousState, read_triggers};
use crate::engine::project_run::ProjectRun;
use crate::engine::traffic::rollback::NOT_CHECKED;
use crate::engine::traffic::{
    Traffic, divide, live_version, not_rolled_back, route_traffic, version_url,
};
use crate::plan::Operation;
use crate::record::DeployStatus;
use base::error::{Error, Result, failed, interrupted, remote};
use base::runner::is_interrupted;
use cloudflare::api;
use cloudflare::api::Live;
use workspace::triggers;

/// The findings of a verification, whether it succeeded or not.
#[derive(Debug, Default)]
pub struct Verification {
    /// The live version now. `None` if nothing is live, or if it could not be read.
    pub live: Option<Live>,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The time until the responses were right.
    pub duration: Option<Duration>,
    /// `true` if the version has its percentage of the traffic.
    pub is_routed: bool,
}

/// The end of a deployment that did not fail.
#[derive(Debug)]
pub struct VerifyOutcome {
    /// The status of the record.
    pub status: DeployStatus,
    /// The reason of a rollback.
    pub rollback: Option<Error>,
}

impl VerifyOutcome {
    fn new(status: DeployStatus) -> VerifyOutcome {
        VerifyOutcome { status, rollback: None }
    }
}

/// Verifies an uploaded version.
pub struct Verifier<'a> {
    run: &'a ProjectRun<'a>,
    before: &'a PreviousState,
    uploaded: &'a UploadedVersion,
    started: Instant,
    findings: Verification,
}

impl<'a> Verifier<'a> {
    /// Creates a verifier of a version that was `uploaded` after the state `before`.
    #[must_use]
    pub fn new(
        run: &'a ProjectRun<'a>,
        before: &'a PreviousState,
        uploaded: &'a UploadedVersion,
    ) -> Verifier<'a> {
        let findings = Verification::default();
        Verifier { run, before, uploaded, started: Instant::now(), findings }
    }

    /// Verifies the version. Returns the findings even after a failure.
    pub fn verify(mut self) -> (Verification, Result<VerifyOutcome>) {
        self.run.step("check that it answers");
        let result = match (self.run.plan.operation, self.run.plan.options.percent) {
            (Operation::Preview, _) => self.verify_preview(),
            (_, Some(percent)) => self.verify_share(percent),
            (_, None) => self.verify_deployment(),
        };
        (self.findings, result)
    }

    fn verify_deployment(&mut self) -> Result<VerifyOutcome> {
        self.require_uploaded_version("deployed")?;
        let own_url = || self.version_url();
        let urls = &self.uploaded.version.urls;
        match self.check(self.findings.live.as_ref(), urls, own_url) {
            Verdict::Right { notes } => {
                self.findings.warnings.extend(notes);
                self.findings.duration = Some(self.started.elapsed());
                Ok(VerifyOutcome::new(DeployStatus::Live))
            }
            Verdict::Wrong(what) => {
                not_interrupted(self.run, "this version is live, and was not checked")?;
                self.roll_back(&format!("deployed, but {what}"))
            }
            Verdict::Unknown(unclear) => {
                not_interrupted(self.run, "this version is live, and was not checked")?;
                let failure = remote(format!(
                    "deployed, and version {} is live, but the health check cannot tell whether it is right: {}",
                    self.uploaded.version.id, unclear.what
                ));
                let hints = advice(&unclear, &self.run.project.manifest);
                let failure = hints.into_iter().fold(failure, Error::hint);
                let undo = self.run.command_line("rollback");
                Err(failure.hint(format!("check the project yourself; to undo, run `{undo}`")))
            }
        }
    }

    /// Routes its percentage of the traffic to the uploaded version after the check of its preview URL. Before that it
    /// gets no traffic, so a wrong version needs no rollback.
    fn verify_share(&mut self, percent: u8) -> Result<VerifyOutcome> {
        let (run, before) = (self.run, self.before);
        self.findings.live.clone_from(&before.live);
        let Some(live) = &before.live else {
            return Err(failed("a gradual deployment needs a live version"));
        };
        match self.version_url() {
            None => self.findings.warnings.push(NOT_CHECKED.to_owned()),
            Some(url) => {
                let verdict = self.check(None, &[url], || None);
                if let Some(what) = self.reason_against(verdict) {
                    not_interrupted(run, "the version was uploaded and gets no traffic")?;
                    return Err(failed(format!(
                        "uploaded, but {what}; the version gets no traffic, and {} is still live",
                        live.version
                    ))
                    .hint(setting(&run.project.manifest)));
                }
            }
        }
        not_interrupted(run, "the version was uploaded and gets no traffic")?;
        run.step(&format!("give it {percent} % of the traffic"));
        let triggers = live.triggers.as_deref().map(triggers::mark).unwrap_or_default();
        let glass = run.plan.destination.break_glass.as_ref();
        let glass = glass.map(|reason| format!(": {reason}")).unwrap_or_default();
        let message = format!("xtask: {percent} % of the traffic{triggers}{glass}");
        let from = &live.version;
        let shares = divide(&self.uploaded.version.id, percent, from);
        let worker = &run.project.target.worker;
        let traffic = Traffic { worker, from, shares, message: &message };
        let retry_budget = &run.ctx.retry_budget;
        let routed = run.ask(|api| Ok(route_traffic(&traffic, api, retry_budget)))?;
        self.findings.live = routed.live;
        routed
            .result
            .map_err(|failure| failure.hint(format!("run `{}`", run.command_line("status"))))?;
        self.findings.is_routed = true;
        self.findings.duration = Some(self.started.elapsed());
        if live.triggers.as_deref() != Some(&run.project.triggers.digest) {
            self.findings.warnings.push(format!(
                "the crons, routes, domains and settings of {} were not applied; `{}` applies them",
                run.project.config,
                run.command_line("deploy")
            ));
        }
        Ok(VerifyOutcome::new(DeployStatus::Live))
    }

    fn verify_preview(&mut self) -> Result<VerifyOutcome> {
        let (run, before) = (self.run, self.before);
        self.findings.live.clone_from(&before.live);
        let urls = &self.uploaded.version.urls;
        if urls.is_empty() {
            return Err(failed("uploaded, but Cloudflare gave no preview address")
                .hint("set `preview_urls` to true in the config and deploy it once"));
        }
        let verdict = self.check(before.live.as_ref(), urls, || None);
        if let Some(what) = self.reason_against(verdict) {
            not_interrupted(run, "the preview was uploaded, and not checked")?;
            return Err(failed(format!("uploaded, but {what}"))
                .hint("check the URL and the code; nothing of it is live")
                .hint(setting(&run.project.manifest)));
        }
        self.read_live("uploaded")?;
        let now = self.findings.live.as_ref().map(|live| live.version.as_str());
        if now != before.version() {
            return Err(remote("another version was deployed while this preview was made")
                .hint(format!("run `{}`", run.command_line("status"))));
        }
        self.findings.duration = Some(self.started.elapsed());
        Ok(VerifyOutcome::new(DeployStatus::Ready))
    }

    fn check(
        &self,
        live: Option<&Live>,
        urls: &[String],
        own: impl FnOnce() -> Option<String>,
    ) -> Verdict {
        let limits = Limits::of_new_version(&self.run.plan.destination);
        let output = self.uploaded.output.as_deref();
        self.run.check_version(live, output, urls, own, limits)
    }

    /// Returns the reason why a version without traffic fails the check. A guard in front of its URL is only a warning,
    /// because a login in front of previews is common.
    fn reason_against(&mut self, verdict: Verdict) -> Option<String> {
        match verdict {
            Verdict::Right { notes } => self.findings.warnings.extend(notes),
            Verdict::Unknown(unclear) if unclear.cause.is_guard() => {
                let advice = advice(&unclear, &self.run.project.manifest).join("; ");
                self.findings.warnings.push(format!("not checked: {}; {advice}", unclear.what));
            }
            Verdict::Wrong(what) | Verdict::Unknown(Unclear { what, .. }) => return Some(what),
        }
        None
    }

    /// Reads the live version after something was `done`. If that fails, it is unknown: the previous live version may
    /// be out of date.
    fn read_live(&mut self, done: &str) -> Result<()> {
        self.findings.live = None;
        let read = self.run.live();
        if read.is_err() {
            not_interrupted(self.run, &format!("{done}, and not checked"))?;
        }
        self.findings.live = read.map_err(|error| {
            remote(format!("{done}, but what is live cannot be read: {error:#}"))
                .hint(api::next_step(&error))
                .hint(format!("then run `{}`", self.run.command_line("status")))
        })?;
        Ok(())
    }

    /// Returns the preview URL of the uploaded version, which has no zone in front of it.
    fn version_url(&self) -> Option<String> {
        let (destination, worker) = (&self.run.plan.destination, &self.run.project.target.worker);
        let version = &self.uploaded.version.id;
        self.run.ask(|api| Ok(version_url(api, destination, worker, version))).ok()?
    }

    /// Reads the live version, and errors if it is not the uploaded one.
    fn require_uploaded_version(&mut self, done: &str) -> Result<()> {
        self.read_live(done)?;
        let serving = live_version(self.findings.live.as_ref());
        if serving == self.uploaded.version.id {
            return Ok(());
        }
        let status = self.run.command_line("status");
        if self.before.version() == Some(serving) {
            return Err(remote(format!(
                "{done} {}, but version {serving} is still live, as before",
                self.uploaded.version.id
            ))
            .hint(format!("run `{status}` in a minute, then deploy again with `--force`")));
        }
        Err(remote(format!("{done}, but another deployment came in between: {serving} is live"))
            .hint(format!("run `{status}`, then deploy what should be live")))
    }

    /// Makes the previous version live again. `why` is the problem of the new one.
    fn roll_back(&mut self, why: &str) -> Result<VerifyOutcome> {
        let (run, before) = (self.run, self.before);
        let Some(previous) = before.version().filter(|_| run.plan.options.rollback) else {
            return Err(remote(why.to_owned())
                .hint("this version is live; fix it and deploy again")
                .hint(setting(&run.project.manifest)));
        };
        // Another run may have fixed it in the meantime. We do not undo that.
        self.require_uploaded_version(why)?;
        run.step("roll back");
        let message = format!(
            "xtask: back to {previous}, its successor is wrong{}",
            triggers::mark(&run.project.triggers.digest)
        );
        // Restores the percentages of versions that shared the traffic.
        let shared = before.live.as_ref().map(|live| live.shares.as_slice()).unwrap_or_default();
        let shares = match shared {
            [] => vec![(previous, 100.0)],
            _ => shared.iter().map(|one| (one.version_id.as_str(), one.percentage)).collect(),
        };
        let (worker, from) = (&run.project.target.worker, &self.uploaded.version.id);
        let traffic = Traffic { worker, from, shares, message: &message };
        let retry_budget = &run.ctx.retry_budget;
        let routed = run.ask(|api| Ok(route_traffic(&traffic, api, retry_budget)))?;
        self.findings.live = routed.live.or(self.findings.live.take());
        match routed.result {
            Ok(()) => rolled_back(run, before, previous, why),
            Err(failure) => {
                let retry = format!("run `{} --to {previous}`", run.command_line("rollback"));
                Err(not_rolled_back(why, previous, &failure.hint(retry)))
            }
        }
    }
}

/// Errors if this run was interrupted. That is not a verdict on the version.
fn not_interrupted(run: &ProjectRun<'_>, state: &str) -> Result<()> {
    if is_interrupted() {
        let message = format!("interrupted; {state}");
        return Err(interrupted()
            .with_message(message)
            .hint(format!("run `{}`", run.command_line("status"))));
    }
    Ok(())
}

/// Ends a rollback. Errors if triggers or settings of the deployment remain.
fn rolled_back(
    run: &ProjectRun<'_>,
    before: &PreviousState,
    previous: &str,
    why: &str,
) -> Result<VerifyOutcome> {
    let live = before.live.as_ref().filter(|live| !live.shares.is_empty());
    let share =
        live.map(|live| format!(", with {} % of the traffic", live.percentage_of(previous)));
    let share = share.unwrap_or_default();
    let back = format!("{why}\nthe previous version {previous} is live again{share}");
    let remaining = match &before.triggers {
        None => Err("the crons, routes and domains from before are not known".to_owned()),
        Some(triggers) => read_triggers(run.ctx, &run.plan.destination, &run.project.target.worker)
            .map(|now| now.changes_since(triggers))
            .map_err(|error| format!("crons, routes and domains cannot be read: {error:#}")),
    };
    let rest = match remaining {
        Ok(remaining) if remaining.is_empty() => {
            let reason = failed(back)
                .hint("fix it and deploy again; `--no-rollback` leaves a wrong version live")
                .hint(setting(&run.project.manifest));
            return Ok(VerifyOutcome { status: DeployStatus::RolledBack, rollback: Some(reason) });
        }
        Ok(remaining) => remaining.join(", "),
        Err(reason) => reason,
    };
    Err(remote(format!(
        "{back}, but a rollback does not undo what the deployment changed beside it: {rest}"
    ))
    .hint("check out the previous commit and deploy it with `--force`, which sets them again")
    .hint(setting(&run.project.manifest)))
}
