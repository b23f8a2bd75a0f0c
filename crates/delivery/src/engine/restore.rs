//! Making a version live that exists already: rollback and promote.

use std::sync::atomic::Ordering;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde::Serialize;

use super::answer::{Expected, Unclear};
use super::attempt::by_hand;
use super::check::{Checker, Limits, ServiceToken, Verdict, advice, setting};
use super::setup;
use super::traffic::{Traffic, route_traffic};
use crate::context::Ctx;
use crate::plan::Verb;
use crate::plan::destination::Destination;
use crate::record::{Record, Status, Versions};
use base::error::{Failure, exit_of, hints_of, interrupted, nearest, refused, remote, usage};
use base::runner::INTERRUPTED;
use base::secret::Secret;
use base::time::{rfc3339, unix_now};
use cloudflare::api;
use cloudflare::api::{Api, Deployment, Live, Version};
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::project::Project;
use workspace::triggers;
use workspace::triggers::Triggers;

/// Which version is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that was live before the live one was made.
    Former,
    /// By id, the first 8 digits of it, or the commit that it was made from.
    Named(String),
    /// The newest with this alias.
    Alias(String),
}

/// A version that will be made live, and what for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    schema: u32,
    verb: Verb,
    project: String,
    /// The project as one file name.
    #[serde(skip)]
    slug: String,
    worker: String,
    destination: Destination,
    /// The version's whole id. Never "the one before": that would mean another one a moment later.
    version: String,
    tag: String,
    commit: String,
    previous: Live,
    urls: Vec<String>,
    /// What the project has to answer. `None` if its health check is off.
    #[serde(skip)]
    expected: Option<Expected>,
    #[serde(skip)]
    manifest: Utf8PathBuf,
    /// What it does not change, although a deployment would.
    not_undone: Vec<String>,
}

impl Restore {
    /// Finds the version, and refuses what cannot or need not be done.
    pub fn plan(
        ctx: &Ctx,
        project: &Project,
        destination: &Destination,
        wanted: &Wanted,
    ) -> Result<Restore> {
        let worker = project.target(&destination.environment).worker;
        let token = ctx.token(destination)?;
        let api = api(destination, &token);
        let never = || {
            refused(format!(
                "the Worker `{worker}` has never been deployed in {}",
                destination.environment
            ))
            .hint(format!("`{}` once", by_hand("deploy", &project.name, destination)))
        };
        let api = api.patient(&ctx.retry_budget);
        let live = api.live(&worker).map_err(|error| unread(&error))?.ok_or_else(never)?;
        let versions = api.versions(&worker).map_err(|error| unread(&error))?;
        let deployments = api.deployments(&worker).map_err(|error| unread(&error))?;
        let version = pick(&versions, &deployments, &live.version, wanted)?;
        if version.id == live.version {
            return Err(refused(format!("{} is live already", version.id)).into());
        }
        let domains = project.target(&destination.environment).domains.into_iter();
        let urls = match destination.sandbox_url(&worker) {
            Some(url) => vec![url],
            None => domains
                .map(|domain| format!("https://{domain}/"))
                .chain(api.address(&worker).map_err(|error| unread(&error))?)
                .collect(),
        };
        let triggers = Triggers::new(&project.wrangler, &destination.environment);
        let not_undone = not_undone(&self::api(destination, &token), &worker, &triggers, &live);
        Ok(Restore {
            schema: 1,
            verb: if matches!(wanted, Wanted::Alias(_)) { Verb::Promote } else { Verb::Rollback },
            project: project.name.clone(),
            slug: project.slug(),
            tag: version.annotation("workers/tag").unwrap_or_default().to_owned(),
            commit: version.annotation("workers/message").unwrap_or("no message").to_owned(),
            version: version.id.clone(),
            worker,
            destination: destination.clone(),
            previous: live,
            urls,
            expected: Expected::of_existing(
                &project.health(),
                &project.target(&destination.environment),
            ),
            manifest: project.manifest(),
            not_undone,
        })
    }

