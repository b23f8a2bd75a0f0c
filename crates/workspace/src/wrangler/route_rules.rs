//! The rules for `route` and `routes`. wrangler sends the patterns after it has deployed the code. The rules are those of
//! wrangler (`isValidRouteValue` and `validateRoutes` of 4.164) and of
//! <https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>.
//!
//! A pattern may have the scheme `http://` or `https://`, and a host outside of its `zone_name`, as a custom hostname of
//! Cloudflare for SaaS.

use serde_json::{Map, Value};

use super::WranglerConfig;
use super::field_types::type_of;

/// A route that cannot be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteProblem {
    /// The path of the field: `env.staging.routes[0]`.
    pub path: String,
    /// The reason, which follows the path.
    pub reason: String,
    /// The fix.
    pub fix: String,
}

/// The fix of a route without a meaning.
const SHAPE: &str = "write a pattern such as `example.com/*`, or an object with `pattern` and one of `custom_domain`, `zone_name` and `zone_id`";

impl WranglerConfig {
    /// Returns the routes of `environment` that cannot be deployed. A block inherits `routes` and `route`.
    #[must_use]
    pub fn route_problems(&self, environment: &str) -> Vec<RouteProblem> {
        let (routes, route) = (self.field(environment, "routes"), self.field(environment, "route"));
        let found: Vec<(String, Option<(String, String)>)> = match routes {
            Value::Array(routes) => {
                let at = self.field_path(environment, "routes");
                let routes = routes.iter().enumerate();
                routes.map(|(index, route)| (format!("{at}[{index}]"), problem(route))).collect()
            }
            // wrangler ignores an empty `route`. Another type of `routes` is a wrong type.
            Value::Null if !route.is_null() && route.as_str() != Some("") => {
                vec![(self.field_path(environment, "route"), problem(route))]
            }
            _ => Vec::new(),
        };
        let is_set = |block: &Value, field: &str| {
            !block[field].is_null() && block[field].as_str() != Some("")
        };
        let both = [("", &self.value), ("env.", self.block(environment))];
        let both = both.iter().filter(|(place, _)| place.is_empty() || self.has(environment));
        let both = both.filter(|(_, block)| is_set(block, "routes") && is_set(block, "route"));
        let both = both.map(|(place, _)| RouteProblem {
            path: if place.is_empty() {
                "route".to_owned()
            } else {
                format!("env.{environment}.route")
            },
            reason: "is set beside `routes`, and wrangler accepts one of them".to_owned(),
            fix: "move its pattern into `routes`".to_owned(),
        });
        let with_path = |(path, problem): (String, Option<(String, String)>)| {
            problem.map(|(reason, fix)| RouteProblem { path, reason, fix })
        };
        both.chain(found.into_iter().filter_map(with_path)).collect()
    }
}

/// Returns the reason why a route is refused, and the fix.
fn problem(route: &Value) -> Option<(String, String)> {
    match route {
        Value::String(pattern) => pattern_problem(pattern),
        Value::Object(fields) => {
            if let Some(reason) = shape_problem(fields) {
                return Some((reason, SHAPE.to_owned()));
            }
            let pattern = fields["pattern"].as_str().unwrap_or_default();
            if fields.get("custom_domain") == Some(&Value::Bool(true)) {
                domain_problem(pattern)
            } else {
                pattern_problem(pattern)
            }
        }
        other => {
            let reason =
                format!("is {}, and wrangler expects a string or an object", type_of(other));
            Some((reason, SHAPE.to_owned()))
        }
    }
}

/// Returns the reason why wrangler does not accept the fields of a route.
fn shape_problem(fields: &Map<String, Value>) -> Option<String> {
    match fields.get("pattern") {
        None => return Some("has no `pattern`".to_owned()),
        Some(pattern) if !pattern.is_string() => {
            return Some(format!("has a `pattern` that is {}, and not a string", type_of(pattern)));
        }
        Some(_) => {}
    }
    for (name, value) in fields {
        let (is_right, expected) = match name.as_str() {
            "zone_id" | "zone_name" => (value.is_string(), "a string"),
            "custom_domain" | "enabled" | "previews_enabled" => {
                (value.is_boolean(), "`true` or `false`")
            }
            "pattern" => continue,
            _ => return Some(format!("has the field `{name}`, which wrangler does not know")),
        };
        if !is_right {
            return Some(format!("has a `{name}` that is {}, and not {expected}", type_of(value)));
        }
    }
    let has = |name: &str| fields.contains_key(name);
    if has("zone_id") && has("zone_name") {
        return Some("has both `zone_id` and `zone_name`".to_owned());
    }
    if !has("custom_domain") {
        if has("enabled") || has("previews_enabled") {
            let text = "has `enabled` or `previews_enabled`, which only a `custom_domain` may have";
            return Some(text.to_owned());
        }
        if !has("zone_id") && !has("zone_name") {
            return Some("has none of `custom_domain`, `zone_name` and `zone_id`".to_owned());
        }
    }
    None
}

