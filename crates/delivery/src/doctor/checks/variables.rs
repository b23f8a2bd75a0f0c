//! Checks the variables that this job sees: set, empty, or unexpected.

use crate::doctor::context::Context;
use crate::doctor::finding::{CheckStatus, Finding};
use gitlab::pipeline::kind::Kind;
use gitlab::pipeline::variables::{Variable, table};

/// The page of GitLab where variables are set.
pub const PLACE: &str = "*Settings → CI/CD → Variables*";

/// The properties of a job that decide which variables it sees.
struct JobScope<'a> {
    kind: Kind,
    /// The name of its environment.
    environment: Option<String>,
    /// `true` if it runs on a protected branch or tag.
    protected: bool,
    /// A variable's value, which may be empty.
    value: &'a dyn Fn(&str) -> Option<String>,
}

/// `pipeline.<variable>.<scope>`
pub fn check(context: &Context, row: &Variable) -> Finding {
    let ci = &context.ci;
    if !ci.is_pipeline() {
        return Finding::skip("not in a GitLab pipeline");
    }
    let rows = context.config().map(table).unwrap_or_default();
    let job = JobScope {
        kind: Kind::from_ci(ci),
        environment: ci.environment_name.clone(),
        protected: ci.is_protected(),
        value: &|name| base::env::raw_variable(name),
    };
    judge(row, &rows, &job).source(&row.name)
}

fn judge(row: &Variable, rows: &[Variable], job: &JobScope<'_>) -> Finding {
    let Variable { name, scope, .. } = row;
    let sees = |row: &Variable| job.environment.as_ref().is_some_and(|at| row.reaches(at));
    let value = (job.value)(name);
    let found = match value.as_deref().map(str::trim) {
        None => "not set",
        Some("") => "empty",
        Some(_) => "set",
    };
    // The visible value may belong to another row with the same name.
    let stray = found == "set"
        && !rows.iter().any(|other| other.name == *name && other != row && sees(other));
    let open = job.kind == Kind::MergeRequest || !job.protected;
    if stray && row.protected && open {
        return Finding::fail(format!(
            "{name} is visible in {}, so it is not protected: whoever can push a branch can read it",
            job.kind.words()
        ))
        .manual_fix(format!("{PLACE}: tick *Protect variable*, and set the scope `{scope}`"))
        .add_manual_fix("make a new token in its place: the old one may have been read")
        .with_value(found);
    }
    if !row.pipelines.contains(&job.kind) {
        return Finding::skip(format!("{} does not need it", job.kind.words())).with_value(found);
    }
    if !sees(row) {
        let environment = job.environment.as_ref();
        let job = environment
            .map_or_else(|| "no environment".to_owned(), |at| format!("environment `{at}`"));
        if stray {
            return Finding::warn(format!(
                "{name} reaches a job with {job}, so its scope is wider than `{scope}`"
            ))
            .manual_fix(format!("{PLACE}: set the scope `{scope}`"))
            .with_value(found);
        }
        return Finding::skip(format!(
            "only jobs with an environment `{scope}` see it; this one has {job}"
        ))
        .with_value(found);
    }
    absent(row, job, found)
}

/// A variable that this job needs and should see.
fn absent(row: &Variable, job: &JobScope<'_>, found: &str) -> Finding {
    let Variable { name, scope, .. } = row;
    let cleared = !row.protected && !job.protected;
    let finding = match found {
        "set" => return Finding::ok().with_value(found),
        "empty" if cleared => Finding::fail(format!(
            "the variable {name} is set but empty, as a protected one is in {}",
            job.kind.words()
        ))
        .manual_fix(format!(
            "{PLACE}: clear *Protect variable* of {name} with the scope `{scope}`"
        )),
        "empty" if !job.protected => Finding::fail(format!(
            "the variable {name} is set but empty: it is protected, and this branch is not"
        ))
        .manual_fix("protect the default branch: *Settings → Repository → Protected branches*"),
        "empty" => Finding::fail(format!("the variable {name} is set but empty"))
            .manual_fix(format!("{PLACE}: give it a value")),
        _ => Finding::fail(format!("the variable {name} is not set for this job"))
            .manual_fix(format!("{PLACE}: add {}", describe(row))),
    };
    let status = if row.required { CheckStatus::Fail } else { CheckStatus::Warn };
    Finding { status, ..finding.with_value(found).with_expected("set") }
}

