//! The settings that a wrangler config applies to the Worker itself and not to one of its versions:
//! crons, routes, custom domains, URLs, logs and others. `wrangler deploy` applies them. An upload,
//! a promotion and a rollback do not.

use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::files::key::hex;
use crate::wrangler::WranglerConfig;

/// The fields that an `env` block inherits from the top level
/// (<https://developers.cloudflare.com/workers/wrangler/configuration/#inheritable-keys>).
const INHERITED: [&str; 7] =
    ["logpush", "observability", "preview_urls", "route", "routes", "triggers", "workers_dev"];

/// The fields that an `env` block sets on its own.
const OWN: [&str; 4] = ["queues", "streaming_tail_consumers", "tail_consumers", "workflows"];

/// The settings of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Triggers {
    /// The cron schedules. `None` if the config has no list. wrangler then keeps the current ones.
    pub crons: Option<Vec<String>>,
    /// The custom domains. If there is none, wrangler keeps the current ones.
    pub domains: Vec<String>,
    /// The patterns of the routes. If there is none, wrangler keeps the current ones.
    pub routes: Vec<String>,
    /// Eight hexadecimal digits of a hash over all of these fields, and the fields that are not listed here.
    pub digest: String,
}

impl Triggers {
    /// Returns the triggers of `environment` in `config`.
    #[must_use]
    pub fn new(config: &WranglerConfig, environment: &str) -> Triggers {
        let target = config.target(environment);
        let fields = fields(config, environment);
        let crons = fields.get("triggers").and_then(|triggers| triggers["crons"].as_array());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let patterns = config.patterns(environment).into_iter();
        let all = Value::Object(fields.clone()).to_string();
        Triggers {
            crons: crons.map(|crons| crons.iter().filter_map(text).collect()),
            routes: patterns.filter(|pattern| !target.domains.contains(pattern)).collect(),
            domains: target.domains,
            digest: hex(digest(&SHA256, all.as_bytes()).as_ref())[..8].to_owned(),
        }
    }
}

/// Returns the fields of `environment`, with inheritance. A producer of a queue is a binding, which
/// belongs to a version.
fn fields(config: &WranglerConfig, environment: &str) -> Map<String, Value> {
    let inherited = INHERITED.iter().map(|name| (*name, config.field(environment, name)));
    let own_fields = OWN.iter().map(|name| (*name, &config.block(environment)[name]));
    let value = |(name, value): (&str, &Value)| match name {
        "queues" => (name.to_owned(), value["consumers"].clone()),
        _ => (name.to_owned(), value.clone()),
    };
    inherited.chain(own_fields).map(value).filter(|(_, value)| !value.is_null()).collect()
}

/// Returns the digest in a deployment's message. `None` if it has none.
#[must_use]
pub fn digest_in(message: &str) -> Option<&str> {
    let digits = message.split("(triggers ").nth(1)?.get(..8)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(digits)
}

/// Returns the part of a message that [`digest_in`] reads.
#[must_use]
pub fn mark(digest: &str) -> String {
    format!(" (triggers {digest})")
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn triggers(text: &str, environment: &str) -> Triggers {
        let config = WranglerConfig::parse(Utf8Path::new("wrangler.json"), text).expect("valid");
        Triggers::new(&config, environment)
    }

    #[test]
    fn every_field_outside_of_the_version_changes_the_digest() {
        let digest =
            |more: &str| triggers(&format!("{{\"name\":\"a\"{more}}}"), "production").digest;
        let plain = digest("");
        for more in [
            r#","triggers":{"crons":["0 3 * * *"]}"#,
            r#","triggers":{"crons":[]}"#,
            r#","routes":["example.com/*"]"#,
            r#","route":"example.com/*""#,
            r#","workers_dev":false"#,
            r#","preview_urls":true"#,
            r#","observability":{"enabled":true}"#,
            r#","logpush":true"#,
            r#","tail_consumers":[{"service":"b"}]"#,
            r#","queues":{"consumers":[{"queue":"q"}]}"#,
            r#","workflows":[{"name":"w"}]"#,
        ] {
            assert_ne!(digest(more), plain, "{more}");
        }
        for more in [
            r#","main":"a.ts""#,
            r#","vars":{"A":"b"}"#,
            r#","queues":{"producers":[{"queue":"q","binding":"Q"}]}"#,
            r#","env":{"staging":{"workers_dev":false}}"#,
        ] {
            assert_eq!(digest(more), plain, "{more}");
        }
    }

    #[test]
    fn blocks_inherit_as_wrangler_does() {
        let text = r#"{ "name": "a", "triggers": { "crons": ["0 3 * * *"] }, "tail_consumers": [{ "service": "b" }],
            "routes": [{ "pattern": "example.com", "custom_domain": true }, "example.org/*"],
            "env": { "staging": {}, "qa": { "triggers": { "crons": [] }, "routes": [] } } }"#;
        let top = triggers(text, "production");
        assert_eq!(top.crons, Some(vec!["0 3 * * *".to_owned()]));
        assert_eq!(
            (top.domains, top.routes),
            (vec!["example.com".to_owned()], vec!["example.org/*".to_owned()])
        );
        let staging = triggers(text, "staging");
        assert_eq!(staging.crons, Some(vec!["0 3 * * *".to_owned()]));
        assert_ne!(staging.digest, top.digest, "tail consumers are not inherited");
        let qa = triggers(text, "qa");
        assert_eq!((qa.crons, qa.domains, qa.routes), (Some(Vec::new()), Vec::new(), Vec::new()));
    }

    #[test]
    fn a_message_carries_the_digest() {
        let message = format!("abc with uncommitted changes{}, break glass: x", mark("0123abcd"));
        assert_eq!(digest_in(&message), Some("0123abcd"));
        for message in ["abc", "abc (triggers 0123)", "abc (triggers nonsense)"] {
            assert_eq!(digest_in(message), None, "{message}");
        }
    }
}
