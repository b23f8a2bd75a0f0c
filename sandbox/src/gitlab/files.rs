//! Reads files of the git repository (<https://docs.gitlab.com/api/repository_files/>).

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::commits::{commit_not_found, open};
use super::context::RequestContext;
use super::fields::RequestFields;
use super::response::{GitlabError, GitlabResult, ok_response};
use crate::ids::hex;

/// Returns the content of the file that the path names, and its other fields in the API's format.
fn find(request: &RequestContext, reference: &str) -> Result<(Vec<u8>, Value), GitlabError> {
    let (repository, refs) = open(request)?;
    let path = request.item();
    let commit = repository.resolve(&refs, reference)?;
    let commit = commit.ok_or_else(commit_not_found)?;
    let file = repository.file(&commit, path)?;
    let file = file.ok_or_else(|| GitlabError::message(404, "404 File Not Found"))?;
    let last_change = repository.last_change(&commit, path)?;
    let details = json!({
        "file_name": path.rsplit('/').next(), "file_path": path, "size": file.content.len(),
        "encoding": "base64", "content_sha256": hex(digest(&SHA256, &file.content).as_ref()),
        "ref": reference, "blob_id": file.blob, "commit_id": commit, "last_commit_id": last_change,
        "execute_filemode": file.is_executable,
    });
    Ok((file.content, details))
}

/// Adds the fields of a file as headers, such as `X-Gitlab-Blob-Id`.
fn with_headers(mut response: Response, details: &Value) -> Response {
    for (name, value) in details.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = HeaderName::try_from(format!("x-gitlab-{}", name.replace('_', "-")));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(text)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// `GET` and `HEAD` of `/projects/{project}/repository/files/{file}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.project()?;
    fields.require_known(&["ref"])?;
    fields.require(&["ref"])?;
    let (content, details) = find(&request, &fields.text("ref").unwrap_or_default())?;
    let mut document = details.clone();
    document["content"] = json!(BASE64_STANDARD.encode(content));
    Ok(with_headers(ok_response(document), &details))
}

/// `GET` and `HEAD` of `/projects/{project}/repository/files/{file}/raw`
pub async fn raw(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.project()?;
    fields.require_known(&["ref", "lfs"])?;
    if fields.flag("lfs") {
        return Err(GitlabError::not_implemented("`lfs=true`"));
    }
    let reference = fields.text("ref").unwrap_or_else(|| "HEAD".to_owned());
    let (content, details) = find(&request, &reference)?;
    let is_text = !content.contains(&0) && std::str::from_utf8(&content).is_ok();
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_DISPOSITION, "inline"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok(with_headers((headers, content).into_response(), &details))
}
