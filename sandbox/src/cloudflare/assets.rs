//! Uploads assets. A session lists the missing files, and each uploaded file must match its hash.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::AccountAndName;
use super::body::{JsonBody, MultipartParts, Query};
use super::envelope::{ApiResult, CloudflareError, ok};
use super::metadata::check_name;
use super::session::Session;
use crate::app::App;
use crate::state::blobs::{AssetManifest, BlobStore, matches};
use crate::state::model::Asset;

/// The maximum size of a file in bytes (<https://developers.cloudflare.com/workers/platform/limits/>).
const MAX_FILE_SIZE: u64 = 25 * 1024 * 1024;

/// The maximum number of files of a version in a paid plan (same page).
const MAX_FILES: usize = 100_000;

/// The maximum number of files and of bytes in one request of an upload.
const MAX_BUCKET: (usize, u64) = (1000, 50 * 1024 * 1024);

/// The body of `assets-upload-session`.
#[derive(Debug, Deserialize)]
pub struct NewSession {
    manifest: AssetManifest,
}

/// `POST …/assets-upload-session`
pub async fn open_session(
    State(app): State<App>,
    Path((account, worker)): AccountAndName,
    JsonBody(NewSession { manifest }): JsonBody<NewSession>,
) -> ApiResult {
    check_name(&worker)?;
    check_manifest(&manifest)?;
    tokio::task::block_in_place(|| {
        let blobs = &app.store.blobs;
        let text = serde_json::to_vec(&manifest).map_err(anyhow::Error::from)?;
        let blob = blobs.add(&text)?;
        blobs.sync()?;
        let buckets = buckets(&missing(blobs, &account, &manifest));
        let jwt = Session::new(&account, blob, buckets.is_empty()).sign(&app.token)?;
        Ok(ok(&json!({ "jwt": jwt, "buckets": buckets })))
    })
}

fn check_manifest(manifest: &AssetManifest) -> Result<(), CloudflareError> {
    if manifest.len() > MAX_FILES {
        return Err(CloudflareError::invalid(&format!("More than {MAX_FILES} assets")));
    }
    for (path, asset) in manifest {
        let hex = asset.hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !path.starts_with('/') || asset.hash.len() != 32 || !hex {
            return Err(CloudflareError::invalid(&format!(
                "The manifest entry {path:?} is invalid"
            )));
        }
        if asset.size > MAX_FILE_SIZE {
            return Err(CloudflareError::new(
                413,
                10_021,
                &format!("{path} is larger than 25 MiB"),
            ));
        }
    }
    Ok(())
}

/// Returns the hash and the size of each asset that is missing in an account or does not match its hash.
fn missing<'a>(
    blobs: &BlobStore,
    account: &str,
    manifest: &'a AssetManifest,
) -> BTreeMap<&'a str, u64> {
    manifest
        .iter()
        .filter(|(path, asset)| !blobs.has_asset(account, path, asset))
        .map(|(_, asset)| (asset.hash.as_str(), asset.size))
        .collect()
}

/// Divides the missing assets into buckets, one for each request of the upload.
fn buckets<'a>(missing: &BTreeMap<&'a str, u64>) -> Vec<Vec<&'a str>> {
    let mut buckets: Vec<Vec<&str>> = Vec::new();
    let mut bytes = 0;
    for (hash, size) in missing {
        match buckets.last_mut() {
            Some(last) if last.len() < MAX_BUCKET.0 && bytes + size <= MAX_BUCKET.1 => {
                last.push(hash);
                bytes += size;
            }
            _ => {
                buckets.push(vec![hash]);
                bytes = *size;
            }
        }
    }
    buckets
}

/// The query `?base64=true`.
#[derive(Debug, Deserialize)]
pub struct Encoding {
    #[serde(default)]
    base64: bool,
}

