//! Feeds mutated copies of GitLab's headers and bodies to the parsers: none panics, and each returns within a second.

#[path = "../../workspace/src/mutation.rs"]
mod mutation;

use std::hint::black_box;

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::api::leftovers::{GitlabEnvironment, ListedMergeRequest};
use super::api::request::Reply;
use super::api::request_error::RequestError;
use super::api::{Note, User, paging};
use super::comment::{self, render};
use base::http::HttpResponse;

fn run(folder: &str, parse: impl Fn(&str)) {
    mutation::run(folder, base::env::variable("XTASK_FUZZ"), parse);
}

#[test]
fn headers_of_pages_and_limits() {
    run("headers", |text| {
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
        };
        let headers: HeaderMap = text.lines().filter_map(header).collect();
        black_box(paging::next(&headers));
        black_box(paging::rate_limit_wait(&headers, 1_795_964_107));
    });
}

#[test]
fn bodies_of_answers() {
    run("bodies", |text| {
        let response =
            HttpResponse { status: 403, body: text.as_bytes().to_vec(), ..HttpResponse::default() };
        let reply = Reply { request: "GET /notes".to_owned(), response };
        black_box(RequestError::unexpected_status(&reply).to_string());
        let _shapes = black_box((
            serde_json::from_str::<Vec<Note>>(text),
            serde_json::from_str::<User>(text),
            serde_json::from_str::<Vec<GitlabEnvironment>>(text),
            serde_json::from_str::<Vec<ListedMergeRequest>>(text),
        ));
    });
}

#[test]
fn bodies_of_comments() {
    run("comments", |text| {
        black_box(render::body(&comment::merge_rows(comment::state::rows(text), &[])));
    });
}
