//! Refuses a project below a lock file that does not install its dependencies, because it is no member of the workspace.
//! Without the refusal, the install succeeds and the bundle fails.

use serde_json::Value;

use super::installation::{IGNORE_WORKSPACE, Installation};
use super::locks::LockFile;
use super::manifest::read_manifest;
use super::members::find_root;
use super::package::Package;
use super::package_manager::PackageManager;
use super::spec::Spec;
use crate::Workspace;
use crate::config::LOCAL;
use crate::files::folder_name;
use crate::files::names::{MANIFEST, PNPM, YARN_LOCK};
use crate::projects::project::Project;
use base::error::{Error, Result, refused};
use base::text::list_first;

/// The number of dependencies that a refusal names.
const MAX_LISTED_DEPENDENCIES: usize = 3;

/// Packages that no code of a Worker imports.
const TOOLS: [&str; 3] = ["wrangler", "typescript", "@cloudflare/workers-types"];

/// Programs that xtask puts on PATH.
const ON_PATH: [&str; 7] = ["wrangler", "node", "bun", "npm", "npx", "pnpm", "yarn"];

/// Extensions of code that imports packages.
const CODE: [&str; 7] = ["js", "mjs", "cjs", "ts", "mts", "jsx", "tsx"];

/// Settings with which pnpm puts all packages where the code of every folder finds them.
const HOISTS: [&str; 6] = [
    "shamefully-hoist=true",
    "shamefullyHoist: true",
    "node-linker=hoisted",
    "nodeLinker: hoisted",
    "public-hoist-pattern",
    "publicHoistPattern",
];

/// Refuses dependencies of `project` that `install` does not install where its code or its build finds them. What Node finds
/// in a folder above counts as installed.
pub fn check(workspace: &Workspace, project: &Project, install: &Installation) -> Result<()> {
    let Some(package) = &project.package else { return Ok(()) };
    let Ok(below) = package.dir.strip_prefix(&install.dir) else { return Ok(()) };
    if below.as_str().is_empty() || project.module || is_member(workspace, install, package) {
        return Ok(());
    }
    let wanted = required_dependencies(project, package);
    if wanted.is_empty() || installs_itself(workspace, project, package, install) {
        return Ok(());
    }
    let text = std::fs::read_to_string(workspace.root.join(&install.dir).join(install.lock));
    let Some(lock) = LockFile::parse(install.lock, &text.unwrap_or_default()) else {
        return Ok(());
    };
    if lock.covers(below.as_str()) {
        return Ok(());
    }
    let is_hoisted = install.manager != PackageManager::Pnpm || hoists(workspace, install);
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|name| !is_found_above(workspace, package, install, name))
        .filter(|name| !(is_hoisted && lock.names(name)))
        .filter(|name| {
            let spec = package.local_dependencies.get(*name);
            let is_member =
                || workspace.packages.values().any(|other| other.name.as_deref() == Some(name));
            // Unlike other managers, pnpm puts no member into the folder of the root.
            spec.is_some_and(|spec| Spec::parse(spec).is_local()) || !(is_hoisted && is_member())
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(refusal(workspace, package, install, &missing)) }
}

/// Returns true if the root's manager installs the package as a member. Yarn follows the members of members.
fn is_member(workspace: &Workspace, install: &Installation, package: &Package) -> bool {
    let Some(root) = workspace.roots.get(install.dir.as_str()) else { return false };
    let below = package.dir.strip_prefix(&install.dir).unwrap_or(&package.dir);
    let is_yarn =
        matches!(install.manager, PackageManager::YarnClassic | PackageManager::YarnBerry);
    root.installs(below)
        || (is_yarn && find_root(&workspace.roots, &package.dir) == Some(install.dir.as_str()))
}

/// Returns the dependencies that the code or the build of the project surely needs: those that a Worker imports, and those
/// whose programs the build runs.
fn required_dependencies<'p>(project: &Project, package: &'p Package) -> Vec<&'p str> {
    let target = project.target(LOCAL);
    let has_code = target
        .main
        .as_ref()
        .is_some_and(|main| main.extension().is_some_and(|extension| CODE.contains(&extension)));
    let build = build_text(project, package);
    let aliases = &project.wrangler.value["alias"];
    let is_imported = |name: &str| {
        package.runtime_dependencies.contains(name)
            && !TOOLS.contains(&name)
            && !name.starts_with("@types/")
            && aliases[name].is_null()
    };
    let words: Vec<&str> =
        build.split(|c: char| c.is_whitespace() || "&|;()".contains(c)).collect();
    let is_run = |name: &str| {
        let program = if name == "typescript" { "tsc" } else { name };
        !ON_PATH.contains(&name) && words.contains(&program)
    };
    let all = package.named_dependencies.keys().chain(package.local_dependencies.keys());
    all.map(String::as_str)
        .filter(|name| ((has_code || !build.is_empty()) && is_imported(name)) || is_run(name))
        .collect()
}

