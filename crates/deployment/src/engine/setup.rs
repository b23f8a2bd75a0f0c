//! Installs the tools of a plan: Bun, wrangler, the sandbox.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

use crate::context::Ctx;
use crate::engine::build::install::lock_path;
use crate::engine::lock::{FileLock, lock};
use crate::engine::phases::{Phase, Phases};
use crate::plan::commands::CommandPaths;
use crate::record::ToolVersions;
use crate::tools::bun;
use crate::tools::packages::registry;
use crate::tools::program::{INSTALL_DEADLINE, Location, REGISTRY};
use crate::tools::sandbox::{self, Server};
use base::cmd;
use base::command::ProcessCommand;
use base::error::{Error, ErrorKind, Result, refused};
use base::files::write_whole;
use base::runner::CompletedProcess;
use base::terminal::progress::ProgressLine;
use cloudflare::wrangler;
use cloudflare::wrangler_fields::{ConfigSchema, FIELDS_FORMAT};
use workspace::config::{CONFIG_FILE, Config};
use workspace::installation::Tool;
use workspace::toolchain::{self, Toolchain, tools_folder};
use workspace::wrangler::WranglerConfig;

/// Installs missing tools, one run at a time.
pub struct Setup<'a> {
    ctx: &'a Ctx,
    config: &'a Config,
    task: ProgressLine,
    lock: FileLock,
    /// `true` if the run needs a sandbox.
    needs_sandbox: bool,
    /// The phases of the run after the setup.
    rest: Vec<Phase>,
    phases: Phases,
    /// The sandbox that ran at the start. Checked once.
    server: OnceLock<Option<Server>>,
}

impl<'a> Setup<'a> {
    /// Waits until the setup of another run ends.
    pub fn new(ctx: &'a Ctx, config: &'a Config) -> Result<Setup<'a>> {
        let task = ctx.ui.task("setup");
        let lock = setup_lock(&ctx.root, |holder| task.step(&format!("wait for {holder}")))?;
        let (rest, phases, server) = (Vec::new(), Phases::default(), OnceLock::new());
        Ok(Setup { ctx, config, task, lock, needs_sandbox: false, rest, phases, server })
    }

    /// Numbers the phases of the run if something has to be set up: its own phases, that of the sandbox if the run needs
    /// one, and the phases `rest` that follow.
    pub fn number_phases(&mut self, needs_sandbox: bool, rest: Vec<Phase>) {
        (self.needs_sandbox, self.rest) = (needs_sandbox, rest);
    }

    /// Returns the numbered phases of the run, for those after the setup.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.phases.clone()
    }

    fn running(&self) -> Option<&Server> {
        self.server.get_or_init(|| sandbox::recently_running(&self.ctx.root)).as_ref()
    }

    /// Returns the paths of Bun and wrangler in the pinned versions. Installs them if they are missing.
    pub fn tools(&mut self) -> Result<CommandPaths> {
        self.tools_for(&BTreeSet::new())
    }

    /// Returns the paths of Bun, wrangler and the `tools` that projects need. Installs those that are missing.
    pub fn tools_for(&mut self, tools: &BTreeSet<Tool>) -> Result<CommandPaths> {
        let root = &self.ctx.root;
        // Bun 1.4.5 parses the question mark as the start of a query.
        if root.as_str().contains('?') {
            return Err(refused(format!(
                "the path {root} has a `?`, and Bun runs no program below such a folder"
            ))
            .hint(
                "nothing was changed; rename the folder, or check the repository out elsewhere",
            ));
        }
        let mut plan = ToolPlan::new(root, self.config, tools)?;
        // Checkouts may share the folder of tools.
        let path = tools_folder(root).join("install.lock");
        let _lock = if plan.installs.is_empty() {
            None
        } else {
            let lock = lock(&path, |holder| self.task.step(&format!("wait for {holder}")))?;
            // Another run may have installed them in the meantime.
            plan = ToolPlan::new(root, self.config, tools)?;
            Some(lock)
        };
        let tools_phase = (!plan.installs.is_empty()).then_some(Phase::Tools);
        let is_down = self.needs_sandbox && self.running().is_none();
        let setup: Vec<Phase> =
            tools_phase.into_iter().chain(is_down.then_some(Phase::Sandbox)).collect();
        self.phases = Phases::new(&setup, &self.rest);
        self.task.phase(self.phases.label(Phase::Tools));
        if !plan.installs.is_empty() {
            self.install_tools(tools, &plan.installs)?;
        }
        plan.paths.compile_cache = compile_cache(root);
        Ok(plan.paths)
    }

    fn install_tools(&self, tools: &BTreeSet<Tool>, installs: &[ProcessCommand]) -> Result<()> {
        let root = &self.ctx.root;
        let wrangler = wrangler::pinned_version(root).unwrap_or_default();
        let bun = &self.config.tools.bun;
        let more = tools.iter().filter(|tool| (tool.name, &tool.version) != ("bun", bun));
        let labels: BTreeSet<String> = more.map(Tool::label).collect();
        let more = labels.iter().map(|label| format!(", {label}")).collect::<String>();
        self.task.step(&format!(
            "install Bun {bun}, wrangler {wrangler}{more}, as far as they are missing"
        ));
        installs.iter().try_for_each(|command| self.install(command))?;
        let toolchain = Toolchain::wrangler(root);
        // Without the file, the whole schema is read.
        if let (Some(path), Ok(schema)) = (fields_file(root), full_schema(root)) {
            let _slower = schema.to_text().map(|text| write_whole(&path, &text));
        }
        write_whole(&stamp(&toolchain), &toolchain.lock().unwrap_or_default())?;
        // What was compiled of another version is never read again.
        let _absent = std::fs::remove_dir_all(wrangler::compile_cache(root));
        Ok(())
    }

    /// Returns Bun's program. Installs it if it is missing. Other pins are not checked.
    pub fn bun(&self) -> Result<Utf8PathBuf> {
        let (root, version) = (&self.ctx.root, &self.config.tools.bun);
        let bun = bun::find(root, version);
        if let Location::Missing(_) = bun {
            check_installable(root, version)?;
            self.task.step(&format!("install Bun {version}"));
            for command in bun::install(root, version) {
                self.install(&command)?;
            }
        }
        Ok(bun.program().to_owned())
    }

    /// Runs a command of a package manager, with its output in the log of the setup.
    pub fn run(&self, text: &str, command: &ProcessCommand) -> Result<()> {
        self.task.step(text);
        self.install(command)
    }

    fn install(&self, command: &ProcessCommand) -> Result<()> {
        let finished = self.ctx.run_install("setup", command, &|line| self.task.output(line))?;
        refuse_failure(finished, REGISTRY)
    }

    /// Returns the running sandbox. Builds and starts it if it does not run.
    pub fn sandbox(
        &self,
        paths: &CommandPaths,
        accounts: &[String],
        port: Option<u16>,
    ) -> Result<Server> {
        if let Some(server) = self.running() {
            return Ok(server.clone());
        }
        self.task.phase(self.phases.label(Phase::Sandbox));
        if let Some(command) = sandbox::build(&self.ctx.root) {
            self.task.step("build the sandbox (the first time takes a minute or two)");
            let finished = self.ctx.run("setup", &command, &|line| self.task.output(line))?;
            refuse_failure(finished, "run `cargo build --package sandbox` to see it fail alone")?;
        }
        self.task.step("start the sandbox");
        sandbox::start(&self.ctx.root, &paths.bun, accounts, port)
    }

    /// Returns the running sandbox. Installs its tools and starts it if it does not run.
    pub fn running_sandbox(&mut self, accounts: &[String]) -> Result<Server> {
        if let Some(server) = self.running() {
            return Ok(server.clone());
        }
        self.needs_sandbox = true;
        let paths = self.tools()?;
        self.sandbox(&paths, accounts, None)
    }

    /// Ends the setup and releases the lock.
    pub fn finish(self, text: &str) {
        self.task.end(true, text);
        drop(self.lock);
    }
}

