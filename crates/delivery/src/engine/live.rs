//! Reads what is live, checks what was deployed, and rolls back.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::answer::{Cause, Expected, Unclear};
use super::attempt::{Attempt, millis};
use super::check::{Checker, Limits, ServiceToken, Verdict, advice, setting};
use super::traffic::{Traffic, not_rolled_back, route_traffic};
use crate::context::Ctx;
use crate::plan::destination::Destination;
use crate::plan::{ProjectPlan, Verb};
use crate::record::Status;
use crate::tools::sandbox;
use base::error::{Failure, failed, interrupted, refused, remote};
use base::runner::INTERRUPTED;
use base::secret::Secret;
use cloudflare::api;
use cloudflare::api::{Api, Attached, Live};
use cloudflare::wrangler::requests::{Order, deploying_order};
use workspace::health::Health;
use workspace::strategy::Strategy;
use workspace::triggers;

/// How long after a deploying request without an answer it is looked for what became of it.
const OPEN: Duration = Duration::from_secs(5);

impl Attempt<'_> {
    /// Reads what is live before anything is changed.
    pub(super) fn read_previous(&mut self) -> Result<(), Failure> {
        self.step("read what is live");
        self.record.previous =
            self.read("what is live", |api| api.live(&self.part.target.worker))?;
        self.record.live = self.record.previous.clone();
        Ok(())
    }

    /// Reads which crons, routes and domains are set before a deployment, and warns of those that it takes
    /// away or leaves. A token may not be allowed to read them, which stops no deployment.
    pub(super) fn read_attached(&mut self) {
        let versions = self.with_api(|api| api.versions(&self.part.target.worker));
        self.newest = versions.ok().and_then(|versions| Some(versions.first()?.id.clone()));
        let triggers = &self.part.triggers;
        match self.attached() {
            Ok(attached) => {
                let removed = attached.removed_by(triggers).into_iter();
                let removed = removed.map(|what| format!("this deployment takes away {what}"));
                let left = attached.left_by(triggers).into_iter().map(|what| {
                    format!("{what} stays set, although {} does not name it", self.part.config)
                });
                self.record.warnings.extend(removed.chain(left));
                self.attached = Some(Box::new(attached));
            }
            Err(error) => self.record.warnings.push(format!(
                "the crons, routes and domains that are set cannot be read, so nothing is said about those \
                 that this deployment takes away: {error:#}"
            )),
        }
    }

    fn attached(&self) -> Result<Attached> {
        attached(self.run.ctx, &self.run.plan.destination, &self.part.target.worker)
    }

    /// Names what the rolled back deployment changed beside its version and what a rollback leaves.
    fn left_after_rollback(&self) -> Result<Vec<String>, String> {
        let Some(before) = &self.attached else {
            return Err("the crons, routes and domains from before are not known".to_owned());
        };
        let now = self.attached();
        let now =
            now.map_err(|error| format!("crons, routes and domains cannot be read: {error:#}"))?;
        Ok(now.changes_since(before))
    }

    /// Whether the content of this plan is there already, and answers.
    pub(super) fn unchanged(&mut self) -> Result<bool> {
        if self.run.plan.force {
            return Ok(false);
        }
        let preview = self.run.plan.verb == Verb::Preview;
        let found = if preview { self.preview_by_key()? } else { self.live_by_key()? };
        let Some((version, urls)) = found else { return Ok(false) };
        match self.check(&urls, || None, Limits::of_live_version()) {
            Verdict::Right { notes } => self.record.warnings.extend(notes),
            // To deploy the same content again would change nothing about a guard in front of it.
            Verdict::Unknown(Unclear { what, cause }) if cause.is_guard() => {
                self.record.warnings.push(what);
            }
            Verdict::Wrong(_) | Verdict::Unknown(_) => return Ok(false),
        }
        self.record_id(version);
        self.record.urls = urls;
        Ok(true)
    }

    fn live_by_key(&self) -> Result<Option<(String, Vec<String>)>> {
        let live = self.record.previous.clone();
        let is_same = |live: &Live| {
            live.tag.as_deref() == Some(&self.part.key)
                && live.triggers.as_deref() == Some(&self.part.triggers.digest)
        };
        let Some(live) = live.filter(is_same) else {
            return Ok(None);
        };
        let worker = &self.part.target.worker;
        let urls = match self.run.plan.destination.sandbox_url(worker) {
            Some(url) => vec![url],
            None => {
                let domains =
                    self.part.target.domains.iter().map(|domain| format!("https://{domain}/"));
                domains.chain(self.read("its address", |api| api.address(worker))?).collect()
            }
        };
        Ok(Some((live.version, urls)))
    }

    /// The newest version with the plan's alias, when it carries the plan's key.
    fn preview_by_key(&self) -> Result<Option<(String, Vec<String>)>> {
        let (worker, Some(alias)) = (&self.part.target.worker, &self.part.alias) else {
            return Ok(None);
        };
        if self.part.strategy == Some(Strategy::Preview) {
            return self.deployment_by_key(worker, alias);
        }
        let versions = self.read("its versions", |api| api.versions(worker))?;
        let newest =
            versions.iter().find(|version| version.annotation("workers/alias") == Some(alias));
        let same =
            newest.filter(|version| version.annotation("workers/tag") == Some(&self.part.key));
        let Some(version) = same else { return Ok(None) };
        let urls = match self.preview_urls(&version.id) {
            Some(urls) => urls,
            None => {
                let suffix = self.read("its addresses", |api| api.preview_suffix(worker))?;
                let Some(suffix) = suffix else { return Ok(None) };
                vec![
                    format!("https://{alias}{suffix}/"),
                    format!("https://{}{suffix}/", version.id.get(..8).unwrap_or(&version.id)),
                ]
            }
        };
        Ok(Some((version.id.clone(), urls)))
    }

    /// `wrangler preview` makes a preview without any address where those are off, and calls it done.
    pub(super) fn refuse_without_addresses(&self) -> Result<()> {
        let worker = &self.part.target.worker;
        if self.read("its addresses", |api| api.preview_suffix(worker))?.is_some() {
            return Ok(());
        }
        Err(refused(format!("the preview addresses of the Worker `{worker}` are off"))
            .hint(format!("{} has `preview_urls`, but a deployment turns it on", self.part.config))
            .hint(format!(
                "`cargo xtask deploy {} --env {} --force` once",
                self.part.project, self.record.environment
            ))
            .into())
    }

    /// The latest deployment of the preview called `name`, when it carries the plan's key.
    fn deployment_by_key(&self, worker: &str, name: &str) -> Result<Option<(String, Vec<String>)>> {
        let Some(preview) = self.read("the preview", |api| api.preview(worker, name))? else {
            return Ok(None);
        };
        let latest = |api: &Api<'_>| api.preview_deployment(worker, &preview.id);
        let Some(latest) = self.read("the preview", latest)? else { return Ok(None) };
        let tag = latest.annotations.get("workers/tag").and_then(|tag| tag.as_str());
        if tag != Some(&self.part.key) {
            return Ok(None);
        }
        let given = || preview.urls.first().into_iter().chain(latest.urls.first()).cloned();
        let urls = self.preview_urls(&latest.id).unwrap_or_else(|| given().collect());
        Ok((!urls.is_empty()).then_some((latest.id, urls)))
    }

    /// The addresses of a preview in the sandbox; none elsewhere.
    pub(super) fn preview_urls(&self, version: &str) -> Option<Vec<String>> {
        let (worker, alias) = (&self.part.target.worker, self.part.alias.as_ref()?);
        let short = version.get(..8)?;
        let labels = [format!("{alias}-{worker}"), format!("{short}-{worker}")];
        labels.iter().map(|label| self.run.plan.destination.sandbox_url(label)).collect()
    }

    /// Checks that the deployment is what serves, by the API and by the project's own answers.
    pub(super) fn check_deployment(&mut self) -> Result<Status> {
        self.step("check that it answers");
        let started = Instant::now();
        self.still_serving("deployed")?;
        let urls = self.record.urls.clone();
        let verdict = self.check(&urls, || self.own_address(), self.limits());
        match verdict {
            Verdict::Right { notes } => {
                self.record.warnings.extend(notes);
                self.record.timings.check = Some(millis(started.elapsed()));
                Ok(Status::Live)
            }
            Verdict::Wrong(what) => {
                self.uninterrupted("this version is live, and was not checked")?;
                self.put_back(&format!("deployed, but {what}"))
            }
            Verdict::Unknown(unclear) => {
                self.uninterrupted("this version is live, and was not checked")?;
                let version = self.record.version.as_deref().unwrap_or("none");
                let failure = remote(format!(
                    "deployed, and version {version} is live, but the health check cannot tell whether it is right: {}",
                    unclear.what
                ));
                let hints = advice(&unclear, &self.part.manifest);
                let failure = hints.into_iter().fold(failure, Failure::hint);
                Err(failure
                    .hint(format!(
                        "check the project yourself; to undo: `{}`",
                        self.by_hand("rollback")
                    ))
                    .into())
            }
        }
    }

    /// Checks that a preview answers, and that what is live is what was.
    pub(super) fn check_preview(&mut self) -> Result<Status> {
        self.step("check that it answers");
        let started = Instant::now();
        if self.record.urls.is_empty() {
            return Err(failed("uploaded, but Cloudflare gave no preview address")
                .hint("`preview_urls` must be true in the config that was deployed last")
                .into());
        }
        let urls = self.record.urls.clone();
        match self.check(&urls, || None, self.limits()) {
            Verdict::Right { notes } => self.record.warnings.extend(notes),
            // A login in front of previews is common, and people have it.
            Verdict::Unknown(unclear) if unclear.cause.is_guard() => {
                let advice = advice(&unclear, &self.part.manifest).join("; ");
                self.record.warnings.push(format!("not checked: {}; {advice}", unclear.what));
            }
            Verdict::Wrong(what) | Verdict::Unknown(Unclear { what, .. }) => {
                self.uninterrupted("the preview was uploaded, and not checked")?;
                return Err(failed(format!("uploaded, but {what}"))
                    .hint("nothing of it is live; look at the address, or at the code")
                    .hint(setting(&self.part.manifest))
                    .into());
            }
        }
        self.read_again("uploaded")?;
        let version = |live: &Option<Live>| live.as_ref().map(|live| live.version.clone());
        if version(&self.record.live) != version(&self.record.previous) {
            return Err(remote("another version was deployed while this preview was made")
                .hint(format!("look: `{}`", self.by_hand("status")))
                .into());
        }
        self.record.timings.check = Some(millis(started.elapsed()));
        Ok(Status::Ready)
    }

    fn limits(&self) -> Limits {
        Limits::of_new_version(&self.run.plan.destination)
    }

    /// Asks the project at `urls`, and at the version's `own` address where that proves nothing. A
    /// Worker without a `fetch` handler has no answer to give.
    fn check(
        &self,
        urls: &[String],
        own: impl FnOnce() -> Option<String>,
        limits: Limits,
    ) -> Verdict {
        let Some(expected) = Expected::new(self.part, self.built.as_deref()) else {
            return Verdict::Right { notes: Vec::new() };
        };
        let has_default = self.part.health == Health::Default && self.part.target.main.is_some();
        if has_default && self.record.live.as_ref().is_some_and(Live::answers_no_request) {
            return Verdict::Right { notes: Vec::new() };
        }
        match ServiceToken::from_variables(self.run.ctx) {
            Ok(token) => {
                Checker { expected: &expected, token: token.as_ref() }.check(urls, own, limits)
            }
            Err(failure) => {
                let what = format!("was not asked: {failure}");
                Verdict::Unknown(Unclear { what, cause: Cause::Other })
            }
        }
    }

    /// Returns the address of exactly this version, which no zone stands in front of. `None` if
    /// addresses of versions are off, or cannot be read.
    fn own_address(&self) -> Option<String> {
        let (worker, version) = (&self.part.target.worker, self.record.version.as_ref()?);
        let short = version.get(..8)?;
        let suffix = self.with_api(|api| api.preview_suffix(worker)).ok()??;
        let in_sandbox = self.run.plan.destination.sandbox_url(&format!("{short}-{worker}"));
        Some(in_sandbox.unwrap_or_else(|| format!("https://{short}{suffix}/")))
    }

    /// Reads what is live after something was `done`. Where that fails, what was live before is no
    /// answer.
    fn read_again(&mut self, done: &str) -> Result<(), Failure> {
        self.record.live = None;
        let read = self.live();
        if read.is_err() {
            self.uninterrupted(&format!("{done}, and not checked"))?;
        }
        self.record.live = read.map_err(|error| {
            remote(format!("{done}, but what is live cannot be read: {error:#}"))
                .hint(api::next_step(&error))
                .hint(format!("then look: `{}`", self.by_hand("status")))
        })?;
        Ok(())
    }

    /// Makes sure that what is live is what this attempt deployed.
    fn still_serving(&mut self, done: &str) -> Result<(), Failure> {
        self.read_again(done)?;
        let serving = self.record.live.as_ref().map(|live| &live.version);
        if serving == self.record.version.as_ref() {
            return Ok(());
        }
        let serving = serving.map_or("nothing", String::as_str);
        if self.record.previous.as_ref().is_some_and(|former| former.version == serving) {
            let version = self.record.version.as_deref().unwrap_or("none");
            return Err(remote(format!(
                "{done} {version}, but version {serving} is still live, as before"
            ))
            .hint(format!(
                "look in a minute: `{}`; then deploy again, with `--force`",
                self.by_hand("status")
            )));
        }
        Err(remote(format!("{done}, but another deployment came in between: {serving} is live"))
            .hint(format!("look: `{}`; then deploy what should be live", self.by_hand("status"))))
    }

    /// An interruption is no verdict on the site.
    fn uninterrupted(&self, state: &str) -> Result<(), Failure> {
        if INTERRUPTED.load(Ordering::SeqCst) {
            let message = format!("interrupted; {state}");
            return Err(Failure { message, ..interrupted() }
                .hint(format!("look: `{}`", self.by_hand("status"))));
        }
        Ok(())
    }

    /// Makes the former version live again, by its id.
    fn put_back(&mut self, why: &str) -> Result<Status> {
        let former = self.record.previous.as_ref().map(|live| live.version.clone());
        let Some(former) = former.filter(|_| self.run.plan.rollback) else {
            return Err(remote(why.to_owned())
                .hint("this version is live; fix it and deploy again")
                .hint(setting(&self.part.manifest))
                .into());
        };
        // Somebody may have mended it meanwhile, and that is not ours to undo.
        self.still_serving(why)?;
        self.step("put the former version back");
        let worker = &self.part.target.worker;
        let message = format!(
            "xtask: back to {former}, its successor is wrong{}",
            triggers::mark(&self.part.triggers.digest)
        );
        let from = self.record.version.clone().unwrap_or_default();
        let traffic = Traffic { worker, from: &from, to: &former, message: &message };
        let retry_budget = &self.run.ctx.retry_budget;
        let switched = self.with_api(|api| Ok(route_traffic(traffic, api, retry_budget)))?;
        self.record.live = switched.live.or(self.record.live.take());
        match switched.result {
            Ok(()) => self.rolled_back(why, &former),
            Err(failure) => {
                let by_hand = format!("by hand: `{} --to {former}`", self.by_hand("rollback"));
                Err(not_rolled_back(why, &former, &failure.hint(by_hand)))
            }
        }
    }

    /// Ends a rollback: honest about what it did not undo.
    fn rolled_back(&mut self, why: &str, former: &str) -> Result<Status> {
        let back = format!("{why}\nthe previous version {former} is live again");
        let left = self.left_after_rollback();
        let rest = match left.as_deref() {
            Ok([]) => {
                self.record.error = Some(format!(
                    "{back}\nhint: fix it and deploy again; `--no-rollback` leaves a wrong version live\nhint: {}",
                    setting(&self.part.manifest)
                ));
                return Ok(Status::RolledBack);
            }
            Ok(left) => left.join(", "),
            Err(reason) => reason.clone(),
        };
        Err(remote(format!(
            "{back}, but a rollback does not undo what the deployment changed beside it: {rest}"
        ))
        .hint("check out the previous commit and deploy it with `--force`, which sets them again")
        .hint(setting(&self.part.manifest))
        .into())
    }

    /// Reads what is live after a failed upload, which may have gone live before it failed, and says so.
    pub(super) fn look_after_failure(&mut self, output: &str, hints: &mut Vec<String>) -> String {
        let version = |live: &Option<Live>| live.as_ref().map(|live| live.version.clone());
        let before = version(&self.record.previous);
        let changed = match self.record.status {
            Status::Interrupted => Status::Interrupted,
            _ => Status::Unknown,
        };
        let is_open = self.run.plan.verb == Verb::Deploy && self.may_go_live(output);
        let mut now = self.live();
        let started = Instant::now();
        while is_open
            && started.elapsed() < OPEN
            && now.as_ref().is_ok_and(|now| version(now) == before)
        {
            std::thread::sleep(OPEN / 5);
            now = self.live();
        }
        let look = format!("look: `{}`", self.by_hand("status"));
        match now {
            Ok(now) if version(&now) == before => {
                let as_before = match &before {
                    Some(version) => format!("version {version} is still live, as before"),
                    None => "nothing is live, as before".to_owned(),
                };
                if !is_open {
                    return as_before;
                }
                self.record.live = None;
                self.record.status = Status::Unknown;
                hints.retain(|hint| !hint.contains("run it again"));
                hints.push(format!("{look} in a minute; deploy again only after that"));
                format!(
                    "{as_before}, but the request to deploy was sent and not answered: the new version may still go live"
                )
            }
            Ok(now) => {
                let before = before.as_deref().unwrap_or("none");
                let text = match version(&now) {
                    Some(now) => format!("version {now} is live now; before it was {before}"),
                    None => format!("nothing is live now; before it was {before}"),
                };
                hints.push(self.after_change(now.as_ref()));
                self.record.live = now;
                self.record.status = changed;
                text
            }
            Err(error) => {
                self.record.live = None;
                self.record.status = if is_open { Status::Unknown } else { changed };
                hints.push(look);
                format!("what is live now cannot be read: {error:#}")
            }
        }
    }

    /// Returns true if a failed upload may still make its version live: the request was sent, or may have
    /// been, and has no answer. Without a new version there is nothing to make live.
    fn may_go_live(&self, output: &str) -> bool {
        let order = deploying_order(output, &self.part.target.worker);
        if self.record.previous.is_none() {
            // The first upload makes its version live by itself.
            return self.is_killed || order == Some(Order::Open);
        }
        if order == Some(Order::Refused) {
            return false;
        }
        let newest = self.with_api(|api| api.versions(&self.part.target.worker));
        let newest = newest.ok().and_then(|versions| Some(versions.first()?.id.clone()));
        newest.is_none() || self.newest.is_none() || newest != self.newest
    }

    /// What to do when a failed upload left another version live than there was.
    fn after_change(&self, now: Option<&Live>) -> String {
        let ours = now.is_some_and(|live| live.tag.as_deref() == Some(&self.part.key));
        let again = self.by_hand("deploy");
        match &self.record.previous {
            _ if !ours => format!("look: `{}`", self.by_hand("status")),
            None => format!("to do what is left (addresses, schedules): `{again} --force`"),
            Some(former) => format!(
                "to do what is left (addresses, schedules): `{again} --force`; to go back: `{} --to {}`",
                self.by_hand("rollback"),
                former.version
            ),
        }
    }

    /// Reads before anything is changed, so that nothing is where it cannot be read.
    fn read<T>(&self, what: &str, ask: impl FnOnce(&Api<'_>) -> Result<T>) -> Result<T, Failure> {
        self.with_api(ask).map_err(|error| {
            if INTERRUPTED.load(Ordering::SeqCst) {
                return interrupted().hint("nothing was changed");
            }
            refused(format!("cannot read {what}: {error:#}"))
                .hint(format!("nothing was changed; {}", api::next_step(&error)))
        })
    }

    fn live(&self) -> Result<Option<Live>> {
        self.with_api(|api| api.live(&self.part.target.worker))
    }

    fn with_api<T>(&self, ask: impl FnOnce(&Api<'_>) -> Result<T>) -> Result<T> {
        let destination = &self.run.plan.destination;
        let token: Secret = self.run.ctx.secret(&destination.token())?;
        let api = Api::new(&destination.api, &destination.account_id, &token);
        ask(&api.patient(&self.run.ctx.retry_budget))
    }
}

/// Reads which crons, routes and domains are set for a Worker. One try is enough: no deployment fails
/// because of it.
fn attached(ctx: &Ctx, destination: &Destination, worker: &str) -> Result<Attached> {
    let token = ctx.secret(&destination.token())?;
    Api::new(&destination.api, &destination.account_id, &token).attached(worker)
}

/// Returns the crons, routes and domains that a deployment of `part` takes away. Empty if they cannot be
/// read, because a plan is worth seeing without a token too.
#[must_use]
pub fn removals(ctx: &Ctx, destination: &Destination, part: &ProjectPlan) -> Vec<String> {
    // A port that the sandbox had is another program's when it is down.
    let is_down = || sandbox::running(&ctx.root).map(|server| server.port) != destination.sandbox;
    if destination.sandbox.is_some() && is_down() {
        return Vec::new();
    }
    let attached = attached(ctx, destination, &part.target.worker);
    attached.map(|attached| attached.removed_by(&part.triggers)).unwrap_or_default()
}
