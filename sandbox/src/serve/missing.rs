//! Pages of our own, for people who ask for what is not there.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

use crate::app::App;

/// No Worker answers to this host.
#[must_use]
pub fn nothing(app: &App, host: &str) -> Response {
    let mut items = String::new();
    for worker in app.store.workers() {
        let url = escape(&format!("http://{}.localhost:{}/", worker.name, app.port));
        items += &format!("<li><a href=\"{url}\">{url}</a></li>");
    }
    // A foreign page that points its own name at this machine learns nothing of what is deployed.
    let list = if !host.ends_with(".localhost") {
        format!(
            "<p>The sandbox is at <a href=\"http://127.0.0.1:{0}/\">http://127.0.0.1:{0}/</a>.</p>",
            app.port
        )
    } else if items.is_empty() {
        "<p>Nothing is deployed yet. <code>cargo xtask deploy website</code> is a good start.</p>"
            .to_owned()
    } else {
        format!("<p>These are deployed:</p><ul>{items}</ul>")
    };
    page(StatusCode::NOT_FOUND, &format!("Nothing is deployed at {host}"), &list)
}

/// The Worker has versions but no deployment.
#[must_use]
pub fn not_deployed(worker: &str) -> Response {
    page(
        StatusCode::NOT_FOUND,
        &format!("{worker} has never been deployed"),
        "<p>It has versions; <code>cargo xtask deploy</code> puts one into service.</p>",
    )
}

/// The Worker's workers.dev address is off.
#[must_use]
pub fn off(app: &App, worker: &str) -> Response {
    let url = format!("http://{worker}.localhost:{}/", app.port);
    page(
        StatusCode::NOT_FOUND,
        &format!("The workers.dev address of {worker} is off"),
        &format!("<p>Here it always answers at <a href=\"{url}\">{url}</a>.</p>"),
    )
}

/// The Worker's preview addresses are off.
#[must_use]
pub fn previews_off(worker: &str) -> Response {
    let text =
        "<p>Set <code>\"preview_urls\": true</code> in its wrangler config and deploy it.</p>";
    page(StatusCode::NOT_FOUND, &format!("The preview addresses of {worker} are off"), text)
}

/// The version cannot be run here.
#[must_use]
pub fn cannot_run(worker: &str, reason: &str) -> Response {
    page(
        StatusCode::NOT_IMPLEMENTED,
        &format!("The sandbox cannot run {worker}"),
        &format!("<p>{}</p>", escape(reason)),
    )
}

/// The runtime does not answer.
#[must_use]
pub fn broken(worker: &str, reason: &str) -> Response {
    let text = format!(
        "<p>{}</p><p><code>cargo xtask sandbox logs</code> may say more.</p>",
        escape(reason)
    );
    page(StatusCode::BAD_GATEWAY, &format!("{worker} does not answer"), &text)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\"><title>{title}</title>\
         <style>body{{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1.5rem}}</style>\
         <h1>{title}</h1>{body}<p><small>The sandbox of this repository</small></p></html>"
    );
    (status, Html(html)).into_response()
}

/// Text for HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
