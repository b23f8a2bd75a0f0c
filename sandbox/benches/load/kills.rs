//! `kill -9` while it is deployed to, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{answer, dashed, deploy, get, plain, script, upload};
use crate::intact::{Checked, unfinished};
use crate::server::{Server, TOKEN};

/// Who deploys at most at the same time, each to a Worker of its own.
const DEPLOYERS: usize = 8;

/// What one deployer did.
#[derive(Clone, Default)]
struct Done {
    /// How many versions it began to upload. Their tags count up from 1.
    begun: usize,
    /// Acknowledged versions by id without dashes, with their tags.
    versions: BTreeMap<String, usize>,
    /// Versions that may be live: the last one whose deployment was acknowledged, and what was asked
    /// for after it.
    live: Vec<usize>,
    /// Merge requests that were acknowledged.
    requests: BTreeSet<u64>,
}

/// What all rounds found.
#[derive(Default)]
pub struct Found {
    rounds: usize,
    acknowledged: usize,
    unacknowledged: usize,
    left: usize,
    starts: Vec<Duration>,
}

impl Found {
    /// The figures for people.
    pub fn text(&self) -> String {
        let mut starts: Vec<u128> = self.starts.iter().map(Duration::as_millis).collect();
        starts.sort_unstable();
        let (half, most) = (starts[starts.len() / 2], starts[starts.len() - 1]);
        format!(
            "{} rounds, {} versions acknowledged and all there, {} more there whole, \
             {} unfinished files cleared away\n          start p50 {half} ms, at most {most} ms",
            self.rounds, self.acknowledged, self.unacknowledged, self.left
        )
    }
}

/// Kills the server so often, and compares after each restart what is there with what was said.
pub async fn rounds(server: &mut Arc<Server>, rounds: usize, clients: usize) -> Found {
    let deployers = DEPLOYERS.min(clients);
    let mut done = vec![Done::default(); deployers];
    let (mut found, mut checked) = (Found { rounds, ..Found::default() }, Checked::default());
    for round in 0..rounds {
        let shared: Vec<Arc<Mutex<Done>>> =
            done.into_iter().map(|done| Arc::new(Mutex::new(done))).collect();
        let mut running = JoinSet::new();
        for (number, done) in shared.iter().enumerate() {
            running.spawn(deployer(server.clone(), number, done.clone()));
        }
        // Another moment each time.
        tokio::time::sleep(Duration::from_millis(100 + 37 * (round as u64 % 11))).await;
        kill(server.pid());
        running.join_all().await;
        done = shared.iter().map(|done| done.lock().expect("no panic").clone()).collect();
        checked.all(&server.dir);
        found.left += unfinished(&server.dir);
        let begun = Instant::now();
        Arc::get_mut(server).expect("no deployer is left").restart();
        found.starts.push(begun.elapsed());
        assert_eq!(unfinished(&server.dir), 0, "unfinished files are cleared away");
        for (number, done) in done.iter_mut().enumerate() {
            found.unacknowledged +=
                compare(server, number, done, round % deployers == number).await;
        }
    }
    let more = found.unacknowledged;
    found.acknowledged = done.iter().map(|done| done.versions.len()).sum::<usize>() - more;
    found
}

fn kill(pid: u32) {
    use nix::sys::signal::{Signal, kill};
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, Signal::SIGKILL).expect("it is killed");
}

fn worker(number: usize) -> String {
    format!("k{number}")
}

fn content(worker: &str, tag: usize) -> String {
    format!("{worker}, version {tag}")
}

/// Deploys until the server is gone.
async fn deployer(server: Arc<Server>, number: usize, done: Arc<Mutex<Done>>) {
    while once(&server, number, &done).await.is_ok() {}
}

