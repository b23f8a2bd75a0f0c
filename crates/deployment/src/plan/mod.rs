//! The plan of a run, with its reasons: values computed from the workspace, without any IO.

pub mod alias;
pub mod block;
pub mod claims;
pub mod commands;
pub mod destination;
pub mod fields;
pub mod guard;
pub mod merge_request;
pub mod order;
pub mod protection;
pub mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::script::container::ContainerInputs;
use base::error::{Error, Result};
use cloudflare::api::DIRTY;
use cloudflare::wrangler::UploadKind;
use cloudflare::wrangler_fields::ConfigSchema;
use destination::Destination;
use order::CycleMember;
use refusal::{ProjectRefusal, RefusalRule, RuleContext, Rules};
use workspace::Workspace;
use workspace::before_deploy::BeforeDeploy;
use workspace::config::Config;
use workspace::git::Head;
use workspace::health::Health;
use workspace::installation::PackageToolchain;
use workspace::paths::normalize;
use workspace::project::Project;
use workspace::steps::Steps;
use workspace::strategy::Strategy;
use workspace::triggers;
use workspace::triggers::Triggers;
use workspace::wrangler::Target;
use workspace::wrangler_flags::WranglerFlags;

/// The requested operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Build and stop.
    Build,
    /// Build, upload, make live, check.
    Deploy,
    /// Build, upload a version that is not live, check it at its preview URL.
    Preview,
    /// Make a preview's version live.
    Promote,
    /// Make a previous version live again.
    Rollback,
    /// Delete the Worker.
    Delete,
}

/// The engine that executes the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    /// Containers, by the `dagger` CLI and the repository's modules.
    Dagger,
    /// Pinned tools on this machine.
    Host,
}

impl Engine {
    /// Returns its name on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Dagger => "dagger",
            Engine::Host => "host",
        }
    }
}

/// An engine, with the reason for the choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineChoice {
    /// The engine.
    pub engine: Engine,
    /// The reason.
    pub reason: String,
    /// The version of the Dagger CLI, if the engine is Dagger.
    pub dagger: Option<String>,
}

/// The options of a run, as the command line sets them.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOptions {
    /// Run even if the same content is live already.
    pub force: bool,
    /// Build even if the build cache has the output of the same build.
    pub rebuild: bool,
    /// Roll back if the health check fails.
    pub rollback: bool,
    /// Upload to the sandbox although bindings have no local form.
    pub allow_stub: bool,
    /// The percentage of the traffic that the new version gets in a gradual deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

impl RunOptions {
    /// Returns true if crons, routes and settings are applied. A gradual deployment applies none.
    #[must_use]
    pub fn applies_triggers(&self, operation: Operation) -> bool {
        operation == Operation::Deploy && self.percent.is_none()
    }
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            force: false,
            rebuild: false,
            rollback: true,
            allow_stub: false,
            percent: None,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of this shape.
    pub schema: u32,
    /// The requested operation.
    #[serde(rename = "verb")]
    pub operation: Operation,
    /// The engine that executes it.
    #[serde(flatten)]
    pub choice: EngineChoice,
    /// The destination.
    pub destination: Destination,
    /// The commit that is checked out.
    pub head: Head,
    /// The options of the command line.
    #[serde(flatten)]
    pub options: RunOptions,
    /// One plan per project.
    pub projects: Vec<ProjectPlan>,
    /// The broken rules. Their projects are left out, and do not stop the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<ProjectRefusal>,
}

