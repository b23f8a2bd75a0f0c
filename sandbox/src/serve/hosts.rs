//! Which version a host name means.

use crate::app::SUBDOMAIN;
use crate::state::model::{Version, Worker};

/// What a host name leads to.
#[derive(Debug)]
pub enum Found {
    /// This version.
    Version(Box<Worker>, Box<Version>),
    /// A Worker that has never been deployed.
    NotDeployed(String),
    /// A version or alias of a Worker whose preview addresses are off.
    PreviewsOff(String),
    /// Nothing.
    Nothing,
}

/// Whether `host` (without a port) is ours rather than a Worker's: the API and the page.
#[must_use]
pub fn is_own(host: &str) -> bool {
    matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]")
}

/// Finds the version that `host` (without a port) means: `<worker>`, `<alias>-<worker>` or
/// `<first 8 of the version>-<worker>` below `localhost` or the account's workers.dev subdomain, or a
/// custom domain.
#[must_use]
pub fn find(workers: &[Worker], host: &str) -> Found {
    let workers_dev = format!(".{SUBDOMAIN}.workers.dev");
    let label = host.strip_suffix(".localhost").or_else(|| host.strip_suffix(workers_dev.as_str()));
    let Some(label) = label else {
        return match workers
            .iter()
            .find(|worker| worker.domains.iter().any(|domain| domain == host))
        {
            Some(worker) => live(worker),
            None => Found::Nothing,
        };
    };
    if let Some(worker) = workers.iter().find(|worker| worker.name == label) {
        return live(worker);
    }
    // The longest name first: `a-b` may be an alias of `b` or a Worker.
    let mut candidates: Vec<(&Worker, &str)> = workers
        .iter()
        .filter_map(|worker| {
            Some((worker, label.strip_suffix(worker.name.as_str())?.strip_suffix('-')?))
        })
        .collect();
    candidates.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.name.len()));
    for (worker, prefix) in candidates {
        let version = worker.alias(prefix).or_else(|| by_short_id(worker, prefix));
        match version {
            Some(_) if !worker.previews_enabled => return Found::PreviewsOff(worker.name.clone()),
            Some(version) => {
                return Found::Version(Box::new(worker.clone()), Box::new(version.clone()));
            }
            None => {}
        }
    }
    Found::Nothing
}

fn live(worker: &Worker) -> Found {
    match worker.live() {
        Some(version) => Found::Version(Box::new(worker.clone()), Box::new(version.clone())),
        None => Found::NotDeployed(worker.name.clone()),
    }
}

fn by_short_id<'a>(worker: &'a Worker, prefix: &str) -> Option<&'a Version> {
    worker.versions.iter().find(|version| prefix.len() == 8 && version.id.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::model::whole;

    fn worker(name: &str, aliases: &[&str]) -> Worker {
        let mut worker = Worker::new("account", name);
        for (index, alias) in aliases.iter().enumerate() {
            let version: Version = serde_json::from_value(serde_json::json!({
                "id": format!("{index:08}-{name}"), "number": index, "created_on": "", "modules": [],
                "annotations": {"workers/alias": alias}, "main_module": null, "bindings": [],
                "compatibility_date": "", "compatibility_flags": [], "assets": null
            }))
            .expect("a version");
            worker.deploy(whole(&version.id), std::collections::BTreeMap::new());
            worker.versions.push(version);
        }
        worker
    }

    fn id(workers: &[Worker], host: &str) -> String {
        match find(workers, host) {
            Found::Version(_, version) => version.id,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn hosts_lead_to_versions() {
        let mut site = worker("site", &["mr-1", "mr-2"]);
        site.domains.push("example.com".to_owned());
        let workers = [site, worker("b-site", &["mr-1"]), worker("new", &[])];
        for (host, version) in [
            ("site.localhost", "00000001-site"),
            ("mr-1-site.localhost", "00000000-site"),
            ("mr-2-site.sandbox.workers.dev", "00000001-site"),
            ("00000000-site.localhost", "00000000-site"),
            ("mr-1-b-site.localhost", "00000000-b-site"),
            ("b-site.localhost", "00000000-b-site"),
            ("example.com", "00000001-site"),
        ] {
            assert_eq!(id(&workers, host), version, "{host}");
        }
        assert!(matches!(find(&workers, "new.localhost"), Found::NotDeployed(_)));
        for host in ["mr-3-site.localhost", "other.localhost", "www.example.com", "site.evil.com"] {
            assert!(matches!(find(&workers, host), Found::Nothing), "{host}");
        }
    }

    #[test]
    fn previews_can_be_off() {
        let mut site = worker("site", &["mr-1"]);
        site.previews_enabled = false;
        assert!(matches!(find(&[site.clone()], "mr-1-site.localhost"), Found::PreviewsOff(_)));
        assert!(matches!(find(&[site], "site.localhost"), Found::Version(..)));
    }
}
