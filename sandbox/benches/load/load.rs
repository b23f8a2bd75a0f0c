//! Many clients at once: they read sites, ask the API and upload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Sizes;
use crate::client::{get, script, upload};
use crate::fill::{LARGE, asset, name, page};
use crate::server::{ACCOUNT, Server};

/// How many Workers are read all the time: half of what the sandbox keeps loaded.
const HOT: usize = 8;

/// How many versions the sandbox keeps loaded.
pub const LOADED: usize = 16;

/// One read in so many is of any Worker, which has to be loaded first.
const COLD: u64 = 400;

/// What the clients met.
#[derive(Default)]
pub struct Found {
    times: BTreeMap<&'static str, Vec<Duration>>,
    /// What went wrong.
    pub errors: Vec<String>,
    took: Duration,
}

impl Found {
    /// Requests a second and how long they took, a line a kind.
    pub fn text(&self) -> String {
        let total: usize = self.times.values().map(Vec::len).sum();
        let rate = total as f64 / self.took.as_secs_f64();
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

/// Lets the clients work until the time is over.
pub async fn load(server: &Arc<Server>, sizes: Sizes) -> Found {
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for seed in 0..sizes.clients {
        clients.spawn(client(server.clone(), sizes, seed as u64 + 1, begun + sizes.time));
    }
    let mut found = Found::default();
    for one in clients.join_all().await {
        for (kind, times) in one.times {
            found.times.entry(kind).or_default().extend(times);
        }
        found.errors.extend(one.errors);
    }
    found.took = begun.elapsed();
    found
}

async fn client(server: Arc<Server>, sizes: Sizes, seed: u64, until: Instant) -> Found {
    let mut found = Found::default();
    let mut random = Random(seed);
    // The last Workers are uploaded to, the first are read; with few of each they meet.
    let hot = HOT.min(sizes.workers / 2).max(1);
    let rest = |random: &mut Random| hot + random.below(sizes.workers - hot);
    let mut uploads = 0;
    while Instant::now() < until {
        let begun = Instant::now();
        let (kind, result) = match random.below(100) {
            _ if random.below(usize::try_from(COLD).expect("small")) == 0 => {
                ("cold sites", site(&server, rest(&mut random), 0).await)
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
                let (worker, tag) = (rest(&mut random), format!("{seed}-{uploads}"));
                let files = [page(worker, uploads)];
                ("uploads", upload(&server, &name(worker), &files, true, &tag).await.map(|_| ()))
            }
        };
        found.times.entry(kind).or_default().push(begun.elapsed());
        found.errors.extend(result.err().map(|error| format!("{kind}: {error}")));
    }
    found
}

/// Reads a page or a file, and compares it with what was uploaded.
async fn site(server: &Server, worker: usize, file: usize) -> Result<(), String> {
    let large = worker == LARGE;
    let (path, wanted) = if large { asset(file) } else { ("/".to_owned(), page(worker, 0).1) };
    let url = format!("http://127.0.0.1:{}{path}", server.port);
    let host = format!("{}.localhost:{}", name(worker), server.port);
    let answer = server.client.get(url).header("host", host).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    // A page may be of a later version by now.
    let own = wanted.rsplit_once(' ').map_or("", |(own, _)| own);
    let good = if large { text == wanted } else { text.starts_with(own) };
    if good { Ok(()) } else { Err(format!("{} {path}: {status}: {text}", name(worker))) }
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
            return crate::client::answer(server.client.get(url)).await.map(|_| ());
        }
        _ => format!("{script}/versions"),
    };
    get(server, &path).await.map(|_| ())
}

/// Marsaglia's xorshift: the same choices in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}
