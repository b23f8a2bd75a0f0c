//! Runs cron triggers: on time while the sandbox is up, and when somebody asks for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::group::Node;
use super::proxy;
use crate::app::App;
use crate::cloudflare::auth::Authorized;
use crate::cloudflare::body::Body;
use crate::log;
use crate::state::model::Worker;

/// The header with an order for the runtime.
const ORDER: &str = "mf-sandbox-order";

/// The result of one run.
#[derive(Debug, Deserialize, Serialize)]
pub struct Run {
    /// The cron that the Worker was told.
    pub cron: String,
    /// `ok`, `exception` and the like.
    pub outcome: String,
}

/// The cron that is asked for.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    cron: Option<String>,
}

/// Lists the cron triggers of a Worker.
#[must_use]
pub fn crons(worker: &Worker) -> Vec<&str> {
    let all = worker.schedules.as_array().into_iter().flatten();
    all.filter_map(|schedule| schedule["cron"].as_str()).collect()
}

/// Reads a cron as Cloudflare does: five fields in UTC, weekdays from 1 for Sunday
/// (<https://developers.cloudflare.com/workers/configuration/cron-triggers/>).
fn parse(cron: &str) -> Result<Cron> {
    let parser =
        CronParser::builder().seconds(Seconds::Disallowed).alternative_weekdays(true).build();
    parser.parse(cron).with_context(|| format!("{cron:?} is no cron"))
}

/// Whether a cron is due in the minute that starts at `minute`.
fn is_due(cron: &str, minute: DateTime<Utc>) -> bool {
    parse(cron).is_ok_and(|cron| cron.is_time_matching(&minute).unwrap_or(false))
}

/// Runs the triggers of all live Workers, each in its minute. A minute in which the machine slept is
/// left out.
pub async fn keep_time(app: App) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
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
                    let Some(node) = Node::live(&worker) else { return };
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
async fn run(app: &App, node: &Node, cron: &str, time: DateTime<Utc>) -> Result<Run> {
    let loaded = app.runtime.load(&app.store, node).await?;
    let body = json!({ "cron": cron, "time": time.timestamp_millis() }).to_string();
    let request = proxy::client()
        .post(format!("http://127.0.0.1:{}/", loaded.port))
        .header(proxy::MEMBER, node.name())
        .header(ORDER, "cron");
    let answer = request.body(body).send().await.map_err(reqwest::Error::without_url)?;
    if !answer.status().is_success() {
        bail!("the runtime answered with {}", answer.status());
    }
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let outcome = answer["outcome"].as_str().context("the runtime's answer has no outcome")?;
    Ok(Run { cron: cron.to_owned(), outcome: outcome.to_owned() })
}

/// `POST /__sandbox/cron/{worker}`: runs a Worker's triggers now, or the one that is named.
pub async fn trigger(
    _: Authorized,
    State(app): State<App>,
    Path(name): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Response {
    match trigger_now(&app, &name, wanted.cron.as_deref()).await {
        Ok(runs) => Json(json!({ "schema": 1, "worker": name, "runs": runs })).into_response(),
        Err((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
    }
}

async fn trigger_now(
    app: &App,
    name: &str,
    wanted: Option<&str>,
) -> Result<Vec<Run>, (StatusCode, String)> {
    let refused = |status, message: String| Err((status, message));
    let workers = app.store.workers();
    let Some(node) = workers.iter().find(|worker| worker.name == name).and_then(Node::live) else {
        let message = format!("The Worker {name} is not deployed in the sandbox");
        return refused(StatusCode::NOT_FOUND, message);
    };
    let all = crons(&node.worker);
    let chosen: Vec<&str> = match wanted {
        None => all.clone(),
        Some(wanted) => all.iter().copied().filter(|cron| *cron == wanted).collect(),
    };
    if chosen.is_empty() {
        let message = match (wanted, all.is_empty()) {
            (_, true) => format!("The Worker {name} has no cron triggers"),
            (wanted, false) => format!(
                "The Worker {name} has no cron trigger `{}`; it has `{}`",
                wanted.unwrap_or_default(),
                all.join("`, `")
            ),
        };
        return refused(StatusCode::CONFLICT, message);
    }
    let now = DateTime::from(SystemTime::now());
    let mut runs = Vec::new();
    for cron in chosen {
        match run(app, &node, cron, now).await {
            Ok(run) => runs.push(run),
            Err(error) => return refused(StatusCode::BAD_GATEWAY, format!("{error:#}")),
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crons_are_due_as_at_cloudflare() {
        for (cron, time, wanted) in [
            ("* * * * *", "2026-11-29T03:41:00Z", true),
            ("*/15 * * * *", "2026-11-29T03:45:00Z", true),
            ("*/15 * * * *", "2026-11-29T03:41:00Z", false),
            // 2026-11-29 is a Sunday, which is 1.
            ("0 3 * * 1", "2026-11-29T03:00:00Z", true),
            ("0 3 * * 2", "2026-11-29T03:00:00Z", false),
            ("0 3 * * 2", "2026-11-30T03:00:00Z", true),
            ("0 3 * * SUN", "2026-11-29T03:00:00Z", true),
            ("0 3 * * mon-fri", "2026-11-29T03:00:00Z", false),
            ("0 0 L * *", "2026-11-30T00:00:00Z", true),
            ("0 0 L * *", "2026-11-29T00:00:00Z", false),
            // The first of November is a Sunday, so the weekday nearest to it is the second.
            ("0 0 1W * *", "2026-11-02T00:00:00Z", true),
            ("59 23 LW * *", "2026-10-30T23:59:00Z", true),
            ("0 18 * * 6L", "2026-11-27T18:00:00Z", true),
            ("0 18 * * 6#2", "2026-11-13T18:00:00Z", true),
            ("0 0 1 JAN *", "2027-01-01T00:00:00Z", true),
        ] {
            let minute = DateTime::from(humantime::parse_rfc3339(time).expect("a time"));
            assert_eq!(is_due(cron, minute), wanted, "{cron} at {time}");
        }
    }
}
