//! Determines from the output of a failed wrangler whether Cloudflare refused the request that makes a
//! version live, or whether the request may still take effect.

/// The state of the deploying request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Cloudflare refused it.
    Refused,
    /// It was or may have been sent and has no response. It may still take effect.
    Open,
}

/// Texts that wrangler prints after a broken connection.
const BROKEN: [&str; 7] = [
    "fetch failed",
    "ECONNRESET",
    "socket hang up",
    "other side closed",
    "terminated",
    "Unable to connect",
    "socket connection was closed",
];

/// Returns the state of the request that makes a version of `worker` live. `None` if the output does not
/// mention it, because wrangler failed elsewhere.
#[must_use]
pub fn deploy_request_state(output: &str, worker: &str) -> Option<RequestState> {
    let script = format!("/workers/scripts/{worker}");
    let paths = [format!("{script}/deployments"), script];
    for line in output.lines() {
        // "POST /accounts/…/deployments -> 502 Bad Gateway": a response that is not from the API.
        let answered = line.split_once(" -> ");
        if let Some((request, answer)) = answered
            && paths.iter().any(|path| request.split('?').next().unwrap_or(request).ends_with(path))
        {
            let status = answer.split_whitespace().next().and_then(|code| code.parse().ok());
            let is_refused = status.is_some_and(is_definite);
            return Some(if is_refused { RequestState::Refused } else { RequestState::Open });
        }
        // "A request to the Cloudflare API (/accounts/…/deployments) failed.": a response of the API.
        let is_ours = |path: &String| {
            line.contains(&format!("{path}) failed")) || line.contains(&format!("{path}?"))
        };
        if line.contains("Cloudflare API") && paths.iter().any(is_ours) {
            return Some(RequestState::Refused);
        }
    }
    BROKEN.iter().any(|text| output.contains(text)).then_some(RequestState::Open)
}

/// Returns true if a response with this status proves that the request had no effect. The response of a
/// gateway does not, because the request may have passed the gateway.
#[must_use]
pub fn is_definite(status: u16) -> bool {
    !matches!(status, 408 | 502 | 504 | 520..=527 | 530)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_request_and_its_response_from_the_output() {
        let path = "/accounts/0/workers/scripts/site";
        for (output, wanted) in [
            (
                format!("error code: 502\n  POST {path}/deployments -> 502 Bad Gateway"),
                Some(RequestState::Open),
            ),
            (format!("POST {path}/deployments -> 524"), Some(RequestState::Open)),
            (
                format!("PUT {path}?excludeScript=true -> 504 Gateway Timeout"),
                Some(RequestState::Open),
            ),
            (format!("POST {path}/deployments -> 200 OK"), Some(RequestState::Refused)),
            (
                format!("A request to the Cloudflare API ({path}/deployments) failed."),
                Some(RequestState::Refused),
            ),
            (
                format!("A request to the Cloudflare API ({path}) failed."),
                Some(RequestState::Refused),
            ),
            (format!("A request to the Cloudflare API ({path}/versions) failed."), None),
            (format!("POST {path}/versions -> 502 Bad Gateway"), None),
            ("TypeError: fetch failed".to_owned(), Some(RequestState::Open)),
            ("Missing entry-point to Worker script".to_owned(), None),
        ] {
            assert_eq!(deploy_request_state(&output, "site"), wanted, "{output}");
        }
        let other = format!("POST {path}/deployments -> 502 Bad Gateway");
        assert_eq!(deploy_request_state(&other, "another"), None);
    }
}
