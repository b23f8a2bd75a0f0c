//! The language of `pipeline.yml` and `deploy.yml`. Both are YAML files that an editor can check:
//!
//! ```yaml
//! ## A comment of the template, which is left out.
//! default:
//!   image: $[[ image ]]
//!   #if tags
//!   tags:
//!     - $[[ tags ]]
//!   #else
//!   tags: []
//!   #end
//! ```
//!
//! - `$[[ name ]]` is replaced by a value. GitLab writes the inputs of its components like this.
//! - A line with a list is repeated for each item.
//! - `#if name` keeps the lines up to `#else` or `#end` if the value is `true`, a text with characters or a
//!   list with items. `#if not name` is the opposite.
//!
//! A line with values has the form `key: text`, `- text`, `- key: text` or `key:`. The key and the text are quoted as
//! a whole after the values are inserted. So a value cannot end its line and is always a string. A multiline string
//! becomes a literal block. In a comment, each value is quoted separately.

use std::collections::BTreeMap;

use super::yaml::{block, scalar};
use base::error::{ErrorContext as _, Result, failed};

/// The start of a placeholder.
const OPEN: &str = "$[[ ";

/// The end of a placeholder.
const CLOSE: &str = " ]]";

/// A value of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateValue {
    /// A condition. It cannot be inserted as text.
    Flag(bool),
    /// A string.
    Text(String),
    /// The strings of a repeated line.
    List(Vec<String>),
}

impl TemplateValue {
    fn is_true(&self) -> bool {
        match self {
            TemplateValue::Flag(flag) => *flag,
            TemplateValue::Text(text) => !text.is_empty(),
            TemplateValue::List(items) => !items.is_empty(),
        }
    }
}

impl From<bool> for TemplateValue {
    fn from(flag: bool) -> TemplateValue {
        TemplateValue::Flag(flag)
    }
}

impl From<&str> for TemplateValue {
    fn from(text: &str) -> TemplateValue {
        TemplateValue::Text(text.to_owned())
    }
}

impl From<String> for TemplateValue {
    fn from(text: String) -> TemplateValue {
        TemplateValue::Text(text)
    }
}

impl From<Option<&str>> for TemplateValue {
    fn from(text: Option<&str>) -> TemplateValue {
        TemplateValue::from(text.unwrap_or_default())
    }
}

impl From<Vec<String>> for TemplateValue {
    fn from(items: Vec<String>) -> TemplateValue {
        TemplateValue::List(items)
    }
}

/// The values of a template by name.
pub type Values = BTreeMap<&'static str, TemplateValue>;

/// Fills `template` with `values`. Errors name the line with invalid syntax.
pub fn fill(template: &str, values: &Values) -> Result<String> {
    let mut text = String::new();
    // One entry for each open `#if`: whether its current part is kept.
    let mut open: Vec<bool> = Vec::new();
    for (index, line) in template.lines().enumerate() {
        let place = || format!("line {} of the template: `{line}`", index + 1);
        let directive = line.trim_start();
        if directive.starts_with("##") {
            continue;
        } else if let Some(name) = directive.strip_prefix("#if ") {
            let (name, expected) =
                name.strip_prefix("not ").map_or((name, true), |name| (name, false));
            open.push(find(name, values).with_context(place)?.is_true() == expected);
        } else if directive == "#else" {
            let last = open.last_mut().with_context(place)?;
            *last = !*last;
        } else if directive == "#end" {
            open.pop().with_context(place)?;
        } else if open.iter().all(|kept| *kept) {
            text += &fill_line(line, values).with_context(place)?;
        }
    }
    if !open.is_empty() {
        return Err(failed("the template has an `#if` without `#end`"));
    }
    Ok(text)
}

fn find<'v>(name: &str, values: &'v Values) -> Result<&'v TemplateValue> {
    values.get(name).with_context(|| format!("no value is called `{name}`"))
}

/// Fills a line. A list makes it several lines, or none.
fn fill_line(line: &str, values: &Values) -> Result<String> {
    let mut lines = 1;
    for name in names(line) {
        if let TemplateValue::List(items) = find(name, values)? {
            lines = items.len();
        }
    }
    (0..lines).map(|item| Ok(FilledLine { values, item }.fill(line)? + "\n")).collect()
}

/// Returns the names of the values in `line`.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(OPEN).skip(1).filter_map(|rest| rest.split_once(CLOSE)).map(|(name, _)| name)
}

/// One of the lines that a line of the template expands to.
struct FilledLine<'v> {
    values: &'v Values,
    /// The index of this line's item in a list.
    item: usize,
}