/// The plan of one project.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectPlan {
    /// The project's name.
    #[serde(rename = "project")]
    pub name: String,
    /// The project as one file name.
    pub slug: String,
    /// Its folder, relative to the root.
    pub dir: Utf8PathBuf,
    /// Its wrangler config, relative to the root.
    pub config: Utf8PathBuf,
    /// The reason why it is selected.
    pub reason: String,
    /// The content key of all of its inputs.
    pub key: String,
    /// The nonce of the attempt, which is also in the record.
    pub nonce: String,
    /// The folder to install dependencies in. `None` if it has none.
    pub install: Option<Utf8PathBuf>,
    /// The folder to run the build in. `None` if there is no build.
    pub build: Option<Utf8PathBuf>,
    /// The tools and builds.
    #[serde(flatten)]
    pub build_plan: BuildPlan,
    /// `true` if wrangler runs the own build when it bundles, as its `build.command`. The host engine does not run it before.
    #[serde(skip)]
    pub is_built_by_wrangler: bool,
    /// The folders and files that decide what the build writes.
    pub inputs: BTreeSet<Utf8PathBuf>,
    /// `true` if it has a Dagger module.
    pub module: bool,
    /// The folder of assets that the build writes. `None` if the project has none.
    pub dist: Option<Utf8PathBuf>,
    /// The wrangler config's settings for the environment.
    pub target: Target,
    /// The `--env` argument, if the wrangler config has blocks.
    pub wrangler_environment: Option<String>,
    /// The environment that the build gets, if its output may depend on it.
    pub build_environment: Option<String>,
    /// The other projects of the run that are deployed before it, because its config names their Workers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The projects whose Workers its config names, but that are deployed after it because of a cycle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_later: Vec<String>,
    /// The projects of the repository that it is bound to and that are bound to it, directly or through others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cycle: Vec<CycleMember>,
    /// The projects of the repository whose Workers its config names, by these Workers.
    #[serde(skip)]
    pub bound_projects: BTreeMap<String, String>,
    /// The message of the version, which begins with the commit.
    pub message: String,
    /// The settings that a deployment applies to the Worker, in addition to the version.
    pub triggers: Triggers,
    /// The fields of the top level that the `env` block lacks. Blocks do not inherit them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_inherited: Vec<String>,
    /// The current crons, routes and domains that this deployment removes. Empty if they could not
    /// be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<String>,
    /// The commands of wrangler that run before the upload of a deployment.
    #[serde(skip_serializing_if = "BeforeDeploy::is_empty")]
    pub before_deploy: BeforeDeploy,
    /// Wrangler's own flags.
    #[serde(skip_serializing_if = "WranglerFlags::is_empty")]
    pub flags: WranglerFlags,
    /// The health check after the deployment.
    pub health: Health,
    /// The path of the `package.json` for `xtask.health`, even if it is not set.
    pub manifest: Utf8PathBuf,
    /// The alias of a preview, or its name.
    pub alias: Option<String>,
    /// The strategy of a preview. `None` for other operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// The build of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageBuild {
    /// The package's folder, relative to the root.
    pub dir: Utf8PathBuf,
    /// The commands of `xtask.build`. The script `build` if there are none.
    #[serde(skip_serializing_if = "Steps::is_empty")]
    pub steps: Steps,
    /// The tools that install dependencies and run the build.
    #[serde(skip)]
    pub toolchain: PackageToolchain,
    /// The folders and files that affect its output.
    #[serde(skip)]
    pub inputs: BTreeSet<Utf8PathBuf>,
    /// The folders that `main`, `exports` and similar fields of its `package.json` refer to, relative to the root.
    #[serde(skip)]
    pub exported: BTreeSet<Utf8PathBuf>,
}

/// The tools and folders that install and build one project.
#[derive(Clone, Debug, Serialize)]
pub struct BuildPlan {
    /// The tools that install dependencies and run the build.
    pub toolchain: PackageToolchain,
    /// The packages of the repository that are built before it, each after those that it imports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<PackageBuild>,
    /// The project's own build.
    #[serde(skip)]
    pub own: Option<PackageBuild>,
    /// The inputs of a container that installs and builds it.
    #[serde(skip)]
    pub containers: ContainerInputs,
}

impl BuildPlan {
    /// Returns what installs and builds the project and the packages before it.
    pub fn toolchains(&self) -> impl Iterator<Item = &PackageToolchain> {
        let builds = self.dependencies.iter().chain(&self.own);
        std::iter::once(&self.toolchain).chain(builds.map(|build| &build.toolchain))
    }
}

