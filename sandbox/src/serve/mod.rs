//! Serves what is deployed: by host name, through the real workerd.
//!
//! `hosts` finds the version of a host name. `group` decides which Workers run in one process with it,
//! `bindings` translates them for miniflare, and `runtime` loads them. `proxy` hands the request over.

pub mod bindings;
pub mod check;
pub mod cron;
pub mod files;
pub mod group;
pub mod hosts;
pub mod missing;
pub mod output;
pub mod process;
pub mod proxy;
pub mod runtime;
pub mod upgrade;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use group::{Node, Role};
use hosts::Found;

/// Answers a request for a host that is not ours.
pub async fn handle(app: &App, host: &str, request: Request) -> Response {
    match hosts::find(&app.store.workers(), host) {
        Found::Version(worker, version) => {
            let node = Node::new(&worker, &version.id);
            if node.role == Role::Uploaded && !worker.classes.is_empty() {
                return missing::no_preview(app, &worker.name);
            }
            proxy::forward(app, &node, request).await
        }
        Found::NotDeployed(worker) => missing::not_deployed(app, &worker),
        Found::Off(worker) => missing::off(app, &worker),
        Found::PreviewsOff(worker) => missing::previews_off(app, &worker),
        Found::Nothing => missing::nothing(app, host),
    }
}
