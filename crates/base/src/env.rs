//! Variables of the environment.

/// A variable of the environment; an empty one counts as unset.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A variable of the environment as it stands, for those whose every character counts.
#[must_use]
pub fn raw_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
