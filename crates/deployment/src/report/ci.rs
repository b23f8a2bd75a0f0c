//! The reports of a deploy or preview job for GitLab, which need no token: the environment's URL,
//! and links on the job's page.

use serde_json::{Value, json};

use crate::record::Record;

/// The maximum length of an environment's URL.
const ADDRESS: usize = 255;

/// The maximum size of a dotenv report in bytes.
const BYTES: usize = 5 * 1024;

/// Returns the dotenv report: `variable` with the first URL, or an empty file. GitLab refuses a file
/// with a blank line, and expands `$NAME` in values later
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>).
#[must_use]
pub fn dotenv(records: &[Record], variable: &str) -> String {
    let plain =
        |url: &&str| !url.is_empty() && url.bytes().all(|b| b.is_ascii_graphic() && b != b'$');
    let fits = |url: &&str| url.len() <= ADDRESS && url.len() + variable.len() + 2 < BYTES;
    let url = addresses(records).map(|(_, url)| url).filter(plain).find(fits);
    url.map(|url| format!("{variable}={url}\n")).unwrap_or_default()
}

/// Returns the annotations report: a link for each URL. The second URL of a preview is that of one version
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations>).
#[must_use]
pub fn annotations(records: &[Record]) -> Value {
    let mut links: Vec<Value> = Vec::new();
    for (record, url) in addresses(records) {
        let stays = record.alias.is_none() || record.urls.first().is_some_and(|first| first == url);
        let label = if stays { "" } else { ", this version" };
        let label = format!("{}{label}", record.project);
        links.push(json!({ "external_link": { "label": label, "url": url } }));
    }
    let previews = records.iter().any(|record| record.alias.is_some());
    json!({ (if previews { "previews" } else { "deployments" }): links })
}

fn addresses(records: &[Record]) -> impl Iterator<Item = (&Record, &str)> {
    let done = records.iter().filter(|record| record.status.is_done());
    done.flat_map(|record| record.urls.iter().map(move |url| (record, url.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operation;
    use crate::plan::destination::Destination;
    use crate::record::DeployStatus;
    use gitlab::ci::CiVariables;
    use proptest::prelude::*;
    use workspace::config::{Config, LOCAL};

    fn record(project: &str, status: DeployStatus, url: &str) -> Record {
        let config = Config::parse(workspace::toolchain::CONFIG);
        let config = config.expect("valid");
        let destination =
            Destination::resolve(&config, LOCAL, Some(8787), &CiVariables::default(), None);
        let mut record =
            Record::new(Operation::Deploy, project, project, &destination.expect("known"), "n");
        (record.status, record.urls) = (status, vec![url.to_owned()]);
        record
    }

    #[test]
    fn links_live_projects() {
        let records = [
            record("broken", DeployStatus::Failed, "https://no.example/"),
            record("odd", DeployStatus::Live, "https://odd.example/$HOME\nX=1"),
            record("a", DeployStatus::Unchanged, "https://a.example/"),
        ];
        assert_eq!(dotenv(&records, "DEPLOY_URL"), "DEPLOY_URL=https://a.example/\n");
        assert_eq!(dotenv(&records[..2], "DEPLOY_URL"), "");
        let links = annotations(&records);
        assert_eq!(links["deployments"].as_array().map(Vec::len), Some(2));
        assert_eq!(links["deployments"][1]["external_link"]["label"], "a");
    }

    #[test]
    fn links_both_urls_of_a_preview() {
        let mut preview = record("a", DeployStatus::Ready, "https://mr-42-a.example/");
        preview.alias = Some("mr-42".to_owned());
        preview.urls.push("https://0a1b2c3d-a.example/".to_owned());
        assert_eq!(
            annotations(std::slice::from_ref(&preview)),
            json!({ "previews": [
                { "external_link": { "label": "a", "url": "https://mr-42-a.example/" } },
                { "external_link": { "label": "a, this version", "url": "https://0a1b2c3d-a.example/" } },
            ] })
        );
        assert_eq!(dotenv(&[preview], "PREVIEW_URL"), "PREVIEW_URL=https://mr-42-a.example/\n");
    }

    proptest! {
        #[test]
        fn dotenv_reports_are_valid_for_gitlab(urls in prop::collection::vec("(?s:.{0,300})", 0..5)) {
            let records: Vec<Record> = urls.iter().map(|url| record("a", DeployStatus::Live, url)).collect();
            let text = dotenv(&records, "DEPLOY_URL");
            prop_assert!(text.len() < BYTES && text.lines().count() <= 1);
            if let Some(line) = text.strip_suffix('\n') {
                let value = line.strip_prefix("DEPLOY_URL=").expect("the variable");
                prop_assert!(!value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'$'));
            }
        }
    }
}
