//! The definition of a check.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::context::Context;
use super::finding::Finding;

/// The group of a check. The order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckGroup {
    /// Programs on this machine.
    Tools,
    /// The checkout.
    Repository,
    /// The shared config file.
    Config,
    /// The projects that can be deployed.
    Projects,
    /// The local sandbox.
    Sandbox,
    /// The Dagger engine.
    Dagger,
    /// Tokens.
    Credentials,
    /// The current pipeline.
    Pipeline,
    /// Services that need a request.
    Network,
}

impl CheckGroup {
    /// Returns true if the group is left out when it has no checks.
    #[must_use]
    pub fn is_optional(self) -> bool {
        matches!(self, CheckGroup::Dagger | CheckGroup::Pipeline | CheckGroup::Network)
    }

    /// Returns its heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CheckGroup::Tools => "tools",
            CheckGroup::Repository => "repository",
            CheckGroup::Config => "config",
            CheckGroup::Projects => "projects",
            CheckGroup::Sandbox => "sandbox",
            CheckGroup::Dagger => "dagger",
            CheckGroup::Credentials => "credentials",
            CheckGroup::Network => "network",
            CheckGroup::Pipeline => "pipeline",
        }
    }
}

/// The cost of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Reads a file or variable: cheap enough before every deployment.
    Read,
    /// Runs a program or opens a connection on this machine.
    Local,
    /// Sends a request over the network.
    Network,
}

impl Cost {
    /// Returns the timeout of the check.
    #[must_use]
    pub fn deadline(self) -> Duration {
        match self {
            Cost::Read | Cost::Local => Duration::from_secs(2),
            Cost::Network => Duration::from_secs(5),
        }
    }
}

/// The commands that need a check to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Compiling xtask and the sandbox.
    Xtask,
    /// `build`.
    Build,
    /// `deploy` to the sandbox.
    Local,
    /// `deploy` to Cloudflare.
    Remote,
    /// The Dagger engine.
    Dagger,
    /// URLs for merge requests.
    Preview,
    /// The jobs in GitLab.
    Pipeline,
}

impl Need {
    /// Returns the description for people.
    #[must_use]
    pub fn words(needs: &[Need]) -> Vec<&'static str> {
        let everywhere = needs.contains(&Need::Local) && needs.contains(&Need::Remote);
        let word = |need: &Need| match need {
            Need::Xtask => Some("compiling xtask"),
            Need::Build => Some("build"),
            Need::Local if everywhere => Some("deploy"),
            Need::Remote if everywhere => None,
            Need::Local => Some("deploy --env local"),
            Need::Remote => Some("deploy --env ENVIRONMENT"),
            Need::Dagger => Some("the Dagger engine"),
            Need::Preview => Some("preview"),
            Need::Pipeline => Some("the pipeline"),
        };
        needs.iter().filter_map(word).collect()
    }
}

/// The function of a check.
pub type CheckFn = Arc<dyn Fn(&Context) -> Finding + Send + Sync>;

/// A question with a name.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The name: `cargo xtask doctor <id>` runs only this check.
    pub id: String,
    /// The subject, in a word or two.
    pub title: String,
    /// Its group in the report.
    pub group: CheckGroup,
    /// The commands that need it to pass.
    #[serde(serialize_with = "words")]
    pub needed_by: &'static [Need],
    /// Its cost.
    #[serde(skip)]
    pub cost: Cost,
    /// Runs the check.
    #[serde(skip)]
    pub run: CheckFn,
}

fn words<S: Serializer>(needs: &[Need], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(Need::words(needs))
}
