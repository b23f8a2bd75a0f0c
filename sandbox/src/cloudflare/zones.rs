//! Reads zones, and reads and changes their routes. Every domain name is a zone, unless the sandbox was started with
//! a list of zones.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::USER;
use super::body::{JsonBody, Query};
use super::envelope::{ApiResult, CloudflareError, list as listed, list_page, ok};
use super::paging::Page;
use super::{AccountAndName, scripts, settings};
use crate::app::App;
use crate::ids::{derived_id, random_id};
use crate::mutex::lock;
use crate::state::model::Worker;

/// The maximum number of zone names in memory.
const MAX_ZONE_NAMES: usize = 10_000;

/// The filter of a list of zones.
#[derive(Debug, Deserialize)]
pub struct ZoneQuery {
    name: Option<String>,
}

/// `GET /zones?name=…`
pub async fn list(
    State(app): State<App>,
    Query(query): Query<ZoneQuery>,
    Query(page): Query<Page>,
) -> Response {
    let names: Vec<String> = match query.name {
        Some(name) if app.zones.is_empty() || app.zones.contains(&name) => vec![name],
        Some(_) => Vec::new(),
        None => app.zones.clone(),
    };
    app.zone_names.add(&names);
    list_page(&page, &names.iter().map(|name| zone_json(&app, name)).collect::<Vec<Value>>())
}

/// The names of zones that clients requested, by id. Without a list of zones every name is a zone, and its id is a
/// hash from which the name cannot be computed.
#[derive(Debug, Default)]
pub struct ZoneNames(Mutex<BTreeMap<String, String>>);

impl ZoneNames {
    fn add(&self, names: &[String]) {
        let mut zones = lock(&self.0);
        for name in names {
            if zones.len() < MAX_ZONE_NAMES {
                zones.insert(derived_id(name), name.clone());
            }
        }
    }

    fn find(&self, id: &str) -> Option<String> {
        lock(&self.0).get(id).cloned()
    }
}

/// Returns the name of a zone by its id. Searches the list of zones. If it is empty, searches the names that
/// clients requested, then the domains and routes of Workers.
fn zone_name(app: &App, id: &str) -> Option<String> {
    if let Some(name) = app.zones.iter().find(|name| derived_id(name) == id) {
        return Some(name.clone());
    }
    if !app.zones.is_empty() {
        return None;
    }
    let routes =
        all_routes(app).into_iter().filter_map(|(_, route)| route["pattern"].as_str().map(host_of));
    let domains = app.store.workers().into_iter().flat_map(|worker| worker.domains.clone());
    let parents = |host: String| -> Vec<String> {
        let parents = host.match_indices('.').map(|(index, _)| host[index + 1..].to_owned());
        parents.chain([host.clone()]).collect()
    };
    let of_workers = || routes.chain(domains).flat_map(parents).find(|name| derived_id(name) == id);
    app.zone_names.find(id).or_else(of_workers)
}

/// `GET /zones/{zone}`
pub async fn view(State(app): State<App>, Path(zone): Path<String>) -> ApiResult {
    let name = zone_name(&app, &zone);
    let name = name.ok_or_else(|| CloudflareError::new(400, 1001, "Invalid zone identifier"))?;
    Ok(ok(&zone_json(&app, &name)))
}

fn zone_json(app: &App, name: &str) -> Value {
    let time = "2026-01-01T00:00:00.000000Z";
    json!({
        "id": derived_id(name), "name": name, "status": "active", "type": "full", "paused": false,
        "name_servers": [], "original_name_servers": [], "original_registrar": null,
        "original_dnshost": null, "activated_on": time, "created_on": time, "modified_on": time,
        "development_mode": 0, "account": { "id": app.accounts.first(), "name": "Sandbox" },
        "owner": { "id": USER, "name": "you", "type": "user" }, "vanity_name_servers": [],
        "plan": { "id": "free", "name": "Free", "price": 0, "currency": "USD", "frequency": "",
            "is_subscribed": false, "can_subscribe": true, "legacy_id": "free",
            "legacy_discount": false, "externally_managed": false },
        "meta": { "cdn_only": false, "custom_certificate_quota": 0, "dns_only": false,
            "foundation_dns": false, "page_rule_quota": 3, "phishing_detected": false, "step": 4 },
        "permissions": [], "tenant": { "id": null, "name": null }, "tenant_unit": { "id": null },
        "cname_suffix": null, "verification_key": null,
    })
}