async fn once(server: &Server, number: usize, done: &Mutex<Done>) -> Result<(), String> {
    let worker = worker(number);
    let change = |change: &mut dyn FnMut(&mut Done)| change(&mut done.lock().expect("no panic"));
    let mut tag = 0;
    change(&mut |done| {
        done.begun += 1;
        tag = done.begun;
    });
    let at_once = tag % 3 != 0;
    if at_once {
        change(&mut |done| done.live.push(tag));
    }
    let files = [("/index.html".to_owned(), content(&worker, tag))];
    let id = upload(server, &worker, &files, at_once, &tag.to_string()).await?;
    change(&mut |done| {
        done.versions.insert(id.clone(), tag);
    });
    if !at_once {
        change(&mut |done| done.live.push(tag));
        deploy(server, &worker, &dashed(&id)).await?;
    }
    change(&mut |done| done.live = vec![tag]);
    let branch = format!("b{tag}");
    let body = json!({ "title": branch, "source_branch": branch, "target_branch": "main" });
    let request = gitlab(server, Method::POST, number, "merge_requests")?;
    let request = request.header("content-type", "application/json").body(body.to_string());
    let iid = answer(request).await?["iid"].as_u64().ok_or("no number")?;
    change(&mut |done| {
        done.requests.insert(iid);
    });
    Ok(())
}

/// Compares what the API says of a deployer's Worker with what the deployer was told. Gives how many
/// versions are there without having been acknowledged, which count as acknowledged from now on.
async fn compare(server: &Server, number: usize, done: &mut Done, look: bool) -> usize {
    let worker = worker(number);
    let path = format!("{}/versions", script(&worker));
    let of = |said: &Value| said["result"]["items"].clone();
    let request = |page: &str| Ok(server.request(Method::GET, &format!("{path}?{page}"), TOKEN));
    let items = match pages(request, of).await {
        Err(error) if done.versions.is_empty() && error.starts_with("404") => return 0,
        items => items.unwrap_or_else(|error| panic!("{worker}: {error}")),
    };
    let there: BTreeMap<String, usize> =
        items.iter().map(|item| (plain(text(&item["id"])), tag(item))).collect();
    for (id, tag) in &done.versions {
        assert_eq!(there.get(id), Some(tag), "{worker}: an acknowledged version is lost");
    }
    let more = there.len() - done.versions.len();
    // One upload was under way; whether it is there is up to the moment of the kill.
    assert!(more <= 1, "{worker}: {more} versions that nobody uploaded");
    assert!(there.values().all(|tag| (1..=done.begun).contains(tag)), "{worker}: {there:?}");
    let said = get(server, &format!("{}/deployments", script(&worker))).await.expect("deployments");
    let live = &said["result"]["deployments"][0]["versions"][0]["version_id"];
    let live = there[&plain(text(live))];
    assert!(done.live.contains(&live), "{worker}: {live} is live, not one of {:?}", done.live);
    if look {
        let said = server.text(&format!("{worker}.localhost"), "/").await;
        assert_eq!(said, content(&worker, live));
    }
    let request =
        |page: &str| gitlab(server, Method::GET, number, &format!("merge_requests?{page}"));
    if !done.requests.is_empty() {
        let there = pages(request, Value::clone).await.expect("merge requests");
        let there: BTreeSet<u64> = there.iter().filter_map(|one| one["iid"].as_u64()).collect();
        assert!(there.is_superset(&done.requests), "lost: {:?}", &done.requests - &there);
    }
    (done.versions, done.live) = (there, vec![live]);
    more
}

/// A request to GitLab's API, about a deployer's project.
fn gitlab(
    server: &Server,
    method: Method,
    number: usize,
    path: &str,
) -> Result<RequestBuilder, String> {
    let token = std::fs::read_to_string(server.dir.join("gitlab-token"));
    let token = token.map_err(|error| error.to_string())?;
    let url = format!("http://127.0.0.1:{}/api/v4/projects/{}/{path}", server.port, number + 1);
    Ok(server.client.request(method, url).header("private-token", token.trim()))
}

/// The rows of all pages: `request` makes the request for one, `of` takes the rows out of its answer.
async fn pages(
    request: impl Fn(&str) -> Result<RequestBuilder, String>,
    of: impl Fn(&Value) -> Value,
) -> Result<Vec<Value>, String> {
    let mut rows = Vec::new();
    for page in 1.. {
        let said = answer(request(&format!("per_page=100&page={page}"))?).await?;
        match of(&said).as_array().map(Vec::as_slice) {
            Some([]) | None => break,
            Some(more) => rows.extend_from_slice(more),
        }
    }
    Ok(rows)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn tag(version: &Value) -> usize {
    text(&version["annotations"]["workers/tag"]).parse().expect("a number")
}