/// The request for an operation, before its projects are read.
#[derive(Debug)]
pub struct RunRequest {
    /// The operation.
    pub operation: Operation,
    /// The engine that executes it.
    pub choice: EngineChoice,
    /// The destination.
    pub destination: Destination,
    /// The options of the command line.
    pub options: RunOptions,
    /// The preview's alias, or its name.
    pub alias: Option<String>,
    /// The strategy of the previews, as the command line sets it.
    pub strategy: Option<Strategy>,
}

impl RunRequest {
    /// Creates a request with default options.
    #[must_use]
    pub fn new(operation: Operation, choice: EngineChoice, destination: Destination) -> RunRequest {
        RunRequest {
            operation,
            choice,
            destination,
            options: RunOptions::default(),
            alias: None,
            strategy: None,
        }
    }
}

/// A project with the facts that the rules need.
#[derive(Clone, Debug)]
pub struct ProjectFacts<'a> {
    /// The project.
    pub project: &'a Project,
    /// The tools that install and build it, or the reason why it cannot be built.
    pub build: Result<BuildPlan>,
    /// The refusal of a config that names a missing file, if nothing builds it.
    pub missing_output: Option<Error>,
    /// The deployed config may be one that a build writes.
    pub may_be_generated: bool,
    /// The folder of assets has an `.assetsignore`.
    pub has_assets_ignore: bool,
}

/// A project of a run, before it is planned.
#[derive(Clone, Debug)]
pub struct ProjectInput<'a> {
    /// The project with its facts.
    pub facts: ProjectFacts<'a>,
    /// The reason why it is selected.
    pub reason: String,
    /// The content key of all of its inputs, or the refusal of a missing input.
    pub key: Result<String>,
    /// The folders and files that affect the output of its build.
    pub inputs: BTreeSet<Utf8PathBuf>,
}

/// The request for a plan.
#[derive(Debug)]
pub struct PlanRequest<'a> {
    /// The projects.
    pub projects: Vec<ProjectInput<'a>>,
    /// The operation with its options.
    pub request: RunRequest,
    /// The commit that is checked out.
    pub head: Head,
    /// The date in UTC, such as `2026-01-31`.
    pub today: String,
    /// The schema of wrangler's config. `None` while wrangler is not installed.
    pub schema: Option<ConfigSchema>,
    /// Returns true if a variable of the caller is set.
    pub is_set: fn(&str) -> bool,
    /// The attempt's unique project.
    pub nonce: &'a str,
}

impl Plan {
    /// Returns the kind of a project's upload.
    #[must_use]
    pub fn kind(&self, project: &ProjectPlan) -> UploadKind {
        match (self.operation, project.strategy, self.options.percent) {
            (Operation::Preview, Some(Strategy::Preview), _) => UploadKind::Preview,
            (Operation::Preview, ..) | (_, _, Some(_)) => UploadKind::Version,
            _ => UploadKind::Deployment,
        }
    }

    /// Plans the operation for the projects of the request, and finds every refusal that needs no request to
    /// Cloudflare.
    #[must_use]
    pub fn new(workspace: &Workspace, input: PlanRequest<'_>) -> Plan {
        let (mut plans, mut refused) = (Vec::new(), Vec::new());
        let rules = Rules::new(workspace, input.rule_context());
        for one in &input.projects {
            let mut broken = rules.refusals(&one.facts);
            if let Err(failure) = &one.key {
                broken.push(input.refusal(one, RefusalRule::Inputs, failure.clone()));
            }
            if broken.is_empty() {
                match ProjectPlan::new(one, &input, &workspace.config) {
                    Ok(project) => plans.push(project),
                    Err(failure) => broken.push(input.refusal(one, RefusalRule::Build, failure)),
                }
            }
            refused.extend(broken);
        }
        if input.request.operation == Operation::Deploy {
            plans = order::sort(plans);
            let environment = &input.request.destination.environment;
            order::find_cycles(&mut plans, &workspace.projects, environment);
        }
        let RunRequest { operation, choice, destination, options, .. } = input.request;
        let mut plan = Plan {
            schema: 1,
            operation,
            choice,
            destination,
            head: input.head,
            options,
            projects: plans,
            refused,
        };
        plan.refuse_bound();
        plan
    }

