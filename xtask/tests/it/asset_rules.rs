//! Tests that lines of `_redirects` and `_headers` that Cloudflare drops are named.

use std::fmt::Write as _;

use expect_test::expect;
use serde_json::Value;

use crate::support::TestEnv;

/// Deploys a site with these files, and returns its warnings line by line.
fn warnings(redirects: &str, headers: &str, fields: &str) -> String {
    let env = TestEnv::with_tools();
    let config = r#"{ "name": "app", "compatibility_date": "2026-10-01", "assets": { "directory": "./dist" FIELDS } }"#;
    env.write("projects/app/wrangler.jsonc", &config.replace("FIELDS", fields));
    env.write("projects/app/dist/index.html", "<h1>app</h1>");
    env.write("projects/app/dist/_redirects", redirects);
    env.write("projects/app/dist/_headers", headers);
    env.commit("site");
    let ran = env.xtask(&["deploy", "app", "--engine", "host", "--json"]).exits(0);
    let warnings = ran.record("app")["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().filter_map(Value::as_str).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_dropped_redirect_is_named_with_its_reason() {
    let redirects = "# moved\n/old /new\n/old /newer 301\n/one\n/a /b 404\nhttps://app.example/x /y\n/c d\n\
                     / /index.html\n/d https://other.example/d 200\n/e /f # fine\n/g /h 301 x\n";
    expect![[""]].assert_eq(&warnings(redirects, "", ""));
    // Nothing rewrites `/index.html` then.
    assert_eq!(warnings("/ /index.html\n", "", r#", "html_handling": "none""#), "");
}

#[test]
fn a_dropped_header_is_named_with_its_reason() {
    let headers = "X-Early: 1\n/\n  X-Fine: 1\n  ! X-Gone\n  no colon\n  X Y: 1\n  X-Empty:\n/nothing\n\
                   /*/b/*\n  X-Lost: 1\nhttps://app.example:8080/\n  X-Lost: 1\n";
    expect![[""]].assert_eq(&warnings("", headers, ""));
}

#[test]
fn limits_are_counted_and_only_the_first_lines_are_named() {
    let mut redirects = format!("/long /{}\n", "x".repeat(2000));
    for number in 0..105 {
        writeln!(redirects, "/from-{number}/* /to-{number}").expect("text");
    }
    let mut headers = String::new();
    for number in 0..12 {
        writeln!(headers, "/empty-{number}").expect("text");
    }
    expect![[""]].assert_eq(&warnings(&redirects, &headers, ""));
}
