//! Makes an existing version live: rollback and promote.

mod target;

pub use target::RollbackTarget;

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::context::Ctx;
use crate::engine::health::response::ExpectedResponse;
use crate::engine::health::{Limits, Verdict, advice, check_version, setting};
use crate::engine::project_run::read_failure;
use crate::engine::setup;
use crate::engine::traffic::{Traffic, divide, live_version, route_traffic, version_url};
use crate::plan::Operation;
use crate::plan::destination::Destination;
use crate::record::{DeployStatus, Record, ToolVersions};
use base::error::{Error, Result, interrupted, refused, remote};
use base::runner::is_interrupted;
use base::text::short_version;
use base::time::{rfc3339, unix_now};
use cloudflare::api::{Api, Live};
use target::{describe, resolve_version};
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::project::Project;
use workspace::triggers;
use workspace::triggers::Triggers;

/// The version to make live, and the current live version.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    schema: u32,
    #[serde(rename = "verb")]
    operation: Operation,
    project: String,
    /// The project as one file name.
    #[serde(skip)]
    slug: String,
    worker: String,
    destination: Destination,
    /// The version's full id. A relative name such as "previous" could refer to another version a moment later.
    version: String,
    /// Its percentage of the traffic.
    percent: u8,
    /// The version that gets the remaining traffic.
    rest: String,
    tag: String,
    commit: String,
    /// The time of the version's upload.
    uploaded: Option<String>,
    previous: Live,
    urls: Vec<String>,
    /// The expected response of the project. `None` if its health check is off.
    #[serde(skip)]
    expected: Option<ExpectedResponse>,
    #[serde(skip)]
    manifest: Utf8PathBuf,
    /// The settings that it does not change, but a deployment would.
    not_undone: Vec<String>,
}

impl Rollback {
    /// Finds the version. Errors if it must not be made live, or is live.
    pub fn plan(
        ctx: &Ctx,
        project: &Project,
        destination: &Destination,
        target: &RollbackTarget,
        percent: u8,
    ) -> Result<Rollback> {
        let worker = project.target(&destination.environment).worker;
        let token = ctx.checked_token(destination)?;
        let never = || {
            refused(format!(
                "the Worker `{worker}` has never been deployed in {}",
                destination.environment
            ))
            .hint(format!("run `{}` once", destination.command_line("deploy", &project.name)))
        };
        let api = destination.client(&token).patient(&ctx.retry_budget);
        let live = api
            .live(&worker)
            .map_err(|error| read_failure("what is live", &error))?
            .ok_or_else(never)?;
        let unreadable = |error: Error| read_failure("what is live", &error);
        let deployments = api.deployments(&worker).map_err(unreadable)?;
        let versions =
            api.versions_and_deployed(&worker, &deployments, target.name()).map_err(unreadable)?;
        let version = resolve_version(&versions, &deployments, &live, target)?;
        refuse_unchanged(&live, &version.id, percent).map_err(|failure| {
            let versions = destination.command_line("versions", &project.name);
            failure.hint(format!("run `{versions}` to list the others"))
        })?;
        let rest = other_version(&live, &version.id).to_owned();
        let address = || api.address(&worker).map_err(|error| read_failure("what is live", &error));
        let urls = destination.live_urls(&project.target(&destination.environment), address)?;
        let triggers = Triggers::new(&project.wrangler, &destination.environment);
        let not_undone = not_undone(&destination.client(&token), &worker, &triggers, &live);
        Ok(Rollback {
            schema: 1,
            operation: if matches!(target, RollbackTarget::Alias(_)) {
                Operation::Promote
            } else {
                Operation::Rollback
            },
            project: project.name.clone(),
            slug: project.slug(),
            tag: version.annotation("workers/tag").unwrap_or_default().to_owned(),
            commit: version.annotation("workers/message").unwrap_or("no message").to_owned(),
            uploaded: version.metadata.created_on.clone(),
            version: version.id.clone(),
            percent,
            rest,
            worker,
            destination: destination.clone(),
            previous: live,
            urls,
            expected: ExpectedResponse::of_existing(
                &project.health(),
                &project.target(&destination.environment),
            ),
            manifest: project.manifest(),
            not_undone,
        })
    }

