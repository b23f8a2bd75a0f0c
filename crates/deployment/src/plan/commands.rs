//! A project's plan as commands for the pinned tools on this machine.

use std::collections::BTreeMap;
use std::time::Duration;
use workspace::toolchain::Toolchain;

use camino::{Utf8Path, Utf8PathBuf};

use super::destination::Destination;
use super::{PackageBuild, ProjectPlan};
use crate::tools::program::INSTALL_DEADLINE;
use base::cmd;
use base::command::ProcessCommand;
use cloudflare::wrangler::{self, UploadKind};
use workspace::before_deploy::WranglerStep;
use workspace::config::Variables;
use workspace::installation::{Installation, PackageToolchain, Tool};
use workspace::package_manager::PackageManager;
use workspace::steps::Runtime;

/// The timeout of a build.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(1200);

/// The variable from which builds read the environment, as those of Cloudflare's plugin for Vite do.
pub const BUILD_ENVIRONMENT: &str = "CLOUDFLARE_ENV";

/// The timeout of an upload. Wrangler itself would retry a broken upload for up to 43 minutes
/// (computed from the code of 4.164).
pub const DEPLOY_DEADLINE: Duration = Duration::from_secs(900);

/// The timeout of the preparation of an upload. It reads every published file once.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(300);

/// A plugin of Yarn 2 and later. Without it, each install writes every `package.json` of the workspace in Yarn's own
/// format, and no setting prevents that (observed with 2.4.2, 3.8.6 and 4.18.1).
const YARN_PLUGIN: &str = "\
module.exports = {
  name: 'xtask-keep-manifests',
  factory: (require) => {
    require('@yarnpkg/core').Workspace.prototype.persistManifest = async () => {};
    return {};
  },
};
";

/// The inputs of [`CommandPaths::bundle`], in addition to the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bundling {
    /// `true` if wrangler uses the config of an adapter.
    pub is_redirected: bool,
    /// `true` if the config that wrangler uses has `assets`.
    pub has_assets: bool,
}

/// The request to the program that prepares an upload.
pub struct PrepareRequest<'a> {
    /// The root of the repository.
    pub root: &'a Utf8Path,
    /// True if wrangler uses the config of an adapter. `None` if the program has to look for one.
    pub is_redirected: Option<bool>,
    /// The bundle. `None` if nothing was bundled.
    pub bundle: Option<Utf8PathBuf>,
    /// The folder to write.
    pub upload: &'a Utf8Path,
}

impl PrepareRequest<'_> {
    /// Returns the program's last argument.
    #[must_use]
    pub fn json(&self, project: &ProjectPlan, destination: &Destination) -> String {
        let environment = project.wrangler_environment.as_deref().filter(|name| !name.is_empty());
        // The sandbox accepts every account, so a project may name its own there. A generated config may not name
        // another one.
        let written = project.target.account_id.as_ref().filter(|_| destination.sandbox.is_some());
        let reads = project.read_by_steps().into_iter().map(|path| self.root.join(path));
        let request = serde_json::json!({
            "root": self.root,
            "project": self.root.join(&project.dir),
            "config": self.root.join(&project.config),
            "environment": environment,
            "redirected": self.is_redirected,
            "bundle": self.bundle,
            "upload": self.upload,
            "account": written.unwrap_or(&destination.account_id),
            "reads": reads.collect::<Vec<_>>(),
            "name": project.target.default_name,
        });
        request.to_string()
    }
}

/// Returns the arguments of the wrangler that uploads.
#[must_use]
pub fn upload_arguments(
    project: &ProjectPlan,
    destination: &Destination,
    kind: UploadKind,
) -> Vec<String> {
    let environment = project.wrangler_environment.as_deref();
    let (tag, message) = (&project.key, &project.message);
    let alias = project.alias.as_deref();
    let mut arguments = match kind {
        UploadKind::Preview => wrangler::preview_arguments(alias, environment, tag, message),
        UploadKind::Version => wrangler::upload_arguments(alias, environment, tag, message),
        UploadKind::Deployment => wrangler::deploy_arguments(environment, tag, message),
    };
    // In the sandbox wrangler creates the storage of a binding without an id, such as the sessions of Astro.
    if destination.sandbox.is_some() {
        arguments.retain(|argument| argument != wrangler::NO_PROVISION);
    }
    // `wrangler preview` has none of these options.
    if kind != UploadKind::Preview {
        arguments.extend(project.flags.for_upload());
    }
    arguments
}

