//! Builds the timeline of a Worker from its versions and deployments.

use serde::Serialize;

use crate::state::model::{Worker, WorkerDeployment, WorkerVersion};

/// An entry of a Worker's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// The id of the version.
    pub version: String,
    /// The short hash of the commit that it was built from. `None` if the message has none.
    pub commit: Option<String>,
    /// The message of the version.
    pub message: Option<String>,
    /// The tag of the version, in which xtask stores the content key.
    pub tag: Option<String>,
    /// The kind of event: `deploy`, `preview mr-42`, `upload`, `secret`, `rollback`, `promote`.
    pub source: String,
    /// The time of the event, RFC 3339.
    pub at: String,
    /// `true` if this event made the current version live.
    pub live: bool,
}

/// Returns the timeline of a Worker, newest first, with at most `limit` entries.
#[must_use]
pub fn timeline(worker: &Worker, limit: usize) -> Vec<TimelineEntry> {
    let live = worker.live().map(|version| version.id.as_str());
    let last = worker.deployments.last().map(|deployment| deployment.id.as_str());
    let mut entries = Vec::new();
    let mut previous: Option<&WorkerVersion> = None;
    let mut deployed: Vec<&str> = Vec::new();
    for deployment in &worker.deployments {
        let Some(version) = worker.main_version(deployment) else { continue };
        let is_first = !deployed.contains(&version.id.as_str());
        deployed.push(&version.id);
        let source = if let Some(operation) = operation(deployment) {
            operation
        } else if is_secret_change(version) && is_first {
            "secret"
        } else if is_first {
            if version.annotations.contains_key("workers/alias") { "promote" } else { "deploy" }
        } else if previous.is_some_and(|previous| previous.number > version.number) {
            "rollback"
        } else {
            "promote"
        };
        let is_last = last == Some(deployment.id.as_str());
        let is_live = is_last && live == Some(version.id.as_str());
        entries.push(entry(version, source.to_owned(), &deployment.created_on, is_live));
        previous = Some(version);
    }
    for version in &worker.versions {
        let alias = version.annotations.get("workers/alias");
        let source = match alias {
            Some(alias) => format!("preview {alias}"),
            // The deployment of this version has an entry already.
            None if deployed.contains(&version.id.as_str()) => continue,
            None if is_secret_change(version) => "secret".to_owned(),
            None => "upload".to_owned(),
        };
        entries.push(entry(version, source, &version.created_on, false));
    }
    entries.sort_by(|a, b| b.at.cmp(&a.at));
    entries.truncate(limit);
    entries
}

fn entry(version: &WorkerVersion, source: String, at: &str, live: bool) -> TimelineEntry {
    let annotation = |name: &str| version.annotations.get(name).cloned();
    let message = annotation("workers/message");
    TimelineEntry {
        version: version.id.clone(),
        commit: message.as_deref().and_then(commit),
        message,
        tag: annotation("workers/tag"),
        source,
        at: at.to_owned(),
        live,
    }
}

/// Returns the operation of xtask in the message of a deployment. `None` for other deployments.
fn operation(deployment: &WorkerDeployment) -> Option<&'static str> {
    let message = deployment.annotations.get("workers/message")?.strip_prefix("xtask: ")?;
    ["rollback", "promote"].into_iter().find(|operation| message.starts_with(operation))
}

/// Returns whether a change of a secret created the version.
fn is_secret_change(version: &WorkerVersion) -> bool {
    version.annotations.get("workers/triggered_by").is_some_and(|by| by == "secret")
}

/// Returns the short hash of the commit at the beginning of a message. `None` if there is none.
fn commit(message: &str) -> Option<String> {
    let word = message.split([' ', ',', '+']).next()?;
    let is_commit = word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| word[..7].to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::model::{TrafficShare, full_traffic};

    fn version(number: usize, at: &str, annotations: &[(&str, &str)]) -> WorkerVersion {
        let annotations: BTreeMap<&str, &str> = annotations.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "id": format!("v{number}"), "number": number, "created_on": at, "annotations": annotations,
            "main_module": "a.js", "bindings": [], "modules": [], "compatibility_date": "",
            "compatibility_flags": [], "assets": null
        }))
        .expect("a version")
    }

    #[test]
    fn versions_and_deployments_share_a_timeline() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let mut worker = Worker::new("account", "shop");
        worker.versions = vec![
            version(1, "01", &[("workers/message", &format!("{commit} (triggers 1)"))]),
            version(2, "02", &[("workers/alias", "mr-1")]),
            version(3, "04", &[("workers/triggered_by", "secret")]),
            version(4, "06", &[]),
        ];
        let mut deploy = |at: &str, version: &str, message: &str| {
            let annotations = BTreeMap::from([("workers/message".to_owned(), message.to_owned())]);
            let versions: Vec<TrafficShare> = full_traffic(version);
            worker.deploy(versions, annotations);
            worker.deployments.last_mut().expect("a deployment").created_on = at.to_owned();
        };
        deploy("01", "v1", "");
        deploy("03", "v2", "");
        deploy("04", "v3", "");
        deploy("05", "v1", "xtask: rollback from v3");
        let entries = timeline(&worker, 10);
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {} {} {}", entry.at, entry.version, entry.source, entry.live))
            .collect();
        assert_eq!(
            lines,
            [
                "06 v4 upload false",
                "05 v1 rollback true",
                "04 v3 secret false",
                "03 v2 promote false",
                "02 v2 preview mr-1 false",
                "01 v1 deploy false"
            ]
        );
        assert_eq!(entries[1].commit.as_deref(), Some("0123456"));
        assert_eq!(timeline(&worker, 2).len(), 2);
    }
}
