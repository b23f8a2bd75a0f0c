//! The part of Cloudflare's API that wrangler 4.164 calls to deploy, to inspect and to roll back.

pub mod account;
pub mod assets;
pub mod auth;
pub mod body;
pub mod crons;
pub mod d1;
pub mod deployments;
pub mod domains;
pub mod durable;
pub mod envelope;
pub mod exports;
pub mod flat;
pub mod instances;
pub mod kv;
pub mod links;
pub mod messages;
pub mod metadata;
pub mod migrations;
pub mod paging;
pub mod previews;
pub mod products;
pub mod provide;
pub mod queues;
pub mod r2;
pub mod rules;
pub mod scripts;
pub mod secrets;
pub mod session;
pub mod settings;
pub mod storage;
pub mod tails;
pub mod upload;
pub mod versions;
pub mod workers;
pub mod workflows;
pub mod zones;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{any, delete, get, patch, post, put};

use crate::app::App;
use envelope::{list, ok};
use products::not_implemented;

/// Returns the routes below `/client/v4`.
pub fn routes(app: &App) -> Router<App> {
    Router::new()
        .nest("/accounts/{account}", account_routes(app))
        .route("/accounts", get(account::accounts))
        .route("/user", get(account::user))
        .route("/user/tokens/verify", get(account::verify))
        .route("/memberships", get(account::memberships))
        .route("/zones", get(zones::list))
        .route("/zones/{zone}", get(zones::view))
        .route("/zones/{zone}/workers/routes", get(zones::routes).post(zones::create_route))
        .route(
            "/zones/{zone}/workers/routes/{route}",
            get(zones::route).put(zones::update_route).delete(zones::delete_route),
        )
        .fallback(any(not_implemented))
        .method_not_allowed_fallback(not_implemented)
        .layer(from_fn_with_state(app.clone(), auth::authenticate))
        // These use a separate token instead of the account's.
        .route("/accounts/{account}/workers/assets/upload", post(assets::upload))
        .route("/tails/{tail}", get(tails::stream))
        .route("/files/{file}", get(links::download).put(links::upload))
}

/// The routes below `/accounts/{account}`.
fn account_routes(app: &App) -> Router<App> {
    Router::new()
        .route("/", get(account::view))
        .route("/tokens/verify", get(account::verify_account))
        .merge(worker_routes())
        .route("/storage/kv/namespaces", get(kv::list).post(kv::create))
        .nest("/storage/kv/namespaces/{namespace}", namespace_routes())
        .merge(r2_routes())
        .route("/d1/database", get(d1::list).post(d1::create))
        .route("/d1/database/{database}", get(d1::view).put(d1::change).patch(d1::change))
        .route("/d1/database/{database}", delete(d1::delete))
        .route("/d1/database/{database}/query", post(d1::query))
        .route("/d1/database/{database}/raw", post(d1::raw))
        .route("/d1/database/{database}/export", post(d1::export))
        .route("/d1/database/{database}/import", post(d1::import))
        .route("/queues", get(queues::list).post(queues::create))
        .nest("/queues/{queue}", queue_routes())
        .route("/workflows", get(workflows::list))
        .route(
            "/workflows/{workflow}",
            get(workflows::view).put(workflows::put).delete(workflows::delete),
        )
        .route("/workflows/{workflow}/versions", get(workflows::versions))
        .route("/workflows/{workflow}/versions/{version}", get(workflows::version))
        .nest("/workflows/{workflow}/instances", instance_routes())
        .fallback(not_implemented)
        .method_not_allowed_fallback(not_implemented)
        .layer(from_fn_with_state(app.clone(), auth::check_account))
}

