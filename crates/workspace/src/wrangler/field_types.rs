//! Finds fields of a wrangler config whose values have a wrong type. wrangler refuses them (`normalizeAndValidateConfig` of
//! wrangler 4.164). Readers of single fields treat them as missing.

use camino::Utf8Path;
use serde_json::Value;

use super::WranglerConfig;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldType {
    Text,
    Flag,
    List,
    /// An object.
    Table,
    /// An object. wrangler also accepts `null`.
    OptionalTable,
    /// An object or a list. wrangler does not distinguish them.
    Entries,
    /// An object. wrangler also accepts an empty list.
    Assets,
}

/// The fields that xtask reads, in an order that has each container before its fields. `[]` means each item of a list.
const FIELDS: [(&str, FieldType); 49] = [
    ("name", FieldType::Text),
    ("main", FieldType::Text),
    ("compatibility_date", FieldType::Text),
    ("compatibility_flags", FieldType::List),
    ("account_id", FieldType::Text),
    ("workers_dev", FieldType::Flag),
    ("preview_urls", FieldType::Flag),
    ("assets", FieldType::Assets),
    ("assets.directory", FieldType::Text),
    ("assets.binding", FieldType::Text),
    ("assets.html_handling", FieldType::Text),
    ("build", FieldType::OptionalTable),
    ("build.command", FieldType::Text),
    ("build.cwd", FieldType::Text),
    ("routes", FieldType::List),
    ("triggers", FieldType::OptionalTable),
    ("triggers.crons", FieldType::List),
    ("triggers.crons[]", FieldType::Text),
    ("vars", FieldType::Entries),
    ("secrets", FieldType::Table),
    ("secrets.required", FieldType::List),
    ("secrets.required[]", FieldType::Text),
    ("previews", FieldType::Table),
    ("kv_namespaces", FieldType::List),
    ("kv_namespaces[].binding", FieldType::Text),
    ("kv_namespaces[].id", FieldType::Text),
    ("d1_databases", FieldType::List),
    ("d1_databases[].binding", FieldType::Text),
    ("d1_databases[].database_id", FieldType::Text),
    ("d1_databases[].database_name", FieldType::Text),
    ("d1_databases[].migrations_dir", FieldType::Text),
    ("r2_buckets", FieldType::List),
    ("r2_buckets[].binding", FieldType::Text),
    ("r2_buckets[].bucket_name", FieldType::Text),
    ("queues", FieldType::Table),
    ("queues.producers", FieldType::List),
    ("queues.producers[].binding", FieldType::Text),
    ("queues.producers[].queue", FieldType::Text),
    ("queues.consumers", FieldType::List),
    ("queues.consumers[].queue", FieldType::Text),
    ("queues.consumers[].dead_letter_queue", FieldType::Text),
    ("durable_objects", FieldType::Table),
    ("durable_objects.bindings", FieldType::List),
    ("services", FieldType::List),
    ("services[].binding", FieldType::Text),
    ("services[].service", FieldType::Text),
    ("workflows", FieldType::List),
    ("hyperdrive", FieldType::List),
    ("hyperdrive[].id", FieldType::Text),
];

/// A field with a value of a wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// The path of the field: `env.staging.main`.
    pub path: String,
    /// The type of its value, with an article.
    pub found: String,
    /// The type that wrangler expects, with an article.
    pub expected: &'static str,
    /// The value that was probably meant. `None` if it cannot be derived.
    pub meant: Option<Value>,
}

impl FieldType {
    fn fits(self, value: &Value) -> bool {
        match self {
            FieldType::Text => value.is_string(),
            FieldType::Flag => value.is_boolean(),
            FieldType::List => value.is_array(),
            FieldType::Table => value.is_object(),
            FieldType::OptionalTable => value.is_object() || value.is_null(),
            FieldType::Entries => value.is_object() || value.is_array(),
            FieldType::Assets => value.is_object() || value.as_array().is_some_and(Vec::is_empty),
        }
    }

    fn name(self) -> &'static str {
        match self {
            FieldType::Text => "a string",
            FieldType::Flag => "`true` or `false`",
            FieldType::List => "a list",
            _ => "an object",
        }
    }

    /// Returns the value of this type that `value` was probably meant to be.
    fn convert(self, path: &str, value: &Value) -> Option<Value> {
        match (self, value) {
            (FieldType::Text, Value::Array(items)) => match items.as_slice() {
                [Value::String(only)] => Some(only.as_str().into()),
                _ => None,
            },
            // A date without its dashes: 20250101.
            (FieldType::Text, Value::Number(number)) if path == "compatibility_date" => {
                let digits = number.to_string();
                let is_date = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
                is_date
                    .then(|| format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]).into())
            }
            (FieldType::Text, Value::Number(number)) if is_name_or_id(path) => {
                Some(number.to_string().into())
            }
            (FieldType::Flag, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
            (FieldType::List, Value::String(_) | Value::Object(_)) => {
                Some(Value::Array(vec![value.clone()]))
            }
            (FieldType::Assets, Value::String(folder)) => {
                Some(serde_json::json!({ "directory": folder }))
            }
            (FieldType::OptionalTable, Value::String(command)) if path == "build" => {
                Some(serde_json::json!({ "command": command }))
            }
            (FieldType::OptionalTable, Value::Array(crons)) if path == "triggers" => {
                Some(serde_json::json!({ "crons": crons }))
            }
            _ => None,
        }
    }
}

