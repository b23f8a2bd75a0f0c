//! Finds the local databases of Hyperdrive bindings.

use crate::state::resources::Resources;

/// The prefixes of the variables with the connection string of a binding. `wrangler dev` reads the same
/// variables.
const PREFIXES: [&str; 2] = [
    "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_",
    "WRANGLER_HYPERDRIVE_LOCAL_CONNECTION_STRING_",
];

/// Returns the connection string of the local database of a binding. `None` if it has none.
#[must_use]
pub fn connection_string(resources: &Resources, name: &str, id: &str) -> Option<String> {
    let registered = resources.hyperdrives.iter().find(|hyperdrive| hyperdrive.id == id);
    let variable =
        || PREFIXES.iter().find_map(|prefix| std::env::var(format!("{prefix}{name}")).ok());
    registered.and_then(|hyperdrive| hyperdrive.address.clone()).or_else(variable)
}

/// Returns whether xtask registered a Hyperdrive config or a variable has its local database.
#[must_use]
pub fn is_known(resources: &Resources, name: &str, id: &str) -> bool {
    resources.hyperdrives.iter().any(|hyperdrive| hyperdrive.id == id)
        || connection_string(resources, name, id).is_some()
}

/// Returns the hint that names the variable for the local database of a binding.
#[must_use]
pub fn hint(name: &str) -> String {
    format!("set {}{name} and restart the sandbox.", PREFIXES[0])
}
