//! Reads parameters from the query, a form or a JSON document. GitLab treats all three alike.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::response::GitlabError;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestFields {
    values: BTreeMap<String, Value>,
    /// The query as the client sent it.
    pub query: String,
    /// The names in the query.
    query_names: Vec<String>,
}

/// The parameters that every list accepts.
const PAGING: [&str; 5] = ["page", "per_page", "order_by", "sort", "pagination"];

impl<S: Send + Sync> FromRequest<S> for RequestFields {
    type Rejection = GitlabError;

    async fn from_request(request: Request, state: &S) -> Result<RequestFields, GitlabError> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|text| text.to_str().ok());
        let is_json = content_type.is_some_and(|text| text.starts_with("application/json"));
        let is_form =
            content_type.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"));
        let values = parse_form(&query);
        let query_names = values.keys().cloned().collect();
        let mut fields = RequestFields { values, query, query_names };
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| GitlabError::error(413, "413 Request Entity Too Large"))?;
        if is_form {
            fields.values.append(&mut parse_form(&String::from_utf8_lossy(&body)));
        } else if is_json && !body.is_empty() {
            match serde_json::from_slice(&body) {
                Ok(Value::Object(object)) => fields.values.extend(object),
                // GitLab's Go library sends `null` for a call without options.
                Ok(Value::Null) => {}
                _ => return Err(GitlabError::message(400, "400 Bad request")),
            }
        }
        Ok(fields)
    }
}

/// Parses pairs in the format of a browser's form. Names that end in `[]` are lists.
fn parse_form(text: &str) -> BTreeMap<String, Value> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut values = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), Value::String(decode(value)));
        match name.strip_suffix("[]") {
            None => drop(values.insert(name, value)),
            Some(name) => {
                let list =
                    values.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            }
        }
    }
    values
}

/// Parses a time with an offset or `Z`, or a date.
#[must_use]
pub fn parse_time(text: &str) -> Option<SystemTime> {
    // A plus that a client did not encode arrives as a space.
    let text = text.replace(' ', "+");
    if text.len() == 10 {
        return humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    }
    let (base, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = offset.chars().next()?;
    if !matches!(sign, '+' | '-') {
        return humantime::parse_rfc3339_weak(&text).ok();
    }
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let local = humantime::parse_rfc3339(&format!("{base}Z")).ok()?;
    let offset = Duration::from_secs(hours * 3600 + minutes * 60);
    if sign == '+' { local.checked_sub(offset) } else { local.checked_add(offset) }
}

impl RequestFields {
    /// Refuses a query with a name that is not in `known`. GitLab ignores unknown names, but the sandbox
    /// lacks some that GitLab knows.
    pub fn require_known(&self, known: &[&str]) -> Result<(), GitlabError> {
        let is_known = |name: &str| PAGING.contains(&name) || known.contains(&name);
        match self.query_names.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => {
                Err(GitlabError::not_implemented(&format!("the query parameter `{name}`")))
            }
        }
    }

    /// Returns a time. `None` if it is missing. A date without a time means the beginning of the day in UTC.
    pub fn time(&self, name: &str) -> Result<Option<SystemTime>, GitlabError> {
        let parse = |text: String| {
            parse_time(&text).ok_or_else(|| GitlabError::error(400, &format!("{name} is invalid")))
        };
        self.text(name).filter(|text| !text.is_empty()).map(parse).transpose()
    }

    /// Returns a text. `None` if it is missing or null.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Returns whether a parameter is present and true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| matches!(text.as_str(), "true" | "1" | "yes" | "on"))
    }

    /// Returns whether a parameter is present, with any value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns a list, from an array or a text with commas. `None` if it is missing.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let texts = match self.values.get(name)? {
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect(),
            _ => self.text(name)?.split(',').map(|text| text.trim().to_owned()).collect::<Vec<_>>(),
        };
        Some(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// Returns a number. `None` if it is missing. Errors if the value is not a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, GitlabError> {
        let parse = |text: String| {
            text.parse().map_err(|_| GitlabError::error(400, &format!("{name} is invalid")))
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns one of `values`. `None` if it is missing. Errors if it has another value.
    pub fn choice(&self, name: &str, values: &[&str]) -> Result<Option<String>, GitlabError> {
        match self.text(name) {
            Some(text) if !values.contains(&text.as_str()) => {
                Err(GitlabError::error(400, &format!("{name} does not have a valid value")))
            }
            text => Ok(text),
        }
    }

    /// Refuses a request that lacks one of `names`. The response lists all missing names.
    pub fn require(&self, names: &[&str]) -> Result<(), GitlabError> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| self.text(name).is_none())
            .map(|name| format!("{name} is missing"))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(GitlabError::error(400, &missing.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn times_are_parsed_with_their_offset() {
        let utc = parse_time("2026-11-24T10:00:00Z").expect("a time");
        for text in [
            "2026-11-24T12:00:00+02:00",
            "2026-11-24T12:00:00 02:00",
            "2026-11-24T04:30:00.000-05:30",
        ] {
            assert_eq!(parse_time(text), Some(utc), "{text}");
        }
        assert_eq!(parse_time("2026-11-24"), parse_time("2026-11-24T00:00:00.000Z"));
        for text in ["", "yesterday", "2026-13-01", "2026-11-24T12:00:00+x:00", "ääääää"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
