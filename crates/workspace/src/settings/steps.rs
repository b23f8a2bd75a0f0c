//! The build commands of a project, and the program that runs its scripts.

use serde::{Deserialize, Serialize};

/// The program that runs build scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Node. Scripts run as the package manager runs them.
    Node,
    /// Bun, even if the shebang of a script names another program.
    Bun,
}

impl Runtime {
    /// Returns the name in settings and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Node => "node",
            Runtime::Bun => "bun",
        }
    }
}

/// Shell commands that run in order: a string or a list of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "OneOrMany")]
pub struct Steps(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a command or a list of commands")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Steps {
    fn from(steps: OneOrMany) -> Steps {
        let steps = match steps {
            OneOrMany::One(step) => vec![step],
            OneOrMany::Many(steps) => steps,
        };
        Steps(steps.into_iter().filter(|step| !step.trim().is_empty()).collect())
    }
}

impl From<String> for Steps {
    fn from(step: String) -> Steps {
        OneOrMany::One(step).into()
    }
}

impl Steps {
    /// Returns true if there are no commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the commands in order.
    #[must_use]
    pub fn commands(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_steps_as_a_text_or_a_list() {
        let steps = |text: &str| serde_json::from_str::<Steps>(text);
        for (text, expected) in [
            (r#""vite build""#, &["vite build"][..]),
            (r#"["a", " ", "b --c"]"#, &["a", "b --c"]),
            (r#""""#, &[]),
            ("[]", &[]),
        ] {
            assert_eq!(steps(text).expect(text).commands(), expected, "{text}");
        }
        let error = steps("{}").expect_err("no command");
        assert_eq!(error.to_string(), "expected a command or a list of commands");
    }
}
