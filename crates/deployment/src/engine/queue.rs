//! Orders the projects of a run. A project is deployed after those whose Workers its config names, and is skipped if
//! one of them failed. A project and one that it imports are not built at the same time.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::plan::order::bound_to;
use crate::plan::{Operation, Plan, ProjectPlan};
use crate::record::Record;
use base::error::{Error, ErrorKind};
use base::mutex;
use workspace::paths::normalize;

/// The waiting projects of a run, and the records of the finished ones.
pub struct DeployQueue<'p> {
    plan: &'p Plan,
    state: Mutex<QueueState>,
    changed: Condvar,
}

/// A project that can start.
pub struct NextProject<'p> {
    /// Its position in the plan.
    pub index: usize,
    /// Its plan.
    pub project: &'p ProjectPlan,
    /// The reason why it must not be deployed.
    pub blocked_by: Option<Error>,
}

#[derive(Debug, Default)]
struct QueueState {
    /// The positions of the projects that have not begun.
    waiting: Vec<usize>,
    /// The positions of those that have begun and are not done.
    running: Vec<usize>,
    /// The records by position.
    records: BTreeMap<usize, Record>,
}

impl<'p> DeployQueue<'p> {
    /// Creates the queue of a plan.
    #[must_use]
    pub fn new(plan: &'p Plan) -> DeployQueue<'p> {
        let waiting = (0..plan.projects.len()).collect();
        let state = QueueState { waiting, ..QueueState::default() };
        DeployQueue { plan, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Returns the next project. Waits until one can start. `None` if all have started.
    #[must_use]
    pub fn next(&self) -> Option<NextProject<'p>> {
        let mut state = self.lock();
        loop {
            let is_ready = |at: &usize| {
                let project = &self.plan.projects[*at];
                let is_done = |name: &String| state.record(self.plan, name).is_some();
                let mut running = state.running.iter().map(|at| &self.plan.projects[*at]);
                project.after.iter().all(is_done)
                    && !running.any(|other| share_output(project, other))
            };
            if let Some(at) = state.waiting.iter().position(is_ready) {
                let index = state.waiting.remove(at);
                state.running.push(index);
                let project = &self.plan.projects[index];
                let blocked_by = self.blocking_failure(&state, project);
                return Some(NextProject { index, project, blocked_by });
            }
            if state.waiting.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stores the record of a finished project, so that others can start.
    pub fn finish(&self, index: usize, record: Record) {
        let mut state = self.lock();
        state.running.retain(|at| *at != index);
        state.records.insert(index, record);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the records in the plan's order.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        let state = mutex::into_inner(self.state);
        state.records.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        mutex::lock(&self.state)
    }

    /// Returns the reason why a project is not deployed: its config names the Worker of a project that was not
    /// deployed.
    fn blocking_failure(&self, state: &QueueState, project: &ProjectPlan) -> Option<Error> {
        if self.plan.operation != Operation::Deploy {
            return None;
        }
        let is_failed = |name: &&String| {
            let kind = state.record(self.plan, name).and_then(|record| record.status.error_kind());
            kind.is_some_and(|kind| kind != ErrorKind::Interrupted)
        };
        let name = project.after.iter().find(is_failed)?;
        Some(bound_to(project, name, "failed", &self.plan.destination))
    }
}

/// Returns true if one of two projects is built in a folder that the other one imports, or if the `build.command` of one runs
/// in a folder of the other. wrangler bundles what it wrote last.
fn share_output(one: &ProjectPlan, other: &ProjectPlan) -> bool {
    let runs_in = |project: &ProjectPlan, other: &ProjectPlan| {
        let folder = project.target.build_command_folder.as_ref();
        let folder = folder.and_then(|folder| normalize(&project.dir.join(folder)));
        folder.is_some_and(|folder| {
            let of_command = other.target.build_command_folder.as_ref();
            let of_command = of_command.and_then(|path| normalize(&other.dir.join(path)));
            folder == other.dir
                || Some(&folder) == other.build.as_ref()
                || Some(folder) == of_command
        })
    };
    if runs_in(one, other) || runs_in(other, one) {
        return true;
    }
    let imports = |importer: &ProjectPlan, imported: &ProjectPlan| {
        let folder = imported.build.as_ref().unwrap_or(&imported.dir);
        importer.build_plan.dependencies.iter().any(|build| build.dir == *folder)
    };
    imports(one, other) || imports(other, one)
}

impl QueueState {
    fn record(&self, plan: &Plan, name: &str) -> Option<&Record> {
        self.records.iter().find_map(|(index, record)| {
            plan.projects.get(*index).is_some_and(|project| project.name == name).then_some(record)
        })
    }
}

/// Returns the way to deploy Workers for the first time that are bound to each other. `None` for others, and if
/// `error` names none of them.
pub(crate) fn first_deployment_hint(project: &ProjectPlan, error: &str) -> Option<String> {
    let is_missing = |worker: &str| error.contains(&format!("'{worker}'"));
    let others = project.cycle.iter().filter(|other| is_missing(&other.worker));
    let others: Vec<&str> = others.map(|other| other.project.as_str()).collect();
    (!others.is_empty()).then(|| {
        format!(
            "{} and {} are bound to each other, so the first one has to be deployed once without the binding: remove it \
             from {}, deploy both, put it back and deploy again",
            project.name,
            others.join(", "),
            project.config
        )
    })
}

/// Returns a note on projects that are bound to each other. `None` if there are none.
#[must_use]
pub fn cycle_note(plan: &Plan) -> Option<String> {
    let parts: Vec<String> = plan
        .projects
        .iter()
        .filter(|project| !project.bound_later.is_empty())
        .map(|project| format!("{} before {}", project.name, project.bound_later.join(", ")))
        .collect();
    (!parts.is_empty()).then(|| {
        format!("Workers are bound to each other; deployed in this order: {}", parts.join("; "))
    })
}
