//! Lists the namespaces of Durable Objects and the objects in them
//! (<https://developers.cloudflare.com/api/resources/durable_objects/>).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountAndName;
use super::body::Query;
use super::envelope::{ApiResult, CloudflareError, list as listed, ok, with_info};
use super::paging::Page;
use crate::app::App;
use crate::state::model::{DurableClass, Worker};

/// The default and the maximum number of objects on a page.
const DEFAULT_PAGE_SIZE: usize = 1000;
const MAX_PAGE_SIZE: usize = 10_000;

fn namespace_json(worker: &Worker, class: &DurableClass) -> Value {
    json!({
        "id": class.id, "name": format!("{}_{}", worker.name, class.name), "script": worker.name,
        "class": class.name, "use_sqlite": class.sqlite,
    })
}

/// Lists the namespaces of an account.
fn namespaces(app: &App, account: &str) -> Vec<Value> {
    let workers = app.store.workers();
    let workers = workers.iter().filter(|worker| worker.account == account);
    workers
        .flat_map(|worker| worker.classes.iter().map(|class| namespace_json(worker, class)))
        .collect()
}

fn find(app: &App, account: &str, id: &str) -> Result<Value, CloudflareError> {
    let namespace = namespaces(app, account).into_iter().find(|namespace| namespace["id"] == id);
    namespace.ok_or_else(|| {
        CloudflareError::new(404, 10_066, "The requested Durable Object namespace does not exist.")
    })
}

/// `GET /workers/durable_objects/namespaces`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult {
    if page.is_after_first() {
        return Ok(listed(&[] as &[Value]));
    }
    Ok(listed(&namespaces(&app, &account)))
}

/// `GET /workers/durable_objects/namespaces/{namespace}`
pub async fn view(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    Ok(ok(&find(&app, &account, &id)?))
}

/// The requested page of objects.
#[derive(Debug, Deserialize)]
pub struct ObjectsPage {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET …/{namespace}/objects`: lists the objects that have stored data. The cursor is the last id of a page.
pub async fn objects(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    Query(page): Query<ObjectsPage>,
) -> ApiResult {
    find(&app, &account, &id)?;
    let folder = app.runtime.data_folder(&account).join("do").join(&id);
    let mut ids: Vec<String> = match folder.read_dir_utf8() {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .filter_map(|entry| object_id(entry.file_name()))
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    ids.sort();
    let size = page.limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE);
    let remaining: Vec<&String> =
        ids.iter().filter(|id| page.cursor.as_ref().is_none_or(|cursor| *id > cursor)).collect();
    let on_page = &remaining[..remaining.len().min(size)];
    let items: Vec<Value> =
        on_page.iter().map(|id| json!({ "id": id, "hasStoredData": true })).collect();
    let cursor = if remaining.len() > size { on_page.last().map_or("", |id| id) } else { "" };
    Ok(with_info(&items, &json!({ "count": items.len(), "per_page": size, "cursor": cursor })))
}

/// Returns the id of the object that a storage file belongs to. `None` for other files.
fn object_id(file: &str) -> Option<String> {
    let id = file.strip_suffix(".sqlite")?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}
