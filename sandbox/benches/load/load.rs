//! Runs many concurrent clients, which read sites, call the API and upload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Sizes;
use crate::client::{get, script, upload};
use crate::fill::{LARGE, asset, name, page};
use crate::server::{ACCOUNT, Server};

/// The number of Workers that are read constantly: half of the number that the sandbox keeps loaded.
const HOT: usize = 8;

/// The number of versions that the sandbox keeps loaded.
pub const MAX_LOADED: usize = 16;

/// One of this many reads is for a random Worker, which must be loaded first.
const COLD_INTERVAL: u64 = 400;

/// The results of the clients.
#[derive(Default)]
pub struct LoadResults {
    times: BTreeMap<&'static str, Vec<Duration>>,
    /// The errors.
    pub errors: Vec<String>,
    duration: Duration,
}

impl LoadResults {
    /// Formats the rate and the latencies of requests, one line per kind.
    pub fn text(&self) -> String {
        let total: usize = self.times.values().map(Vec::len).sum();
        let rate = total as f64 / self.duration.as_secs_f64();
        let mut text =
            format!("          {total} requests, {rate:.0}/s, {} errors", self.errors.len());
        for (kind, times) in &self.times {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
            let (half, most) = (at(50).as_secs_f64() * 1e3, at(99).as_secs_f64() * 1e3);
            let count = times.len();
            text += &format!("\n          {kind:12} {count:8}  p50 {half:.1} ms  p99 {most:.1} ms");
        }
        text
    }
}

/// Runs the clients until the end of the time.
pub async fn load(server: &Arc<Server>, sizes: Sizes) -> LoadResults {
    let mut clients = JoinSet::new();
    let start = Instant::now();
    for seed in 0..sizes.clients {
        clients.spawn(client(server.clone(), sizes, seed as u64 + 1, start + sizes.time));
    }
    let mut results = LoadResults::default();
    for one in clients.join_all().await {
        for (kind, times) in one.times {
            results.times.entry(kind).or_default().extend(times);
        }
        results.errors.extend(one.errors);
    }
    results.duration = start.elapsed();
    results
}

async fn client(server: Arc<Server>, sizes: Sizes, seed: u64, until: Instant) -> LoadResults {
    let mut results = LoadResults::default();
    let mut random = Xorshift(seed);
    // Uploads go to the last Workers, reads to the first ones. They overlap if there are few Workers.
    let hot = HOT.min(sizes.workers / 2).max(1);
    let any_other = |random: &mut Xorshift| hot + random.below(sizes.workers - hot);
    let mut uploads = 0;
    while Instant::now() < until {
        let start = Instant::now();
        let (kind, result) = match random.below(100) {
            _ if random.below(usize::try_from(COLD_INTERVAL).expect("small")) == 0 => {
                ("cold sites", site(&server, any_other(&mut random), 0).await)
            }
            0..70 => {
                let worker = random.below(hot);
                ("sites", site(&server, worker, random.below(sizes.assets)).await)
            }
            70..95 => {
                ("API", api(&server, &name(random.below(sizes.workers)), random.below(8)).await)
            }
            _ => {
                uploads += 1;
                let (worker, tag) = (any_other(&mut random), format!("{seed}-{uploads}"));
                let files = [page(worker, uploads)];
                ("uploads", upload(&server, &name(worker), &files, true, &tag).await.map(|_| ()))
            }
        };
        results.times.entry(kind).or_default().push(start.elapsed());
        results.errors.extend(result.err().map(|error| format!("{kind}: {error}")));
    }
    results
}

/// Reads a page or a file and compares it with the upload.
async fn site(server: &Server, worker: usize, file: usize) -> Result<(), String> {
    let large = worker == LARGE;
    let (path, expected) = if large { asset(file) } else { ("/".to_owned(), page(worker, 0).1) };
    let url = format!("http://127.0.0.1:{}{path}", server.port);
    let host = format!("{}.localhost:{}", name(worker), server.port);
    let response = server.client.get(url).header("host", host).send().await;
    let response = response.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    // A later version may have replaced the page.
    let prefix = expected.rsplit_once(' ').map_or("", |(prefix, _)| prefix);
    let is_right = if large { text == expected } else { text.starts_with(prefix) };
    if is_right { Ok(()) } else { Err(format!("{} {path}: {status}: {text}", name(worker))) }
}

async fn api(server: &Server, worker: &str, which: usize) -> Result<(), String> {
    let script = script(worker);
    let path = match which {
        0 => format!("/accounts/{ACCOUNT}/workers/scripts"),
        1 => format!("{script}/settings"),
        2 | 3 => format!("{script}/deployments"),
        4 => format!("{script}/versions?per_page=100"),
        5 => {
            let url = format!("http://127.0.0.1:{}/__sandbox/state.json", server.port);
            return crate::client::send(server.client.get(url)).await.map(|_| ());
        }
        _ => format!("{script}/versions"),
    };
    get(server, &path).await.map(|_| ())
}

/// Marsaglia's xorshift, which makes the same choices in every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}
