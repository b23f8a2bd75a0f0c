//! The kinds of pipelines, which differ in their jobs and variables.

use serde::Serialize;

/// The event that started a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A merge request: detached, merged results or a merge train.
    MergeRequest,
    /// The default branch: a push, or started manually.
    DefaultBranch,
    /// A schedule on the default branch.
    Schedule,
    /// A tag.
    Tag,
    /// Another branch.
    Branch,
}

impl Kind {
    /// Determines the kind from the variables that GitLab sets
    /// (<https://docs.gitlab.com/ci/variables/predefined_variables/>).
    #[must_use]
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Kind {
        let source = get("CI_PIPELINE_SOURCE");
        let branch = get("CI_COMMIT_BRANCH");
        let default = branch.is_some() && branch == get("CI_DEFAULT_BRANCH");
        if source.as_deref() == Some("merge_request_event") || get("CI_MERGE_REQUEST_IID").is_some()
        {
            Kind::MergeRequest
        } else if get("CI_COMMIT_TAG").is_some() {
            Kind::Tag
        } else if !default {
            Kind::Branch
        } else if source.as_deref() == Some("schedule") {
            Kind::Schedule
        } else {
            Kind::DefaultBranch
        }
    }

    /// Returns a description for messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::MergeRequest => "a merge request's pipeline",
            Kind::DefaultBranch => "the default branch's pipeline",
            Kind::Schedule => "a scheduled pipeline",
            Kind::Tag => "a tag's pipeline",
            Kind::Branch => "another branch's pipeline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_each_kind_of_pipeline() {
        let kind = |variables: &[(&str, &str)]| {
            Kind::from_variables(|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let main = [("CI_COMMIT_BRANCH", "main"), ("CI_DEFAULT_BRANCH", "main")];
        assert_eq!(kind(&main), Kind::DefaultBranch);
        let schedule = [main[0], main[1], ("CI_PIPELINE_SOURCE", "schedule")];
        assert_eq!(kind(&schedule), Kind::Schedule);
        assert_eq!(kind(&[("CI_COMMIT_BRANCH", "topic"), schedule[2]]), Kind::Branch);
        assert_eq!(kind(&[("CI_COMMIT_TAG", "v1")]), Kind::Tag);
        assert_eq!(kind(&[("CI_PIPELINE_SOURCE", "merge_request_event")]), Kind::MergeRequest);
        assert_eq!(kind(&[]), Kind::Branch);
    }
}