/// The routes below `/accounts/{account}/workers`.
fn worker_routes() -> Router<App> {
    Router::new()
        .route("/workers/services/{worker}", get(workers::service).delete(workers::delete))
        .nest("/workers/services/{worker}/environments/{environment}", environment_routes())
        .nest("/workers/scripts/{worker}", script_routes())
        .route("/workers/scripts", get(scripts::list))
        .route("/workers/scripts-search", get(scripts::search))
        .route("/workers/workers", get(workers::list).post(workers::create))
        .route("/workers/workers/{worker}", get(workers::worker).put(workers::change))
        .route("/workers/workers/{worker}", patch(workers::change).delete(workers::delete))
        .nest("/workers/workers/{worker}/previews", preview_routes())
        .route(
            "/workers/workers/{worker}/versions",
            get(workers::versions).post(upload::post_json_version),
        )
        .route("/workers/workers/{worker}/versions/{version}", get(workers::version))
        .route("/workers/workers/{worker}/versions/latest", patch(secrets::patch_latest))
        .route("/workers/account-settings", get(account::settings).put(account::set_settings))
        .route("/workers/subdomain", get(account::subdomain).put(account::set_subdomain))
        .route("/workers/domains", get(domains::list).put(domains::attach))
        .route("/workers/domains/{id}", get(domains::record).delete(domains::detach))
        .route("/workers/domains/records", get(domains::all_records))
        .route("/workers/domains/records/{id}", get(domains::record))
        .route("/workers/tails/by-consumer/{worker}", get(empty_list))
        .route("/workers/durable_objects/namespaces", get(durable::list))
        .route("/workers/durable_objects/namespaces/{namespace}", get(durable::view))
        .route("/workers/durable_objects/namespaces/{namespace}/objects", get(durable::objects))
}

/// The routes of R2 below `/accounts/{account}`.
fn r2_routes() -> Router<App> {
    Router::new()
        .route("/r2/buckets", get(r2::list).post(r2::create))
        .route("/r2/buckets/{bucket}", get(r2::view).patch(r2::patch).delete(r2::delete))
        .route("/r2/buckets/{bucket}/cors", get(r2::cors).put(r2::set_cors).delete(r2::delete_cors))
        .route("/r2/buckets/{bucket}/lifecycle", get(r2::lifecycle).put(r2::set_lifecycle))
        .route("/r2/buckets/{bucket}/lock", get(r2::locks).put(r2::set_locks))
        .route("/r2/buckets/{bucket}/domains/custom", get(r2::custom_domains))
        .route(
            "/r2/buckets/{bucket}/domains/managed",
            get(r2::managed_domain).put(r2::set_managed_domain),
        )
        .route("/r2/buckets/{bucket}/local-uploads", get(r2::local_uploads))
        .route("/r2-catalog/{bucket}", get(r2::catalog))
        .route("/event_notifications/r2/{bucket}/configuration", get(r2::notifications))
        .route(
            "/event_notifications/r2/{bucket}/configuration/queues/{queue}",
            get(r2::notification).delete(r2::notification),
        )
        .route("/r2/buckets/{bucket}/sippy", get(r2::sippy).delete(r2::sippy))
        .route("/event_subscriptions/subscriptions", get(empty_list))
        .route("/hyperdrive/configs", get(empty_list))
        .route("/r2/buckets/{bucket}/objects", get(r2::objects))
        .route(
            "/r2/buckets/{bucket}/objects/{*object}",
            get(r2::get).put(r2::put).delete(r2::delete_object),
        )
}

/// The routes below `/workers/scripts/{worker}`.
fn script_routes() -> Router<App> {
    Router::new()
        .route("/", get(scripts::content).put(upload::put_script).delete(workers::delete))
        .route("/content", put(upload::put_content))
        .route("/content/v2", get(scripts::content))
        .route("/assets-upload-session", post(assets::open_session))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{deployment}", get(deployments::view))
        .route("/versions", get(versions::list).post(upload::post_version))
        .route("/versions/{version}", get(versions::view))
        .route("/settings", get(settings::view).patch(settings::patch))
        .route("/script-settings", get(settings::script).patch(settings::patch_script))
        .route("/subdomain", get(settings::subdomain).post(settings::set_subdomain))
        .route("/subdomain", delete(settings::delete_subdomain))
        .route("/domains/changeset", post(domains::changes))
        .route("/domains/records", get(domains::records).put(domains::set))
        .route("/routes", get(settings::routes).put(settings::set_routes))
        .route("/schedules", get(settings::schedules).put(settings::set_schedules))
        .route("/secrets", get(secrets::list).put(secrets::put))
        .route("/secrets/{secret}", get(secrets::view).delete(secrets::delete))
        .route("/tails", get(tails::list).post(tails::create))
        .route("/tails/{tail}", delete(tails::delete))
        .route("/secrets-bulk", patch(secrets::bulk))
        .route("/bindings", get(workers::bindings))
        .route("/references", get(workers::references))
        .route("/usage-model", get(settings::script))
        .fallback(not_implemented)
        .method_not_allowed_fallback(not_implemented)
}

