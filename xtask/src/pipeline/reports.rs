//! The files by which a job tells GitLab what it did, without any token.

/// The variable with the address of what a job deployed, for `environment.url`.
pub const URL: &str = "XTASK_URL";

/// Variables for later: lines of `NAME=value`, no blank ones
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>).
pub const DOTENV: &str = ".xtask/reports/deploy.env";

/// Links on the job's page
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations>).
pub const ANNOTATIONS: &str = ".xtask/reports/annotations.json";
