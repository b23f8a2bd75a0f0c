//! Uploading assets: a session names what is missing, each file is checked against its hash.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Json, Multipart, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;

use super::Place;
use super::envelope::{ApiError, ApiResult, ok};
use crate::app::App;
use crate::ids::{hex, random};
use crate::state::model::Asset;

/// 25 MiB (<https://developers.cloudflare.com/workers/platform/limits/>).
const LARGEST: u64 = 25 * 1024 * 1024;

/// How many files, and how many bytes, go into one upload.
const BUCKET: (usize, u64) = (1000, 50 * 1024 * 1024);

/// How long a session is good for, in seconds.
const LIFETIME: u64 = 3600;

/// An upload in progress.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account whose blobs it fills.
    pub account: String,
    /// Path to asset.
    pub manifest: BTreeMap<String, Asset>,
}

/// The body of `assets-upload-session`.
#[derive(Debug, Deserialize)]
pub struct Open {
    manifest: BTreeMap<String, Asset>,
}

/// `POST …/assets-upload-session`
pub async fn open_session(
    State(app): State<App>,
    Path((account, _worker)): Place,
    Json(body): Json<Open>,
) -> ApiResult {
    for (path, asset) in &body.manifest {
        if !path.starts_with('/')
            || asset.hash.len() != 32
            || !asset.hash.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(ApiError::invalid(&format!("The manifest entry {path} is invalid")));
        }
        if asset.size > LARGEST {
            return Err(ApiError::new(413, 10_021, &format!("{path} is larger than 25 MiB")));
        }
    }
    let missing: BTreeMap<&str, u64> = body
        .manifest
        .values()
        .filter(|asset| !app.store.blobs.has(&blob(&account, &asset.hash)))
        .map(|asset| (asset.hash.as_str(), asset.size))
        .collect();
    let buckets = json!(buckets(&missing));
    let id = hex(&random::<16>());
    let jwt = sign(&app, &id, missing.is_empty());
    let session = Session { account, manifest: body.manifest };
    app.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, session);
    Ok(ok(&json!({ "jwt": jwt, "buckets": buckets })))
}

fn buckets<'a>(missing: &BTreeMap<&'a str, u64>) -> Vec<Vec<&'a str>> {
    let mut buckets: Vec<Vec<&str>> = Vec::new();
    let mut bytes = 0;
    for (hash, size) in missing {
        let full =
            buckets.last().is_none_or(|last| last.len() >= BUCKET.0 || bytes + size > BUCKET.1);
        if full {
            buckets.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(last) = buckets.last_mut() {
            last.push(hash);
        }
    }
    buckets
}

/// `POST /accounts/{account}/workers/assets/upload?base64=true`
pub async fn upload(
    State(app): State<App>,
    Path(account): Path<String>,
    headers: HeaderMap,
    mut parts: Multipart,
) -> ApiResult {
    let token = super::bearer(&headers).unwrap_or_default();
    let (id, session) = session(&app, token)?;
    if session.account != account {
        return Err(ApiError::authentication());
    }
    let by_hash: BTreeMap<&str, &str> =
        session.manifest.iter().map(|(path, asset)| (asset.hash.as_str(), path.as_str())).collect();
    while let Some(part) = next(&mut parts).await? {
        let hash = part.name().unwrap_or_default().to_owned();
        let text = part.text().await.map_err(|e| ApiError::invalid(&e.to_string()))?;
        let Some(path) = by_hash.get(hash.as_str()) else {
            return Err(ApiError::invalid(&format!("{hash} is not in this session's manifest")));
        };
        if hash_of(&text, path) != hash {
            return Err(ApiError::invalid(&format!(
                "The content of {path} does not have the hash {hash}"
            )));
        }
        let bytes = STANDARD
            .decode(&text)
            .map_err(|_| ApiError::invalid(&format!("The content of {path} is not base64")))?;
        tokio::task::block_in_place(|| app.store.blobs.put(&blob(&account, &hash), &bytes))?;
    }
    let left = by_hash.keys().any(|hash| !app.store.blobs.has(&blob(&account, hash)));
    if left {
        return Ok((StatusCode::ACCEPTED, ok(&json!({}))).into_response());
    }
    Ok((StatusCode::CREATED, ok(&json!({ "jwt": sign(&app, &id, true) }))).into_response())
}

/// The next part of a multipart body.
pub async fn next(
    parts: &mut Multipart,
) -> Result<Option<axum::extract::multipart::Field<'_>>, ApiError> {
    parts.next_field().await.map_err(|error| ApiError::invalid(&format!("Malformed body: {error}")))
}

/// The hash that wrangler gives an asset: the first 32 digits of BLAKE3 over its base64 text and its
/// extension (observed with wrangler 4.164).
#[must_use]
pub fn hash_of(base64: &str, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rfind('.').filter(|at| *at > 0).map_or("", |at| &name[at + 1..]);
    let mut hasher = blake3::Hasher::new();
    hasher.update(base64.as_bytes()).update(extension.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The blob's name of an asset. Accounts do not see each other's.
#[must_use]
pub fn blob(account: &str, hash: &str) -> String {
    format!("asset-{account}-{hash}")
}

/// The manifest of a finished upload, which `jwt` stands for.
pub fn complete(app: &App, jwt: &str) -> Result<BTreeMap<String, Asset>, ApiError> {
    let claims = claims(app, jwt)?;
    if !claims.complete {
        return Err(ApiError::invalid("The assets of this version are not uploaded yet"));
    }
    let (id, session) = session(app, jwt)?;
    app.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    Ok(session.manifest)
}

#[derive(Deserialize)]
struct Claims {
    session: String,
    complete: bool,
    exp: u64,
}

fn session(app: &App, jwt: &str) -> Result<(String, Session), ApiError> {
    let id = claims(app, jwt)?.session;
    let sessions = app.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let session = sessions.get(&id).cloned();
    drop(sessions);
    session.map(|session| (id, session)).ok_or_else(expired)
}

fn expired() -> ApiError {
    ApiError::new(401, 10_021, "The asset upload session is unknown or has expired")
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A token in the form of a JWT: wrangler reads its payload.
fn sign(app: &App, session: &str, complete: bool) -> String {
    let claims = json!({ "session": session, "complete": complete, "exp": seconds() + LIFETIME });
    let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"BLAKE3\",\"typ\":\"JWT\"}");
    let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{body}.{}", signature(app, &body))
}

fn signature(app: &App, body: &str) -> String {
    URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&app.token.key(), body.as_bytes()).as_bytes())
}

fn claims(app: &App, jwt: &str) -> Result<Claims, ApiError> {
    let read = || {
        let (body, given) = jwt.rsplit_once('.')?;
        if signature(app, body) != given {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(body.split('.').nth(1)?).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        (claims.exp > seconds()).then_some(claims)
    };
    read().ok_or_else(expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_with_other_extensions_differ() {
        let text = STANDARD.encode("hello");
        assert_ne!(hash_of(&text, "/a.html"), hash_of(&text, "/a.txt"));
        assert_eq!(hash_of(&text, "/a.html"), hash_of(&text, "/x/y.b.html"));
        assert_eq!(hash_of(&text, "/LICENSE").len(), 32);
    }

    #[test]
    fn buckets_hold_a_thousand_files() {
        let names: Vec<String> = (0..2500).map(|n| format!("{n:032x}")).collect();
        let missing = names.iter().map(|name| (name.as_str(), 1)).collect();
        let sizes: Vec<usize> = buckets(&missing).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }
}
