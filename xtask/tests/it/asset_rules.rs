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
    expect![[r#"
        projects/app/dist/_redirects:3: Cloudflare drops this line: a line above has a rule for `/old`
        projects/app/dist/_redirects:4: Cloudflare drops this line: it has 1 word; a rule is a source, a target and perhaps a status code
        projects/app/dist/_redirects:5: Cloudflare drops this line: the status code `404` is none of 200, 301, 302, 303, 307, 308
        projects/app/dist/_redirects:6: Cloudflare drops this line: the source has to be a path of this site, which begins with `/`
        projects/app/dist/_redirects:7: Cloudflare drops this line: the target has to begin with `/` or `https://`
        projects/app/dist/_redirects:8: Cloudflare drops this line: it would redirect to itself, because Cloudflare redirects `/index.html` to `/`
        projects/app/dist/_redirects:9: Cloudflare drops this line: with the status code 200 the target has to be a path of this site
        projects/app/dist/_redirects:11: Cloudflare drops this line: it has 4 words; a rule is a source, a target and perhaps a status code
    "#]].assert_eq(&warnings(redirects, "", ""));
    // Nothing rewrites `/index.html` then.
    assert_eq!(warnings("/ /index.html\n", "", r#", "html_handling": "none""#), "");
}

#[test]
fn a_dropped_header_is_named_with_its_reason() {
    let headers = "X-Early: 1\n/\n  X-Fine: 1\n  ! X-Gone\n  no colon\n  X Y: 1\n  X-Empty:\n/nothing\n\
                   /*/b/*\n  X-Lost: 1\nhttps://app.example:8080/\n  X-Lost: 1\n";
    expect![[r#"
        projects/app/dist/_headers:1: Cloudflare drops this line: no path is above it
        projects/app/dist/_headers:5: Cloudflare drops this line: a header is `name: value`, or `! name` to remove one
        projects/app/dist/_headers:6: Cloudflare drops this line: the name of a header has no spaces
        projects/app/dist/_headers:7: Cloudflare drops this line: the header has no value
        projects/app/dist/_headers:8: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:9: Cloudflare drops this line: a path has at most one `*`; use `:name` for the others; the headers below it are dropped too
        projects/app/dist/_headers:11: Cloudflare drops this line: an address with a port has no headers; the headers below it are dropped too
    "#]].assert_eq(&warnings("", headers, ""));
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
    expect![[r#"
        projects/app/dist/_redirects:1: Cloudflare drops this line: it is longer than 2000 characters
        projects/app/dist/_redirects:102: Cloudflare drops this line: there are more than 100 rules with `*` or `:name`, or below one; it and all lines below are dropped
        projects/app/dist/_headers:1: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:2: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:3: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:4: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:5: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:6: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:7: Cloudflare drops this line: no header is below the path
        projects/app/dist/_headers:8: Cloudflare drops this line: no header is below the path
        Cloudflare drops 4 more lines of these files
    "#]].assert_eq(&warnings(&redirects, &headers, ""));
}
