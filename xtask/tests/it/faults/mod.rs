//! Every row of `xtask/tests/faults/`: the real xtask and wrangler, a sandbox that fails on request, and
//! what is true afterwards.

mod answers;
mod machine;
mod moment;
mod play;
mod stage;

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use dev::generated::faults::{Group, Row, read};
use serde_json::Value;

use crate::support::repository;
use stage::Stage;

/// How many rows run side by side. Most of their time they wait.
const SIDE_BY_SIDE: usize = 10;

/// One row with its surroundings.
#[derive(Clone, Debug)]
pub struct Case {
    /// The Worker's name, and the project's.
    pub name: String,
    /// The account that its Worker is in.
    pub account: String,
    /// What the sandbox is told.
    pub fault: Option<Value>,
    /// What else it is told, for the whole row.
    pub besides: Vec<Value>,
    /// Which of the sandbox's faults it is.
    pub number: usize,
    pub group: Group,
    pub row: Row,
}

impl Case {
    fn new(index: usize, group: &Group, row: &Row) -> Case {
        let name = format!("r{index:03}");
        let text = |value: &Value| value.to_string();
        let at = group.at.as_ref().map(text).unwrap_or_default();
        let besides: String = group.besides.iter().map(text).collect();
        // Only an upload's path does not name the Worker.
        let own = (at.clone() + &besides).contains("{account}");
        let account = if own { format!("{index:032}") } else { stage::ACCOUNT.to_owned() };
        let filled = |value: &Value| -> Value {
            let text = value.to_string().replace("{worker}", &name).replace("{account}", &account);
            serde_json::from_str(&text).expect("JSON")
        };
        let fault = group.at.as_ref().map(|at| {
            let mut fault = filled(at);
            let action = row.action.clone();
            fault["action"] = action.unwrap_or_else(|| answers::action(&row.fault));
            fault["times"] = row.times.into();
            fault
        });
        let besides = group.besides.iter().map(|fault| {
            let mut fault = filled(fault);
            if let Some(name) = fault["action"].as_str() {
                fault["action"] = answers::action(name);
            }
            fault
        });
        let besides = besides.collect();
        Case { name, account, fault, besides, number: 0, group: group.clone(), row: row.clone() }
    }

    fn title(&self) -> String {
        format!("{} [{} {}] {}", self.name, self.group.verb, self.group.what, self.row.fault)
    }
}

fn cases() -> Vec<Case> {
    let sections = read(&repository()).expect("tables");
    let groups = sections.iter().flat_map(|section| &section.groups);
    let rows = groups.flat_map(|group| group.rows.iter().map(move |row| (group, row)));
    let all = rows.enumerate().map(|(index, (group, row))| Case::new(index + 1, group, row));
    let mut cases: Vec<Case> = all.filter(wanted).collect();
    for (number, case) in cases.iter_mut().filter(|case| case.fault.is_some()).enumerate() {
        case.number = number;
    }
    cases
}

/// `XTASK_FAULTS` may hold parts of titles, one of which a row must have: for work on a few rows.
fn wanted(case: &Case) -> bool {
    let words = std::env::var("XTASK_FAULTS").unwrap_or_default();
    words.is_empty() || words.split(',').any(|word| case.title().contains(word))
}

#[test]
fn every_fault_ends_in_a_true_state() {
    let cases = cases();
    let started = Instant::now();
    let stage = Stage::new(&cases);
    let queue = Mutex::new(cases.iter());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some(case) = next else { break };
                    if let Some(problem) = play::play(&stage, case) {
                        problems.lock().expect("no panic").push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no panic");
    let (count, wrong) = (cases.len(), problems.len());
    // Past the test runner, which keeps what passing tests print to itself.
    let line = format!("{count} faults, {wrong} wrong, {} s", started.elapsed().as_secs());
    let _closed = writeln!(std::io::stderr(), "{line}");
    assert!(problems.is_empty(), "{}\n{line}", problems.join("\n\n"));
}
