//! The merge request that a pipeline belongs to.

use base::error::{Result, refused};
use gitlab::ci::CiVariables;
use workspace::config::Gitlab;

/// The merge request of the comment, and the job's part of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// The target project, not the source project.
    pub project: GitlabProject,
    /// The number in that project, as in `!42`. The instance-wide id is another number.
    pub iid: String,
    /// `true` if the pipeline runs in a fork, with the fork's variables.
    pub in_fork: bool,
    /// The head of the source branch, never the internal merge commit.
    pub commit: Option<String>,
    /// The pipeline's id. Later pipelines have higher ids.
    pub pipeline: Option<u64>,
    /// The page of this job, with its log.
    pub job: Option<String>,
    /// The page of the merge request.
    pub page: Option<String>,
}

/// A project of GitLab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitlabProject {
    /// The base URL of the API, with the instance's relative root, without a trailing slash.
    pub api: String,
    /// Its number.
    pub number: String,
}

impl GitlabProject {
    /// Returns the project of the job. Outside of a pipeline, returns that of the shared config file.
    #[must_use]
    pub fn from_ci(ci: &CiVariables, config: &Gitlab) -> GitlabProject {
        let api = trim_variable(&ci.api_v4_url).unwrap_or_else(|| config.api());
        let number = trim_variable(&ci.project_id).unwrap_or_else(|| config.project_id.clone());
        GitlabProject { api: api.trim_end_matches('/').to_owned(), number }
    }

    /// Refuses another project than the one of the config, because its numbers belong to other merge
    /// requests, and a merge request that is closed here may be open there. With `sandbox`, the previews
    /// are in the sandbox, and the merge requests in a GitLab on this machine.
    pub fn check(&self, config: &Gitlab, sandbox: bool) -> Result<()> {
        if sandbox {
            let host = self.api.strip_prefix("http://").unwrap_or_default();
            let host = host.split(['/', ':']).next();
            if matches!(host, Some("127.0.0.1" | "localhost")) {
                return Ok(());
            }
            let api = &self.api;
            return Err(refused(format!(
                "the sandbox's previews are not those of the merge requests at {api}"
            ))
            .hint("set CI_API_V4_URL to the sandbox's GitLab, `http://127.0.0.1:8787/api/v4`"));
        }
        let Some(number) = config.number() else { return Ok(()) };
        let api = config.api();
        if self.number == number && self.api.eq_ignore_ascii_case(&api) {
            return Ok(());
        }
        Err(refused(format!(
            "this is the project {} at {}, and the config names {number} at {api}: their merge requests have the same numbers, and not the same previews",
            self.number, self.api
        ))
        .hint("fix `gitlab` in dagger/config/config.json, or what sets CI_PROJECT_ID and CI_API_V4_URL"))
    }

    /// Returns a merge request of the project. Its other fields are unknown.
    #[must_use]
    pub fn request(&self, iid: u64) -> MergeRequest {
        MergeRequest {
            project: self.clone(),
            iid: iid.to_string(),
            in_fork: false,
            commit: None,
            pipeline: None,
            job: None,
            page: None,
        }
    }
}

impl MergeRequest {
    /// Returns the merge request of the job. `None` outside of a merge request's pipeline. Missing
    /// values come from the shared config file.
    #[must_use]
    pub fn from_ci(ci: &CiVariables, config: &Gitlab) -> Option<MergeRequest> {
        let is_number = |iid: &String| iid.bytes().all(|b| b.is_ascii_digit());
        let iid = trim_variable(&ci.merge_request_iid).filter(is_number)?;
        let own = GitlabProject::from_ci(ci, config);
        let number =
            trim_variable(&ci.merge_request_project_id).unwrap_or_else(|| own.number.clone());
        // A fork's merge request may also run in the parent project, if a member starts it there.
        let in_fork = ci.project_id.is_some() && own.number != number;
        let page = trim_variable(&ci.merge_request_project_url)
            .map(|url| format!("{}/-/merge_requests/{iid}", url.trim_end_matches('/')));
        Some(MergeRequest {
            project: GitlabProject { number, ..own },
            iid,
            in_fork,
            commit: trim_variable(&ci.merge_request_source_branch_sha)
                .or_else(|| trim_variable(&ci.commit_sha)),
            pipeline: trim_variable(&ci.pipeline_id).and_then(|id| id.parse().ok()),
            job: trim_variable(&ci.job_url),
            page,
        })
    }
}

