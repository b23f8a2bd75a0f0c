//! Converts records of previews to rows of the comment.

use crate::record::{DeployStatus, Record};
use gitlab::comment::{CommentRow, PreviewStatus};

/// Returns the comment's row of one attempt. The job adds the commit, because a record may have the
/// merge commit of merged results.
#[must_use]
pub fn row(record: &Record) -> CommentRow {
    let is_done = record.status.is_done();
    let status = match record.status {
        DeployStatus::Undeployed => PreviewStatus::Undeployed,
        _ if is_done => PreviewStatus::Ready,
        _ => PreviewStatus::Failed,
    };
    let mut urls = record.urls.iter().filter(|_| is_done).cloned();
    let alias_url = record.alias.is_some().then(|| urls.next()).flatten();
    CommentRow {
        alias_url,
        version_url: urls.next(),
        time: Some(record.ended.clone()).filter(|time| !time.is_empty()),
        reason: record.error_text().filter(|_| !is_done),
        warning: Some(record.warnings.join("\n")).filter(|text| is_done && !text.is_empty()),
        ..CommentRow::new(&record.project, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operation;
    use crate::plan::destination::Destination;
    use gitlab::ci::CiVariables;
    use workspace::config::Config;

    fn record(status: DeployStatus) -> Record {
        let config = Config::parse(workspace::toolchain::CONFIG);
        let config = config.expect("valid");
        let destination =
            Destination::resolve(&config, "staging", None, &CiVariables::default(), None);
        let urls = ["https://mr-42-site.example/", "https://0a1b2c3d-site.example/"];
        Record {
            status,
            alias: Some("mr-42".to_owned()),
            urls: urls.map(str::to_owned).to_vec(),
            error: Some("it broke".to_owned()),
            commit: Some("merge commit".to_owned()),
            ..Record::new(Operation::Preview, "site", "site", &destination.expect("known"), "nonce")
        }
    }

    #[test]
    fn a_live_preview_has_its_urls() {
        for good in [DeployStatus::Ready, DeployStatus::Unchanged] {
            let row = row(&record(good));
            assert_eq!((row.status, row.reason, row.commit), (PreviewStatus::Ready, None, None));
            assert_eq!(row.alias_url.as_deref(), Some("https://mr-42-site.example/"));
            assert_eq!(row.version_url.as_deref(), Some("https://0a1b2c3d-site.example/"));
        }
    }

    #[test]
    fn a_failed_preview_has_its_reason() {
        let row = row(&record(DeployStatus::Unknown));
        assert_eq!((row.status, row.reason.as_deref()), (PreviewStatus::Failed, Some("it broke")));
        assert_eq!((row.alias_url, row.version_url, row.time), (None, None, None));
    }
}