/// Describes a row.
#[must_use]
pub fn describe(row: &Variable) -> String {
    let not = if row.protected { "protected" } else { "not protected" };
    let masked = if row.masked { ", masked" } else { "" };
    let holds = row.holds.replace(['*', '`'], "");
    format!("{}, scope `{}`, {not}{masked}: {holds}", row.name, row.scope)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use workspace::config::Config;

    fn rows(other_token: bool) -> Vec<Variable> {
        let text = workspace::toolchain::CONFIG;
        let own = r#""production": { "cloudflare": { "tokenVariable": "PRODUCTION_TOKEN" }, "protected": true },
            "trial": { "previews": true }"#;
        let text = match other_token {
            true => text.replace(r#""production": { "protected": true, "previews": true }"#, own),
            false => text.to_owned(),
        };
        table(&Config::parse(&text).expect("valid"))
    }

    fn findings_text(rows: &[Variable], job: &JobScope<'_>) -> String {
        let line = |row: &Variable| {
            let finding = judge(row, rows, job);
            let fix = finding.fix.map(|fix| format!("\n    {}", fix.text.replace('\n', "\n    ")));
            let (name, scope) = (&row.name, &row.scope);
            let Finding { status, detail, .. } = finding;
            format!("{status:?} {name} {scope}: {detail}{}\n", fix.unwrap_or_default())
        };
        rows.iter().map(line).collect()
    }

    fn job<'a>(
        kind: Kind,
        environment: Option<&str>,
        value: &'a dyn Fn(&str) -> Option<String>,
    ) -> JobScope<'a> {
        let protected = kind != Kind::MergeRequest;
        JobScope { kind, environment: environment.map(str::to_owned), protected, value }
    }

    #[test]
    fn merge_request_job_needs_its_variables() {
        let rows = rows(true);
        let review = Some("review/42");
        let mut text = String::new();
        for value in [Some("x"), Some(""), None] {
            let value = |_: &str| value.map(str::to_owned);
            text += &findings_text(&rows, &job(Kind::MergeRequest, review, &value));
        }
        expect![[r#"
            Fail PRODUCTION_TOKEN production/*: PRODUCTION_TOKEN is visible in a merge request's pipeline, so it is not protected: whoever can push a branch can read it
                *Settings → CI/CD → Variables*: tick *Protect variable*, and set the scope `production/*`
                make a new token in its place: the old one may have been read
            Ok CLOUDFLARE_WORKERS_TOKEN review/*: 
            Ok CICD_COMMENT_TOKEN review/*: 
            Skip PRODUCTION_TOKEN production/*: a merge request's pipeline does not need it
            Fail CLOUDFLARE_WORKERS_TOKEN review/*: the variable CLOUDFLARE_WORKERS_TOKEN is set but empty, as a protected one is in a merge request's pipeline
                *Settings → CI/CD → Variables*: clear *Protect variable* of CLOUDFLARE_WORKERS_TOKEN with the scope `review/*`
            Warn CICD_COMMENT_TOKEN review/*: the variable CICD_COMMENT_TOKEN is set but empty, as a protected one is in a merge request's pipeline
                *Settings → CI/CD → Variables*: clear *Protect variable* of CICD_COMMENT_TOKEN with the scope `review/*`
            Skip PRODUCTION_TOKEN production/*: a merge request's pipeline does not need it
            Fail CLOUDFLARE_WORKERS_TOKEN review/*: the variable CLOUDFLARE_WORKERS_TOKEN is not set for this job
                *Settings → CI/CD → Variables*: add CLOUDFLARE_WORKERS_TOKEN, scope `review/*`, not protected, masked: Cloudflare API token: Workers Scripts: Edit on the account
            Warn CICD_COMMENT_TOKEN review/*: the variable CICD_COMMENT_TOKEN is not set for this job
                *Settings → CI/CD → Variables*: add CICD_COMMENT_TOKEN, scope `review/*`, not protected, masked: Project access token, scope api, the lowest role that may comment (Reporter), a short life: writes the comment
        "#]].assert_eq(&text);
    }

    #[test]
    fn reports_one_variable_for_two_tokens() {
        let rows = rows(false);
        let set = |_: &str| Some("x".to_owned());
        let status = |job: &JobScope<'_>| {
            rows.iter().map(|row| judge(row, &rows, job).status).collect::<Vec<_>>()
        };
        use CheckStatus::{Fail, Ok, Skip, Warn};
        // A preview's job sees the preview's variable. A job without an environment sees the one for all.
        assert_eq!(status(&job(Kind::MergeRequest, Some("review/42"), &set)), [Skip, Ok, Ok]);
        assert_eq!(status(&job(Kind::MergeRequest, None, &set)), [Fail, Warn, Warn]);
        assert_eq!(status(&job(Kind::DefaultBranch, Some("production/a"), &set)), [Ok, Skip, Skip]);
        assert_eq!(status(&job(Kind::DefaultBranch, None, &set)), [Warn, Skip, Skip]);
        assert_eq!(status(&job(Kind::Tag, None, &set)), [Skip, Skip, Skip]);
        let none = |_: &str| None;
        assert_eq!(status(&job(Kind::DefaultBranch, None, &none)), [Skip, Skip, Skip]);
        assert_eq!(
            status(&job(Kind::Schedule, Some("production/a"), &none)),
            [Fail, Skip, Skip],
            "a schedule deploys"
        );
    }
}
