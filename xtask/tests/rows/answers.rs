//! The answers that have a name in the tables, in the form in which Cloudflare gives them.

use serde_json::{Value, json};

/// The sandbox's action for the answer called `name`.
pub fn action(name: &str) -> Value {
    let refused = |status: u16, code: u32, message: &str| {
        let errors = [json!({ "code": code, "message": message })];
        let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        json!({ "status": status, "body": body.to_string() })
    };
    let limited = || refused(429, 971, "Please wait and consider throttling your request speed");
    match name {
        "401" => refused(401, 10_001, "Unable to authenticate request"),
        "403" => refused(403, 10_000, "Authentication error"),
        "404" => refused(404, 10_007, "This Worker does not exist on your account."),
        "409" => refused(409, 10_215, "A conflicting change is in progress"),
        "429" => limited(),
        "429, retry after 1 s" => with_header(limited(), "1"),
        "429, retry after 900 s" => with_header(limited(), "900"),
        "500" => refused(500, 10_013, "An unknown error has occurred"),
        "502" => json!({ "status": 502, "body": "error code: 502" }),
        "503, retry after 1 s" => with_header(refused(503, 10_013, "Unavailable"), "1"),
        "an HTML page" => {
            json!({ "status": 200, "body": "<!doctype html><title>Log in</title>",
                    "headers": { "content-type": "text/html" } })
        }
        "truncated JSON" => json!({ "status": 200, "body": "{\"success\":true,\"resu" }),
        "no response" => json!("hang"),
        "connection reset" => json!("reset"),
        "done, but the response is lost" => json!("truncate"),
        "slow" => json!({ "slow_ms": 1500 }),
        _ => panic!("no answer is called `{name}`"),
    }
}

fn with_header(mut answer: Value, seconds: &str) -> Value {
    answer["headers"] = json!({ "retry-after": seconds });
    answer
}
