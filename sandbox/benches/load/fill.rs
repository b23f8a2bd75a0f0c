//! Uploads the state that the benchmark works on.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::Sizes;
use crate::client::upload;
use crate::server::Server;

/// The number of concurrent uploads.
const CONCURRENCY: usize = 8;

/// Returns the name of a Worker.
pub fn name(worker: usize) -> String {
    format!("w{worker}")
}

/// The Worker that has most of the files.
pub const LARGE: usize = 0;

/// The Worker that has half of the versions.
const MANY: usize = 1;

/// Returns the path and the content of a file of the large Worker.
pub fn asset(index: usize) -> (String, String) {
    let line = format!("asset {index}\n");
    (format!("/f/{}/{index}.txt", index % 100), line.repeat(1 + index % 50))
}

/// Returns the path and the content of a version's page.
pub fn page(worker: usize, number: usize) -> (String, String) {
    ("/index.html".to_owned(), format!("page of {}, version {number}", name(worker)))
}

/// Uploads everything.
pub async fn fill(server: &Arc<Server>, sizes: Sizes) {
    let files: Vec<(String, String)> = (0..sizes.assets).map(asset).collect();
    upload(server, &name(LARGE), &files, true, "0").await.expect("the large Worker");
    let first = (1..sizes.workers).map(|worker| (worker, 0));
    upload_versions(server, first.collect(), true).await;
    let target = |number: usize| {
        if number.is_multiple_of(2) { MANY } else { 1 + number % (sizes.workers - 1) }
    };
    let more = sizes.versions.saturating_sub(sizes.workers);
    upload_versions(server, (1..=more).map(|number| (target(number), number)).collect(), false)
        .await;
}

/// Uploads versions, each given by its Worker and number.
async fn upload_versions(server: &Arc<Server>, versions: Vec<(usize, usize)>, live: bool) {
    let mut running = JoinSet::new();
    for (worker, number) in versions {
        if running.len() == CONCURRENCY {
            running.join_next().await.expect("one").expect("no panic");
        }
        let server = server.clone();
        running.spawn(async move {
            let files = [page(worker, number)];
            let result = upload(&server, &name(worker), &files, live, &number.to_string()).await;
            result.unwrap_or_else(|error| panic!("{}: {error}", name(worker)));
        });
    }
    running.join_all().await;
}
