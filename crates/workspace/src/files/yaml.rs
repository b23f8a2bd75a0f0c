//! Parses YAML settings files to plain values. Only scalars may have anchors, so that a small file
//! cannot become a large value.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

use crate::files::limits::{self, MAX_DEPTH, Syntax};

/// A value of a YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// A scalar as written, without its quotes. A null is an empty string.
    Scalar(String),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping in the order of the file.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// Parses the first document of `text`.
    pub fn parse(text: &str) -> Result<Yaml, String> {
        let text = limits::without_bom(text);
        limits::check(text, Syntax::Yaml)?;
        let mut builder = YamlBuilder::default();
        for event in Parser::new_from_str(text) {
            let (event, _) = event.map_err(|error| error.to_string())?;
            if matches!(event, Event::DocumentEnd) {
                break;
            }
            builder.take(event)?;
        }
        Ok(builder.root.unwrap_or_else(|| Yaml::Scalar(String::new())))
    }

    /// Returns the value of `key`. The last of repeated keys counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Yaml> {
        self.entries().iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the entries of a mapping. Empty for other values.
    #[must_use]
    pub fn entries(&self) -> &[(String, Yaml)] {
        if let Yaml::Map(entries) = self { entries } else { &[] }
    }

    /// Returns the items of a sequence. Empty for other values.
    #[must_use]
    pub fn items(&self) -> &[Yaml] {
        if let Yaml::List(items) = self { items } else { &[] }
    }

    /// Returns the text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Yaml::Scalar(text) = self { Some(text) } else { None }
    }
}

/// The parser of a document.
#[derive(Default)]
struct YamlBuilder {
    open: Vec<(Yaml, Option<String>)>,
    scalars: HashMap<usize, String>,
    root: Option<Yaml>,
}

impl YamlBuilder {
    fn take(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let text = if text == "~" { String::new() } else { text.into_owned() };
                if anchor != 0 {
                    self.scalars.insert(anchor, text.clone());
                }
                self.add(Yaml::Scalar(text));
            }
            Event::Alias(anchor) => {
                let text = self.scalars.get(&anchor).cloned().unwrap_or_default();
                self.add(Yaml::Scalar(text));
            }
            Event::SequenceStart(..) => self.open(Yaml::List(Vec::new()))?,
            Event::MappingStart(..) => self.open(Yaml::Map(Vec::new()))?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((value, _)) = self.open.pop() {
                    self.add(value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, value: Yaml) -> Result<(), String> {
        self.open.push((value, None));
        if self.open.len() > MAX_DEPTH {
            return Err(format!("the file is nested more than {MAX_DEPTH} levels deep"));
        }
        Ok(())
    }

    fn add(&mut self, value: Yaml) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Yaml::List(items), _)) => items.push(value),
            Some((Yaml::Map(entries), key)) => match key.take() {
                Some(key) => entries.push((key, value)),
                // Keys that are not scalars are ignored.
                None => *key = Some(value.text().unwrap_or_default().to_owned()),
            },
            Some((Yaml::Scalar(_), _)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_style() {
        let text =
            "\u{feff}# who\na: &x 'one'\nb: [*x, \"two\"]\nc:\n  - d: ~\n    e: 1\na: last\n";
        let yaml = Yaml::parse(text).expect("valid");
        assert_eq!(yaml.get("a").and_then(Yaml::text), Some("last"));
        let list: Vec<_> = yaml.get("b").expect("b").items().iter().map(Yaml::text).collect();
        assert_eq!(list, [Some("one"), Some("two")]);
        let first = &yaml.get("c").expect("c").items()[0];
        assert_eq!(first.get("d").and_then(Yaml::text), Some(""));
        assert_eq!(Yaml::parse("").expect("empty"), Yaml::Scalar(String::new()));
        assert!(Yaml::parse("a: [").is_err());
    }

    const EMPTY: Yaml = Yaml::Scalar(String::new());

    #[test]
    fn aliases_do_not_multiply_values() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..50 {
            text += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        let value = Yaml::parse(&text).expect("valid");
        let items = value.entries().iter().map(|(_, value)| value.items().len());
        assert_eq!(items.sum::<usize>(), 100);
        assert_eq!(value.get("a49").map(Yaml::items), Some(&[EMPTY, EMPTY][..]));
        for text in ["[".repeat(100_000), "- ".repeat(5_000), "{a: ".repeat(100_000)] {
            assert!(Yaml::parse(&text).is_err());
        }
    }
}
