//! The sandbox under load, and under `kill -9` while it is deployed to: what was acknowledged is there
//! afterwards, and what was not is there whole or not at all.
//!
//! `cargo bench -p sandbox` runs it in full; without `--bench`, as `cargo test` runs it, sizes are small.
//! `XTASK_BUN` and `XTASK_TOOLCHAIN` say where Bun and wrangler's packages are.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod client;
mod fill;
mod intact;
mod kills;
mod load;
mod process;
#[expect(dead_code, reason = "a benchmark needs a part of what tests need")]
#[path = "../../tests/it/server.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use server::Server;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Workers that are filled in.
    pub workers: usize,
    /// Versions of them in all; half of them belong to one Worker.
    pub versions: usize,
    /// Files of one of the Workers.
    pub assets: usize,
    /// Clients that ask at the same time.
    pub clients: usize,
    /// How long they do.
    pub time: Duration,
    /// How often the sandbox is killed.
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
    let found = load::load(&server, sizes).await;
    println!("load      {clients} clients for {} s\n{}", time.as_secs(), found.text());
    assert!(found.errors.is_empty(), "{:#?}", found.errors);
    let alone = Arc::get_mut(&mut server).expect("no client is left");
    // Its connections end with it.
    alone.client = reqwest::Client::new();
    let most = process::most_memory(server.pid()) / 1024 / 1024;
    let open = process::settled(server.pid(), idle + load::LOADED * 4).await;
    println!("memory    {most} MiB at most");
    println!("files     {idle} open before, {open} after");

    let alone = Arc::get_mut(&mut server).expect("no client is left");
    let begun = Instant::now();
    alone.restart();
    println!("start     {} ms after a kill under load", begun.elapsed().as_millis());
    let begun = Instant::now();
    alone.restart();
    println!("          {} ms with nothing to clear away", begun.elapsed().as_millis());
    println!("disk      {} MiB", process::disk(&server.dir) / 1024 / 1024);

    let found = kills::rounds(&mut server, kills, clients).await;
    println!("kills     {}", found.text());
    let checked = intact::Checked::default().all(&server.dir);
    println!("intact    {checked} contents of all versions, each compared with its hash");
}
