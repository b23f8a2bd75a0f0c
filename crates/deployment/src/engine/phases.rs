//! The numbered phases of a run with a setup: `[1/4] tools`, `[2/4] sandbox`.

use crate::plan::{Engine, Operation, Plan};

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Missing tools are installed.
    Tools,
    /// The sandbox is built and started.
    Sandbox,
    /// Projects are installed and built.
    Build,
    /// Versions are uploaded, made live and checked.
    Deploy,
    /// Previews are uploaded and checked.
    Preview,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Tools => "tools",
            Phase::Sandbox => "sandbox",
            Phase::Build => "build",
            Phase::Deploy => "deploy",
            Phase::Preview => "preview",
        }
    }

    /// Returns the phases of a plan after its setup.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Vec<Phase> {
        // One container builds and uploads.
        let is_separate = plan.choice.engine == Engine::Host || plan.operation == Operation::Build;
        let has_work = plan.projects.iter().any(|project| {
            project.build.is_some() || project.build_plan.toolchain.installation.is_some()
        });
        let build = (is_separate && has_work).then_some(Phase::Build);
        let last = match plan.operation {
            Operation::Build => None,
            Operation::Preview => Some(Phase::Preview),
            Operation::Deploy | Operation::Promote | Operation::Rollback | Operation::Delete => {
                Some(Phase::Deploy)
            }
        };
        build.into_iter().chain(last).collect()
    }
}

/// The phases of a run in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases(Vec<Phase>);

impl Phases {
    /// Numbers the phases of a run whose setup has the phases `setup`. A run without a setup has no numbers, because its
    /// few steps take seconds.
    #[must_use]
    pub fn new(setup: &[Phase], rest: &[Phase]) -> Phases {
        if setup.is_empty() { Phases::default() } else { Phases([setup, rest].concat()) }
    }

    /// Returns the label of a phase, such as `[1/4] tools`. `None` if the run does not have the phase, or has no
    /// other phase.
    #[must_use]
    pub fn label(&self, phase: Phase) -> Option<String> {
        let at = self.0.iter().position(|one| *one == phase).filter(|_| self.0.len() > 1)?;
        Some(format!("[{}/{}] {}", at + 1, self.0.len(), phase.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_the_phases_of_this_run() {
        use Phase::{Build, Deploy, Sandbox, Tools};
        let labels = |setup: &[Phase], rest: &[Phase]| {
            let phases = Phases::new(setup, rest);
            [Tools, Sandbox, Build, Deploy].map(|phase| phases.label(phase).unwrap_or_default())
        };
        assert_eq!(
            labels(&[Tools, Sandbox], &[Build, Deploy]),
            ["[1/4] tools", "[2/4] sandbox", "[3/4] build", "[4/4] deploy"]
        );
        assert_eq!(labels(&[Sandbox], &[Deploy]), ["", "[1/2] sandbox", "", "[2/2] deploy"]);
        assert_eq!(labels(&[Tools], &[Build]), ["[1/2] tools", "", "[2/2] build", ""]);
        assert_eq!(labels(&[Sandbox], &[]), ["", "", "", ""], "one phase needs no number");
        assert_eq!(labels(&[], &[Build, Deploy]), ["", "", "", ""], "nothing is set up");
    }
}
