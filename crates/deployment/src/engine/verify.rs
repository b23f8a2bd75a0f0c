//! Verifies an uploaded version with the API and its own responses, and rolls back a wrong one.

use std::time::Instant;

use super::build_output::BuildOutput;
use super::check::{Checker, Limits, ServiceToken, Verdict, advice, setting};
use super::deployment::Uploaded;
use super::job::{ProjectRun, millis};
use super::live::{PreviousState, read_attached};
use super::response::{Cause, ExpectedResponse, Unclear};
use super::rollback::NOT_CHECKED;
use super::traffic::{Traffic, divide, live_version, not_rolled_back, route_traffic};
use crate::plan::Operation;
use crate::record::DeployStatus;
use base::error::{Error, Result, failed, interrupted, remote};
use base::runner::is_interrupted;
use cloudflare::api;
use cloudflare::api::Live;
use workspace::health::Health;
use workspace::triggers;

/// The findings of a verification, whether it succeeded or not.
#[derive(Debug, Default)]
pub struct Verification {
    /// The live version now. `None` if nothing is live, or if it could not be read.
    pub live: Option<Live>,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The time in milliseconds until the responses were right.
    pub took: Option<u64>,
    /// `true` if the version has its percentage of the traffic.
    pub is_routed: bool,
}

/// The status of the record, and the reason of a rollback. Or the failure.
type VerifyResult = Result<(DeployStatus, Option<Error>)>;

/// Verifies the uploaded version. Returns the findings even after a failure.
pub fn verify(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
) -> (Verification, VerifyResult) {
    job.step("check that it answers");
    let mut verified = Verification::default();
    let result = match job.run.plan.operation {
        Operation::Preview => verify_preview(job, before, uploaded, &mut verified),
        _ if job.run.plan.options.percent.is_some() => {
            verify_share(job, before, uploaded, &mut verified)
        }
        _ => verify_deployment(job, before, uploaded, &mut verified),
    };
    (verified, result)
}

fn verify_deployment(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
    verified: &mut Verification,
) -> VerifyResult {
    let started = Instant::now();
    still_serves(job, before, uploaded, "deployed", verified)?;
    let limits = Limits::of_new_version(&job.run.plan.destination);
    let own_url = || own_address(job, &uploaded.version.id);
    let live = verified.live.as_ref();
    match check(job, live, uploaded.built.as_deref(), &uploaded.version.urls, own_url, limits) {
        Verdict::Right { notes } => {
            verified.warnings.extend(notes);
            verified.took = Some(millis(started.elapsed()));
            Ok((DeployStatus::Live, None))
        }
        Verdict::Wrong(what) => {
            not_interrupted(job, "this version is live, and was not checked")?;
            roll_back(job, before, uploaded, &format!("deployed, but {what}"), verified)
        }
        Verdict::Unknown(unclear) => {
            not_interrupted(job, "this version is live, and was not checked")?;
            let failure = remote(format!(
                "deployed, and version {} is live, but the health check cannot tell whether it is right: {}",
                uploaded.version.id, unclear.what
            ));
            let hints = advice(&unclear, &job.part.manifest);
            let failure = hints.into_iter().fold(failure, Error::hint);
            let undo = job.command_line("rollback");
            Err(failure.hint(format!("check the project yourself; to undo, run `{undo}`")))
        }
    }
}

/// Routes its percentage of the traffic to the uploaded version after the check of its preview URL. Before that it gets
/// no traffic, so a wrong version needs no rollback.
fn verify_share(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
    verified: &mut Verification,
) -> VerifyResult {
    let started = Instant::now();
    verified.live.clone_from(&before.live);
    let (Some(percent), Some(live)) = (job.run.plan.options.percent, &before.live) else {
        return Err(failed("a gradual deployment needs a live version"));
    };
    match own_address(job, &uploaded.version.id) {
        None => verified.warnings.push(NOT_CHECKED.to_owned()),
        Some(url) => {
            let limits = Limits::of_new_version(&job.run.plan.destination);
            let verdict = check(job, None, uploaded.built.as_deref(), &[url], || None, limits);
            if let Some(what) = reason_against(job, verdict, verified) {
                not_interrupted(job, "the version was uploaded and gets no traffic")?;
                return Err(failed(format!(
                    "uploaded, but {what}; the version gets no traffic, and {} is still live",
                    live.version
                ))
                .hint(setting(&job.part.manifest)));
            }
        }
    }
    not_interrupted(job, "the version was uploaded and gets no traffic")?;
    job.step(&format!("give it {percent} % of the traffic"));
    let triggers = live.triggers.as_deref().map(triggers::mark).unwrap_or_default();
    let glass = job.run.plan.destination.break_glass.as_ref();
    let glass = glass.map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("xtask: {percent} % of the traffic{triggers}{glass}");
    let worker = &job.part.target.worker;
    let from = &live.version;
    let shares = divide(&uploaded.version.id, percent, from);
    let traffic = Traffic { worker, from, shares, message: &message };
    let retry_budget = &job.run.ctx.retry_budget;
    let routed = job.ask(|api| Ok(route_traffic(&traffic, api, retry_budget)))?;
    verified.live = routed.live;
    routed
        .result
        .map_err(|failure| failure.hint(format!("run `{}`", job.command_line("status"))))?;
    verified.is_routed = true;
    verified.took = Some(millis(started.elapsed()));
    if live.triggers.as_deref() != Some(&job.part.triggers.digest) {
        verified.warnings.push(format!(
            "the crons, routes, domains and settings of {} were not applied; `{}` applies them",
            job.part.config,
            job.command_line("deploy")
        ));
    }
    Ok((DeployStatus::Live, None))
}

