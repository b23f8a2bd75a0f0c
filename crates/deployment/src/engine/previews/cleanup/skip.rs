//! Skips previews with a merge request's number that may not belong to it.

use serde::Serialize;

use crate::engine::previews::stop::{PreviewDeletion, Previews};
use crate::plan::destination::Destination;
use crate::plan::merge_request::GitlabProject;
use base::command::quote;
use base::error::Result;
use base::time::parse_rfc3339;
use gitlab::api::leftovers::{GitlabEnvironment, ListedMergeRequest, ListedState};

/// The time after the end of a merge request in which a preview may still belong to it, because of
/// a running pipeline or a retried job. A preview that the comment shows has no such limit.
const LATE: u64 = 86_400;

/// A preview or an environment that is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// The number in its name.
    pub iid: u64,
    /// The project of the preview. `None` for an environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// The reason.
    pub reason: String,
    /// The command that deletes it. For an environment, the page in GitLab.
    pub command_line: String,
}

impl Skipped {
    /// The text for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Skipped { project, name, reason, command_line, .. } = self;
        let what = match project {
            Some(project) => format!("preview {name} of {project}"),
            None => format!("environment {name}"),
        };
        format!("{what} is skipped: {reason}; to delete it: {command_line}")
    }

    fn preview(
        iid: u64,
        one: &PreviewDeletion,
        reason: &str,
        destination: &Destination,
    ) -> Skipped {
        let command = destination.command_line("preview stop", &quote(&one.project));
        Skipped {
            iid,
            project: Some(one.project.clone()),
            name: one.name.clone(),
            reason: reason.to_owned(),
            command_line: format!("{command} --alias {}", one.name),
        }
    }

    /// Returns the previews and the environment with the number of a merge request that does not
    /// exist in GitLab. They belong to another project, such as the repository's previous one,
    /// where the merge request may be open.
    pub fn unknown(
        iid: u64,
        project: &GitlabProject,
        (previews, environment): (&[PreviewDeletion], Option<&GitlabEnvironment>),
        destination: Option<&Destination>,
    ) -> Vec<Skipped> {
        let number = &project.number;
        let reason = format!("the GitLab project {number} has had no merge request !{iid} yet");
        let previews = previews
            .iter()
            .filter_map(|one| Some(Skipped::preview(iid, one, &reason, destination?)));
        let environment = environment.map(|one| Skipped {
            iid,
            project: None,
            name: one.name.clone(),
            reason: reason.clone(),
            command_line: "Operate → Environments".to_owned(),
        });
        previews.chain(environment).collect()
    }
}

/// Removes from `found` the previews that were deployed while `request` was not open and that its
/// comment does not show. They belong to another merge request with this number.
pub fn take_foreign(
    found: &mut Vec<PreviewDeletion>,
    request: &ListedMergeRequest,
    shown: &[String],
    previews: &Previews<'_>,
) -> Vec<Skipped> {
    let mut skipped = Vec::new();
    found.retain_mut(|one| {
        if shown.contains(&one.project) {
            return true;
        }
        match objection(one, request, previews) {
            Ok(None) => true,
            Ok(Some(reason)) => {
                skipped.push(Skipped::preview(request.iid, one, &reason, previews.destination()));
                false
            }
            Err(error) => {
                one.set_result(Err(error));
                true
            }
        }
    });
    skipped
}

fn objection(
    one: &PreviewDeletion,
    request: &ListedMergeRequest,
    previews: &Previews<'_>,
) -> Result<Option<String>> {
    let time = |text: &Option<String>| text.as_deref().and_then(parse_rfc3339);
    let over = match request.state {
        ListedState::Merged => time(&request.merged_at),
        _ => time(&request.closed_at),
    };
    let opened = time(&request.created_at);
    if opened.is_none() && over.is_none() {
        return Ok(None);
    }
    let deployed = previews.deployed_at(one)?;
    Ok(deployed.and_then(|deployed| time_objection(deployed, request.iid, opened, over)))
}

fn time_objection(
    deployed: u64,
    iid: u64,
    opened: Option<u64>,
    over: Option<u64>,
) -> Option<String> {
    if opened.is_some_and(|opened| deployed < opened) {
        return Some(format!("it was deployed before !{iid} was opened"));
    }
    let late = over.is_some_and(|over| deployed > over.saturating_add(LATE));
    late.then(|| format!("it was deployed more than a day after the end of !{iid}"))
}

#[cfg(test)]
mod tests {
    use super::{LATE, time_objection};

    #[test]
    fn accepts_only_previews_from_the_time_of_the_merge_request() {
        let (opened, over) = (Some(1_000_000), Some(2_000_000));
        for deployed in [1_000_000, 1_500_000, 2_000_000 + LATE] {
            assert_eq!(time_objection(deployed, 7, opened, over), None, "{deployed}");
        }
        for (deployed, expected) in [(999_999, "before"), (2_000_001 + LATE, "after the end of !7")]
        {
            let reason = time_objection(deployed, 7, opened, over).expect("a reason");
            assert!(reason.contains(expected), "{reason}");
        }
        assert_eq!(time_objection(5, 7, None, None), None);
    }
}
