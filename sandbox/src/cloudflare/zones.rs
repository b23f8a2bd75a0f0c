//! Reads zones. Every name is a zone, unless the sandbox was started with a list of zones.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::USER;
use super::body::Query;
use super::envelope::{CloudflareError, list as listed, list_page};
use super::scripts;
use super::versions::Page;
use crate::app::App;

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
    let zone = |name: &String| {
        let time = "2026-01-01T00:00:00.000000Z";
        json!({
            "id": id(name), "name": name, "status": "active", "type": "full", "paused": false,
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
    };
    let names: Vec<String> = match query.name {
        Some(name) if app.zones.is_empty() || app.zones.contains(&name) => vec![name],
        Some(_) => Vec::new(),
        None => app.zones.clone(),
    };
    list_page(&page, &names.iter().map(zone).collect::<Vec<Value>>())
}

/// `GET /zones/{zone}/workers/routes`: the routes of all Workers of the zone.
pub async fn routes(State(app): State<App>, Path(zone): Path<String>) -> Response {
    let name = app.zones.iter().find(|name| id(name) == zone);
    let mut routes: Vec<Value> = Vec::new();
    for worker in app.store.workers() {
        let own = scripts::routes(&worker);
        let own = own.as_array().cloned().unwrap_or_default();
        routes.extend(own.into_iter().filter(|route| {
            let host = route["pattern"].as_str().map(host_of).unwrap_or_default();
            name.is_none_or(|name| is_below(&host, name))
        }));
    }
    listed(&routes)
}

/// Refuses zone routes outside of the zones.
pub fn check_routes(app: &App, routes: &Value) -> Result<(), CloudflareError> {
    for route in routes.as_array().into_iter().flatten() {
        let pattern = route["pattern"].as_str().or(route.as_str()).unwrap_or_default();
        check(app, &host_of(pattern))?;
    }
    Ok(())
}

/// Refuses a host outside of the zones.
pub fn check(app: &App, host: &str) -> Result<(), CloudflareError> {
    if app.zones.is_empty() || app.zones.iter().any(|zone| is_below(host, zone)) {
        return Ok(());
    }
    let text =
        format!("Could not find zone for `{host}`. The sandbox has {}", app.zones.join(", "));
    Err(CloudflareError::new(400, 10_082, &text))
}

fn id(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex()[..32].to_owned()
}

/// Returns the host of a route's pattern.
fn host_of(pattern: &str) -> String {
    let without_scheme = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let host = without_scheme.split('/').next().unwrap_or_default();
    host.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase()
}

fn is_below(host: &str, zone: &str) -> bool {
    host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_below_zones() {
        for (pattern, host) in [
            ("example.com/*", "example.com"),
            ("*.example.com/a", "example.com"),
            ("*example.com/a", "example.com"),
            ("https://WWW.example.com", "www.example.com"),
        ] {
            assert_eq!(host_of(pattern), host, "{pattern}");
        }
        assert!(is_below("example.com", "example.com") && is_below("a.example.com", "example.com"));
        assert!(!is_below("notexample.com", "example.com") && !is_below("com", "example.com"));
    }
}
