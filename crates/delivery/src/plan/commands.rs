//! A project's plan as commands for the pinned tools on this machine.

use std::time::Duration;
use workspace::toolchain::Toolchain;

use camino::{Utf8Path, Utf8PathBuf};

use super::destination::Destination;
use super::{ProjectPlan, Verb};
use crate::tools::bun::INSTALL_DEADLINE;
use base::command::Command;
use cloudflare::wrangler;
use workspace::strategy::Strategy;

/// How long a build may take.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(1200);

/// How long an upload may take. Wrangler itself would retry a broken upload for up to 43 minutes
/// (computed from the code of 4.164).
pub const DEPLOY_DEADLINE: Duration = Duration::from_secs(900);

/// The places that commands refer to.
#[derive(Clone, Debug)]
pub struct Places {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// Bun.
    pub bun: Utf8PathBuf,
}

impl Places {
    /// Installs the locked dependencies in `dir`.
    #[must_use]
    pub fn install(&self, dir: &Utf8Path) -> Command {
        let argv = [self.bun.as_str(), "install", "--frozen-lockfile"];
        Command::new(self.root.join(dir), &argv, INSTALL_DEADLINE)
    }

    /// Runs the build script in `dir`, on Bun whatever its tools' first lines ask for, and without
    /// any credential in the environment.
    #[must_use]
    pub fn build(&self, plan: &ProjectPlan, dir: &Utf8Path) -> Command {
        let argv = [self.bun.as_str(), "--bun", "run", "build"];
        let command = Command::new(self.root.join(dir), &argv, BUILD_DEADLINE)
            .text("ASTRO_TELEMETRY_DISABLED", "1");
        match &plan.build_environment {
            Some(name) => command.text("CLOUDFLARE_ENV", name),
            None => command,
        }
    }

    /// Uploads, and for a deployment makes it live. `redirected` says that an adapter left a config of its own.
    #[must_use]
    pub fn upload(
        &self,
        plan: &ProjectPlan,
        destination: &Destination,
        verb: Verb,
        redirected: bool,
    ) -> Command {
        let launcher = Toolchain::wrangler(&self.root).dir.join(wrangler::LAUNCHER);
        let config = plan.config.file_name().filter(|_| !redirected);
        let environment = plan.wrangler_environment.as_deref();
        let (tag, message) = (&plan.key, &plan.message);
        let alias = plan.alias.as_deref();
        let arguments = match (verb, plan.strategy) {
            (Verb::Preview, Some(Strategy::Preview)) => {
                wrangler::preview_arguments(config, alias, environment, tag, message)
            }
            (Verb::Preview, _) => {
                wrangler::upload_arguments(config, alias, environment, tag, message)
            }
            _ => wrangler::deploy_arguments(config, environment, tag, message),
        };
        let bun = [&[self.bun.as_str()], &wrangler::ON_BUN[..], &[launcher.as_str()]].concat();
        let mut command = Command::new(self.root.join(&plan.dir), &bun, DEPLOY_DEADLINE);
        command.argv.extend(arguments);
        for (name, value) in wrangler::ENVIRONMENT {
            command = command.text(name, value);
        }
        command
            .text("CLOUDFLARE_ACCOUNT_ID", &destination.account_id)
            .text("CLOUDFLARE_API_BASE_URL", &destination.api)
            .text("WRANGLER_OUTPUT_FILE_PATH", self.output_file(plan))
            .env("CLOUDFLARE_API_TOKEN", destination.token())
    }

    /// Where wrangler writes what it did, one JSON object a line.
    #[must_use]
    pub fn output_file(&self, plan: &ProjectPlan) -> Utf8PathBuf {
        self.root.join(".xtask/tmp").join(format!("{}.ndjson", plan.nonce))
    }
}
