//! The variables of the caller that builds see, and those that a build tool would read but that are not passed.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};

use base::env::{raw_variable, variable};
use workspace::config::{CONFIG_FILE, Config};
use workspace::key::hex;

/// The prefixes of variables that build tools put into their output.
const READ_BY_TOOLS: [&str; 10] = [
    "EXPO_PUBLIC_",
    "GATSBY_",
    "NEXT_PUBLIC_",
    "NG_APP_",
    "NUXT_PUBLIC_",
    "PUBLIC_",
    "REACT_APP_",
    "STORYBOOK_",
    "VITE_",
    "VUE_APP_",
];

/// Returns the digest of each variable that is set. The value itself is not stored.
#[must_use]
pub fn digests(names: &[String]) -> BTreeMap<&str, String> {
    let entry = |name: &'_ str| raw_variable(name).map(|value| digest_of(&value));
    names.iter().filter_map(|name| Some((name.as_str(), entry(name)?))).collect()
}

/// Returns the digest of a value.
#[must_use]
pub fn digest_of(value: &str) -> String {
    hex(digest(&SHA256, value.as_bytes()).as_ref())
}

/// Returns notes on variables that the caller may expect builds to see.
#[must_use]
pub fn notes(config: &Config) -> Vec<String> {
    let names = base::env::all().into_keys().filter_map(|name| name.into_string().ok());
    notes_for(names.collect(), &config.variables.build, |name| variable(name).is_some())
}

fn notes_for(
    mut set: Vec<String>,
    listed: &[String],
    is_set: impl Fn(&str) -> bool,
) -> Vec<String> {
    set.sort();
    let is_missing = |name: &&String| {
        READ_BY_TOOLS.iter().any(|prefix| name.starts_with(prefix)) && !listed.contains(name)
    };
    let missing: Vec<&str> = set.iter().filter(is_missing).map(String::as_str).collect();
    let mut notes = Vec::new();
    if !missing.is_empty() {
        let quoted: Vec<String> = missing.iter().map(|name| format!("\"{name}\"")).collect();
        notes.push(format!(
            "builds do not see {}: add `\"variables\": {{ \"build\": [{}] }}` to {CONFIG_FILE} if they should",
            missing.join(", "),
            quoted.join(", ")
        ));
    }
    let unset: Vec<&str> = listed.iter().map(String::as_str).filter(|name| !is_set(name)).collect();
    if !unset.is_empty() {
        notes.push(format!(
            "builds run without {}, which `variables.build` names: not set",
            unset.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_variables_that_a_tool_would_read() {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let set = owned(&["VITE_A", "HOME", "PUBLIC_URL", "NEXT_PUBLIC_B", "MY_VITE_C"]);
        let notes = notes_for(set, &owned(&["PUBLIC_URL", "GONE"]), |name| name != "GONE");
        assert_eq!(
            notes,
            [
                "builds do not see NEXT_PUBLIC_B, VITE_A: add `\"variables\": { \"build\": [\"NEXT_PUBLIC_B\", \"VITE_A\"] }` to dagger/config/config.json if they should",
                "builds run without GONE, which `variables.build` names: not set",
            ]
        );
        assert!(notes_for(owned(&["HOME"]), &[], |_| true).is_empty());
    }
}
