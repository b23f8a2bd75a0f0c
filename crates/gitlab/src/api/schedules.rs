//! Pipeline schedules (<https://docs.gitlab.com/api/pipeline_schedules/>), and the project's default branch.

use serde::Deserialize;
use serde_json::json;

use super::request::Client;
use super::segment;
use base::error::Result;

/// The time of the nightly schedule. It avoids the full hour, when most schedules run.
pub const CRON: &str = "17 3 * * *";

/// The fields of a schedule that we read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PipelineSchedule {
    /// Its description.
    #[serde(default)]
    pub description: String,
    /// The branch or tag, with or without `refs/heads/`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `true` if it starts pipelines.
    pub active: bool,
}

/// The fields of a project that we read.
#[derive(Clone, Debug, Deserialize)]
struct ProjectFields {
    #[serde(default)]
    default_branch: Option<String>,
}

/// Returns the default branch of `project`, which is a number or a full path. `None` if it has no branch.
pub fn default_branch(client: &Client<'_>, project: &str) -> Result<Option<String>> {
    let project: ProjectFields =
        client.get(&format!("/projects/{}", segment(project)))?.json(200)?;
    Ok(project.default_branch)
}

/// Returns an active schedule on `branch`. `None` if there is none among the first 100.
pub fn find_active(
    client: &Client<'_>,
    project: &str,
    branch: &str,
) -> Result<Option<PipelineSchedule>> {
    let path =
        format!("/projects/{}/pipeline_schedules?scope=active&per_page=100", segment(project));
    let schedules: Vec<PipelineSchedule> = client.get(&path)?.json(200)?;
    let is_on_branch = |schedule: &PipelineSchedule| {
        let name = schedule.reference.strip_prefix("refs/heads/").unwrap_or(&schedule.reference);
        schedule.active && name == branch
    };
    Ok(schedules.into_iter().find(is_on_branch))
}

/// Creates a nightly schedule on `branch`.
pub fn create(client: &Client<'_>, project: &str, branch: &str, description: &str) -> Result<()> {
    let body = json!({
        "description": description, "ref": format!("refs/heads/{branch}"), "cron": CRON,
        "cron_timezone": "UTC", "active": true,
    });
    client.post(&format!("/projects/{}/pipeline_schedules", segment(project)), &body)?.ok(201)
}
