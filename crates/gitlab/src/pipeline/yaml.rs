//! Serde values as block-style YAML, in the order of their fields.
//!
//! Every value goes through JSON, so what is written is what a YAML reader makes of that JSON: a text
//! is plain only if no reader could take it for something else. Otherwise it is quoted as in JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;

/// A JSON value whose maps keep their order.
#[derive(Debug)]
enum YamlNode {
    /// A word without quotes: `null`, `true`, a number.
    Word(String),
    Text(String),
    List(Vec<YamlNode>),
    Map(Vec<(String, YamlNode)>),
}

/// Returns `value`, a map, as a document. `comment` returns the comment above an entry of the outermost map.
pub fn document<T: Serialize>(
    value: &T,
    comment: &dyn Fn(&str) -> Option<String>,
) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    let mut text = String::new();
    match serde_json::from_str(&json)? {
        YamlNode::Map(entries) if !entries.is_empty() => {
            for (name, node) in &entries {
                text += if text.is_empty() { "" } else { "\n" };
                let lines = comment(name).unwrap_or_default();
                text.extend(lines.lines().map(|line| format!("# {line}\n")));
                text += &scalar(name);
                text.push(':');
                below(node, 0, &mut text);
            }
        }
        other => text += &(flow(&other, 0) + "\n"),
    }
    Ok(text)
}

/// Writes what follows `key:` or, for lists, starts with `- ` on the lines below.
fn below(node: &YamlNode, indent: usize, text: &mut String) {
    match node {
        YamlNode::List(items) if !items.is_empty() => {
            for item in items {
                *text += &format!("\n{}-", " ".repeat(indent + 2));
                in_item(item, indent + 4, text);
            }
            text.push('\n');
        }
        YamlNode::Map(entries) if !entries.is_empty() => {
            text.push('\n');
            map(entries, indent + 2, text);
        }
        other => *text += &format!(" {}\n", flow(other, indent)),
    }
}

/// Writes what follows `-`: maps start on the same line.
fn in_item(node: &YamlNode, indent: usize, text: &mut String) {
    match node {
        YamlNode::Map(entries) if !entries.is_empty() => {
            text.push(' ');
            let mut inner = String::new();
            map(entries, indent, &mut inner);
            *text += inner.trim_start_matches(' ').trim_end_matches('\n');
        }
        YamlNode::List(items) if !items.is_empty() => {
            let mut inner = String::new();
            below(node, indent - 2, &mut inner);
            *text += inner.trim_end_matches('\n');
        }
        other => *text += &format!(" {}", flow(other, indent - 2)),
    }
}

fn map(entries: &[(String, YamlNode)], indent: usize, text: &mut String) {
    for (name, node) in entries {
        *text += &format!("{}{}:", " ".repeat(indent), scalar(name));
        below(node, indent, text);
    }
}

/// A value that fits behind its key. `indent` is the key's.
fn flow(node: &YamlNode, indent: usize) -> String {
    match node {
        YamlNode::Word(word) => word.clone(),
        YamlNode::Text(text) => block(text, indent + 2).unwrap_or_else(|| scalar(text)),
        YamlNode::List(_) => "[]".to_owned(),
        YamlNode::Map(_) => "{}".to_owned(),
    }
}

/// Lines as a literal block, where one can hold them.
fn block(text: &str, indent: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let good = |line: &str| !line.ends_with([' ', '\t']) && line.chars().all(printable);
    let fits = body.contains('\n')
        && body.lines().all(good)
        && !body.ends_with('\n')
        && !body.contains('\r')
        && !body.starts_with([' ', '\t', '\n']);
    fits.then(|| {
        let mut block = if body.len() == text.len() { "|-" } else { "|" }.to_owned();
        for line in body.split('\n') {
            let space = if line.is_empty() { 0 } else { indent };
            block += &format!("\n{}{line}", " ".repeat(space));
        }
        block
    })
}

/// Words that some reader of YAML 1.1 or 1.2 does not take for text.
const RESERVED: [&str; 11] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"];

/// A text on one line: plain, or in double quotes.
fn scalar(text: &str) -> String {
    let mut chars = text.chars();
    let starts = match (chars.next(), chars.next()) {
        (Some('.'), Some(c)) => c.is_ascii_alphabetic(),
        (Some(c), _) => c.is_ascii_alphabetic() || c == '$' || c == '/',
        (None, _) => false,
    };
    let plain = starts
        && text.chars().all(|c| c.is_ascii_graphic() || c.is_alphanumeric() || c == ' ')
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quote(text) }
}

fn quote(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let escape = |c: char| match c {
        c if printable(c) => c.to_string(),
        c if (c as u32) > 0xffff => format!("\\U{:08x}", c as u32),
        c => format!("\\u{:04x}", c as u32),
    };
    json.chars().map(escape).collect()
}

/// Returns `true` for a character that may be in a YAML document as it is, without line breaks other than `\n`
/// (<https://yaml.org/spec/1.2.2/#51-character-set>).
fn printable(c: char) -> bool {
    !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..='\u{ffff}')
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<YamlNode, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = YamlNode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<YamlNode, E> {
        Ok(YamlNode::Word("null".to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<YamlNode, E> {
        Ok(YamlNode::Word(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<YamlNode, E> {
        Ok(YamlNode::Word(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<YamlNode, E> {
        Ok(YamlNode::Word(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<YamlNode, E> {
        Ok(YamlNode::Word(serde_json::Value::from(value).to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<YamlNode, E> {
        Ok(YamlNode::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<YamlNode, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(YamlNode::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<YamlNode, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(YamlNode::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_like_a_file_that_a_person_wrote() {
        let value = json!({
            "a": { "if": "$A == \"b\" && $C != $D", "needs": [], "on": true, "port": 2376 },
            "b": ["bash .ci/run", "echo a: b", "- x", "one\ntwo\n\n  three\n", "1.0", "yes", ""],
            "c": [{ "name": "docker:27.2.0-dind", "list": ["x", { "y": "z" }] }, ["p", "q"]],
            "d": "a\u{7f}\u{2028}\n",
        });
        let comment = |name: &str| (name == "b").then(|| "Two\nlines.".to_owned());
        expect![[r##"
            a:
              if: $A == "b" && $C != $D
              needs: []
              "on": true
              port: 2376

            # Two
            # lines.
            b:
              - bash .ci/run
              - "echo a: b"
              - "- x"
              - |
                one
                two

                  three
              - "1.0"
              - "yes"
              - ""

            c:
              - list:
                  - x
                  - "y": z
                name: docker:27.2.0-dind
              -
                - p
                - q

            d: "a\u007f\u2028\n"
        "##]]
        .assert_eq(&document(&value, &comment).expect("a document"));
    }
}
