//! Reads and changes the custom domains of Workers.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list as listed, ok};
use super::{AccountAndName, empty_result, settings, zones};
use crate::app::App;
use crate::ids::derived_id;
use crate::state::model::Worker;

/// A host name that a client requests for a Worker.
#[derive(Debug, Deserialize)]
pub struct DomainOrigin {
    hostname: String,
}

/// The body of `PUT …/domains/records`.
#[derive(Debug, Deserialize)]
pub struct DomainRecords {
    #[serde(default)]
    override_existing_origin: bool,
    origins: Vec<DomainOrigin>,
}

/// `POST …/domains/changeset?replace_state=true`: lists the changes that `PUT …/domains/records` would make.
pub async fn changes(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(requested): JsonBody<Vec<DomainOrigin>>,
) -> ApiResult {
    let current = settings::worker(&app, &account, &name)?.domains.clone();
    let requested = host_names(requested)?;
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for host in requested.iter().filter(|host| !current.contains(host)) {
        match owner(&app, host) {
            Some(other) => {
                let mut domain = domain_json(host, &other);
                domain["modified"] = json!(true);
                updated.push(domain);
            }
            None => added.push(domain_json(host, &name)),
        }
    }
    let removed: Vec<Value> = current
        .iter()
        .filter(|host| !requested.contains(host))
        .map(|host| domain_json(host, &name))
        .collect();
    Ok(ok(&json!({
        "added": added, "removed": removed, "updated": updated, "conflicting": [],
    })))
}

/// `PUT …/domains/records`
pub async fn set(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<DomainRecords>,
) -> ApiResult {
    let hosts = host_names(body.origins)?;
    hosts.iter().try_for_each(|host| zones::check_host(&app, host))?;
    let conflict =
        |host: &String| Some((host.clone(), owner(&app, host).filter(|owner| *owner != name)?));
    if !body.override_existing_origin
        && let Some((host, other)) = hosts.iter().find_map(conflict)
    {
        return Err(host_in_use(&host, &other));
    }
    tokio::task::block_in_place(|| app.store.remove_domains(&hosts, (&account, &name)))?;
    settings::change(&app, &account, &name, |worker| worker.domains = hosts)?;
    Ok(empty_result())
}

/// `GET …/domains/records`
pub async fn records(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let records: Vec<Value> = worker.domains.iter().map(|host| domain_json(host, &name)).collect();
    Ok(ok(&records))
}

/// `GET /accounts/{account}/workers/domains/records`
pub async fn all_records(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let workers = app.store.workers().into_iter().filter(|worker| worker.account == account);
    let records = workers.flat_map(|worker| {
        worker.domains.iter().map(|host| domain_json(host, &worker.name)).collect::<Vec<_>>()
    });
    Ok(listed(&records.collect::<Vec<Value>>()))
}

/// The filter of a list of domains.
#[derive(Debug, Deserialize)]
pub struct DomainFilter {
    service: Option<String>,
    hostname: Option<String>,
}

/// `GET /accounts/{account}/workers/domains`
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/domains/methods/list/>).
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(filter): Query<DomainFilter>,
) -> ApiResult {
    let mut domains = Vec::new();
    for worker in app.store.workers() {
        let is_service = filter.service.as_ref().is_none_or(|service| *service == worker.name);
        if worker.account != account || !is_service {
            continue;
        }
        let is_selected =
            |host: &&String| filter.hostname.as_ref().is_none_or(|name| name == *host);
        domains.extend(
            worker.domains.iter().filter(is_selected).map(|host| domain_json(host, &worker.name)),
        );
    }
    Ok(listed(&domains))
}

/// `GET /accounts/{account}/workers/domains/records/{id}`
pub async fn record(State(app): State<App>, Path((_account, id)): AccountAndName) -> ApiResult {
    for worker in app.store.workers() {
        if let Some(host) = worker.domains.iter().find(|host| derived_id(host) == id) {
            return Ok(ok(&domain_json(host, &worker.name)));
        }
    }
    Err(domain_not_found())
}