impl WranglerConfig {
    /// Returns the fields with a wrong type that wrangler validates for `environment`: those of the top level and of its
    /// block. The fields of other blocks have no effect.
    #[must_use]
    pub fn wrong_types(&self, environment: &str) -> Vec<WrongType> {
        let mut found = self.wrong_types_of(&self.value, "");
        if self.has(environment) {
            let block = &self.value["env"][environment];
            found.extend(self.wrong_types_of(block, &format!("env.{environment}.")));
        }
        found
    }

    /// Returns the fields with a wrong type in a block whose paths begin with `prefix`.
    fn wrong_types_of(&self, block: &Value, prefix: &str) -> Vec<WrongType> {
        let mut found = Vec::new();
        for (path, field_type) in FIELDS {
            for (at, value) in values_at(block, path) {
                let full_path = format!("{prefix}{at}");
                let is_date = self.dates.contains(&full_path);
                if is_date || !field_type.fits(value) {
                    let meant =
                        if is_date { Some(value.clone()) } else { field_type.convert(path, value) };
                    let type_name = if is_date { DATE.to_owned() } else { type_of(value) };
                    found.push(WrongType {
                        path: full_path,
                        found: type_name,
                        expected: field_type.name(),
                        meant,
                    });
                }
            }
        }
        for (name, value) in block["vars"].as_object().into_iter().flatten() {
            let path = format!("{prefix}vars.{name}");
            if self.dates.contains(&path) {
                found.push(WrongType {
                    path,
                    found: DATE.to_owned(),
                    expected: FieldType::Text.name(),
                    meant: Some(value.clone()),
                });
            }
        }
        found
    }
}

/// Returns true if the field at `path` may consist of digits.
fn is_name_or_id(path: &str) -> bool {
    path == "name" || ["id", "_name", "queue"].iter().any(|end| path.ends_with(end))
}

/// The type of a date that is not a string.
const DATE: &str = "a date without quotes";