    /// Returns the versions that lose and get the traffic, each on a line with its commit and age.
    #[must_use]
    pub fn text(&self) -> String {
        let Rollback { project, previous, .. } = self;
        let to = describe(&self.version, Some(&self.commit), self.uploaded.as_deref(), |age| {
            format!("uploaded {age} ago")
        });
        let name = if self.operation == Operation::Promote { "promotion" } else { "rollback" };
        let heading = format!("{name} of {project} in {}", self.destination.environment);
        if self.percent < 100 {
            let rest = short_version(&self.rest);
            let (percent, others) = (self.percent, 100 - self.percent);
            return format!("{heading}\n  {percent:3} % {to}\n  {others:3} % {rest}");
        }
        let from = describe(
            &previous.version,
            previous.message.as_deref(),
            previous.since.as_deref(),
            |age| format!("live for {age}"),
        );
        format!("{heading}\n  from {from}\n  to   {to}")
    }

    /// Makes the version live, checks its response, and saves a record.
    pub fn execute(&self, ctx: &Ctx) -> Result<Record> {
        ctx.ui.note(&self.text());
        let task = ctx.ui.task(&self.project);
        let mut record = self.record(ctx)?;
        let lock = setup::project_lock(&ctx.root, &self.slug, |holder| {
            task.step(&format!("wait for {holder}"));
        })?;
        lock.settle(|why| task.step(why))?;
        task.step("make it live");
        match self.make_live(ctx, &mut record) {
            Ok(()) => record.status = DeployStatus::Live,
            Err(error) => record = record.ended_by(error),
        }
        record.ended = rfc3339(unix_now());
        record.save_at_the_end(&ctx.root);
        drop(lock);
        task.end(record.status == DeployStatus::Live, &crate::report::outcome(&record));
        Ok(record)
    }

    fn make_live(&self, ctx: &Ctx, record: &mut Record) -> Result<()> {
        let token = ctx.token(&self.destination)?;
        let api = self.destination.client(&token).patient(&ctx.retry_budget);
        let status = self.destination.command_line("status", &self.project);
        // Another run may have held the lock after the plan was created.
        record.live =
            api.live(&self.worker).map_err(|error| read_failure("what is live", &error))?;
        let now = live_version(record.live.as_ref());
        if now != self.previous.version {
            return Err(refused(format!(
                "another deployment came in between: {now} is live, and nothing was changed"
            ))
            .hint(format!("run `{status}`")));
        }
        record.begin(&ctx.root, &status)?;
        let (from, message) = (&self.previous.version, self.message());
        let (worker, to, percent) = (&self.worker, &self.version, self.percent);
        let rest = if percent < 100 { &self.rest } else { from };
        let shares = divide(to, percent, rest);
        let traffic = Traffic { worker, from: rest, shares, message: &message };
        let routed = route_traffic(&traffic, &api, &ctx.retry_budget);
        record.live = routed.live;
        routed.result.map_err(|failure| failure.hint(format!("run `{status}`")))?;
        record.version = Some(self.version.clone());
        record.urls.clone_from(&self.urls);
        record.percent = Some(percent).filter(|percent| *percent < 100);
        self.check(ctx, &api, record)
    }

