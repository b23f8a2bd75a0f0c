//! Orders the projects of a plan by the Workers that their configs name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use workspace::bound_workers::{DeployOrder, is_bound};
use workspace::project::Project;

use super::ProjectPlan;
use super::destination::Destination;
use base::error::{Error, refused};

/// A project whose Worker is bound to another one that is bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CycleMember {
    /// The project.
    pub project: String,
    /// Its Worker.
    pub worker: String,
}

/// Sorts each project after those whose Workers its config names.
pub(super) fn sort(mut parts: Vec<ProjectPlan>) -> Vec<ProjectPlan> {
    let workers: Vec<(&str, &BTreeSet<String>)> = parts
        .iter()
        .map(|part| (part.target.worker.as_str(), &part.target.bound_workers))
        .collect();
    let order = DeployOrder::new(&workers);
    let names: Vec<String> = parts.iter().map(|part| part.project.clone()).collect();
    let names_of = |positions: &BTreeSet<usize>| -> Vec<String> {
        positions.iter().map(|at| names[*at].clone()).collect()
    };
    for (at, part) in parts.iter_mut().enumerate() {
        part.after = names_of(&order.after[at]);
        part.bound_later = names_of(&order.bound_later[at]);
    }
    let mut parts: Vec<Option<ProjectPlan>> = parts.into_iter().map(Some).collect();
    order.order.iter().filter_map(|at| parts[*at].take()).collect()
}

/// Returns the refusal of a project that is bound to the project `name`, with the `reason` that one is not deployed.
pub(crate) fn bound_to(
    part: &ProjectPlan,
    name: &str,
    reason: &str,
    destination: &Destination,
) -> Error {
    let project = &part.project;
    let again = destination.command_line("deploy", project);
    refused(format!("{project} was not deployed: it is bound to {name}, which {reason}"))
        .hint(format!("fix {name} and deploy both again"))
        .hint(format!("or run `{again}`, which binds it to what is live of {name}"))
}

/// Finds the projects that each project is bound to, and those that are bound to each other, also outside of the run: a job of
/// the pipeline deploys one project.
pub(super) fn find_cycles(parts: &mut [ProjectPlan], projects: &[Project], environment: &str) {
    if parts.iter().all(|part| part.target.bound_workers.is_empty()) {
        return;
    }
    let (mut names, mut bound) = (BTreeMap::new(), BTreeMap::new());
    for project in projects {
        let target = project.target(environment);
        names.insert(target.worker.clone(), project.name.clone());
        bound.insert(target.worker, target.bound_workers);
    }
    for part in parts {
        let worker = &part.target.worker;
        let others = part.target.bound_workers.iter();
        let members = others.filter(|other| *other != worker && is_bound(&bound, other, worker));
        let projects = part.target.bound_workers.iter().filter(|other| *other != worker);
        part.bound_projects =
            projects.filter_map(|other| Some((other.clone(), names.get(other)?.clone()))).collect();
        part.cycle = members
            .filter_map(|other| {
                let project = names.get(other)?.clone();
                Some(CycleMember { project, worker: other.clone() })
            })
            .collect();
    }
}