/// Returns the commands of the build. Empty if there is none.
fn build_text(project: &Project, package: &Package) -> String {
    let target = project.target(LOCAL);
    let own = package.builds().then(|| match package.settings.build.commands() {
        [] => package.build_script.clone().unwrap_or_default(),
        commands => commands.join(" && "),
    });
    let command = project.wrangler.value["build"]["command"].as_str().map(str::to_owned);
    [own, target.build_command, command].into_iter().flatten().collect::<Vec<_>>().join(" && ")
}

/// Returns true if a script of the package or of the root, or the wrangler config, may install the dependencies.
fn installs_itself(
    workspace: &Workspace,
    project: &Project,
    package: &Package,
    install: &Installation,
) -> bool {
    let manifests = [&package.dir, &install.dir].map(|dir| read_manifest(&workspace.root, dir));
    let scripts = manifests.iter().flatten().filter_map(|manifest| manifest["scripts"].as_object());
    let texts = scripts.flat_map(|scripts| scripts.values()).filter_map(Value::as_str);
    let build = build_text(project, package);
    texts.chain([build.as_str()]).any(|text| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.iter().any(|word| ["install", "i", "ci"].contains(word))
            || words.ends_with(&["yarn"])
            || text.contains("yarn &&")
    })
}

/// Returns true if pnpm hoists packages to the root's `node_modules`.
fn hoists(workspace: &Workspace, install: &Installation) -> bool {
    [PNPM, ".npmrc"].iter().any(|name| {
        let text = std::fs::read_to_string(workspace.root.join(&install.dir).join(name));
        let text = text.unwrap_or_default();
        HOISTS.iter().any(|setting| text.replace(" = ", "=").contains(setting))
    })
}

/// Returns true if the root, or a member of its workspace between the root and the package, depends on `name`.
fn is_found_above(
    workspace: &Workspace,
    package: &Package,
    install: &Installation,
    name: &str,
) -> bool {
    let above = package.dir.ancestors().skip(1).take_while(|dir| dir.starts_with(&install.dir));
    let mut owners = above.filter_map(|dir| workspace.packages.get(dir.as_str()));
    owners.any(|owner| {
        let all = [&owner.named_dependencies, &owner.local_dependencies, &owner.peer_dependencies];
        (owner.dir == install.dir || is_member(workspace, install, owner))
            && all.iter().any(|specs| specs.contains_key(name))
    })
}

fn refusal(
    workspace: &Workspace,
    package: &Package,
    install: &Installation,
    missing: &[&str],
) -> Error {
    let (program, dir) = (install.manager.program(), &package.dir);
    let root = folder_name(&install.dir);
    let below = dir.strip_prefix(&install.dir).unwrap_or(dir);
    let is_root = workspace.roots.contains_key(install.dir.as_str());
    let why = if is_root {
        format!("{dir} is no member of the {} workspace in {root}", install.manager.product())
    } else {
        format!("{root} has no workspace")
    };
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let failure = refused(format!(
        "{} depends on {}, which {} does not install, because {why}",
        dir.join(MANIFEST),
        list_first(MAX_LISTED_DEPENDENCIES, &names),
        install.dir.join(install.lock)
    ));
    let list = match (install.manager, is_root) {
        (PackageManager::Pnpm, true) => format!("`packages` in {}", install.dir.join(PNPM)),
        (PackageManager::Pnpm, false) => format!("`packages` in a new {}", install.dir.join(PNPM)),
        _ => format!("`workspaces` in {}", install.dir.join(MANIFEST)),
    };
    let lock = install.lock;
    let own = match install.manager {
        PackageManager::Pnpm if is_root => {
            format!("run `pnpm install {IGNORE_WORKSPACE}` in {dir}")
        }
        // Yarn berry installs the root if there is none.
        PackageManager::YarnBerry => {
            format!("create an empty {YARN_LOCK} in {dir}, run `yarn install` there")
        }
        _ => format!("run `{program} install` in {dir}"),
    };
    failure
        .hint(format!(
            "add `{below}` to {list}, run `{program} install` in {root} and commit {lock}"
        ))
        .hint(format!("or give it its own lock file: {own} and commit {}", dir.join(lock)))
}
