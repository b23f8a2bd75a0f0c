//! Reads merge requests that ended, and environments that are not stopped
//! (<https://docs.gitlab.com/api/merge_requests/>, <https://docs.gitlab.com/api/environments/>).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::Client;
use super::segment;
use base::error::Result;

/// The maximum number of rows to read from a list.
pub const MAX_LISTED: usize = 500;

/// The maximum number of pages to read from a list.
const MAX_PAGES: u64 = 50;

/// The number of merge requests in one request, so that its URL stays short.
const AT_ONCE: usize = 50;

/// The highest number that GitLab's database can store.
const HIGHEST: u64 = i32::MAX as u64;

/// The fields of a merge request that we read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedMergeRequest {
    /// Its number in its project.
    pub iid: u64,
    /// Its state.
    pub state: ListedState,
    /// The URL of its page.
    #[serde(default)]
    pub web_url: Option<String>,
    /// The time of its creation, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// The time of its merge.
    #[serde(default)]
    pub merged_at: Option<String>,
    /// The time at which it was closed.
    #[serde(default)]
    pub closed_at: Option<String>,
}

/// The state of a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListedState {
    /// It was merged.
    Merged,
    /// It was closed.
    Closed,
    /// It was deleted: a later merge request exists or existed, and GitLab does not reuse numbers.
    #[serde(skip_deserializing)]
    Deleted,
    /// Neither this number nor a later one exists. It may belong to another project.
    #[serde(skip_deserializing)]
    Unknown,
    /// It is open, or about to be merged.
    #[serde(other)]
    Open,
}

/// An environment of GitLab.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GitlabEnvironment {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// Returns the merge requests that were merged or closed and have changed since `since` (RFC 3339),
/// the latest changes first. The flag is true if there are more than [`MAX_LISTED`].
pub fn list_finished(
    client: &Client<'_>,
    project: &str,
    since: &str,
) -> Result<(Vec<ListedMergeRequest>, bool)> {
    let (mut found, mut cut) = (Vec::new(), false);
    for state in ["merged", "closed"] {
        let path = format!(
            "/projects/{}/merge_requests?state={state}&updated_after={since}&order_by=updated_at&sort=desc",
            segment(project)
        );
        let (rows, more) = list(client, &path)?;
        found.extend::<Vec<ListedMergeRequest>>(rows);
        cut |= more;
    }
    Ok((found, cut))
}

/// Returns the merge requests with these numbers, including those that do not exist.
pub fn list_by_number(
    client: &Client<'_>,
    project: &str,
    iids: &BTreeSet<u64>,
) -> Result<Vec<ListedMergeRequest>> {
    let base = format!("/projects/{}/merge_requests", segment(project));
    let mut found: Vec<ListedMergeRequest> = Vec::new();
    let possible: Vec<u64> = iids.iter().copied().filter(|iid| *iid <= HIGHEST).collect();
    for some in possible.chunks(AT_ONCE) {
        let wanted: Vec<String> = some.iter().map(|iid| format!("iids%5B%5D={iid}")).collect();
        let (rows, _) =
            list::<ListedMergeRequest>(client, &format!("{base}?{}", wanted.join("&")))?;
        found.extend(rows.into_iter().filter(|row| some.contains(&row.iid)));
    }
    let missing = iids.iter().filter(|iid| !found.iter().any(|row| row.iid == **iid));
    let missing: Vec<u64> = missing.copied().collect();
    if !missing.is_empty() {
        // The API cannot sort lists by number. In an imported project, the newest merge request may not
        // have the highest number. The result is then too low, so more previews are kept.
        let newest = client.get(&format!("{base}?order_by=created_at&sort=desc&per_page=1"))?;
        let newest: Vec<ListedMergeRequest> = newest.json(200)?;
        let last = newest.iter().chain(&found).map(|row| row.iid).max().unwrap_or(0);
        found.extend(missing.into_iter().map(|iid| {
            let state = if iid < last { ListedState::Deleted } else { ListedState::Unknown };
            ListedMergeRequest {
                iid,
                state,
                web_url: None,
                created_at: None,
                merged_at: None,
                closed_at: None,
            }
        }));
    }
    Ok(found)
}

/// Returns the state of a merge request. One that does not exist counts as deleted.
pub fn state(client: &Client<'_>, project: &str, iid: u64) -> Result<ListedState> {
    let reply = client.get(&format!("/projects/{}/merge_requests/{iid}", segment(project)))?;
    if reply.response.status == 404 {
        return Ok(ListedState::Deleted);
    }
    Ok(reply.json::<ListedMergeRequest>(200)?.state)
}

/// Returns the available environments below `review/`.
pub fn available(client: &Client<'_>, project: &str) -> Result<Vec<GitlabEnvironment>> {
    let project = segment(project);
    let path = format!("/projects/{project}/environments?states=available&search=review%2F");
    Ok(list(client, &path)?.0)
}

/// Stops an environment without its stop job, because the work of that job is done.
pub fn stop(client: &Client<'_>, project: &str, id: u64) -> Result<()> {
    let path = format!("/projects/{}/environments/{id}/stop", segment(project));
    client.post(&path, &json!({ "force": true }))?.ok(200)
}

/// Returns the first rows of a list, and whether there are more than [`MAX_LISTED`].
fn list<T: for<'de> Deserialize<'de>>(client: &Client<'_>, path: &str) -> Result<(Vec<T>, bool)> {
    let (mut found, mut has_next) = (Vec::new(), false);
    for page in client.pages(path, MAX_PAGES) {
        let page = page?;
        found.extend(page.reply.json::<Vec<T>>(200)?);
        has_next = page.has_next;
        if found.len() >= MAX_LISTED {
            break;
        }
    }
    Ok((found, has_next))
}