/// The paths that commands refer to.
#[derive(Clone, Debug)]
pub struct CommandPaths {
    /// The repository's root, absolute.
    pub root: Utf8PathBuf,
    /// Bun.
    pub bun: Utf8PathBuf,
    /// The programs of the tools that projects need in addition to Bun.
    pub tools: BTreeMap<Tool, Utf8PathBuf>,
    /// Folders of tools that are not on PATH.
    pub path: Vec<Utf8PathBuf>,
    /// The variables of the caller that installs and builds see.
    pub variables: Variables,
    /// The folder for the plugin that keeps Yarn from rewriting manifests. `None` if they may change, as in a container.
    pub plugins: Option<Utf8PathBuf>,
    /// The folder for what Bun compiles of wrangler. `None` if it compiles it for each run.
    pub compile_cache: Option<Utf8PathBuf>,
}

impl CommandPaths {
    /// Returns the paths of a repository whose projects need only Bun.
    #[must_use]
    pub fn new(root: &Utf8Path, bun: &Utf8Path) -> CommandPaths {
        CommandPaths {
            root: root.to_owned(),
            bun: bun.to_owned(),
            tools: BTreeMap::new(),
            path: Vec::new(),
            variables: Variables::default(),
            plugins: None,
            compile_cache: None,
        }
    }

    /// Returns the commands that install everything that a lock file covers. They change no lock file and no manifest.
    #[must_use]
    pub fn install(
        &self,
        toolchain: &PackageToolchain,
        installation: &Installation,
    ) -> Vec<ProcessCommand> {
        self.install_with(toolchain, installation, &installation.frozen_arguments())
    }

    /// Returns the commands of the same install for a development server. They keep what is installed, if it fits.
    #[must_use]
    pub fn install_in_place(
        &self,
        toolchain: &PackageToolchain,
        installation: &Installation,
    ) -> Vec<ProcessCommand> {
        self.install_with(toolchain, installation, &installation.arguments_in_place())
    }

    fn install_with(
        &self,
        toolchain: &PackageToolchain,
        installation: &Installation,
        arguments: &[&str],
    ) -> Vec<ProcessCommand> {
        let mut commands = Vec::new();
        let mut install = self.install_command(toolchain, installation, arguments);
        if let Some(folder) =
            self.plugins.as_deref().filter(|_| installation.manager == PackageManager::YarnBerry)
        {
            // Each install has its own copy, because another install may start in parallel.
            let plugin = folder.join(format!("yarn-{}.cjs", installation.slug()));
            commands.extend([
                cmd!(&self.root, "mkdir -p {folder}", INSTALL_DEADLINE),
                cmd!(&self.root, "tee {plugin}", INSTALL_DEADLINE).stdin(YARN_PLUGIN),
            ]);
            install = install.text("YARN_PLUGINS", plugin);
        }
        commands.push(install);
        commands
    }

    fn install_command(
        &self,
        toolchain: &PackageToolchain,
        installation: &Installation,
        arguments: &[&str],
    ) -> ProcessCommand {
        let (manager, release) = self.manager(toolchain, installation);
        let dir = self.root.join(&installation.dir);
        let mut command = cmd!(dir, "{manager} {release...} {arguments...}", INSTALL_DEADLINE)
            .inherits(&self.variables.install, true);
        let quiet: &[(&str, &str)] = match installation.manager {
            // Without `CI`, pnpm asks before it replaces an install. The other one turns off pnpm's own choice of its version:
            // the right one runs already, and a frozen install fails if pnpm 12 did not record it in the lock file.
            PackageManager::Pnpm => &[("CI", "true"), ("pnpm_config_pm_on_fail", "ignore")],
            PackageManager::YarnBerry => &[("YARN_ENABLE_TELEMETRY", "0")],
            PackageManager::Npm => &[("npm_config_update_notifier", "false")],
            PackageManager::YarnClassic | PackageManager::Bun => &[],
        };
        for (name, value) in quiet {
            command = command.text(name, *value);
        }
        self.with_path(command, toolchain)
    }

