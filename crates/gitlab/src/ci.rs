//! The variables that GitLab sets in every job
//! (<https://docs.gitlab.com/ci/variables/predefined_variables/>), read once. No other file reads one by its name.

use base::secret::Secret;

/// The variable that says that a program runs in a job of GitLab.
pub const GITLAB_CI: &str = "GITLAB_CI";

/// The variable with the base URL of the API.
pub const API_V4_URL: &str = "CI_API_V4_URL";

/// The variable with the number of the project.
pub const PROJECT_ID: &str = "CI_PROJECT_ID";

/// The variable with the base URL of the instance.
pub const SERVER_URL: &str = "CI_SERVER_URL";

/// The variables of a job, as GitLab wrote them. A field is `None` if its variable is not set or blank. The default is
/// that of a program outside of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct CiVariables {
    /// `GITLAB_CI`: `true` in every job.
    pub gitlab_ci: Option<String>,
    /// `CI_API_V4_URL`: the base URL of the API.
    pub api_v4_url: Option<String>,
    /// `CI_COMMIT_BEFORE_SHA`: the branch's commit before the push, or zeros.
    pub commit_before_sha: Option<String>,
    /// `CI_COMMIT_BRANCH`: the branch. Pipelines of merge requests and tags do not have it.
    pub commit_branch: Option<String>,
    /// `CI_COMMIT_REF_NAME`: the branch or tag.
    pub commit_ref_name: Option<String>,
    /// `CI_COMMIT_REF_PROTECTED`: `true` if the branch or tag is protected.
    pub commit_ref_protected: Option<String>,
    /// `CI_COMMIT_SHA`: the commit of the job, which may be an internal merge commit.
    pub commit_sha: Option<String>,
    /// `CI_COMMIT_TAG`: the tag of a tag's pipeline.
    pub commit_tag: Option<String>,
    /// `CI_DEFAULT_BRANCH`: the project's default branch.
    pub default_branch: Option<String>,
    /// `CI_ENVIRONMENT_NAME`: the environment of the job, if it has one.
    pub environment_name: Option<String>,
    /// `CI_JOB_TOKEN`: the token of the job.
    pub job_token: Option<Secret>,
    /// `CI_JOB_URL`: the page of the job.
    pub job_url: Option<String>,
    /// `CI_MERGE_REQUEST_DIFF_BASE_SHA`: the commit where the merge request began.
    pub merge_request_diff_base_sha: Option<String>,
    /// `CI_MERGE_REQUEST_EVENT_TYPE`: `detached`, `merged_result` or `merge_train`.
    pub merge_request_event_type: Option<String>,
    /// `CI_MERGE_REQUEST_IID`: the number of the merge request in its project, as in `!42`.
    pub merge_request_iid: Option<String>,
    /// `CI_MERGE_REQUEST_PROJECT_ID`: the number of the target project.
    pub merge_request_project_id: Option<String>,
    /// `CI_MERGE_REQUEST_PROJECT_URL`: the page of the target project.
    pub merge_request_project_url: Option<String>,
    /// `CI_MERGE_REQUEST_SOURCE_BRANCH_SHA`: the head of the source branch. Not set in a detached pipeline.
    pub merge_request_source_branch_sha: Option<String>,
    /// `CI_MERGE_REQUEST_TARGET_BRANCH_SHA`: the head of the target branch. Not set in a detached pipeline.
    pub merge_request_target_branch_sha: Option<String>,
    /// `CI_PIPELINE_ID`: the id of the pipeline in the instance.
    pub pipeline_id: Option<String>,
    /// `CI_PIPELINE_SOURCE`: the event that started the pipeline.
    pub pipeline_source: Option<String>,
    /// `CI_PROJECT_ID`: the number of the project that the pipeline runs in.
    pub project_id: Option<String>,
    /// `CI_SERVER_URL`: the base URL of the instance.
    pub server_url: Option<String>,
}

impl CiVariables {
    /// Reads the variables with `get`.
    #[must_use]
    pub fn read(get: impl Fn(&str) -> Option<String>) -> CiVariables {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        CiVariables {
            gitlab_ci: get(GITLAB_CI),
            api_v4_url: get(API_V4_URL),
            commit_before_sha: get("CI_COMMIT_BEFORE_SHA"),
            commit_branch: get("CI_COMMIT_BRANCH"),
            commit_ref_name: get("CI_COMMIT_REF_NAME"),
            commit_ref_protected: get("CI_COMMIT_REF_PROTECTED"),
            commit_sha: get("CI_COMMIT_SHA"),
            commit_tag: get("CI_COMMIT_TAG"),
            default_branch: get("CI_DEFAULT_BRANCH"),
            environment_name: get("CI_ENVIRONMENT_NAME"),
            job_token: get("CI_JOB_TOKEN").map(|token| Secret::new(&token)),
            job_url: get("CI_JOB_URL"),
            merge_request_diff_base_sha: get("CI_MERGE_REQUEST_DIFF_BASE_SHA"),
            merge_request_event_type: get("CI_MERGE_REQUEST_EVENT_TYPE"),
            merge_request_iid: get("CI_MERGE_REQUEST_IID"),
            merge_request_project_id: get("CI_MERGE_REQUEST_PROJECT_ID"),
            merge_request_project_url: get("CI_MERGE_REQUEST_PROJECT_URL"),
            merge_request_source_branch_sha: get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"),
            merge_request_target_branch_sha: get("CI_MERGE_REQUEST_TARGET_BRANCH_SHA"),
            pipeline_id: get("CI_PIPELINE_ID"),
            pipeline_source: get("CI_PIPELINE_SOURCE"),
            project_id: get(PROJECT_ID),
            server_url: get(SERVER_URL),
        }
    }

