//! Resolves a host name to a version.

use std::sync::Arc;

use axum::http::HeaderMap;
use ring::digest::{SHA256, digest};

use crate::app::SUBDOMAIN;
use crate::ids::random;
use crate::state::model::{Worker, WorkerVersion};

/// The target of a host name.
#[derive(Debug)]
pub enum HostTarget {
    /// A version of a Worker.
    Version(Arc<Worker>, Box<WorkerVersion>),
    /// A Worker that has never been deployed.
    NotDeployed(String),
    /// A Worker whose workers.dev URL is disabled.
    WorkerDisabled(String),
    /// A version or alias of a Worker whose preview URLs are disabled.
    PreviewsDisabled(String),
    /// No Worker has this host.
    Unknown,
}

/// Returns the host name in a `Host` header, in lower case, without the port and a final dot.
#[must_use]
pub fn host_name(header: &str) -> String {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match header.rsplit_once(':') {
        Some((name, digits)) if is_port(digits) => name,
        _ => header,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns whether a host name is a loopback name, which reaches the APIs and the page. A request
/// without a host does too.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    matches!(host, "" | "localhost" | "127.0.0.1" | "[::1]")
}

/// Resolves `host` to a version.
///
/// The first label is `<worker>`, `<alias>-<worker>` or `<first 8 digits of the version>-<worker>`. A Preview
/// has the slug instead of the alias, and its deployment instead of the version. The label is below `localhost`
/// or below the account's workers.dev subdomain. A custom domain works alone or below `localhost`. Below
/// `localhost` a Worker is always enabled.
#[must_use]
pub fn find(workers: &[Arc<Worker>], host: &str) -> HostTarget {
    find_by(workers, host, &Worker::live)
}

/// Finds the version that serves a request to `host`. If a deployment has two versions, the headers of the request
/// select one. Without them the selection is random, by the percentages of the traffic
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/gradual-deployments/>).
#[must_use]
pub fn find_for(workers: &[Arc<Worker>], host: &str, headers: &HeaderMap) -> HostTarget {
    find_by(workers, host, &|worker: &Worker| choose(worker, headers))
}

/// The header that selects versions: `shop="VERSION", other="VERSION"`.
const OVERRIDES_HEADER: &str = "cloudflare-workers-version-overrides";

/// The header whose value always selects the same version of a deployment.
const KEY_HEADER: &str = "cloudflare-workers-version-key";

/// Selects the version of a Worker that serves a request with these headers.
fn choose<'w>(worker: &'w Worker, headers: &HeaderMap) -> Option<&'w WorkerVersion> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let id = text(OVERRIDES_HEADER).and_then(|text| {
        text.split(',').find_map(|entry| {
            let (name, version) = entry.trim().split_once('=')?;
            (name == worker.name).then(|| version.trim_matches('"'))
        })
    });
    // Cloudflare ignores a version that is not in the deployment.
    let selected = id.and_then(|id| worker.serving().find(|(version, _)| version.id == id));
    if let Some((version, _)) = selected {
        return Some(version);
    }
    let bytes: [u8; 4] = match text(KEY_HEADER) {
        Some(key) => {
            let hash = digest(&SHA256, key.as_bytes());
            hash.as_ref().first_chunk().copied().unwrap_or_default()
        }
        None => random(),
    };
    worker.version_at(f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0) * 100.0)
}

/// Selects the version of a Worker that serves a request.
type Choose<'c> = dyn Fn(&Worker) -> Option<&WorkerVersion> + 'c;

fn find_by(workers: &[Arc<Worker>], host: &str, choose: &Choose<'_>) -> HostTarget {
    let live = |worker: &Arc<Worker>| live(worker, choose);
    let workers_dev = format!(".{SUBDOMAIN}.workers.dev");
    let local = host.strip_suffix(".localhost");
    let find_domain = |name: &str| {
        let has_domain = |worker: &&Arc<Worker>| worker.domains.iter().any(|domain| domain == name);
        workers.iter().find(has_domain).map_or(HostTarget::Unknown, live)
    };
    let Some(label) = local.or_else(|| host.strip_suffix(workers_dev.as_str())) else {
        return find_domain(host);
    };
    if local.is_some() && label.contains('.') {
        return find_domain(label);
    }
    if let Some(worker) = workers.iter().find(|worker| worker.name == label) {
        if local.is_none() && !worker.enabled {
            return HostTarget::WorkerDisabled(worker.name.clone());
        }
        return live(worker);
    }
    // The longest name first, because `x-a-b` can be the alias `x` of `a-b`, or `x-a` of `b`.
    let prefix = |name: &str| label.strip_suffix(name)?.strip_suffix('-').map(str::to_owned);
    let mut candidates: Vec<(&Arc<Worker>, String)> =
        workers.iter().filter_map(|worker| Some((worker, prefix(&worker.name)?))).collect();
    candidates.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.name.len()));
    for (worker, prefix) in candidates {
        let version = worker.preview_deployment(&prefix).or_else(|| worker.alias(&prefix));
        match version.or_else(|| by_short_id(worker, &prefix)) {
            Some(_) if !worker.previews_enabled => {
                return HostTarget::PreviewsDisabled(worker.name.clone());
            }
            Some(version) => return HostTarget::Version(worker.clone(), Box::new(version.clone())),
            None => {}
        }
    }
    HostTarget::Unknown
}