    /// Returns the program of a package manager, and the release file for Node if the repository contains one.
    fn manager(
        &self,
        toolchain: &PackageToolchain,
        installation: &Installation,
    ) -> (&Utf8Path, Option<Utf8PathBuf>) {
        match &installation.release {
            Some(release) => {
                let file = self.root.join(&installation.dir).join(release);
                (self.node(toolchain), Some(file))
            }
            None => (self.program(&installation.tool), None),
        }
    }

    /// Returns the program of a tool.
    #[must_use]
    pub fn program(&self, tool: &Tool) -> &Utf8Path {
        self.tools.get(tool).map_or(self.bun.as_path(), Utf8PathBuf::as_path)
    }

    fn node(&self, toolchain: &PackageToolchain) -> &Utf8Path {
        toolchain.node.as_ref().map_or(self.bun.as_path(), |node| self.program(node))
    }

    /// Prepends the tools to PATH, so that a script that calls one gets the pinned version.
    fn with_path(
        &self,
        mut command: ProcessCommand,
        toolchain: &PackageToolchain,
    ) -> ProcessCommand {
        let own = toolchain.tools().filter_map(|tool| self.tools.get(tool)?.parent());
        for dir in own.chain(self.path.iter().map(Utf8PathBuf::as_path)) {
            if self.path.iter().any(|path| path == dir)
                && !command.path.iter().any(|path| path == dir)
            {
                command.path.push(dir.to_owned());
            }
        }
        command
    }

    /// Builds a package, without any credential in the environment: its steps, or its script `build`.
    #[must_use]
    pub fn build(&self, build: &PackageBuild, environment: Option<&str>) -> Vec<ProcessCommand> {
        let dir = self.root.join(&build.dir);
        let toolchain = &build.toolchain;
        let steps = build.steps.commands().iter().map(|step| self.step(build, step));
        let mut commands: Vec<ProcessCommand> = steps.collect();
        if commands.is_empty() {
            commands.push(self.script(&dir, toolchain, "build"));
        }
        commands
            .into_iter()
            .map(|command| self.for_build(command, toolchain, environment))
            .collect()
    }

    /// Gives a command the variables and the programs that builds see.
    fn for_build(
        &self,
        command: ProcessCommand,
        toolchain: &PackageToolchain,
        environment: Option<&str>,
    ) -> ProcessCommand {
        let mut command =
            command.text("ASTRO_TELEMETRY_DISABLED", "1").inherits(&self.variables.build, false);
        if let Some(name) = environment {
            command = command.text(BUILD_ENVIRONMENT, name);
        }
        self.with_path(self.without_registry_tokens(command, toolchain), toolchain)
    }

    /// Sets the variables that only installs see to nothing, if Yarn runs the command: it reads its config each time, and
    /// fails if a variable that the config names is not set.
    fn without_registry_tokens(
        &self,
        command: ProcessCommand,
        toolchain: &PackageToolchain,
    ) -> ProcessCommand {
        let installation = toolchain.installation.as_ref();
        if installation.is_none_or(|install| install.manager != PackageManager::YarnBerry) {
            return command;
        }
        let Variables { install, build } = &self.variables;
        let only_install = install.iter().filter(|name| !build.contains(name));
        only_install.fold(command, |command, name| command.text(name, ""))
    }

    /// Returns the command that runs a script of `package.json`. Bun runs it on Bun, even if the shebang of a
    /// tool names another program.
    fn script(&self, dir: &Utf8Path, toolchain: &PackageToolchain, name: &str) -> ProcessCommand {
        let bun = &self.bun;
        match (&toolchain.installation, toolchain.runtime) {
            (_, Runtime::Bun) => cmd!(dir, "{bun} --bun run {name}", BUILD_DEADLINE),
            (Some(installation), Runtime::Node) => {
                let (manager, release) = self.manager(toolchain, installation);
                cmd!(dir, "{manager} {release...} run {name}", BUILD_DEADLINE)
            }
            (None, Runtime::Node) => cmd!(dir, "{bun} run {name}", BUILD_DEADLINE),
        }
    }

