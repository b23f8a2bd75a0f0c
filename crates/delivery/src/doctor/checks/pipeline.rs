//! Checks the current pipeline.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use gitlab::ci::GITLAB_CI;

/// `pipeline`
pub fn variables(context: &Context) -> Finding {
    let ci = &context.ci;
    if !ci.is_pipeline() {
        return Finding::skip("not in a GitLab pipeline");
    }
    let names = |wanted: bool| -> Vec<&str> {
        let chosen = ci.presence().into_iter().filter(|(_, is_set)| *is_set == wanted);
        chosen.map(|(name, _)| name).collect()
    };
    let kind = if ci.is_merge_request() {
        "pipeline of a merge request"
    } else if ci.commit_branch.is_some() {
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
        .detail(format!("set: {}\nnot set: {}", list(&names(true)), list(&names(false))))
        .source(GITLAB_CI)
}
