//! Usual short and long forms of the names of environments, such as `prod` for `production`.

use crate::wrangler::variant_words;

/// The forms of a name, the long one first.
const FORMS: [&[&str]; 7] = [
    &[PRODUCTION, "prod", "prd", LIVE],
    &["staging", "stage", "stg"],
    &["development", "develop", "devel", "dev"],
    &["testing", "test", "tests", "tst"],
    &["acceptance", "acc", "uat"],
    &["integration", "int"],
    &["preview", "previews"],
];

/// The name of the environment that is live.
pub const PRODUCTION: &str = "production";

/// A form of [`PRODUCTION`] that is also an ordinary word.
const LIVE: &str = "live";

/// Prefixes that turn a name into that of another environment.
const PREFIXES: [&str; 3] = ["pre", "non", "not"];

/// Words in the name of a config that is not meant for deployments to an environment.
const NOT_DEPLOYED: [&str; 12] = [
    "example", "sample", "template", "tmpl", "test", "tests", "vitest", "e2e", "ci", "base",
    "common", "shared",
];

/// Splits a name into words, each in its long form: `preprod-eu` is `pre`, `production`, `eu`.
fn words(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let parts = name.split(['-', '_', '.', ' ']).filter(|part| !part.is_empty());
    parts.flat_map(long_forms).map(str::to_owned).collect()
}

fn long_forms(word: &str) -> Vec<&str> {
    if let Some(long) = long_form(word) {
        return vec![long];
    }
    let prefixed = PREFIXES.iter().find_map(|prefix| Some((*prefix, word.strip_prefix(prefix)?)));
    match prefixed.and_then(|(prefix, rest)| Some((prefix, long_form(rest)?))) {
        Some((prefix, long)) => vec![prefix, long],
        None => vec![word],
    }
}

fn long_form(word: &str) -> Option<&'static str> {
    FORMS.iter().find(|forms| forms.contains(&word)).map(|forms| forms[0])
}

/// Returns true if two different names mean the same environment.
#[must_use]
pub fn is_other_form(one: &str, other: &str) -> bool {
    one != other && words(one) == words(other)
}

/// Returns true if the name is that of production or of a part of it, such as `prod-eu`.
#[must_use]
pub fn is_production(name: &str) -> bool {
    let is_live = |part: &str| part.eq_ignore_ascii_case(LIVE);
    let words = words(name);
    let has_word = words.iter().any(|word| word == PRODUCTION);
    has_word
        && !words.iter().any(|word| PREFIXES.contains(&word.as_str()))
        && (is_live(name) || !name.split(['-', '_', '.']).any(is_live))
}

/// Returns true if the name of the wrangler config `variant` has a form of `environment`, so that it is the config of `own`
/// there. `is_project` is true if the variant is also a project.
#[must_use]
pub fn is_config_of(variant: &str, own: &str, environment: &str, is_project: bool) -> bool {
    let wanted = words(environment);
    let long = |name: &str| words(&variant_words(name).collect::<Vec<_>>().join("-"));
    let (own, mut rest) = (long(own), long(variant));
    let Some(at) = rest.windows(wanted.len().max(1)).position(|part| part == wanted) else {
        return false;
    };
    rest.drain(at..at + wanted.len());
    let is_live = variant_words(variant).any(|word| word.eq_ignore_ascii_case(LIVE));
    !(is_project && is_live)
        && own.iter().all(|word| rest.contains(word))
        && !rest.iter().any(|word| {
            NOT_DEPLOYED.contains(&word.as_str())
                || PREFIXES.contains(&word.as_str())
                || long_form(word).is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_mean_the_same_environment() {
        for (one, other) in [
            ("production", "prod"),
            ("prd", "production"),
            ("live", "production"),
            ("staging", "stage"),
            ("stg", "staging"),
            ("dev", "development"),
            ("test", "testing"),
            ("Production", "production"),
            ("preprod", "pre-production"),
            ("prod-eu", "production_eu"),
            ("eu-prod", "eu-production"),
        ] {
            assert!(is_other_form(one, other) && is_other_form(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("production", "production"),
            ("production", "staging"),
            ("production", "preprod"),
            ("production", "prod-eu"),
            ("production", "nonprod"),
            ("dev", "preview"),
            ("product", "production"),
            ("", "production"),
        ] {
            assert!(!is_other_form(one, other) && !is_other_form(other, one), "{one} {other}");
        }
    }

    #[test]
    fn production_has_forms_and_parts() {
        for name in ["production", "prod", "PRD", "live", "prod-eu", "us.production"] {
            assert!(is_production(name), "{name}");
        }
        for name in ["staging", "preprod", "pre-production", "non_prod", "live-chat", "products"] {
            assert!(!is_production(name), "{name}");
        }
    }

    #[test]
    fn the_name_of_a_config_has_the_environment() {
        for (variant, own, environment) in [
            ("wrangler.production.toml", "wrangler.toml", "production"),
            ("wrangler.prod.jsonc", "wrangler.toml", "production"),
            ("wrangler-production.json", "wrangler.json", "prod"),
            ("wrangler.prod-eu.toml", "wrangler.toml", "production"),
            ("wrangler.stg.toml", "wrangler.toml", "staging"),
            ("wrangler.dev.toml", "wrangler.toml", "development"),
            ("wrangler.api.prod.toml", "wrangler.api.toml", "production"),
            ("wrangler.live.toml", "wrangler.toml", "production"),
        ] {
            assert!(is_config_of(variant, own, environment, false), "{variant} {environment}");
        }
        for (variant, own, environment) in [
            ("wrangler.staging.toml", "wrangler.toml", "production"),
            ("wrangler.preprod.toml", "wrangler.toml", "production"),
            ("wrangler.production.example.toml", "wrangler.toml", "production"),
            ("wrangler.production.test.toml", "wrangler.toml", "production"),
            ("wrangler.toml", "wrangler.jsonc", "production"),
            ("wrangler.production.toml", "wrangler.api.toml", "production"),
            ("wrangler.base.jsonc", "wrangler.jsonc", "production"),
        ] {
            assert!(!is_config_of(variant, own, environment, false), "{variant} {environment}");
        }
        assert!(!is_config_of("wrangler.live.toml", "wrangler.toml", "production", true));
        assert!(is_config_of("wrangler.prd.toml", "wrangler.toml", "production", true));
    }
}
