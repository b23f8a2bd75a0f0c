//! Conditions of rules, as values.

use std::fmt::{Display, Formatter, Result};

use serde::{Serialize, Serializer};

/// The value that a variable is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A text without double quotes: GitLab has no way to escape them.
    Text(String),
    /// Another variable.
    Variable(&'static str),
}

/// The condition under which a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The variable equals the operand. A variable that is not set equals no text.
    Is(&'static str, Operand),
    /// The variable does not equal the operand.
    IsNot(&'static str, Operand),
    /// Every one of them holds.
    All(Vec<Condition>),
}

impl Condition {
    /// The variable equals a text.
    #[must_use]
    pub fn is(variable: &'static str, text: &str) -> Condition {
        Condition::Is(variable, Operand::Text(text.to_owned()))
    }

    /// The pipeline is a merge request's.
    #[must_use]
    pub fn merge_request() -> Condition {
        Condition::is("CI_PIPELINE_SOURCE", "merge_request_event")
    }

    /// The pipeline is the default branch's: a push, a schedule, or started manually.
    #[must_use]
    pub fn default_branch() -> Condition {
        Condition::Is("CI_COMMIT_BRANCH", Operand::Variable("CI_DEFAULT_BRANCH"))
    }

    /// The pipeline was started by a schedule.
    #[must_use]
    pub fn schedule() -> Condition {
        Condition::is("CI_PIPELINE_SOURCE", "schedule")
    }

    /// A merge request that gets a preview: its branch is in this project, since a fork's pipeline has
    /// none of our tokens; and it is not in a merge train, where the next thing is the deployment.
    #[must_use]
    pub fn preview() -> Condition {
        let project = Operand::Variable("CI_MERGE_REQUEST_PROJECT_ID");
        Condition::All(vec![
            Condition::merge_request(),
            Condition::Is("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", project),
            Condition::IsNot(
                "CI_MERGE_REQUEST_EVENT_TYPE",
                Operand::Text("merge_train".to_owned()),
            ),
        ])
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Operand::Text(text) => write!(f, "\"{text}\""),
            Operand::Variable(name) => write!(f, "${name}"),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Condition::Is(variable, operand) => write!(f, "${variable} == {operand}"),
            Condition::IsNot(variable, operand) => write!(f, "${variable} != {operand}"),
            Condition::All(all) => {
                for (index, condition) in all.iter().enumerate() {
                    let and = if index == 0 { "" } else { " && " };
                    write!(f, "{and}{condition}")?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
