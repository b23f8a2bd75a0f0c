//! Checks that need a request to Cloudflare.

use std::time::Duration;

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::env::variable;
use base::error::Result;
use base::secret::Secret;
use cloudflare::api::{Api, PUBLIC_API};
use workspace::config::CONFIG_FILE;

/// The timeout of one request. A check makes at most three within its five seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);

/// `network.<environment>`
pub fn token(context: &Context, environment: &str) -> Finding {
    if context.environment.as_deref() != Some(environment) {
        return Finding::skip(format!("asked only with `--env {environment}`"));
    }
    if context.offline {
        return Finding::skip("offline");
    }
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let cloudflare = config.cloudflare(environment);
    if cloudflare.is_placeholder() {
        return Finding::skip("no account id; see `config.account`");
    }
    let Some(token) = variable(&cloudflare.token_variable) else {
        return Finding::skip(format!("no token; see `credentials.{environment}`"));
    };
    let token = Secret::new(&token);
    let api = Api::new(PUBLIC_API, &cloudflare.account_id, &token).within(REQUEST_TIMEOUT);
    let projects = context.projects().unwrap_or_default();
    let worker = projects.first().map(|project| project.target(environment).worker);
    match ask(&api, worker.as_deref()) {
        Ok(kind) => Finding::ok().with_value(kind).source(cloudflare.token_variable),
        Err(error) => Finding::fail(format!("{error:#}"))
            .source(cloudflare.token_variable)
            .manual_fix(format!(
                "check the token and `accountId` in {CONFIG_FILE}; behind a proxy, HTTPS_PROXY\n\
                 `--offline` leaves this check out"
            )),
    }
}

/// Returns the kind of the token. Errors if it cannot read the data that a deployment reads.
fn ask(api: &Api<'_>, worker: Option<&str>) -> Result<String> {
    let kind = api.token_kind()?;
    if let Some(worker) = worker {
        api.live(worker)?;
        return Ok(format!("{kind}, reads the account's Workers"));
    }
    Ok(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Serves each response to one connection, in order. Returns the requested paths.
    fn verify_with(responses: &[&'static str]) -> (Result<String>, Vec<String>) {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", server.local_addr().expect("an address"));
        let responses = responses.to_vec();
        let serving = std::thread::spawn(move || {
            let mut paths = Vec::new();
            for body in responses {
                let (stream, _) = server.accept().expect("a connection");
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                paths.push(first.split(' ').nth(1).unwrap_or_default().to_owned());
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let length = body.len();
                write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                )
                .expect("written");
            }
            paths
        });
        let token = Secret::new("canary");
        let api = Api::new(&base, "acc", &token).within(Duration::from_secs(5));
        let response = ask(&api, Some("site"));
        (response, serving.join().expect("served"))
    }

    const REFUSED: &str =
        r#"{"success":false,"errors":[{"code":1000,"message":"Invalid API Token"}]}"#;

    #[test]
    fn tells_the_kinds_of_token_apart() {
        let active = r#"{"success":true,"result":{"status":"active"}}"#;
        let nothing = r#"{"success":false,"errors":[{"code":10007,"message":"no Worker"}]}"#;
        let (response, paths) = verify_with(&[active, nothing]);
        assert_eq!(response.expect("good"), "user token, reads the account's Workers");
        assert_eq!(
            paths,
            ["/user/tokens/verify", "/accounts/acc/workers/scripts/site/deployments"]
        );
        let (response, paths) = verify_with(&[REFUSED, active, nothing]);
        assert!(response.expect("good").starts_with("account token"));
        assert_eq!(paths[1], "/accounts/acc/tokens/verify");
    }

    #[test]
    fn tells_an_invalid_token_from_a_missing_permission() {
        let expired = r#"{"success":true,"result":{"status":"expired"}}"#;
        let error = verify_with(&[expired, REFUSED]).0.expect_err("refused").to_string();
        assert!(error.contains("Invalid API Token"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
