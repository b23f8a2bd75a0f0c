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

/// How long the preparation of an upload may take. It reads every file that is published once.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(300);

/// What [`Places::bundle`] depends on beside the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bundling {
    /// Wrangler follows the config that an adapter left.
    pub is_redirected: bool,
    /// The config that wrangler follows has `assets`.
    pub has_assets: bool,
}

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

    /// Bundles the Worker's code, without any credential in the environment: a wrangler config can run a program, and
    /// a bundle can import any file.
    #[must_use]
    pub fn bundle(&self, plan: &ProjectPlan, bundling: Bundling) -> Command {
        let config = plan.config.file_name().filter(|_| !bundling.is_redirected);
        let folder = self.upload_folder(plan);
        let empty = folder.join("empty");
        let arguments = wrangler::bundle_arguments(
            config,
            plan.wrangler_environment.as_deref(),
            bundling.has_assets.then_some(empty.as_str()),
            folder.join("bundle").as_str(),
            self.bundle_file(plan).as_str(),
        );
        self.wrangler(self.root.join(&plan.dir), arguments, BUILD_DEADLINE)
    }

    /// Prepares the folder from which [`Places::upload`] uploads. `is_bundled` says that [`Places::bundle`] ran.
    #[must_use]
    pub fn prepare_upload(
        &self,
        plan: &ProjectPlan,
        destination: &Destination,
        is_redirected: bool,
        is_bundled: bool,
    ) -> Command {
        let environment = plan.wrangler_environment.as_deref().filter(|name| !name.is_empty());
        let request = serde_json::json!({
            "root": self.root,
            "project": self.root.join(&plan.dir),
            "config": self.root.join(&plan.config),
            "environment": environment,
            "redirected": is_redirected,
            "bundle": is_bundled.then(|| self.bundle_file(plan)),
            "upload": self.upload_folder(plan).join("upload"),
            "account": destination.account_id,
        });
        // From standard input, so that no build can have changed it.
        let bun = [self.bun.as_str(), "--no-env-file", "--config=/dev/null", "run", "-"];
        let mut command = Command::new(&self.root, &bun, PREPARE_DEADLINE);
        command.argv.push(request.to_string());
        command.stdin = Some(wrangler::PREPARE_UPLOAD.to_owned());
        command.env("CLOUDFLARE_API_TOKEN", destination.token())
    }

    /// Uploads the prepared folder, and for a deployment makes it live.
    #[must_use]
    pub fn upload(&self, plan: &ProjectPlan, destination: &Destination, verb: Verb) -> Command {
        let environment = plan.wrangler_environment.as_deref();
        let (tag, message) = (&plan.key, &plan.message);
        let alias = plan.alias.as_deref();
        let arguments = match (verb, plan.strategy) {
            (Verb::Preview, Some(Strategy::Preview)) => {
                wrangler::preview_arguments(alias, environment, tag, message)
            }
            (Verb::Preview, _) => wrangler::upload_arguments(alias, environment, tag, message),
            _ => wrangler::deploy_arguments(environment, tag, message),
        };
        self.wrangler(self.upload_folder(plan).join("upload"), arguments, DEPLOY_DEADLINE)
            .text("CLOUDFLARE_ACCOUNT_ID", &destination.account_id)
            .text("CLOUDFLARE_API_BASE_URL", &destination.api)
            .text("WRANGLER_OUTPUT_FILE_PATH", self.output_file(plan))
            .env("CLOUDFLARE_API_TOKEN", destination.token())
    }

    fn wrangler(&self, dir: Utf8PathBuf, arguments: Vec<String>, deadline: Duration) -> Command {
        let launcher = Toolchain::wrangler(&self.root).dir.join(wrangler::LAUNCHER);
        let bun = [&[self.bun.as_str()], &wrangler::ON_BUN[..], &[launcher.as_str()]].concat();
        let mut command = Command::new(dir, &bun, deadline);
        command.argv.extend(arguments);
        for (name, value) in wrangler::ENVIRONMENT {
            command = command.text(name, value);
        }
        command
    }

    /// The folder of what one attempt bundles and uploads.
    #[must_use]
    pub fn upload_folder(&self, plan: &ProjectPlan) -> Utf8PathBuf {
        self.root.join(".xtask/tmp").join(&plan.nonce)
    }

    fn bundle_file(&self, plan: &ProjectPlan) -> Utf8PathBuf {
        self.upload_folder(plan).join("bundle.form")
    }

    /// The file in which wrangler writes what it did, one JSON object a line.
    #[must_use]
    pub fn output_file(&self, plan: &ProjectPlan) -> Utf8PathBuf {
        self.root.join(".xtask/tmp").join(format!("{}.ndjson", plan.nonce))
    }
}
