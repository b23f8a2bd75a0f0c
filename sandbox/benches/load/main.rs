//! Tests the sandbox under load and with `kill -9` during deployments. Acknowledged changes survive, and
//! unacknowledged ones are complete or absent.
//!
//! `cargo bench -p sandbox` runs it in full; without `--bench`, as `cargo test` runs it, sizes are small.
//! `XTASK_BUN` and `XTASK_TOOLCHAIN` hold the paths of Bun and wrangler's packages.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod client;
mod fill;
mod intact;
mod kills;
mod load;
mod process;
#[expect(dead_code, reason = "a benchmark needs a part of what tests need")]
#[path = "../../tests/server/server.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use server::Server;

/// The sizes of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The number of Workers.
    pub workers: usize,
    /// The total number of versions. Half of them belong to one Worker.
    pub versions: usize,
    /// The number of files of the large Worker.
    pub assets: usize,
    /// The number of concurrent clients.
    pub clients: usize,
    /// The duration of the load.
    pub time: Duration,
    /// The number of kills.
    pub kills: usize,
}

const FULL: Sizes = Sizes {
    workers: 200,
    versions: 1000,
    assets: 20_000,
    clients: 50,
    time: Duration::from_secs(60),
    kills: 100,
};

const SMALL: Sizes = Sizes {
    workers: 5,
    versions: 40,
    assets: 300,
    clients: 4,
    time: Duration::from_secs(2),
    kills: 5,
};

#[tokio::main]
async fn main() {
    let sizes = if std::env::args().any(|word| word == "--bench") { FULL } else { SMALL };
    let Sizes { workers, versions, assets, clients, time, kills } = sizes;
    let mut server = Arc::new(Server::new("load"));
    let begun = Instant::now();
    fill::fill(&server, sizes).await;
    let took = begun.elapsed().as_secs_f64();
    println!("filled    {workers} Workers, {versions} versions, {assets} assets in {took:.1} s");

    let idle = process::descriptors(server.pid());
    let results = load::load(&server, sizes).await;
    println!("load      {clients} clients for {} s\n{}", time.as_secs(), results.text());
    assert!(results.errors.is_empty(), "{:#?}", results.errors);
    let alone = Arc::get_mut(&mut server).expect("no client is left");
    // The old client's connections end with it.
    alone.client = reqwest::Client::new();
    let most = process::most_memory(server.pid()) / 1024 / 1024;
    let open = process::wait_for_descriptors(server.pid(), idle + load::MAX_LOADED * 4).await;
    println!("memory    {most} MiB at most");
    println!("files     {idle} open before, {open} after");

    let alone = Arc::get_mut(&mut server).expect("no client is left");
    let begun = Instant::now();
    alone.restart();
    println!("start     {} ms after a kill under load", begun.elapsed().as_millis());
    let begun = Instant::now();
    alone.restart();
    println!("          {} ms without temporary files", begun.elapsed().as_millis());
    println!("disk      {} MiB", process::disk(&server.dir) / 1024 / 1024);

    let results = kills::rounds(&mut server, kills, clients).await;
    println!("kills     {}", results.text());
    let checked = intact::ContentChecker::default().check_all(&server.dir);
    println!("intact    {checked} contents of all versions, each compared with its hash");
}
