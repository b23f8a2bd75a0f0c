//! Reads the live version before anything changes, and compares it with the plan.

use crate::context::Ctx;
use crate::engine::health::response::{Cause, Unclear};
use crate::engine::health::{Limits, Verdict};
use crate::engine::project_run::ProjectRun;
use crate::plan::alias;
use crate::plan::destination::Destination;
use crate::plan::{Operation, ProjectPlan};
use crate::tools::sandbox;
use base::error::{Result, refused};
use cloudflare::api::{Api, ListedVersion, Live, TriggersInUse};
use workspace::strategy::Strategy;

/// The state of a Worker before anything changes.
#[derive(Debug, Default)]
pub struct PreviousState {
    /// The live version. `None` if nothing is live.
    pub live: Option<Live>,
    /// The newest version. `None` if it was not read.
    pub newest: Option<String>,
    /// The current crons, routes and domains. `None` if they were not read.
    pub triggers: Option<TriggersInUse>,
    /// The settings that the deployment removes, and those that remain although the config does not
    /// name them.
    pub warnings: Vec<String>,
}

impl PreviousState {
    /// Returns the id of the live version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.live.as_ref().map(|live| live.version.as_str())
    }

    /// Reads the newest version, and the crons, routes and domains that a deployment replaces. A token without
    /// the permission to read them does not stop a deployment.
    pub(crate) fn read_newest_and_triggers(&mut self, run: &ProjectRun<'_>) {
        let project = run.project;
        if !run.plan.options.applies_triggers(run.plan.operation) || self.live.is_none() {
            return;
        }
        let versions = run.ask(|api| api.newest_versions(&project.target.worker));
        self.newest = versions.ok().and_then(|versions| Some(versions.first()?.id.clone()));
        match read_triggers(run.ctx, &run.plan.destination, &project.target.worker) {
            Ok(triggers) => {
                let removed = triggers.removed_by(&project.triggers).into_iter();
                let removed = removed.map(|what| format!("this deployment removes {what}"));
                let remaining = triggers.left_by(&project.triggers).into_iter();
                let remaining = remaining.map(|what| {
                    format!("{what} stays set, although {} does not name it", project.config)
                });
                self.warnings.extend(removed.chain(remaining));
                self.triggers = Some(triggers);
            }
            Err(error) => self.warnings.push(format!(
                "the crons, routes and domains that are set cannot be read, so this run cannot tell about those \
                 that this deployment removes: {error:#}"
            )),
        }
    }
}

/// A version, or a preview's deployment, that has the content of the plan.
#[derive(Debug)]
pub struct Existing {
    /// Its id.
    pub id: String,
    /// The addresses.
    pub urls: Vec<String>,
    /// Warnings about its responses.
    pub warnings: Vec<String>,
}

impl Existing {
    fn new(id: String, urls: Vec<String>) -> Existing {
        Existing { id, urls, warnings: Vec::new() }
    }
}

/// Reads the live version. An error is a refusal, because nothing has changed yet.
pub fn read_live(run: &ProjectRun<'_>) -> Result<PreviousState> {
    run.step("read what is live");
    let live = run.read("what is live", |api| api.live(&run.project.target.worker))?;
    Ok(PreviousState { live, ..PreviousState::default() })
}

/// Returns the version or preview that has the content of the plan. `None` if there is none, if its own
/// responses are wrong, or if the plan forces an upload.
pub fn find_existing(run: &ProjectRun<'_>, before: &PreviousState) -> Result<Option<Existing>> {
    if run.plan.options.force {
        return Ok(None);
    }
    let found = match (run.plan.operation, run.project.strategy) {
        (Operation::Preview, Some(Strategy::Preview)) => latest_preview(run)?,
        (Operation::Preview, _) => newest_of_alias(run)?,
        _ => live_by_key(run, before)?,
    };
    let Some(existing) = found else { return Ok(None) };
    let urls = &existing.urls;
    let (live, limits) = (before.live.as_ref(), Limits::of_live_version());
    let warnings = match run.check_version(live, None, urls, || None, limits) {
        Verdict::Right { notes } => notes,
        // Another deployment of the same content would not remove the guard.
        Verdict::Unknown(Unclear { what, cause }) if cause.is_guard() => vec![what],
        Verdict::Unknown(Unclear { cause: Cause::Other, .. }) => Vec::new(),
        Verdict::Wrong(_) | Verdict::Unknown(_) => return Ok(None),
    };
    Ok(Some(Existing { warnings, ..existing }))
}

/// Refuses a Worker Preview if the Worker's preview URLs are off, because `wrangler preview` would create one
/// without a URL and succeed.
pub fn require_preview_urls(run: &ProjectRun<'_>) -> Result<()> {
    let worker = &run.project.target.worker;
    if run.read("its addresses", |api| api.preview_suffix(worker))?.is_some() {
        return Ok(());
    }
    Err(refused(format!("the preview addresses of the Worker `{worker}` are off"))
        .hint(format!("{} has `preview_urls`, but a deployment turns it on", run.project.config))
        .hint(format!("run `{} --force` once", run.command_line("deploy"))))
}

