//! What a request is about: the caller, the project, and what the path names below it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::fields::Fields;
use super::model::{MergeRequest, Project};
use super::paging::{self, Here};
use super::store::Draft;
use super::tokens::{Caller, Role};
use crate::app::App;

/// Who asks, and about what.
pub struct Place {
    /// The server's parts.
    pub app: App,
    /// Who asks.
    pub caller: Caller,
    here: Here,
    /// The path's variable parts in their order, the project first.
    path: Vec<(String, String)>,
}

impl FromRequestParts<App> for Place {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Place, Response> {
        let refused = Refusal::into_response;
        let caller = Caller::from_request_parts(parts, app).await.map_err(refused)?;
        let path = Path::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(IntoResponse::into_response)?;
        let here = Here::from_request_parts(parts, app).await.map_err(refused)?;
        Ok(Place { app: app.clone(), caller, here, path })
    }
}

impl Place {
    fn part(&self, index: usize) -> &str {
        self.path.get(index).map_or("", |(_, value)| value)
    }

    /// What the path names in the project: a merge request by its number, anything else by its id.
    #[must_use]
    pub fn item(&self) -> &str {
        self.part(1)
    }

    /// The note that the path names below a merge request.
    #[must_use]
    pub fn note(&self) -> &str {
        self.part(2)
    }

    /// Refuses a project whose state file is damaged.
    fn check_state(&self) -> Result<(), Refusal> {
        let damage = self.app.gitlab.store.damage(self.part(0));
        damage.map_or(Ok(()), |reason| Err(Refusal::message(500, reason)))
    }

    /// The project. One that the caller may not see looks as if it were not there.
    pub fn project(&self) -> Result<Arc<Project>, Refusal> {
        self.check_state()?;
        let project = self.app.gitlab.store.find(self.part(0)).ok_or_else(Refusal::no_project)?;
        self.caller.opens(project.id).map(|()| project)
    }

    /// Changes the project, for callers who are at least `role` in it. Nothing is changed when `change`
    /// refuses.
    pub fn change<T>(
        &self,
        role: Role,
        change: impl FnOnce(&mut Draft) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let id = self.project()?.id;
        self.caller.at_least(role)?;
        self.app.gitlab.store.change(id, self.part(0), change)
    }

    /// The same for a project that may come to be by it.
    pub fn make(&self, role: Role, change: impl FnOnce(&mut Draft) -> Answer) -> Answer {
        self.check_state()?;
        let id = self.app.gitlab.store.claim(self.part(0)).ok_or_else(Refusal::no_project)?;
        self.caller.opens(id)?;
        self.caller.at_least(role)?;
        self.app.gitlab.store.change(id, self.part(0), change)
    }

    /// The page of `rows` that is asked for, as [`paging::page`] makes it.
    pub fn page<T>(
        &self,
        fields: &Fields,
        rows: &[T],
        shown: impl Fn(&T) -> Option<Value>,
    ) -> Answer {
        paging::page(&self.here, fields, rows, shown)
    }
}

/// The number at the end of a path. What is none names nothing.
fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

/// Where among `rows` the one is that the path names, by the number that `of` says.
pub fn position<T>(rows: &[T], named: &str, of: impl Fn(&T) -> u64) -> Result<usize, Refusal> {
    let number = number(named)?;
    rows.iter().position(|row| of(row) == number).ok_or_else(Refusal::not_found)
}

/// The merge request of the number `iid`.
pub fn merge_request<'p>(project: &'p Project, iid: &str) -> Result<&'p MergeRequest, Refusal> {
    project.merge_request(number(iid)?).ok_or_else(Refusal::not_found)
}

/// The merge request of the number `iid`, to change it.
pub fn merge_request_mut<'p>(
    project: &'p mut Project,
    iid: &str,
) -> Result<&'p mut MergeRequest, Refusal> {
    let index = position(&project.merge_requests, iid, |one| one.iid)?;
    Ok(&mut project.merge_requests[index])
}
