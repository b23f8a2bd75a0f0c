//! Explains why a token cannot comment, with the fix.

use std::ffi::OsStr;

use base::error::{Error, Result, failed, refused};
use base::secret::{Secret, TokenProblem, parse_token};
use gitlab::api::request_error::RequestError;

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

/// Explains a refused request with the token in the variable `name`, with the next step. `project` is the number of the
/// project, and `iid` that of the merge request, if the request is about one.
#[must_use]
pub fn explain(
    problem: &RequestError,
    name: &str,
    user: Option<&str>,
    project: &str,
    iid: Option<&str>,
) -> Error {
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
        Some(403) => {
            let role = format!("give {who} at least the role Reporter in project {project}");
            match iid {
                Some(iid) => refused(format!("the token in {name} may not comment in !{iid}: {problem}"))
                    .hint(role)
                    .hint("check that the discussion is not locked, and the project not archived"),
                None => refused(format!("the token in {name} may not read the merge requests: {problem}"))
                    .hint(role),
            }
        }
        Some(404) => {
            let member = format!(
                "make {who} a member of that project; a project access token is valid in its own project only"
            );
            match iid {
                Some(iid) => refused(format!(
                    "the token in {name} does not see !{iid} in project {project}: {problem}"
                ))
                .hint(member)
                .hint("use the number in CI_MERGE_REQUEST_IID, not the instance-wide CI_MERGE_REQUEST_ID"),
                None => refused(format!("the token in {name} does not see project {project}: {problem}"))
                    .hint(member),
            }
        }
        None => failed(format!("cannot reach GitLab: {problem}"))
            .hint("name a private certificate authority in CI_SERVER_TLS_CA_FILE or SSL_CERT_FILE, and a proxy in HTTPS_PROXY and NO_PROXY"),
        Some(_) => failed(format!("{problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

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
            let problem = RequestError {
                request,
                status,
                detail: detail.to_owned(),
                code: code.map(str::to_owned),
            };
            let failure = explain(&problem, "T", Some("bot"), "12", Some("42"));
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

    #[test]
    fn explains_a_token_that_may_not_list_merge_requests() {
        let mut text = String::new();
        for status in [403, 404] {
            let request = "GET /merge_requests".to_owned();
            let (status, detail, code) = (Some(status), String::new(), None);
            let problem = RequestError { request, status, detail, code };
            text += &render(&explain(&problem, "T", None, "12", None));
        }
        expect![[r#"
            the token in T may not read the merge requests: GET /merge_requests: GitLab answered 403
              give its user at least the role Reporter in project 12
            the token in T does not see project 12: GET /merge_requests: GitLab answered 404
              make its user a member of that project; a project access token is valid in its own project only
        "#]].assert_eq(&text);
    }
}
