//! Reads the last deployment to an environment from GitLab, with the job token.

use std::time::Duration;

use serde::Deserialize;

use crate::api::segment;
use crate::ci::CiVariables;
use base::error::{ErrorContext as _, Result, failed};
use base::http;
use base::retry::RetryBudget;
use base::secret::Secret;

/// The timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Access to the deployments of a GitLab project with a job token.
#[derive(Debug)]
pub struct Deployments {
    /// The base URL of the API, without a trailing slash.
    api: String,
    /// The project's number.
    project: String,
    /// The job token.
    token: Secret,
}

impl Deployments {
    /// Takes the values from the variables of the job. Returns `None` if one is missing.
    #[must_use]
    pub fn from_ci(ci: &CiVariables) -> Option<Deployments> {
        Some(Deployments {
            api: ci.api_v4_url.as_ref()?.trim_end_matches('/').to_owned(),
            project: ci.project_id.clone()?,
            token: ci.job_token.clone()?,
        })
    }

    /// Returns the commit of the last successful deployment to `environment`. `None` if there was none
    /// (<https://docs.gitlab.com/api/deployments/>). Retries within `retry_budget`.
    pub fn last_successful(
        &self,
        environment: &str,
        retry_budget: &RetryBudget,
    ) -> Result<Option<String>> {
        let url = format!(
            "{}/projects/{}/deployments?environment={}&status=success&order_by=id&sort=desc&per_page=1",
            self.api,
            segment(&self.project),
            segment(environment)
        );
        let agent = http::agent_for(&url, REQUEST_TIMEOUT, 0);
        let headers = [("JOB-TOKEN", self.token.expose())];
        let response = retry_budget.read("GitLab", || http::get(&agent, &url, &headers));
        let response = response.context("GitLab cannot be reached")?;
        if response.status != 200 {
            return Err(failed(format!("it answered {}", response.status)));
        }
        let deployments: Vec<GitlabDeployment> = serde_json::from_slice(&response.body)
            .map_err(|_| failed("its answer is not a list of deployments"))?;
        Ok(deployments.into_iter().next().map(|deployment| deployment.sha))
    }
}

#[derive(Deserialize)]
struct GitlabDeployment {
    sha: String,
}