/// Returns all routes with the accounts of their Workers.
fn all_routes(app: &App) -> Vec<(String, Value)> {
    let routes_of = |worker: std::sync::Arc<Worker>| {
        let routes = scripts::routes(&worker).as_array().cloned().unwrap_or_default();
        routes.into_iter().map(|route| (worker.account.clone(), route)).collect::<Vec<_>>()
    };
    app.store.workers().into_iter().flat_map(routes_of).collect()
}

/// Returns whether the host of a pattern is in a zone, by the zone's id.
fn is_in_zone(app: &App, zone: &str, pattern: &str) -> bool {
    let host = host_of(pattern);
    let parents = host.match_indices('.').map(|(index, _)| &host[index + 1..]);
    let name = std::iter::once(host.as_str()).chain(parents).find(|name| derived_id(name) == zone);
    name.is_some_and(|name| app.zones.is_empty() || app.zones.iter().any(|zone| zone == name))
}

/// `GET /zones/{zone}/workers/routes`: lists the routes of all Workers in the zone.
pub async fn routes(State(app): State<App>, Path(zone): Path<String>) -> Response {
    let is_selected = |route: &Value| {
        route["pattern"].as_str().is_some_and(|pattern| is_in_zone(&app, &zone, pattern))
    };
    let routes = all_routes(&app).into_iter().map(|(_, route)| route);
    listed(&routes.filter(is_selected).collect::<Vec<_>>())
}

/// The body of a new or changed route.
#[derive(Debug, Deserialize)]
pub struct RouteFields {
    pattern: String,
    script: Option<String>,
}

/// `POST /zones/{zone}/workers/routes`
pub async fn create_route(
    State(app): State<App>,
    Path(zone): Path<String>,
    JsonBody(fields): JsonBody<RouteFields>,
) -> ApiResult {
    put_route(&app, &zone, None, &fields)
}

/// `PUT /zones/{zone}/workers/routes/{route}`
pub async fn update_route(
    State(app): State<App>,
    Path((zone, route)): AccountAndName,
    JsonBody(fields): JsonBody<RouteFields>,
) -> ApiResult {
    let previous = find_route(&app, &zone, &route)?;
    put_route(&app, &zone, Some(&previous), &fields)
}

/// `GET /zones/{zone}/workers/routes/{route}`. The code of a missing one was captured from the API
/// (<https://github.com/alchemy-run/distilled>, `patches/workers/getRoute.json`).
pub async fn route(State(app): State<App>, Path((zone, route)): AccountAndName) -> ApiResult {
    let (_, route) =
        find_route(&app, &zone, &route).map_err(|error| error.with_code(10_009, 10_007))?;
    Ok(ok(&route))
}

/// `DELETE /zones/{zone}/workers/routes/{route}`
pub async fn delete_route(
    State(app): State<App>,
    Path((zone, route)): AccountAndName,
) -> ApiResult {
    let (account, removed) = find_route(&app, &zone, &route)?;
    remove_route(&app, &account, &removed)?;
    Ok(ok(&json!({ "id": route })))
}

