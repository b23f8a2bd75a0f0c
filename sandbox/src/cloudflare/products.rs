//! Responds to requests that the sandbox does not implement. The error names the product and an alternative.

use axum::extract::OriginalUri;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};

use super::envelope::CloudflareError;

/// The advice for products that exist only on Cloudflare.
const USE_CLOUDFLARE: &str = "Run the command with a Cloudflare account, such as with `cargo xtask wrangler PROJECT \
                             --env ENVIRONMENT -- …`";

/// A product that the sandbox lacks.
struct Product {
    /// The beginning of its paths. A `*` matches one segment.
    path: &'static str,
    name: &'static str,
    /// The alternative that the error suggests.
    advice: &'static str,
}

const fn product(path: &'static str, name: &'static str) -> Product {
    Product { path, name, advice: USE_CLOUDFLARE }
}

const fn alternative(path: &'static str, name: &'static str, advice: &'static str) -> Product {
    Product { path, name, advice }
}

/// The advice for the public URLs of a bucket.
pub(super) const SERVE_WITH_WORKER: &str =
    "Serve the objects with a Worker that has a binding to the bucket";

/// The advice for dispatch namespaces.
const BIND_DIRECTLY: &str = "Bind the Worker directly, as a service";

/// The products. The first match counts, so special paths come before general ones.
const PRODUCTS: [Product; 63] = [
    product("/accounts/*/vectorize/", "Vectorize"),
    alternative(
        "/accounts/*/hyperdrive/",
        "the configurations of Hyperdrive",
        "Set `CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_<BINDING>` to a local database, which Workers in the \
         sandbox then use",
    ),
    alternative(
        "/accounts/*/secrets_store/",
        "the Secrets Store",
        "Set secrets of a Worker with `wrangler secret put`",
    ),
    product("/accounts/*/pipelines/", "Pipelines"),
    product("/accounts/*/containers/", "Containers"),
    product("/accounts/*/cloudchamber/", "Containers"),
    product("/accounts/*/ai-search/", "AI Search"),
    product("/accounts/*/autorag/", "AI Search"),
    product("/accounts/*/ai-gateway/", "AI Gateway"),
    product("/accounts/*/ai/", "Workers AI"),
    product("/accounts/*/agent-memory/", "Agent Memory"),
    product("/accounts/*/artifacts/", "Artifacts"),
    product("/accounts/*/flagship/", "Flagship"),
    product("/accounts/*/mtls_certificates/", "mTLS certificates"),
    alternative("/accounts/*/workers/dispatch/", "dispatch namespaces", BIND_DIRECTLY),
    alternative("/accounts/*/dispatch/", "dispatch namespaces", BIND_DIRECTLY),
    alternative(
        "/accounts/*/pages/",
        "Pages",
        "Deploy the site as a Worker with static assets: set `assets.directory` in the wrangler config",
    ),
    product("/accounts/*/browser-rendering/", "Browser Rendering"),
    product("/accounts/*/connectivity/", "VPC services"),
    product("/accounts/*/r2-catalog/", "the data catalog of R2"),
    alternative(
        "/accounts/*/event_notifications/",
        "the event notifications of R2",
        "Send the message from the Worker that writes the object, with a binding to the queue",
    ),
    product("/accounts/*/event_subscriptions/", "the event subscriptions of queues"),
    product("/accounts/*/email/", "Email Routing"),
    product("/zones/*/email/", "Email Routing"),
    product("/accounts/*/challenges/", "Turnstile"),
    product("/accounts/*/k2/", "K2"),
    product("/accounts/*/cfd_tunnel/", "Tunnels"),
    product("/accounts/*/tunnels/", "Tunnels"),
    product("/accounts/*/access/", "Cloudflare Access"),
    product("/accounts/*/images/", "the storage of Images"),
    product("/accounts/*/stream/", "Stream"),
    product("/accounts/*/calls/", "Realtime"),
    product("/accounts/*/realtime/", "Realtime"),
    product("/accounts/*/builds/", "Workers Builds"),
    product("/accounts/*/logs/", "the Log Explorer"),
    product("/accounts/*/logpush/", "Logpush"),
    product("/zones/*/logpush/", "Logpush"),
    alternative(
        "/accounts/*/d1/database/*/time_travel/",
        "the Time Travel of D1",
        "Save the database with `wrangler d1 export NAME --remote --output FILE` before a change. Restore it into \
         a new database with `wrangler d1 execute NAME --remote --file FILE`",
    ),
    alternative(
        "/graphql/",
        "the GraphQL Analytics API, which has the metrics of Workers, D1, R2 and queues",
        "The sandbox measures nothing. Its page shows the latest requests",
    ),
    alternative(
        "/accounts/*/analytics_engine/",
        "the SQL API of Analytics Engine",
        "The sandbox accepts data points and does not keep them",
    ),
    alternative(
        "/accounts/*/workers/observability/",
        "the Query Builder of Workers Logs",
        "Read the output of Workers on the sandbox's page, or with `wrangler tail`",
    ),
    alternative(
        "/accounts/*/r2/metrics/",
        "the metrics of R2",
        "Count the objects in `GET …/r2/buckets/{bucket}/objects`",
    ),
    alternative(
        "/accounts/*/r2/temp-access-credentials/",
        "the S3 API of R2 and its credentials",
        "Use `wrangler r2 object`, or a Worker with a binding to the bucket",
    ),
    alternative("/accounts/*/r2/buckets/*/domains/", "the public domains of R2", SERVE_WITH_WORKER),
    alternative(
        "/accounts/*/r2/buckets/*/sippy/",
        "Sippy, the migration of objects into R2",
        "Copy the objects with `wrangler r2 object put`",
    ),
    product("/accounts/*/r2/buckets/*/lock/", "the lock rules of R2"),
    product("/accounts/*/r2/buckets/*/local-uploads/", "the local uploads of R2"),
    product("/accounts/*/r2/", "this part of R2"),
    product("/accounts/*/d1/", "this part of D1"),
    product("/accounts/*/storage/kv/", "this part of KV"),
    product("/accounts/*/queues/", "this part of queues"),
    product("/accounts/*/workflows/", "this part of Workflows"),
    alternative(
        "/accounts/*/workers/workers/*/versions/*/",
        "the deletion of single versions",
        "A version that is not deployed serves nothing. `wrangler delete` deletes the Worker with all its versions",
    ),
    product("/accounts/*/workers/durable_objects/", "this part of Durable Objects"),
    alternative(
        "/accounts/*/workers/scripts/*/edge-preview/",
        "`wrangler dev --remote`",
        "Use `wrangler dev`, or upload a version with a preview URL",
    ),
    product("/accounts/*/workers/", "this part of Workers"),
    alternative(
        "/zones/*/dns_records/",
        "DNS records",
        "A custom domain of a Worker needs none in the sandbox: it has the address `http://<domain>.localhost`",
    ),
    alternative(
        "/zones/*/purge_cache/",
        "the cache of a zone",
        "The sandbox caches no responses, so there is nothing to purge",
    ),
    product("/zones/*/rulesets/", "rulesets"),
    product("/zones/*/settings/", "the settings of zones"),
    product("/zones/*/custom_hostnames/", "custom hostnames"),
    product("/zones/", "this part of zones"),
    alternative("/user/", "this part of the user", "`GET /user` and `GET /memberships` work"),
];

