//! One loopback port: the API and the page by our own names, deployed Workers by theirs.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::HOST;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use camino::Utf8Path;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Parts};
use crate::cli::Serve;
use crate::connection::Connection;
use crate::gitlab::Gitlab;
use crate::serve::hosts;
use crate::serve::runtime::Runtime;
use crate::state::{Store, write_durably};
use crate::token::Token;
use crate::{body, cloudflare, faults, gitlab, log, page, serve as serving};

/// The port that is asked for first.
const PORT: u16 = 8787;

/// A multipart upload holds at most 50 MiB of assets, a third more as base64.
pub const LARGEST_BODY: usize = 100 * 1024 * 1024;

/// How long requests that are being answered may hold up the end.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: Serve) -> Result<()> {
    // The runtime has another working directory.
    let state = &camino::absolute_utf8(&options.state).context("--state is not a path")?;
    std::fs::create_dir_all(state).with_context(|| format!("cannot make {state}"))?;
    let _lock = lock(state)?;
    let announcement = state.join("server.json");
    let token = Token::load(state)?;
    let (listener, port) = listen(options.port).await?;
    let app = App(Arc::new(Parts {
        store: Store::open(state)?,
        token,
        accounts: options.accounts.clone(),
        port,
        runtime: Runtime::new(&options.bun, &options.toolchain, state)?,
        faults: faults::Faults::default(),
        gitlab: Gitlab::open(state, &options)?,
    }));
    let service = router(&app).into_make_service_with_connect_info::<Connection>();
    // Browsers may take `*.localhost` to the IPv6 loopback address.
    if let Ok(second) = TcpListener::bind(("::1", port)).await {
        let service = service.clone();
        tokio::spawn(async move { axum::serve(second, service).await });
    }
    let serving = axum::serve(listener, service).with_graceful_shutdown(asked_to_stop());
    announce(&announcement, port)?;
    log::line(&format!("serving at http://127.0.0.1:{port} with {} Workers", app.store.count()));
    tokio::select! {
        served = serving => served?,
        () = async { asked_to_stop().await; tokio::time::sleep(GRACE).await } => {}
    }
    log::line("stopping");
    app.runtime.stop().await;
    withdraw(&announcement)
}

fn router(app: &App) -> Router {
    Router::new()
        .nest("/client/v4", cloudflare::routes(app))
        .merge(gitlab::routes(app))
        .route("/", get(page::page))
        .route("/__sandbox/state.json", get(page::state))
        .route("/__sandbox/health", get(health))
        .route("/__sandbox/faults", get(faults::list).post(faults::set).delete(faults::clear))
        .route("/__sandbox/gitlab", put(gitlab::limits::set))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(app.clone(), by_host))
        .layer(from_fn_with_state(app.clone(), faults::play))
        .layer(axum::middleware::from_fn(body::read_first))
        .layer(axum::middleware::from_fn(logged))
        .with_state(app.clone())
}

/// The name of the host that a request is for.
pub fn host(request: &Request) -> String {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    hosts::name(header.unwrap_or_default())
}

/// Logs each request to one of our APIs: never a query, a header or a body.
async fn logged(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !hosts::is_own(&host(&request)) || path == "/" || path.starts_with("/__sandbox/") {
        return next.run(request).await;
    }
    let line = format!("{} {path}", request.method());
    let started = Instant::now();
    let answer = next.run(request).await;
    let status = answer.status().as_u16();
    log::line(&format!("{line} {status} {} ms", started.elapsed().as_millis()));
    answer
}

/// Sends requests for a Worker's host to the Worker.
async fn by_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = host(&request);
    if hosts::is_own(&host) {
        return next.run(request).await;
    }
    serving::handle(&app, &host, request).await
}

async fn health(State(app): State<App>) -> Response {
    let workers = app.store.count();
    Json(json!({ "schema": 1, "pid": std::process::id(), "workers": workers })).into_response()
}

/// What is at no path: the address of a merge request leads to its place on the page.
async fn not_found(State(app): State<App>, uri: Uri) -> Response {
    if let Some(page) = gitlab::on_the_page(&app, uri.path()) {
        return page.into_response();
    }
    (StatusCode::NOT_FOUND, Json(json!({ "message": "404 Not Found" }))).into_response()
}

/// One server a folder. The system releases the lock when we end, however we end.
fn lock(state: &Utf8Path) -> Result<File> {
    let path = state.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {path}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another sandbox serves {state} already"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {path}"))
        }
    }
}

async fn listen(port: Option<u16>) -> Result<(TcpListener, u16)> {
    let listener = match port {
        Some(port) => TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
            format!("the port {port} is taken; choose another one or leave out --port")
        })?,
        None => match TcpListener::bind(("127.0.0.1", PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free")?,
        },
    };
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn announce(path: &Utf8Path, port: u16) -> Result<()> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let server = json!({
        "schema": 1, "pid": std::process::id(), "port": port,
        "url": format!("http://127.0.0.1:{port}"), "started": started,
    });
    write_durably(path, &serde_json::to_vec_pretty(&server)?)
}

/// Removes our own announcement, and nobody else's: the folder may have been emptied, and another
/// server may use it now.
fn withdraw(path: &Utf8Path) -> Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let server: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if server["pid"] == std::process::id() {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {path}"))?;
    }
    Ok(())
}

async fn asked_to_stop() {
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
