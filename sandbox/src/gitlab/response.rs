//! Makes responses in GitLab's format.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error response. GitLab's code responds with `{"message": …}`, its framework and OAuth with
/// `{"error": …}` (<https://docs.gitlab.com/api/rest/troubleshooting/>).
#[derive(Debug)]
pub struct GitlabError {
    status: u16,
    body: Value,
}

impl GitlabError {
    /// Makes `{"message": …}`.
    #[must_use]
    pub fn message(status: u16, message: impl Into<Value>) -> GitlabError {
        GitlabError { status, body: json!({ "message": message.into() }) }
    }

    /// Makes `{"error": …}`.
    #[must_use]
    pub fn error(status: u16, error: &str) -> GitlabError {
        GitlabError { status, body: json!({ "error": error }) }
    }

    /// Makes the response for a feature that GitLab has and the sandbox lacks.
    #[must_use]
    pub fn not_implemented(feature: &str) -> GitlabError {
        crate::log::line(&format!("not implemented: {feature}"));
        GitlabError::message(
            501,
            format!("501 Not Implemented - The sandbox does not support {feature}"),
        )
    }

    /// Makes the response for a request without a valid token.
    #[must_use]
    pub fn invalid_token() -> GitlabError {
        GitlabError::message(401, "401 Unauthorized")
    }

    /// Makes the response for an expired token (`lib/api/api_guard.rb` in GitLab's source).
    #[must_use]
    pub fn expired_token() -> GitlabError {
        let description = "Token is expired. You can either do re-authorization or token refresh.";
        let body = json!({ "error": "invalid_token", "error_description": description });
        GitlabError { status: 401, body }
    }

    /// Makes the response for a write with a read-only token (`lib/api/api_guard.rb` in GitLab's source).
    #[must_use]
    pub fn insufficient_scope() -> GitlabError {
        let description =
            "The request requires higher privileges than provided by the access token.";
        let body = json!({ "error": "insufficient_scope", "error_description": description, "scope": "api" });
        GitlabError { status: 403, body }
    }

    /// Makes the response for a user without permission.
    #[must_use]
    pub fn forbidden() -> GitlabError {
        GitlabError::message(403, "403 Forbidden")
    }

    /// Makes the response for a missing item of a project.
    #[must_use]
    pub fn not_found() -> GitlabError {
        GitlabError::message(404, "404 Not found")
    }

    /// Makes the response for a project that is missing or hidden from the caller.
    #[must_use]
    pub fn project_not_found() -> GitlabError {
        GitlabError::message(404, "404 Project Not Found")
    }

    /// Makes the response for an invalid value, with the reason.
    #[must_use]
    pub fn bad_request(reason: &str) -> GitlabError {
        GitlabError::message(400, format!("400 Bad request - {reason}"))
    }
}

impl IntoResponse for GitlabError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body)).into_response()
    }
}

impl From<anyhow::Error> for GitlabError {
    fn from(error: anyhow::Error) -> GitlabError {
        crate::log::line(&format!("internal error: {error:#}"));
        GitlabError::message(500, "500 Internal Server Error")
    }
}

/// The result of a request handler.
pub type GitlabResult = Result<Response, GitlabError>;

/// Makes a 200 response with a JSON document.
#[must_use]
pub fn ok_response(value: Value) -> Response {
    Json(value).into_response()
}

/// Makes a 201 response with a JSON document.
#[must_use]
pub fn created_response(value: Value) -> Response {
    (StatusCode::CREATED, Json(value)).into_response()
}
