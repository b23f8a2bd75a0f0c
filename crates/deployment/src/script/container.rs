//! Formats the install and the builds of a project as calls of Dagger's own API. They load no module, because that
//! takes longer than most builds.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::{quote, relative};
use crate::plan::commands::CommandPaths;
use crate::plan::{PackageBuild, ProjectPlan};
use base::command::{EnvValue, ProcessCommand};
use base::env::is_set;
use base::error::Result;
use workspace::config::{ContainerUpload, Images, Variables};
use workspace::installation::{PackageToolchain, Tool};
use workspace::package_manager::PackageManager;
use workspace::steps::Runtime;

/// The folder of the repository in a container.
pub const ROOT: &str = "/src";

/// The shell variable of the container after all builds.
pub const BUILT: &str = "built";

/// Paths that no container gets: files that are installed or generated again, git's data, and files with secrets.
const EXCLUDES: [&str; 7] = [
    "**/.dev.vars*",
    "**/.env",
    "**/.env.*",
    "**/.git",
    "**/.wrangler",
    "**/.xtask",
    "**/node_modules",
];

/// The folder of a package manager's cache, which outlives the container.
const CACHE: &str = "/var/cache/packages";

/// The inputs of a container, in addition to the plan of a build.
#[derive(Clone, Debug)]
pub struct ContainerInputs {
    /// The folders of all packages that the project's lock file may cover. An install reads their manifests.
    pub members: BTreeSet<Utf8PathBuf>,
    /// The tracked files of the repository that set variables, such as `.env.production`. The other files of this kind have
    /// secrets, and stay on the machine.
    pub tracked_env_files: Vec<Utf8PathBuf>,
    /// The images to start from.
    pub images: Images,
    /// The variables that installs and builds see.
    pub variables: Variables,
    /// The way to upload.
    pub upload: ContainerUpload,
    /// The folder with the pins of wrangler, relative to the root or absolute.
    pub toolchain: Utf8PathBuf,
    /// The program that prepares uploads, relative to the root.
    pub program: Utf8PathBuf,
}

impl ContainerInputs {
    /// Returns the variables of the two lists that are set.
    fn variables_in(names: &[String]) -> impl Iterator<Item = &str> {
        names.iter().map(String::as_str).filter(|name| is_set(name))
    }
}

/// Returns true if the script itself installs or builds the project, because the project has no module.
#[must_use]
pub fn is_used(project: &ProjectPlan) -> bool {
    let works =
        project.build_plan.own.is_some() || project.build_plan.toolchain.installation.is_some();
    !project.module && works
}

/// Returns the lines that set [`BUILT`] to the container after all builds.
pub fn lines(project: &ProjectPlan) -> Result<Vec<String>> {
    let own = project.build_plan.own.as_ref();
    Ok(vec![source(project)?, assignment(BUILT, &pipeline(project, own)?)])
}

/// Returns the lines that set the source and the container after the install, for a project that its module builds or
/// that has no build, and the word for the repository's folder in it. The output of the project's own build is not in it.
pub fn unbuilt_lines(project: &ProjectPlan) -> Result<(Vec<String>, String)> {
    let mut lines = vec![source(project)?];
    if project.build_plan.toolchain.installation.is_none()
        && project.build_plan.dependencies.is_empty()
    {
        return Ok((lines, "$source".to_owned()));
    }
    lines.push(assignment("installed", &pipeline(project, None)?));
    Ok((lines, format!("$($installed | {})", call("directory", &[ROOT])?)))
}

/// Returns the line that sets a variable of the shell to the result of `calls`.
pub(super) fn assignment(name: &str, calls: &[String]) -> String {
    format!("{name}=$({})", calls.join(" | "))
}

/// Returns the path of a folder of the repository in a container.
#[must_use]
pub fn container_path(dir: &Utf8Path) -> Utf8PathBuf {
    Utf8Path::new(ROOT).join(dir)
}

/// Returns the line with the files of the build: only the inputs of the project, so that a change elsewhere does not
/// invalidate the cache.
fn source(project: &ProjectPlan) -> Result<String> {
    let root = relative(&project.dir, Utf8Path::new(""));
    let mut line = format!("source=$(host | directory {}", quote(root.as_str())?);
    for path in include_paths(project) {
        line += &format!(" --include={}", quote(&pattern(&path))?);
    }
    for path in EXCLUDES {
        line += &format!(" --exclude={}", quote(path)?);
    }
    // The output of an earlier build must not count as this one's.
    if let Some(dist) = super::exports(project).filter(|_| project.build_plan.own.is_some()) {
        line += &format!(" --exclude={}", quote(&pattern(dist.as_str()))?);
    }
    let inputs = input_paths(project);
    let env_files = project.build_plan.containers.tracked_env_files.iter();
    for path in env_files.filter(|path| is_covered(&inputs, path)) {
        let file = format!("$(host | file {})", quote(root.join(path).as_str())?);
        line += &format!(" | with-file {} {file}", quote(path.as_str())?);
    }
    Ok(line + ")")
}

