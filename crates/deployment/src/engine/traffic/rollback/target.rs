//! Finds the version that a rollback or a promotion makes live.

use std::collections::BTreeSet;

use crate::report::status::age;
use base::error::{Error, Result, did_you_mean, refused, usage};
use base::text::{list_first, short_commit, short_version};
use base::time::{parse_rfc3339, unix_now};
use cloudflare::api::{DIRTY, Deployment, ListedVersion, Live, MAX_DEPLOYMENTS, MAX_VERSIONS};

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

impl RollbackTarget {
    /// Returns the text that names a version. `None` if nothing names it.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            RollbackTarget::Previous => None,
            RollbackTarget::Version(name) | RollbackTarget::Alias(name) => Some(name),
        }
    }
}

/// Describes a version in a few words: its id, its commit and how old it is.
pub(super) fn describe(
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
pub(super) fn resolve_version<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    live: &Live,
    target: &RollbackTarget,
) -> Result<&'a ListedVersion> {
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
fn uploaded_version<'a>(versions: &'a [ListedVersion], name: &str) -> Result<&'a ListedVersion> {
    let has_alias = |version: &&ListedVersion| version.alias() == Some(name);
    let has_id = |version: &&ListedVersion| has_id(version, name);
    versions.iter().find(has_alias).or_else(|| versions.iter().find(has_id)).ok_or_else(|| {
        let mut known: Vec<&str> = Vec::new();
        for alias in versions.iter().filter_map(ListedVersion::alias) {
            if !known.contains(&alias) {
                known.push(alias);
            }
        }
        let failure = usage(match versions.len() {
            0..MAX_VERSIONS => format!("no version has the alias `{name}`"),
            _ => format!("none of the last {MAX_VERSIONS} versions has the alias `{name}`"),
        });
        match did_you_mean(name, known.iter().copied()) {
            Some(hint) => failure.hint(hint),
            None if !known.is_empty() => failure.hint(format!(
                "name one of its aliases: {}",
                list_first(MAX_LISTED, &known)
            )),
            None => failure
                .hint("deploy the commit instead, because a preview of the strategy `preview` is not a version"),
        }
    })
}

/// The number of aliases or versions that a hint names.
const MAX_LISTED: usize = 10;

/// Finds the version `name` among those that were live. An upload that was never live is a preview. Its
/// commit may belong to a merge request that was never merged.
fn was_live<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    name: &str,
) -> Result<&'a ListedVersion> {
    let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
    let deployed: BTreeSet<&str> = deployed.map(|share| share.version_id.as_str()).collect();
    let fits = |version: &&ListedVersion| {
        let is_commit = name.len() >= 7 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let has_commit = version.commit().is_some_and(|commit| commit.starts_with(name));
        has_id(version, name) || is_commit && has_commit
    };
    let was_deployed = |version: &&ListedVersion| deployed.contains(version.id.as_str());
    let found: Vec<&ListedVersion> = versions.iter().filter(fits).collect();
    let live: Vec<&ListedVersion> = found.iter().copied().filter(was_deployed).collect();
    match live.as_slice() {
        [version] => Ok(version),
        [] if found.is_empty() => {
            let known: Vec<_> = versions.iter().filter(was_deployed).take(MAX_LISTED).collect();
            Err(usage(format!("no version is `{name}`"))
                .hint(format!("name one of the last that were live:{}", lines(&known))))
        }
        [] => Err(never_live(name, &found, deployments)),
        several => Err(refused(format!("`{name}` means several versions that were live"))
            .hint(format!("name one by its id:{}", lines(several)))),
    }
}

/// Refuses uploads that were never live, as far as Cloudflare's list tells.
fn never_live(name: &str, uploads: &[&ListedVersion], deployments: &[Deployment]) -> Error {
    let all = describe_all(uploads).join(", ");
    if uploads.iter().any(|version| is_before_list(version, deployments)) {
        return refused(format!(
            "`{name}` is not in the last {MAX_DEPLOYMENTS} deployments, which are all that Cloudflare lists: {all}"
        ))
        .hint("if it was live before them, run `cargo xtask promote PROJECT --from VERSION`");
    }
    refused(format!("no version of `{name}` was live: {all} was uploaded as a preview")).hint(
        "make an upload live with `cargo xtask promote PROJECT --from ALIAS`, or deploy the commit",
    )
}

fn describe_all(versions: &[&ListedVersion]) -> Vec<String> {
    let describe_one = |version: &&ListedVersion| {
        let message = version.annotation("workers/message");
        let created = version.metadata.created_on.as_deref();
        describe(&version.id, message, created, |age| format!("uploaded {age} ago"))
    };
    versions.iter().map(describe_one).collect()
}

/// Returns the descriptions, each on its own line of a hint.
fn lines(versions: &[&ListedVersion]) -> String {
    describe_all(versions).iter().map(|line| format!("\n  {line}")).collect()
}

/// Returns true if `name` is the version's id or at least its first 7 digits.
fn has_id(version: &ListedVersion, name: &str) -> bool {
    version.id == name || name.len() >= 7 && version.id.starts_with(name)
}

/// Returns true if a version may have been live before the listed deployments.
fn is_before_list(version: &ListedVersion, deployments: &[Deployment]) -> bool {
    let oldest = deployments.last().and_then(|one| parse_rfc3339(one.created_on.as_deref()?));
    let uploaded = version.metadata.created_on.as_deref().and_then(parse_rfc3339);
    let is_newer = uploaded.zip(oldest).is_some_and(|(uploaded, oldest)| uploaded > oldest);
    deployments.len() >= MAX_DEPLOYMENTS && !is_newer
}

/// Finds the previous live version. Only versions that were uploaded before the live one count. So a
/// second rollback goes further back, and never returns to the version that the first one replaced.
fn previous<'a>(
    versions: &'a [ListedVersion],
    deployments: &[Deployment],
    live: &str,
) -> Result<&'a ListedVersion> {
    let at = versions.iter().position(|version| version.id == live);
    let older = at.map_or(&[] as &[ListedVersion], |at| &versions[at + 1..]);
    let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
    let mut found =
        deployed.filter_map(|share| older.iter().find(|version| version.id == share.version_id));
    found.next().ok_or_else(|| {
        let live = short_version(live);
        // All versions or all deployments are known.
        let is_complete = versions.len() < MAX_VERSIONS && older.is_empty()
            || deployments.len() < MAX_DEPLOYMENTS;
        if at.is_some() && is_complete {
            return refused(format!(
                "no version that was live before {live} exists; it is the first one"
            ))
            .hint("deploy an earlier commit instead");
        }
        refused(format!(
            "the last {MAX_DEPLOYMENTS} deployments, which are all that Cloudflare lists, have no version before {live}"
        ))
        .hint("list the versions with `cargo xtask versions PROJECT`")
        .hint("make one live with `cargo xtask promote PROJECT --from VERSION`")
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
        // Cloudflare lists ten deployments. A version that is older than all of them may have been live.
        let (_, full) = history(&[], &["b"; MAX_DEPLOYMENTS]);
        let before = find(&full, &commit("a")[..7]).expect_err("not listed");
        assert_eq!(
            before.with_hints(),
            "`a000000` is not in the last 10 deployments, which are all that Cloudflare lists: a2-0000- (commit \
             a000000), a1-0000- (commit a000000)\nhint: if it was live before them, run `cargo xtask promote PROJECT \
             --from VERSION`"
        );
        let unknown = find(&both, "deadbeef").expect_err("unknown");
        assert!(unknown.hints[0].starts_with("name one of the last that were live"), "{unknown:?}");
    }
}