/// Returns the reason why a version without traffic fails the check. A guard in front of its URL is only a warning,
/// because a login in front of previews is common.
fn reason_against(
    job: &ProjectRun<'_>,
    verdict: Verdict,
    verified: &mut Verification,
) -> Option<String> {
    match verdict {
        Verdict::Right { notes } => verified.warnings.extend(notes),
        Verdict::Unknown(unclear) if unclear.cause.is_guard() => {
            let advice = advice(&unclear, &job.part.manifest).join("; ");
            verified.warnings.push(format!("not checked: {}; {advice}", unclear.what));
        }
        Verdict::Wrong(what) | Verdict::Unknown(Unclear { what, .. }) => return Some(what),
    }
    None
}

fn verify_preview(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
    verified: &mut Verification,
) -> VerifyResult {
    let started = Instant::now();
    verified.live.clone_from(&before.live);
    if uploaded.version.urls.is_empty() {
        return Err(failed("uploaded, but Cloudflare gave no preview address")
            .hint("set `preview_urls` to true in the config and deploy it once"));
    }
    let limits = Limits::of_new_version(&job.run.plan.destination);
    let live = before.live.as_ref();
    let verdict =
        check(job, live, uploaded.built.as_deref(), &uploaded.version.urls, || None, limits);
    if let Some(what) = reason_against(job, verdict, verified) {
        not_interrupted(job, "the preview was uploaded, and not checked")?;
        return Err(failed(format!("uploaded, but {what}"))
            .hint("check the URL and the code; nothing of it is live")
            .hint(setting(&job.part.manifest)));
    }
    read_again(job, "uploaded", verified)?;
    let now = verified.live.as_ref().map(|live| live.version.as_str());
    if now != before.version() {
        return Err(remote("another version was deployed while this preview was made")
            .hint(format!("run `{}`", job.command_line("status"))));
    }
    verified.took = Some(millis(started.elapsed()));
    Ok((DeployStatus::Ready, None))
}

/// Checks the project at `urls`, and at the version's `own` URL if they prove nothing. `live` is the live
/// version, if it is known. A Worker without a `fetch` handler is not requested.
pub(super) fn check(
    job: &ProjectRun<'_>,
    live: Option<&Live>,
    built: Option<&BuildOutput>,
    urls: &[String],
    own: impl FnOnce() -> Option<String>,
    limits: Limits,
) -> Verdict {
    let Some(expected) = ExpectedResponse::new(job.part, built) else {
        return Verdict::Right { notes: Vec::new() };
    };
    let is_default = job.part.health == Health::Default && job.part.may_have_code();
    if is_default && live.is_some_and(Live::answers_no_request) {
        return Verdict::Right { notes: Vec::new() };
    }
    match ServiceToken::from_variables(job.run.ctx) {
        Ok(token) => {
            Checker { expected: &expected, token: token.as_ref() }.check(urls, own, limits)
        }
        Err(failure) => {
            let what = format!("was not asked: {failure:#}");
            Verdict::Unknown(Unclear { what, cause: Cause::Other })
        }
    }
}

/// Returns the preview URL of this version, which has no zone in front of it. `None` if preview URLs are
/// off, too long, or cannot be read.
fn own_address(job: &ProjectRun<'_>, version: &str) -> Option<String> {
    let (worker, short) = (&job.part.target.worker, version.get(..8)?);
    let suffix = job.ask(|api| api.preview_suffix(worker)).ok()??;
    job.run.plan.destination.preview_url(short, worker, &suffix)
}

