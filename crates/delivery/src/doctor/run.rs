//! Runs checks in parallel, each with its own timeout, and returns their findings in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::check::Check;
use super::context::Context;
use super::finding::Finding;
use base::error::{Result, interrupted};
use base::runner::is_interrupted;

/// The finding and the duration of a check.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// The finding.
    pub finding: Finding,
    /// The duration.
    pub took: Duration,
}

/// Runs `checks`. A panic or a timeout becomes a finding. The thread of a check that timed out ends
/// with the process.
pub fn run(checks: &[Check], context: &Arc<Context>) -> Result<Vec<CheckResult>> {
    run_within(checks, context, |check| check.cost.deadline())
}

/// Runs `checks` like [`run`], with the timeout that `deadline` returns for each.
fn run_within(
    checks: &[Check],
    context: &Arc<Context>,
    deadline: impl Fn(&Check) -> Duration,
) -> Result<Vec<CheckResult>> {
    let (send, receive) = mpsc::channel();
    let started = Instant::now();
    for (index, check) in checks.iter().enumerate() {
        let (look, context, send) = (Arc::clone(&check.run), Arc::clone(context), send.clone());
        std::thread::spawn(move || {
            let finding = catch_unwind(AssertUnwindSafe(|| look(&context)))
                .unwrap_or_else(|panic| Finding::from_panic(reason(panic.as_ref())));
            let took = started.elapsed();
            // The receiver is dropped after the timeout.
            let _late = send.send((index, CheckResult { finding, took }));
        });
    }
    let mut found: Vec<Option<CheckResult>> = vec![None; checks.len()];
    let waiting = |found: &[Option<CheckResult>]| {
        let open = checks.iter().zip(found).filter(|(_, found)| found.is_none());
        open.map(|(check, _)| deadline(check)).max()
    };
    while let Some(longest) = waiting(&found) {
        let remaining = longest.saturating_sub(started.elapsed());
        if is_interrupted() {
            return Err(interrupted());
        }
        if remaining.is_zero() {
            break;
        }
        if let Ok((index, result)) = receive.recv_timeout(remaining.min(Duration::from_millis(50)))
        {
            found[index] = Some(result);
        }
    }
    let whole = checks.iter().zip(found);
    Ok(whole.map(|(check, result)| result.unwrap_or_else(|| late(deadline(check)))).collect())
}

fn late(took: Duration) -> CheckResult {
    CheckResult {
        finding: Finding::from_panic(format!("did not end within {} s", took.as_secs())),
        took,
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the check itself failed: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::{CheckFn, CheckGroup, Cost};
    use crate::doctor::finding::CheckStatus;

    fn check(id: &str, run: CheckFn) -> Check {
        Check {
            id: id.to_owned(),
            title: id.to_owned(),
            group: CheckGroup::Tools,
            needed_by: &[],
            cost: Cost::Read,
            run,
        }
    }

    #[test]
    fn reports_a_panic_or_hang_and_runs_the_other_checks() {
        let checks = [
            check(
                "hangs",
                Arc::new(|_| {
                    std::thread::sleep(Duration::from_secs(60));
                    Finding::ok()
                }),
            ),
            check("panics", Arc::new(|_| panic!("out of bounds"))),
            check("works", Arc::new(|_| Finding::ok())),
        ];
        let context = Arc::new(Context::new("/nowhere".into(), None, Vec::new()));
        // The others may take long on a busy machine.
        let deadline =
            |check: &Check| Duration::from_secs(if check.id == "hangs" { 1 } else { 60 });
        let found = run_within(&checks, &context, deadline).expect("not interrupted");
        let statuses: Vec<CheckStatus> = found.iter().map(|result| result.finding.status).collect();
        assert_eq!(statuses, [CheckStatus::Crashed, CheckStatus::Crashed, CheckStatus::Ok]);
        assert_eq!(found[0].finding.detail, "did not end within 1 s");
        assert_eq!(found[1].finding.detail, "the check itself failed: out of bounds");
    }
}
