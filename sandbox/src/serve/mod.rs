//! Serving what is deployed: by host name, through the real workerd.

pub mod bindings;
pub mod check;
pub mod files;
pub mod hosts;
pub mod missing;
pub mod process;
pub mod proxy;
pub mod runtime;
pub mod upgrade;

use axum::extract::Request;
use axum::response::Response;

use crate::app::App;
use hosts::Found;

/// Answers a request for a host that is not ours.
pub async fn handle(app: &App, host: &str, request: Request) -> Response {
    match hosts::find(&app.store.workers(), host) {
        Found::Version(worker, version) => proxy::forward(app, &worker, &version, request).await,
        Found::NotDeployed(worker) => missing::not_deployed(&worker),
        Found::Off(worker) => missing::off(app, &worker),
        Found::PreviewsOff(worker) => missing::previews_off(&worker),
        Found::Nothing => missing::nothing(app, host),
    }
}
