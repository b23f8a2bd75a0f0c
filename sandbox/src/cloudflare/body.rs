//! Request bodies, whose faults are refused in the envelope as all else.

use axum::body::Bytes;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use serde::de::DeserializeOwned;

use super::envelope::ApiError;

/// A JSON body, whatever its content type says: wrangler also sends `application/merge-patch+json`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| refused(error.status().as_u16(), &error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Body)
            .map_err(|error| ApiError::invalid(&format!("Invalid JSON body: {error}")))
    }
}

/// A multipart body.
pub struct Parts(Multipart);

impl<S: Send + Sync> FromRequest<S> for Parts {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Parts, ApiError> {
        let parts = Multipart::from_request(request, state).await;
        parts.map(Parts).map_err(|error| refused(error.status().as_u16(), &error.body_text()))
    }
}

impl Parts {
    /// The next part.
    pub async fn next(&mut self) -> Result<Option<Field<'_>>, ApiError> {
        let part = self.0.next_field().await;
        part.map_err(|error| refused(error.status().as_u16(), &error.body_text()))
    }
}

fn refused(status: u16, text: &str) -> ApiError {
    ApiError::new(status, 10_021, &format!("Malformed body: {text}"))
}
