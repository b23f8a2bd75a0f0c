//! One loopback port: the API and the page by our own names, deployed Workers by theirs.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::HOST;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use camino::Utf8Path;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Parts};
use crate::cli::Serve;
use crate::serve::hosts;
use crate::serve::runtime::Runtime;
use crate::state::{Store, write_durably};
use crate::token::Token;
use crate::{cloudflare, faults, log, page, serve as serving};

/// The port that is asked for first.
const PORT: u16 = 8787;

/// A multipart upload holds at most 50 MiB of assets, a third more as base64.
const LARGEST_BODY: usize = 100 * 1024 * 1024;

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: Serve) -> Result<()> {
    let state = &options.state;
    std::fs::create_dir_all(state).with_context(|| format!("cannot make {state}"))?;
    let _lock = lock(state)?;
    let token = Token::load(state)?;
    let (listener, port) = listen(options.port).await?;
    let app = App(Arc::new(Parts {
        store: Store::open(state)?,
        token,
        accounts: options.accounts.clone(),
        port,
        sessions: Mutex::new(BTreeMap::new()),
        runtime: Runtime::new(&options.bun, &options.toolchain, state)?,
        faults: faults::Faults::default(),
    }));
    announce(state, port)?;
    log::line(&format!("serving at http://127.0.0.1:{port} with {} Workers", app.store.count()));
    let router = router(&app);
    // Browsers may take `*.localhost` to the IPv6 loopback address; without one we do as well.
    if let Ok(second) = TcpListener::bind(("::1", port)).await {
        let router = router.clone();
        tokio::spawn(async move { axum::serve(second, router).await });
    }
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served?,
        () = asked_to_stop() => {}
    }
    log::line("stopping");
    withdraw(state)?;
    app.runtime.stop().await;
    Ok(())
}

fn router(app: &App) -> Router {
    Router::new()
        .nest("/client/v4", cloudflare::routes(app))
        .route("/", get(page::page))
        .route("/__sandbox/state.json", get(page::state))
        .route("/__sandbox/health", get(health))
        .route("/__sandbox/faults", post(faults::set).delete(faults::clear))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(app.clone(), faults::play))
        .layer(from_fn_with_state(app.clone(), by_host))
        .with_state(app.clone())
}

/// Sends requests for a Worker's host to the Worker, and logs the others.
async fn by_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    if !hosts::is_own(&name) {
        return serving::handle(&app, &name, request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = Instant::now();
    let answer = next.run(request).await;
    if !path.starts_with("/__sandbox") {
        log::line(&format!(
            "{method} {path} {} {} ms",
            answer.status().as_u16(),
            started.elapsed().as_millis()
        ));
    }
    answer
}

async fn health(State(app): State<App>) -> Response {
    Json(json!({ "schema": 1, "pid": std::process::id(), "workers": app.store.count() }))
        .into_response()
}

async fn not_found() -> Response {
    (axum::http::StatusCode::NOT_FOUND, Json(json!({ "message": "404 Not Found" }))).into_response()
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

fn announce(state: &Utf8Path, port: u16) -> Result<()> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let server = json!({
        "schema": 1, "pid": std::process::id(), "port": port,
        "url": format!("http://127.0.0.1:{port}"), "started": started,
    });
    write_durably(&state.join("server.json"), &serde_json::to_vec_pretty(&server)?)
}

/// Removes our own announcement, and nobody else's.
fn withdraw(state: &Utf8Path) -> Result<()> {
    let path = state.join("server.json");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let server: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if server["pid"] == std::process::id() {
        std::fs::remove_file(&path).context("cannot remove server.json")?;
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