/// Returns a route of a zone with the account of its Worker. The code was captured from the API
/// (<https://github.com/alchemy-run/distilled>, `patches/workers/deleteRoute.json`).
fn find_route(app: &App, zone: &str, route: &str) -> Result<(String, Value), CloudflareError> {
    let is_route = |(_, candidate): &(String, Value)| {
        candidate["id"] == route
            && is_in_zone(app, zone, candidate["pattern"].as_str().unwrap_or_default())
    };
    let missing = || CloudflareError::new(404, 10_009, "This route does not exist.");
    all_routes(app).into_iter().find(is_route).ok_or_else(missing)
}

/// Creates a route, or replaces the `previous` one.
fn put_route(
    app: &App,
    zone: &str,
    previous: Option<&(String, Value)>,
    fields: &RouteFields,
) -> ApiResult {
    let RouteFields { pattern, script } = fields;
    check_pattern(pattern)?;
    if !is_in_zone(app, zone, pattern) {
        return Err(CloudflareError::new(400, 10_022, "Route pattern must include zone name"));
    }
    let Some(script) = script.as_deref().filter(|script| !script.is_empty()) else {
        let text = "The sandbox does not have routes that disable Workers. Name the Worker of the route in `script`";
        return Err(CloudflareError::new(501, 7000, text));
    };
    let workers = app.store.workers();
    let worker = workers.iter().find(|worker| worker.name == script);
    // The code and the text were captured from the API (alchemy-run/distilled, pull request 368).
    let worker = worker.ok_or_else(|| {
        let text = "Cannot configure a route for a Worker which does not exist. Please ensure this Worker exists \
                    and try again.";
        CloudflareError::new(400, 10_019, text)
    })?;
    let is_previous = |other: &Value| previous.is_some_and(|(_, route)| route["id"] == other["id"]);
    let is_same = |other: &Value| is_same_pattern(pattern_of(other), pattern);
    if all_routes(app).iter().any(|(_, other)| is_same(other) && !is_previous(other)) {
        return Err(duplicate_route());
    }
    let mut stored = json!({ "pattern": pattern });
    if let Some((account, route)) = previous {
        remove_route(app, account, route)?;
        stored["id"] = route["id"].clone();
    } else if all_routes(app).iter().any(|(_, other)| other["id"] == scripts::route_id(pattern)) {
        // Another route had this pattern before, so it has the id of this pattern.
        stored["id"] = json!(random_id());
    }
    settings::change(app, &worker.account, &worker.name, |worker| {
        let mut routes = worker.routes.as_array().cloned().unwrap_or_default();
        routes.push(stored);
        worker.routes = Value::Array(routes);
    })?;
    let created = all_routes(app).into_iter().find(|(_, route)| route["pattern"] == *pattern);
    Ok(ok(&created.map(|(_, route)| route)))
}

fn remove_route(app: &App, account: &str, route: &Value) -> Result<(), CloudflareError> {
    let name = route["script"].as_str().unwrap_or_default();
    settings::change(app, account, name, |worker| {
        let mut routes = worker.routes.as_array().cloned().unwrap_or_default();
        routes.retain(|other| *pattern_of(other) != route["pattern"]);
        worker.routes = Value::Array(routes);
    })
}

/// Makes the error for a route that exists (<https://github.com/cloudflare/workers-sdk/issues/1585>).
fn duplicate_route() -> CloudflareError {
    CloudflareError::new(409, 10_020, "A route with the same pattern already exists")
}

/// Returns whether two patterns mean the same route. Only the path is case-sensitive
/// (<https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>).
fn is_same_pattern(a: &str, b: &str) -> bool {
    let split = |pattern: &str| -> (String, String) {
        let start = pattern.find("://").map_or(0, |index| index + 3);
        let end = pattern[start..].find('/').map_or(pattern.len(), |index| start + index);
        (pattern[..end].to_ascii_lowercase(), pattern[end..].to_owned())
    };
    split(a) == split(b)
}

