//! The parts of `.gitlab-ci.yml` that we use, as GitLab names them
//! (<https://docs.gitlab.com/ci/yaml/>).

use serde::{Serialize, Serializer};

use super::condition::Condition;

/// A map in the order in which it is written.
#[derive(Clone, Debug, Default)]
pub struct OrderedMap<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for OrderedMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<T> OrderedMap<T> {
    /// The value called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Variables of a pipeline, a job or a rule.
pub type VariableMap = OrderedMap<String>;

/// Variables from pairs.
#[must_use]
pub fn variables(pairs: &[(&str, &str)]) -> VariableMap {
    OrderedMap(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The whole file.
#[derive(Clone, Debug, Serialize)]
pub struct Pipeline {
    /// The comment that it begins with.
    #[serde(skip)]
    pub head: String,
    /// When there is a pipeline at all. `None` in an included file, as `stages` and `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Workflow>,
    /// The stages in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<&'static str>,
    /// The defaults of every job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Defaults>,
    /// The variables of every job.
    #[serde(skip_serializing_if = "OrderedMap::is_empty")]
    pub variables: VariableMap,
    /// The jobs by name; names that start with a dot are only extended.
    #[serde(flatten)]
    pub jobs: OrderedMap<Job>,
}

/// When there is a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Workflow {
    /// The jobs that a newer pipeline of the same branch or merge request cancels.
    pub auto_cancel: AutoCancel,
    /// The first rule that applies decides; none means no pipeline.
    pub rules: Vec<Rule>,
}

/// The choice of jobs that are cancelled.
#[derive(Clone, Debug, Serialize)]
pub struct AutoCancel {
    /// On a new commit: jobs that say that they are `interruptible`.
    pub on_new_commit: &'static str,
}

/// The defaults of every job.
#[derive(Clone, Debug, Serialize)]
pub struct Defaults {
    /// The image that it runs in.
    pub image: String,
    /// The tags of its runner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// When a job is made, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// The condition.
    #[serde(rename = "if")]
    pub condition: Condition,
    /// And one of these paths changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<String>>,
    /// `manual` where a person starts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'static str>,
    /// `true` if the pipeline continues without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_failure: Option<bool>,
    /// Variables that it sets.
    #[serde(skip_serializing_if = "OrderedMap::is_empty")]
    pub variables: VariableMap,
}

impl Rule {
    /// A rule with nothing but a condition.
    #[must_use]
    pub fn when(condition: Condition) -> Rule {
        let variables = OrderedMap::default();
        Rule { condition, changes: None, when: None, allow_failure: None, variables }
    }

    /// A person starts the job, and the pipeline does not wait for it.
    #[must_use]
    pub fn by_hand(condition: Condition) -> Rule {
        Rule { when: Some("manual"), allow_failure: Some(true), ..Rule::when(condition) }
    }
}

/// A job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Job {
    /// The jobs that it takes over everything from, later ones winning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<String>,
    /// The image that it runs in. `None` for the default image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The tags of its runner. `None` for the default tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// When it is made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The jobs that it waits for; an empty list waits for none, nothing for the earlier stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<String>>,
    /// The keys that it inherits from those that apply to all jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherit: Option<Inherit>,
    /// The services of the job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Its variables.
    #[serde(skip_serializing_if = "OrderedMap::is_empty")]
    pub variables: VariableMap,
    /// The caches that it keeps for the next pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<JobCache>,
    /// The lines that run before the script, in the same shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_script: Vec<String>,
    /// The lines that it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<String>,
    /// The environment that it deploys to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<JobEnvironment>,
    /// Jobs of the same group run one after the other, over all pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_group: Option<String>,
    /// `true` if a newer pipeline cancels it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruptible: Option<bool>,
    /// The longest time that it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<&'static str>,
    /// The files that it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
}

/// The inheritance of a job from the keys that apply to all jobs.
#[derive(Clone, Debug, Serialize)]
pub struct Inherit {
    /// `true` if it inherits the keys below `default`.
    pub default: bool,
}

/// A service: a container that runs next to a job.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    /// Its image.
    pub name: String,
    /// The host name that the job reaches it by.
    pub alias: &'static str,
}

/// A cache between pipelines.
#[derive(Clone, Debug, Serialize)]
pub struct JobCache {
    /// The key that it belongs to.
    pub key: CacheKey,
    /// The paths that it holds.
    pub paths: Vec<&'static str>,
    /// The policy: read, written or both.
    pub policy: String,
}

/// A cache's name.
#[derive(Clone, Debug, Serialize)]
pub struct CacheKey {
    /// The name's start.
    pub prefix: &'static str,
    /// The files whose last change makes the rest of it.
    pub files: Vec<&'static str>,
}

/// The environment that a job deploys to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobEnvironment {
    /// The name. The part before the first slash groups environments on GitLab's page.
    pub name: String,
    /// The address behind the button *Open*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The job that stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_stop: Option<String>,
    /// The time after which it is stopped automatically.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_stop_in: Option<String>,
    /// `stop` for a job that stops it, `access` for one that only has its variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
}

/// The files that a job leaves.
#[derive(Clone, Debug, Serialize)]
pub struct Artifacts {
    /// Also when it failed.
    pub when: &'static str,
    /// The time for which they are kept.
    pub expire_in: &'static str,
    /// Files to look at.
    pub paths: Vec<&'static str>,
    /// Files that GitLab reads.
    pub reports: Reports,
}

/// Files that GitLab reads.
#[derive(Clone, Debug, Serialize)]
pub struct Reports {
    /// Variables for `environment.url`.
    pub dotenv: &'static str,
    /// Links on the job's page.
    pub annotations: &'static str,
}
