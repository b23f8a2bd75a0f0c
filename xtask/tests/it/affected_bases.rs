//! The base of a change in pipelines: merge requests, deployments, pushes.

use serde_json::Value;

use crate::affected::*;
use crate::gitlab_server::{Fault, Faults, JOB, RecordedRequest, Sandbox};

/// An answer that passes by itself.
const BUSY: Fault = Fault::Instead(503, "Retry-After: 0\r\n", "");

#[test]
fn merge_requests_compare_with_the_merge_base_even_in_a_shallow_clone() {
    let env = tree();
    let base = id(&env, "HEAD");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("projects/alone/content.txt", "new");
    env.commit("change");
    let change = id(&env, "HEAD");
    env.git(&["checkout", "--quiet", "main"]);
    env.write("packages/tokens/a b.ts", "main moved on\n");
    env.commit("moved on");
    let target = id(&env, "HEAD");
    env.git(&["checkout", "--quiet", "-b", "merged"]);
    env.git(&["merge", "--quiet", "--no-edit", "change"]);

    let request = [PIPELINE, ("CI_MERGE_REQUEST_IID", "7")];
    let clone = runner_clone(&env, &change, 1);
    let began = ("CI_MERGE_REQUEST_DIFF_BASE_SHA", base.as_str());
    let detached = [request[0], request[1], ("CI_MERGE_REQUEST_EVENT_TYPE", "detached"), began];
    let json = affected_with(&clone, &[], &detached);
    assert_eq!(names(&json), ["alone"], "{json:#}");
    assert_eq!(json["base"]["commit"], base.as_str());
    clone.write("projects/app/left-by-an-earlier-step", "x");
    assert_eq!(
        names(&affected_with(&clone, &[], &detached)),
        ["alone"],
        "only commits count there"
    );

    let merged = runner_clone(&env, "merged", 1);
    let kind = ("CI_MERGE_REQUEST_EVENT_TYPE", "merged_result");
    let tip = ("CI_MERGE_REQUEST_TARGET_BRANCH_SHA", target.as_str());
    assert_eq!(
        names(&affected_with(&merged, &[], &[PIPELINE, request[1], kind, tip, began])),
        ["alone"]
    );

    let gone = "1234567890123456789012345678901234567890";
    for (value, because) in
        [(gone, "cannot be fetched"), ("", "names no commit"), (&"0".repeat(40), "names no commit")]
    {
        let unknown = [request[0], request[1], ("CI_MERGE_REQUEST_DIFF_BASE_SHA", value)];
        assert_everything(&affected_with(&clone, &[], &unknown), because);
    }
    // Without a base from GitLab, a clone that ends here cannot tell.
    clone.sh("git fetch --quiet --depth 1 origin main:refs/remotes/origin/main").exits(0);
    assert_everything(&affected_json(&clone, &[]), "this shallow clone ends before");
}

#[test]
fn the_default_branch_compares_with_the_last_deployment_or_previous_push() {
    let env = tree();
    let deployed = id(&env, "HEAD");
    env.write("projects/alone/content.txt", "failed to deploy");
    env.commit("two");
    let before = id(&env, "HEAD");
    env.write("projects/app/content.txt", "new");
    env.commit("three");
    let branch = [PIPELINE, ("CI_COMMIT_BRANCH", "main"), ("CI_DEFAULT_BRANCH", "main")];
    let with = |more: &[(&'static str, &str)]| -> Value {
        let more: Vec<(&str, &str)> = branch.iter().chain(more).copied().collect();
        affected_with(&env, &["--env", "production"], &more)
    };

    let push = ("CI_COMMIT_BEFORE_SHA", before.as_str());
    assert_eq!(names(&with(&[push])), ["app"]);
    assert_everything(&with(&[]), "follows no push");
    assert_everything(&with(&[("CI_COMMIT_BEFORE_SHA", &"0".repeat(40))]), "follows no push");
    let forced = env.sh("git commit-tree -m other 'HEAD^{tree}'").exits(0).stdout;
    assert_everything(&with(&[("CI_COMMIT_BEFORE_SHA", forced.trim())]), "not in its history");

    let sandbox = Sandbox::start();
    sandbox.deploy("42", &deployed, "success");
    sandbox.deploy("42", &before, "failed");
    sandbox.deploy("43", &before, "failed");
    let ask = |project: &str, faults: Faults| -> (Value, Vec<RecordedRequest>) {
        let server = sandbox.proxy(faults);
        let api = server.api();
        let gitlab =
            [("CI_API_V4_URL", api.as_str()), ("CI_PROJECT_ID", project), ("CI_JOB_TOKEN", JOB)];
        (with(&[&gitlab[..], &[push]].concat()), server.requests())
    };
    let busy_at_first: Faults = |_, count| match count {
        1 => Some(BUSY),
        2 => Some(Fault::Instead(429, "Retry-After: 0\r\n", "")),
        _ => None,
    };
    let (json, requests) = ask("42", busy_at_first);
    assert_eq!(names(&json), ["alone", "app"], "it is asked again after what passes by itself");
    assert_eq!(requests.len(), 3);
    let (json, requests) = ask("42", |_, _| None);
    assert_eq!(names(&json), ["alone", "app"], "what the failed pipeline left is not forgotten");
    assert_eq!(json["base"]["why"], "the last successful deployment");
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let path = "/projects/42/deployments?environment=production&status=success";
    assert!(request.path.starts_with(path), "{request:?}");
    assert_eq!((request.method.as_str(), request.token.as_str()), ("GET", JOB));
    assert_everything(&ask("43", |_, _| None).0, "nothing was deployed there yet");
    let (json, _) = ask("42", |_, _| Some(Fault::Instead(403, "", "{}")));
    assert_eq!(names(&json), ["app"]);
    assert!(json["base"]["why"].as_str().expect("text").contains("it answered 403"), "{json}");
    let (json, requests) = ask("42", |_, _| Some(BUSY));
    assert_eq!(names(&json), ["app"]);
    assert!(json["base"]["why"].as_str().expect("text").contains("it answered 503"), "{json}");
    assert_eq!(requests.len(), 5);
}
