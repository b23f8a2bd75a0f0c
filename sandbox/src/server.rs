//! Serves everything on one loopback port. The host of a request selects the APIs and the page, or a Worker.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use camino::Utf8Path;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, AppState};
use crate::cli::Serve;
use crate::gate::RequestTarget;
use crate::gitlab::GitlabState;
use crate::proof::SandboxIdentity;
use crate::requests::{RequestEntry, RequestLog};
use crate::serve::hosts::{self, HostTarget};
use crate::serve::runtime::WorkerRuntime;
use crate::state::{WorkerStore, write_durably};
use crate::token::Token;
use crate::{
    body, cloudflare, faults, gate, gitlab, ids, listener, log, page, proof, serve as serving,
};

/// The port of a new sandbox, if it is free.
const DEFAULT_PORT: u16 = 8787;

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: Serve) -> Result<()> {
    // The runtime has another working directory, so the path must be absolute.
    let state = &camino::absolute_utf8(&options.state).context("--state is not a path")?;
    std::fs::create_dir_all(state).with_context(|| format!("cannot create {state}"))?;
    let _locks = lock_state(state)?;
    let server_file = state.join("server.json");
    // A killed sandbox left it. The process id in it must be that of the lock's holder.
    remove_if_there(&server_file)?;
    let token = Token::load(state)?;
    let identity = SandboxIdentity::load(state)?;
    let (first, port) = listen(state, options.port).await?;
    let app = App(Arc::new(AppState {
        store: WorkerStore::open(state)?,
        token,
        identity,
        accounts: options.accounts.clone(),
        zones: options.zones.iter().map(|zone| zone.to_ascii_lowercase()).collect(),
        zone_names: cloudflare::zones::ZoneNames::default(),
        port,
        runtime: WorkerRuntime::new(&options.bun, &options.toolchain, state)?,
        requests: RequestLog::default(),
        links: cloudflare::links::Links::default(),
        tails: cloudflare::tails::Tails::default(),
        faults: faults::Faults::default(),
        gitlab: GitlabState::open(state, &options)?,
    }));
    let mut listeners = vec![first];
    // Browsers may resolve `*.localhost` to the IPv6 loopback address.
    listeners.extend(TcpListener::bind(("::1", port)).await);
    let router = router(&app);
    announce(&server_file, state, port)?;
    log::line(&format!("serving at http://127.0.0.1:{port} with {} Workers", app.store.count()));
    let ahead = Duration::from_secs(options.cron_clock_ahead);
    let stateful = tokio::spawn({
        let app = app.clone();
        async move { app.runtime.update_stateful(&app.store).await }
    });
    let schedules = tokio::spawn(serving::cron::run_schedules(app.clone(), ahead));
    let end = async {
        tokio::select! {
            () = stop_signal() => {}
            () = removal(state) => log::line("the state folder was deleted"),
        }
    };
    listener::serve(listeners, router, end).await;
    stateful.abort();
    schedules.abort();
    log::line("stopping");
    app.runtime.stop().await;
    withdraw(&server_file)
}

fn router(app: &App) -> Router {
    // These layers run before a route is matched. Inside of a route, axum would add the `allow` header of that
    // route to the response of a Worker.
    Router::new()
        .fallback_service(routes(app))
        .layer(from_fn_with_state(app.clone(), route_by_host))
        .layer(from_fn_with_state(app.clone(), faults::inject))
        .layer(from_fn_with_state(app.clone(), body::read_first))
        .layer(from_fn_with_state(app.clone(), log_request))
        .layer(from_fn_with_state(app.clone(), gate::enter))
        .layer(map_request(cloudflare::trim_slash))
}

fn routes(app: &App) -> Router {
    Router::new()
        .nest("/client/v4", cloudflare::routes(app))
        .merge(gitlab::routes(app))
        .route("/", get(page::page))
        .route("/__sandbox/state.json", get(page::state))
        .route("/__sandbox/activity.json", get(page::activity))
        .route("/__sandbox/health", get(health))
        .route("/__sandbox/proof/{nonce}", get(proof::prove))
        .route("/__sandbox/cron/{worker}", post(serving::cron::trigger))
        .route("/__sandbox/faults", get(faults::list).post(faults::set).delete(faults::clear))
        .route("/__sandbox/resources", post(cloudflare::provide::provide))
        .route("/__sandbox/gitlab", put(gitlab::limits::set))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(body::MAX_BODY))
        .with_state(app.clone())
}