/// `POST /accounts/{account}/workers/assets/upload?base64=true`
pub async fn upload(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(encoding): Query<Encoding>,
    session: Session,
    mut parts: MultipartParts,
) -> ApiResult {
    if !encoding.base64 {
        return Err(CloudflareError::invalid("The sandbox accepts assets only as base64"));
    }
    let blobs = &app.store.blobs;
    let manifest = tokio::task::block_in_place(|| blobs.manifest(&session.manifest))?;
    let expected: BTreeMap<&str, (&str, &Asset)> = manifest
        .iter()
        .map(|(path, asset)| (asset.hash.as_str(), (path.as_str(), asset)))
        .collect();
    let mut contents = Vec::new();
    while let Some(part) = parts.next().await? {
        let hash = part.name().unwrap_or_default().to_owned();
        let text =
            part.text().await.map_err(|error| CloudflareError::invalid(&error.body_text()))?;
        let (path, asset) = expected.get(hash.as_str()).ok_or_else(|| {
            CloudflareError::invalid(&format!("{hash:?} is not in the manifest of this session"))
        })?;
        let bytes = tokio::task::block_in_place(|| check_content(&text, path, asset))?;
        contents.push((BlobStore::asset_name(&account, &hash), bytes));
    }
    tokio::task::block_in_place(|| blobs.put_all(&contents).and_then(|()| blobs.sync()))?;
    if !missing(blobs, &account, &manifest).is_empty() {
        return Ok((StatusCode::ACCEPTED, ok(&json!({}))).into_response());
    }
    let jwt = Session::new(&account, session.manifest, true).sign(&app.token)?;
    Ok((StatusCode::CREATED, ok(&json!({ "jwt": jwt }))).into_response())
}

fn check_content(base64: &str, path: &str, asset: &Asset) -> Result<Vec<u8>, CloudflareError> {
    let bytes = STANDARD
        .decode(base64)
        .map_err(|_| CloudflareError::invalid(&format!("The content of {path} is not base64")))?;
    if bytes.len() as u64 != asset.size {
        return Err(CloudflareError::invalid(&format!("{path} has {} bytes", bytes.len())));
    }
    if !matches(&bytes, path, asset) {
        let hash = &asset.hash;
        return Err(CloudflareError::invalid(&format!(
            "The content of {path} does not match the hash {hash}"
        )));
    }
    Ok(bytes)
}

/// Returns the manifest's blob and its number of files for the upload session of `jwt`. Errors if the
/// upload is incomplete.
pub fn completed_manifest(
    app: &App,
    account: &str,
    jwt: &str,
) -> Result<(String, usize), CloudflareError> {
    let session = Session::verify(&app.token, account, jwt)?;
    let manifest = app.store.blobs.manifest(&session.manifest)?;
    let missing = missing(&app.store.blobs, account, &manifest).len();
    if !session.complete || missing > 0 {
        let text = format!("{missing} assets of this version are not uploaded yet");
        return Err(CloudflareError::invalid(&text));
    }
    Ok((session.manifest, manifest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::blobs::asset_hash;

    #[test]
    fn refuses_content_with_another_size_or_hash() {
        let text = STANDARD.encode("hello");
        let asset = Asset { hash: asset_hash(&text, "/a.txt"), size: 5 };
        assert_eq!(check_content(&text, "/a.txt", &asset).expect("good"), b"hello");
        assert!(check_content(&text, "/a.css", &asset).is_err());
        assert!(check_content(&text, "/a.txt", &Asset { size: 6, ..asset.clone() }).is_err());
        assert!(check_content("?", "/a.txt", &asset).is_err());
    }

    #[test]
    fn buckets_limit_files_and_bytes() {
        let names: Vec<String> = (0..2500).map(|n| format!("{n:032x}")).collect();
        let sizes = |size: u64| -> Vec<usize> {
            let missing = names.iter().map(|name| (name.as_str(), size)).collect();
            buckets(&missing).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(1), [1000, 1000, 500]);
        assert_eq!(sizes(20 * 1024 * 1024).len(), 1250);
    }
}