/// Errors if a command failed. Nothing has changed yet.
fn refuse_failure(finished: CompletedProcess, hint: &str) -> Result<()> {
    finished.success().map(|_| ()).map_err(|failure| match failure.kind {
        ErrorKind::Failed => Error { kind: ErrorKind::Refused, ..failure.hint(hint) },
        _ => failure,
    })
}

/// Returns the path of a copy of the lock file from which wrangler was installed.
#[must_use]
pub fn stamp(toolchain: &Toolchain) -> Utf8PathBuf {
    toolchain.dir.join("node_modules/.installed.lock")
}

/// The tools of a run.
#[derive(Debug)]
pub struct ToolPlan {
    /// The paths of all tools, also of those that are not installed yet.
    pub paths: CommandPaths,
    /// The commands that install the missing ones.
    pub installs: Vec<ProcessCommand>,
}

impl ToolPlan {
    /// Finds Bun, wrangler and the `tools` that projects need. If its lock file changed, wrangler counts as missing.
    /// Errors if a lock file does not match its pin.
    pub fn new(root: &Utf8Path, config: &Config, tools: &BTreeSet<Tool>) -> Result<ToolPlan> {
        toolchain::check(root, &config.tools)?;
        let version = &config.tools.bun;
        let bun = bun::find(root, version);
        let mut installs = match bun {
            Location::Missing(_) => {
                check_installable(root, version)?;
                bun::install(root, version)
            }
            Location::OnPath(_) | Location::Installed(_) => Vec::new(),
        };
        let mut paths = CommandPaths::new(root, bun.program());
        paths.variables = config.variables.clone();
        paths.plugins = Some(root.join(".xtask/tmp"));
        for tool in tools.iter().filter(|tool| tool.name != "bun" || !tool.fits(version)) {
            let location = registry::find(root, tool);
            if let Location::Missing(_) = location {
                installs.extend(registry::install(root, tool));
            }
            let program = location.program();
            if !matches!(location, Location::OnPath(_)) {
                paths.path.extend(program.parent().map(Utf8Path::to_owned));
            }
            paths.tools.insert(tool.clone(), program.to_owned());
        }
        if !matches!(bun, Location::OnPath(_)) {
            paths.path.extend(bun.program().parent().map(Utf8Path::to_owned));
        }
        let toolchain = Toolchain::wrangler(root);
        let installed = std::fs::read_to_string(stamp(&toolchain)).ok();
        if installed.is_none() || installed != toolchain.lock() {
            installs.extend(install_wrangler(&paths, &toolchain));
        }
        Ok(ToolPlan { paths, installs })
    }
}

