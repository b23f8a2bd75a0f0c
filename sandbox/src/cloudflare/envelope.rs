//! The envelope that every answer of the API comes in.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// A successful answer.
pub fn ok<T: Serialize + ?Sized>(result: &T) -> Response {
    Json(json!({ "success": true, "errors": [], "messages": [], "result": result })).into_response()
}

/// A successful answer with a list, on one page.
pub fn list<T: Serialize>(items: &[T]) -> Response {
    let count = items.len();
    Json(json!({
        "success": true, "errors": [], "messages": [], "result": items,
        "result_info": { "page": 1, "per_page": count.max(100), "total_pages": 1, "count": count, "total_count": count }
    }))
    .into_response()
}

/// A successful answer with the `result_info` of a page.
pub fn with_info<T: Serialize + ?Sized>(result: &T, info: &Value) -> Response {
    let body = json!({ "success": true, "errors": [], "messages": [], "result": result, "result_info": info });
    Json(body).into_response()
}

/// A refusal: status, and a code that wrangler knows.
#[derive(Debug)]
pub struct ApiError {
    status: u16,
    code: u32,
    message: String,
    chain: Vec<Value>,
}

impl ApiError {
    /// A refusal.
    #[must_use]
    pub fn new(status: u16, code: u32, message: &str) -> ApiError {
        ApiError { status, code, message: message.to_owned(), chain: Vec::new() }
    }

    /// With a cause.
    #[must_use]
    pub fn because(mut self, code: u32, message: &str) -> ApiError {
        self.chain.push(json!({ "code": code, "message": message }));
        self
    }

    /// The token does not open this account.
    #[must_use]
    pub fn authentication() -> ApiError {
        ApiError::new(403, 10_000, "Authentication error")
    }

    /// There is no such Worker. Wrangler knows code 10007 and no wording.
    #[must_use]
    pub fn no_worker() -> ApiError {
        ApiError::new(404, 10_007, "This Worker does not exist on your account.")
    }

    /// There is no such version.
    #[must_use]
    pub fn no_version(id: &str) -> ApiError {
        ApiError::new(404, 10_007, &format!("This version does not exist: {id}"))
    }

    /// Refuses a second binding of one name.
    #[must_use]
    pub fn name_taken(name: &str) -> ApiError {
        let text = format!(
            "Binding name '{name}' already in use. Please use a different name and try again."
        );
        ApiError::new(400, 10_053, &text)
    }

    /// The request does not say what it has to.
    #[must_use]
    pub fn invalid(message: &str) -> ApiError {
        ApiError::new(400, 10_021, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.chain.is_empty() {
            error["error_chain"] = Value::Array(self.chain);
        }
        let body = json!({ "success": false, "errors": [error], "messages": [], "result": null });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> ApiError {
        crate::log::line(&format!("internal error: {error:#}"));
        ApiError::new(500, 10_013, &format!("An unknown error has occurred: {error}"))
    }
}

/// What handlers return.
pub type ApiResult = Result<Response, ApiError>;