    /// What will be done.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "{} in {}: version {} ({}) becomes live; now it is {}",
            self.project,
            self.destination.environment,
            self.version,
            self.commit,
            self.previous.version
        )
    }

    /// Makes it live, checks that it answers, and leaves a record.
    pub fn execute(&self, ctx: &Ctx) -> Result<Record> {
        let task = ctx.ui.task(&self.project);
        let mut record = self.record(ctx)?;
        let lock = setup::project_lock(&ctx.root, &self.slug, |holder| {
            task.step(&format!("wait for {holder}"));
        })?;
        lock.settle(|why| task.step(why))?;
        task.step("make it live");
        match self.make_live(ctx, &mut record) {
            Ok(()) => record.status = Status::Live,
            Err(failure) => {
                record.status = exit_of(&failure).into();
                let hints = hints_of(&failure);
                let hints = hints.iter().map(|hint| format!("\nhint: {hint}"));
                record.error = Some(format!("{failure:#}{}", hints.collect::<String>()));
            }
        }
        record.ended = rfc3339(unix_now());
        record.save_at_the_end(&ctx.root);
        drop(lock);
        task.end(record.status == Status::Live, &crate::report::outcome(&record));
        Ok(record)
    }

    fn make_live(&self, ctx: &Ctx, record: &mut Record) -> Result<()> {
        let token = ctx.secret(&self.destination.token())?;
        let api = api(&self.destination, &token).patient(&ctx.retry_budget);
        let status = by_hand("status", &self.project, &self.destination);
        // Another run may have held the lock since the plan was made.
        record.live = api.live(&self.worker).map_err(|error| unread(&error))?;
        let now = record.live.as_ref().map_or("nothing", |live| live.version.as_str());
        if now != self.previous.version {
            return Err(refused(format!(
                "another deployment came in between: {now} is live, and nothing was changed"
            ))
            .hint(format!("look: `{status}`"))
            .into());
        }
        record.begin(&ctx.root, &status)?;
        let (from, message) = (&self.previous.version, self.message());
        let traffic = Traffic { worker: &self.worker, from, to: &self.version, message: &message };
        let switched = route_traffic(traffic, &api, &ctx.retry_budget);
        record.live = switched.live;
        switched.result.map_err(|failure| failure.hint(format!("look: `{status}`")))?;
        record.version = Some(self.version.clone());
        record.urls.clone_from(&self.urls);
        let Some(expected) = &self.expected else { return Ok(()) };
        if record.live.as_ref().is_some_and(Live::answers_no_request) && expected.any_answer {
            return Ok(());
        }
        let token = ServiceToken::from_variables(ctx)?;
        let checker = Checker { expected, token: token.as_ref() };
        let (what, hints) =
            match checker.check(&self.urls, || None, Limits::of_new_version(&self.destination)) {
                Verdict::Right { notes } => {
                    record.warnings.extend(notes);
                    return Ok(());
                }
                Verdict::Wrong(what) => (what, vec![setting(&self.manifest)]),
                Verdict::Unknown(unclear) => {
                    let hints = advice(&unclear, &self.manifest);
                    let Unclear { what, .. } = unclear;
                    (format!("the health check cannot tell whether it is right: {what}"), hints)
                }
            };
        let failure = if INTERRUPTED.load(Ordering::SeqCst) {
            let message = format!("{} is live, and was not checked", self.version);
            Failure { message, ..interrupted() }
        } else {
            hints
                .into_iter()
                .fold(remote(format!("{} is live, but {what}", self.version)), Failure::hint)
        };
        let back = by_hand("rollback", &self.project, &self.destination);
        Err(failure.hint(format!("to go back: `{back} --to {from}`")).into())
    }

    /// What Cloudflare keeps with the deployment: why, and for an emergency who said so.
    fn message(&self) -> String {
        let verb = if self.verb == Verb::Promote { "promote" } else { "rollback" };
        let glass = self.destination.break_glass.as_ref().map(|reason| format!(": {reason}"));
        // The crons, routes and domains that are set stay.
        let triggers = self.previous.triggers.as_deref().map(triggers::mark).unwrap_or_default();
        let from = &self.previous.version;
        format!("xtask: {verb} from {from}{triggers}{}", glass.unwrap_or_default())
    }

    fn record(&self, ctx: &Ctx) -> Result<Record> {
        let head = git::head(&ctx.root)?;
        let nonce = format!("{}-{}", fresh_nonce()?, self.slug);
        let mut record =
            Record::new(self.verb, &self.project, &self.worker, &self.destination, &nonce);
        record.commit = head.commit;
        record.key.clone_from(&self.tag);
        record.previous = Some(self.previous.clone());
        record.warnings.clone_from(&self.not_undone);
        record.tools = Versions::new();
        Ok(record)
    }
}

fn api<'a>(destination: &'a Destination, token: &'a Secret) -> Api<'a> {
    Api::new(&destination.api, &destination.account_id, token)
}

