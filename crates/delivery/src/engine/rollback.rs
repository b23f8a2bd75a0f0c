//! Makes an existing version live: rollback and promote.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde::Serialize;

use super::check::{Checker, Limits, ServiceToken, Verdict, advice, setting};
use super::job::command_line;
use super::response::{ExpectedResponse, Unclear};
use super::setup;
use super::traffic::{Traffic, divide, route_traffic};
use crate::context::Ctx;
use crate::plan::Operation;
use crate::plan::destination::Destination;
use crate::record::{DeployStatus, Record, ToolVersions};
use crate::report::status::age;
use base::error::{Failure, interrupted, nearest, refused, remote, usage};
use base::runner::INTERRUPTED;
use base::secret::Secret;
use base::text::{short_commit, short_version};
use base::time::{parse_rfc3339, rfc3339, unix_now};
use cloudflare::api;
use cloudflare::api::{Api, DIRTY, Deployment, ListedVersion, Live};
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::project::Project;
use workspace::triggers;
use workspace::triggers::Triggers;

/// The requested version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackTarget {
    /// The version that was live before the current one was uploaded.
    Previous,
    /// A version that was live: by its id, the first 8 digits of it, or its commit.
    Version(String),
    /// An uploaded version: the newest of an alias, or by its id.
    Alias(String),
}

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
        let token = ctx.token(destination)?;
        let never = || {
            refused(format!(
                "the Worker `{worker}` has never been deployed in {}",
                destination.environment
            ))
            .hint(format!("run `{}` once", command_line("deploy", &project.name, destination)))
        };
        let api = api(destination, &token).patient(&ctx.retry_budget);
        let live = api.live(&worker).map_err(|error| unread(&error))?.ok_or_else(never)?;
        let versions = api.versions(&worker).map_err(|error| unread(&error))?;
        let deployments = api.deployments(&worker).map_err(|error| unread(&error))?;
        let version = resolve_version(&versions, &deployments, &live, target)?;
        let percentage = f64::from(percent);
        if live.percentage_of(&version.id) >= 100.0 || live.percentage_of(&version.id) == percentage
        {
            let share = if percent < 100 && !live.shares.is_empty() {
                format!("gets {percent} % of the traffic already")
            } else {
                "is live already".to_owned()
            };
            return Err(refused(format!("{} {share}", version.id))
                .hint(format!(
                    "run `{}` to list the others",
                    command_line("versions", &project.name, destination)
                ))
                .into());
        }
        let other = live.shares.iter().find(|share| share.version_id != version.id);
        let has_share = live.percentage_of(&version.id) > 0.0;
        let rest = other.filter(|_| has_share).map_or(&live.version, |share| &share.version_id);
        let address = || api.address(&worker).map_err(|error| unread(&error));
        let urls = destination.live_urls(&project.target(&destination.environment), address)?;
        let triggers = Triggers::new(&project.wrangler, &destination.environment);
        let not_undone = not_undone(&self::api(destination, &token), &worker, &triggers, &live);
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
            rest: rest.clone(),
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
            Err(error) => record = record.ended_by(Failure::flatten(&error)),
        }
        record.ended = rfc3339(unix_now());
        record.save_at_the_end(&ctx.root);
        drop(lock);
        task.end(record.status == DeployStatus::Live, &crate::report::outcome(&record));
        Ok(record)
    }

    fn make_live(&self, ctx: &Ctx, record: &mut Record) -> Result<()> {
        let token = ctx.credential(&self.destination)?;
        let api = api(&self.destination, &token).patient(&ctx.retry_budget);
        let status = command_line("status", &self.project, &self.destination);
        // Another run may have held the lock after the plan was created.
        record.live = api.live(&self.worker).map_err(|error| unread(&error))?;
        let now = record.live.as_ref().map_or("nothing", |live| live.version.as_str());
        if now != self.previous.version {
            return Err(refused(format!(
                "another deployment came in between: {now} is live, and nothing was changed"
            ))
            .hint(format!("run `{status}`"))
            .into());
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
        let Some(expected) = &self.expected else { return Ok(()) };
        if record.live.as_ref().is_some_and(Live::answers_no_request) && expected.any_answer {
            return Ok(());
        }
        let token = ServiceToken::from_variables(ctx)?;
        let checker = Checker { expected, token: token.as_ref() };
        let urls = match percent {
            100 => self.urls.clone(),
            // Each request to the Worker's URLs may reach either version.
            _ => match own_address(&api, &self.destination, &self.worker, &self.version) {
                Some(url) => vec![url],
                None => {
                    record.warnings.push(NOT_CHECKED.to_owned());
                    return Ok(());
                }
            },
        };
        let (what, hints) =
            match checker.check(&urls, || None, Limits::of_new_version(&self.destination)) {
                Verdict::Right { notes } => {
                    record.warnings.extend(notes);
                    return Ok(());
                }
                Verdict::Wrong(what) => (what, vec![setting(&self.manifest)]),
                Verdict::Unclear(unclear) => {
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
        let back = command_line("rollback", &self.project, &self.destination);
        Err(failure.hint(format!("to go back: `{back} --to {from}`")).into())
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

/// Returns the preview URL of this version. `None` if preview URLs are off, or cannot be read.
fn own_address(
    api: &Api<'_>,
    destination: &Destination,
    worker: &str,
    version: &str,
) -> Option<String> {
    let (suffix, short) = (api.preview_suffix(worker).ok()??, version.get(..8)?);
    Some(destination.preview_url(short, worker, &suffix))
}

fn api<'a>(destination: &'a Destination, token: &'a Secret) -> Api<'a> {
    Api::new(&destination.api, &destination.account_id, token)
}

/// Describes the settings of a Worker that do not depend on its live version.
fn not_undone(api: &Api<'_>, worker: &str, wanted: &Triggers, live: &Live) -> Vec<String> {
    let mut stays = match api.triggers_in_use(worker) {
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

/// Returns the refusal for a state that cannot be read. Nothing has changed.
fn unread(error: &anyhow::Error) -> Failure {
    if INTERRUPTED.load(Ordering::SeqCst) {
        return interrupted().hint("nothing was changed");
    }
    refused(format!("cannot read what is live: {error:#}"))
        .hint(format!("nothing was changed; {}", api::next_step(error)))
}

/// Describes a version in a few words: its id, its commit and how old it is.
fn describe(
    id: &str,
    message: Option<&str>,
    time: Option<&str>,
    age_text: impl Fn(String) -> String,
) -> String {
    let message = message.unwrap_or_default();
    let commit = match message.split(' ').next() {
        Some(commit) if commit.len() >= 40 => format!("commit {}", short_commit(commit)),
        _ => "no commit".to_owned(),
    };
    let dirty = if message.contains(DIRTY) { " + changes" } else { "" };
    let time = time.and_then(parse_rfc3339);
    let time = time.map(|time| ", ".to_owned() + &age_text(age(unix_now().saturating_sub(time))));
    format!("{} ({commit}{dirty}{})", short_version(id), time.unwrap_or_default())
}

/// Finds the requested version. `versions` and `deployments` are newest first.
fn resolve_version<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    live: &Live,
    target: &RollbackTarget,
) -> Result<&'a ListedVersion, Failure> {
    match target {
        RollbackTarget::Alias(name) => uploaded_version(versions, name),
        RollbackTarget::Version(name) => was_live(versions, deployments, name),
        RollbackTarget::Previous => {
            // The rollback of a gradual deployment is its older version, independent of the percentages.
            let has_share = |version: &&ListedVersion| live.percentage_of(&version.id) > 0.0;
            let newest = versions.iter().find(has_share).map_or(&live.version, |one| &one.id);
            previous(versions, deployments, newest)
        }
    }
}

/// Finds an uploaded version by its alias, else by its id.
fn uploaded_version<'a>(
    versions: &'a [ListedVersion],
    name: &str,
) -> Result<&'a ListedVersion, Failure> {
    let has_alias = |version: &&ListedVersion| version.alias() == Some(name);
    let has_id = |version: &&ListedVersion| has_id(version, name);
    versions.iter().find(has_alias).or_else(|| versions.iter().find(has_id)).ok_or_else(|| {
        let known: BTreeSet<&str> = versions.iter().filter_map(|version| version.alias()).collect();
        let failure = usage(format!("no version has the alias `{name}`"));
        match nearest(name, known.iter().copied()) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None if !known.is_empty() => {
                let known: Vec<&str> = known.into_iter().collect();
                failure.hint(format!("name one of its aliases: {}", known.join(", ")))
            }
            None => failure
                .hint("deploy the commit instead, because a preview of the strategy `preview` is no version"),
        }
    })
}

/// Finds the version `name` among those that were live. An upload that was never live is a preview. Its
/// commit may belong to a merge request that was never merged.
fn was_live<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    name: &str,
) -> Result<&'a ListedVersion, Failure> {
    let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
    let deployed: BTreeSet<&str> = deployed.map(|share| share.version_id.as_str()).collect();
    let fits = |version: &&ListedVersion| {
        let is_commit = name.len() >= 7 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let has_commit = version.commit().is_some_and(|commit| commit.starts_with(name));
        has_id(version, name) || is_commit && has_commit
    };
    let found: Vec<&ListedVersion> = versions.iter().filter(fits).collect();
    let lived: Vec<&ListedVersion> =
        found.iter().copied().filter(|version| deployed.contains(version.id.as_str())).collect();
    let list = |versions: &[&ListedVersion]| {
        let line = |version: &&ListedVersion| {
            let message = version.annotation("workers/message");
            let created = version.metadata.created_on.as_deref();
            describe(&version.id, message, created, |age| format!("uploaded {age} ago"))
        };
        versions.iter().map(line).collect::<Vec<_>>()
    };
    let lines = |versions: &[&ListedVersion]| {
        list(versions).iter().map(|line| format!("\n  {line}")).collect::<String>()
    };
    match (lived.as_slice(), found.as_slice()) {
        ([version], _) => Ok(version),
        ([], []) => {
            let live: Vec<&ListedVersion> =
                versions.iter().filter(|version| deployed.contains(version.id.as_str())).collect();
            Err(usage(format!("no version is `{name}`"))
                .hint(format!("name one of the last that were live:{}", lines(&live))))
        }
        ([], uploads) => Err(refused(format!(
            "no version of `{name}` was live: {} was uploaded as a preview",
            list(uploads).join(", ")
        ))
        .hint("make an upload live with `cargo xtask promote PROJECT --from ALIAS`, or deploy the commit")),
        (several, _) => Err(refused(format!("`{name}` means several versions that were live"))
            .hint(format!("name one by its id:{}", lines(several)))),
    }
}

