//! Creates, queries, exports and imports D1 databases (<https://developers.cloudflare.com/api/resources/d1/>).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list_page, ok};
use super::links::md5;
use super::paging::Page;
use super::storage::StorageTarget;
use super::{AccountAndName, empty_result, tails};
use crate::app::App;
use crate::ids::uuid;
use crate::state::resources::Database;

/// The body of a new database.
#[derive(Debug, Deserialize)]
pub struct NewDatabase {
    name: String,
    primary_location_hint: Option<String>,
    jurisdiction: Option<String>,
}

/// The filter of a list of databases.
#[derive(Debug, Deserialize)]
pub struct DatabaseFilter {
    name: Option<String>,
}

fn database_json(database: &Database) -> Value {
    json!({
        "uuid": database.uuid, "name": database.name, "created_at": database.created_at,
        "version": "production", "num_tables": 0, "file_size": 0,
        "running_in_region": database.region.as_deref().unwrap_or("WEUR"),
        "read_replication": { "mode": "disabled" }, "jurisdiction": database.jurisdiction,
    })
}

/// Returns a database in the format of lists, which lack the size.
fn summary_json(database: &Database) -> Value {
    json!({
        "uuid": database.uuid, "name": database.name, "created_at": database.created_at,
        "version": "production", "jurisdiction": database.jurisdiction,
    })
}

/// Returns a database with its size and the number of its tables.
async fn with_size(app: &App, account: &str, database: &Database) -> ApiResult {
    const SQL: &str = "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND \
                       name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'";
    let operation = json!({ "action": "query", "raw": false });
    let body = json!({ "sql": SQL }).to_string();
    let result =
        StorageTarget::Database(&database.uuid).json(app, account, &operation, body).await?;
    let mut document = database_json(database);
    document["num_tables"] = result[0]["results"][0]["tables"].clone();
    document["file_size"] = result[0]["meta"]["size_after"].clone();
    Ok(ok(&document))
}

fn find(app: &App, account: &str, identifier: &str) -> Result<Database, CloudflareError> {
    let resources = app.store.resources.get(account)?;
    resources.database(identifier).cloned().ok_or_else(|| {
        CloudflareError::new(404, 7404, &format!("The database {identifier} could not be found"))
    })
}

/// `GET …/d1/database`
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(page): Query<Page>,
    Query(filter): Query<DatabaseFilter>,
) -> ApiResult {
    let resources = app.store.resources.get(&account)?;
    let is_selected =
        |database: &&Database| filter.name.as_ref().is_none_or(|name| database.name == *name);
    let databases = resources.databases.iter().filter(is_selected).map(summary_json);
    Ok(list_page(&page, &databases.collect::<Vec<_>>()))
}

/// `POST …/d1/database`
pub async fn create(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<NewDatabase>,
) -> ApiResult {
    let NewDatabase { name, primary_location_hint, jurisdiction } = fields;
    if name.is_empty() {
        return Err(CloudflareError::new(400, 7400, "The database's name is empty"));
    }
    let database = tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            if resources.databases.iter().any(|database| database.name == name) {
                let text = format!("A database with that name already exists: {name}");
                return Err(CloudflareError::new(400, 7502, &text));
            }
            let region = primary_location_hint.map(|hint| hint.to_ascii_uppercase());
            Ok(resources.add_database(&name, region, jurisdiction))
        })
    })?;
    Ok(ok(&database_json(&database)))
}

/// `GET …/d1/database/{database}`, by id or by name.
pub async fn view(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let database = find(&app, &account, &id)?;
    with_size(&app, &account, &database).await
}

/// The body of a change to a database.
#[derive(Debug, Deserialize)]
pub struct DatabaseChanges {
    read_replication: Option<ReadReplication>,
}

/// The replication of a database.
#[derive(Debug, Deserialize)]
struct ReadReplication {
    mode: ReplicationMode,
}

/// The modes of replication (<https://developers.cloudflare.com/d1/best-practices/read-replication/>).
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReplicationMode {
    Auto,
    #[serde(rename = "disabled")]
    Off,
}

/// `PUT` and `PATCH …/d1/database/{database}`. Accepts only the replication mode `disabled`.
pub async fn change(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    JsonBody(changes): JsonBody<DatabaseChanges>,
) -> ApiResult {
    let database = find(&app, &account, &id)?;
    if changes.read_replication.is_some_and(|replication| replication.mode == ReplicationMode::Auto)
    {
        let text = "The sandbox does not have the read replication of D1. Every read goes to the primary database";
        return Err(CloudflareError::new(501, 7000, text));
    }
    with_size(&app, &account, &database).await
}

/// `DELETE …/d1/database/{database}`
pub async fn delete(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let database = find(&app, &account, &id)?;
    tokio::task::block_in_place(|| {
        app.store.resources.change(&account, |resources| {
            resources.databases.retain(|one| one.uuid != database.uuid);
            Ok::<_, CloudflareError>(())
        })
    })?;
    Ok(empty_result())
}

