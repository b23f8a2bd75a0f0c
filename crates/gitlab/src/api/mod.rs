//! The notes of one merge request, through GitLab's API.
//!
//! Sources: <https://docs.gitlab.com/api/notes/> and <https://docs.gitlab.com/api/rest/>.

pub mod leftovers;
pub mod paging;
pub mod request;
pub mod request_error;
pub mod schedules;
pub mod variables;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use base::error::Result;
use request::Client;
use request_error::RequestError;

/// More pages than any merge request has.
const MAX_PAGES: u64 = 1000;

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The fields of a comment that we read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Note {
    /// Its id, which is unique in the instance. Lower ids are older.
    pub id: u64,
    /// Its Markdown as it was written.
    pub body: String,
    /// `true` if GitLab wrote it, for example after a push.
    #[serde(default)]
    pub system: bool,
    /// The author.
    pub author: User,
}

/// A person with an account, or a bot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Its number.
    pub id: u64,
    /// Its name.
    #[serde(default)]
    pub username: String,
}

/// The outcome of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The note with this id was written.
    Done(u64),
    /// The note no longer exists.
    Missing,
    /// The outcome is unknown. The requested delay has passed.
    Unknown,
}

/// The comments of one merge request, as one user sees them.
pub struct Notes<'a> {
    client: &'a Client<'a>,
    path: String,
    user: User,
    marked: fn(&str) -> bool,
}

impl<'a> Notes<'a> {
    /// Returns the comments of merge request `iid` in `project`, which is a number or a full path.
    /// `marked` returns true if a body has our marker. Reads the user of the token.
    pub fn new(
        client: &'a Client<'a>,
        project: &str,
        iid: &str,
        marked: fn(&str) -> bool,
    ) -> Result<Notes<'a>> {
        Ok(Notes::with_user(client, project, iid, Notes::whoami(client)?, marked))
    }

    /// Returns the comments as [`Notes::new`] does, and does not read the user of the token.
    #[must_use]
    pub fn with_user(
        client: &'a Client<'a>,
        project: &str,
        iid: &str,
        user: User,
        marked: fn(&str) -> bool,
    ) -> Notes<'a> {
        let path = format!("/projects/{}/merge_requests/{iid}/notes", segment(project));
        Notes { client, path, user, marked }
    }

    /// Returns the user of a client's token.
    pub fn whoami(client: &Client<'_>) -> Result<User> {
        client.get("/user")?.json(200)
    }

    /// Returns the user of the token.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Returns our notes, the oldest first. A note is ours by its marker **and** its author, because anyone can
    /// paste the marker.
    pub fn ours(&self) -> Result<Vec<Note>> {
        let path =
            format!("{}?activity_filter=only_comments&order_by=created_at&sort=asc", self.path);
        let mut found: Vec<Note> = Vec::new();
        for page in self.client.pages(&path, MAX_PAGES) {
            let notes: Vec<Note> = page?.reply.json(200)?;
            found.extend(notes.into_iter().filter(|note| self.is_ours(note)));
        }
        found.sort_by_key(|note| note.id);
        found.dedup_by_key(|note| note.id);
        Ok(found)
    }

    /// Returns one note. `None` if it no longer exists or is no longer ours.
    pub fn note(&self, id: u64) -> Result<Option<Note>> {
        let reply = self.client.get(&format!("{}/{id}", self.path))?;
        if reply.response.status == 404 {
            return Ok(None);
        }
        Ok(Some(reply.json(200)?).filter(|note| self.is_ours(note)))
    }

    /// Creates a note, in attempt number `tried`. Does not retry: if the outcome is unknown, the
    /// caller must first check whether the note exists.
    pub fn create(&self, body: &str, tried: u32) -> Result<WriteOutcome> {
        match self.client.attempt("POST", &self.path, &json!({ "body": body }), tried)? {
            None => Ok(WriteOutcome::Unknown),
            Some(reply) => Ok(WriteOutcome::Done(reply.json::<Note>(201)?.id)),
        }
    }

    /// Replaces a note's text, in attempt number `tried`. Does not retry, because the text may be out of
    /// date by then.
    pub fn edit(&self, id: u64, body: &str, tried: u32) -> Result<WriteOutcome> {
        let path = format!("{}/{id}", self.path);
        match self.client.attempt("PUT", &path, &json!({ "body": body }), tried)? {
            None => Ok(WriteOutcome::Unknown),
            Some(reply) if reply.response.status == 404 => Ok(WriteOutcome::Missing),
            Some(reply) => reply.ok(200).map(|()| WriteOutcome::Done(id)),
        }
    }

    /// Deletes a note that may be gone. Returns true if it does not exist now.
    pub fn delete(&self, id: u64) -> Result<bool> {
        let reply = self.client.delete(&format!("{}/{id}", self.path))?;
        match reply.response.status {
            429 | 500.. => Err(RequestError::unexpected_status(&reply).into()),
            status => Ok(matches!(status, 200..=299 | 404)),
        }
    }

    fn is_ours(&self, note: &Note) -> bool {
        !note.system && note.author.id == self.user.id && (self.marked)(&note.body)
    }
}

/// Encodes `text` as one segment of a path, or as one part of a query. Paths of projects and names of environments contain
/// slashes.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_keeps_only_unreserved_characters() {
        assert_eq!(segment("acme/mono-repo_1.0~é"), "acme%2Fmono-repo_1.0~%C3%A9");
        assert_eq!(segment("review/42?a=b&c#d %*"), "review%2F42%3Fa%3Db%26c%23d%20%25%2A");
    }
}
