//! Checks the variables that GitLab stores.

use std::time::Duration;

use super::variables::{PLACE, describe};
use crate::doctor::context::Context;
use crate::doctor::finding::{CheckStatus, Finding};
use base::env::variable;
use base::error::Result;
use base::retry::RetryBudget;
use base::secret::Secret;
use gitlab::api::request::Client;
use gitlab::api::request_error::RequestError;
use gitlab::api::variables;
use gitlab::api::variables::StoredVariable;
use gitlab::pipeline::variables::{Variable, covers, table};
use workspace::config::{CONFIG_FILE, Gitlab};

/// The variable of a user's token for GitLab, as in GitLab's own tools
/// (<https://gitlab.com/gitlab-org/cli#environment-variables>).
const TOKEN: &str = "GITLAB_TOKEN";

/// The timeout of one request. A check makes at most two within its five seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// `network.variables`
pub fn check_variables(context: &Context) -> Finding {
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    if context.ci.is_pipeline() {
        return Finding::skip("in a pipeline, `pipeline` says what its jobs see");
    }
    let names = [TOKEN, config.gitlab.token_variable.as_str()];
    let Some((name, token)) = names.iter().find_map(|name| Some((*name, variable(name)?))) else {
        return Finding::skip(format!(
            "no token: with a maintainer's in {TOKEN}, scope `read_api`, GitLab's variables are compared"
        ));
    };
    if context.offline {
        return Finding::skip("offline");
    }
    let Some(project) = config.gitlab.number() else {
        return Finding::skip(format!("`projectId` in {CONFIG_FILE} is still the placeholder"));
    };
    match ask(&config.gitlab, project, &token) {
        Ok(stored) => {
            let rows = table(config);
            let valid = Finding::ok().with_value(format!("{} variables as in the table", rows.len()));
            Finding::all(compare(&rows, &stored), valid).source(name)
        }
        Err(error) => match error.find::<RequestError>().and_then(|error| error.status) {
            Some(401 | 403 | 404) => Finding::skip(format!(
                "the token in {name} may not read the variables of project {project}: it takes the role Maintainer and the scope `read_api`"
            ))
            .source(name),
            _ => Finding::warn(format!("{error:#}")).source(name).manual_fix(format!(
                "check `gitlab.url` in {CONFIG_FILE}; a private certificate authority goes into SSL_CERT_FILE\n\
                 `--offline` leaves this check out"
            )),
        },
    }
}

fn ask(gitlab: &Gitlab, project: &str, token: &str) -> Result<Vec<StoredVariable>> {
    let retry_budget = RetryBudget::none();
    let client =
        Client::connect(&gitlab.api(), Secret::new(token), REQUEST_TIMEOUT, &retry_budget)?;
    variables::list(&client, project)
}

/// Returns the differences between `stored` and the table.
fn compare(rows: &[Variable], stored: &[StoredVariable]) -> Vec<Finding> {
    rows.iter().flat_map(|row| differences(row, stored)).collect()
}

