//! Feeds mutated copies of wrangler's output and the API's responses to the parsers: none panics, and each returns
//! within a second.

#[path = "../../workspace/src/mutation.rs"]
mod mutation;

use std::hint::black_box;

use base::http::HttpResponse;
use base::runner::ExitReason;

use super::api;
use super::wrangler::{UploadKind, WranglerOutcome, excerpt, hint_in_output, parse_outcome, urls};

fn run(folder: &str, parse: impl Fn(&str)) {
    mutation::run(folder, base::env::variable("XTASK_FUZZ"), parse);
}

#[test]
fn output_files_of_wrangler() {
    run("wrangler-output", |text| {
        for kind in [UploadKind::Deployment, UploadKind::Version, UploadKind::Preview] {
            for reason in [ExitReason::Code(0), ExitReason::Code(1), ExitReason::Deadline] {
                match parse_outcome(kind, reason, text) {
                    WranglerOutcome::Done { targets, .. } => drop(black_box(urls(&targets))),
                    WranglerOutcome::Failed { reason, .. } => {
                        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                        black_box(excerpt(&reason, &lines, Some("a.log")));
                    }
                }
            }
        }
        black_box(hint_in_output(text));
    });
}

#[test]
fn answers_of_the_api() {
    run("answers", |text| {
        for status in [200, 404, 503] {
            let response =
                HttpResponse { status, body: text.as_bytes().to_vec(), ..HttpResponse::default() };
            if let Ok(Some(found)) = api::envelope("GET", "a", &response) {
                let _deployments = black_box(api::parse_as::<Vec<api::Deployment>>(
                    found.result["deployments"].clone(),
                    "list of deployments",
                ));
                let _versions = black_box(api::parse_as::<Vec<api::ListedVersion>>(
                    found.result["items"].clone(),
                    "list of versions",
                ));
            }
        }
    });
}
