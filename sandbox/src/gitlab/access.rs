//! Checks who calls, and whether they may.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::answer::Refusal;
use super::tokens::{Caller, Kind, Role};
use crate::app::App;
use crate::cloudflare::auth::bearer;

/// Finds the caller, and refuses what the token's kind cannot do.
pub async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = identify(&app, request.headers());
    match caller.and_then(|caller| allowed(caller, request.method(), request.uri().path())) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether a request has a token that opens what it asks for.
#[must_use]
pub fn is_authorized(app: &App, method: &Method, path: &str, headers: &HeaderMap) -> bool {
    identify(app, headers).and_then(|caller| allowed(caller, method, path)).is_ok()
}

/// Each kind of token has its header: a job token is unknown as an access token, and the other way
/// round (<https://docs.gitlab.com/api/rest/authentication/>).
fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let find = |token: &str, job: bool| {
        let caller = app.gitlab.tokens.find(token.trim());
        caller.filter(|caller| (caller.kind == Kind::Job) == job).cloned()
    };
    let caller = match header("private-token").or_else(|| bearer(headers)) {
        Some(token) => find(token, false),
        None => header("job-token").and_then(|token| find(token, true)),
    };
    caller.ok_or_else(Refusal::unauthorized)
}

fn allowed(caller: Caller, method: &Method, path: &str) -> Result<Caller, Refusal> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match caller.kind {
        Kind::Expired => Err(Refusal::expired()),
        Kind::ReadApi if !reads => Err(Refusal::insufficient_scope()),
        Kind::Job if !job_may(reads, path) => Err(Refusal::unauthorized()),
        Kind::ReadApi | Kind::Job | Kind::Personal | Kind::Project => Ok(caller),
    }
}

/// What a job token opens: merge requests and notes for reading, deployments and environments whole
/// (<https://docs.gitlab.com/ci/jobs/ci_job_token/>).
fn job_may(reads: bool, path: &str) -> bool {
    let below = |name: &str| {
        let mut parts = path.split('/').skip_while(|part| *part != "projects");
        parts.nth(2) == Some(name)
    };
    below("deployments") || below("environments") || (reads && below("merge_requests"))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Refusal> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Refusal::unauthorized)
    }
}

impl Caller {
    /// Refuses a project that the token does not open, as if it were not there.
    pub fn opens(&self, id: u64) -> Result<(), Refusal> {
        match self.project {
            Some(only) if only != id => Err(Refusal::no_project()),
            _ => Ok(()),
        }
    }

    /// Refuses somebody who is less than `role`.
    pub fn at_least(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role { Ok(()) } else { Err(Refusal::forbidden()) }
    }
}
