//! Makes the responses of the API, which share one envelope.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::paging::Page;

/// Makes a successful response.
pub fn ok<T: Serialize + ?Sized>(result: &T) -> Response {
    Json(json!({ "success": true, "errors": [], "messages": [], "result": result })).into_response()
}

/// Makes a successful response with the whole list on one page.
pub fn list<T: Serialize>(items: &[T]) -> Response {
    let count = items.len();
    Json(json!({
        "success": true, "errors": [], "messages": [], "result": items,
        "result_info": { "page": 1, "per_page": count.max(100), "total_pages": 1, "count": count, "total_count": count }
    }))
    .into_response()
}

/// Makes a successful response with the requested page of a list. Clients request pages until one is
/// empty.
pub fn list_page<T: Serialize>(page: &Page, items: &[T]) -> Response {
    let on_page: Vec<&T> = page.slice(items.iter()).collect();
    with_info(&on_page, &page.info(on_page.len(), items.len()))
}

/// Makes a successful response with the `result_info` of a page.
pub fn with_info<T: Serialize + ?Sized>(result: &T, info: &Value) -> Response {
    let body = json!({ "success": true, "errors": [], "messages": [], "result": result, "result_info": info });
    Json(body).into_response()
}

/// An error response: an HTTP status, and an error code of the API.
#[derive(Debug)]
pub struct CloudflareError {
    status: u16,
    code: u32,
    message: String,
    chain: Vec<Value>,
    meta: Value,
}

impl CloudflareError {
    /// Makes an error.
    #[must_use]
    pub fn new(status: u16, code: u32, message: &str) -> CloudflareError {
        CloudflareError {
            status,
            code,
            message: message.to_owned(),
            chain: Vec::new(),
            meta: Value::Null,
        }
    }

    /// Adds a cause.
    #[must_use]
    pub fn because(mut self, code: u32, message: &str) -> CloudflareError {
        self.chain.push(json!({ "code": code, "message": message }));
        self
    }

    /// Adds details for programs.
    #[must_use]
    pub fn with_meta(mut self, meta: Value) -> CloudflareError {
        self.meta = meta;
        self
    }

    /// Returns the error in the API's format.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.chain.is_empty() {
            error["error_chain"] = json!(self.chain);
        }
        if !self.meta.is_null() {
            error["meta"] = self.meta.clone();
        }
        error
    }

    /// Replaces the code if it is `from`.
    #[must_use]
    pub fn with_code(mut self, from: u32, to: u32) -> CloudflareError {
        if self.code == from {
            self.code = to;
        }
        self
    }

    /// Makes the error for a token that has no access to the account.
    #[must_use]
    pub fn authentication() -> CloudflareError {
        CloudflareError::new(403, 10_000, "Authentication error")
    }

    /// Makes the error for a missing Worker. Wrangler recognizes the code 10007, not the text.
    #[must_use]
    pub fn worker_not_found() -> CloudflareError {
        CloudflareError::new(404, 10_007, "This Worker does not exist on your account.")
    }

    /// Makes the error for a missing version. The code was captured from the API
    /// (<https://github.com/alchemy-run/distilled>, `patches/workers/getScriptVersion.json`).
    #[must_use]
    pub fn version_not_found(id: &str) -> CloudflareError {
        CloudflareError::new(404, 100_146, &format!("This version does not exist: {id}"))
    }

    /// Makes the error for a second binding of the same name.
    #[must_use]
    pub fn name_taken(name: &str) -> CloudflareError {
        let text = format!(
            "Binding name '{name}' already in use. Please use a different name and try again."
        );
        CloudflareError::new(400, 10_053, &text)
    }

    /// Makes the error for a Worker in the service-worker format.
    #[must_use]
    pub fn service_worker() -> CloudflareError {
        let text = "The sandbox does not run Workers in the service-worker format. Export the handlers from \
                    a module";
        CloudflareError::new(501, 7000, text)
    }

    /// Makes the error for an invalid request.
    #[must_use]
    pub fn invalid(message: &str) -> CloudflareError {
        CloudflareError::new(400, 10_021, message)
    }
}

impl IntoResponse for CloudflareError {
    fn into_response(self) -> Response {
        let body =
            json!({ "success": false, "errors": [self.json()], "messages": [], "result": null });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

impl From<anyhow::Error> for CloudflareError {
    fn from(error: anyhow::Error) -> CloudflareError {
        crate::log::line(&format!("internal error: {error:#}"));
        CloudflareError::new(500, 10_013, &format!("An unknown error has occurred: {error}"))
    }
}

/// The result of a request handler.
pub type ApiResult = Result<Response, CloudflareError>;
