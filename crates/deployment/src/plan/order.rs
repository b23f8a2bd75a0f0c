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
pub(super) fn sort(mut projects: Vec<ProjectPlan>) -> Vec<ProjectPlan> {
    let workers: Vec<(&str, &BTreeSet<String>)> = projects
        .iter()
        .map(|project| (project.target.worker.as_str(), &project.target.bound_workers))
        .collect();
    let order = DeployOrder::new(&workers);
    let names: Vec<String> = projects.iter().map(|project| project.name.clone()).collect();
    let names_of = |positions: &BTreeSet<usize>| -> Vec<String> {
        positions.iter().map(|at| names[*at].clone()).collect()
    };
    for (at, project) in projects.iter_mut().enumerate() {
        project.after = names_of(&order.after[at]);
        project.bound_later = names_of(&order.bound_later[at]);
    }
    let mut sorted: Vec<Option<ProjectPlan>> = projects.into_iter().map(Some).collect();
    order.order.iter().filter_map(|at| sorted[*at].take()).collect()
}

/// Returns the refusal of a project that is bound to the project `other`, with the `reason` that one is not deployed.
pub(crate) fn bound_to(
    project: &ProjectPlan,
    other: &str,
    reason: &str,
    destination: &Destination,
) -> Error {
    let name = &project.name;
    let again = destination.command_line("deploy", name);
    refused(format!("{name} was not deployed: it is bound to {other}, which {reason}"))
        .hint(format!("fix {other} and deploy both again"))
        .hint(format!("or run `{again}`, which binds it to what is live of {other}"))
}

/// Finds the projects that each project is bound to, and those that are bound to each other, also outside of the run: a job of
/// the pipeline deploys one project.
pub(super) fn find_cycles(plans: &mut [ProjectPlan], projects: &[Project], environment: &str) {
    if plans.iter().all(|plan| plan.target.bound_workers.is_empty()) {
        return;
    }
    let (mut names, mut bound) = (BTreeMap::new(), BTreeMap::new());
    for project in projects {
        let target = project.target(environment);
        names.insert(target.worker.clone(), project.name.clone());
        bound.insert(target.worker, target.bound_workers);
    }
    for plan in plans {
        let worker = &plan.target.worker;
        let others = plan.target.bound_workers.iter();
        let members = others.filter(|other| *other != worker && is_bound(&bound, other, worker));
        let projects = plan.target.bound_workers.iter().filter(|other| *other != worker);
        plan.bound_projects =
            projects.filter_map(|other| Some((other.clone(), names.get(other)?.clone()))).collect();
        plan.cycle = members
            .filter_map(|other| {
                let project = names.get(other)?.clone();
                Some(CycleMember { project, worker: other.clone() })
            })
            .collect();
    }
}