/// Returns the values at `path` that exist, with their paths.
fn values_at<'v>(block: &'v Value, path: &str) -> Vec<(String, &'v Value)> {
    let mut found = vec![(String::new(), block)];
    for part in path.split('.') {
        let (name, is_list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        let mut next = Vec::new();
        for (at, value) in found {
            let Some(value) = value.get(name) else { continue };
            let dot = if at.is_empty() { "" } else { "." };
            let at = format!("{at}{dot}{name}");
            if is_list {
                let items = value.as_array().into_iter().flatten().enumerate();
                next.extend(items.map(|(index, item)| (format!("{at}[{index}]"), item)));
            } else {
                next.push((at, value));
            }
        }
        found = next;
    }
    found
}

/// Returns the type of a value with an article. Short values are named themselves.
#[must_use]
pub fn type_of(value: &Value) -> String {
    match value {
        Value::Null => "`null`".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Returns the line that sets a field, in the syntax of the config and in backticks.
#[must_use]
pub fn field_line(config: &Utf8Path, field: &str, value: &Value) -> String {
    match config.extension() {
        Some("toml") => format!("`{field} = {}`", toml_text(value)),
        _ => format!("`\"{field}\": {}`", json_text(value)),
    }
}

/// Returns a value as JSON on one line, with spaces as people write them.
fn json_text(value: &Value) -> String {
    join_parts(value, json_text, |name, value| format!("\"{name}\": {value}"))
}

fn toml_text(value: &Value) -> String {
    join_parts(value, toml_text, |name, value| format!("{name} = {value}"))
}

fn join_parts(
    value: &Value,
    text: impl Fn(&Value) -> String,
    entry: impl Fn(&str, String) -> String,
) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| entry(name, text(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(name: &str, text: &str, environment: &str) -> Vec<String> {
        let path = Utf8Path::new(name);
        let config = WranglerConfig::parse(path, text).expect(text);
        let line = |wrong: WrongType| {
            let field = wrong.path.rsplit('.').next().unwrap_or_default().to_owned();
            let meant = wrong.meant.map(|value| field_line(path, &field, &value));
            let meant = meant.map(|line| format!(" → {line}")).unwrap_or_default();
            format!("{}: {}, not {}{meant}", wrong.path, wrong.found, wrong.expected)
        };
        config.wrong_types(environment).into_iter().map(line).collect()
    }

    #[test]
    fn each_wrong_type_is_found_with_the_value_that_was_meant() {
        for (fields, expected) in [
            (
                r#""main": ["src/index.ts"]"#,
                "main: a list, not a string → `\"main\": \"src/index.ts\"`",
            ),
            (r#""main": ["a.ts", "b.ts"]"#, "main: a list, not a string"),
            (r#""main": null"#, "main: `null`, not a string"),
            (
                r#""compatibility_date": 20250101"#,
                "compatibility_date: the number 20250101, not a string → `\"compatibility_date\": \"2025-01-01\"`",
            ),
            (r#""compatibility_date": 2025"#, "compatibility_date: the number 2025, not a string"),
            (r#""routes": "a""#, "routes: a string, not a list → `\"routes\": [\"a\"]`"),
            (
                r#""assets": "dist""#,
                "assets: a string, not an object → `\"assets\": { \"directory\": \"dist\" }`",
            ),
            (r#""assets": ["dist"]"#, "assets: a list, not an object"),
            (r#""assets": { "directory": true }"#, "assets.directory: `true`, not a string"),
            (
                r#""workers_dev": "false""#,
                "workers_dev: a string, not `true` or `false` → `\"workers_dev\": false`",
            ),
            (
                r#""triggers": ["0 3 * * *"]"#,
                "triggers: a list, not an object → `\"triggers\": { \"crons\": [\"0 3 * * *\"] }`",
            ),
            (
                r#""triggers": { "crons": "0 3 * * *" }"#,
                "triggers.crons: a string, not a list → `\"crons\": [\"0 3 * * *\"]`",
            ),
            (r#""triggers": { "crons": [5] }"#, "triggers.crons[0]: the number 5, not a string"),
            (r#""vars": "A""#, "vars: a string, not an object"),
            (
                r#""build": "make""#,
                "build: a string, not an object → `\"build\": { \"command\": \"make\" }`",
            ),
            (
                r#""kv_namespaces": { "binding": "KV" }"#,
                "kv_namespaces: an object, not a list → `\"kv_namespaces\": [{ \"binding\": \"KV\" }]`",
            ),
            (
                r#""d1_databases": [{ "database_id": "x" }, { "database_id": 7 }]"#,
                "d1_databases[1].database_id: the number 7, not a string → `\"database_id\": \"7\"`",
            ),
            (
                r#""queues": { "consumers": [{ "queue": null }] }"#,
                "queues.consumers[0].queue: `null`, not a string",
            ),
        ] {
            let text = format!(r#"{{ "name": "a", {fields} }}"#);
            assert_eq!(wrong("wrangler.json", &text, "production"), [expected], "{fields}");
        }
    }

    #[test]
    fn what_wrangler_accepts_is_accepted() {
        for fields in [
            r#""main": "a.ts", "routes": [], "vars": {}, "assets": {}"#,
            r#""triggers": null, "build": null"#,
            r#""vars": ["a"], "assets": []"#,
            r#""route": "example.com/*""#,
            r#""kv_namespaces": [{ "binding": "KV" }], "env": null"#,
            r#""vars": { "main": 1, "DATE": "2025-01-01" }"#,
        ] {
            let text = format!(r#"{{ "name": "a", {fields} }}"#);
            assert_eq!(wrong("wrangler.json", &text, "production"), [""; 0], "{fields}");
        }
    }

    #[test]
    fn only_the_block_of_the_environment_counts() {
        let text = r#"{ "name": "a", "env": { "staging": { "main": 5, "name": 7 }, "qa": {} } }"#;
        assert_eq!(
            wrong("wrangler.json", text, "staging"),
            [
                "env.staging.name: the number 7, not a string → `\"name\": \"7\"`",
                "env.staging.main: the number 5, not a string",
            ]
        );
        assert!(wrong("wrangler.json", text, "qa").is_empty());
        assert!(wrong("wrangler.json", text, "production").is_empty());
    }

    #[test]
    fn dates_of_toml_are_no_strings() {
        let text = "name = \"a\"\ncompatibility_date = 2025-01-01\n[vars]\nSINCE = 2024-01-31\nTEXT = \"2024-01-31\"\n";
        assert_eq!(
            wrong("wrangler.toml", text, "production"),
            [
                "compatibility_date: a date without quotes, not a string → `compatibility_date = \"2025-01-01\"`",
                "vars.SINCE: a date without quotes, not a string → `SINCE = \"2024-01-31\"`",
            ]
        );
        let text = "name = \"a\"\nassets = \"dist\"\n";
        assert_eq!(
            wrong("wrangler.toml", text, "production"),
            ["assets: a string, not an object → `assets = { directory = \"dist\" }`"]
        );
    }
}
