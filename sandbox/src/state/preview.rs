//! Worker Previews: named copies of a Worker with bindings of their own, which can be deleted
//! (<https://developers.cloudflare.com/workers/previews/>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Version, Worker};
use crate::ids::{hex, now, random, uuid};

/// How many Previews a Worker keeps, and how many deployments a Preview: what was deployed longest ago
/// makes room (<https://developers.cloudflare.com/workers/previews/limitations/>).
pub const MOST: usize = 100;

/// A DNS label holds 63 characters, and the slug shares it with a dash and the Worker's name.
const LABEL: usize = 63;

/// A Preview of a Worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Preview {
    /// Its id.
    pub id: String,
    /// Its name, as given.
    pub name: String,
    /// The first part of its host name, which never changes.
    pub slug: String,
    /// When it was made.
    pub created_on: String,
    /// What belongs to it rather than to a deployment, such as `observability`, as sent.
    pub settings: Value,
    /// Its deployments, oldest first. The last one answers at the slug.
    pub deployments: Vec<Version>,
}

impl Preview {
    /// The deployment that answers at the slug.
    #[must_use]
    pub fn latest(&self) -> Option<&Version> {
        self.deployments.last()
    }

    /// The deployment of this id, or the last one: `latest`.
    #[must_use]
    pub fn deployment(&self, id: &str) -> Option<&Version> {
        match id {
            "latest" => self.latest(),
            id => self.deployments.iter().find(|deployment| deployment.id == id),
        }
    }

    /// Adds a deployment, which answers at once.
    pub fn deploy(&mut self, deployment: Version) {
        self.deployments.push(deployment);
        let surplus = self.deployments.len().saturating_sub(MOST);
        self.deployments.drain(..surplus);
    }

    fn last_deployed(&self) -> &str {
        self.latest().map_or(&self.created_on, |deployment| &deployment.created_on)
    }
}

impl Worker {
    /// The Preview of this name, slug or id.
    #[must_use]
    pub fn preview(&self, identifier: &str) -> Option<&Preview> {
        self.previews.iter().find(|preview| is(preview, identifier))
    }

    /// The same, to be changed.
    pub fn preview_mut(&mut self, identifier: &str) -> Option<&mut Preview> {
        self.previews.iter_mut().find(|preview| is(preview, identifier))
    }

    /// Makes a Preview. The one deployed longest ago makes room when there are too many.
    pub fn add_preview(&mut self, name: &str, settings: Value) -> Preview {
        while self.previews.len() >= MOST {
            let oldest = self.previews.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, preview)| preview.last_deployed().to_owned());
            let Some((index, _)) = oldest else { break };
            self.previews.remove(index);
        }
        let wanted = slug(name, &self.name);
        let taken = self.previews.iter().any(|preview| preview.slug == wanted);
        let slug = if taken { with_digits(&wanted, &self.name) } else { wanted };
        let preview = Preview {
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

    /// Forgets a Preview with its deployments; whether there was one.
    pub fn remove_preview(&mut self, identifier: &str) -> bool {
        let before = self.previews.len();
        self.previews.retain(|preview| !is(preview, identifier));
        self.previews.len() < before
    }

    /// The Preview's deployment that answers at `<prefix>-<worker>`: `prefix` is a slug, or the first 8
    /// digits of a deployment's id.
    #[must_use]
    pub fn previewed(&self, prefix: &str) -> Option<&Version> {
        let by_slug = self.previews.iter().find(|preview| preview.slug == prefix);
        let mut deployments = self.previews.iter().flat_map(|preview| &preview.deployments);
        by_slug
            .and_then(Preview::latest)
            .or_else(|| deployments.find(|found| prefix.len() == 8 && found.id.starts_with(prefix)))
    }
}

fn is(preview: &Preview, identifier: &str) -> bool {
    [&preview.name, &preview.slug, &preview.id].iter().any(|own| *own == identifier)
}

/// Whether the API takes a name: 1 to 256 of `A-Za-z0-9-_/.+=`, a letter or digit at both ends.
#[must_use]
pub fn good_name(name: &str) -> bool {
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_/.+=".contains(&b);
    name.len() <= 256
        && name.bytes().all(good)
        && end(name.bytes().next())
        && end(name.bytes().next_back())
}

/// A name in lower case, with dashes for all else, short enough for a host name.
fn slug(name: &str, worker: &str) -> String {
    let mut slug = String::new();
    for c in name.to_ascii_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    if slug.len() + 1 + worker.len() > LABEL { with_digits(&slug, worker) } else { slug }
}

fn with_digits(slug: &str, worker: &str) -> String {
    let room = LABEL.saturating_sub(worker.len() + 1 + 5);
    let kept: String = slug.chars().take(room).collect();
    format!("{}-{}", kept.trim_end_matches('-'), hex(&random::<2>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        for name in ["mr-42", "Feature/new_home", "a", "1.2+x=y", &"a".repeat(256)] {
            assert!(good_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", "a\u{e4}b", "a:b", &"a".repeat(257)] {
            assert!(!good_name(name), "{name}");
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
            assert_eq!(worker.preview(identifier).expect("it is there").id, first.id);
        }
        assert!(worker.remove_preview("feature-new-home"));
        assert!(!worker.remove_preview("feature-new-home"));
        for number in 0..MOST {
            worker.add_preview(&format!("mr-{number}"), Value::Null);
        }
        assert_eq!(worker.previews.len(), MOST);
        assert!(worker.preview(&"a".repeat(200)).is_none(), "the oldest made room");
    }
}