impl FilledLine<'_> {
    fn fill(&self, line: &str) -> Result<String> {
        let body = line.trim_start_matches(' ');
        if !line.contains(OPEN) {
            return Ok(line.to_owned());
        } else if body.starts_with('#') {
            return self.substitute(line, &scalar);
        }
        let column = line.len() - body.len();
        let (dash, entry) = body.strip_prefix("- ").map_or(("", body), |entry| ("- ", entry));
        let mut filled = format!("{}{dash}", " ".repeat(column));
        let (key, text) = match entry.strip_suffix(':') {
            Some(key) => (Some(key), None),
            None => entry
                .split_once(": ")
                .map_or((None, Some(entry)), |(key, text)| (Some(key), Some(text))),
        };
        let mut indent = column + 2;
        if let Some(key) = key {
            filled += &scalar(&self.substitute(key, &str::to_owned)?);
            filled += if text.is_some() { ": " } else { ":" };
            indent += dash.len();
        }
        if let Some(text) = text {
            let text = self.substitute(text, &str::to_owned)?;
            filled += &block(&text, indent).unwrap_or_else(|| scalar(&text));
        }
        Ok(filled)
    }

    /// Returns `part` of the line with its values inserted, each quoted by `quote`.
    fn substitute(&self, part: &str, quote: &dyn Fn(&str) -> String) -> Result<String> {
        let mut text = String::new();
        let mut rest = part;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, after) = after.split_once(CLOSE).context("a placeholder does not end")?;
            let value = match find(name, self.values)? {
                TemplateValue::Text(value) => Some(value),
                TemplateValue::List(items) => items.get(self.item),
                TemplateValue::Flag(_) => None,
            };
            text += before;
            text += &quote(value.with_context(|| format!("`{name}` is not a text"))?);
            rest = after;
        }
        Ok(text + rest)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use workspace::yaml::Yaml;

    use super::*;

    /// Strings that would change the structure of the file if they were not quoted.
    const HOSTILE: [&str; 16] = [
        "a: b",
        "a #b",
        "- a",
        "*alias",
        "&anchor",
        "!tag",
        "{ a: b }",
        "\"",
        "it's",
        "\\",
        "a\nb: c\n- d\n",
        "a\r\nscript: [evil]",
        " $[[ text ]]",
        "yes",
        "\u{85}script: x\u{2028}",
        "#end",
    ];

    fn values(text: &str) -> Values {
        Values::from([
            ("text", text.into()),
            ("list", vec!["a".to_owned(), text.to_owned()].into()),
            ("empty", Vec::new().into()),
            ("yes", true.into()),
        ])
    }

    #[test]
    fn fills_lines_and_keeps_the_chosen_parts() {
        let template = "\
## Left out.
# About $[[ text ]].
$[[ text ]]:
  #if yes
  plain: $[[ text ]] and $HOME
  #else
  never: here
  #end
  #if not yes
  #if yes
  never: here
  #end
  #else
  list:
    - one $[[ list ]]
    - $[[ empty ]]
    - name: $[[ text ]]
  #end
";
        expect![[r#"
            # About x y.
            x y:
              plain: x y and $HOME
              list:
                - one a
                - one x y
                - name: x y
        "#]]
        .assert_eq(&fill(template, &values("x y")).expect("filled"));
    }

    #[test]
    fn writes_several_lines_as_a_block() {
        let template = "a:\n  - $[[ text ]]\n  - b: $[[ text ]]\nc: $[[ text ]]\n";
        expect![[r#"
            a:
              - |-
                if x; then
                  y
                fi
              - b: |-
                  if x; then
                    y
                  fi
            c: |-
              if x; then
                y
              fi
        "#]]
        .assert_eq(&fill(template, &values("if x; then\n  y\nfi")).expect("filled"));
    }

    #[test]
    fn keeps_hostile_values_as_texts() {
        let template =
            "# $[[ text ]]\nmap:\n  $[[ text ]]: x $[[ text ]]\nlist:\n  - $[[ list ]]\n";
        for hostile in HOSTILE {
            let text = fill(template, &values(hostile)).expect("filled");
            let yaml = Yaml::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let scalar = |text: &str| Yaml::Scalar(text.to_owned());
            let expected = Yaml::Map(vec![
                (
                    "map".to_owned(),
                    Yaml::Map(vec![(hostile.to_owned(), scalar(&format!("x {hostile}")))]),
                ),
                ("list".to_owned(), Yaml::List(vec![scalar("a"), scalar(hostile)])),
            ]);
            assert_eq!(yaml, expected, "{text}");
        }
    }

    #[test]
    fn refuses_a_malformed_template_with_the_line() {
        for (template, message) in [
            (
                "a: $[[ other ]]",
                "line 1 of the template: `a: $[[ other ]]`: no value is called `other`",
            ),
            (
                "\n#if other\n#end",
                "line 2 of the template: `#if other`: no value is called `other`",
            ),
            ("a: $[[ text", "line 1 of the template: `a: $[[ text`: a placeholder does not end"),
            ("a: $[[ yes ]]", "line 1 of the template: `a: $[[ yes ]]`: `yes` is not a text"),
            ("#if yes", "the template has an `#if` without `#end`"),
            ("#end", "line 1 of the template: `#end`"),
            ("#else", "line 1 of the template: `#else`"),
        ] {
            let error = fill(template, &values("x")).expect_err("malformed");
            assert!(format!("{error:#}").starts_with(message), "{error:#}");
        }
    }
}
