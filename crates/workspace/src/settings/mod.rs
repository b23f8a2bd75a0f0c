//! The settings of a project or package: the `xtask` key of a `package.json`.

pub mod before_deploy;
pub mod health;
pub mod steps;
pub mod strategy;
pub mod wrangler_flags;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::settings::before_deploy::BeforeDeploy;
use crate::settings::health::Health;
use crate::settings::steps::{Runtime, Steps};
use crate::settings::strategy::Strategy;
use crate::settings::wrangler_flags::WranglerFlags;

/// The `xtask` key of a `package.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default, expecting = "an object")]
pub struct Settings {
    /// Projects or packages that this one depends on in addition to its manifest.
    pub depends_on: Vec<String>,
    /// Further files or folders that affect the output, relative to the repository's root.
    pub inputs: Vec<Utf8PathBuf>,
    /// `true` if the output is the same for every environment. The build then does not get the
    /// environment, and runs once for all of them.
    pub one_build: bool,
    /// The health check after a deployment: a path, a list of accepted status codes, or `false`.
    pub health: Health,
    /// The strategy of its previews. It has precedence over the environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_strategy: Option<Strategy>,
    /// The commands that build it, in place of the script `build`.
    #[serde(skip_serializing_if = "Steps::is_empty")]
    pub build: Steps,
    /// Commands of wrangler that run with the environment's token before each upload of a deployment.
    #[serde(skip_serializing_if = "BeforeDeploy::is_empty")]
    pub before_deploy: BeforeDeploy,
    /// Flags of wrangler for the steps that bundle and upload.
    #[serde(skip_serializing_if = "WranglerFlags::is_empty")]
    pub wrangler: WranglerFlags,
    /// The wrangler configs of its folder that are projects. The first has the folder's name. By default the one
    /// that wrangler uses and those that name another Worker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<String>,
    /// The program that runs its scripts. By default Bun if the lock file is Bun's or there is none,
    /// else Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}
