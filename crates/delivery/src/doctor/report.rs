//! The report of doctor: one value for people, programs and the exit code.

use serde::Serialize;

use super::check::Check;
use super::finding::{CheckStatus, Finding};
use super::readiness::ReadinessRow;
use super::run::CheckResult;
use base::error::{ErrorKind, Exit};
use gitlab::pipeline::own_jobs::PipelineNote;

/// A check and its finding.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportEntry {
    /// The check.
    #[serde(flatten)]
    pub check: Check,
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The duration.
    pub milliseconds: u64,
}

/// The number of checks with each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The number of passed checks.
    pub ok: usize,
    /// The number of skipped checks.
    pub skip: usize,
    /// The number of warnings.
    pub warn: usize,
    /// The number of failed checks.
    pub fail: usize,
    /// The number of checks that failed themselves.
    pub crashed: usize,
}

/// The result of `--fix` for one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FixResult {
    /// The check.
    pub id: String,
    /// The status before.
    pub before: CheckStatus,
    /// The status now.
    pub after: CheckStatus,
    /// The reason why the fix did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The whole report.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// The version of this shape.
    pub schema: u32,
    /// The exit code.
    pub exit: Exit,
    /// The requested environment.
    pub environment: Option<String>,
    /// The number of checks with each status.
    pub counts: Counts,
    /// One entry per check, in order.
    pub checks: Vec<ReportEntry>,
    /// The results of `--fix`. Empty without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<FixResult>,
    /// The projects, with the problems that prevent their deployment. Only in the report of all checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ReadinessRow>,
    /// The jobs of the repository's own pipeline that do not run in that of a merge request, or what prevents it, as in the
    /// report of `init`. Only in the report of all checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineNote>,
}

impl DoctorReport {
    /// Creates the report of `checks`. With `strict`, a warning counts as a problem.
    #[must_use]
    pub fn new(
        checks: &[Check],
        result: Vec<CheckResult>,
        environment: Option<String>,
        strict: bool,
    ) -> DoctorReport {
        let checks: Vec<ReportEntry> = checks
            .iter()
            .cloned()
            .zip(result)
            .map(|(check, result)| ReportEntry {
                check,
                finding: result.finding,
                milliseconds: u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        let mut counts = Counts::default();
        for entry in &checks {
            *match entry.finding.status {
                CheckStatus::Ok => &mut counts.ok,
                CheckStatus::Skip => &mut counts.skip,
                CheckStatus::Warn => &mut counts.warn,
                CheckStatus::Fail => &mut counts.fail,
                CheckStatus::Crashed => &mut counts.crashed,
            } += 1;
        }
        let bad = counts.fail + counts.crashed > 0 || (strict && counts.warn > 0);
        DoctorReport {
            schema: 1,
            exit: Exit::worst(bad.then_some(ErrorKind::Failed)),
            environment,
            counts,
            checks,
            fixed: Vec::new(),
            projects: Vec::new(),
            pipeline: None,
        }
    }
}