fn differences(row: &Variable, stored: &[StoredVariable]) -> Vec<Finding> {
    let Variable { name, scope, .. } = row;
    let named = || stored.iter().filter(|one| one.key == *name);
    let fix = |text: String| format!("{PLACE}: {text}");
    // GitLab uses the most specific scope.
    let reaching = named().filter(|one| covers(&one.scope, scope));
    let Some(one) = reaching.max_by_key(|one| one.scope.len()) else {
        let others: Vec<String> = named().map(|one| format!("`{}`", one.scope)).collect();
        let detail = if others.is_empty() {
            format!(
                "{name} for `{scope}` is not among the project's variables; a group's are not listed here"
            )
        } else {
            format!("{name} has the scope {}; jobs of `{scope}` do not see it", others.join(", "))
        };
        return vec![Finding::warn(detail).manual_fix(fix(format!("add {}", describe(row))))];
    };
    let at = format!("{name} with the scope `{}`", one.scope);
    let needed = if row.required { CheckStatus::Fail } else { CheckStatus::Warn };
    let mut found = Vec::new();
    if row.protected && !one.protected {
        found.push(
            Finding::fail(format!(
                "{at} is not protected: merge requests can read the production token"
            ))
            .manual_fix(fix(format!("tick *Protect variable* of {name}, and make a new token"))),
        );
    }
    if !row.protected && one.protected {
        let finding = Finding::fail(format!("{at} is protected: merge requests get it empty"));
        let change = if one.scope == *scope {
            format!("clear *Protect variable* of {name}")
        } else {
            format!("add {}", describe(row))
        };
        found.push(Finding { status: needed, ..finding.manual_fix(fix(change)) });
    } else if one.scope != *scope {
        found.push(
            Finding::warn(format!("{at} reaches more jobs than those of `{scope}`"))
                .manual_fix(fix(format!("set the scope of {name} to `{scope}`"))),
        );
    }
    if row.masked && !one.masked {
        found.push(
            Finding::warn(format!("{at} is not masked"))
                .manual_fix(fix(format!("choose *Masked* for {name}"))),
        );
    }
    if one.empty {
        let finding = Finding::fail(format!("{at} is empty"));
        found.push(Finding {
            status: needed,
            ..finding.manual_fix(fix(format!("give {name} a value")))
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use workspace::config::Config;

    fn rows() -> Vec<Variable> {
        let text = workspace::toolchain::CONFIG;
        table(&Config::parse(text).expect("valid"))
    }

    fn one(key: &str, scope: &str, protected: bool) -> StoredVariable {
        let (key, scope) = (key.to_owned(), scope.to_owned());
        StoredVariable { key, scope, protected, masked: true, empty: false }
    }

    fn findings_of(stored: &[StoredVariable]) -> Vec<(CheckStatus, String)> {
        let found = compare(&rows(), stored);
        found.into_iter().map(|finding| (finding.status, finding.detail)).collect()
    }

    const CLOUDFLARE: &str = "CLOUDFLARE_WORKERS_TOKEN";

    #[test]
    fn accepts_variables_as_in_the_table() {
        let comment = one("CICD_COMMENT_TOKEN", "review/*", false);
        let other = one("OTHER", "*", false);
        let valid = [
            one(CLOUDFLARE, "production/*", true),
            one(CLOUDFLARE, "review/*", false),
            comment,
            other,
        ];
        assert_eq!(findings_of(&valid), []);
    }

    #[test]
    fn reports_each_difference_from_the_table() {
        let comment =
            StoredVariable { masked: false, empty: true, ..one("CICD_COMMENT_TOKEN", "*", true) };
        let findings = findings_of(&[one(CLOUDFLARE, "*", false), comment]);
        let lines: Vec<String> = findings.iter().map(|(s, text)| format!("{s:?} {text}")).collect();
        expect_test::expect![[r#"
            Fail CLOUDFLARE_WORKERS_TOKEN with the scope `*` is not protected: merge requests can read the production token
            Warn CLOUDFLARE_WORKERS_TOKEN with the scope `*` reaches more jobs than those of `production/*`
            Warn CLOUDFLARE_WORKERS_TOKEN with the scope `*` reaches more jobs than those of `review/*`
            Warn CICD_COMMENT_TOKEN with the scope `*` is protected: merge requests get it empty
            Warn CICD_COMMENT_TOKEN with the scope `*` is not masked
            Warn CICD_COMMENT_TOKEN with the scope `*` is empty"#]]
        .assert_eq(&lines.join("\n"));
        let findings = findings_of(&[one(CLOUDFLARE, "production/*", true)]);
        assert!(findings.iter().all(|(status, _)| *status == CheckStatus::Warn), "{findings:?}");
        assert!(
            findings[0].1.contains("has the scope `production/*`; jobs of `review/*`"),
            "{findings:?}"
        );
        assert!(findings[1].1.contains("a group's are not listed"), "{findings:?}");
    }
}
