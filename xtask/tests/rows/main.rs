//! Every row of `xtask/tests/faults/`: the real xtask and wrangler, a sandbox that fails on request, and
//! what is true afterwards.

mod answers;
#[expect(dead_code, reason = "the rows need a part of what other tests need")]
#[path = "../it/canary.rs"]
mod canary;
mod machine;
mod moment;
mod play;
mod stage;
#[expect(dead_code, reason = "the rows need a part of what other tests need")]
#[path = "../it/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};

use dev::generation::faults::{FaultGroup, FaultRow, read};
use serde_json::Value;

use crate::support::{CANARY, repository};
use stage::Stage;

/// The number of rows that run in parallel. They mostly wait.
const SIDE_BY_SIDE: usize = 16;

/// One row with its surroundings.
#[derive(Clone, Debug)]
pub struct Case {
    /// The Worker's name, and the project's.
    pub name: String,
    /// The account that its Worker is in.
    pub account: String,
    /// The fault that the sandbox plays.
    pub fault: Option<Value>,
    /// Further faults that it plays during the whole row.
    pub besides: Vec<Value>,
    /// The number of the sandbox's fault.
    pub number: usize,
    /// The group of the row.
    pub group: FaultGroup,
    /// The row.
    pub row: FaultRow,
}

impl Case {
    fn new(index: usize, group: &FaultGroup, row: &FaultRow) -> Case {
        let name = format!("r{index:03}");
        let text = |value: &Value| value.to_string();
        let at = group.at.as_ref().map(text).unwrap_or_default();
        let besides: String = group.besides.iter().map(text).collect();
        // Only an upload's path does not name the Worker.
        let own = (at.clone() + &besides).contains("{account}");
        let account = if own { format!("{index:032}") } else { stage::ACCOUNT.to_owned() };
        let filled = |value: &Value| -> Value {
            let token = Value::from(CANARY).to_string();
            let text = value.to_string().replace("{worker}", &name).replace("{account}", &account);
            let text = text.replace("{token}", token.trim_matches('"'));
            serde_json::from_str(&text).expect("JSON")
        };
        let fault = group.at.as_ref().map(|at| {
            let mut fault = filled(at);
            let action = row.action.as_ref().map(filled);
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
        format!("{}: {}: {}", self.group.verb, self.group.what, self.row.fault)
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    let cases: Vec<(String, Case)> = cases();
    let selected = cases.iter().filter(|(name, _)| is_selected(&arguments, name));
    let selected: Arc<Vec<Case>> = Arc::new(number(selected.map(|(_, case)| case.clone())));
    // Made by the first row that runs, so that a list of the rows starts no sandbox.
    let stage: Arc<OnceLock<Stage>> = Arc::default();
    let mut waiting = selected.iter().cloned();
    let trials = cases.into_iter().map(|(name, case)| {
        let run = is_selected(&arguments, &name);
        let case = if run { waiting.next().expect("one of the selected") } else { case };
        let (stage, selected) = (Arc::clone(&stage), Arc::clone(&selected));
        Trial::test(name, move || {
            let stage = stage.get_or_init(|| Stage::new(&selected));
            play::play(stage, &case).map_or(Ok(()), |problem| Err(problem.into()))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(stage) = stage.get().filter(|_| !conclusion.has_failed()) {
        stage.env.assert_no_canary(&[]);
    }
    // A static would keep the sandbox.
    drop(stage);
    conclusion.exit_code()
}

/// Every row under the name of its test.
fn cases() -> Vec<(String, Case)> {
    let sections = read(&repository()).expect("tables");
    let groups = sections.iter().flat_map(|section| &section.groups);
    let rows = groups.flat_map(|group| group.rows.iter().map(move |row| (group, row)));
    let mut names = BTreeMap::<String, u32>::new();
    let cases = rows
        .enumerate()
        .map(|(index, (group, row))| {
            let case = Case::new(index + 1, group, row);
            let count = names.entry(case.title()).or_default();
            *count += 1;
            let name =
                if *count == 1 { case.title() } else { format!("{} ({count})", case.title()) };
            (name, case)
        })
        .collect();
    spread(cases)
}

/// Puts one row that waits for a deadline after every few others, so that none of them is the last one to end.
fn spread(cases: Vec<(String, Case)>) -> Vec<(String, Case)> {
    let (waiting, others): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|(_, case)| case.row.deadline.is_some());
    let mut waiting = waiting.into_iter();
    let mut spread = Vec::new();
    for (index, case) in others.into_iter().enumerate() {
        if index % 8 == 0 {
            spread.extend(waiting.next());
        }
        spread.push(case);
    }
    spread.extend(waiting);
    spread
}

/// Numbers the faults of the rows that run, in the order in which the sandbox is told of them.
fn number(cases: impl Iterator<Item = Case>) -> Vec<Case> {
    let mut cases: Vec<Case> = cases.collect();
    for (number, case) in cases.iter_mut().filter(|case| case.fault.is_some()).enumerate() {
        case.number = number;
    }
    cases
}

/// Returns true if the test called `name` runs, as the harness decides it.
fn is_selected(arguments: &Arguments, name: &str) -> bool {
    let matches = |word: &str| if arguments.exact { name == word } else { name.contains(word) };
    arguments.filter.as_deref().is_none_or(matches)
        && !arguments.skip.iter().any(|word| matches(word))
}
