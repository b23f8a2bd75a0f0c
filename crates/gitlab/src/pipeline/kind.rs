//! The kinds of pipelines, which differ in their jobs and variables.

use serde::Serialize;

use crate::ci::CiVariables;

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
    /// Determines the kind from the variables of a job.
    #[must_use]
    pub fn from_ci(ci: &CiVariables) -> Kind {
        let is_default = ci.commit_branch.is_some() && ci.commit_branch == ci.default_branch;
        if ci.is_merge_request() {
            Kind::MergeRequest
        } else if ci.commit_tag.is_some() {
            Kind::Tag
        } else if !is_default {
            Kind::Branch
        } else if ci.pipeline_source.as_deref() == Some("schedule") {
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
            Kind::from_ci(&CiVariables::read(|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            }))
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
