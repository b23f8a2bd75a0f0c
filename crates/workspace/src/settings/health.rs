//! The setting `xtask.health` of a `package.json`: the expected response after a deployment.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// The settings of the health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The setting is missing. The check requests `/` and judges the response by the build.
    #[default]
    Default,
    /// The URL must respond with an accepted status.
    Ask {
        /// The path of the URL, with an optional query.
        path: String,
        /// The accepted status codes. `None` means any success (200 to 299).
        status: Option<Vec<u16>>,
    },
    /// `false`: no request is sent.
    Off,
}

/// The valid forms of the value, for messages.
const FORMS: &str = "`xtask.health` must be a path (`\"/up\"`), a list of accepted status codes (`[200, 401]`), both (`{ \"path\": \"/up\", \"status\": [204] }`), or `false`";

impl Health {
    /// Returns the path to request.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Health::Ask { path, .. } => path,
            Health::Default | Health::Off => "/",
        }
    }

    /// Returns the accepted status codes. `None` means any success.
    #[must_use]
    pub fn accepted_codes(&self) -> Option<&[u16]> {
        match self {
            Health::Ask { status, .. } => status.as_deref(),
            Health::Default | Health::Off => None,
        }
    }

    /// Parses the value of the setting.
    pub fn parse(value: &Value) -> Result<Health, String> {
        let wrong = |what: &str| format!("{FORMS}; {what}");
        match value {
            Value::Null => Ok(Health::Default),
            Value::Bool(false) => Ok(Health::Off),
            Value::String(path) => {
                Ok(Health::Ask { path: checked_path(path).map_err(|e| wrong(&e))?, status: None })
            }
            Value::Array(codes) => {
                let status = Some(checked_status(codes).map_err(|e| wrong(&e))?);
                Ok(Health::Ask { path: "/".to_owned(), status })
            }
            Value::Object(fields) => {
                if let Some(field) =
                    fields.keys().find(|key| !["path", "status"].contains(&key.as_str()))
                {
                    return Err(wrong(&format!("found the field `{field}`")));
                }
                let path = match fields.get("path") {
                    None => "/".to_owned(),
                    Some(Value::String(path)) => checked_path(path).map_err(|e| wrong(&e))?,
                    Some(other) => return Err(wrong(&format!("found the path {other}"))),
                };
                let status = match fields.get("status") {
                    None => None,
                    Some(Value::Array(codes)) => {
                        Some(checked_status(codes).map_err(|e| wrong(&e))?)
                    }
                    Some(other) => return Err(wrong(&format!("found the status {other}"))),
                };
                Ok(Health::Ask { path, status })
            }
            other => Err(wrong(&format!("found {other}"))),
        }
    }

    fn value(&self) -> Value {
        match self {
            Health::Default => Value::Null,
            Health::Off => json!(false),
            Health::Ask { path, status: None } => json!(path),
            Health::Ask { path, status: Some(status) } => json!({ "path": path, "status": status }),
        }
    }
}

impl<'de> Deserialize<'de> for Health {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Health, D::Error> {
        Health::parse(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

fn checked_path(path: &str) -> Result<String, String> {
    if is_path(path) { Ok(path.to_owned()) } else { Err(format!("found the path {path:?}")) }
}

fn checked_status(codes: &[Value]) -> Result<Vec<u16>, String> {
    let code = |code: &Value| {
        let number = code.as_u64().and_then(|number| u16::try_from(number).ok());
        number
            .filter(|number| (200..600).contains(number))
            .ok_or_else(|| format!("found the status {code}, and codes are 200 to 599"))
    };
    match codes {
        [] => Err("found an empty list".to_owned()),
        codes => codes.iter().map(code).collect(),
    }
}

/// Returns true if `path` is a valid URL path without further encoding.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`\\<>{}|^#".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Health, String> {
        Health::parse(&serde_json::from_str(text).expect("JSON"))
    }

    fn ask(path: &str, status: Option<&[u16]>) -> Health {
        Health::Ask { path: path.to_owned(), status: status.map(<[u16]>::to_vec) }
    }

    #[test]
    fn each_form_is_read_and_written() {
        for (text, health) in [
            ("null", Health::Default),
            ("false", Health::Off),
            (r#""/up?deep=1""#, ask("/up?deep=1", None)),
            ("[200, 401]", ask("/", Some(&[200, 401]))),
            (r#"{"path":"/up","status":[204]}"#, ask("/up", Some(&[204]))),
            (r#"{"status":[401]}"#, ask("/", Some(&[401]))),
            (r#"{"path":"/up"}"#, ask("/up", None)),
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&health), "{text}");
            let written = serde_json::to_value(&health).expect("JSON");
            assert_eq!(Health::parse(&written), Ok(health), "{text}");
        }
    }

    #[test]
    fn refuses_other_values_by_name() {
        for (text, found) in [
            ("true", "found true"),
            ("12", "found 12"),
            (r#""up""#, "found the path \"up\""),
            (r#""/a b""#, "found the path \"/a b\""),
            (r#""/#top""#, "found the path"),
            ("[]", "found an empty list"),
            ("[20]", "found the status 20, and codes are 200 to 599"),
            (r#"["200"]"#, "found the status \"200\""),
            (r#"{"status":200}"#, "found the status 200"),
            (r#"{"paths":"/up"}"#, "found the field `paths`"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(found) && error.contains("or `false`"), "{text}: {error}");
        }
    }
}