/// Returns true if `name` is the version's id or at least its first 7 digits.
fn has_id(version: &ListedVersion, name: &str) -> bool {
    version.id == name || name.len() >= 7 && version.id.starts_with(name)
}

/// The number of versions that Cloudflare lists.
const LISTED_VERSIONS: usize = 10;

/// Finds the previous live version. Only versions that were uploaded before the live one count. So a
/// second rollback goes further back, and never returns to the version that the first one replaced.
fn previous<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    live: &str,
) -> Result<&'a ListedVersion, Failure> {
    let at = versions.iter().position(|version| version.id == live);
    let older = at.map_or(&[] as &[ListedVersion], |at| &versions[at + 1..]);
    let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
    let mut found =
        deployed.filter_map(|share| older.iter().find(|version| version.id == share.version_id));
    found.next().ok_or_else(|| {
        if older.is_empty() && at.is_some() && versions.len() < LISTED_VERSIONS {
            let live = short_version(live);
            return refused(format!(
                "no version that was live before {live} exists; it is the first one"
            ))
            .hint("deploy an earlier commit instead");
        }
        refused("no version that was live before is still known")
            .hint("name one with `--to VERSION`; Cloudflare lists the last ten")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns a commit whose first digit is `id`.
    fn commit(id: &str) -> String {
        format!("{id}{}", "0".repeat(39))
    }

    fn history(versions: &[&str], deployments: &[&str]) -> (Vec<ListedVersion>, Vec<Deployment>) {
        let version = |id: &&str| {
            serde_json::from_value(json!({ "id": format!("{id}-0000-version"),
                "annotations": { "workers/message": format!("{} more", commit(&id[..1])), "workers/alias": format!("mr-{id}") } }))
            .expect("a version")
        };
        let deployment = |id: &&str| {
            serde_json::from_value(json!({ "id": "d", "created_on": null,
                "versions": [{ "version_id": format!("{id}-0000-version"), "percentage": 100 }] }))
            .expect("a deployment")
        };
        (versions.iter().map(version).collect(), deployments.iter().map(deployment).collect())
    }

    /// Creates a Worker whose traffic these versions share.
    fn live(shares: &[(&str, f64)]) -> Live {
        let most = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("a version");
        let share = |(id, percentage): &(&str, f64)| json!({ "version_id": format!("{id}-0000-version"), "percentage": percentage });
        let shares: Vec<_> = shares.iter().filter(|_| shares.len() > 1).map(share).collect();
        serde_json::from_value(
            json!({ "version": format!("{}-0000-version", most.0), "deployment": "d",
            "since": null, "tag": null, "message": null, "shares": shares }),
        )
        .expect("a live version")
    }

    fn previous_of(versions: &[&str], deployments: &[&str]) -> Option<String> {
        let (versions, deployed) = history(versions, deployments);
        let live = live(&[(deployments[0], 100.0)]);
        resolve_version(&versions, &deployed, &live, &RollbackTarget::Previous)
            .ok()
            .map(|version| version.id[..1].to_owned())
    }

    #[test]
    fn second_rollback_goes_further_back() {
        assert_eq!(previous_of(&["c", "b", "a"], &["c", "b", "a"]).as_deref(), Some("b"));
        assert_eq!(previous_of(&["c", "b", "a"], &["b", "c", "b", "a"]).as_deref(), Some("a"));
        assert_eq!(previous_of(&["c", "b", "a"], &["a", "b", "c", "b", "a"]), None);
        let (versions, deployed) = history(&["c", "a"], &["a"]);
        let live = live(&[("a", 100.0)]);
        let first = resolve_version(&versions, &deployed, &live, &RollbackTarget::Previous);
        assert_eq!(
            first.expect_err("no version").with_hints(),
            "no version that was live before a-0000-v exists; it is the first one\nhint: deploy an earlier commit instead"
        );
        // A version that was only uploaded is not a target of a rollback.
        assert_eq!(previous_of(&["c", "b", "a"], &["c", "a"]).as_deref(), Some("a"));
    }

    #[test]
    fn rollback_of_a_gradual_deployment_restores_the_older_version() {
        let (versions, mut deployed) = history(&["c", "b", "a"], &["b", "b", "a"]);
        for percentage in [10.0, 90.0] {
            let shares = [("c", percentage), ("b", 100.0 - percentage)];
            let live = live(&shares);
            deployed[0].versions.clone_from(&live.shares);
            let found = resolve_version(&versions, &deployed, &live, &RollbackTarget::Previous);
            assert_eq!(found.expect("a version").id, "b-0000-version", "{percentage}");
        }
    }

    #[test]
    fn resolves_versions_by_id_commit_and_alias() {
        let (versions, deployed) = history(&["b", "a"], &["b", "a"]);
        let id = |target: RollbackTarget| {
            resolve_version(&versions, &deployed, &live(&[("b", 100.0)]), &target)
                .map(|v| v.id.clone())
        };
        assert_eq!(
            id(RollbackTarget::Version("a-0000-v".into())).expect("found"),
            "a-0000-version"
        );
        assert_eq!(id(RollbackTarget::Version(commit("a"))).expect("found"), "a-0000-version");
        assert_eq!(id(RollbackTarget::Version("a000000".into())).expect("found"), "a-0000-version");
        assert_eq!(id(RollbackTarget::Alias("mr-a".into())).expect("found"), "a-0000-version");
        assert_eq!(
            id(RollbackTarget::Alias("a-0000-version".into())).expect("found"),
            "a-0000-version"
        );
        assert!(id(RollbackTarget::Version("a".into())).is_err(), "too short to mean one");
        assert_eq!(
            id(RollbackTarget::Alias("mr-aa".into())).expect_err("unknown").hints,
            ["did you mean `mr-a`?"]
        );
    }

    #[test]
    fn resolves_a_commit_to_a_version_that_was_live() {
        // `a1` was live. `a2` is a newer upload of the same commit that was never live.
        let (versions, deployed) = history(&["a2", "b", "a1"], &["b", "a1"]);
        let find = |deployed: &[Deployment], name: &str| {
            let target = RollbackTarget::Version(name.to_owned());
            resolve_version(&versions, deployed, &live(&[("b", 100.0)]), &target)
                .map(|v| v.id.clone())
        };
        assert_eq!(find(&deployed, &commit("a")).expect("one"), "a1-0000-version");
        let never = find(&deployed, "a2-0000-version").expect_err("never live");
        assert!(never.message.contains("was uploaded as a preview"), "{never}");
        assert!(never.hints[0].contains("promote"), "{never:?}");
        let (_, both) = history(&[], &["a2", "b", "a1"]);
        let several = find(&both, &commit("a")).expect_err("two");
        assert_eq!(
            several.message,
            format!("`{}` means several versions that were live", commit("a"))
        );
        assert!(
            several.hints[0].contains("a2-0000-") && several.hints[0].contains("a1-0000-"),
            "{several:?}"
        );
        let unknown = find(&both, "deadbeef").expect_err("unknown");
        assert!(unknown.hints[0].starts_with("name one of the last that were live"), "{unknown:?}");
    }
}