    /// Checks the responses of the version that is live now.
    fn check(&self, ctx: &Ctx, api: &Api<'_>, record: &mut Record) -> Result<()> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let urls = match self.percent {
            100 => self.urls.clone(),
            // Each request to the Worker's URLs may reach either version.
            _ => match version_url(api, &self.destination, &self.worker, &self.version) {
                Some(url) => vec![url],
                None => {
                    record.warnings.push(NOT_CHECKED.to_owned());
                    return Ok(());
                }
            },
        };
        let limits = Limits::of_new_version(&self.destination);
        let live = record.live.as_ref();
        let (what, hints) = match check_version(ctx, expected, live, &urls, || None, limits) {
            Verdict::Right { notes } => {
                record.warnings.extend(notes);
                return Ok(());
            }
            Verdict::Wrong(what) => (what, vec![setting(&self.manifest)]),
            Verdict::Unknown(unclear) => {
                let hints = advice(&unclear, &self.manifest);
                let what = unclear.what;
                (format!("the health check cannot tell whether it is right: {what}"), hints)
            }
        };
        let failure = if is_interrupted() {
            let message = format!("{} is live, and was not checked", self.version);
            interrupted().with_message(message)
        } else {
            hints
                .into_iter()
                .fold(remote(format!("{} is live, but {what}", self.version)), Error::hint)
        };
        let back = self.destination.command_line("rollback", &self.project);
        Err(failure.hint(format!("to go back: `{back} --to {}`", self.previous.version)))
    }

    /// Returns the message of the deployment at Cloudflare, with the reason of `--break-glass`.
    fn message(&self) -> String {
        let name = if self.operation == Operation::Promote { "promote" } else { "rollback" };
        let glass = self.destination.break_glass.as_ref().map(|reason| format!(": {reason}"));
        // The current crons, routes and domains remain.
        let triggers = self.previous.triggers.as_deref().map(triggers::mark).unwrap_or_default();
        let from = &self.previous.version;
        format!("xtask: {name} from {from}{triggers}{}", glass.unwrap_or_default())
    }

    fn record(&self, ctx: &Ctx) -> Result<Record> {
        let head = git::head(&ctx.root)?;
        let nonce = format!("{}-{}", fresh_nonce()?, self.slug);
        let mut record =
            Record::new(self.operation, &self.project, &self.worker, &self.destination, &nonce);
        record.commit = head.commit;
        record.key.clone_from(&self.tag);
        record.previous = Some(self.previous.clone());
        record.warnings.clone_from(&self.not_undone);
        record.tools = ToolVersions::new();
        Ok(record)
    }
}

/// The warning about a version of a gradual deployment without a preview URL.
pub const NOT_CHECKED: &str = "the health check did not run, because the version has no own address: set `preview_urls` to true and deploy once";

/// Refuses a version that has the requested percentage of the traffic already.
fn refuse_unchanged(live: &Live, version: &str, percent: u8) -> Result<()> {
    let current = live.percentage_of(version);
    if current < 100.0 && current != f64::from(percent) {
        return Ok(());
    }
    let share = if percent < 100 && !live.shares.is_empty() {
        format!("gets {percent} % of the traffic already")
    } else {
        "is live already".to_owned()
    };
    Err(refused(format!("{version} {share}")))
}

/// Returns the version that keeps the remaining traffic: the other one of a gradual deployment, or the live one.
fn other_version<'l>(live: &'l Live, version: &str) -> &'l str {
    let other = live.shares.iter().find(|share| share.version_id != version);
    let has_share = live.percentage_of(version) > 0.0;
    other.filter(|_| has_share).map_or(&live.version, |share| &share.version_id)
}

/// Describes the settings of a Worker that do not depend on its live version.
fn not_undone(api: &Api<'_>, worker: &str, wanted: &Triggers, live: &Live) -> Vec<String> {
    let mut stays = match api.triggers_in_use(worker) {
        Ok(triggers) => triggers.left_by(&Triggers::default()),
        Err(error) => vec![format!("crons, routes and domains (they cannot be read: {error:#})")],
    };
    if !stays.is_empty() {
        stays = vec![format!("unchanged, because no version contains them: {}", stays.join(", "))];
    }
    if live.triggers.as_ref().is_some_and(|digest| *digest != wanted.digest) {
        stays.push(
            "the wrangler config here has other crons, routes, domains or settings than those that are \
             applied; only `deploy` applies them"
                .to_owned(),
        );
    }
    stays
}