/// Reads the live version after something was `done`. If that fails, it is unknown: the previous live version may
/// be out of date.
fn read_again(job: &ProjectRun<'_>, done: &str, verified: &mut Verification) -> Result<()> {
    verified.live = None;
    let read = job.live();
    if read.is_err() {
        not_interrupted(job, &format!("{done}, and not checked"))?;
    }
    verified.live = read.map_err(|error| {
        remote(format!("{done}, but what is live cannot be read: {error:#}"))
            .hint(api::next_step(&error))
            .hint(format!("then run `{}`", job.command_line("status")))
    })?;
    Ok(())
}

/// Errors if another version is live than the uploaded one.
fn still_serves(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
    done: &str,
    verified: &mut Verification,
) -> Result<()> {
    read_again(job, done, verified)?;
    let serving = live_version(verified.live.as_ref());
    if serving == uploaded.version.id {
        return Ok(());
    }
    let status = job.command_line("status");
    if before.version() == Some(serving) {
        return Err(remote(format!(
            "{done} {}, but version {serving} is still live, as before",
            uploaded.version.id
        ))
        .hint(format!("run `{status}` in a minute, then deploy again with `--force`")));
    }
    Err(remote(format!("{done}, but another deployment came in between: {serving} is live"))
        .hint(format!("run `{status}`, then deploy what should be live")))
}

/// Errors if this run was interrupted. That is not a verdict on the version.
fn not_interrupted(job: &ProjectRun<'_>, state: &str) -> Result<()> {
    if is_interrupted() {
        let message = format!("interrupted; {state}");
        return Err(interrupted()
            .with_message(message)
            .hint(format!("run `{}`", job.command_line("status"))));
    }
    Ok(())
}

/// Makes the previous version live again. `why` is the problem of the new one.
fn roll_back(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    uploaded: &Uploaded,
    why: &str,
    verified: &mut Verification,
) -> VerifyResult {
    let Some(previous) = before.version().filter(|_| job.run.plan.options.rollback) else {
        return Err(remote(why.to_owned())
            .hint("this version is live; fix it and deploy again")
            .hint(setting(&job.part.manifest)));
    };
    // Another run may have fixed it in the meantime. We do not undo that.
    still_serves(job, before, uploaded, why, verified)?;
    job.step("roll back");
    let message = format!(
        "xtask: back to {previous}, its successor is wrong{}",
        triggers::mark(&job.part.triggers.digest)
    );
    let worker = &job.part.target.worker;
    // Restores the percentages of versions that shared the traffic.
    let shared = before.live.as_ref().map(|live| live.shares.as_slice()).unwrap_or_default();
    let shares = match shared {
        [] => vec![(previous, 100.0)],
        _ => shared.iter().map(|one| (one.version_id.as_str(), one.percentage)).collect(),
    };
    let traffic = Traffic { worker, from: &uploaded.version.id, shares, message: &message };
    let retry_budget = &job.run.ctx.retry_budget;
    let routed = job.ask(|api| Ok(route_traffic(&traffic, api, retry_budget)))?;
    verified.live = routed.live.or(verified.live.take());
    match routed.result {
        Ok(()) => rolled_back(job, before, previous, why),
        Err(failure) => {
            let retry = format!("run `{} --to {previous}`", job.command_line("rollback"));
            Err(not_rolled_back(why, previous, &failure.hint(retry)))
        }
    }
}

/// Ends a rollback. Errors if triggers or settings of the deployment remain.
fn rolled_back(
    job: &ProjectRun<'_>,
    before: &PreviousState,
    previous: &str,
    why: &str,
) -> VerifyResult {
    let live = before.live.as_ref().filter(|live| !live.shares.is_empty());
    let part = live.map(|live| format!(", with {} % of the traffic", live.percentage_of(previous)));
    let part = part.unwrap_or_default();
    let back = format!("{why}\nthe previous version {previous} is live again{part}");
    let remaining = match &before.attached {
        None => Err("the crons, routes and domains from before are not known".to_owned()),
        Some(attached) => {
            read_attached(job.run.ctx, &job.run.plan.destination, &job.part.target.worker)
                .map(|now| now.changes_since(attached))
                .map_err(|error| format!("crons, routes and domains cannot be read: {error:#}"))
        }
    };
    let rest = match remaining {
        Ok(remaining) if remaining.is_empty() => {
            let reason = failed(back)
                .hint("fix it and deploy again; `--no-rollback` leaves a wrong version live")
                .hint(setting(&job.part.manifest));
            return Ok((DeployStatus::RolledBack, Some(reason)));
        }
        Ok(remaining) => remaining.join(", "),
        Err(reason) => reason,
    };
    Err(remote(format!(
        "{back}, but a rollback does not undo what the deployment changed beside it: {rest}"
    ))
    .hint("check out the previous commit and deploy it with `--force`, which sets them again")
    .hint(setting(&job.part.manifest)))
}
