//! Answers and refusals in GitLab's words.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal. Two shapes exist: `{"message": …}` from GitLab's own code, `{"error": …}` from the
/// framework and from OAuth (<https://docs.gitlab.com/api/rest/troubleshooting/>).
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    body: Value,
}

impl Refusal {
    /// `{"message": …}`
    #[must_use]
    pub fn message(status: u16, message: impl Into<Value>) -> Refusal {
        Refusal { status, body: json!({ "message": message.into() }) }
    }

    /// `{"error": …}`
    #[must_use]
    pub fn error(status: u16, error: &str) -> Refusal {
        Refusal { status, body: json!({ "error": error }) }
    }

    /// Refuses what GitLab has and the sandbox does not.
    #[must_use]
    pub fn unknown(what: &str) -> Refusal {
        crate::log::line(&format!("not in the sandbox: {what}"));
        Refusal::message(501, format!("501 Not Implemented - The sandbox does not know {what}"))
    }

    /// No token, or none that is known.
    #[must_use]
    pub fn unauthorized() -> Refusal {
        Refusal::message(401, "401 Unauthorized")
    }

    /// The token was good once (`lib/api/api_guard.rb` in GitLab's source).
    #[must_use]
    pub fn expired() -> Refusal {
        let description = "Token is expired. You can either do re-authorization or token refresh.";
        let body = json!({ "error": "invalid_token", "error_description": description });
        Refusal { status: 401, body }
    }

    /// The token may only read (`lib/api/api_guard.rb` in GitLab's source).
    #[must_use]
    pub fn insufficient_scope() -> Refusal {
        let description =
            "The request requires higher privileges than provided by the access token.";
        let body = json!({ "error": "insufficient_scope", "error_description": description, "scope": "api" });
        Refusal { status: 403, body }
    }

    /// The user may not.
    #[must_use]
    pub fn forbidden() -> Refusal {
        Refusal::message(403, "403 Forbidden")
    }

    /// There is no such thing in the project.
    #[must_use]
    pub fn not_found() -> Refusal {
        Refusal::message(404, "404 Not found")
    }

    /// There is no such project, or the caller may not know of it.
    #[must_use]
    pub fn no_project() -> Refusal {
        Refusal::message(404, "404 Project Not Found")
    }

    /// A value that is refused, and why.
    #[must_use]
    pub fn bad(reason: &str) -> Refusal {
        Refusal::message(400, format!("400 Bad request - {reason}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body)).into_response()
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        crate::log::line(&format!("internal error: {error:#}"));
        Refusal::message(500, "500 Internal Server Error")
    }
}

/// What handlers return.
pub type Answer = Result<Response, Refusal>;

/// 200 with a document.
#[must_use]
pub fn ok(value: Value) -> Response {
    Json(value).into_response()
}

/// 201 with a document.
#[must_use]
pub fn created(value: Value) -> Response {
    (StatusCode::CREATED, Json(value)).into_response()
}