    /// Takes a project out that breaks a rule that was found later.
    pub fn refuse(&mut self, name: &str, rule: RefusalRule, failure: &Error) {
        let taken = self.projects.extract_if(.., |project| project.name == name);
        self.refused.extend(taken.map(|project| ProjectRefusal {
            project: project.name,
            worker: project.target.worker,
            rule,
            failure: failure.clone(),
        }));
        self.refuse_bound();
    }

    /// Takes the projects out of a deployment whose configs name the Worker of a refused one.
    fn refuse_bound(&mut self) {
        if self.operation != Operation::Deploy {
            return;
        }
        let refused = |plan: &Plan, project: &ProjectPlan| {
            let bound = &project.target.bound_workers;
            let other = plan.refused.iter().find(|other| bound.contains(&other.worker))?;
            Some(order::bound_to(project, &other.project, "is refused", &plan.destination))
        };
        while let Some((at, failure)) = self
            .projects
            .iter()
            .enumerate()
            .find_map(|(at, project)| Some((at, refused(self, project)?)))
        {
            let ProjectPlan { name: project, target, .. } = self.projects.remove(at);
            let (worker, rule) = (target.worker, RefusalRule::Bound);
            self.refused.push(ProjectRefusal { project, worker, rule, failure });
        }
    }
}

impl PlanRequest<'_> {
    fn rule_context(&self) -> RuleContext<'_> {
        RuleContext {
            operation: self.request.operation,
            destination: &self.request.destination,
            allow_stub: self.request.options.allow_stub,
            alias: self.request.alias.as_deref(),
            strategy: self.request.strategy,
            applies_triggers: self.request.options.applies_triggers(self.request.operation),
            today: &self.today,
            schema: self.schema.as_ref(),
            is_set: self.is_set,
        }
    }

    fn refusal(&self, one: &ProjectInput<'_>, rule: RefusalRule, failure: Error) -> ProjectRefusal {
        let environment = &self.request.destination.environment;
        ProjectRefusal::new(one.facts.project, environment, rule, failure)
    }
}

impl ProjectPlan {
    /// Returns true if the config names neither code nor assets, because the build writes a config that does.
    #[must_use]
    pub fn is_named_by_adapter(&self) -> bool {
        self.target.main.is_none() && self.target.assets.is_none()
    }

    /// Returns true if the build may write a config that wrangler uses instead of the project's own.
    #[must_use]
    pub fn may_be_redirected(&self) -> bool {
        self.build.is_some() && !self.is_built_by_wrangler
    }

    /// Returns a note on the fields of the top level that the `env` block lacks. `None` if it lacks none.
    #[must_use]
    pub fn inheritance_note(&self) -> Option<String> {
        fields::inheritance_note(
            &self.config,
            self.wrangler_environment.as_deref()?,
            &self.not_inherited,
        )
    }

    /// Returns the flags of the step that bundles.
    #[must_use]
    pub fn bundle_flags(&self) -> Vec<String> {
        let name = self.target.default_name.as_ref().map(|name| format!("--name={name}"));
        self.flags.for_bundle().into_iter().chain(name).collect()
    }

    /// Returns true if the Worker has code, or may have some by the config of an adapter.
    #[must_use]
    pub fn may_have_code(&self) -> bool {
        self.target.main.is_some() || self.is_named_by_adapter()
    }

    /// Returns what installs and builds the project and the packages before it.
    pub fn toolchains(&self) -> impl Iterator<Item = &PackageToolchain> {
        self.build_plan.toolchains()
    }

