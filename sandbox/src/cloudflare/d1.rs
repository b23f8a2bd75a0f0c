//! D1 databases (<https://developers.cloudflare.com/api/resources/d1/>).

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::envelope::{ApiError, ApiResult, ok, with_info};
use super::storage::Storage;
use super::versions::Page;
use super::{Place, done};
use crate::app::App;
use crate::state::resources::Database;

/// The body of a new database.
#[derive(Debug, Deserialize)]
pub struct NewDatabase {
    name: String,
}

/// The databases that are asked for.
#[derive(Debug, Deserialize)]
pub struct Named {
    name: Option<String>,
}

fn presented(database: &Database) -> Value {
    json!({
        "uuid": database.uuid, "name": database.name, "created_at": database.created_at,
        "version": "production", "num_tables": 0, "file_size": 0, "running_in_region": "WEUR",
        "read_replication": { "mode": "disabled" }, "jurisdiction": null,
    })
}

fn find(app: &App, account: &str, identifier: &str) -> Result<Database, ApiError> {
    let resources = app.store.resources.get(account)?;
    resources.database(identifier).cloned().ok_or_else(|| {
        ApiError::new(404, 7404, &format!("The database {identifier} could not be found"))
    })
}

/// `GET …/d1/database`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
    Query(named): Query<Named>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let fits = |one: &&Database| named.name.as_ref().is_none_or(|name| one.name == *name);
    let found: Vec<&Database> = resources.databases.iter().filter(fits).collect();
    let (total, of) = (found.len(), page.clone());
    let shown: Vec<Value> = of.of(found.into_iter()).map(presented).collect();
    Ok(with_info(&shown, &page.info(shown.len(), total)))
}

/// `POST …/d1/database`
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    Body(NewDatabase { name }): Body<NewDatabase>,
) -> ApiResult {
    if name.is_empty() {
        return Err(ApiError::new(400, 7400, "The database's name is empty"));
    }
    let made = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            if resources.databases.iter().any(|one| one.name == name) {
                let text = format!("A database with that name already exists: {name}");
                return Err(ApiError::new(400, 7502, &text));
            }
            Ok(resources.add_database(&name))
        })
    })?;
    Ok(ok(&presented(&made)))
}

/// `GET …/d1/database/{database}`, by id or by name.
pub async fn view(State(app): State<App>, Path((account, id)): Place) -> ApiResult {
    Ok(ok(&presented(&find(&app, &account, &id)?)))
}

/// `DELETE …/d1/database/{database}`
pub async fn delete(State(app): State<App>, Path((account, id)): Place) -> ApiResult {
    let database = find(&app, &account, &id)?;
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            resources.databases.retain(|one| one.uuid != database.uuid);
            Ok::<_, ApiError>(())
        })
    })?;
    Ok(done())
}

/// `POST …/d1/database/{database}/query`
pub async fn query(State(app): State<App>, Path((account, id)): Place, body: Bytes) -> ApiResult {
    run(&app, &account, &id, body, false).await
}

/// `POST …/d1/database/{database}/raw`
pub async fn raw(State(app): State<App>, Path((account, id)): Place, body: Bytes) -> ApiResult {
    run(&app, &account, &id, body, true).await
}

async fn run(app: &App, account: &str, id: &str, body: Bytes, raw: bool) -> ApiResult {
    let database = find(app, account, id)?;
    let order = json!({ "action": "query", "raw": raw });
    Ok(ok(&Storage::Database(&database.uuid).json(app, account, &order, body).await?))
}
