//! Runs cron triggers, on schedule while the sandbox runs and on request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::group::VersionNode;
use super::proxy;
use crate::app::App;
use crate::cloudflare::auth::RequireToken;
use crate::cloudflare::body::JsonBody;
use crate::cloudflare::crons::CronSchedule;
use crate::log;
use crate::state::model::Worker;

/// The header with a command for the runtime.
pub(super) const COMMAND_HEADER: &str = "mf-sandbox-command";

/// The result of one run of a trigger.
#[derive(Debug, Deserialize, Serialize)]
pub struct TriggerRun {
    /// The cron string that the Worker received.
    pub cron: String,
    /// `ok`, `exception` or another outcome of workerd.
    pub outcome: String,
}

/// The body of `POST /__sandbox/cron/{worker}`. Without `cron` all triggers run.
#[derive(Debug, Deserialize)]
pub struct CronRequest {
    cron: Option<String>,
}

/// Lists the cron triggers of a Worker.
#[must_use]
pub fn crons(worker: &Worker) -> Vec<&str> {
    let all = worker.schedules.as_array().into_iter().flatten();
    all.filter_map(|schedule| schedule["cron"].as_str()).collect()
}

/// Returns whether a cron is due in the minute that begins at `minute`.
fn is_due(cron: &str, minute: DateTime<Utc>) -> bool {
    CronSchedule::parse(cron).is_some_and(|schedule| schedule.is_due(minute))
}

/// Runs the triggers of all live Workers on schedule. Skips the minutes in which the machine slept. `ahead` is added to
/// the current time.
pub async fn run_schedules(app: App, ahead: Duration) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead;
        let next = (now.as_secs() / 60 + 1) * 60;
        tokio::time::sleep(Duration::from_secs(next).saturating_sub(now)).await;
        let Some(minute) =
            i64::try_from(next).ok().and_then(|next| DateTime::from_timestamp(next, 0))
        else {
            continue;
        };
        for worker in app.store.workers() {
            for cron in crons(&worker).into_iter().filter(|cron| is_due(cron, minute)) {
                let (app, worker, cron) = (app.clone(), worker.clone(), cron.to_owned());
                tokio::spawn(async move {
                    let Some(node) = VersionNode::live(&worker) else { return };
                    let result = run(&app, &node, &cron, minute).await;
                    let outcome =
                        result.map_or_else(|error| format!("{error:#}"), |run| run.outcome);
                    log::line(&format!("cron {cron} of {}: {outcome}", worker.name));
                });
            }
        }
    }
}

/// Runs a Worker's `scheduled` handler.
async fn run(app: &App, node: &VersionNode, cron: &str, time: DateTime<Utc>) -> Result<TriggerRun> {
    let loaded = app.runtime.load(&app.store, node).await?;
    let body = json!({ "cron": cron, "time": time.timestamp_millis() }).to_string();
    let request = proxy::client()
        .post(format!("http://127.0.0.1:{}/", loaded.port))
        .header(proxy::MEMBER_HEADER, node.name())
        .header(COMMAND_HEADER, "cron");
    let response = request.body(body).send().await.map_err(reqwest::Error::without_url)?;
    if !response.status().is_success() {
        bail!("the runtime responded with {}", response.status());
    }
    let result: Value = serde_json::from_slice(&response.bytes().await?)?;
    let outcome = result["outcome"].as_str().context("the runtime's response has no outcome")?;
    Ok(TriggerRun { cron: cron.to_owned(), outcome: outcome.to_owned() })
}

/// `POST /__sandbox/cron/{worker}`: runs all triggers of a Worker now, or the requested one.
pub async fn trigger(
    _: RequireToken,
    State(app): State<App>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<CronRequest>,
) -> Response {
    match trigger_now(&app, &name, body.cron.as_deref()).await {
        Ok(runs) => Json(json!({ "schema": 1, "worker": name, "runs": runs })).into_response(),
        Err((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
    }
}

async fn trigger_now(
    app: &App,
    name: &str,
    requested: Option<&str>,
) -> Result<Vec<TriggerRun>, (StatusCode, String)> {
    let refuse = |status, message: String| Err((status, message));
    let workers = app.store.workers();
    let Some(node) = workers.iter().find(|worker| worker.name == name).and_then(VersionNode::live)
    else {
        let message = format!("The Worker {name} is not deployed in the sandbox");
        return refuse(StatusCode::NOT_FOUND, message);
    };
    let crons = crons(&node.worker);
    let selected: Vec<&str> = match requested {
        None => crons.clone(),
        Some(requested) => crons.iter().copied().filter(|cron| *cron == requested).collect(),
    };
    if selected.is_empty() {
        let message = match (requested, crons.is_empty()) {
            (_, true) => format!("The Worker {name} has no cron triggers"),
            (requested, false) => format!(
                "The Worker {name} has no cron trigger `{}`; it has `{}`",
                requested.unwrap_or_default(),
                crons.join("`, `")
            ),
        };
        return refuse(StatusCode::CONFLICT, message);
    }
    let now = DateTime::from(SystemTime::now());
    let mut runs = Vec::new();
    for cron in selected {
        match run(app, &node, cron, now).await {
            Ok(run) => runs.push(run),
            Err(error) => return refuse(StatusCode::BAD_GATEWAY, format!("{error:#}")),
        }
    }
    Ok(runs)
}
