//! The pipeline as a file that `.gitlab-ci.yml` includes: it changes no other job, and no other job
//! changes it.

use super::condition::Condition;
use super::has_cache;
use super::runner;
use super::types::{Inherit, Job, OrderedMap, Pipeline, variables};
use workspace::pipeline::Stages;

/// The prefix of its jobs.
const PREFIX: &str = "xtask:";

impl Pipeline {
    /// Moves everything that applies to all jobs into the jobs themselves, and renames those.
    #[must_use]
    pub(super) fn into_included(mut self, stages: &Stages) -> Pipeline {
        let has_cache = has_cache(&self.jobs);
        for (name, job) in &mut self.jobs.0 {
            *name = with_prefix(name);
            job.stage = job.stage.take().map(|stage| match stage.as_str() {
                "check" => stages.check.clone(),
                "preview" => stages.preview.clone(),
                _ => stages.deploy.clone(),
            });
            job.extends.iter_mut().for_each(|base| *base = with_prefix(base));
            job.needs.iter_mut().flatten().for_each(|needed| *needed = with_prefix(needed));
            if let Some(stop) = job.environment.as_mut().and_then(|place| place.on_stop.as_mut()) {
                *stop = with_prefix(stop);
            }
            // A hidden job that extends nothing is where the others get these from.
            if job.extends.is_empty() && !name.contains(runner::DOCKER.trim_start_matches('.')) {
                if let Some(defaults) = &self.default {
                    job.image = Some(defaults.image.clone());
                    job.tags.clone_from(&defaults.tags);
                }
                // Their `before_script` is not meant for our image.
                job.inherit = Some(Inherit { default: false });
                let own = std::mem::take(&mut job.variables);
                job.variables = OrderedMap([self.variables.0.clone(), own.0].concat());
            }
            if has_cache {
                write_caches(job);
            }
        }
        Pipeline {
            head: self.head,
            workflow: None,
            stages: Vec::new(),
            default: None,
            variables: OrderedMap::default(),
            jobs: self.jobs,
        }
    }
}

/// Lets jobs of the default branch write caches, as `workflow` does otherwise.
fn write_caches(job: &mut Job) {
    let is_default = |condition: &Condition| match condition {
        Condition::All(all) => all.contains(&Condition::default_branch()),
        one => *one == Condition::default_branch(),
    };
    for rule in job.rules.iter_mut().filter(|rule| is_default(&rule.condition)) {
        rule.variables = variables(&[(runner::CACHE_POLICY, "pull-push")]);
    }
}

fn with_prefix(name: &str) -> String {
    match name.strip_prefix('.') {
        Some(hidden) => format!(".{PREFIX}{hidden}"),
        None => format!("{PREFIX}{name}"),
    }
}

/// Returns the name of a job as it is without the prefix.
pub(super) fn without_prefix(name: &str) -> String {
    name.replacen(PREFIX, "", 1)
}
