//! Finds the local databases of Hyperdrive bindings.

use crate::state::resources::Resources;

/// The prefixes of the variables that name a local database of a Hyperdrive binding. `wrangler dev`
/// reads the same ones.
const PREFIXES: [&str; 2] = [
    "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_",
    "WRANGLER_HYPERDRIVE_LOCAL_CONNECTION_STRING_",
];

/// Returns the address of the local database of a binding.
#[must_use]
pub fn address(resources: &Resources, name: &str, id: &str) -> Option<String> {
    let registered = resources.hyperdrives.iter().find(|one| one.id == id);
    let variable =
        || PREFIXES.iter().find_map(|start| std::env::var(format!("{start}{name}")).ok());
    registered.and_then(|one| one.address.clone()).or_else(variable)
}

/// Returns whether a config is registered or has a local database.
#[must_use]
pub fn is_known(resources: &Resources, name: &str, id: &str) -> bool {
    resources.hyperdrives.iter().any(|one| one.id == id) || address(resources, name, id).is_some()
}

/// Describes how to name the local database of a binding.
#[must_use]
pub fn hint(name: &str) -> String {
    format!("set {}{name} and restart the sandbox.", PREFIXES[0])
}