/// `POST …/d1/database/{database}/query`
pub async fn query(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    body: Bytes,
) -> ApiResult {
    run(&app, &account, &id, body, false).await
}

/// `POST …/d1/database/{database}/raw`
pub async fn raw(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    body: Bytes,
) -> ApiResult {
    run(&app, &account, &id, body, true).await
}

async fn run(app: &App, account: &str, id: &str, body: Bytes, raw: bool) -> ApiResult {
    let database = find(app, account, id)?;
    let operation = json!({ "action": "query", "raw": raw });
    Ok(ok(&StorageTarget::Database(&database.uuid).json(app, account, &operation, body).await?))
}

/// The body of an export.
#[derive(Debug, Deserialize)]
pub struct Export {
    #[serde(default)]
    dump_options: DumpOptions,
}

/// The parts of a database that are exported.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DumpOptions {
    no_schema: Option<bool>,
    no_data: Option<bool>,
    tables: Option<Vec<String>>,
}

/// `POST …/d1/database/{database}/export`: writes the SQL of a database, and returns a link to it.
pub async fn export(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    headers: HeaderMap,
    JsonBody(Export { dump_options: options }): JsonBody<Export>,
) -> ApiResult {
    let database = find(&app, &account, &id)?;
    let operation = json!({
        "action": "dump", "noSchema": options.no_schema.unwrap_or(false),
        "noData": options.no_data.unwrap_or(false), "tables": options.tables.unwrap_or_default(),
    });
    let storage = StorageTarget::Database(&database.uuid);
    let sql = storage.execute(&app, &account, &operation, "").await?;
    let sql = match sql {
        Some(response) => response.bytes().await?,
        None => Bytes::new(),
    };
    let (_, url) = app.links.add(&tails::host(&app, &headers), Some(sql));
    Ok(ok(&json!({
        "success": true, "type": "export", "status": "complete", "at_bookmark": uuid(),
        "messages": [], "result": { "filename": format!("{}.sql", database.name), "signed_url": url },
    })))
}

/// The body of one step of an import.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Import {
    /// Requests the URL for the upload of the file.
    Init {
        /// The MD5 of the file, in hexadecimal digits.
        etag: String,
    },
    /// Runs the uploaded file.
    Ingest {
        /// The file's name from the response to `init`.
        filename: String,
        /// The MD5 of the file, in hexadecimal digits.
        etag: String,
    },
    /// Polls an import. There is none to poll, because `ingest` responds only after the import has ended.
    Poll {
        /// The bookmark of the last response.
        current_bookmark: String,
    },
}

/// `POST …/d1/database/{database}/import`: runs a file of SQL in one transaction.
pub async fn import(
    State(app): State<App>,
    Path((account, id)): AccountAndName,
    headers: HeaderMap,
    JsonBody(step): JsonBody<Import>,
) -> ApiResult {
    let database = find(&app, &account, &id)?;
    let (filename, etag) = match step {
        Import::Init { etag } => {
            let (filename, url) = app.links.add(&tails::host(&app, &headers), None);
            return Ok(ok(&json!({
                "success": true, "type": "import", "filename": filename, "upload_url": url,
                "etag": etag, "messages": [],
            })));
        }
        Import::Ingest { filename, etag } => (filename, etag),
        Import::Poll { current_bookmark } => {
            let text = format!("There is no import at the bookmark {current_bookmark}");
            return Err(CloudflareError::new(404, 7404, &text));
        }
    };
    let file = app.links.take(&filename).filter(|file| md5(file) == etag);
    let file = file.ok_or_else(|| {
        CloudflareError::new(
            400,
            7400,
            &format!("The file {filename} was not uploaded with this content"),
        )
    })?;
    let sql = std::str::from_utf8(&file).map_err(|error| {
        CloudflareError::new(400, 7500, &format!("The file is not UTF-8: {error}"))
    })?;
    let operation = json!({ "action": "query", "raw": false, "isFile": true });
    let body = json!({ "sql": sql }).to_string();
    let results =
        StorageTarget::Database(&database.uuid).json(&app, &account, &operation, body).await?;
    let results = results.as_array().map_or(&[] as &[Value], Vec::as_slice);
    let sum_of = |field: &str| {
        results.iter().filter_map(|result| result["meta"][field].as_f64()).sum::<f64>()
    };
    let size_after =
        results.last().map_or(Value::Null, |result| result["meta"]["size_after"].clone());
    let bookmark = uuid();
    Ok(ok(&json!({
        "success": true, "type": "import", "status": "complete", "at_bookmark": bookmark,
        "messages": [], "result": {
            "num_queries": results.len(), "final_bookmark": bookmark,
            "meta": {
                "duration": sum_of("duration"), "rows_read": sum_of("rows_read"),
                "rows_written": sum_of("rows_written"), "changes": sum_of("changes"),
                "size_after": size_after, "changed_db": true,
            },
        },
    })))
}