/// The body of `PUT /accounts/{account}/workers/domains`.
#[derive(Debug, Deserialize)]
pub struct Attach {
    hostname: String,
    service: String,
}

/// `PUT /accounts/{account}/workers/domains`: adds a host to a Worker.
pub async fn attach(
    State(app): State<App>,
    Path(account): Path<String>,
    JsonBody(body): JsonBody<Attach>,
) -> ApiResult {
    let host = host_names(vec![DomainOrigin { hostname: body.hostname }])?.remove(0);
    zones::check_host(&app, &host)?;
    if let Some(other) = owner(&app, &host).filter(|owner| *owner != body.service) {
        return Err(host_in_use(&host, &other));
    }
    settings::change(&app, &account, &body.service, |worker| {
        if !worker.domains.contains(&host) {
            worker.domains.push(host.clone());
        }
    })?;
    Ok(ok(&domain_json(&host, &body.service)))
}

/// `DELETE /accounts/{account}/workers/domains/{id}`
pub async fn detach(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let workers = app.store.workers();
    let has_domain = |worker: &&Arc<Worker>| {
        worker.account == account && worker.domains.iter().any(|host| derived_id(host) == id)
    };
    let worker = workers.iter().find(has_domain).ok_or_else(domain_not_found)?;
    settings::change(&app, &account, &worker.name, |worker| {
        worker.domains.retain(|host| derived_id(host) != id);
    })?;
    Ok(empty_result())
}

fn domain_not_found() -> CloudflareError {
    CloudflareError::new(404, 100_114, "Workers domain not found")
}

fn host_in_use(host: &str, owner: &str) -> CloudflareError {
    let text = format!("Hostname {host} is already in use by the Worker {owner}");
    CloudflareError::new(409, 100_116, &text)
}

/// Returns the name of the Worker that has a custom domain. `None` if no Worker has it.
fn owner(app: &App, host: &str) -> Option<String> {
    let workers = app.store.workers();
    let owner = workers.iter().find(|worker| worker.domains.iter().any(|domain| domain == host));
    owner.map(|worker| worker.name.clone())
}

/// Returns a custom domain in the format of the references of a Worker.
#[must_use]
pub fn reference(host: &str) -> Value {
    json!({ "id": derived_id(host), "hostname": host, "certificate_id": "", "zone_id": derived_id(zone_of(host)),
        "zone_name": zone_of(host) })
}

/// Guesses the zone of a host: its last two labels.
fn zone_of(host: &str) -> &str {
    let dots: Vec<usize> = host.match_indices('.').map(|(index, _)| index).collect();
    if dots.len() < 2 { host } else { &host[dots[dots.len() - 2] + 1..] }
}

fn domain_json(host: &str, worker: &str) -> Value {
    json!({
        "id": derived_id(host), "hostname": host, "service": worker, "environment": "production",
        "enabled": true, "previews_enabled": false, "zone_id": derived_id(zone_of(host)),
        "zone_name": zone_of(host), "cert_id": derived_id(&format!("certificate of {host}")),
    })
}

fn host_names(origins: Vec<DomainOrigin>) -> Result<Vec<String>, CloudflareError> {
    let hosts = origins.into_iter().map(|origin| origin.hostname.to_ascii_lowercase());
    hosts.map(|name| if is_host(&name) { Ok(name) } else { Err(invalid_host(&name)) }).collect()
}

fn invalid_host(name: &str) -> CloudflareError {
    CloudflareError::new(400, 100_113, &format!("Hostname {name:?} is invalid"))
}

fn is_host(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label =
        |label: &str| !label.is_empty() && label.len() < 64 && label.bytes().all(is_valid);
    name.contains('.') && name.len() < 254 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts_are_dns_names() {
        for name in ["rawkode.academy", "www.example.co.uk", "xn--a-b.example"] {
            assert!(is_host(name), "{name}");
        }
        for name in ["", "localhost", "a..b", "a.b/c", "*.example.com", "a b.c", "<b>.c"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
