//! Reads the versions of a Worker.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Api, DIRTY, Deployment, commit_in, parse_as};
use base::error::{Result, failed};

/// The number of newest versions that Cloudflare deploys again
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/>).
pub const MAX_VERSIONS: usize = 100;

/// The most pages of a list of versions, if a server has smaller pages than requested.
const MAX_PAGES: usize = 10;

impl Api<'_> {
    /// Returns the newest versions of `worker`, newest first: the ten of Cloudflare's first page. Empty if it does not
    /// exist.
    pub fn newest_versions(&self, worker: &str) -> Result<Vec<ListedVersion>> {
        let Some(result) = self.get(&format!("workers/scripts/{worker}/versions"))? else {
            return Ok(Vec::new());
        };
        parse_as(result["items"].clone(), "list of versions")
    }

    /// Returns the last [`MAX_VERSIONS`] versions of `worker`, newest first. Empty if it does not exist.
    pub fn versions(&self, worker: &str) -> Result<Vec<ListedVersion>> {
        self.versions_until(worker, |_| false)
    }

    /// Returns the versions as [`Api::versions`] does, but reads no page after one with a version for which `is_wanted` is
    /// true.
    pub fn versions_until(
        &self,
        worker: &str,
        mut is_wanted: impl FnMut(&ListedVersion) -> bool,
    ) -> Result<Vec<ListedVersion>> {
        let mut versions: Vec<ListedVersion> = Vec::new();
        for number in 1..=MAX_PAGES {
            let path =
                format!("workers/scripts/{worker}/versions?per_page={MAX_VERSIONS}&page={number}");
            let Some(page) = self.get_page(&path)? else { break };
            let found: Vec<ListedVersion> =
                parse_as(page.result["items"].clone(), "list of versions")?;
            let is_last = found.len() < page.size.unwrap_or(MAX_VERSIONS);
            // A server that ignores the number of the page sends the same one again.
            let is_known = |one: &ListedVersion| versions.iter().any(|other| other.id == one.id);
            let new: Vec<ListedVersion> = found.into_iter().filter(|one| !is_known(one)).collect();
            let is_end = is_last || new.is_empty() || new.iter().any(&mut is_wanted);
            versions.extend(new);
            if is_end || versions.len() >= MAX_VERSIONS {
                break;
            }
        }
        versions.truncate(MAX_VERSIONS);
        Ok(versions)
    }

    /// Returns the last [`MAX_VERSIONS`] versions and the older ones that a rollback may need, newest first: those of
    /// `deployments`, and `name` if it is a full id.
    pub fn versions_and_deployed(
        &self,
        worker: &str,
        deployments: &[Deployment],
        name: Option<&str>,
    ) -> Result<Vec<ListedVersion>> {
        let mut versions = self.versions(worker)?;
        let deployed = deployments.iter().flat_map(|deployment| &deployment.versions);
        let ids = deployed.map(|share| share.version_id.as_str());
        let ids = ids.chain(name.filter(|name| is_full_id(name)));
        let is_listed = |id: &&str| versions.iter().any(|version| version.id == *id);
        let unlisted: BTreeSet<&str> = ids.filter(|id| !is_listed(id)).collect();
        let mut older = Vec::new();
        for id in unlisted {
            older.extend(self.version(worker, id)?);
        }
        older.sort_by_key(|version| Reverse(version.number()));
        versions.extend(older);
        Ok(versions)
    }

    /// Returns the version `id`, however old it is. `None` if it does not exist.
    pub fn version(&self, worker: &str, id: &str) -> Result<Option<ListedVersion>> {
        let found = self.version_document(worker, id)?;
        found.map(|found| parse_as(found, "answer about a version")).transpose()
    }

    /// Returns the API's document about a version. `None` if it does not exist.
    pub(super) fn version_document(&self, worker: &str, id: &str) -> Result<Option<Value>> {
        // It becomes a part of an address.
        if id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(failed(
                "Cloudflare's list of deployments names a version whose id is not valid",
            ));
        }
        self.get(&format!("workers/scripts/{worker}/versions/{id}"))
    }

    /// Returns the newest uploaded version that is older than the versions of changed secrets. It has
    /// the same content.
    pub(super) fn origin(
        &self,
        worker: &str,
        version: ListedVersion,
    ) -> Result<Option<ListedVersion>> {
        let mut is_older = false;
        let versions = self.versions_until(worker, |other| {
            let is_origin = is_older && !other.is_of_secret();
            is_older |= other.id == version.id;
            is_origin
        })?;
        let older = versions.into_iter().skip_while(|other| other.id != version.id).skip(1);
        Ok(older.into_iter().find(|other| !other.is_of_secret()).or(Some(version)))
    }
}

/// Returns true if `name` has the form of a version's full id, a UUID.
fn is_full_id(name: &str) -> bool {
    name.len() == 36 && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// A version in the API's list.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedVersion {
    /// Its id.
    pub id: String,
    /// `workers/tag`, `workers/message`, `workers/alias`, `workers/triggered_by`.
    #[serde(default)]
    pub annotations: BTreeMap<String, Value>,
    #[serde(default)]
    number: Value,
    /// The metadata of the upload, such as its time.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The API's metadata of a version's upload.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    /// The time of the upload, RFC 3339.
    pub created_on: Option<String>,
    /// The tool that uploaded it, such as `wrangler`, `dash` or `api`.
    pub source: Option<String>,
    /// The email address of the person who uploaded it.
    pub author_email: Option<String>,
}

impl ListedVersion {
    /// Returns the position in the order of uploads. A newer version has a larger one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.number.as_u64()
    }

    /// Returns the alias that it was uploaded with.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.annotation("workers/alias")
    }

    /// Returns true if it was built from a working tree with uncommitted changes.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.annotation("workers/message").is_some_and(|message| message.contains(DIRTY))
    }

    /// Returns true if a changed secret created it. It has the content of the version before it, and
    /// neither tag nor message.
    #[must_use]
    pub fn is_of_secret(&self) -> bool {
        self.annotation("workers/triggered_by") == Some("secret")
            && self.annotation("workers/tag").is_none()
    }

    /// Returns the commit that it was built from: the first word of its message, if that is a commit id.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        commit_in(self.annotation("workers/message")?)
    }

    /// Returns an annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name)?.as_str()
    }
}
