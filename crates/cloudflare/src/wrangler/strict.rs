//! Explains why `--strict` stopped wrangler. Its error says only that there are conflicts, and a warning before it says
//! which.

/// The error of wrangler when `--strict` stops it (observed with 4.164).
const STOPPED: &str = "Aborting the upload operation because of conflicts";

/// The mark of a warning in wrangler's output.
pub const WARNING: &str = "[WARNING]";

/// The reasons for which `--strict` stops wrangler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrictStop {
    /// The settings in the dashboard differ from the config.
    Dashboard,
    /// Another program deployed the Worker through the API.
    Api,
    /// Variables or bindings of the config have the names of secrets of the Worker.
    Secrets(Vec<String>),
    /// Workflows of the config belong to other Workers.
    Workflows,
    /// The warning is not known, or not among the lines.
    Unknown,
}

impl StrictStop {
    /// Finds the reason in wrangler's output. `None` if `--strict` did not stop it.
    #[must_use]
    pub fn find(lines: &[String]) -> Option<StrictStop> {
        let end = lines.iter().position(|line| line.contains(STOPPED))?;
        let warning = lines[..end].iter().rposition(|line| line.contains(WARNING));
        let text = lines[warning.unwrap_or_default()..end].join("\n");
        Some(if text.contains("differs from the remote configuration") {
            StrictStop::Dashboard
        } else if text.contains("last updated via the script API") {
            StrictStop::Api
        } else if let Some((names, _)) =
            text.split_once(" conflict").filter(|(_, rest)| rest.contains("remote secret"))
        {
            StrictStop::Secrets(names.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        } else if text.contains("belong to different workers") {
            StrictStop::Workflows
        } else {
            StrictStop::Unknown
        })
    }

    /// Returns the next step. `command` runs wrangler for the project.
    #[must_use]
    pub fn hint(&self, command: &str) -> String {
        match self {
            StrictStop::Dashboard | StrictStop::Unknown => {
                "bring the change into the wrangler config or undo it: the Worker was changed elsewhere, as the lines \
                 above show"
                    .to_owned()
            }
            StrictStop::Api => {
                "bring the change into the project, then run `wrangler deploy` once in its folder: the Worker was changed \
                 elsewhere, by a program that uses the API, and wrangler cannot compare its settings"
                    .to_owned()
            }
            StrictStop::Secrets(names) if names.is_empty() => {
                format!("delete the secret by `{command} -- secret delete NAME`, or rename the variable in the wrangler config")
            }
            StrictStop::Secrets(names) => {
                let commands: Vec<String> = names
                    .iter()
                    .map(|name| format!("`{command} -- secret delete {name}`"))
                    .collect();
                format!(
                    "run {} if the config's value replaces the secret, or rename it in the wrangler config",
                    commands.join(" and ")
                )
            }
            StrictStop::Workflows => {
                "rename the workflow in the wrangler config, or delete it from the Worker that has it: names of workflows \
                 are unique in an account"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_next_step() {
        let secrets = |names: &[&str]| {
            StrictStop::Secrets(names.iter().map(|name| (*name).to_owned()).collect())
        };
        for (warning, expected, hint) in [
            (
                "Environment variable `STAGE` conflicts with an existing remote secret. This deployment will replace",
                secrets(&["STAGE"]),
                "run `wrangler x -- secret delete STAGE` if",
            ),
            (
                "Bindings `A` and `B` conflict with existing remote secrets. This deployment will replace",
                secrets(&["A", "B"]),
                "run `wrangler x -- secret delete A` and `wrangler x -- secret delete B` if",
            ),
            (
                "Configuration values (`A`, `B`) conflict with existing remote secrets.",
                secrets(&["A", "B"]),
                "run `wrangler x -- secret delete A` and",
            ),
            (
                "The local configuration being used (generated from your local configuration file) differs from the remote configuration of your Worker set via the Cloudflare Dashboard:",
                StrictStop::Dashboard,
                "bring the change into the wrangler config or undo it",
            ),
            (
                "You are about to upload a Worker that was last updated via the script API.",
                StrictStop::Api,
                "bring the change into the project",
            ),
            (
                "The following workflow(s) already exist and belong to different workers:",
                StrictStop::Workflows,
                "rename the workflow",
            ),
            ("something new", StrictStop::Unknown, "bring the change into the wrangler config"),
        ] {
            let lines = [
                "▲ [WARNING] something `else`".to_owned(),
                format!("▲ [WARNING] {warning}"),
                "  more".to_owned(),
                format!(
                    "✘ [ERROR] {STOPPED}. To override and upload anyway, remove the `--strict` flag"
                ),
            ];
            let found = StrictStop::find(&lines).expect("a reason");
            assert_eq!(found, expected, "{warning}");
            assert!(found.hint("wrangler x").starts_with(hint), "{}", found.hint("wrangler x"));
            assert_eq!(StrictStop::find(&lines[..3]), None);
        }
    }
}