/// Returns the folders and files that the install and the builds read.
fn input_paths(project: &ProjectPlan) -> BTreeSet<Utf8PathBuf> {
    let builds = project.build_plan.dependencies.iter().chain(&project.build_plan.own);
    let dirs = builds.map(|build| &build.dir).chain([&project.dir]);
    project.inputs.iter().chain(dirs).cloned().collect()
}

fn is_covered(paths: &BTreeSet<Utf8PathBuf>, path: &Utf8Path) -> bool {
    paths.iter().any(|covered| path.starts_with(covered))
}

/// Returns the paths of the inputs, and of the manifests that an install compares with the lock file.
fn include_paths(project: &ProjectPlan) -> BTreeSet<String> {
    let mut paths = input_paths(project);
    if is_covered(&paths, Utf8Path::new("")) {
        return BTreeSet::new();
    }
    let manifests: Vec<Utf8PathBuf> = project
        .build_plan
        .containers
        .members
        .iter()
        .filter(|dir| !is_covered(&paths, dir))
        .map(|dir| match dir.parent() {
            // Packages in the same folder share a pattern, so that a new package does not lengthen the script.
            Some(parent) => parent.join("*/package.json"),
            None => Utf8PathBuf::from("package.json"),
        })
        .collect();
    paths.extend(manifests);
    paths.into_iter().map(Utf8PathBuf::into_string).collect()
}

/// Returns the pattern of a path. The CLI splits patterns at commas and drops quotes, and the engine reads some
/// characters as wildcards: each of these becomes `?`, which matches any one character.
fn pattern(path: &str) -> String {
    let is_special = |c: char| matches!(c, ',' | '"' | '\'' | '[' | ']' | '\\' | '!' | '\n' | '\r');
    path.chars().map(|c| if is_special(c) { '?' } else { c }).collect()
}

/// Returns the calls that create the container. `own_build` is the build of the project itself.
fn pipeline(project: &ProjectPlan, own_build: Option<&PackageBuild>) -> Result<Vec<String>> {
    let settings = &project.build_plan.containers;
    let toolchains: Vec<&PackageToolchain> = project.toolchains().collect();
    let mut calls =
        vec!["container".to_owned(), call("from", &[&image(&settings.images, &toolchains)])?];
    for package in global_packages(&toolchains) {
        calls.push(exec(&["npm", "install", "--global", &package].map(str::to_owned))?);
    }
    if let Some(installation) = &project.build_plan.toolchain.installation {
        let (name, variables) = cache(installation.manager);
        let volume = format!("$(cache-volume {})", quote(&format!("xtask-{name}"))?);
        calls.push(format!("with-mounted-cache {} {volume}", quote(CACHE)?));
        for variable in variables {
            calls.push(call("with-env-variable", &[variable, CACHE])?);
        }
    }
    calls.push(format!("with-directory {} $source", quote(ROOT)?));
    let all_builds = project.build_plan.dependencies.iter().chain(own_build);
    if all_builds.into_iter().any(|build| !build.steps.is_empty()) {
        calls.push(call("with-env-variable", &["XTASK_PATH", "${PATH}"])? + " --expand");
    }
    let paths = paths(settings, &toolchains);
    if let Some(installation) = &project.build_plan.toolchain.installation {
        let names: Vec<&str> = ContainerInputs::variables_in(&settings.variables.install).collect();
        calls.extend(secrets(&names)?);
        for command in paths.install(&project.build_plan.toolchain, installation) {
            calls.extend(run(&command)?);
        }
        for name in names {
            calls.push(call("without-secret-variable", &[name])?);
        }
    }
    let own = own_build.iter().map(|&build| (build, project.build_environment.as_deref()));
    let builds: Vec<_> =
        project.build_plan.dependencies.iter().map(|build| (build, None)).chain(own).collect();
    if !builds.is_empty() {
        calls.extend(build_variables(settings)?);
    }
    for (build, environment) in builds {
        for command in paths.build(build, environment) {
            calls.extend(run(&command)?);
        }
    }
    Ok(calls)
}

/// Returns the base image: that of Node if a tool needs it, else that of Bun.
fn image(images: &Images, toolchains: &[&PackageToolchain]) -> String {
    let node = toolchains.iter().find_map(|toolchain| toolchain.node.as_ref());
    match (node, &images.node) {
        (None, _) => images.bun.clone(),
        (Some(_), Some(image)) => image.clone(),
        (Some(node), None) => format!("node:{}-slim", node.version),
    }
}