/// Returns the live version if it has the plan's content key and the triggers were applied.
fn live_by_key(run: &ProjectRun<'_>, before: &PreviousState) -> Result<Option<Existing>> {
    let (project, destination) = (run.project, &run.plan.destination);
    let is_same = |live: &&Live| {
        live.shares.is_empty()
            && live.tag.as_deref() == Some(&project.key)
            && live.triggers.as_deref() == Some(&project.triggers.digest)
    };
    let Some(live) = before.live.as_ref().filter(is_same) else { return Ok(None) };
    let worker = &project.target.worker;
    let address = || run.read("its address", |api| api.address(worker));
    let urls = destination.live_urls(&project.target, address)?;
    Ok(Some(Existing::new(live.version.clone(), urls)))
}

/// Returns the newest version of the plan's alias if it has the plan's key.
fn newest_of_alias(run: &ProjectRun<'_>) -> Result<Option<Existing>> {
    let (worker, Some(alias)) = (&run.project.target.worker, &run.project.alias) else {
        return Ok(None);
    };
    let has_alias = |version: &ListedVersion| version.alias() == Some(alias);
    let versions = run.read("its versions", |api| api.versions_until(worker, has_alias))?;
    let newest = versions.iter().find(|version| has_alias(version));
    let same = newest.filter(|version| version.annotation("workers/tag") == Some(&run.project.key));
    let Some(version) = same else { return Ok(None) };
    if let Some(urls) = preview_urls(run, &version.id) {
        return Ok(Some(Existing::new(version.id.clone(), urls)));
    }
    let suffix = run.read("its addresses", |api| api.preview_suffix(worker))?;
    let Some(suffix) = suffix else { return Ok(None) };
    let short = version.id.get(..8).unwrap_or(&version.id);
    let url = |label: &str| run.plan.destination.preview_url(label, worker, &suffix);
    let urls = [url(alias), url(short)].into_iter().flatten().collect();
    Ok(Some(Existing::new(version.id.clone(), urls)))
}

/// Returns the latest deployment of the plan's Worker Preview if it has the plan's key.
fn latest_preview(run: &ProjectRun<'_>) -> Result<Option<Existing>> {
    let (worker, Some(name)) = (&run.project.target.worker, &run.project.alias) else {
        return Ok(None);
    };
    let Some(preview) = run.read("the preview", |api| api.preview(worker, name))? else {
        return Ok(None);
    };
    let latest = |api: &Api<'_>| api.preview_deployment(worker, &preview.id);
    let Some(latest) = run.read("the preview", latest)? else { return Ok(None) };
    if latest.tag() != Some(&run.project.key) {
        return Ok(None);
    }
    let known_urls = || preview.urls.first().into_iter().chain(latest.urls.first()).cloned();
    let mut urls = preview_urls(run, &latest.id).unwrap_or_else(|| known_urls().collect());
    urls.retain(|url| alias::has_valid_host(url));
    Ok((!urls.is_empty()).then(|| Existing::new(latest.id, urls)))
}

/// Returns the URLs of a preview in the sandbox, without one that would be too long. `None` at Cloudflare.
pub(crate) fn preview_urls(run: &ProjectRun<'_>, version: &str) -> Option<Vec<String>> {
    let (worker, alias) = (&run.project.target.worker, run.project.alias.as_ref()?);
    let short = version.get(..8)?;
    let labels = [alias::label(alias, worker), alias::label(short, worker)];
    let labels = labels.into_iter().flatten();
    labels.map(|label| run.plan.destination.sandbox_url(&label)).collect()
}

/// Reads the crons, routes and domains of a Worker. Does not retry, because no deployment fails without them.
pub(crate) fn read_triggers(
    ctx: &Ctx,
    destination: &Destination,
    worker: &str,
) -> Result<TriggersInUse> {
    let token = ctx.token(destination)?;
    destination.client(&token).triggers_in_use(worker)
}

/// Returns the crons, routes and domains that a deployment of `project` removes. Empty if they cannot be
/// read, because a plan is useful without a token too.
#[must_use]
pub fn removed_triggers(
    ctx: &Ctx,
    destination: &Destination,
    project: &ProjectPlan,
) -> Vec<String> {
    // If the sandbox is not running, another program may use its port.
    let is_down = || sandbox::running(&ctx.root).map(|server| server.port) != destination.sandbox;
    if destination.sandbox.is_some() && is_down() {
        return Vec::new();
    }
    let triggers = read_triggers(ctx, destination, &project.target.worker);
    triggers.map(|triggers| triggers.removed_by(&project.triggers)).unwrap_or_default()
}
