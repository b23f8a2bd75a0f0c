//! Serves deployed versions by host name, through the real workerd.
//!
//! `hosts` resolves a host name to a version. `group` finds the Workers that run in the same process,
//! `bindings` converts their bindings for miniflare, and `runtime` loads them. `proxy` forwards the request.

pub mod bindings;
pub mod check;
pub mod cron;
pub mod error_pages;
pub mod files;
pub mod group;
pub mod hosts;
pub mod hyperdrive;
pub mod output;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod queues;
pub mod runtime;
pub mod upgrade;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use group::{NodeRole, VersionNode};
use hosts::HostTarget;

/// Serves a request to the host of a Worker.
pub async fn handle(app: &App, host: &str, request: Request) -> Response {
    match hosts::find_for(&app.store.workers(), host, request.headers()) {
        HostTarget::Version(worker, version) => {
            let node = VersionNode::new(&worker, &version.id);
            let gets_traffic = worker.serving().any(|(serving, _)| serving.id == version.id);
            if node.role == NodeRole::Uploaded && !gets_traffic && !worker.classes.is_empty() {
                return error_pages::no_preview(app, &worker.name);
            }
            proxy::forward(app, &node, request).await
        }
        HostTarget::NotDeployed(worker) => error_pages::not_deployed(app, &worker),
        HostTarget::WorkerDisabled(worker) => error_pages::worker_disabled(app, &worker),
        HostTarget::PreviewsDisabled(worker) => error_pages::previews_disabled(app, &worker),
        HostTarget::Unknown => error_pages::unknown_host(app, host),
    }
}