    /// Returns the files and folders that steps before the upload read with the token, relative to the root. A folder
    /// of migrations may not exist.
    #[must_use]
    pub fn read_by_steps(&self) -> Vec<Utf8PathBuf> {
        let steps = self.before_deploy.steps();
        let files = steps.iter().flat_map(|step| step.files_below(&self.dir).unwrap_or_default());
        let reads_migrations = steps.iter().any(|step| step.reads_migrations);
        let folders = self.target.migrations.iter().filter(|_| reads_migrations);
        let folders = folders.filter_map(|folder| normalize(&self.dir.join(folder)));
        files.chain(folders).collect()
    }

    fn new(
        one: &ProjectInput<'_>,
        input: &PlanRequest<'_>,
        config: &Config,
    ) -> Result<ProjectPlan> {
        let (project, request) = (one.facts.project, &input.request);
        let environment = &request.destination.environment;
        let target = project.target(environment);
        let triggers = Triggers::new(&project.wrangler, environment);
        let slug = project.slug();
        let build_plan = one.facts.build.clone()?;
        let install = build_plan.toolchain.installation.as_ref().map(|install| install.dir.clone());
        Ok(ProjectPlan {
            name: project.name.clone(),
            dir: project.dir.clone(),
            config: project.config.clone(),
            reason: one.reason.clone(),
            key: one.key.clone()?,
            nonce: format!("{}-{slug}", input.nonce),
            slug,
            install,
            build: build_plan.own.as_ref().map(|build| build.dir.clone()),
            build_plan,
            is_built_by_wrangler: request.operation != Operation::Build
                && target.runs_script_build(project.package.as_ref()),
            inputs: one.inputs.clone(),
            module: project.module,
            dist: guard::assets_folder(project, &target, one.facts.has_assets_ignore)?,
            build_environment: build_environment(project, environment),
            wrangler_environment: wrangler_environment(project, environment),
            message: message(
                &input.head,
                request.options.applies_triggers(request.operation).then_some(&triggers),
                request.destination.break_glass.as_deref(),
            ),
            triggers,
            not_inherited: project.wrangler.not_inherited(environment),
            removes: Vec::new(),
            after: Vec::new(),
            bound_later: Vec::new(),
            bound_projects: BTreeMap::new(),
            cycle: Vec::new(),
            before_deploy: project.before_deploy().cloned().unwrap_or_default(),
            flags: project.wrangler_flags().cloned().unwrap_or_default(),
            health: project.health(),
            manifest: project.manifest(),
            alias: request.alias.clone(),
            strategy: (request.operation == Operation::Preview)
                .then(|| project.strategy(config, environment, request.strategy)),
            target,
        })
    }
}

/// Returns the argument of `--env`, if the config has the block. If it has only other blocks, the argument is empty, which
/// selects the top level.
#[must_use]
pub fn wrangler_environment(project: &Project, environment: &str) -> Option<String> {
    if project.wrangler.has(environment) {
        Some(environment.to_owned())
    } else {
        (!project.environments.is_empty()).then(String::new)
    }
}

/// Returns the environment for the build. Frameworks with an adapter choose the `env` block at build
/// time. `None` if the project declares that the environment does not matter.
fn build_environment(project: &Project, environment: &str) -> Option<String> {
    let one = project.package.as_ref().is_some_and(|package| package.settings.one_build);
    (!one && project.wrangler.has(environment)).then(|| environment.to_owned())
}

/// Returns the message of a version. Some endpoints of Cloudflare store at most 100 bytes of it. It has
/// the commit, the digest of the triggers that a deployment applies, and the reason of `--break-glass`.
fn message(head: &Head, triggers: Option<&Triggers>, break_glass: Option<&str>) -> String {
    let commit = head.commit.as_deref().unwrap_or("no commit");
    let dirty = if head.dirty { DIRTY } else { "" };
    let triggers = triggers.map(|triggers| triggers::mark(&triggers.digest)).unwrap_or_default();
    let glass = break_glass.map(|reason| format!(", break glass: {reason}")).unwrap_or_default();
    format!("{commit}{dirty}{triggers}{glass}")
}
