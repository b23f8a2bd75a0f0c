//! Describes the error of a request in one line, without the token.

use std::fmt;

use serde_json::Value;

use super::request::Reply;
use base::error::Error;
use base::http::{self, short};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The method and path.
    pub request: String,
    /// The status. `None` if there was no response.
    pub status: Option<u16>,
    /// The server's message, or the reason why there was no response.
    pub detail: String,
    /// The reason that GitLab gives about the token: a missing scope (`insufficient_scope`), or an
    /// invalid token (`invalid_token`).
    pub code: Option<String>,
}

impl RequestError {
    /// Creates the error for an unexpected status.
    #[must_use]
    pub fn unexpected_status(reply: &Reply) -> RequestError {
        let Reply { request, response } = reply;
        let json: Option<Value> = serde_json::from_slice(&response.body).ok();
        let code = json.as_ref().and_then(|json| json["error"].as_str()).map(str::to_owned);
        let detail = match &json {
            Some(Value::Object(fields)) => ["message", "error", "error_description"]
                .iter()
                .filter_map(|name| fields.get(*name))
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(": "),
            Some(other) => other.to_string(),
            None => String::from_utf8_lossy(&response.body).into_owned(),
        };
        // Only a wait that GitLab named, unlike that of a retry.
        let wait = http::retry_after(&response.headers);
        let wait = wait.map(|wait| format!("; retry after {} s", wait.as_secs()));
        let detail = short(&detail) + &wait.unwrap_or_default();
        RequestError { request: request.clone(), status: Some(response.status), detail, code }
    }

    /// Creates the error for a response that does not match the API's description.
    #[must_use]
    pub fn unexpected_shape(reply: &Reply, error: &str) -> RequestError {
        let detail = format!("an unexpected shape: {error}");
        RequestError {
            detail: short(&detail),
            code: None,
            ..RequestError::unexpected_status(reply)
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestError { request, status, detail, .. } = self;
        match (status, detail.as_str()) {
            (None, detail) => write!(f, "{request}: no answer: {detail}"),
            (Some(status), "") => write!(f, "{request}: GitLab answered {status}"),
            (Some(status), detail) => write!(f, "{request}: GitLab answered {status} ({detail})"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Error {
        Error::from_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::http::HttpResponse;

    fn detail(status: u16, body: &str) -> String {
        let request = "PUT /x".to_owned();
        let response = HttpResponse { status, body: body.into(), ..HttpResponse::default() };
        let reply = Reply { request, response };
        RequestError::unexpected_status(&reply).to_string()
    }

    #[test]
    fn reads_every_form_of_error() {
        assert_eq!(
            detail(401, r#"{"message":"401 Unauthorized"}"#),
            "PUT /x: GitLab answered 401 (401 Unauthorized)"
        );
        assert_eq!(
            detail(
                403,
                r#"{"error":"insufficient_scope","error_description":"more","scope":"api"}"#
            ),
            "PUT /x: GitLab answered 403 (insufficient_scope: more)"
        );
        assert_eq!(
            detail(400, r#"{"message":{"note":["is too long"]}}"#),
            "PUT /x: GitLab answered 400 ({\"note\":[\"is too long\"]})"
        );
        assert_eq!(
            detail(502, "<html>\n502</html>"),
            "PUT /x: GitLab answered 502 (<html> 502</html>)"
        );
        assert_eq!(detail(404, ""), "PUT /x: GitLab answered 404");
    }
}
