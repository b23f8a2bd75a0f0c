//! Executes plans: several projects in parallel, each with its own record.

pub mod build;
pub mod choice;
mod deployment;
pub mod health;
pub mod live;
pub mod lock;
pub mod phases;
pub mod previews;
pub mod project_run;
pub mod queue;
pub mod setup;
pub mod traffic;
pub mod upload;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base::mutex;
use camino::Utf8PathBuf;
use cloudflare::wrangler_fields::ConfigSchema;

use crate::context::Ctx;
use crate::plan::commands::CommandPaths;
use crate::plan::{Plan, ProjectPlan};
use crate::record::{Record, ToolVersions};
use base::error::Result;
use build::install::{OncePerFolder, RunLocks};
use deployment::{Progress, ProjectDeployment};
use phases::Phases;
use project_run::ProjectRun;
use queue::{DeployQueue, NextProject};

/// Values that the deployments of one run share.
pub struct RunContext<'a> {
    /// The context of the run.
    pub ctx: &'a Ctx,
    /// The whole plan.
    pub plan: &'a Plan,
    /// The paths of the tools.
    pub paths: CommandPaths,
    /// The versions of the tools.
    pub versions: ToolVersions,
    /// The numbered phases of the run.
    pub phases: Phases,
    /// One lock per package, because two projects may share a package.
    packages: Mutex<BTreeMap<Utf8PathBuf, Arc<Mutex<()>>>>,
    /// The locks on folders that other runs also install or build.
    locks: RunLocks,
    /// The durations of installs, by the folder of the lock file.
    installs: OncePerFolder<Duration>,
    /// Builds of packages that projects import, by folder.
    builds: OncePerFolder<()>,
    /// The schema of wrangler's config. Read once for all projects, because it is long.
    schema: OnceLock<Result<ConfigSchema>>,
    /// Set once the sandbox was asked for the storage of the projects.
    storage: OnceLock<()>,
}

impl<'a> RunContext<'a> {
    /// Creates a run of `plan`. The tools are installed.
    #[must_use]
    pub fn new(
        ctx: &'a Ctx,
        plan: &'a Plan,
        paths: CommandPaths,
        versions: ToolVersions,
        phases: Phases,
    ) -> RunContext<'a> {
        RunContext {
            ctx,
            plan,
            paths,
            versions,
            phases,
            packages: Mutex::default(),
            locks: RunLocks::default(),
            installs: OncePerFolder::default(),
            builds: OncePerFolder::default(),
            schema: OnceLock::new(),
            storage: OnceLock::new(),
        }
    }

    /// Executes the plan with `jobs` parallel projects, and returns a saved record for each, in the plan's order. A
    /// failed project stops only those whose configs name its Worker. A project that only waits for responses does
    /// not count as one of the `jobs`.
    #[must_use]
    pub fn execute(&self) -> Vec<Record> {
        let all = DeployQueue::new(self.plan);
        std::thread::scope(|scope| {
            let queue = &all;
            let work = move || {
                while let Some(NextProject { index, project, blocked_by }) = queue.next() {
                    let run = ProjectRun::new(self, project);
                    if let Some(refusal) = blocked_by {
                        queue.finish(index, ProjectDeployment::refuse(run, &refusal));
                        continue;
                    }
                    match ProjectDeployment::start(run) {
                        Progress::Finished(record) => queue.finish(index, *record),
                        Progress::Uploaded(deployment, uploaded) => {
                            scope.spawn(move || queue.finish(index, deployment.check(uploaded)));
                        }
                    }
                }
            };
            scope.spawn(|| upload::storage::provide_storage(self));
            for _ in 0..self.ctx.jobs.min(self.plan.projects.len()) {
                scope.spawn(work);
            }
        });
        all.into_records()
    }

    /// Returns the schema of wrangler's config.
    pub(super) fn wrangler_schema(&self) -> Result<&ConfigSchema> {
        let read = || setup::wrangler_schema(&self.ctx.root);
        self.schema.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    /// Returns the lock of the package that builds `project`.
    pub(super) fn package_lock(&self, project: &ProjectPlan) -> Arc<Mutex<()>> {
        let dir = project.build.as_ref().unwrap_or(&project.dir);
        let mut packages = mutex::lock(&self.packages);
        Arc::clone(packages.entry(dir.clone()).or_default())
    }
}
