//! Makes the error pages for requests that cannot be served.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse as _, Response};

use super::output::Exception;
use crate::app::App;

/// The content security policy. The pages run no script and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = ":root{--text:light-dark(#1d2326,#e8eaea);--soft:light-dark(#4d575b,#a9b3b8);\
     --link:light-dark(#0b5f5a,#6bd6ce);--box:light-dark(#f1f0ea,#1f2428);--ground:light-dark(#fff,#14171a)}\
     body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:15vh auto;padding:0 1.5rem;\
     color:var(--text);background:var(--ground);overflow-wrap:anywhere}\
     h1{font-size:1.5rem;line-height:1.3}a{color:var(--link)}footer{color:var(--soft);font-size:.88rem}\
     pre{background:var(--box);border-radius:.5rem;padding:1rem;overflow-x:auto;font:.88rem/1.5 ui-monospace,monospace}";

/// Returns the page for a host without a Worker.
#[must_use]
pub fn unknown_host(app: &App, host: &str) -> Response {
    let mut items = String::new();
    for worker in app.store.workers() {
        let url = escape(&format!("http://{}.localhost:{}/", worker.name, app.port));
        items += &format!("<li><a href=\"{url}\">{url}</a></li>");
    }
    // A foreign web page that points its name at this machine must not learn what is deployed.
    let list = if !host.ends_with(".localhost") {
        String::new()
    } else if items.is_empty() {
        "<p>Nothing is deployed yet. Start with <code>cargo xtask deploy website</code>.</p>"
            .to_owned()
    } else {
        format!("<p>These Workers are deployed:</p><ul>{items}</ul>")
    };
    page(app, StatusCode::NOT_FOUND, &format!("Nothing is deployed at {host}"), &list)
}

/// Returns the page for a Worker that has versions but no deployment.
#[must_use]
pub fn not_deployed(app: &App, worker: &str) -> Response {
    page(
        app,
        StatusCode::NOT_FOUND,
        &format!("{worker} was never deployed"),
        "<p>None of its versions is live. Run <code>cargo xtask deploy</code>.</p>",
    )
}

/// Returns the page for a Worker whose workers.dev URL is disabled.
#[must_use]
pub fn worker_disabled(app: &App, worker: &str) -> Response {
    let url = format!("http://{worker}.localhost:{}/", app.port);
    page(
        app,
        StatusCode::NOT_FOUND,
        &format!("The workers.dev URL of {worker} is disabled"),
        &format!(
            "<p>In the sandbox, the Worker is always available at <a href=\"{url}\">{url}</a>.</p>"
        ),
    )
}

/// Returns the page for a Worker whose preview URLs are disabled.
#[must_use]
pub fn previews_disabled(app: &App, worker: &str) -> Response {
    let text =
        "<p>Set <code>\"preview_urls\": true</code> in its wrangler config and deploy it.</p>";
    page(app, StatusCode::NOT_FOUND, &format!("The preview URLs of {worker} are disabled"), text)
}

/// Returns the page for a version of a Worker that has Durable Objects. On Cloudflare it has no URL
/// (<https://developers.cloudflare.com/workers/configuration/previews/>).
#[must_use]
pub fn no_preview(app: &App, worker: &str) -> Response {
    let text = "<p>Versions of a Worker with Durable Objects have no preview URL on Cloudflare. \
                Set <code>\"previewStrategy\": \"preview\"</code> for a preview with separate objects.</p>";
    page(app, StatusCode::NOT_FOUND, &format!("{worker} has Durable Objects"), text)
}

/// Returns the page for a request that needs something the sandbox lacks.
#[must_use]
pub fn cannot_run(app: &App, worker: &str, reason: &str) -> Response {
    page(
        app,
        StatusCode::NOT_IMPLEMENTED,
        &format!("The sandbox cannot run this request of {worker}"),
        &format!("<p>{}</p>", escape(reason)),
    )
}

/// Returns the page for a version that does not start or does not respond.
#[must_use]
pub fn unavailable(app: &App, worker: &str, reason: &str) -> Response {
    let text = format!(
        "<pre>{}</pre><p>See <code>cargo xtask sandbox logs</code> for details.</p>",
        escape(reason)
    );
    page(app, StatusCode::BAD_GATEWAY, &format!("{worker} does not respond"), &text)
}

/// Returns the page, or plain text, for uncaught exceptions. Each one has the name of its Worker.
#[must_use]
pub fn uncaught_exceptions(
    app: &App,
    exceptions: &[(String, Exception)],
    is_for_browser: bool,
) -> Response {
    if !is_for_browser {
        let text = |(worker, exception): &(String, Exception)| {
            format!("{worker}: Uncaught {}\n", exception.text())
        };
        let text: String = exceptions.iter().map(text).collect();
        return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    }
    let block = |(worker, exception): &(String, Exception)| {
        format!(
            "<p>In <strong>{}</strong>:</p><pre>{}</pre>",
            escape(worker),
            escape(&exception.text())
        )
    };
    let blocks: String = exceptions.iter().map(block).collect();
    let worker = exceptions.first().map_or("The Worker", |(worker, _)| worker);
    let text = format!(
        "{blocks}<p>On Cloudflare, visitors see error 1101 instead. \
         <code>cargo xtask sandbox logs</code> prints the output of the Worker.</p>"
    );
    page(app, StatusCode::INTERNAL_SERVER_ERROR, &format!("{worker} threw an exception"), &text)
}

fn page(app: &App, status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main>\
         <footer><p>The sandbox of this repository: \
         <a href=\"http://127.0.0.1:{0}/\">http://127.0.0.1:{0}/</a></p></footer></body></html>",
        app.port
    );
    let headers = [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store")];
    (status, headers, Html(html)).into_response()
}

/// Escapes a text for HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
