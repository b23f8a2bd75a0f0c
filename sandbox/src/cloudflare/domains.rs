//! Reads and changes the custom domains of Workers.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list as listed, ok};
use super::{AccountAndName, empty_result, settings, zones};
use crate::app::App;

/// A host name that is requested for a Worker.
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

/// `POST …/domains/changeset?replace_state=true`: the changes that these domains would cause
pub async fn changes(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(requested): JsonBody<Vec<DomainOrigin>>,
) -> ApiResult {
    let own = settings::worker(&app, &account, &name)?.domains.clone();
    let requested = names(requested)?;
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for host in requested.iter().filter(|host| !own.contains(host)) {
        match owner(&app, host) {
            Some(other) => {
                let mut entry = entry(host, &other);
                entry["modified"] = json!(true);
                updated.push(entry);
            }
            None => added.push(entry(host, &name)),
        }
    }
    let removed: Vec<Value> = own
        .iter()
        .filter(|host| !requested.contains(host))
        .map(|host| entry(host, &name))
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
    let hosts = names(body.origins)?;
    hosts.iter().try_for_each(|host| zones::check(&app, host))?;
    let conflict =
        |host: &String| Some((host.clone(), owner(&app, host).filter(|owner| *owner != name)?));
    if !body.override_existing_origin
        && let Some((host, other)) = hosts.iter().find_map(conflict)
    {
        let text = format!("Hostname {host} is already in use by the Worker {other}");
        return Err(CloudflareError::new(409, 100_116, &text));
    }
    tokio::task::block_in_place(|| app.store.release(&hosts, (&account, &name)))?;
    settings::change(&app, &account, &name, |worker| worker.domains = hosts)?;
    Ok(empty_result())
}

/// `GET …/domains/records`
pub async fn records(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let records: Vec<Value> = worker.domains.iter().map(|host| entry(host, &name)).collect();
    Ok(ok(&records))
}

/// `GET /accounts/{account}/workers/domains/records`
pub async fn all(State(app): State<App>, Path(account): Path<String>) -> ApiResult {
    let own = app.store.workers().into_iter().filter(|worker| worker.account == account);
    let records = own.flat_map(|worker| {
        worker.domains.iter().map(|host| entry(host, &worker.name)).collect::<Vec<_>>()
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
            worker.domains.iter().filter(is_selected).map(|host| entry(host, &worker.name)),
        );
    }
    Ok(listed(&domains))
}

/// `GET /accounts/{account}/workers/domains/records/{id}`
pub async fn record(State(app): State<App>, Path((_account, id)): AccountAndName) -> ApiResult {
    for worker in app.store.workers() {
        if let Some(host) = worker.domains.iter().find(|host| self::id(host) == id) {
            return Ok(ok(&entry(host, &worker.name)));
        }
    }
    Err(CloudflareError::new(404, 100_114, "Workers domain not found"))
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
    let host = names(vec![DomainOrigin { hostname: body.hostname }])?.remove(0);
    zones::check(&app, &host)?;
    if let Some(other) = owner(&app, &host).filter(|owner| *owner != body.service) {
        let text = format!("Hostname {host} is already in use by the Worker {other}");
        return Err(CloudflareError::new(409, 100_116, &text));
    }
    settings::change(&app, &account, &body.service, |worker| {
        if !worker.domains.contains(&host) {
            worker.domains.push(host.clone());
        }
    })?;
    Ok(ok(&entry(&host, &body.service)))
}

/// `DELETE /accounts/{account}/workers/domains/{id}`
pub async fn detach(State(app): State<App>, Path((account, id)): AccountAndName) -> ApiResult {
    let workers = app.store.workers();
    let mut own = workers.iter().filter(|worker| worker.account == account);
    let worker = own.find(|worker| worker.domains.iter().any(|host| self::id(host) == id));
    let worker =
        worker.ok_or_else(|| CloudflareError::new(404, 100_114, "Workers domain not found"))?;
    settings::change(&app, &account, &worker.name, |worker| {
        worker.domains.retain(|host| self::id(host) != id);
    })?;
    Ok(empty_result())
}

fn owner(app: &App, host: &str) -> Option<String> {
    let workers = app.store.workers();
    let owner = workers.iter().find(|worker| worker.domains.iter().any(|domain| domain == host));
    owner.map(|worker| worker.name.clone())
}

fn id(host: &str) -> String {
    blake3::hash(host.as_bytes()).to_hex()[..32].to_owned()
}

/// Returns a domain in the format of a reference to a Worker.
#[must_use]
pub fn reference(host: &str) -> Value {
    json!({ "id": id(host), "hostname": host, "certificate_id": "", "zone_id": id(zone_of(host)),
        "zone_name": zone_of(host) })
}

/// Guesses the zone of a host from its name.
fn zone_of(host: &str) -> &str {
    let dots: Vec<usize> = host.match_indices('.').map(|(at, _)| at).collect();
    if dots.len() < 2 { host } else { &host[dots[dots.len() - 2] + 1..] }
}

fn entry(host: &str, worker: &str) -> Value {
    json!({
        "id": id(host), "hostname": host, "service": worker, "environment": "production",
        "enabled": true, "previews_enabled": false, "zone_id": id(zone_of(host)),
        "zone_name": zone_of(host), "cert_id": id(&format!("certificate of {host}")),
    })
}

fn names(origins: Vec<DomainOrigin>) -> Result<Vec<String>, CloudflareError> {
    let names = origins.into_iter().map(|origin| origin.hostname.to_ascii_lowercase());
    names.map(|name| if is_host(&name) { Ok(name) } else { Err(invalid_host(&name)) }).collect()
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