fn live(worker: &Arc<Worker>, choose: &Choose<'_>) -> HostTarget {
    match choose(worker) {
        Some(version) => HostTarget::Version(worker.clone(), Box::new(version.clone())),
        None => HostTarget::NotDeployed(worker.name.clone()),
    }
}

fn by_short_id<'a>(worker: &'a Worker, prefix: &str) -> Option<&'a WorkerVersion> {
    worker.versions.iter().find(|version| prefix.len() == 8 && version.id.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::model::{TrafficShare, full_traffic};

    fn worker(name: &str, aliases: &[&str]) -> Worker {
        let mut worker = Worker::new("account", name);
        worker.previews_enabled = true;
        for (index, alias) in aliases.iter().enumerate() {
            let version: WorkerVersion = serde_json::from_value(serde_json::json!({
                "id": format!("{index:08}-{name}"), "number": index, "created_on": "",
                "annotations": {"workers/alias": alias}, "main_module": null, "bindings": [],
                "modules": [], "compatibility_date": "", "compatibility_flags": [], "assets": null
            }))
            .expect("a version");
            worker.deploy(full_traffic(&version.id), BTreeMap::new());
            worker.versions.push(version);
        }
        worker
    }

    fn resolve(workers: &[Arc<Worker>], host: &str) -> String {
        match find(workers, host) {
            HostTarget::Version(_, version) => version.id,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn hosts_resolve_to_versions() {
        let mut site = worker("site", &["mr-1", "mr-2", "mr-2"]);
        site.domains.push("example.com".to_owned());
        let workers = [site, worker("b-site", &["mr-1"]), worker("new", &[])].map(Arc::new);
        for (host, expected) in [
            ("site.localhost", "00000002-site"),
            ("mr-1-site.localhost", "00000000-site"),
            ("mr-2-site.sandbox.workers.dev", "00000002-site"),
            ("00000000-site.localhost", "00000000-site"),
            ("0000000-site.localhost", "Unknown"),
            ("mr-1-b-site.localhost", "00000000-b-site"),
            ("b-site.localhost", "00000000-b-site"),
            ("example.com", "00000002-site"),
            ("example.com.localhost", "00000002-site"),
            ("www.example.com.localhost", "Unknown"),
            ("site.sandbox.workers.dev", "WorkerDisabled(\"site\")"),
            ("new.localhost", "NotDeployed(\"new\")"),
            ("mr-3-site.localhost", "Unknown"),
            ("other.localhost", "Unknown"),
            ("www.example.com", "Unknown"),
            ("site.evil.com", "Unknown"),
        ] {
            assert_eq!(resolve(&workers, host), expected, "{host}");
        }
    }

    /// Returns the versions that serve 400 requests with these headers, each with its number of requests.
    fn count_versions(
        workers: &[Arc<Worker>],
        headers: &[(&'static str, &str)],
    ) -> BTreeMap<String, usize> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let mut counts = BTreeMap::new();
        for _ in 0..400 {
            let HostTarget::Version(_, version) = find_for(workers, "site.localhost", &map) else {
                panic!("no version")
            };
            *counts.entry(version.id).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn two_versions_share_traffic_by_their_percentages() {
        let mut site = worker("site", &["mr-1", "mr-2"]);
        let (old, new) = ("00000000-site", "00000001-site");
        let share =
            |id: &str, percentage: f64| TrafficShare { version_id: id.to_owned(), percentage };
        site.deploy(vec![share(new, 25.0), share(old, 75.0)], BTreeMap::new());
        assert_eq!(site.live().map(|version| version.id.as_str()), Some(old));
        for (at, expected) in [(0.0, new), (24.9, new), (25.0, old), (99.9, old)] {
            assert_eq!(
                site.version_at(at).map(|version| version.id.as_str()),
                Some(expected),
                "{at}"
            );
        }
        let workers = [Arc::new(site)];
        let random_counts = count_versions(&workers, &[]);
        // Of 400 requests, fewer than 40 or more than 190 occur less than once in 10^10 runs.
        assert!((40..190).contains(&random_counts[new]), "{random_counts:?}");
        let by_name = format!("other=\"x\", site=\"{new}\"");
        assert_eq!(
            count_versions(&workers, &[(OVERRIDES_HEADER, &by_name)]),
            BTreeMap::from([(new.to_owned(), 400)])
        );
        let unknown = count_versions(&workers, &[(OVERRIDES_HEADER, "site=\"gone\"")]);
        assert_eq!(unknown.len(), 2, "{unknown:?}");
        assert_eq!(count_versions(&workers, &[(KEY_HEADER, "visitor-7")]).len(), 1);
    }

    #[test]
    fn previews_can_be_disabled() {
        let mut site = worker("site", &["mr-1"]);
        site.previews_enabled = false;
        let workers = [Arc::new(site)];
        assert_eq!(resolve(&workers, "mr-1-site.localhost"), "PreviewsDisabled(\"site\")");
        assert_eq!(resolve(&workers, "site.localhost"), "00000000-site");
    }

    #[test]
    fn host_headers_are_parsed() {
        for (header, expected) in [
            ("site.localhost:8787", "site.localhost"),
            ("LOCALHOST", "localhost"),
            ("[::1]", "[::1]"),
            ("[::1]:8787", "[::1]"),
            ("site.localhost.:80", "site.localhost"),
            ("", ""),
        ] {
            assert_eq!(host_name(header), expected, "{header}");
        }
    }
}
