//! The rules of language: doc comments that begin with a verb or a noun, the field's words, and
//! names that say what an item is. Each rule prints its offenders with file and line.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::repository;

/// Folders with texts of ours.
const ROOTS: [&str; 9] =
    ["crates", "xtask", "dev", "sandbox", "dagger", "docs", "projects", ".ci", ".github"];

/// Phrases that a reader would not use, each with the word to write instead.
const RETIRED: [(&str, &str); 44] = [
    ("former", "previous"),
    ("somebody", "the subject's name"),
    ("nobody", "the subject's name"),
    ("whom", "the subject's name"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("concern", "affect"),
    ("concerns", "affects"),
    ("concerned", "affected"),
    ("anew", "again"),
    ("come of", "result"),
    ("comes of", "result"),
    ("came of", "result"),
    ("come to", "result"),
    ("comes to", "result"),
    ("came to", "result"),
    ("said", "message, output"),
    ("of its own", "own"),
    ("of their own", "own"),
    ("by hand", "manually"),
    ("nothing when", "`None` if"),
    ("nothing where", "`None` if"),
    ("stand", "is, exists"),
    ("stands", "is, exists"),
    ("stood", "was"),
    ("anybody", "anyone"),
    ("blanks", "spaces"),
    ("tabulator", "tab"),
    ("small letters", "lowercase"),
    ("by chance", "at random"),
    ("in vain", "without success"),
    ("such ones", "the noun again"),
    ("otherwise than", "differently from"),
    ("sent again", "retried"),
    ("goes on answering", "still works"),
    ("go on answering", "still works"),
    ("beside a token", "with a token"),
    ("beside the token", "with the token"),
    ("says whether", "returns true if"),
    ("can be made of", "can be used"),
    ("is left to a person", "is a manual step"),
    ("a closer look", "a slower check"),
];

/// Words that are one of the retired ones and still the field's own term.
const TERMS: [&str; 2] = ["stand-in", "stand-ins"];

/// States that the field names with a participle, as variants and the types that hold them.
const STATES: [&str; 23] = [
    "Affected",
    "affected",
    "Built",
    "Closed",
    "Crashed",
    "Created",
    "Deleted",
    "Done",
    "Edited",
    "Expired",
    "Failed",
    "Finished",
    "Installed",
    "Interrupted",
    "Merged",
    "Planned",
    "Refused",
    "Removed",
    "Skipped",
    "Unaffected",
    "Unchanged",
    "Undeployed",
    "Uploaded",
];

/// Functions that make an error of the kind of the same name, as in `refused("…")`.
const ERRORS: [&str; 3] = ["failed", "interrupted", "refused"];

/// Type names that are defined twice on purpose, each with the reason.
const SHARED_TYPE_NAMES: [(&str, &str); 0] = [];

/// Participles and adverbs that do not end in `ed`.
const IRREGULAR: [&str; 44] = [
    "again",
    "anew",
    "beside",
    "bought",
    "broken",
    "built",
    "chosen",
    "done",
    "drawn",
    "found",
    "given",
    "gone",
    "here",
    "held",
    "hidden",
    "inside",
    "kept",
    "known",
    "left",
    "lost",
    "made",
    "meant",
    "met",
    "of",
    "outside",
    "proven",
    "said",
    "seen",
    "sent",
    "shown",
    "sought",
    "spent",
    "spoken",
    "swept",
    "taken",
    "there",
    "thought",
    "thrown",
    "told",
    "torn",
    "understood",
    "withheld",
    "worn",
    "written",
];

/// Names of locals that do not say what the value is.
const VAGUE_LOCALS: [&str; 6] = ["answer", "asked", "given", "made", "said", "told"];

/// A file of the repository, by its path below the root.
struct Source {
    path: Utf8PathBuf,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.extension() == Some("rs")
    }

    /// Names the place of a byte.
    fn place(&self, at: usize) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

fn sources() -> Vec<Source> {
    let mut waiting: Vec<_> = ROOTS.iter().map(|root| repository().join(root)).collect();
    waiting.push(repository());
    let mut sources = Vec::new();
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = folder.read_dir_utf8() else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.into_path();
            let hidden =
                matches!(path.file_name(), Some("node_modules" | "target" | "dist" | ".astro"));
            if path.is_dir() && folder != repository() && !hidden {
                waiting.push(path);
            } else if path.is_file() && has_language(&path) {
                let text = std::fs::read_to_string(&path).expect("text");
                let path = path.strip_prefix(repository()).expect("below the root").to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// Returns whether people read this file's texts. This file holds the words themselves, and the
/// changelog of released versions is history.
fn has_language(path: &Utf8Path) -> bool {
    let readable = matches!(path.extension(), Some("rs" | "ts" | "md" | "json" | "astro" | "toml"));
    let excluded = ["package-lock.json", "language.rs", "worker-configuration.d.ts"];
    readable && !path.file_name().is_some_and(|name| excluded.contains(&name))
}

/// The first line of each block of doc comments, with its offset.
fn doc_openings(source: &Source) -> Vec<(usize, &str)> {
    if !source.is_rust() {
        return jsdoc_openings(&source.text);
    }
    let (mut openings, mut offset, mut previous) = (Vec::new(), 0, "");
    for line in source.text.split_inclusive('\n') {
        let trimmed = line.trim();
        let marker = ["///", "//!"]
            .into_iter()
            .find(|marker| trimmed == *marker || trimmed.starts_with(&format!("{marker} ")))
            .unwrap_or_default();
        if !marker.is_empty() && marker != previous {
            openings.push((offset, trimmed[3..].trim()));
        }
        previous = marker;
        offset += line.len();
    }
    openings
}

/// The first words of each JSDoc comment, with the offset of the comment.
fn jsdoc_openings(text: &str) -> Vec<(usize, &str)> {
    let opening = |(at, _)| {
        let words = text[at + 3..].trim_start_matches(|c: char| c.is_whitespace() || c == '*');
        (at, words.lines().next().unwrap_or_default().trim_end_matches("*/").trim())
    };
    text.match_indices("/**").map(opening).collect()
}

/// The comments and the string literals of Rust or TypeScript, the whole of any other file.
fn prose(source: &Source) -> Vec<Range<usize>> {
    let (text, bytes) = (&source.text, source.text.as_bytes());
    if !matches!(source.path.extension(), Some("rs" | "ts")) {
        return std::iter::once(0..text.len()).collect();
    }
    let end_of = |from: usize, end: &str| {
        text[from..].find(end).map_or(text.len(), |found| from + found + end.len())
    };
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            end_of(at, "\n")
        } else if rest.starts_with("/*") {
            end_of(at, "*/")
        } else if source.is_rust() && (rest.starts_with("r#") || rest.starts_with("r\"")) {
            let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
            let opening = at + 1 + hashes;
            if bytes.get(opening) != Some(&b'"') {
                at += 1;
                continue;
            }
            end_of(opening + 1, &format!("\"{}", "#".repeat(hashes)))
        } else if source.is_rust() && bytes[at] == b'\'' {
            at += char_literal(rest);
            continue;
        } else if matches!(bytes[at], b'"')
            || !source.is_rust() && matches!(bytes[at], b'\'' | b'`')
        {
            end_of_string(bytes, at)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        ranges.push(at..end);
        at = end;
    }
    ranges
}

/// The length of a character literal, or of the quote that begins a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            rest[from..].find('\'').map_or(1, |found| from + found + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != bytes[from] {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.len().min(at + 1)
}

/// The words of a text in lower case, each with its offset. A hyphen joins two words.
fn words(text: &str) -> Vec<(usize, String)> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'' | '/');
    let mut words = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (begin, is_part(c)) {
            (None, true) => begin = Some(at),
            (Some(from), false) => {
                words.push((from, text[from..at].trim_matches('\'').to_lowercase()));
                begin = None;
            }
            _ => {}
        }
    }
    words
}

