//! Defines the stored format of a project, with its merge requests, notes, deployments and environments.

use serde::{Deserialize, Serialize};

/// A project. Each project is a file on disk.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct StoredProject {
    /// Its id.
    pub id: u64,
    /// Its full path, such as `sandbox/project-1`.
    pub path: String,
    /// The last id that was assigned in this project. Ids are unique in the instance.
    pub last_id: u64,
    /// Merge requests, oldest first.
    pub merge_requests: Vec<StoredMergeRequest>,
    /// Deployments, oldest first.
    pub deployments: Vec<StoredDeployment>,
    /// Environments, oldest first.
    pub environments: Vec<StoredEnvironment>,
    /// CI/CD variables.
    #[serde(default)]
    pub variables: Vec<ProjectVariable>,
    /// Pipeline schedules, oldest first.
    #[serde(default)]
    pub schedules: Vec<StoredSchedule>,
}

/// A pipeline schedule.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredSchedule {
    /// The id in the instance.
    pub id: u64,
    /// Its description.
    pub description: String,
    /// The branch or tag, as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The cron expression, which has five fields.
    pub cron: String,
    /// The time zone of `cron`.
    pub cron_timezone: String,
    /// `true` if it is active.
    pub active: bool,
    /// The user whose rights its pipelines have.
    pub owner: StoredUser,
    /// The time of its creation.
    pub created_at: String,
}

/// A variable, without its value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProjectVariable {
    /// Its name.
    pub key: String,
    /// `true` if only protected branches and tags can read it.
    pub protected: bool,
    /// `true` if job logs mask it.
    pub masked: bool,
    /// The environments whose jobs can read it.
    pub scope: String,
    /// `true` if its value is empty.
    pub empty: bool,
}

/// A user: a person or a bot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct StoredUser {
    /// The id, which depends only on the username.
    pub id: u64,
    /// The name after the `@`.
    pub username: String,
    /// The display name.
    pub name: String,
}

/// A merge request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredMergeRequest {
    /// The id in the instance. URLs contain the `iid` instead.
    pub id: u64,
    /// The number in its project.
    pub iid: u64,
    /// The title.
    pub title: String,
    /// The description, Markdown.
    pub description: String,
    /// `opened`, `closed` or `merged`.
    pub state: MergeRequestState,
    /// The branch with the changes.
    pub source_branch: String,
    /// The branch into which it is merged.
    pub target_branch: String,
    /// The project of the source branch, which differs for a fork.
    pub source_project: u64,
    /// The user who opened it.
    pub author: StoredUser,
    /// The usernames of its assignees.
    pub assignees: Vec<String>,
    /// The usernames of its approvers.
    pub approved_by: Vec<String>,
    /// The labels.
    pub labels: Vec<String>,
    /// `true` if only members may comment.
    pub locked: bool,
    /// The newest commit of the source branch. Generated if the client sent none.
    #[serde(default)]
    pub sha: String,
    /// The time when it was closed or merged, and the user who did so.
    #[serde(default)]
    pub ended: Option<(String, StoredUser)>,
    /// The time when it was opened.
    pub created_at: String,
    /// The time of its last change.
    pub updated_at: String,
    /// Comments and system notes, oldest first.
    pub notes: Vec<StoredNote>,
}

/// The state of a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeRequestState {
    /// Open, which the API calls `opened`.
    #[serde(rename = "opened")]
    Open,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged,
}

/// A comment, or a system note about a change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredNote {
    /// The id in the instance.
    pub id: u64,
    /// The Markdown text, without quick actions.
    pub body: String,
    /// The user who wrote it.
    pub author: StoredUser,
    /// The time when it was written.
    pub created_at: String,
    /// The time of the last edit, or of its creation.
    pub updated_at: String,
    /// `true` for a system note.
    pub system: bool,
    /// `true` if guests cannot read it.
    pub internal: bool,
}

/// A deployment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredDeployment {
    /// The id in the instance.
    pub id: u64,
    /// The number in its project.
    pub iid: u64,
    /// The environment, by its name.
    pub environment: String,
    /// The commit.
    pub sha: String,
    /// The branch or tag.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `true` if `ref` is a tag.
    pub tag: bool,
    /// `created`, `running`, `success`, `failed`, `canceled`.
    pub status: String,
    /// The user who deployed.
    pub user: StoredUser,
    /// The time of its creation.
    pub created_at: String,
    /// The time of its last change of status.
    pub updated_at: String,
}

/// An environment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredEnvironment {
    /// The id in the instance.
    pub id: u64,
    /// Its name. The part before a slash is its folder.
    pub name: String,
    /// Its URL.
    pub external_url: Option<String>,
    /// `available` or `stopped`.
    pub state: String,
    /// `production`, `staging`, `testing`, `development` or `other`.
    pub tier: String,
    /// The time of its creation.
    pub created_at: String,
    /// The time of its last change.
    pub updated_at: String,
    /// Its description.
    #[serde(default)]
    pub description: Option<String>,
}

impl StoredProject {
    /// Returns the merge request with this `iid`.
    #[must_use]
    pub fn merge_request(&self, iid: u64) -> Option<&StoredMergeRequest> {
        self.merge_requests.iter().find(|merge_request| merge_request.iid == iid)
    }

    /// Returns the environment of this name.
    #[must_use]
    pub fn environment(&self, name: &str) -> Option<&StoredEnvironment> {
        self.environments.iter().find(|environment| environment.name == name)
    }
}