    /// Returns true in a pipeline, whatever the value of `GITLAB_CI` is.
    #[must_use]
    pub fn is_pipeline(&self) -> bool {
        self.gitlab_ci.is_some()
    }

    /// Returns true if `GITLAB_CI` has the value that GitLab sets. Decisions that trust the other variables need this.
    #[must_use]
    pub fn is_set_by_gitlab(&self) -> bool {
        self.gitlab_ci.as_deref() == Some("true")
    }

    /// Returns true in a merge request's pipeline.
    #[must_use]
    pub fn is_merge_request(&self) -> bool {
        self.merge_request_iid.is_some()
            || self.pipeline_source.as_deref() == Some("merge_request_event")
    }

    /// Returns true if the pipeline runs on the merge with the target branch. A detached pipeline runs on the source
    /// branch.
    #[must_use]
    pub fn is_on_merge_commit(&self) -> bool {
        let event = self.merge_request_event_type.as_deref();
        matches!(event, Some("merged_result" | "merge_train"))
    }

    /// Returns true on a protected branch or tag.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.commit_ref_protected.as_deref() == Some("true")
    }

    /// Returns the names of the variables that decide what a job does, each with `true` if it is set, for `doctor`.
    #[must_use]
    pub fn presence(&self) -> [(&'static str, bool); 9] {
        [
            (API_V4_URL, self.api_v4_url.is_some()),
            ("CI_COMMIT_BRANCH", self.commit_branch.is_some()),
            ("CI_COMMIT_REF_PROTECTED", self.commit_ref_protected.is_some()),
            ("CI_COMMIT_SHA", self.commit_sha.is_some()),
            ("CI_DEFAULT_BRANCH", self.default_branch.is_some()),
            ("CI_JOB_URL", self.job_url.is_some()),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", self.merge_request_diff_base_sha.is_some()),
            ("CI_MERGE_REQUEST_IID", self.merge_request_iid.is_some()),
            ("CI_MERGE_REQUEST_PROJECT_ID", self.merge_request_project_id.is_some()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn reads_each_variable_into_the_field_of_its_name() {
        let names = RefCell::new(Vec::new());
        let variables = CiVariables::read(|name| {
            names.borrow_mut().push(name.to_owned());
            Some(format!("value of {name}"))
        });
        let shown = format!("{variables:?}");
        for name in names.into_inner() {
            let field = name.trim_start_matches("CI_").to_lowercase();
            let value = match field.as_str() {
                "job_token" => "Secret(…)".to_owned(),
                _ => format!("\"value of {name}\""),
            };
            assert!(shown.contains(&format!(" {field}: Some({value})")), "{name} in {shown}");
        }
    }

    #[test]
    fn keeps_a_value_as_it_is_and_drops_a_blank_one() {
        let read = |value: &str| CiVariables::read(|_| Some(value.to_owned()));
        assert_eq!(read(" true ").gitlab_ci.as_deref(), Some(" true "));
        for blank in ["", " \n"] {
            let variables = read(blank);
            assert_eq!(variables.gitlab_ci, None);
            assert!(variables.job_token.is_none());
            assert!(variables.presence().iter().all(|(_, is_set)| !is_set));
        }
    }

    #[test]
    fn recognizes_a_merge_request_by_its_number_or_its_event() {
        let default = CiVariables::default();
        assert!(!default.is_merge_request());
        let number = Some("5".to_owned());
        assert!(CiVariables { merge_request_iid: number, ..default.clone() }.is_merge_request());
        let event = Some("merge_request_event".to_owned());
        assert!(CiVariables { pipeline_source: event, ..default }.is_merge_request());
    }

    #[test]
    fn trusts_only_the_value_that_gitlab_sets() {
        for (value, expected) in [("true", true), ("True", false), ("1", false), ("true ", false)] {
            let gitlab_ci = Some(value.to_owned());
            let variables = CiVariables { gitlab_ci, ..CiVariables::default() };
            assert!(variables.is_pipeline());
            assert_eq!(variables.is_set_by_gitlab(), expected, "{value}");
        }
    }
}
