//! The base of a change in pipelines: merge requests, deployments, pushes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::affected::*;

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

    let ask = |answers: &[(&'static str, String)]| -> (Value, String) {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let api = format!("http://{}/gitlab/api/v4", server.local_addr().expect("an address"));
        let answers = answers.to_vec();
        let answered = std::thread::spawn(move || {
            let mut asked = String::new();
            for (status, body) in answers {
                let (mut stream, _) = server.accept().expect("a request");
                let mut request = [0; 4096];
                let length = stream.read(&mut request).expect("a request");
                let headers = "Retry-After: 0\r\nConnection: close\r\nContent-Length";
                write!(stream, "HTTP/1.1 {status}\r\n{headers}: {}\r\n\r\n{body}", body.len())
                    .expect("an answer");
                asked += &String::from_utf8_lossy(&request[..length]);
            }
            asked
        });
        let gitlab = [
            ("CI_API_V4_URL", api.as_str()),
            ("CI_PROJECT_ID", "42"),
            ("CI_JOB_TOKEN", "job-token"),
        ];
        let json = with(&[&gitlab[..], &[push]].concat());
        (json, answered.join().expect("a server"))
    };
    let good = ("200 OK", format!(r#"[{{ "id": 1, "sha": "{deployed}" }}]"#));
    let busy = ("503 Service Unavailable", String::new());
    let (json, _) = ask(&[busy.clone(), ("429 Too Many Requests", String::new()), good.clone()]);
    assert_eq!(names(&json), ["alone", "app"], "it is asked again after what passes by itself");
    let (json, request) = ask(&[good]);
    assert_eq!(names(&json), ["alone", "app"], "what the failed pipeline left is not forgotten");
    assert_eq!(json["base"]["why"], "the last successful deployment");
    assert!(
        request.starts_with(
            "GET /gitlab/api/v4/projects/42/deployments?environment=production&status=success"
        ),
        "{request}"
    );
    assert!(request.to_lowercase().contains("job-token: job-token"), "{request}");
    assert_everything(&ask(&[("200 OK", "[]".to_owned())]).0, "nothing was deployed there yet");
    let (json, _) = ask(&[("403 Forbidden", "{}".to_owned())]);
    assert_eq!(names(&json), ["app"]);
    assert!(json["base"]["why"].as_str().expect("text").contains("it answered 403"), "{json}");
    let (json, _) = ask(&[busy.clone(), busy.clone(), busy.clone(), busy.clone(), busy]);
    assert_eq!(names(&json), ["app"]);
    assert!(json["base"]["why"].as_str().expect("text").contains("it answered 503"), "{json}");
}
