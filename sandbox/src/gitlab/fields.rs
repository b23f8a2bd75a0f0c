//! Reads parameters: from the query, a form or a JSON document, all the same to GitLab.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::answer::Refusal;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    values: BTreeMap<String, Value>,
    /// The query as it was sent.
    pub query: String,
    /// The names in the query.
    asked: Vec<String>,
}

/// The names in a query that every list takes.
const PAGING: [&str; 5] = ["page", "per_page", "order_by", "sort", "pagination"];

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Fields, Refusal> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|text| text.to_str().ok());
        let is_json = content_type.is_some_and(|text| text.starts_with("application/json"));
        let is_form =
            content_type.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"));
        let values = form(&query);
        let asked = values.keys().cloned().collect();
        let mut fields = Fields { values, query, asked };
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| Refusal::error(413, "413 Request Entity Too Large"))?;
        if is_form {
            fields.values.append(&mut form(&String::from_utf8_lossy(&body)));
        } else if is_json && !body.is_empty() {
            match serde_json::from_slice(&body) {
                Ok(Value::Object(object)) => fields.values.extend(object),
                _ => return Err(Refusal::message(400, "400 Bad request")),
            }
        }
        Ok(fields)
    }
}

/// Pairs as a browser sends them. Names that end in `[]` are lists.
fn form(text: &str) -> BTreeMap<String, Value> {
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

/// Parses a time with an offset, with `Z`, or a date.
#[must_use]
pub fn time(text: &str) -> Option<SystemTime> {
    // A plus that a client did not encode arrives as a space.
    let text = text.replace(' ', "+");
    if text.len() == 10 {
        return humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    }
    let at = text.len().checked_sub(6)?;
    let (base, offset) = text.split_at_checked(at)?;
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

impl Fields {
    /// Refuses a query with a name that is not among `known`. GitLab would pass over what it does not
    /// know either, but it knows more than the sandbox.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let is_known = |name: &str| PAGING.contains(&name) || known.contains(&name);
        match self.asked.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => Err(Refusal::unknown(&format!("the query parameter `{name}`"))),
        }
    }

    /// Returns a time, in seconds since 1970. A date alone is its beginning.
    pub fn time(&self, name: &str) -> Result<Option<SystemTime>, Refusal> {
        let parse = |text: String| {
            time(&text).ok_or_else(|| Refusal::error(400, &format!("{name} is invalid")))
        };
        self.text(name).filter(|text| !text.is_empty()).map(parse).transpose()
    }

    /// Returns a text. `None` if it is not there or null.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Whether it is there and true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| matches!(text.as_str(), "true" | "1" | "yes" | "on"))
    }

    /// Whether a parameter is there, whatever its value is.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns a list, also one that is written with commas.
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

    /// Returns a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let parse = |text: String| {
            text.parse().map_err(|_| Refusal::error(400, &format!("{name} is invalid")))
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns one of `values`.
    pub fn choice(&self, name: &str, values: &[&str]) -> Result<Option<String>, Refusal> {
        match self.text(name) {
            Some(text) if !values.contains(&text.as_str()) => {
                Err(Refusal::error(400, &format!("{name} does not have a valid value")))
            }
            text => Ok(text),
        }
    }

    /// Refuses a request that lacks one of `names`, and names all that are missing.
    pub fn require(&self, names: &[&str]) -> Result<(), Refusal> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| self.text(name).is_none())
            .map(|name| format!("{name} is missing"))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Refusal::error(400, &missing.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_have_offsets() {
        let utc = time("2026-11-24T10:00:00Z").expect("a time");
        for text in [
            "2026-11-24T12:00:00+02:00",
            "2026-11-24T12:00:00 02:00",
            "2026-11-24T04:30:00.000-05:30",
        ] {
            assert_eq!(time(text), Some(utc), "{text}");
        }
        assert_eq!(time("2026-11-24"), time("2026-11-24T00:00:00.000Z"));
        for text in ["", "yesterday", "2026-13-01", "2026-11-24T12:00:00+x:00", "ääääää"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
