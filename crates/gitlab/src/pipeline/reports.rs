//! The report files of a job for GitLab, which need no token.

/// A dotenv report: lines of `NAME=value` for `environment.url`
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dotenv {
    /// The path of the file, relative to the repository's root.
    pub file: &'static str,
    /// The variable with the URL.
    pub variable: &'static str,
}

/// The report of `preview`.
pub const PREVIEW: Dotenv = Dotenv { file: ".xtask/preview.env", variable: "PREVIEW_URL" };

/// The report of `deploy`.
pub const DEPLOY: Dotenv = Dotenv { file: ".xtask/deploy.env", variable: "DEPLOY_URL" };

/// Links on the job's page
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations>).
pub const ANNOTATIONS: &str = ".xtask/annotations.json";
