//! Sets fields of the shared config file and keeps its format and comments.

use jsonc_parser::ast::{Object, Value as Node};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Value;

use base::error::{Result, refused};
use workspace::config::CONFIG_FILE;

/// The indentation of one level in a new field.
const INDENT: &str = "  ";

/// Returns `text` with a new value for the field at `path`. Creates missing objects.
pub fn set(text: &str, path: &[&str], value: &Value) -> Result<String> {
    let wrong = |reason: &str| refused(format!("{CONFIG_FILE}: {reason}"));
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default())
        .map_err(|error| wrong(&error.to_string()))?;
    let Some(Node::Object(root)) = parsed.value else {
        return Err(wrong("the file holds no object"));
    };
    let mut object = &root;
    for (depth, name) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        match object.get(name).map(|property| &property.value) {
            None => return Ok(insert(text, object, &path[depth..], value, depth + 1)),
            Some(old) if is_last => {
                let (before, after) = (&text[..old.start()], &text[old.end()..]);
                return Ok(format!("{before}{value}{after}"));
            }
            Some(Node::Object(inner)) => object = inner,
            Some(_) => return Err(wrong(&format!("`{name}` is not an object"))),
        }
    }
    Ok(text.to_owned())
}

/// Adds a field at the end of `object`.
fn insert(text: &str, object: &Object<'_>, path: &[&str], value: &Value, depth: usize) -> String {
    let nested = path.iter().skip(1).rev().fold(value.clone(), |value, name| {
        Value::Object([((*name).to_owned(), value)].into_iter().collect())
    });
    let indent = INDENT.repeat(depth);
    let nested = serde_json::to_string_pretty(&nested).unwrap_or_default();
    let nested = nested.replace('\n', &format!("\n{indent}"));
    let field = format!("{}: {nested}", Value::from(path[0]));
    let end = object.end() - 1;
    match object.properties.last() {
        // An object on one line stays on one line.
        Some(last) if !text[object.start()..object.end()].contains('\n') => {
            format!("{}, {field}{}", &text[..last.end()], &text[last.end()..])
        }
        Some(last) => {
            format!("{},\n{indent}{field}{}", &text[..last.end()], &text[last.end()..])
        }
        None => {
            let above = INDENT.repeat(depth - 1);
            format!("{}{{\n{indent}{field}\n{above}}}{}", &text[..object.start()], &text[end + 1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replaces_or_adds_a_field_and_keeps_the_rest() {
        let text = "{\n  \"tools\": { \"bun\": \"1.0.0\" },\n  \"gitlab\": {\n    \"url\": \"x\"\n  }\n}\n";
        let set = |path: &[&str], value: &str| set(text, path, &json!(value)).expect("valid");
        assert_eq!(set(&["tools", "bun"], "1.4.5"), text.replace("1.0.0", "1.4.5"));
        assert_eq!(
            set(&["tools", "dagger"], "0.21.9"),
            text.replace("\"1.0.0\"", "\"1.0.0\", \"dagger\": \"0.21.9\"")
        );
        assert_eq!(
            set(&["gitlab", "projectId"], "7"),
            text.replace("\"x\"", "\"x\",\n    \"projectId\": \"7\"")
        );
        assert_eq!(
            set(&["images", "bun"], "oven/bun:1.4.5"),
            text.replace(
                "  }\n}",
                "  },\n  \"images\": {\n    \"bun\": \"oven/bun:1.4.5\"\n  }\n}"
            )
        );
    }

    #[test]
    fn fills_an_empty_object_and_refuses_other_values() {
        let value = json!("1");
        assert_eq!(set("{}", &["a"], &value).expect("valid"), "{\n  \"a\": \"1\"\n}");
        let failure = set("{ \"a\": 1 }", &["a", "b"], &value).expect_err("no object");
        assert_eq!(failure.message, format!("{CONFIG_FILE}: `a` is not an object"));
        assert!(set("[]", &["a"], &value).is_err());
    }
}
