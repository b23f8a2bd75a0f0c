//! Determines the tools that install and build each project, and the packages that are built before it.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::plan::{BuildPlan, Engine, PackageBuild, Plan, ProjectPlan};
use crate::script::container::ContainerInputs;
use crate::script::upload::PROGRAM;
use base::error::Result;
use cloudflare::wrangler::PREPARE_UPLOAD;
use workspace::Workspace;
use workspace::detect;
use workspace::git;
use workspace::graph::Origin;
use workspace::install_coverage;
use workspace::installation::{PackageToolchain, Tool};
use workspace::modules::WRANGLER_TOOLCHAIN;
use workspace::package::Package;
use workspace::package_manager::PackageManager;
use workspace::project::Project;
use workspace::steps::Runtime;
use workspace::toolchain::Toolchain;

/// A project with its build.
#[derive(Clone, Debug)]
pub struct ProjectBuild<'a> {
    /// The project.
    pub project: &'a Project,
    /// The tools that install and build it, or the reason why it cannot be built.
    pub build: Result<BuildPlan>,
}

/// Returns the tools and builds of each project, and the packages that are built before it.
#[must_use]
pub fn plan_builds<'a>(workspace: &Workspace, projects: &[&'a Project]) -> Vec<ProjectBuild<'a>> {
    let root = &workspace.root;
    let shared = ContainerInputs {
        members: BTreeSet::new(),
        tracked_env_files: tracked_env_files(workspace),
        images: workspace.config.images.clone(),
        variables: workspace.config.variables.clone(),
        upload: workspace.config.dagger.upload,
        toolchain: wrangler_pins(root),
        program: upload_program(root),
    };
    let plan = |&project: &&'a Project| ProjectBuild {
        project,
        build: build_plan(workspace, project, shared.clone()),
    };
    projects.iter().map(plan).collect()
}

impl ProjectBuild<'_> {
    /// Returns the folders and files that decide what the build writes, independent of the environment.
    #[must_use]
    pub fn inputs(&self, workspace: &Workspace) -> BTreeSet<Utf8PathBuf> {
        let mut paths = workspace.graph.build_inputs(&self.project.dir);
        let build = self.build.as_ref().ok();
        let installation = build.and_then(|build| build.toolchain.installation.as_ref());
        paths.extend(installation.map(|install| install.dir.join(install.lock)));
        paths
    }
}

/// Returns the plan of one project. `containers` has the inputs that all projects share.
fn build_plan(
    workspace: &Workspace,
    project: &Project,
    mut containers: ContainerInputs,
) -> Result<BuildPlan> {
    let Some(package) = &project.package else {
        let toolchain = PackageToolchain { installation: None, runtime: Runtime::Bun, node: None };
        return Ok(BuildPlan { toolchain, dependencies: Vec::new(), own: None, containers });
    };
    let build = |package: &Package, inputs| -> Result<PackageBuild> {
        Ok(PackageBuild {
            dir: package.dir.clone(),
            steps: package.settings.build.clone(),
            toolchain: detect::toolchain(workspace, package)?,
            inputs,
            exported: package.exported_folders.iter().map(|dir| package.dir.join(dir)).collect(),
        })
    };
    let toolchain = detect::toolchain(workspace, package)?;
    if let Some(install) = &toolchain.installation {
        install_coverage::check(workspace, project, install)?;
    }
    if let Some(install) = &toolchain.installation
        && install.manager == PackageManager::YarnClassic
    {
        let is_member =
            |name: &str| workspace.packages.values().any(|p| p.name.as_deref() == Some(name));
        let imported = imported_packages(workspace, project);
        for package in std::iter::once(package).chain(imported) {
            detect::check_classic_lock(&workspace.root, install, package, &is_member)?;
        }
    }
    let own = package.builds().then(|| build(package, BTreeSet::new())).transpose()?;
    let imported = imported_packages(workspace, project).into_iter();
    let dependencies = imported
        .filter(|imported| imported.builds() && imported.dir != package.dir)
        .map(|imported| build(imported, workspace.graph.build_inputs(&imported.dir)))
        .collect::<Result<_>>()?;
    if let Some(install) = &toolchain.installation {
        let all = workspace.packages.values().map(|package| &package.dir);
        containers.members = all.filter(|dir| dir.starts_with(&install.dir)).cloned().collect();
    }
    Ok(BuildPlan { toolchain, dependencies, own, containers })
}