/// Responds with 501. Logs the route.
pub async fn not_implemented(method: Method, OriginalUri(uri): OriginalUri) -> Response {
    let path = uri.path();
    crate::log::line(&format!("not implemented: {method} {path}"));
    CloudflareError::new(501, 7000, &text(&method, path)).into_response()
}

/// Returns whether a path begins with the segments of `pattern`.
fn matches(pattern: &str, path: &str) -> bool {
    let mut segments =
        path.trim_start_matches('/').split('/').filter(|segment| !segment.is_empty());
    let mut expected = pattern.trim_matches('/').split('/');
    expected.all(|expected| {
        segments.next().is_some_and(|segment| expected == "*" || expected == segment)
    })
}

fn text(method: &Method, path: &str) -> String {
    let route = path.strip_prefix("/client/v4").unwrap_or(path);
    match PRODUCTS.iter().find(|product| matches(product.path, route)) {
        Some(Product { name, advice, .. }) => {
            format!(
                "The sandbox does not have {name}. {advice}. There is no route for {method} {path}"
            )
        }
        None => {
            let mut segments = route.split('/').filter(|segment| !segment.is_empty());
            let first = segments.next().unwrap_or_default();
            let name = if first == "accounts" { segments.nth(1).unwrap_or(first) } else { first };
            format!(
                "The sandbox does not have Cloudflare's API `{name}`. {USE_CLOUDFLARE}. There is no route for {method} {path}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_product() {
        for (path, expected) in [
            (
                "accounts/a/vectorize/v2/indexes",
                "Vectorize. Run the command with a Cloudflare account, such as with `cargo xtask wrangler PROJECT --env ENVIRONMENT -- …`",
            ),
            (
                "accounts/a/r2/buckets/b/domains/custom",
                "the public domains of R2. Serve the objects with a Worker that has a binding to the bucket",
            ),
            (
                "accounts/a/unknown/b",
                "Cloudflare's API `unknown`. Run the command with a Cloudflare account, such as with `cargo xtask wrangler PROJECT --env ENVIRONMENT -- …`",
            ),
        ] {
            let path = format!("/client/v4/{path}");
            let expected =
                format!("The sandbox does not have {expected}. There is no route for GET {path}");
            assert_eq!(text(&Method::GET, &path), expected);
        }
    }

    #[test]
    fn each_product_is_found_by_its_own_paths() {
        for (path, name) in [
            ("accounts/a/ai/models/search", "Workers AI"),
            ("accounts/a/d1/database/d/time_travel/bookmark", "the Time Travel of D1"),
            ("accounts/a/workers/scripts/ai/content/x", "this part of Workers"),
            ("accounts/pages/workers/scripts/purge/messages/lock", "this part of Workers"),
            ("accounts/a/workers/workers/w/versions/v", "the deletion of single versions"),
            ("accounts/a/mtls_certificates", "mTLS certificates"),
            ("zones/z/dns_records", "DNS records"),
            ("zones/z/argo/tiered_caching", "this part of zones"),
            (
                "graphql",
                "the GraphQL Analytics API, which has the metrics of Workers, D1, R2 and queues",
            ),
        ] {
            let product = PRODUCTS.iter().find(|product| matches(product.path, path));
            assert_eq!(product.map(|product| product.name), Some(name), "{path}");
        }
    }
}