    /// Runs a script of the `package.json` in `dir` with `arguments`, without any credential in the environment.
    #[must_use]
    pub fn run_script(
        &self,
        dir: &Utf8Path,
        toolchain: &PackageToolchain,
        name: &str,
        arguments: &[String],
    ) -> ProcessCommand {
        let script = self.script(&self.root.join(dir), toolchain, name);
        let script = self.without_registry_tokens(script, toolchain);
        let mut command = script.inherits(&self.variables.build, false);
        let manager = toolchain.installation.as_ref().map(|installation| installation.manager);
        // npm parses options itself unless they follow `--`.
        if manager == Some(PackageManager::Npm)
            && toolchain.runtime == Runtime::Node
            && !arguments.is_empty()
        {
            command.argv.push("--".to_owned());
        }
        command.argv.extend(arguments.iter().cloned());
        self.with_path(command, toolchain)
    }

    /// Returns the command that runs one step of `xtask.build` in a shell.
    fn step(&self, build: &PackageBuild, step: &str) -> ProcessCommand {
        let (toolchain, bun) = (&build.toolchain, &self.bun);
        let dir = self.root.join(&build.dir);
        let mut command = match (&toolchain.installation, toolchain.runtime) {
            // Programs that the step starts find Bun under the name of Node.
            (_, Runtime::Bun) => cmd!(dir, "{bun} --bun run sh -c {step}", BUILD_DEADLINE),
            // Its packages may not be in `node_modules`.
            (Some(installation), Runtime::Node)
                if installation.manager == PackageManager::YarnBerry =>
            {
                let (manager, release) = self.manager(toolchain, installation);
                cmd!(dir, "{manager} {release...} exec sh -c {step}", BUILD_DEADLINE)
            }
            (_, Runtime::Node) => cmd!(dir, "sh -c {step}", BUILD_DEADLINE),
        };
        command.path = self.programs_of_packages(&build.dir, toolchain);
        command
    }

    /// Returns the `.bin` folders, from that of the package in `dir` up to the install's.
    fn programs_of_packages(
        &self,
        dir: &Utf8Path,
        toolchain: &PackageToolchain,
    ) -> Vec<Utf8PathBuf> {
        let top = toolchain.installation.as_ref().map(|install| install.dir.as_path());
        let folders = dir.ancestors().take_while(|dir| top.is_some_and(|top| dir.starts_with(top)));
        folders.map(|dir| self.root.join(dir).join("node_modules/.bin")).collect()
    }

    /// Bundles the Worker's code, without any credential in the environment, because a wrangler config can run a
    /// program, and a bundle can import any file. Its `build.command` sees what a build sees.
    #[must_use]
    pub fn bundle(&self, project: &ProjectPlan, bundling: Bundling) -> ProcessCommand {
        let config = project.config.file_name().filter(|_| !bundling.is_redirected);
        let folder = self.upload_folder(project);
        let empty = folder.join("empty");
        let mut arguments = wrangler::bundle_arguments(
            config,
            project.wrangler_environment.as_deref(),
            bundling.has_assets.then_some(empty.as_str()),
            folder.join("bundle").as_str(),
            self.bundle_file(project).as_str(),
        );
        arguments.extend(project.bundle_flags());
        let mut command = self.wrangler(self.root.join(&project.dir), arguments, BUILD_DEADLINE);
        if !project.target.has_build_command || bundling.is_redirected {
            return command;
        }
        let toolchain = &project.build_plan.toolchain;
        command.path = self.programs_of_packages(&project.dir, toolchain);
        self.for_build(command, toolchain, project.build_environment.as_deref())
    }

