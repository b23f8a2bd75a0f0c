//! Builds a JSON document from form fields such as `metadata[bindings][][name]`. Cloudflare's library
//! for JavaScript sends these (observed with 7.3.0).

use serde_json::{Map, Value};

/// The maximum depth of a field.
const MAX_DEPTH: usize = 16;

/// Adds a field to `document` if it belongs to `root`. Returns whether it does.
pub fn add(document: &mut Value, root: &str, name: &str, text: &str) -> bool {
    let Some(path) = name.strip_prefix(root).filter(|path| path.starts_with('[')) else {
        return false;
    };
    let parts: Vec<&str> = path.split('[').skip(1).map(|part| part.trim_end_matches(']')).collect();
    if parts.len() <= MAX_DEPTH {
        set(document, &parts, text);
    }
    true
}

fn set(at: &mut Value, parts: &[&str], text: &str) {
    match parts {
        // Form fields are text. Booleans are converted. Numbers stay text, because an upload has no
        // numeric field and a text may look like a number.
        [] => {
            *at = match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                text => Value::String(text.to_owned()),
            }
        }
        ["", rest @ ..] => {
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            let Some(items) = at.as_array_mut() else { return };
            // An item is complete if it has the next field already.
            let is_new = match (items.last(), rest.first()) {
                (Some(Value::Object(last)), Some(field)) => last.contains_key(*field),
                _ => true,
            };
            if is_new {
                items.push(Value::Null);
            }
            if let Some(last) = items.last_mut() {
                set(last, rest, text);
            }
        }
        [field, rest @ ..] => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            set(&mut at[*field], rest, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_become_a_document() {
        let mut document = Value::Null;
        for (name, text) in [
            ("metadata[main_module]", "a.js"),
            ("metadata[compatibility_flags][]", "a"),
            ("metadata[compatibility_flags][]", "b"),
            ("metadata[bindings][][type]", "plain_text"),
            ("metadata[bindings][][name]", "A"),
            ("metadata[bindings][][text]", "5"),
            ("metadata[bindings][][type]", "d1"),
            ("metadata[bindings][][name]", "B"),
            ("metadata[observability][enabled]", "true"),
        ] {
            assert!(add(&mut document, "metadata", name, text), "{name}");
        }
        let expected = json!({
            "main_module": "a.js", "compatibility_flags": ["a", "b"], "observability": { "enabled": true },
            "bindings": [{ "type": "plain_text", "name": "A", "text": "5" }, { "type": "d1", "name": "B" }],
        });
        assert_eq!(document, expected);
        assert!(!add(&mut document, "metadata", "metadata.js", "x"));
        add(&mut document, "metadata", &format!("metadata{}", "[a]".repeat(100_000)), "x");
        assert_eq!(document, expected, "fields that are too deep are ignored");
    }
}
