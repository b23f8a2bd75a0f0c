//! The two strategies for previews.

use serde::{Deserialize, Serialize};

/// The strategy of a preview.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// A version of the Worker under an alias, with production's bindings. It cannot be deleted
    #[default]
    Alias,
    /// A Worker Preview with the bindings of the config's `previews` block. `preview stop` deletes it
    Preview,
}

impl Strategy {
    /// Returns its name on the command line, in the config and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Alias => "alias",
            Strategy::Preview => "preview",
        }
    }
}