/// Returns the files with variables that git tracks, also those in submodules.
fn tracked_env_files(workspace: &Workspace) -> Vec<Utf8PathBuf> {
    let is_env_file = |name: &str| name == ".env" || name.starts_with(".env.");
    let listed = workspace.all_files.iter().flat_map(|files| files.tracked_files(is_env_file));
    let mut found: Vec<Utf8PathBuf> = listed.map(Utf8PathBuf::from).collect();
    for submodule in workspace.submodules() {
        let listing = git::list(&workspace.root.join(submodule), is_env_file);
        let all = listing.ok().and_then(|listing| listing.all);
        let tracked = all.iter().flat_map(|files| files.tracked_files(is_env_file));
        found.extend(tracked.map(|path| submodule.join(path)));
    }
    found.retain(|path| workspace.root.join(path).is_file());
    found
}

/// Returns the folder with the pins of wrangler: relative to the root if it is below it.
fn wrangler_pins(root: &Utf8Path) -> Utf8PathBuf {
    let dir = Toolchain::wrangler(root).dir;
    dir.strip_prefix(root).map(Utf8Path::to_owned).unwrap_or(dir)
}

/// Returns the file of the program that prepares uploads: the repository's copy if it is the one of this version.
fn upload_program(root: &Utf8Path) -> Utf8PathBuf {
    let copy = Utf8Path::new(WRANGLER_TOOLCHAIN).join("prepare-upload.js");
    let text = std::fs::read_to_string(root.join(&copy));
    if text.is_ok_and(|text| text == PREPARE_UPLOAD) { copy } else { PROGRAM.into() }
}

/// Returns the packages of the repository that the project depends on, each after its own dependencies.
/// In a cycle they are sorted by name.
fn imported_packages<'w>(workspace: &'w Workspace, project: &Project) -> Vec<&'w Package> {
    fn visit<'w>(
        workspace: &'w Workspace,
        dir: &Utf8Path,
        seen: &mut BTreeSet<Utf8PathBuf>,
        ordered: &mut Vec<&'w Package>,
    ) {
        let is_project = |dir: &Utf8Path| workspace.projects.iter().any(|other| other.dir == dir);
        let imported: Vec<Utf8PathBuf> = workspace
            .graph
            .edges(dir)
            .filter(|edge| match edge.origin {
                Origin::Manifest | Origin::Package | Origin::Config | Origin::Link => true,
                Origin::DependsOn => !is_project(edge.to),
                // Cargo compiles the crates of a project together with it.
                Origin::Crate | Origin::Cargo => false,
                Origin::Install | Origin::Module | Origin::Input => false,
            })
            .map(|edge| edge.to.to_owned())
            .collect();
        for to in imported {
            if seen.insert(to.clone()) {
                visit(workspace, &to, seen, ordered);
                ordered.extend(workspace.packages.get(to.as_str()));
            }
        }
    }
    let (mut seen, mut ordered) = (BTreeSet::from([project.dir.clone()]), Vec::new());
    visit(workspace, &project.dir, &mut seen, &mut ordered);
    ordered
}

/// Returns the tools that the plan's installs and builds need on this machine.
#[must_use]
pub fn tools_of(plan: &Plan) -> BTreeSet<Tool> {
    if plan.choice.engine != Engine::Host {
        return BTreeSet::new();
    }
    let toolchains = plan.projects.iter().flat_map(ProjectPlan::toolchains);
    toolchains.flat_map(PackageToolchain::tools).cloned().collect()
}