/// Refuses an invalid pattern. A wildcard may only be at the start of the host and
/// at the end of the path (<https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>).
/// That page does not forbid a port.
fn check_pattern(pattern: &str) -> Result<(), CloudflareError> {
    let without_scheme =
        ["http://", "https://"].iter().find_map(|scheme| pattern.strip_prefix(scheme));
    let rest = without_scheme.unwrap_or(pattern);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.strip_prefix('*').unwrap_or(host);
    let host = without_port(host);
    let path = path.strip_suffix('*').unwrap_or(path);
    let is_host = host.contains('.') && !host.contains(['*', ' ', ':', '@']);
    if is_host && !path.contains(['*', '?', '#', ' ']) {
        return Ok(());
    }
    let text =
        format!("Could not understand route pattern [{pattern}], please try a different pattern");
    Err(CloudflareError::new(400, 10_022, &text))
}

/// Returns the pattern of a route, which is an object or a string.
fn pattern_of(route: &Value) -> &str {
    route["pattern"].as_str().or(route.as_str()).unwrap_or_default()
}

/// Refuses routes of a Worker that are invalid, outside of the zones, or in use by another Worker.
pub fn check_routes(
    app: &App,
    account: &str,
    worker: &str,
    routes: &Value,
) -> Result<(), CloudflareError> {
    let others: Vec<Value> = all_routes(app)
        .into_iter()
        .filter(|(other, route)| !(*other == account && route["script"] == worker))
        .map(|(_, route)| route)
        .collect();
    for route in routes.as_array().into_iter().flatten() {
        let pattern = pattern_of(route);
        check_pattern(pattern)?;
        check_host(app, &host_of(pattern))?;
        if others.iter().any(|other| is_same_pattern(pattern_of(other), pattern)) {
            return Err(duplicate_route());
        }
    }
    Ok(())
}

/// Refuses a host outside of the zones.
pub fn check_host(app: &App, host: &str) -> Result<(), CloudflareError> {
    if app.zones.is_empty() || app.zones.iter().any(|zone| is_below(host, zone)) {
        return Ok(());
    }
    let text = format!(
        "Could not find zone for `{host}`. The sandbox has the zones {}",
        app.zones.join(", ")
    );
    Err(CloudflareError::new(400, 10_082, &text))
}

/// Returns the host of a route's pattern, without a wildcard and without the port.
fn host_of(pattern: &str) -> String {
    let without_scheme = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let host = without_port(without_scheme.split('/').next().unwrap_or_default());
    host.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(host, _)| host)
}

fn is_below(host: &str, zone: &str) -> bool {
    host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_at_the_ends_of_patterns() {
        for pattern in [
            "example.com/*",
            "*.example.com/*",
            "*example.com/api*",
            "https://shop.example.com/buy",
            "example.com",
            "example.com:8443/*",
        ] {
            assert!(check_pattern(pattern).is_ok(), "{pattern}");
        }
        for pattern in [
            "",
            "*",
            "example/*",
            "example.com/*.jpg",
            "shop.*.com/*",
            "example.com/?a=1",
            "ftp://example.com/*",
            "example.com:/*",
            "example.com:http/*",
        ] {
            assert!(check_pattern(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_case_of_a_host_does_not_count() {
        assert!(is_same_pattern("Example.com/a*", "example.COM/a*"));
        assert!(is_same_pattern("HTTPS://example.com", "https://example.com"));
        assert!(!is_same_pattern("example.com/A*", "example.com/a*"));
        assert!(!is_same_pattern("https://example.com/*", "http://example.com/*"));
    }

    #[test]
    fn hosts_are_below_zones() {
        for (pattern, host) in [
            ("example.com/*", "example.com"),
            ("*.example.com/a", "example.com"),
            ("*example.com/a", "example.com"),
            ("https://WWW.example.com", "www.example.com"),
            ("example.com:8443/*", "example.com"),
        ] {
            assert_eq!(host_of(pattern), host, "{pattern}");
        }
        assert!(is_below("example.com", "example.com") && is_below("a.example.com", "example.com"));
        assert!(!is_below("notexample.com", "example.com") && !is_below("com", "example.com"));
    }
}
