//! Authenticates the callers of GitLab's API and checks their permissions.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::response::GitlabError;
use super::tokens::{Caller, TokenKind, UserRole};
use crate::app::App;
use crate::cloudflare::auth::bearer;

/// Identifies the caller. Refuses requests that its kind of token does not permit.
pub async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = identify(&app, request.headers());
    match caller.and_then(|caller| check_permission(caller, request.method(), request.uri().path()))
    {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns whether a request has a token that permits it.
#[must_use]
pub fn is_authorized(app: &App, method: &Method, path: &str, headers: &HeaderMap) -> bool {
    identify(app, headers).and_then(|caller| check_permission(caller, method, path)).is_ok()
}

/// Returns the caller of a request by its token. Job tokens and access tokens have different headers, so a
/// job token in the header of access tokens is unknown (<https://docs.gitlab.com/api/rest/authentication/>).
fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, GitlabError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let find = |token: &str, is_job: bool| {
        let caller = app.gitlab.tokens.find(token.trim());
        caller.filter(|caller| (caller.kind == TokenKind::Job) == is_job).cloned()
    };
    let caller = match header("private-token").or_else(|| bearer(headers)) {
        Some(token) => find(token, false),
        None => header("job-token").and_then(|token| find(token, true)),
    };
    caller.ok_or_else(GitlabError::invalid_token)
}

/// Returns the caller. Errors if its token does not permit the request.
fn check_permission(caller: Caller, method: &Method, path: &str) -> Result<Caller, GitlabError> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match caller.kind {
        TokenKind::Expired => Err(GitlabError::expired_token()),
        TokenKind::ReadApi if !is_read => Err(GitlabError::insufficient_scope()),
        TokenKind::Job if !job_token_permits(is_read, path) => Err(GitlabError::invalid_token()),
        TokenKind::ReadApi | TokenKind::Job | TokenKind::Personal | TokenKind::Project => {
            Ok(caller)
        }
    }
}

/// Returns whether a job token permits a request. It may read merge requests and notes, and it may
/// read and change deployments and environments (<https://docs.gitlab.com/ci/jobs/ci_job_token/>).
fn job_token_permits(is_read: bool, path: &str) -> bool {
    let is_below = |name: &str| {
        let mut parts = path.split('/').skip_while(|part| *part != "projects");
        parts.nth(2) == Some(name)
    };
    is_below("deployments") || is_below("environments") || (is_read && is_below("merge_requests"))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = GitlabError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, GitlabError> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(GitlabError::invalid_token)
    }
}

impl Caller {
    /// Refuses a project that the token has no access to, as if the project did not exist.
    pub fn check_access(&self, id: u64) -> Result<(), GitlabError> {
        match self.project {
            Some(only) if only != id => Err(GitlabError::project_not_found()),
            _ => Ok(()),
        }
    }

    /// Refuses a caller whose role is lower than `role`.
    pub fn require_role(&self, role: UserRole) -> Result<(), GitlabError> {
        if self.role >= role { Ok(()) } else { Err(GitlabError::forbidden()) }
    }
}
