//! The content keys of projects.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use base::error::Result;
use deployment::builds::ProjectBuild;
use deployment::engine::build::variables::{digest_of, digests};
use deployment::plan::destination::Destination;
use workspace::Workspace;
use workspace::dev_vars::DevVars;
use workspace::git::KnownFiles;
use workspace::inputs::{self, Inputs};
use workspace::key::content_key;
use workspace::modules;
use workspace::project::Project;
use workspace::toolchain::Toolchain;

/// Returns the content key of each build's project, from its input files and tools, or the refusal of a missing input.
/// With `known` files, git does not list them again.
pub fn content_keys(
    workspace: &Workspace,
    builds: &[ProjectBuild<'_>],
    destination: &Destination,
    known: Option<&KnownFiles<'_>>,
) -> Result<Vec<Result<String>>> {
    let carried = Toolchain::wrangler(&workspace.root).carried_digest();
    let pins = Utf8PathBuf::from(modules::WRANGLER_TOOLCHAIN).join("bun.lock");
    let pins: Vec<&Utf8Path> = carried.is_none().then_some(pins.as_path()).into_iter().collect();
    let projects: Vec<&Project> = builds.iter().map(|one| one.project).collect();
    let inputs = inputs::read(workspace, &projects, &pins, known)?;
    let mut shared = BTreeMap::from([
        ("account", destination.account_id.clone()),
        ("bun", workspace.config.tools.bun.clone()),
        ("environment", destination.environment.clone()),
    ]);
    shared.extend(carried.map(|digest| ("wrangler", digest)));
    let variables = digests(&workspace.config.variables.build);
    if !variables.is_empty() {
        shared.insert("variables", format!("{variables:?}"));
    }
    let key = |(one, inputs): (&ProjectBuild<'_>, &Inputs)| {
        if let Some(refusal) = &inputs.refusal {
            return Err(refusal.clone());
        }
        let mut facts = shared.clone();
        let tools = one.build.as_ref().ok().and_then(|build| build.toolchain.fact());
        facts.extend(tools.map(|tools| ("tools", tools)));
        facts.extend(default_secrets(&workspace.root, one.project, destination));
        Ok(content_key(&inputs.blobs, &facts))
    };
    Ok(builds.iter().zip(&inputs).map(key).collect())
}

/// Returns the digests of the default secrets that the sandbox gets, since git ignores their file. `None` if there are
/// none, or if they cannot be read, which the deployment reports.
fn default_secrets(
    root: &Utf8Path,
    project: &Project,
    destination: &Destination,
) -> Option<(&'static str, String)> {
    let environment = &destination.environment;
    destination.sandbox?;
    let target = project.target(environment);
    let secrets = DevVars::read(root, &project.dir, environment, &target).ok()??;
    let values = secrets.values.into_iter().map(|(name, value)| (name, digest_of(&value)));
    Some(("secrets", format!("{:?}", values.collect::<BTreeMap<_, _>>())))
}
