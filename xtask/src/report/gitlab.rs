//! What a deploy job tells GitLab without any token: the environment's address, and links on the job's
//! page.

use serde_json::{Value, json};

use crate::error::Exit;
use crate::record::Record;

/// The longest address that an environment takes.
const ADDRESS: usize = 255;

/// How many bytes a dotenv report may have.
const BYTES: usize = 5 * 1024;

/// The dotenv report: `variable` with the first address that answers, or nothing. GitLab refuses the
/// whole file over a blank line, and expands `$NAME` in values later
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>).
#[must_use]
pub fn dotenv(records: &[Record], variable: &str) -> String {
    let plain = |url: &&str| url.bytes().all(|b| b.is_ascii_graphic() && b != b'$');
    let fits = |url: &&str| url.len() <= ADDRESS && url.len() + variable.len() + 2 < BYTES;
    let url = addresses(records).map(|(_, url)| url).filter(plain).find(fits);
    url.map(|url| format!("{variable}={url}\n")).unwrap_or_default()
}

/// The annotations report: a link for each address that answers
/// (<https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations>).
#[must_use]
pub fn annotations(records: &[Record]) -> Value {
    let link =
        |(label, url): (&str, &str)| json!({ "external_link": { "label": label, "url": url } });
    json!({ "deployments": addresses(records).map(link).collect::<Vec<_>>() })
}

fn addresses(records: &[Record]) -> impl Iterator<Item = (&str, &str)> {
    let done = records.iter().filter(|record| record.status.exit() == Exit::Done);
    done.flat_map(|record| record.urls.iter().map(|url| (record.project.as_str(), url.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Verb;
    use crate::plan::destination::{Destination, Pipeline};
    use crate::record::Status;
    use crate::workspace::config::{Config, LOCAL};

    fn record(project: &str, status: Status, url: &str) -> Record {
        let config = Config::parse(include_str!("../../../dagger/config/config.json"));
        let config = config.expect("valid");
        let destination =
            Destination::resolve(&config, LOCAL, Some(8787), &Pipeline::default(), None);
        let mut record =
            Record::new(Verb::Deploy, project, project, &destination.expect("known"), "n");
        (record.status, record.urls) = (status, vec![url.to_owned()]);
        record
    }

    #[test]
    fn what_answers_is_linked() {
        let records = [
            record("broken", Status::Failed, "https://no.example/"),
            record("odd", Status::Live, "https://odd.example/$HOME\nX=1"),
            record("a", Status::Unchanged, "https://a.example/"),
        ];
        assert_eq!(dotenv(&records, "DEPLOY_URL"), "DEPLOY_URL=https://a.example/\n");
        assert_eq!(dotenv(&records[..2], "DEPLOY_URL"), "");
        let links = annotations(&records);
        assert_eq!(links["deployments"].as_array().map(Vec::len), Some(2));
        assert_eq!(links["deployments"][1]["external_link"]["label"], "a");
    }
}