/// Returns the npm packages of the tools that the image of Node lacks, as `name@version`.
fn global_packages(toolchains: &[&PackageToolchain]) -> BTreeSet<String> {
    if toolchains.iter().all(|toolchain| toolchain.node.is_none()) {
        return BTreeSet::new();
    }
    let tools = toolchains.iter().flat_map(|toolchain| toolchain.tools());
    // The image of Node has an npm. It is replaced if another version is required.
    let is_there =
        |tool: &Tool| tool.name == "node" || (tool.name == "npm" && tool.accepts.is_some());
    let mut packages: BTreeSet<String> = tools
        .filter(|tool| !is_there(tool) && tool.name != "bun")
        .map(|tool| format!("{}@{}", tool.package, tool.version))
        .collect();
    let needs_bun = |toolchain: &&&PackageToolchain| {
        let installs = toolchain.installation.as_ref();
        toolchain.runtime == Runtime::Bun
            || installs.is_some_and(|i| i.manager == PackageManager::Bun)
    };
    if toolchains.iter().any(|toolchain| needs_bun(&toolchain)) {
        let bun = toolchains.iter().find_map(|toolchain| {
            let installation = toolchain.installation.as_ref()?;
            (installation.manager == PackageManager::Bun).then(|| installation.tool.version.clone())
        });
        packages.insert(bun.map_or_else(|| "bun".to_owned(), |version| format!("bun@{version}")));
    }
    packages
}

/// Returns the name of a manager's cache, and the variables that move it. pnpm 11 and 12 read the second one only.
fn cache(manager: PackageManager) -> (&'static str, &'static [&'static str]) {
    match manager {
        PackageManager::Bun => ("bun", &["BUN_INSTALL_CACHE_DIR"]),
        PackageManager::Npm => ("npm", &["npm_config_cache"]),
        PackageManager::Pnpm => ("pnpm", &["npm_config_store_dir", "pnpm_config_store_dir"]),
        PackageManager::YarnClassic => ("yarn", &["YARN_CACHE_FOLDER"]),
        PackageManager::YarnBerry => ("yarn-berry", &["YARN_GLOBAL_FOLDER"]),
    }
}

/// Returns the paths in a container: every tool is on PATH under its own name.
fn paths(settings: &ContainerInputs, toolchains: &[&PackageToolchain]) -> CommandPaths {
    let tools = toolchains.iter().flat_map(|toolchain| toolchain.tools());
    let tools: BTreeMap<Tool, Utf8PathBuf> =
        tools.map(|tool| (tool.clone(), Utf8PathBuf::from(tool.name))).collect();
    CommandPaths {
        root: Utf8PathBuf::from(ROOT),
        bun: Utf8PathBuf::from("bun"),
        tools,
        path: Vec::new(),
        variables: settings.variables.clone(),
        plugins: None,
        compile_cache: None,
    }
}

/// Returns the calls that run a command of the host's plan in the container.
fn run(command: &ProcessCommand) -> Result<Vec<String>> {
    let mut calls = vec![call("with-workdir", &[command.dir.as_str()])?];
    for (name, value) in &command.env {
        if let EnvValue::Text(text) = value {
            calls.push(call("with-env-variable", &[name, text])?);
        }
    }
    if !command.path.is_empty() {
        let folders = command.path.iter().map(|dir| format!("{dir}:"));
        let path = folders.chain(["${XTASK_PATH}".to_owned()]).collect::<String>();
        calls.push(call("with-env-variable", &["PATH", &path])? + " --expand");
    }
    calls.push(exec(&command.argv)?);
    Ok(calls)
}

/// Returns the calls that pass the variables of builds to a container.
pub(super) fn build_variables(settings: &ContainerInputs) -> Result<Vec<String>> {
    let names: Vec<&str> = ContainerInputs::variables_in(&settings.variables.build).collect();
    secrets(&names)
}

/// Returns the calls that pass variables of the caller to the container. Their values are in no script and no output.
fn secrets(names: &[&str]) -> Result<Vec<String>> {
    names
        .iter()
        .map(|name| call("with-secret-variable", &[name, &format!("env://{name}")]))
        .collect()
}

/// Returns a call with arguments by position.
pub(super) fn call(name: &str, arguments: &[&str]) -> Result<String> {
    let words = arguments.iter().map(|word| quote(word)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{name} {}", words.join(" ")))
}

/// Returns the call that runs a program. After `--` the CLI does not parse words as options.
fn exec(argv: &[String]) -> Result<String> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    call("with-exec --", &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_a_path_without_special_characters() {
        assert_eq!(pattern("projects/a b/c"), "projects/a b/c");
        assert_eq!(pattern("projects/a,b/[id]"), "projects/a?b/?id?");
        assert_eq!(pattern("!x's"), "?x?s");
    }
}