/// Logs each request to an API or to a Worker, without its query, headers and body. Does not log the requests of
/// the page.
async fn log_request(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let target = request.extensions().get::<RequestTarget>();
    let is_sandbox = target.is_some_and(RequestTarget::is_sandbox);
    if is_sandbox && (path == "/" || path.starts_with("/__sandbox/")) {
        return next.run(request).await;
    }
    let (method, host) = (request.method().to_string(), gate::host(request.headers()));
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let target = if is_sandbox { path.clone() } else { format!("{host}{path}") };
    log::line(&format!("{method} {target} {status} {milliseconds} ms"));
    let at = ids::now();
    app.requests.add(RequestEntry { at, method, host, path, status, milliseconds });
    response
}

/// Passes requests for the host of a Worker to the Worker.
async fn route_by_host(State(app): State<App>, request: Request, next: Next) -> Response {
    match request.extensions().get::<RequestTarget>().cloned() {
        Some(RequestTarget::Site(host)) => match damage(&app, &host) {
            Some((worker, reason)) => serving::error_pages::unavailable(&app, worker, reason),
            None => serving::handle(&app, &host, request).await,
        },
        _ => next.run(request).await,
    }
}

/// Returns the Worker of a host if its state file is damaged, with the message.
fn damage<'a>(app: &'a App, host: &str) -> Option<(&'a str, &'a str)> {
    let label = host.split('.').next().unwrap_or_default();
    let is_named = |(name, _): &(&str, &str)| {
        label.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
    };
    let damaged = app.store.damages().find(is_named)?;
    matches!(hosts::find(&app.store.workers(), host), HostTarget::Unknown).then_some(damaged)
}

async fn health(State(app): State<App>) -> Response {
    let workers = app.store.count();
    Json(json!({ "schema": 1, "pid": std::process::id(), "workers": workers })).into_response()
}

/// Responds to paths that have no route. Redirects the URL of a merge request to the page.
async fn not_found(State(app): State<App>, uri: Uri) -> Response {
    if let Some(page) = gitlab::redirect_to_page(&app, uri.path()) {
        return page.into_response();
    }
    (StatusCode::NOT_FOUND, Json(json!({ "message": "404 Not Found" }))).into_response()
}

/// Locks the state folder for this server. The system releases the locks when the process exits. Other programs
/// wait for the lock of the file. The folder is locked too, because the file can be deleted.
fn lock_state(state: &Utf8Path) -> Result<[File; 2]> {
    let path = state.join("lock");
    let folder = File::open(state).with_context(|| format!("cannot open {state}"))?;
    let file = File::create(&path).with_context(|| format!("cannot create {path}"))?;
    for lock in [&folder, &file] {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another sandbox serves {state} already; stop it first")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {path}"));
            }
        }
    }
    Ok([folder, file])
}

/// Listens on `port`. Without it, listens on the port of the last start, the default port or a free port.
async fn listen(state: &Utf8Path, port: Option<u16>) -> Result<(TcpListener, u16)> {
    let path = state.join("port");
    let last = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let listener = match port {
        Some(port) => TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
            format!("the port {port} is taken; choose another one or omit `--port`")
        })?,
        None => listen_on_first(&[last.unwrap_or(DEFAULT_PORT), DEFAULT_PORT, 0]).await?,
    };
    let port = listener.local_addr()?.port();
    if last != Some(port) {
        // Links in comments contain the port, so the next start must use the same port.
        write_durably(&path, format!("{port}\n").as_bytes())?;
    }
    Ok((listener, port))
}

async fn listen_on_first(ports: &[u16]) -> Result<TcpListener> {
    for port in ports {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", *port)).await {
            return Ok(listener);
        }
    }
    bail!("no port of 127.0.0.1 is free")
}

/// Writes `server.json`, from which clients learn the port.
fn announce(path: &Utf8Path, state: &Utf8Path, port: u16) -> Result<()> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let server = json!({
        "schema": 1, "pid": std::process::id(), "port": port,
        "url": format!("http://127.0.0.1:{port}"), "started": started, "state": state,
    });
    write_durably(path, &serde_json::to_vec_pretty(&server)?)
}

/// Removes `server.json` if this process wrote it. The folder may have been emptied since, and another server may
/// use it now.
fn withdraw(path: &Utf8Path) -> Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let server: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if server["pid"] == std::process::id() {
        remove_if_there(path)?;
    }
    Ok(())
}

fn remove_if_there(path: &Utf8Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {path}"))
        }
        _ => Ok(()),
    }
}

/// Completes when the state folder is deleted, as with its checkout. No command could find and stop the sandbox then.
async fn removal(state: &Utf8Path) {
    while state.exists() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Completes when the process gets SIGTERM or SIGINT.
async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