/// Returns the versions of Bun, wrangler and xtask.
#[must_use]
pub fn installed_versions(root: &Utf8Path, config: &Config) -> ToolVersions {
    ToolVersions {
        bun: Some(config.tools.bun.clone()),
        wrangler: wrangler::installed_version(root),
        ..ToolVersions::new()
    }
}

/// Returns the folder for what Bun compiles of wrangler. A job of CI that starts from a new checkout would fill it for one
/// run, so CI uses only a folder that exists.
fn compile_cache(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let folder = wrangler::compile_cache(root);
    (!base::env::is_set("CI") || folder.is_dir()).then_some(folder)
}

/// Refuses to install a version of Bun without a lock file.
fn check_installable(root: &Utf8Path, version: &str) -> Result<()> {
    match Toolchain::bun(root).version() {
        Some(carried) if carried != version => Err(refused(format!(
            "{CONFIG_FILE} pins Bun {version}, which is not on PATH, and this version of xtask can install {carried} only"
        ))
        .hint(format!("run `cargo xtask upgrade bun {version}`, which writes the lock file of that version"))),
        _ => Ok(()),
    }
}

/// Returns the commands that install wrangler from its pin.
#[must_use]
pub fn install_wrangler(paths: &CommandPaths, toolchain: &Toolchain) -> Vec<ProcessCommand> {
    let mut commands = bun::write_pins(&paths.root, toolchain);
    commands.push(install(paths, &toolchain.dir));
    commands
}

/// Returns the command that installs the locked packages in `folder`, without their install scripts.
#[must_use]
pub fn install(paths: &CommandPaths, folder: &Utf8Path) -> ProcessCommand {
    let bun = &paths.bun;
    cmd!(
        folder,
        "{bun} install --frozen-lockfile --prefer-offline --ignore-scripts",
        INSTALL_DEADLINE
    )
}

/// Returns the path of the fields of the installed wrangler's config. Another version has another path.
fn fields_file(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let version = wrangler::installed_version(root)?;
    let modules = Toolchain::wrangler(root).dir.join("node_modules");
    Some(modules.join(format!(".config-fields.{FIELDS_FORMAT}-{version}.json")))
}

/// Returns the JSON schema of wrangler's config. `None` if wrangler is not installed.
#[must_use]
pub fn installed_schema(root: &Utf8Path) -> Option<ConfigSchema> {
    wrangler_schema(root).ok()
}

/// Reads the JSON schema of the installed wrangler's config: the fields that its installation wrote, or all of it.
pub fn wrangler_schema(root: &Utf8Path) -> Result<ConfigSchema> {
    let fields = fields_file(root).and_then(|path| read_schema(root, &path).ok());
    fields.map_or_else(|| full_schema(root), Ok)
}

fn full_schema(root: &Utf8Path) -> Result<ConfigSchema> {
    read_schema(root, &Toolchain::wrangler(root).dir.join(wrangler::SCHEMA))
}

fn read_schema(root: &Utf8Path, path: &Utf8Path) -> Result<ConfigSchema> {
    ConfigSchema::parse(&read(root, path)?).map_err(|error| refused(format!("{path}: {error}")))
}

/// Reads a wrangler config again, because the build of a project may have written it.
pub fn wrangler_config(root: &Utf8Path, path: &Utf8Path) -> Result<WranglerConfig> {
    WranglerConfig::parse(path, &read(root, path)?)
}

fn read(root: &Utf8Path, path: &Utf8Path) -> Result<String> {
    std::fs::read_to_string(root.join(path))
        .map_err(|error| refused(format!("cannot read {path}: {error}")))
}

/// Locks the setup of a checkout, because two runs would install the same tools and start the same sandbox.
pub fn setup_lock(root: &Utf8Path, waiting: impl FnOnce(&str)) -> Result<FileLock> {
    lock(&lock_path(root, "setup"), waiting)
}

/// Locks a project, because two runs would write the same `dist` and judge each other's deployments.
pub fn project_lock(root: &Utf8Path, slug: &str, waiting: impl FnOnce(&str)) -> Result<FileLock> {
    lock(&lock_path(root, slug), waiting)
}