/// Returns the reason why a custom domain is refused, and the fix.
fn domain_problem(domain: &str) -> Option<(String, String)> {
    let fix = |text: &str| Some(text.to_owned());
    let bare = domain.split_once("://").map_or(domain, |(_, rest)| rest);
    let host = bare.split(['/', '?', '#']).next().unwrap_or_default().trim();
    let write_host = || format!("write `{host}`, which matches every path");
    if domain.trim().is_empty() {
        return Some(("has an empty pattern".to_owned(), "write a host name".to_owned()));
    }
    let (reason, fix) = if domain.contains("://") {
        ("is a custom domain with a scheme", fix(&write_host()))
    } else if domain.contains('*') {
        (
            "is a custom domain with a wildcard",
            fix(
                "write the host name without `*`, or use a route with `zone_name` in place of `custom_domain`",
            ),
        )
    } else if domain.contains(['/', '?', '#']) {
        ("is a custom domain with a path", fix(&write_host()))
    } else if domain.contains(char::is_whitespace) {
        ("is a custom domain with a space", fix("remove the space"))
    } else {
        return None;
    };
    Some((format!("{reason}: `{domain}`"), fix.unwrap_or_default()))
}

/// Returns the reason why the pattern of a route is refused, and the fix.
fn pattern_problem(pattern: &str) -> Option<(String, String)> {
    if pattern.trim().is_empty() {
        let fix = "write a pattern such as `example.com/*`, or remove it";
        return Some(("has an empty pattern".to_owned(), fix.to_owned()));
    }
    let (scheme, rest) = match pattern.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, pattern),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_http = |scheme: &str| ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str());
    let (reason, fix) = if scheme.is_some_and(|scheme| !is_http(scheme)) {
        ("has another scheme than `http` and `https`", "remove the scheme")
    } else if rest.contains('?') {
        (
            "has a query, which no pattern may have",
            "end the pattern with `*`, which matches every query",
        )
    } else if rest.contains('#') {
        ("has a fragment, which no request has", "remove it")
    } else if rest.contains(char::is_whitespace) {
        ("has a space", "remove it, or write it as `%20`")
    } else if host.is_empty() {
        ("has no host", "write a pattern such as `example.com/*`")
    } else if has_infix_wildcard(host, path) {
        (
            "has a wildcard elsewhere than at the start of the host and at the end of the path",
            "move `*` there, or remove it",
        )
    } else {
        return None;
    };
    Some((format!("{reason}: `{pattern}`"), fix.to_owned()))
}

