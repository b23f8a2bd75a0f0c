//! Divides lists into pages (offset-based pagination, <https://docs.gitlab.com/api/rest/#offset-based-pagination>).

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde_json::Value;

use super::fields::RequestFields;
use super::response::{GitlabError, ok_response};

/// The maximum number of rows that GitLab counts. It sends no totals for longer lists.
const MAX_COUNTED: usize = 10_000;

/// The URL of a request as the client sees it, without the query.
#[derive(Clone, Debug)]
pub struct RequestUrl(String);

impl<S: Send + Sync> FromRequestParts<S> for RequestUrl {
    type Rejection = GitlabError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RequestUrl, GitlabError> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.to_owned();
        let Ok(OriginalUri(uri)) = OriginalUri::from_request_parts(parts, state).await;
        Ok(RequestUrl(format!("http://{host}{}", uri.path())))
    }
}

/// Reverses ascending rows if the request wants descending order. `default` is `asc` or `desc`.
pub fn sort_rows<T>(
    rows: &mut [T],
    fields: &RequestFields,
    default: &str,
) -> Result<(), GitlabError> {
    let sort = fields.choice("sort", &["asc", "desc"])?;
    if sort.as_deref().unwrap_or(default) == "desc" {
        rows.reverse();
    }
    Ok(())
}

/// Returns the requested page of `rows` with its headers. `to_json` returns `None` for hidden rows, so a page
/// can be short although more pages follow.
pub fn page<T>(
    url: &RequestUrl,
    fields: &RequestFields,
    rows: &[T],
    to_json: impl Fn(&T) -> Option<Value>,
) -> Result<Response, GitlabError> {
    let read_number = |name: &str| -> Result<Option<usize>, GitlabError> {
        Ok(fields.number(name)?.and_then(|number| usize::try_from(number).ok()))
    };
    let per_page = read_number("per_page")?.unwrap_or(20).min(100);
    if per_page == 0 {
        return Err(GitlabError::error(400, "per_page has a value not allowed"));
    }
    let page = read_number("page")?.unwrap_or(1).max(1);
    let pages = rows.len().div_ceil(per_page).max(1);
    let on_page = rows.iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    let mut response = ok_response(Value::Array(on_page.filter_map(to_json).collect()));
    let is_counted = rows.len() <= MAX_COUNTED;
    let text = |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    let next = (page < pages).then_some(page + 1);
    let previous = (page > 1).then_some(page - 1);
    let link = |page: usize, name: &str| {
        let others = fields.query.split('&').filter(|pair| {
            !pair.is_empty() && !pair.starts_with("page=") && !pair.starts_with("per_page=")
        });
        let paging = [format!("page={page}"), format!("per_page={per_page}")];
        let query: Vec<String> = others.map(str::to_owned).chain(paging).collect();
        format!("<{}?{}>; rel=\"{name}\"", url.0, query.join("&"))
    };
    let links = [
        previous.map(|page| link(page, "prev")),
        next.map(|page| link(page, "next")),
        Some(link(1, "first")),
        is_counted.then(|| link(pages, "last")),
    ];
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    set("x-per-page", per_page.to_string());
    set("x-page", page.to_string());
    set("x-next-page", text(next));
    set("x-prev-page", text(previous));
    set("link", links.into_iter().flatten().collect::<Vec<_>>().join(", "));
    if is_counted {
        set("x-total", rows.len().to_string());
        set("x-total-pages", pages.to_string());
    }
    Ok(response)
}