/// Names what is set for a Worker and stays so, whichever version is live.
fn not_undone(api: &Api<'_>, worker: &str, wanted: &Triggers, live: &Live) -> Vec<String> {
    let mut stays = match api.attached(worker) {
        Ok(attached) => attached.left_by(&Triggers::default()),
        Err(error) => vec![format!("crons, routes and domains (they cannot be read: {error:#})")],
    };
    if !stays.is_empty() {
        stays =
            vec![format!("stays as it is set, whichever version is live: {}", stays.join(", "))];
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

/// What is there cannot be read, so nothing is changed.
fn unread(error: &anyhow::Error) -> Failure {
    if INTERRUPTED.load(Ordering::SeqCst) {
        return interrupted().hint("nothing was changed");
    }
    refused(format!("cannot read what is live: {error:#}"))
        .hint(format!("nothing was changed; {}", api::next_step(error)))
}

/// The version that is meant. `versions` and `deployments` are newest first.
fn pick<'a>(
    versions: &'a [Version],
    deployments: &[Deployment],
    live: &str,
    wanted: &Wanted,
) -> Result<&'a Version, Failure> {
    let made = |id: &str| versions.iter().position(|version| version.id == id);
    match wanted {
        Wanted::Alias(alias) => {
            let has = |version: &&Version| version.annotation("workers/alias") == Some(alias);
            versions.iter().find(has).ok_or_else(|| {
                let known =
                    versions.iter().filter_map(|version| version.annotation("workers/alias"));
                let failure = usage(format!("no version has the alias `{alias}`"));
                match nearest(alias, known) {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint(
                        "a preview of the strategy `preview` is no version: deploy its commit",
                    ),
                }
            })
        }
        Wanted::Named(name) => {
            let is = |version: &&Version| {
                let message = version.annotation("workers/message").unwrap_or_default();
                version.id == *name
                    || (name.len() >= 7
                        && (version.id.starts_with(name) || message.starts_with(name)))
            };
            versions.iter().find(is).ok_or_else(|| {
                let known: Vec<&str> =
                    versions.iter().map(|v| v.id.get(..8).unwrap_or(&v.id)).collect();
                usage(format!("no version is `{name}`"))
                    .hint(format!("the last ones: {}", known.join(", ")))
            })
        }
        // Only versions that were made before the live one: a second rollback goes further back and
        // never forward to what was rolled back from.
        Wanted::Former => {
            let older = made(live).map_or(&[] as &[Version], |at| &versions[at + 1..]);
            let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
            let mut found = deployed
                .filter_map(|share| older.iter().find(|version| version.id == share.version_id));
            found.next().ok_or_else(|| {
                refused("no version that was live before is still known")
                    .hint("name one: `--to VERSION`; Cloudflare lists the last ten")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn history(versions: &[&str], deployments: &[&str]) -> (Vec<Version>, Vec<Deployment>) {
        let version = |id: &&str| {
            serde_json::from_value(json!({ "id": format!("{id}-0000-version"),
                "annotations": { "workers/message": format!("{id}commit more"), "workers/alias": format!("mr-{id}") } }))
            .expect("a version")
        };
        let deployment = |id: &&str| {
            serde_json::from_value(json!({ "id": "d", "created_on": null,
                "versions": [{ "version_id": format!("{id}-0000-version"), "percentage": 100 }] }))
            .expect("a deployment")
        };
        (versions.iter().map(version).collect(), deployments.iter().map(deployment).collect())
    }

    fn former(versions: &[&str], deployments: &[&str]) -> Option<String> {
        let (versions, deployed) = history(versions, deployments);
        let live = format!("{}-0000-version", deployments[0]);
        pick(&versions, &deployed, &live, &Wanted::Former)
            .ok()
            .map(|version| version.id[..1].to_owned())
    }

    #[test]
    fn a_second_rollback_never_flips_forward() {
        assert_eq!(former(&["c", "b", "a"], &["c", "b", "a"]).as_deref(), Some("b"));
        assert_eq!(former(&["c", "b", "a"], &["b", "c", "b", "a"]).as_deref(), Some("a"));
        assert_eq!(former(&["c", "b", "a"], &["a", "b", "c", "b", "a"]), None);
        // A version that was only uploaded is not one to go back to.
        assert_eq!(former(&["c", "b", "a"], &["c", "a"]).as_deref(), Some("a"));
    }

    #[test]
    fn versions_are_named_by_id_commit_and_alias() {
        let (versions, deployed) = history(&["b", "a"], &["b"]);
        let id = |wanted: Wanted| {
            pick(&versions, &deployed, "b-0000-version", &wanted).map(|v| v.id.clone())
        };
        assert_eq!(id(Wanted::Named("a-0000-v".into())).expect("found"), "a-0000-version");
        assert_eq!(id(Wanted::Named("acommit".into())).expect("found"), "a-0000-version");
        assert_eq!(id(Wanted::Alias("mr-a".into())).expect("found"), "a-0000-version");
        assert!(id(Wanted::Named("a".into())).is_err(), "too short to mean one");
        assert_eq!(
            id(Wanted::Alias("mr-aa".into())).expect_err("unknown").hints,
            ["did you mean `mr-a`?"]
        );
    }
}