/// Returns true if a `*` is neither at the start of the host nor at the end of the path. A port may be `*`.
fn has_infix_wildcard(host: &str, path: &str) -> bool {
    let host = host.split(':').next().unwrap_or_default();
    host.trim_start_matches('*').contains('*') || path.trim_end_matches('*').contains('*')
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn problems(fields: &str, environment: &str) -> Vec<String> {
        let text = format!(r#"{{ "name": "a", {fields} }}"#);
        let config = WranglerConfig::parse(Utf8Path::new("wrangler.json"), &text).expect(fields);
        let line = |found: RouteProblem| format!("{} {}", found.path, found.reason);
        config.route_problems(environment).into_iter().map(line).collect()
    }

    #[test]
    fn accepts_what_cloudflare_accepts() {
        for fields in [
            r#""routes": ["example.com/*", "https://example.com/*", "http://*.example.com/a*"]"#,
            r#""routes": ["*/*", "*example.com/a", "example.com:8443/*", "example.com:*/*", "example.com"]"#,
            r#""routes": ["example.com/caf%C3%A9*", "bücher.example/*"]"#,
            r#""routes": [{ "pattern": "shop.customer.example/*", "zone_name": "example.com" }]"#,
            r#""routes": [{ "pattern": "example.com/*", "zone_id": "0123" }]"#,
            r#""routes": [{ "pattern": "example.com/*", "zone_name": "example.com", "custom_domain": false }]"#,
            r#""routes": [{ "pattern": "example.com", "custom_domain": true, "zone_id": "0", "enabled": false }]"#,
            r#""routes": [{ "pattern": "example.com", "custom_domain": true, "previews_enabled": true }]"#,
            r#""route": "", "env": { "staging": { "routes": [] } }"#,
            r#""routes": []"#,
            r#""routes": ["example.com/*"], "route": """#,
            r#""route": "example.com/*", "env": { "staging": { "routes": ["example.org/*"] } }"#,
        ] {
            assert_eq!(problems(fields, "staging"), [""; 0], "{fields}");
        }
    }

    #[test]
    fn finds_what_wrangler_or_cloudflare_refuses() {
        for (route, reason) in [
            (r#""""#, "has an empty pattern"),
            (r#"" ""#, "has an empty pattern"),
            (r#""/""#, "has no host: `/`"),
            (
                r#""ftp://example.com/*""#,
                "has another scheme than `http` and `https`: `ftp://example.com/*`",
            ),
            (r#""example.com/?a=*""#, "has a query, which no pattern may have: `example.com/?a=*`"),
            (r#""example.com/a#b""#, "has a fragment, which no request has: `example.com/a#b`"),
            (r#""example.com/a b""#, "has a space: `example.com/a b`"),
            (
                r#""example.com/*.jpg""#,
                "has a wildcard elsewhere than at the start of the host and at the end of the path: `example.com/*.jpg`",
            ),
            (
                r#"{ "pattern": "www.*.example.com/*", "zone_name": "example.com" }"#,
                "has a wildcard elsewhere than at the start of the host and at the end of the path: `www.*.example.com/*`",
            ),
            (
                r#"{ "pattern": "https://example.com", "custom_domain": true }"#,
                "is a custom domain with a scheme: `https://example.com`",
            ),
            (
                r#"{ "pattern": "*.example.com", "custom_domain": true }"#,
                "is a custom domain with a wildcard: `*.example.com`",
            ),
            (
                r#"{ "pattern": "example.com/*", "custom_domain": true }"#,
                "is a custom domain with a wildcard: `example.com/*`",
            ),
            (
                r#"{ "pattern": "example.com/shop", "custom_domain": true }"#,
                "is a custom domain with a path: `example.com/shop`",
            ),
            (r#"{ "pattern": "", "custom_domain": true }"#, "has an empty pattern"),
            (
                r#"{ "pattern": "example .com", "custom_domain": true }"#,
                "is a custom domain with a space: `example .com`",
            ),
            (
                r#"{ "pattern": "example.com/*" }"#,
                "has none of `custom_domain`, `zone_name` and `zone_id`",
            ),
            (
                r#"{ "pattern": "example.com/*", "zone_name": "example.com", "zone_id": "0" }"#,
                "has both `zone_id` and `zone_name`",
            ),
            (r#"{ "zone_name": "example.com" }"#, "has no `pattern`"),
            (
                r#"{ "pattern": "example.com", "custom_domain": "true" }"#,
                "has a `custom_domain` that is a string, and not `true` or `false`",
            ),
            (
                r#"{ "pattern": "example.com", "zone_name": "example.com", "enabled": true }"#,
                "has `enabled` or `previews_enabled`, which only a `custom_domain` may have",
            ),
            ("5", "is the number 5, and wrangler expects a string or an object"),
            ("null", "is `null`, and wrangler expects a string or an object"),
        ] {
            let found = problems(&format!(r#""routes": ["ok.example/*", {route}]"#), "staging");
            assert_eq!(found, [format!("routes[1] {reason}")], "{route}");
        }
    }

    #[test]
    fn the_path_names_the_block_that_has_the_routes() {
        let fields = r#""routes": ["a b"], "env": { "staging": {}, "qa": { "routes": ["c d"] }, "one": { "route": "e f" } }"#;
        for (environment, path) in [
            ("production", "routes[0] has a space: `a b`"),
            ("staging", "routes[0] has a space: `a b`"),
            ("qa", "env.qa.routes[0] has a space: `c d`"),
            // wrangler ignores `route` if there are `routes`, which the block inherits.
            ("one", "routes[0] has a space: `a b`"),
        ] {
            assert_eq!(problems(fields, environment), [path], "{environment}");
        }
        let both = r#""env": { "one": { "route": "a.example/*", "routes": ["b.example/*"] } }"#;
        assert_eq!(
            problems(both, "one"),
            ["env.one.route is set beside `routes`, and wrangler accepts one of them"]
        );
        assert!(problems(both, "qa").is_empty());
        let fields = r#""env": { "one": { "route": "e f" } }"#;
        assert_eq!(problems(fields, "one"), ["env.one.route has a space: `e f`"]);
    }
}
