//! Explains why a token cannot comment, with the fix.

use std::ffi::OsStr;

use crate::plan::merge_request::MergeRequest;
use base::error::{Error, Result, failed, refused};
use base::secret::{Secret, TokenProblem, parse_token};
use gitlab::api::problem::Problem;

/// Describes the token that the variable needs.
pub(super) fn describe_token(name: &str) -> String {
    format!("put a project or group access token with the scope `api` into {name}, masked")
}

/// Returns the token in the variable `name`, which has this `value`. `job` is the job token.
pub fn token(name: &str, value: Option<&str>, job: Option<&Secret>) -> Result<Secret> {
    let token = parse_token(value.map(OsStr::new)).map_err(|problem| {
        let failure = refused(problem.message(name));
        if problem == TokenProblem::Empty {
            failure
                .hint("clear \"Protect variable\": pipelines of merge requests do not see protected variables")
                .hint("use a token that can do nothing but comment, because every developer can then read it")
        } else {
            failure.hint(describe_token(name))
        }
    })?;
    let value = token.expose();
    // Prefixes: <https://docs.gitlab.com/security/tokens/#token-prefixes>.
    if job.is_some_and(|job| job.expose() == value) || value.starts_with("glcbt-") {
        return Err(refused(format!(
            "{name} holds the job's own token, which cannot write comments"
        ))
        .hint(describe_token(name)));
    }
    if value.starts_with("gldt-") {
        return Err(refused(format!("{name} holds a deploy token, which cannot write comments"))
            .hint(describe_token(name)));
    }
    Ok(token)
}

