//! Environment variables.

/// Returns an environment variable. `None` if it is unset or blank.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns an environment variable unchanged, even if it is blank.
#[must_use]
pub fn raw_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
