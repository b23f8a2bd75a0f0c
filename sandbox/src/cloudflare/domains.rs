//! Reads and changes custom domains of Workers.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::envelope::{ApiError, ApiResult, list as listed, ok};
use super::{Place, done, settings, zones};
use crate::app::App;

/// A host name that a Worker wants.
#[derive(Debug, Deserialize)]
pub struct Origin {
    hostname: String,
}

/// The body of `PUT …/domains/records`.
#[derive(Debug, Deserialize)]
pub struct Set {
    #[serde(default)]
    override_existing_origin: bool,
    origins: Vec<Origin>,
}

/// `POST …/domains/changeset?replace_state=true`: what setting these would change.
pub async fn changes(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(wanted): Body<Vec<Origin>>,
) -> ApiResult {
    let own = settings::worker(&app, &account, &name)?.domains.clone();
    let wanted = names(wanted)?;
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for host in wanted.iter().filter(|host| !own.contains(host)) {
        match owner(&app, host) {
            Some(other) => {
                let mut entry = entry(host, &other);
                entry["modified"] = json!(true);
                updated.push(entry);
            }
            None => added.push(entry(host, &name)),
        }
    }
    let removed: Vec<Value> =
        own.iter().filter(|host| !wanted.contains(host)).map(|host| entry(host, &name)).collect();
    Ok(ok(&json!({
        "added": added, "removed": removed, "updated": updated, "conflicting": [],
    })))
}

/// `PUT …/domains/records`
pub async fn set(
    State(app): State<App>,
    Path((account, name)): Place,
    Body(body): Body<Set>,
) -> ApiResult {
    let hosts = names(body.origins)?;
    hosts.iter().try_for_each(|host| zones::check(&app, host))?;
    let taken =
        |host: &String| Some((host.clone(), owner(&app, host).filter(|owner| *owner != name)?));
    if !body.override_existing_origin
        && let Some((host, other)) = hosts.iter().find_map(taken)
    {
        let text = format!("Hostname {host} is already in use by the Worker {other}");
        return Err(ApiError::new(409, 100_116, &text));
    }
    tokio::task::block_in_place(|| app.store.release(&hosts, (&account, &name)))?;
    settings::change(&app, &account, &name, |worker| worker.domains = hosts)?;
    Ok(done())
}

/// `GET …/domains/records`
pub async fn records(State(app): State<App>, Path((account, name)): Place) -> ApiResult {
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

/// Which domains are listed.
#[derive(Debug, Deserialize)]
pub struct Filter {
    service: Option<String>,
    hostname: Option<String>,
}

/// `GET /accounts/{account}/workers/domains`
/// (<https://developers.cloudflare.com/api/resources/workers/subresources/domains/methods/list/>).
pub async fn list(
    State(app): State<App>,
    Path(account): Path<String>,
    Query(filter): Query<Filter>,
) -> ApiResult {
    let mut found = Vec::new();
    for worker in app.store.workers() {
        let fits = filter.service.as_ref().is_none_or(|service| *service == worker.name);
        if worker.account != account || !fits {
            continue;
        }
        let wanted = |host: &&String| filter.hostname.as_ref().is_none_or(|name| name == *host);
        found.extend(worker.domains.iter().filter(wanted).map(|host| entry(host, &worker.name)));
    }
    Ok(listed(&found))
}

/// `GET /accounts/{account}/workers/domains/records/{id}`
pub async fn record(State(app): State<App>, Path((_account, id)): Place) -> ApiResult {
    for worker in app.store.workers() {
        if let Some(host) = worker.domains.iter().find(|host| self::id(host) == id) {
            return Ok(ok(&entry(host, &worker.name)));
        }
    }
    Err(ApiError::new(404, 100_114, "Workers domain not found"))
}

/// The body of `PUT /accounts/{account}/workers/domains`.
#[derive(Debug, Deserialize)]
pub struct Attach {
    hostname: String,
    service: String,
}

/// `PUT /accounts/{account}/workers/domains`: gives one more host to a Worker.
pub async fn attach(
    State(app): State<App>,
    Path(account): Path<String>,
    Body(body): Body<Attach>,
) -> ApiResult {
    let host = names(vec![Origin { hostname: body.hostname }])?.remove(0);
    zones::check(&app, &host)?;
    if let Some(other) = owner(&app, &host).filter(|owner| *owner != body.service) {
        let text = format!("Hostname {host} is already in use by the Worker {other}");
        return Err(ApiError::new(409, 100_116, &text));
    }
    settings::change(&app, &account, &body.service, |worker| {
        if !worker.domains.contains(&host) {
            worker.domains.push(host.clone());
        }
    })?;
    Ok(ok(&entry(&host, &body.service)))
}

/// `DELETE /accounts/{account}/workers/domains/{id}`
pub async fn detach(State(app): State<App>, Path((account, id)): Place) -> ApiResult {
    let workers = app.store.workers();
    let mut own = workers.iter().filter(|worker| worker.account == account);
    let found = own.find(|worker| worker.domains.iter().any(|host| self::id(host) == id));
    let found = found.ok_or_else(|| ApiError::new(404, 100_114, "Workers domain not found"))?;
    settings::change(&app, &account, &found.name, |worker| {
        worker.domains.retain(|host| self::id(host) != id);
    })?;
    Ok(done())
}

fn owner(app: &App, host: &str) -> Option<String> {
    let workers = app.store.workers();
    let owner = workers.iter().find(|worker| worker.domains.iter().any(|domain| domain == host));
    owner.map(|worker| worker.name.clone())
}

fn id(host: &str) -> String {
    blake3::hash(host.as_bytes()).to_hex()[..32].to_owned()
}

/// Returns a domain as what refers to a Worker.
#[must_use]
pub fn reference(host: &str) -> Value {
    json!({ "id": id(host), "hostname": host, "certificate_id": "", "zone_id": id(zone_of(host)),
        "zone_name": zone_of(host) })
}

/// Returns the zone that a host is in, as far as a name shows it.
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

fn names(origins: Vec<Origin>) -> Result<Vec<String>, ApiError> {
    let names = origins.into_iter().map(|origin| origin.hostname.to_ascii_lowercase());
    names.map(|name| if is_host(&name) { Ok(name) } else { Err(bad(&name)) }).collect()
}

fn bad(name: &str) -> ApiError {
    ApiError::new(400, 100_113, &format!("Hostname {name:?} is invalid"))
}

fn is_host(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| !label.is_empty() && label.len() < 64 && label.bytes().all(good);
    name.contains('.') && name.len() < 254 && name.split('.').all(label)
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