fn retired_in(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let mut found = Vec::new();
    for (index, (at, word)) in words.iter().enumerate() {
        if matches!(word.as_str(), "///" | "//!" | "//") || TERMS.contains(&word.as_str()) {
            continue;
        }
        for (phrase, instead) in RETIRED {
            let mut parts = phrase.split(' ');
            let first = parts.next() == Some(word);
            // The words of a phrase may stand on two lines of a comment.
            let mut next = words[index + 1..].iter().filter(|(_, word)| !word.starts_with("//"));
            if first && parts.all(|part| next.next().is_some_and(|(_, word)| word == part)) {
                found.push((*at, phrase, instead));
            }
        }
    }
    found
}

/// The name that a line of Rust declares, with the kind of item.
fn declared(line: &str) -> Option<(&'static str, &str)> {
    let mut rest = line.trim();
    while let Some(shorter) = ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "]
        .iter()
        .find_map(|word| rest.strip_prefix(word))
    {
        rest = shorter;
    }
    let kinds = ["fn", "struct", "enum", "trait", "type", "mod"];
    let (kind, name) = kinds
        .into_iter()
        .find_map(|kind| Some((kind, rest.strip_prefix(kind)?.strip_prefix(' ')?)))?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some((kind, &name[..end]))
}

/// The name that each `let` or `for` of a line binds first.
fn bound(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    ["let ", "for "].into_iter().flat_map(move |keyword| code.split(keyword).skip(1)).map(|name| {
        let name = name.trim_start_matches("Some(").trim_start_matches("Ok(");
        let name = name.trim_start_matches(['(', '&']).trim_start_matches("mut ");
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        &name[..end]
    })
}

