//! The effect of an upgrade on the projects: which of them get another content key.

use base::text::list_first;

use crate::commands::keys::KeyReport;

/// The maximum number of projects in the text.
const MOST_NAMES: usize = 10;

/// The effect of an upgrade on the projects.
#[derive(Debug)]
pub struct UpgradeEffect {
    /// The tools that moved, as lines.
    pub tools: Vec<String>,
    /// The projects with another content key.
    pub changed: Vec<String>,
    projects: usize,
}

impl UpgradeEffect {
    /// Compares the keys before and after.
    #[must_use]
    pub fn new(before: &KeyReport, after: &KeyReport) -> UpgradeEffect {
        UpgradeEffect {
            tools: before.moved_tools(after),
            changed: before.changed_projects(after).into_iter().map(str::to_owned).collect(),
            projects: after.keys.len(),
        }
    }

    /// Returns the effect of a version that is a part of every content key.
    #[must_use]
    pub fn on_every_project(keys: &KeyReport) -> UpgradeEffect {
        let changed: Vec<String> = keys.keys.keys().cloned().collect();
        UpgradeEffect { tools: Vec::new(), projects: changed.len(), changed }
    }

    /// Returns the effect of a version that is not part of any content key.
    #[must_use]
    pub fn on_no_project(keys: &KeyReport) -> UpgradeEffect {
        UpgradeEffect { tools: Vec::new(), changed: Vec::new(), projects: keys.keys.len() }
    }

    /// Returns the text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text: String = self.tools.iter().map(|line| format!("{line}\n")).collect();
        if self.changed.is_empty() {
            return text + "no content key changes: nothing is deployed again\n";
        }
        text += &format!(
            "{} of {} projects get another content key and are deployed once more: {}\n",
            self.changed.len(),
            self.projects,
            list_first(MOST_NAMES, &self.changed)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_names_the_projects() {
        let report = |tool: &str, keys: &[(&str, &str)]| KeyReport {
            schema: 1,
            tools: [("wrangler".to_owned(), tool.to_owned())].into(),
            keys: keys.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect(),
        };
        let before = report("4.1.0", &[("a", "1"), ("b", "2")]);
        let text = |after: &KeyReport| UpgradeEffect::new(&before, after).text();
        assert_eq!(
            text(&report("4.2.0", &[("a", "3"), ("b", "2")])),
            "wrangler 4.1.0 → 4.2.0\n1 of 2 projects get another content key and are deployed once more: a\n"
        );
        assert_eq!(text(&before), "no content key changes: nothing is deployed again\n");
        assert_eq!(
            UpgradeEffect::on_every_project(&before).text(),
            "2 of 2 projects get another content key and are deployed once more: a, b\n"
        );
    }
}