/// Returns the value of a variable without the space around it.
fn trim_variable(variable: &Option<String>) -> Option<String> {
    variable.as_deref().map(|text| text.trim().to_owned())
}

/// Parses the number of a merge request in a name. Other spellings, such as `042`, are not numbers.
#[must_use]
pub fn iid(text: &str) -> Option<u64> {
    let iid: u64 = text.parse().ok()?;
    (iid > 0 && iid.to_string() == text).then_some(iid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_previews_of_the_configured_project_only() {
        let config = |id: &str| Gitlab {
            url: "https://gitlab.example.com/base/".to_owned(),
            project_id: id.to_owned(),
            token_variable: "T".to_owned(),
        };
        let own = "https://gitlab.example.com/base/api/v4";
        let check = |id: &str, number: &str, api: &str, sandbox| {
            let project = GitlabProject { api: api.to_owned(), number: number.to_owned() };
            project.check(&config(id), sandbox).is_ok()
        };
        assert!(check("7", "7", own, false) && check("0", "8", "http://other/api/v4", false));
        assert!(!check("7", "8", own, false));
        assert!(!check("7", "7", "http://127.0.0.1:8787/api/v4", false));
        for api in ["http://127.0.0.1:8787/api/v4", "http://localhost/gitlab/api/v4"] {
            assert!(check("7", "1", api, true), "{api}");
        }
        for api in [own, "http://127.0.0.1.example.com/api/v4", "http://localhost@example.com"] {
            assert!(!check("7", "7", api, true), "{api}");
        }
    }

    fn read(variables: &[(&str, &str)]) -> Option<MergeRequest> {
        let config = Gitlab {
            url: "https://gitlab.example.com/base/".to_owned(),
            project_id: "7".to_owned(),
            token_variable: "T".to_owned(),
        };
        let get = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        MergeRequest::from_ci(&CiVariables::read(get), &config)
    }

    #[test]
    fn none_outside_of_a_merge_request() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("CI_MERGE_REQUEST_ID", "900001")]), None);
        assert_eq!(read(&[("CI_MERGE_REQUEST_IID", "5/../6")]), None);
    }

    #[test]
    fn reads_the_iid_and_the_target_project() {
        let found = read(&[
            ("CI_API_V4_URL", "https://gitlab.example.com/gitlab/api/v4/"),
            ("CI_MERGE_REQUEST_ID", "900001"),
            ("CI_MERGE_REQUEST_IID", "5"),
            ("CI_MERGE_REQUEST_PROJECT_ID", "12"),
            ("CI_MERGE_REQUEST_PROJECT_URL", "https://gitlab.example.com/gitlab/acme/mono"),
            ("CI_PROJECT_ID", "12"),
            ("CI_COMMIT_SHA", "merge"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "head"),
            ("CI_PIPELINE_ID", "77"),
        ])
        .expect("a merge request");
        assert_eq!(found.project.api, "https://gitlab.example.com/gitlab/api/v4");
        assert_eq!(
            (found.project.number.as_str(), found.iid.as_str(), found.in_fork),
            ("12", "5", false)
        );
        assert_eq!((found.commit.as_deref(), found.pipeline), (Some("head"), Some(77)));
        let page = "https://gitlab.example.com/gitlab/acme/mono/-/merge_requests/5";
        assert_eq!(found.page.as_deref(), Some(page));
    }

    #[test]
    fn recognizes_a_fork_s_detached_pipeline() {
        let found = read(&[
            ("CI_MERGE_REQUEST_IID", "5"),
            ("CI_MERGE_REQUEST_PROJECT_ID", "12"),
            ("CI_PROJECT_ID", "13"),
            ("CI_COMMIT_SHA", "head"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", ""),
        ])
        .expect("a merge request");
        assert!(found.in_fork);
        assert_eq!(found.commit.as_deref(), Some("head"));
        assert_eq!(found.project.api, "https://gitlab.example.com/base/api/v4");
    }
}
