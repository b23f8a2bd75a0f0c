//! Extracts the context of a request: the caller, the project, and the item that the path names.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::fields::RequestFields;
use super::model::{StoredMergeRequest, StoredProject};
use super::paging::{self, RequestUrl};
use super::response::{GitlabError, GitlabResult};
use super::store::Draft;
use super::tokens::{Caller, UserRole};
use crate::app::App;

/// The context of a request.
pub struct RequestContext {
    /// The shared state of the server.
    pub app: App,
    /// The caller.
    pub caller: Caller,
    url: RequestUrl,
    /// The parameters of the path, in order. The first one is the project.
    path: Vec<(String, String)>,
}

impl FromRequestParts<App> for RequestContext {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<RequestContext, Response> {
        let refuse = GitlabError::into_response;
        let caller = Caller::from_request_parts(parts, app).await.map_err(refuse)?;
        let path = Path::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(IntoResponse::into_response)?;
        let url = RequestUrl::from_request_parts(parts, app).await.map_err(refuse)?;
        Ok(RequestContext { app: app.clone(), caller, url, path })
    }
}

impl RequestContext {
    fn path_parameter(&self, index: usize) -> &str {
        self.path.get(index).map_or("", |(_, value)| value)
    }

    /// Returns the item that the path names: the `iid` of a merge request, or another item's id.
    #[must_use]
    pub fn item(&self) -> &str {
        self.path_parameter(1)
    }

    /// Returns the id of the note that the path names.
    #[must_use]
    pub fn note(&self) -> &str {
        self.path_parameter(2)
    }

    /// Refuses a project whose state file is damaged.
    fn check_state(&self) -> Result<(), GitlabError> {
        let damage = self.app.gitlab.store.damage(self.path_parameter(0));
        damage.map_or(Ok(()), |reason| Err(GitlabError::message(500, reason)))
    }

    /// Returns the project. Errors as for a missing project if the caller may not see it.
    pub fn project(&self) -> Result<Arc<StoredProject>, GitlabError> {
        self.check_state()?;
        let project = self
            .app
            .gitlab
            .store
            .find(self.path_parameter(0))
            .ok_or_else(GitlabError::project_not_found)?;
        self.caller.check_access(project.id).map(|()| project)
    }

    /// Changes the project. Refuses callers below `role`. If `change` fails, nothing is changed.
    pub fn change<T>(
        &self,
        role: UserRole,
        change: impl FnOnce(&mut Draft) -> Result<T, GitlabError>,
    ) -> Result<T, GitlabError> {
        let id = self.project()?.id;
        self.caller.require_role(role)?;
        self.app.gitlab.store.change(id, self.path_parameter(0), change)
    }

    /// Changes the project like [`RequestContext::change`], and creates it if it is missing.
    pub fn create(
        &self,
        role: UserRole,
        change: impl FnOnce(&mut Draft) -> GitlabResult,
    ) -> GitlabResult {
        self.check_state()?;
        let id = self
            .app
            .gitlab
            .store
            .id_for(self.path_parameter(0))
            .ok_or_else(GitlabError::project_not_found)?;
        self.caller.check_access(id)?;
        self.caller.require_role(role)?;
        self.app.gitlab.store.change(id, self.path_parameter(0), change)
    }

    /// Returns the requested page of `rows`. See [`paging::page`].
    pub fn page<T>(
        &self,
        fields: &RequestFields,
        rows: &[T],
        to_json: impl Fn(&T) -> Option<Value>,
    ) -> GitlabResult {
        paging::page(&self.url, fields, rows, to_json)
    }
}

/// Parses a number of the path. Errors as for a missing item if it is not a number.
fn number(text: &str) -> Result<u64, GitlabError> {
    text.parse().map_err(|_| GitlabError::not_found())
}

/// Returns the index of the row whose number the path names. `number_of` returns a row's number.
pub fn position<T>(
    rows: &[T],
    text: &str,
    number_of: impl Fn(&T) -> u64,
) -> Result<usize, GitlabError> {
    let number = number(text)?;
    rows.iter().position(|row| number_of(row) == number).ok_or_else(GitlabError::not_found)
}

/// Returns the merge request with this `iid`.
pub fn find_merge_request<'p>(
    project: &'p StoredProject,
    iid: &str,
) -> Result<&'p StoredMergeRequest, GitlabError> {
    project.merge_request(number(iid)?).ok_or_else(GitlabError::not_found)
}

/// Returns the merge request with this `iid`, to change it.
pub fn find_merge_request_mut<'p>(
    project: &'p mut StoredProject,
    iid: &str,
) -> Result<&'p mut StoredMergeRequest, GitlabError> {
    let index = position(&project.merge_requests, iid, |one| one.iid)?;
    Ok(&mut project.merge_requests[index])
}
