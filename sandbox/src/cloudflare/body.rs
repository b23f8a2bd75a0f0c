//! Parses request bodies. Returns parse errors in the envelope of the API.

use axum::body::{Body as AxumBody, Bytes, HttpBody as _};
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, FromRequestParts, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::envelope::CloudflareError;

/// A JSON body with any content type, because wrangler also sends `application/merge-patch+json`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = CloudflareError;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody<T>, CloudflareError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes =
            bytes.map_err(|error| malformed_body(error.status().as_u16(), &error.body_text()))?;
        parse(&bytes)
            .map(JsonBody)
            .map_err(|error| CloudflareError::invalid(&format!("Invalid JSON body: {error}")))
    }
}

/// Parses JSON. A field may be null instead of missing, because Go writes an empty list as null.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes).or_else(|error| {
        let mut value: Value = serde_json::from_slice(bytes)?;
        remove_nulls(&mut value);
        serde_json::from_value(value).map_err(|_| error)
    })
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// A JSON body that may be missing.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub T);

impl<T: Default + DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = CloudflareError;

    async fn from_request(
        request: Request,
        state: &S,
    ) -> Result<OptionalJsonBody<T>, CloudflareError> {
        if request.body().is_end_stream() {
            return Ok(OptionalJsonBody(T::default()));
        }
        JsonBody::from_request(request, state).await.map(|JsonBody(body)| OptionalJsonBody(body))
    }
}

/// The query. The values of a repeated name are joined with commas.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = CloudflareError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, CloudflareError> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => *values = format!("{values},{value}"),
                None => pairs.push((name, value.to_owned())),
            }
        }
        let pairs: Vec<String> =
            pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let invalid = |error: String| CloudflareError::invalid(&format!("Invalid query: {error}"));
        let uri =
            format!("/?{}", pairs.join("&")).parse().map_err(|_| invalid("not a URI".into()))?;
        let parsed = axum::extract::Query::try_from_uri(&uri);
        parsed.map(|query| Query(query.0)).map_err(|error| invalid(error.body_text()))
    }
}

/// A multipart body.
pub struct MultipartParts(Multipart);

impl<S: Send + Sync> FromRequest<S> for MultipartParts {
    type Rejection = CloudflareError;

    async fn from_request(request: Request, state: &S) -> Result<MultipartParts, CloudflareError> {
        let request = with_boundary(request, state).await?;
        let parts = Multipart::from_request(request, state).await;
        parts
            .map(MultipartParts)
            .map_err(|error| malformed_body(error.status().as_u16(), &error.body_text()))
    }
}

/// Adds the content type of a multipart body if it is missing. Cloudflare's library for JavaScript sends
/// `application/javascript` with it (observed with 7.3.0), so the boundary is read from the body.
async fn with_boundary<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Request, CloudflareError> {
    let (mut parts, body) = request.into_parts();
    if content_type_of(&parts)
        .is_some_and(|kind| kind.starts_with("multipart/form-data") && kind.contains("boundary="))
    {
        return Ok(Request::from_parts(parts, body));
    }
    let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
    let bytes =
        bytes.map_err(|error| malformed_body(error.status().as_u16(), &error.body_text()))?;
    if content_type_of(&parts).is_some_and(|kind| kind.contains("javascript"))
        && !bytes.starts_with(b"--")
    {
        return Err(CloudflareError::service_worker());
    }
    let first = bytes.split(|byte| *byte == b'\r').next().and_then(|line| line.strip_prefix(b"--"));
    let boundary = first.and_then(|line| std::str::from_utf8(line).ok());
    let kind = boundary.map(|boundary| format!("multipart/form-data; boundary={boundary}"));
    if let Some(kind) = kind.and_then(|kind| kind.parse().ok()) {
        parts.headers.insert(CONTENT_TYPE, kind);
    }
    Ok(Request::from_parts(parts, AxumBody::from(bytes)))
}

fn content_type_of(parts: &Parts) -> Option<&str> {
    parts.headers.get(CONTENT_TYPE)?.to_str().ok()
}

impl MultipartParts {
    /// Returns the next part. `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Field<'_>>, CloudflareError> {
        let part = self.0.next_field().await;
        part.map_err(|error| malformed_body(error.status().as_u16(), &error.body_text()))
    }
}

fn malformed_body(status: u16, text: &str) -> CloudflareError {
    CloudflareError::new(status, 10_021, &format!("Malformed body: {text}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Fields {
        list: Vec<String>,
        inner: Option<Box<Fields>>,
    }

    #[test]
    fn null_is_a_missing_field_unless_the_type_has_null() {
        let fields: Fields = parse(br#"{"list":null,"inner":{"list":null}}"#).expect("fields");
        assert_eq!(fields, Fields { inner: Some(Box::default()), ..Fields::default() });
        let map: BTreeMap<String, Option<u8>> = parse(br#"{"a":null}"#).expect("a map");
        assert_eq!(map, BTreeMap::from([("a".to_owned(), None)]));
        assert!(parse::<Fields>(br#"{"list":1}"#).is_err());
        assert!(parse::<Fields>(b"{").is_err());
    }
}