    /// Prepares the folder from which [`CommandPaths::upload`] uploads. `is_bundled` is true if [`CommandPaths::bundle`] ran.
    #[must_use]
    pub fn prepare_upload(
        &self,
        project: &ProjectPlan,
        destination: &Destination,
        is_redirected: bool,
        is_bundled: bool,
    ) -> ProcessCommand {
        let bundle = is_bundled.then(|| self.bundle_file(project));
        let upload = self.upload_folder(project).join("upload");
        let is_redirected = Some(is_redirected);
        let request = PrepareRequest { root: &self.root, is_redirected, bundle, upload: &upload };
        let request = request.json(project, destination);
        let bun = &self.bun;
        let line = cmd!(
            &self.root,
            "{bun} --no-env-file --config=/dev/null run - {request}",
            PREPARE_DEADLINE
        );
        // From standard input, so that a build cannot change it.
        line.stdin(wrangler::PREPARE_UPLOAD)
            .credential("CLOUDFLARE_API_TOKEN", destination.credential())
    }

    /// Runs the steps of `xtask.beforeDeploy` in the project's folder, with the token.
    #[must_use]
    pub fn before_deploy(
        &self,
        project: &ProjectPlan,
        destination: &Destination,
    ) -> Vec<ProcessCommand> {
        let config = project.config.file_name();
        let environment = project.wrangler_environment.as_deref();
        let command = |step: &WranglerStep| {
            let arguments = wrangler::step_arguments(config, environment, &step.arguments);
            self.wrangler(self.root.join(&project.dir), arguments, DEPLOY_DEADLINE)
                .text("CLOUDFLARE_ACCOUNT_ID", &destination.account_id)
                .text("CLOUDFLARE_API_BASE_URL", &destination.api)
                .credential("CLOUDFLARE_API_TOKEN", destination.credential())
        };
        project.before_deploy.steps().iter().map(command).collect()
    }

    /// Uploads the prepared folder, and for a deployment makes it live.
    #[must_use]
    pub fn upload(
        &self,
        project: &ProjectPlan,
        destination: &Destination,
        kind: UploadKind,
    ) -> ProcessCommand {
        let arguments = upload_arguments(project, destination, kind);
        self.wrangler(self.upload_folder(project).join("upload"), arguments, DEPLOY_DEADLINE)
            .text("CLOUDFLARE_ACCOUNT_ID", &destination.account_id)
            .text("CLOUDFLARE_API_BASE_URL", &destination.api)
            .text("WRANGLER_OUTPUT_FILE_PATH", self.output_file(project))
            .credential("CLOUDFLARE_API_TOKEN", destination.credential())
    }

    /// Runs the pinned wrangler in `dir`, without a token.
    #[must_use]
    pub fn wrangler(
        &self,
        dir: Utf8PathBuf,
        arguments: Vec<String>,
        deadline: Duration,
    ) -> ProcessCommand {
        let launcher = Toolchain::wrangler(&self.root).dir.join(wrangler::LAUNCHER);
        let (bun, options) = (&self.bun, wrangler::BUN_OPTIONS);
        let mut command = cmd!(dir, "{bun} {options...} {launcher} {arguments...}", deadline);
        for (name, value) in wrangler::WRANGLER_ENV {
            command = command.text(name, value);
        }
        if let Some(folder) = &self.compile_cache {
            command = command.text(wrangler::COMPILE_CACHE_VARIABLE, folder.as_str());
        }
        command
    }

    /// Returns the folder with the bundle and the upload of one attempt.
    #[must_use]
    pub fn upload_folder(&self, project: &ProjectPlan) -> Utf8PathBuf {
        self.root.join(".xtask/tmp").join(&project.nonce)
    }

    fn bundle_file(&self, project: &ProjectPlan) -> Utf8PathBuf {
        self.upload_folder(project).join("bundle.form")
    }

    /// Returns the path of wrangler's output file, which has one JSON object per line.
    #[must_use]
    pub fn output_file(&self, project: &ProjectPlan) -> Utf8PathBuf {
        self.root.join(".xtask/tmp").join(format!("{}.ndjson", project.nonce))
    }
}
