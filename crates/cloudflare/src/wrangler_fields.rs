//! Fields of a wrangler config that wrangler does not know.

use serde_json::Value;

use base::error::nearest;

/// A field that wrangler would ignore with a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The path of the field: `assets.directoy`.
    pub path: String,
    /// The field that was probably meant.
    pub nearest: Option<String>,
}

/// The fields of a container that wrangler reads and its schema lacks, because they are deprecated or internal
/// (`validateContainerApp` of wrangler 4.164).
const OF_CONTAINERS: [&str; 5] =
    ["affinities", "configuration", "instances", "rollout_kind", "wrangler_ssh"];

/// Returns the fields of `config` that are not in wrangler's JSON schema.
#[must_use]
pub fn unknown_fields(schema: &Value, config: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    check(schema, schema, config, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<UnknownField>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
        return check(root, &root["definitions"][name], value, path, found);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(root, part, value, path, found);
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        let tried = branches.iter().filter(|branch| fits(root, branch, value)).map(|branch| {
            let mut inner = Vec::new();
            check(root, branch, value, path, &mut inner);
            inner
        });
        // The branch with the fewest errors is probably the intended one.
        found.extend(tried.min_by_key(Vec::len).unwrap_or_default());
    }
    if let (Some(items), true) = (value.as_array(), schema["items"].is_object()) {
        for (index, item) in items.iter().enumerate() {
            check(root, &schema["items"], item, &format!("{path}[{index}]"), found);
        }
    }
    let (Some(known), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        if let (Some(fields), true) =
            (value.as_object(), schema["additionalProperties"].is_object())
        {
            for (name, inner) in fields {
                check(root, &schema["additionalProperties"], inner, &join(path, name), found);
            }
        }
        return;
    };
    for (name, inner) in fields {
        match known.get(name) {
            Some(field) => check(root, field, inner, &join(path, name), found),
            None if is_container(path) && OF_CONTAINERS.contains(&name.as_str()) => {}
            None if schema["additionalProperties"] == Value::Bool(false) => {
                found.push(UnknownField {
                    path: join(path, name),
                    nearest: nearest(name, known.keys().map(String::as_str)).map(str::to_owned),
                });
            }
            None if schema["additionalProperties"].is_object() => {
                check(root, &schema["additionalProperties"], inner, &join(path, name), found);
            }
            None => {}
        }
    }
}

/// Returns true if `path` is that of a container, such as `env.staging.containers[0]`.
fn is_container(path: &str) -> bool {
    let list = path.split_once('[').map_or("", |(list, _)| list);
    list == "containers" || list.ends_with(".containers")
}

/// Returns `true` if `value` has the type of `schema`. A schema without a type fits any value.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
        return fits(root, &root["definitions"][name], value);
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number" | "integer") => value.is_number(),
        _ => true,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_misspelt_fields_at_every_depth() {
        let schema = json!({
            "allOf": [{"$ref": "#/definitions/Config"}],
            "definitions": {
                "Config": {"type": "object", "additionalProperties": false, "properties": {
                    "name": {}, "assets": {"$ref": "#/definitions/Assets"}, "vars": {"type": "object"},
                    "env": {"type": "object", "additionalProperties": {"$ref": "#/definitions/Config"}},
                    "containers": {"type": "array", "items":
                        {"type": "object", "additionalProperties": false, "properties": {"image": {}}}},
                    "routes": {"type": "array", "items": {"anyOf": [{"type": "string"},
                        {"type": "object", "additionalProperties": false, "properties": {"pattern": {}}}]}}}},
                "Assets": {"type": "object", "additionalProperties": false, "properties": {"directory": {}}}
            }
        });
        let config = json!({"name": "a", "asssets": {}, "assets": {"directoy": "x"}, "vars": {"ANY": 1},
            "routes": ["a", {"patern": "b"}], "containers": [{"instances": 1, "imag": "i"}],
            "env": {"staging": {"nam": "b", "containers": [{"configuration": {"image": "i"}}]}}});
        let found: Vec<(String, Option<String>)> =
            unknown_fields(&schema, &config).into_iter().map(|f| (f.path, f.nearest)).collect();
        let expected = [
            ("assets.directoy", "directory"),
            ("asssets", "assets"),
            ("containers[0].imag", "image"),
            ("env.staging.nam", "name"),
            ("routes[1].patern", "pattern"),
        ];
        assert_eq!(found, expected.map(|(path, near)| (path.to_owned(), Some(near.to_owned()))));
    }
}
