//! Adds, finds and removes Worker Previews, which are copies of a Worker with separate bindings
//! (<https://developers.cloudflare.com/workers/previews/>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Worker, WorkerVersion};
use crate::ids::{hex, now, random, slug_of, uuid};

/// The maximum number of Previews of a Worker, and of deployments of a Preview. The least recently deployed one
/// is evicted (<https://developers.cloudflare.com/workers/previews/limitations/>).
pub const MAX_PREVIEWS: usize = 100;

/// The maximum length of a DNS label, which consists of the slug, a dash and the Worker's name.
const MAX_LABEL: usize = 63;

/// A Preview of a Worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorkerPreview {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The first part of its host name. It never changes.
    pub slug: String,
    /// The time of its creation.
    pub created_on: String,
    /// The settings that all deployments share, such as `observability`, as the client sent them.
    pub settings: Value,
    /// Its deployments, oldest first. The last one serves the slug.
    pub deployments: Vec<WorkerVersion>,
}

impl WorkerPreview {
    /// Returns the deployment that serves the slug.
    #[must_use]
    pub fn latest(&self) -> Option<&WorkerVersion> {
        self.deployments.last()
    }

    /// Returns the deployment of this id, or the last one for `latest`.
    #[must_use]
    pub fn deployment(&self, id: &str) -> Option<&WorkerVersion> {
        match id {
            "latest" => self.latest(),
            id => self.deployments.iter().find(|deployment| deployment.id == id),
        }
    }

    /// Adds a deployment, which is live at once.
    pub fn deploy(&mut self, deployment: WorkerVersion) {
        self.deployments.push(deployment);
        let surplus = self.deployments.len().saturating_sub(MAX_PREVIEWS);
        self.deployments.drain(..surplus);
    }

    /// Returns the time of the last deployment, or of the creation.
    fn last_deployed(&self) -> &str {
        self.latest().map_or(&self.created_on, |deployment| &deployment.created_on)
    }
}

impl Worker {
    /// Returns the Preview of this name, slug or id.
    #[must_use]
    pub fn preview(&self, identifier: &str) -> Option<&WorkerPreview> {
        self.previews.iter().find(|preview| is_named(preview, identifier))
    }

    /// Returns the Preview of this name, slug or id, to change it.
    pub fn preview_mut(&mut self, identifier: &str) -> Option<&mut WorkerPreview> {
        self.previews.iter_mut().find(|preview| is_named(preview, identifier))
    }

    /// Adds a Preview. If there are too many, evicts the least recently deployed one.
    pub fn add_preview(&mut self, name: &str, settings: Value) -> WorkerPreview {
        while self.previews.len() >= MAX_PREVIEWS {
            let oldest = self.previews.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, preview)| preview.last_deployed().to_owned());
            let Some((index, _)) = oldest else { break };
            self.previews.remove(index);
        }
        let preferred = slug(name, &self.name);
        let is_taken = self.previews.iter().any(|preview| preview.slug == preferred);
        let slug = if is_taken { with_digits(&preferred, &self.name) } else { preferred };
        let preview = WorkerPreview {
            id: uuid(),
            name: name.to_owned(),
            slug,
            created_on: now(),
            settings,
            deployments: Vec::new(),
        };
        self.previews.push(preview.clone());
        preview
    }

    /// Removes a Preview with its deployments. Returns whether it existed.
    pub fn remove_preview(&mut self, identifier: &str) -> bool {
        let before = self.previews.len();
        self.previews.retain(|preview| !is_named(preview, identifier));
        self.previews.len() < before
    }

    /// Returns the Preview's deployment at `<prefix>-<worker>`. `prefix` is a slug, or the first 8 digits
    /// of a deployment's id.
    #[must_use]
    pub fn preview_deployment(&self, prefix: &str) -> Option<&WorkerVersion> {
        let by_slug = self.previews.iter().find(|preview| preview.slug == prefix);
        let mut deployments = self.previews.iter().flat_map(|preview| &preview.deployments);
        by_slug.and_then(WorkerPreview::latest).or_else(|| {
            deployments.find(|deployment| prefix.len() == 8 && deployment.id.starts_with(prefix))
        })
    }
}

fn is_named(preview: &WorkerPreview, identifier: &str) -> bool {
    [&preview.name, &preview.slug, &preview.id].iter().any(|text| *text == identifier)
}

/// Returns whether the API accepts a name. It has 1 to 256 of the characters `A-Za-z0-9-_/.+=`, with a letter or
/// digit at both ends.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.+=".contains(&b))
        && is_end(name.bytes().next())
        && is_end(name.bytes().next_back())
}

/// Returns the slug of a name: lower case, with dashes for other characters, short enough for a host
/// name.
fn slug(name: &str, worker: &str) -> String {
    let slug = slug_of(name);
    if slug.len() + 1 + worker.len() > MAX_LABEL { with_digits(&slug, worker) } else { slug }
}

/// Adds random digits to a slug, and shortens it if the label would be too long.
fn with_digits(slug: &str, worker: &str) -> String {
    // A dash and the name of the Worker follow, and this adds a dash and four digits.
    let max_length = MAX_LABEL.saturating_sub(worker.len() + 1 + 5);
    let start: String = slug.chars().take(max_length).collect();
    format!("{}-{}", start.trim_end_matches('-'), hex(&random::<2>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        for name in ["mr-42", "Feature/new_home", "a", "1.2+x=y", &"a".repeat(256)] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", "a\u{e4}b", "a:b", &"a".repeat(257)] {
            assert!(!is_valid_name(name), "{name}");
        }
    }

    #[test]
    fn slugs_are_labels_and_differ() {
        let mut worker = Worker::new("account", "site");
        let first = worker.add_preview("Feature/New_Home", Value::Null);
        assert_eq!(first.slug, "feature-new-home");
        let second = worker.add_preview("feature/new-home", Value::Null);
        assert!(second.slug.starts_with("feature-new-home-"), "{}", second.slug);
        let long = worker.add_preview(&"a".repeat(200), Value::Null);
        assert_eq!(long.slug.len() + "-site".len(), 63);
        for identifier in ["Feature/New_Home", "feature-new-home", first.id.as_str()] {
            assert_eq!(worker.preview(identifier).expect("a Preview").id, first.id);
        }
        assert!(worker.remove_preview("feature-new-home"));
        assert!(!worker.remove_preview("feature-new-home"));
        for number in 0..MAX_PREVIEWS {
            worker.add_preview(&format!("mr-{number}"), Value::Null);
        }
        assert_eq!(worker.previews.len(), MAX_PREVIEWS);
        assert!(worker.preview(&"a".repeat(200)).is_none(), "the oldest one is evicted");
    }
}