/// The routes below `/workers/services/{worker}/environments/{environment}`.
fn environment_routes() -> Router<App> {
    Router::new()
        .route("/", get(workers::environment))
        .route("/bindings", get(workers::environment_bindings))
        .route("/routes", get(workers::environment_routes))
        .route("/settings", get(workers::environment_settings))
        .route("/content/v2", get(scripts::environment_content))
        .route("/subdomain", get(workers::environment_subdomain))
}

/// The routes below `/workers/workers/{worker}/previews`.
fn preview_routes() -> Router<App> {
    Router::new()
        .route("/", get(previews::list).post(previews::create))
        .route("/{preview}", get(previews::view).patch(previews::patch).delete(previews::delete))
        .route("/{preview}/deployments", get(previews::deployments).post(previews::deploy))
        .route("/{preview}/deployments/{deployment}", get(previews::deployment))
}

/// The routes below `/storage/kv/namespaces/{namespace}`.
fn namespace_routes() -> Router<App> {
    Router::new()
        .route("/", get(kv::view).put(kv::rename).delete(kv::delete))
        .route("/keys", get(kv::keys))
        .route("/values/{key}", get(kv::get).put(kv::put).delete(kv::delete_key))
        .route("/metadata/{key}", get(kv::metadata))
        .route("/bulk", put(kv::bulk_put).delete(kv::bulk_delete))
        .route("/bulk/get", post(kv::bulk_get))
        .route("/bulk/delete", post(kv::bulk_delete))
}

/// The routes below `/workflows/{workflow}/instances`.
fn instance_routes() -> Router<App> {
    Router::new()
        .route("/", get(instances::list).post(instances::create))
        .route("/batch", post(instances::create_batch))
        .route("/batch/delete", post(instances::delete_batch))
        .route("/terminate", put(instances::terminate_all))
        .route("/{instance}", get(instances::view))
        .route("/{instance}/status", patch(instances::change))
        .route("/{instance}/events/{type}", post(instances::send_event))
}

/// The routes below `/queues/{queue}`.
fn queue_routes() -> Router<App> {
    Router::new()
        .route("/", get(queues::view).put(queues::update).patch(queues::update))
        .route("/", delete(queues::delete))
        .route("/messages", post(messages::push))
        .route("/messages/batch", post(messages::push_batch))
        .route("/messages/pull", post(messages::pull))
        .route("/messages/ack", post(messages::acknowledge))
        .route("/purge", get(messages::purge_status).post(messages::purge))
        .route("/consumers", get(queues::consumers).post(queues::add_consumer))
        .route(
            "/consumers/{consumer}",
            get(queues::view_consumer).put(queues::set_consumer).delete(queues::delete_consumer),
        )
}

async fn empty_list() -> Response {
    list(&[] as &[()])
}

/// Removes the slash at the end of a path of this API. Wrangler sends it, for example, for the latest
/// instance of a workflow. The key of an R2 object may end with a slash.
pub async fn trim_slash(mut request: Request) -> Request {
    if let Some(uri) = without_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| path.starts_with("/client/v4/"))?;
    if path.contains("/r2/buckets/") && path.contains("/objects/") {
        return None;
    }
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

/// The path parameters of most routes: the account, and the name or id of a resource.
pub type AccountAndName = Path<(String, String)>;

/// Makes a successful response without a result.
#[must_use]
pub fn empty_result() -> Response {
    ok(&serde_json::Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_does_not_count() {
        for (given, expected) in [
            (
                "/client/v4/accounts/a/workflows/w/instances/",
                Some("/client/v4/accounts/a/workflows/w/instances"),
            ),
            ("/client/v4/user/?a=b/", Some("/client/v4/user?a=b/")),
            ("/client/v4/user", None),
            ("/client/v4/accounts/a/r2/buckets/b/objects/folder/", None),
            ("/folder/", None),
        ] {
            let trimmed = without_slash(&given.parse().expect("a URI"));
            assert_eq!(trimmed.map(|uri| uri.to_string()).as_deref(), expected, "{given}");
        }
    }
}
