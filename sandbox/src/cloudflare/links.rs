//! Creates links to single files, which need no token, like the presigned URLs of Cloudflare. They
//! expire after an hour or when the sandbox ends.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse as _, Response};
use md5::{Digest as _, Md5};

use super::envelope::{ApiResult, CloudflareError};
use crate::app::App;
use crate::ids::{hex, random_id};
use crate::mutex::lock;

/// The lifetime of a link.
const LIFETIME: Duration = Duration::from_hours(1);

/// The maximum number of links. The oldest one is evicted, because the files are in memory.
const MAX_LINKS: usize = 16;

/// The links to files, in memory.
#[derive(Debug, Default)]
pub struct Links(Mutex<Vec<Link>>);

#[derive(Debug)]
struct Link {
    id: String,
    /// The secret in the URL, which authorizes the request.
    key: String,
    /// The content of the file. `None` until a client uploads it.
    file: Option<Bytes>,
    expires: Instant,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        let mut links = lock(&self.0);
        let now = Instant::now();
        links.retain(|link| link.expires > now);
        links
    }

    /// Adds a link to `file`, or to a file that the client will upload. Returns its id and its URL at
    /// `host`.
    pub fn add(&self, host: &str, file: Option<Bytes>) -> (String, String) {
        let (id, key) = (random_id(), random_id());
        let url = format!("http://{host}/client/v4/files/{id}?key={key}");
        let mut links = self.lock();
        links.push(Link { id: id.clone(), key, file, expires: Instant::now() + LIFETIME });
        let surplus = links.len().saturating_sub(MAX_LINKS);
        links.drain(..surplus);
        (id, url)
    }

    /// Removes an uploaded file and returns it. `None` if it was not uploaded or has expired.
    pub fn take(&self, id: &str) -> Option<Bytes> {
        let mut links = self.lock();
        let index = links.iter().position(|link| link.id == id && link.file.is_some())?;
        links.remove(index).file
    }

    /// Returns whether a URL has the key of a link.
    #[must_use]
    pub fn authorizes(&self, uri: &Uri) -> bool {
        let id = uri.path().strip_prefix("/client/v4/files/");
        id.is_some_and(|id| self.lock().iter().any(|link| link.matches(id, uri)))
    }
}

impl Link {
    fn matches(&self, id: &str, uri: &Uri) -> bool {
        let key = uri.query().and_then(|query| query.strip_prefix("key="));
        self.id == id && Some(&*self.key) == key
    }
}

/// Returns the MD5 of a file in hexadecimal digits. R2 uses it as the `ETag`.
#[must_use]
pub fn md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// `GET /client/v4/files/{id}`
pub async fn download(State(app): State<App>, Path(id): Path<String>, uri: Uri) -> ApiResult {
    let file = find(&app, &id, &uri)?;
    let file =
        file.ok_or_else(|| CloudflareError::new(404, 10_007, "The file was not uploaded yet"))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], file).into_response())
}

/// `PUT /client/v4/files/{id}`. The response has the MD5 of the content as its `ETag`.
pub async fn upload(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, CloudflareError> {
    find(&app, &id, &uri)?;
    let etag = format!("\"{}\"", md5(&body));
    if let Some(link) = app.links.lock().iter_mut().find(|link| link.id == id) {
        link.file = Some(body);
    }
    Ok(([(ETAG, etag)], "").into_response())
}

/// Returns the file of a link. `None` until it is uploaded. Errors if the URL does not have the link's key.
fn find(app: &App, id: &str, uri: &Uri) -> Result<Option<Bytes>, CloudflareError> {
    let links = app.links.lock();
    let link = links.iter().find(|link| link.matches(id, uri));
    link.map(|link| link.file.clone()).ok_or_else(CloudflareError::authentication)
}