/// The variants of an enum, by their lines: those one level below its opening brace.
fn variants(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut offset, mut outer) = (Vec::new(), 0, None);
    for line in text.split_inclusive('\n') {
        let (indent, trimmed) = (line.len() - line.trim_start().len(), line.trim());
        match outer {
            None if matches!(declared(line), Some(("enum", _))) && trimmed.ends_with('{') => {
                outer = Some(indent);
            }
            Some(outside) if trimmed.starts_with('}') && indent == outside => outer = None,
            Some(outside) if indent == outside + 4 => {
                let end = trimmed.find(|c: char| !c.is_alphanumeric()).unwrap_or(trimmed.len());
                if trimmed.starts_with(|c: char| c.is_ascii_uppercase()) {
                    found.push((offset, &trimmed[..end]));
                }
            }
            _ => {}
        }
        offset += line.len();
    }
    found
}

fn is_bare_participle(name: &str) -> bool {
    let single = !name.contains('_') && !name[1..].contains(|c: char| c.is_ascii_uppercase());
    let lower = name.to_lowercase();
    let nouns = ["feed", "need", "seed", "speed", "embed", "red", "shed", "proceed", "bed"];
    let regular = lower.len() > 3 && lower.ends_with("ed") && !nouns.contains(&lower.as_str());
    single && (regular || IRREGULAR.contains(&lower.as_str()))
}

fn report(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{}\n{rule}: {}", offenders.join("\n"), offenders.len());
}

/// Returns whether a file is part of a program, not of a test or a template.
fn is_product(source: &Source) -> bool {
    let part = |name: &str| source.path.components().any(|part| part.as_str() == name);
    source.is_rust() && !part("tests") && !part("templates") && !source.path.ends_with("tests.rs")
}

/// The types that a file declares, by their lines. Test modules and associated types are left out.
fn types(text: &str) -> Vec<(usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let (mut found, mut offset) = (Vec::new(), 0);
    for line in text[..end].split_inclusive('\n') {
        if let Some((kind @ ("struct" | "enum" | "trait" | "type"), name)) = declared(line)
            && (kind != "type" || !line.starts_with(' '))
        {
            found.push((offset, name));
        }
        offset += line.len();
    }
    found
}

#[test]
fn doc_comments_begin_with_a_verb_or_a_noun() {
    let indirect = [
        "What", "Where", "Whether", "How", "Whom", "Who", "Why", "When", "Which", "Says", "Looks",
        "Knows",
    ];
    let mut offenders = Vec::new();
    let has_docs = |source: &&Source| matches!(source.path.extension(), Some("rs" | "ts"));
    for source in sources().iter().filter(has_docs) {
        for (at, opening) in doc_openings(source) {
            let first = opening.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            if indirect.contains(&first) {
                offenders.push(format!("{}: {opening}", source.place(at)));
            }
        }
    }
    report("doc comments that begin with a question word", &offenders);
}

#[test]
fn retired_words_are_not_written() {
    let mut offenders = Vec::new();
    for source in sources() {
        for range in prose(&source) {
            for (at, phrase, instead) in retired_in(&source.text[range.clone()]) {
                let place = source.place(range.start + at);
                offenders.push(format!("{place}: `{phrase}`, better: {instead}"));
            }
        }
    }
    report("retired words", &offenders);
}

