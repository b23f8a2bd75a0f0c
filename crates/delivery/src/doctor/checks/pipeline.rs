//! Checks the current pipeline.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::env::variable;

/// The variables that we read, each with the consequence of its absence.
const VARIABLES: [&str; 9] = [
    "CI_API_V4_URL",
    "CI_COMMIT_BRANCH",
    "CI_COMMIT_REF_PROTECTED",
    "CI_COMMIT_SHA",
    "CI_DEFAULT_BRANCH",
    "CI_JOB_URL",
    "CI_MERGE_REQUEST_DIFF_BASE_SHA",
    "CI_MERGE_REQUEST_IID",
    "CI_MERGE_REQUEST_PROJECT_ID",
];

/// `pipeline`
pub fn variables(_: &Context) -> Finding {
    if variable("GITLAB_CI").is_none() {
        return Finding::skip("not in a GitLab pipeline");
    }
    let (there, missing): (Vec<&str>, Vec<&str>) =
        VARIABLES.iter().partition(|name| variable(name).is_some());
    let kind = if there.contains(&"CI_MERGE_REQUEST_IID") {
        "pipeline of a merge request"
    } else if there.contains(&"CI_COMMIT_BRANCH") {
        "pipeline of a branch"
    } else {
        "pipeline of neither a branch nor a merge request"
    };
    let list = |names: &[&str]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    Finding::ok()
        .with_value(kind)
        .detail(format!("set: {}\nnot set: {}", list(&there), list(&missing)))
        .source("GITLAB_CI")
}
