//! Finds Workers that no longer belong to a project: a project was deleted or renamed, and its Worker still runs.
//!
//! A Worker counts only if its newest upload came from xtask and this repository. Its tag is then a content key, and
//! its message begins with a commit of this repository. A shallow clone finds fewer.

use std::collections::BTreeSet;

use camino::Utf8Path;

use super::status::{READERS, ReadableEnvironment};
use base::command::{quote, xtask_line};
use base::error::Error;
use base::parallel;
use cloudflare::api::ListedVersion;
use deployment::context::Ctx;
use deployment::report::status::{UnownedWorker, UnownedWorkers};
use workspace::Workspace;
use workspace::config::LOCAL;
use workspace::discovery::BrokenConfig;
use workspace::git;
use workspace::triggers::digest_in;

/// The maximum number of Workers of an account that are checked.
const MOST_WORKERS: usize = 200;

/// Returns the Workers that no project owns, in the accounts of `environments`.
pub fn find(
    ctx: &Ctx,
    workspace: &Workspace,
    environments: &[ReadableEnvironment],
) -> UnownedWorkers {
    let mut found = UnownedWorkers::default();
    if environments.is_empty() {
        return found;
    }
    let owned = OwnedNames::new(workspace);
    let mut accounts = BTreeSet::new();
    for environment in environments {
        let account =
            (&environment.destination.api, environment.destination.account_id.to_lowercase());
        if accounts.insert(account) {
            in_account(ctx, workspace, environment, &owned, &mut found);
        }
    }
    found
}

/// The names of the Workers that projects own.
struct OwnedNames {
    names: BTreeSet<String>,
    /// The quoted words in configs that cannot be used. One of them is the Worker's name.
    broken: BTreeSet<String>,
}

impl OwnedNames {
    /// Reads the names of all projects in all environments.
    fn new(workspace: &Workspace) -> OwnedNames {
        let shared = workspace.config.environments.keys().map(String::as_str);
        let shared: Vec<&str> = shared.chain([LOCAL]).collect();
        let names = workspace.projects.iter().flat_map(|project| {
            let own = project.environments.iter().map(String::as_str);
            let environments: Vec<&str> = own.chain(shared.iter().copied()).collect();
            let workers = environments.into_iter().map(|name| project.target(name).worker);
            workers.chain([project.worker.clone()]).collect::<Vec<_>>()
        });
        let broken = BrokenConfig::needing_attention(&workspace.broken).filter_map(|broken| {
            let text = std::fs::read_to_string(workspace.root.join(&broken.config)).ok()?;
            Some(quoted_words(&text))
        });
        OwnedNames { names: names.collect(), broken: broken.flatten().collect() }
    }

    /// Returns true if a project owns the Worker, or a config that cannot be read may own it.
    fn has(&self, worker: &str) -> bool {
        let may_be = |word: &String| {
            worker
                .strip_prefix(word.as_str())
                .is_some_and(|environment| environment.is_empty() || environment.starts_with('-'))
        };
        self.names.contains(worker) || self.broken.iter().any(may_be)
    }
}

/// Returns the quoted strings that are valid Worker names.
fn quoted_words(text: &str) -> Vec<String> {
    let is_name = |word: &&str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.split(['"', '\'']).filter(is_name).map(str::to_owned).collect()
}

