//! Defines the shape of a project: merge requests with their notes, deployments, environments.

use serde::{Deserialize, Serialize};

/// A project, one file on disk.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Project {
    /// Its id.
    pub id: u64,
    /// Its full path, as `sandbox/project-1`.
    pub path: String,
    /// The last id that was given out in it. Ids are unique in the whole instance.
    pub last_id: u64,
    /// Merge requests, oldest first.
    pub merge_requests: Vec<MergeRequest>,
    /// Deployments, oldest first.
    pub deployments: Vec<Deployment>,
    /// Environments, oldest first.
    pub environments: Vec<Environment>,
    /// Variables of pipelines.
    #[serde(default)]
    pub variables: Vec<Variable>,
}

/// A variable, without its value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Whether only protected branches and tags see it.
    pub protected: bool,
    /// Whether logs hide it.
    pub masked: bool,
    /// The environments whose jobs see it.
    pub scope: String,
    /// Whether it has no text.
    pub empty: bool,
}

/// Somebody with an account, a person or a bot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct User {
    /// The id, the same for the same username always.
    pub id: u64,
    /// The name after the `@`.
    pub username: String,
    /// The name that is shown.
    pub name: String,
}

/// A merge request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MergeRequest {
    /// The id in the whole instance. Never what an address holds.
    pub id: u64,
    /// The number in its project.
    pub iid: u64,
    /// The title.
    pub title: String,
    /// The description, Markdown.
    pub description: String,
    /// `opened`, `closed` or `merged`.
    pub state: State,
    /// The branch with the changes.
    pub source_branch: String,
    /// The branch that gets them.
    pub target_branch: String,
    /// The project of the source branch; another one for a fork.
    pub source_project: u64,
    /// Who opened it.
    pub author: User,
    /// Usernames of those who have to do something about it.
    pub assignees: Vec<String>,
    /// Usernames of those who approved it.
    pub approved_by: Vec<String>,
    /// The labels.
    pub labels: Vec<String>,
    /// Whether comments are for members only.
    pub locked: bool,
    /// The newest commit of the source branch. Made up unless the client gave one.
    #[serde(default)]
    pub sha: String,
    /// The time when it was closed or merged, and by whom.
    #[serde(default)]
    pub ended: Option<(String, User)>,
    /// When it was opened.
    pub created_at: String,
    /// When something about it changed.
    pub updated_at: String,
    /// Comments and system notes, oldest first.
    pub notes: Vec<Note>,
}

/// What has become of a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Open.
    Opened,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged,
}

/// A comment, or what GitLab says about a change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Note {
    /// The id in the whole instance.
    pub id: u64,
    /// Markdown as it was sent, without its quick actions.
    pub body: String,
    /// Who wrote it.
    pub author: User,
    /// When.
    pub created_at: String,
    /// When it was edited; the time of creation when it never was.
    pub updated_at: String,
    /// Whether GitLab wrote it.
    pub system: bool,
    /// Whether guests cannot see it.
    pub internal: bool,
}

/// A deployment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Deployment {
    /// The id in the whole instance.
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
    /// Whether it is a tag.
    pub tag: bool,
    /// `created`, `running`, `success`, `failed`, `canceled`.
    pub status: String,
    /// Who deployed.
    pub user: User,
    /// When it was made.
    pub created_at: String,
    /// When its status changed.
    pub updated_at: String,
}

/// An environment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Environment {
    /// The id in the whole instance.
    pub id: u64,
    /// Its name, with slashes in a folder.
    pub name: String,
    /// Its address.
    pub external_url: Option<String>,
    /// `available` or `stopped`.
    pub state: String,
    /// `production`, `staging`, `testing`, `development` or `other`.
    pub tier: String,
    /// When it was made.
    pub created_at: String,
    /// When something about it changed.
    pub updated_at: String,
}

impl Project {
    /// The merge request of this number.
    #[must_use]
    pub fn merge_request(&self, iid: u64) -> Option<&MergeRequest> {
        self.merge_requests.iter().find(|merge_request| merge_request.iid == iid)
    }

    /// The environment of this name.
    #[must_use]
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == name)
    }
}
