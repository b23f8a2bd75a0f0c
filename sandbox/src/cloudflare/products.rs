//! Answers requests that the sandbox does not implement, in words that name the product.

use axum::extract::OriginalUri;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::envelope::CloudflareError;

/// Parts of paths with the products to which they belong. The first one that matches counts.
const PRODUCTS: [(&str, &str); 33] = [
    ("/vectorize/", "Vectorize"),
    ("/hyperdrive/", "the configurations of Hyperdrive"),
    ("/secrets_store/", "the Secrets Store"),
    ("/pipelines", "Pipelines"),
    ("/containers/", "Containers"),
    ("/cloudchamber/", "Containers"),
    ("/ai-search/", "AI Search"),
    ("/autorag/", "AI Search"),
    ("/ai-gateway/", "AI Gateway"),
    ("/ai/", "Workers AI"),
    ("/mtls_certificates", "mTLS certificates"),
    ("/workers/dispatch/", "dispatch namespaces"),
    ("/pages/", "Pages"),
    ("/browser-rendering/", "Browser Rendering"),
    ("/connectivity/", "VPC services"),
    ("/r2-catalog", "the data catalog of R2"),
    ("/event_notifications/", "the event notifications of R2"),
    ("/event_subscriptions/", "the event subscriptions of queues"),
    ("/email/", "Email Routing"),
    ("/challenges/", "Turnstile"),
    ("/cfd_tunnel", "Tunnels"),
    ("/time_travel/", "the Time Travel of D1"),
    ("/graphql", "the GraphQL Analytics API"),
    ("/analytics_engine/", "the SQL API of Analytics Engine"),
    ("/messages", "the messages of queues over HTTP"),
    ("/purge", "the purge of a queue"),
    ("/domains/custom", "the public domains of R2"),
    ("/domains/managed", "the public domains of R2"),
    ("/lifecycle", "the lifecycle rules of R2"),
    ("/lock", "the lock rules of R2"),
    ("/local-uploads", "the local uploads of R2"),
    ("/sippy", "the migration of R2"),
    ("/dns_records", "DNS records"),
];

/// Answers with 501.
pub async fn not_implemented(method: Method, OriginalUri(uri): OriginalUri) -> Response {
    let path = uri.path();
    crate::log::line(&format!("not in the sandbox: {method} {path}"));
    CloudflareError::new(501, 7000, &text(&method, path)).into_response()
}

fn text(method: &Method, path: &str) -> String {
    match PRODUCTS.iter().find(|(part, _)| path.contains(part)) {
        Some((_, product)) => {
            format!("The sandbox does not have {product}: no route for {method} {path}")
        }
        None => format!("The sandbox has no route for {method} {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_product() {
        for (path, expected) in [
            (
                "/client/v4/accounts/a/vectorize/v2/indexes",
                "The sandbox does not have Vectorize: no route for GET /client/v4/accounts/a/vectorize/v2/indexes",
            ),
            (
                "/client/v4/accounts/a/ai/models/search",
                "The sandbox does not have Workers AI: no route for GET /client/v4/accounts/a/ai/models/search",
            ),
            (
                "/client/v4/accounts/a/unknown",
                "The sandbox has no route for GET /client/v4/accounts/a/unknown",
            ),
        ] {
            assert_eq!(text(&Method::GET, path), expected);
        }
    }
}