fn in_account(
    ctx: &Ctx,
    workspace: &Workspace,
    environment: &ReadableEnvironment,
    owned: &OwnedNames,
    found: &mut UnownedWorkers,
) {
    let destination = &environment.destination;
    let api = destination.client(&environment.token).patient(&ctx.retry_budget);
    let environment = &destination.environment;
    let names = match api.worker_names() {
        Ok(names) => names,
        Err(error) => {
            found.incomplete.push(format!("{environment} cannot be listed: {error:#}"));
            return;
        }
    };
    let mut others: Vec<String> = names.into_iter().filter(|name| !owned.has(name)).collect();
    others.sort();
    if others.len() > MOST_WORKERS {
        found.incomplete.push(format!(
            "{environment} has {} Workers of others, of which the first {MOST_WORKERS} were read",
            others.len()
        ));
        others.truncate(MOST_WORKERS);
    }
    let commits = parallel::map(&others, READERS, |worker| {
        let versions = api.newest_versions(worker)?;
        Ok::<_, Error>(uploaded_commit(&ctx.root, &versions))
    });
    let mut workers = Vec::new();
    let mut problem = None;
    for (worker, commit) in others.into_iter().zip(commits) {
        match commit {
            Ok(commit) => workers.extend(commit.map(|commit| (worker, commit))),
            Err(error) => problem = Some(format!("{worker} in {environment}: {error:#}")),
        }
    }
    found.incomplete.extend(problem);
    found.workers.extend(workers.into_iter().map(|(worker, commit)| UnownedWorker {
        delete: delete_command(workspace, environment, &worker),
        environment: environment.clone(),
        worker,
        commit,
    }));
}

/// Returns the commit of this repository that the newest upload was built from. `None` if another tool or repository
/// uploaded it.
fn uploaded_commit(root: &Utf8Path, versions: &[ListedVersion]) -> Option<String> {
    let commit = commit_of_deployment(versions)?;
    let object = format!("{commit}^{{commit}}");
    git::ask(root, &["rev-parse", "--quiet", "--verify", &object]).map(|_| commit.to_owned())
}

/// Returns the commit in the newest upload, if it has the annotations of a deployment by xtask.
fn commit_of_deployment(versions: &[ListedVersion]) -> Option<&str> {
    let newest = versions.iter().find(|version| !version.is_of_secret())?;
    let tag = newest.annotation("workers/tag")?;
    let is_key = tag.len() == 12 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    digest_in(newest.annotation("workers/message")?)?;
    newest.commit().filter(|_| is_key)
}

/// Returns the command that deletes a Worker. It runs with the account and the token of any project.
fn delete_command(workspace: &Workspace, environment: &str, worker: &str) -> String {
    match workspace.projects.first() {
        Some(project) => {
            xtask_line(&["wrangler", &project.name, "--env", environment, "--", "delete", worker])
        }
        None => format!("wrangler delete {}", quote(worker)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_deployments_of_this_tool_make_an_orphan() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let version = |tag: &str, message: &str| -> ListedVersion {
            serde_json::from_value(json!({ "id": "1", "annotations": {
                "workers/tag": tag, "workers/message": message } }))
            .expect("a version")
        };
        let secret: ListedVersion = serde_json::from_value(
            json!({ "id": "2", "annotations": { "workers/triggered_by": "secret" } }),
        )
        .expect("a version");
        let ours = || version("0123456789ab", &format!("{commit} (triggers 01234567)"));
        assert_eq!(commit_of_deployment(&[ours()]), Some(commit));
        assert_eq!(commit_of_deployment(&[secret, ours()]), Some(commit));
        for theirs in [
            version("v1.2.3", &format!("{commit} (triggers 01234567)")),
            version("0123456789ab", commit),
            version("0123456789ab", "release 7 (triggers 01234567)"),
        ] {
            // The last uploader owns it.
            assert_eq!(commit_of_deployment(&[theirs, ours()]), None);
        }
        assert_eq!(commit_of_deployment(&[]), None);
    }

    #[test]
    fn an_unreadable_config_may_own_a_worker() {
        let broken = quoted_words("{ \"name\": \"shop\", \"main\": 'src/a.ts', {{more}} }");
        let owned =
            OwnedNames { names: ["api".to_owned()].into(), broken: broken.into_iter().collect() };
        for (worker, expected) in [
            ("api", true),
            ("shop", true),
            ("shop-staging", true),
            ("shopping", false),
            ("api-old", false),
        ] {
            assert_eq!(owned.has(worker), expected, "{worker}");
        }
    }
}