#[test]
fn no_item_is_a_bare_participle() {
    let mut offenders = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let mut offset = 0;
        for line in source.text.split_inclusive('\n') {
            if let Some((kind, name)) = declared(line) {
                let allowed = if kind == "fn" { &ERRORS[..] } else { &STATES[..] };
                if !name.is_empty() && !allowed.contains(&name) && is_bare_participle(name) {
                    offenders.push(format!("{}: {kind} {name}", source.place(offset)));
                }
            }
            offset += line.len();
        }
        for (at, name) in variants(&source.text) {
            if is_bare_participle(name) && !STATES.contains(&name) {
                offenders.push(format!("{}: variant {name}", source.place(at)));
            }
        }
    }
    report("items named by a bare participle", &offenders);
}

#[test]
fn locals_are_named_after_their_content() {
    let mut offenders = Vec::new();
    let is_read = |source: &&Source| {
        let roots = ["crates", "sandbox"];
        is_product(source) && roots.iter().any(|root| source.path.starts_with(root))
    };
    for source in sources().iter().filter(is_read) {
        let product = source.text.find("#[cfg(test)]\nmod ").unwrap_or(source.text.len());
        let mut offset = 0;
        for line in source.text[..product].split_inclusive('\n') {
            for name in bound(line).filter(|name| VAGUE_LOCALS.contains(name)) {
                offenders.push(format!("{}: {name}", source.place(offset)));
            }
            offset += line.len();
        }
    }
    report("locals that do not say what they hold", &offenders);
}

#[test]
fn no_type_name_is_defined_twice() {
    let sources = sources();
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| is_product(source)) {
        for (at, name) in types(&source.text) {
            places.entry(name).or_default().push(source.place(at));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let is_shared = |name: &str| SHARED_TYPE_NAMES.iter().any(|(shared, _)| *shared == name);
    let offenders: Vec<String> = places
        .iter()
        .filter(|(name, _)| !is_shared(name))
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    report("type names that are defined twice", &offenders);
    for (name, reason) in SHARED_TYPE_NAMES {
        assert!(places.contains_key(name), "`{name}` is defined once: {reason}");
    }
}

#[test]
fn offenders_are_found() {
    let rust = |text: &str| Source { path: "a.rs".into(), text: text.to_owned() };
    let source = rust("/// What it is.\n/// More.\nfn made() {}\n//! Returns.\n");
    assert_eq!(doc_openings(&source), [(0, "What it is."), (39, "Returns.")]);
    let script = Source { path: "a.ts".into(), text: "/** A b. */\n/**\n * What.\n */".to_owned() };
    assert_eq!(doc_openings(&script), [(0, "A b."), (12, "What.")]);
    assert_eq!(declared("    pub(crate) async fn made() {}"), Some(("fn", "made")));
    assert_eq!(declared("let made = 1;"), None);
    assert!(is_bare_participle("made") && is_bare_participle("Uploaded"));
    assert!(!is_bare_participle("is_made") && !is_bare_participle("Seed"));
    let text =
        "pub struct A;\nimpl B for C {\n    type D = u8;\n}\n#[cfg(test)]\nmod t {\nstruct E;\n}\n";
    assert_eq!(types(text), [(0, "A")]);
    assert_eq!(variants("enum A {\n    Left(u8),\n    /// b\n    Whole,\n}\n").len(), 2);

    let source =
        rust("let said = 'a'; // it said\nlet b: &'static str = \"by\\\" hand\"; r#\"anew\"#");
    let found: Vec<_> = prose(&source).into_iter().map(|range| &source.text[range]).collect();
    assert_eq!(found, ["// it said\n", "\"by\\\" hand\"", "r#\"anew\"#"]);
    assert_eq!(retired_in("/// done by\n/// hand")[0].1, "by hand");
    assert!(retired_in("the stand-in").is_empty());
    let line = "let Some((mut made, a)) = b else { for said in c { let told: u8 = 1; } };";
    assert_eq!(bound(line).collect::<Vec<_>>(), ["made", "told", "said"]);
    assert_eq!(bound("let mut made = 1; // let said").collect::<Vec<_>>(), ["made"]);
}