/// Explains a refused request with the token in the variable `name`, with the next step.
#[must_use]
pub fn explain(
    problem: &Problem,
    name: &str,
    user: Option<&str>,
    merge_request: &MergeRequest,
) -> Error {
    let (project, iid) = (&merge_request.project.number, &merge_request.iid);
    let detail = problem.detail.to_ascii_lowercase();
    let who = user.map_or_else(|| "its user".to_owned(), |user| format!("its user @{user}"));
    match problem.status {
        Some(401) if detail.contains("expired") => refused(format!("the token in {name} has expired"))
            .hint("rotate it, which keeps its user and so the comment, and put the new value into the variable"),
        Some(401) if detail.contains("revoked") => {
            refused(format!("the token in {name} was revoked")).hint(describe_token(name))
        }
        Some(401) => refused(format!("GitLab does not know the token in {name}: {problem}"))
            .hint("check whether it is revoked, of another instance, or a job token, which cannot write comments")
            .hint(describe_token(name)),
        Some(403) if problem.code.as_deref() == Some("insufficient_scope") => {
            refused(format!("the token in {name} lacks the scope `api`: {problem}"))
                .hint("make a new one, because a token's scopes cannot be changed; `read_api` can only read comments")
        }
        Some(403) => refused(format!("the token in {name} may not comment in !{iid}: {problem}"))
            .hint(format!("give {who} at least the role Reporter in project {project}"))
            .hint("check that the discussion is not locked, and the project not archived"),
        Some(404) => refused(format!("the token in {name} does not see !{iid} in project {project}: {problem}"))
            .hint(format!("make {who} a member of that project; a project access token is valid in its own project only"))
            .hint("use the number in CI_MERGE_REQUEST_IID, not the instance-wide CI_MERGE_REQUEST_ID"),
        None => failed(format!("cannot reach GitLab: {problem}"))
            .hint("name a private certificate authority in CI_SERVER_TLS_CA_FILE or SSL_CERT_FILE, and a proxy in HTTPS_PROXY and NO_PROXY"),
        Some(_) => failed(format!("{problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::merge_request::GitlabProject;
    use expect_test::expect;

    fn merge_request() -> MergeRequest {
        MergeRequest {
            project: GitlabProject {
                api: "https://gitlab.example.com/api/v4".to_owned(),
                number: "12".to_owned(),
            },
            iid: "42".to_owned(),
            in_fork: false,
            commit: None,
            pipeline: None,
            job: None,
            page: None,
        }
    }

    fn render(failure: &Error) -> String {
        let hints = failure.hints.iter().map(|hint| format!("  {hint}\n"));
        format!("{}\n{}", failure.message, hints.collect::<String>())
    }

    #[test]
    fn explains_token_errors_without_a_request() {
        let mut text = String::new();
        for value in [None, Some(""), Some("a b"), Some("eyJ.job"), Some("glcbt-1"), Some("gldt-1")]
        {
            let failure = token("T", value, Some(&Secret::new("eyJ.job\n"))).expect_err("refused");
            text += &render(&failure);
        }
        assert_eq!(token("T", Some(" glpat-1\n"), None).expect("good").expose(), "glpat-1");
        expect![[r#"
            the variable T is not set
              put a project or group access token with the scope `api` into T, masked
            the variable T is set but empty
              clear "Protect variable": pipelines of merge requests do not see protected variables
              use a token that can do nothing but comment, because every developer can then read it
            the variable T contains characters that are not allowed in a token
              put a project or group access token with the scope `api` into T, masked
            T holds the job's own token, which cannot write comments
              put a project or group access token with the scope `api` into T, masked
            T holds the job's own token, which cannot write comments
              put a project or group access token with the scope `api` into T, masked
            T holds a deploy token, which cannot write comments
              put a project or group access token with the scope `api` into T, masked
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn explains_token_errors_from_gitlab_s_response() {
        let mut text = String::new();
        for (status, detail, code) in [
            (
                Some(401),
                "invalid_token: Token is expired. You can either do re-authorization or token refresh.",
                Some("invalid_token"),
            ),
            (
                Some(401),
                "invalid_token: Token was revoked. You have to re-authorize from the user.",
                Some("invalid_token"),
            ),
            (Some(401), "401 Unauthorized", None),
            (
                Some(403),
                "insufficient_scope: The request requires higher privileges",
                Some("insufficient_scope"),
            ),
            (Some(403), "403 Forbidden", None),
            (Some(404), "404 Project Not Found", None),
            (None, "connection refused", None),
            (Some(400), "bad", None),
        ] {
            let request = "GET /notes".to_owned();
            let problem = Problem {
                request,
                status,
                detail: detail.to_owned(),
                code: code.map(str::to_owned),
            };
            let failure = explain(&problem, "T", Some("bot"), &merge_request());
            text += &render(&failure);
        }
        expect![[r#"
            the token in T has expired
              rotate it, which keeps its user and so the comment, and put the new value into the variable
            the token in T was revoked
              put a project or group access token with the scope `api` into T, masked
            GitLab does not know the token in T: GET /notes: GitLab answered 401 (401 Unauthorized)
              check whether it is revoked, of another instance, or a job token, which cannot write comments
              put a project or group access token with the scope `api` into T, masked
            the token in T lacks the scope `api`: GET /notes: GitLab answered 403 (insufficient_scope: The request requires higher privileges)
              make a new one, because a token's scopes cannot be changed; `read_api` can only read comments
            the token in T may not comment in !42: GET /notes: GitLab answered 403 (403 Forbidden)
              give its user @bot at least the role Reporter in project 12
              check that the discussion is not locked, and the project not archived
            the token in T does not see !42 in project 12: GET /notes: GitLab answered 404 (404 Project Not Found)
              make its user @bot a member of that project; a project access token is valid in its own project only
              use the number in CI_MERGE_REQUEST_IID, not the instance-wide CI_MERGE_REQUEST_ID
            cannot reach GitLab: GET /notes: no answer: connection refused
              name a private certificate authority in CI_SERVER_TLS_CA_FILE or SSL_CERT_FILE, and a proxy in HTTPS_PROXY and NO_PROXY
            GET /notes: GitLab answered 400 (bad)
        "#]].assert_eq(&text);
    }
}
