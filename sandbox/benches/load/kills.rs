//! Kills the server with `kill -9` during deployments, many times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{deploy, get, script, send, upload, with_dashes, without_dashes};
use crate::intact::{ContentChecker, count_temporary};
use crate::server::{Server, TOKEN};

/// The maximum number of concurrent deployers. Each has a separate Worker.
const DEPLOYERS: usize = 8;

/// The progress of one deployer.
#[derive(Clone, Default)]
struct DeployerState {
    /// The number of uploads that it started. Their tags count up from 1.
    started: usize,
    /// Acknowledged versions by id without dashes, with their tags.
    versions: BTreeMap<String, usize>,
    /// Versions that may be live: the last acknowledged deployment and all later requests.
    live: Vec<usize>,
    /// Merge requests that were acknowledged.
    requests: BTreeSet<u64>,
}

/// The results of all rounds.
#[derive(Default)]
pub struct KillResults {
    rounds: usize,
    acknowledged: usize,
    unacknowledged: usize,
    temporary: usize,
    starts: Vec<Duration>,
}

impl KillResults {
    /// Formats the results.
    pub fn text(&self) -> String {
        let mut starts: Vec<u128> = self.starts.iter().map(Duration::as_millis).collect();
        starts.sort_unstable();
        let (half, longest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
        format!(
            "{} rounds, {} acknowledged versions, none lost, {} unacknowledged versions intact, \
             {} temporary files removed\n          start p50 {half} ms, at most {longest} ms",
            self.rounds, self.acknowledged, self.unacknowledged, self.temporary
        )
    }
}

/// Kills the server `rounds` times. After each restart, compares its state with its responses.
pub async fn rounds(server: &mut Arc<Server>, rounds: usize, clients: usize) -> KillResults {
    let deployers = DEPLOYERS.min(clients);
    let mut state = vec![DeployerState::default(); deployers];
    let (mut results, mut checker) =
        (KillResults { rounds, ..KillResults::default() }, ContentChecker::default());
    for round in 0..rounds {
        let shared: Vec<Arc<Mutex<DeployerState>>> =
            state.into_iter().map(|state| Arc::new(Mutex::new(state))).collect();
        let mut running = JoinSet::new();
        for (number, state) in shared.iter().enumerate() {
            running.spawn(deployer(server.clone(), number, state.clone()));
        }
        // Kill at a different moment in each round.
        tokio::time::sleep(Duration::from_millis(100 + 37 * (round as u64 % 11))).await;
        kill(server.pid());
        running.join_all().await;
        state = shared.iter().map(|state| state.lock().expect("no panic").clone()).collect();
        checker.check_all(&server.dir);
        results.temporary += count_temporary(&server.dir);
        let start = Instant::now();
        Arc::get_mut(server).expect("no deployer is left").restart();
        results.starts.push(start.elapsed());
        assert_eq!(count_temporary(&server.dir), 0, "temporary files are removed");
        for (number, state) in state.iter_mut().enumerate() {
            results.unacknowledged +=
                compare(server, number, state, round % deployers == number).await;
        }
    }
    let more = results.unacknowledged;
    results.acknowledged = state.iter().map(|state| state.versions.len()).sum::<usize>() - more;
    results
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

/// Deploys until the server is killed.
async fn deployer(server: Arc<Server>, number: usize, state: Arc<Mutex<DeployerState>>) {
    while deploy_once(&server, number, &state).await.is_ok() {}
}

async fn deploy_once(
    server: &Server,
    number: usize,
    state: &Mutex<DeployerState>,
) -> Result<(), String> {
    let worker = worker(number);
    let change =
        |change: &mut dyn FnMut(&mut DeployerState)| change(&mut state.lock().expect("no panic"));
    let mut tag = 0;
    change(&mut |state| {
        state.started += 1;
        tag = state.started;
    });
    let at_once = tag % 3 != 0;
    if at_once {
        change(&mut |state| state.live.push(tag));
    }
    let files = [("/index.html".to_owned(), content(&worker, tag))];
    let id = upload(server, &worker, &files, at_once, &tag.to_string()).await?;
    change(&mut |state| {
        state.versions.insert(id.clone(), tag);
    });
    if !at_once {
        change(&mut |state| state.live.push(tag));
        deploy(server, &worker, &with_dashes(&id)).await?;
    }
    change(&mut |state| state.live = vec![tag]);
    let branch = format!("b{tag}");
    let body = json!({ "title": branch, "source_branch": branch, "target_branch": "main" });
    let request = gitlab(server, Method::POST, number, "merge_requests")?;
    let request = request.header("content-type", "application/json").body(body.to_string());
    let iid = send(request).await?["iid"].as_u64().ok_or("no number")?;
    change(&mut |state| {
        state.requests.insert(iid);
    });
    Ok(())
}

/// Compares the API's state of a deployer's Worker with the responses that the deployer got. Returns the
/// number of unacknowledged versions, which count as acknowledged from now on.
async fn compare(
    server: &Server,
    number: usize,
    state: &mut DeployerState,
    check_page: bool,
) -> usize {
    let worker = worker(number);
    let path = format!("{}/versions", script(&worker));
    let items_of = |response: &Value| response["result"]["items"].clone();
    let request = |page: &str| Ok(server.request(Method::GET, &format!("{path}?{page}"), TOKEN));
    let items = match pages(request, items_of).await {
        Err(error) if state.versions.is_empty() && error.starts_with("404") => return 0,
        items => items.unwrap_or_else(|error| panic!("{worker}: {error}")),
    };
    let stored: BTreeMap<String, usize> =
        items.iter().map(|item| (without_dashes(text(&item["id"])), tag(item))).collect();
    for (id, tag) in &state.versions {
        assert_eq!(stored.get(id), Some(tag), "{worker}: an acknowledged version is lost");
    }
    let more = stored.len() - state.versions.len();
    // One upload was running. The moment of the kill decides whether it is stored.
    assert!(more <= 1, "{worker}: {more} versions without an upload");
    assert!(stored.values().all(|tag| (1..=state.started).contains(tag)), "{worker}: {stored:?}");
    let deployments =
        get(server, &format!("{}/deployments", script(&worker))).await.expect("deployments");
    let live = &deployments["result"]["deployments"][0]["versions"][0]["version_id"];
    let live = stored[&without_dashes(text(live))];
    assert!(state.live.contains(&live), "{worker}: {live} is live, not one of {:?}", state.live);
    if check_page {
        let page = server.text(&format!("{worker}.localhost"), "/").await;
        assert_eq!(page, content(&worker, live));
    }
    let request =
        |page: &str| gitlab(server, Method::GET, number, &format!("merge_requests?{page}"));
    if !state.requests.is_empty() {
        let stored = pages(request, Value::clone).await.expect("merge requests");
        let stored: BTreeSet<u64> = stored.iter().filter_map(|one| one["iid"].as_u64()).collect();
        assert!(stored.is_superset(&state.requests), "lost: {:?}", &state.requests - &stored);
    }
    (state.versions, state.live) = (stored, vec![live]);
    more
}

/// Makes a request to GitLab's API for a deployer's project.
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

/// Collects the rows of all pages. `request` makes the request for a page, `rows_of` returns the rows of
/// a response.
async fn pages(
    request: impl Fn(&str) -> Result<RequestBuilder, String>,
    rows_of: impl Fn(&Value) -> Value,
) -> Result<Vec<Value>, String> {
    let mut rows = Vec::new();
    for page in 1.. {
        let response = send(request(&format!("per_page=100&page={page}"))?).await?;
        match rows_of(&response).as_array().map(Vec::as_slice) {
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
