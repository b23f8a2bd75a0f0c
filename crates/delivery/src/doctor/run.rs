//! Runs checks side by side, each within its own deadline, and returns their findings in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::check::Check;
use super::finding::Finding;
use super::scene::Scene;
use base::error::{Failure, interrupted};
use base::runner::INTERRUPTED;

/// A check's finding and how long it took.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What it found.
    pub finding: Finding,
    /// How long it took.
    pub took: Duration,
}

/// Runs `checks`. One that panics or does not end within its deadline is a finding, not an abort; the
/// thread of the latter is left behind and ends with the process.
pub fn run(checks: &[Check], scene: &Arc<Scene>) -> Result<Vec<Looked>, Failure> {
    let (send, receive) = mpsc::channel();
    let started = Instant::now();
    for (index, check) in checks.iter().enumerate() {
        let (look, scene, send) = (Arc::clone(&check.run), Arc::clone(scene), send.clone());
        std::thread::spawn(move || {
            let finding = catch_unwind(AssertUnwindSafe(|| look(&scene)))
                .unwrap_or_else(|panic| Finding::crashed(reason(panic.as_ref())));
            let took = started.elapsed();
            // Nobody listens any more when the deadline has passed.
            let _late = send.send((index, Looked { finding, took }));
        });
    }
    let mut found: Vec<Option<Looked>> = vec![None; checks.len()];
    let waiting = |found: &[Option<Looked>]| {
        let open = checks.iter().zip(found).filter(|(_, found)| found.is_none());
        open.map(|(check, _)| check.cost.deadline()).max()
    };
    while let Some(deadline) = waiting(&found) {
        let left = deadline.saturating_sub(started.elapsed());
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(interrupted());
        }
        if left.is_zero() {
            break;
        }
        if let Ok((index, looked)) = receive.recv_timeout(left.min(Duration::from_millis(50))) {
            found[index] = Some(looked);
        }
    }
    let whole = checks.iter().zip(found);
    Ok(whole.map(|(check, looked)| looked.unwrap_or_else(|| late(check))).collect())
}

fn late(check: &Check) -> Looked {
    let took = check.cost.deadline();
    Looked { finding: Finding::crashed(format!("did not end within {} s", took.as_secs())), took }
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
    use crate::doctor::check::{Cost, Group, Look};
    use crate::doctor::finding::Status;

    fn check(id: &str, run: Look) -> Check {
        Check {
            id: id.to_owned(),
            title: id.to_owned(),
            group: Group::Tools,
            needed_by: &[],
            cost: Cost::Look,
            run,
        }
    }

    #[test]
    fn a_panic_and_a_hang_are_findings_and_stop_no_other_check() {
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
        let scene = Arc::new(Scene::new("/nowhere".into(), None, Vec::new()));
        let found = run(&checks, &scene).expect("not interrupted");
        let statuses: Vec<Status> = found.iter().map(|looked| looked.finding.status).collect();
        assert_eq!(statuses, [Status::Crashed, Status::Crashed, Status::Ok]);
        assert_eq!(found[0].finding.detail, "did not end within 2 s");
        assert_eq!(found[1].finding.detail, "the check itself failed: out of bounds");
    }
}
