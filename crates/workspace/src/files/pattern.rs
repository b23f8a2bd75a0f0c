//! Folder patterns of `workspaces`, `pnpm-workspace.yaml` and `projects` of the shared config. Each
//! pattern is compiled to a small automaton (NFA). All its states are followed in parallel, so no
//! pattern takes exponential time.

use camino::Utf8Path;

/// The maximum length of a pattern.
const MAX_LENGTH: usize = 4096;

/// The maximum number of patterns in a list.
const MAX_PATTERNS: usize = 2000;

/// The maximum nesting of `{…}` and `(…)`.
const MAX_NESTING: usize = 32;

/// A list of patterns. A pattern that begins with `!` excludes folders, at any position in the list.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    included: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

impl Patterns {
    /// Compiles `patterns`. The error names the pattern that exceeds a limit.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Patterns, String> {
        let mut compiled = Patterns::default();
        for (count, pattern) in patterns.into_iter().enumerate() {
            if count >= MAX_PATTERNS {
                return Err(format!("there are more than {MAX_PATTERNS} patterns"));
            }
            let pattern = pattern.as_ref();
            match pattern.strip_prefix('!').filter(|rest| !rest.starts_with('(')) {
                Some(pattern) => compiled.excluded.push(Pattern::new(pattern)?),
                None => compiled.included.push(Pattern::new(pattern)?),
            }
        }
        Ok(compiled)
    }

    /// Returns true if no pattern can match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.included.is_empty()
    }

    /// Returns true if `dir`, relative to the folder of the patterns, matches.
    #[must_use]
    pub fn matches(&self, dir: &Utf8Path) -> bool {
        let hit = |pattern: &Pattern| pattern.matches(dir.as_str());
        self.included.iter().any(hit) && !self.excluded.iter().any(hit)
    }
}

/// One pattern. `*` and `?` stay within one folder's name, `**` matches any number of folders,
/// `{a,b}` and `@(a|b)` match either, `[a-z]` matches one character. `!(a)` counts as `*`.
#[derive(Clone, Debug)]
struct Pattern {
    steps: Vec<PatternState>,
    /// The characters that every match begins with.
    prefix: String,
    matches_root: bool,
}

/// One state of the automaton.
#[derive(Clone, Debug)]
enum PatternState {
    Char(char),
    /// Any character but the slash.
    Any,
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// Continues at both states without reading.
    Either(usize, usize),
    /// Continues at another state without reading.
    Jump(usize),
    Match,
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, String> {
        let cut = || text.chars().take(40).collect::<String>();
        if text.len() > MAX_LENGTH {
            return Err(format!("the pattern `{}…` has more than {MAX_LENGTH} characters", cut()));
        }
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        let text = parts.collect::<Vec<_>>().join("/");
        let chars: Vec<char> = text.chars().collect();
        let mut compiler = Compiler { chars: &chars, at: 0, steps: Vec::new() };
        compiler
            .sequence(&[], 0)
            .map_err(|()| format!("the pattern `{}…` is nested too deeply", cut()))?;
        compiler.steps.push(PatternState::Match);
        let plain = |c: &char| !"*?{}[]()!@+\\,|".contains(*c);
        let special = chars.iter().position(|c| !plain(c));
        // `a/**` also matches `a`.
        let fixed = special.map_or(chars.as_slice(), |at| &chars[..at.saturating_sub(1)]);
        Ok(Pattern {
            prefix: fixed.iter().collect(),
            matches_root: text.is_empty() || text == "**",
            steps: compiler.steps,
        })
    }

    fn matches(&self, path: &str) -> bool {
        if path.is_empty() {
            return self.matches_root;
        }
        if !path.starts_with(self.prefix.as_str()) {
            return false;
        }
        let mut states = States::new(self.steps.len());
        let mut next = States::new(self.steps.len());
        states.add(&self.steps, 0);
        for c in path.chars() {
            for at in states.list.drain(..) {
                let read = match &self.steps[at] {
                    PatternState::Char(expected) => *expected == c,
                    PatternState::Any => c != '/',
                    PatternState::Class { ranges, negated } => {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        c != '/' && inside != *negated
                    }
                    PatternState::Either(..) | PatternState::Jump(_) | PatternState::Match => false,
                };
                if read {
                    next.add(&self.steps, at + 1);
                }
            }
            states.seen.fill(false);
            std::mem::swap(&mut states, &mut next);
            if states.list.is_empty() {
                return false;
            }
        }
        states.list.iter().any(|at| matches!(self.steps[*at], PatternState::Match))
    }
}

/// The states that the automaton is in.
struct States {
    list: Vec<usize>,
    seen: Vec<bool>,
    waiting: Vec<usize>,
}

impl States {
    fn new(count: usize) -> States {
        States { list: Vec::new(), seen: vec![false; count], waiting: Vec::new() }
    }

    /// Adds a state and those that it continues at without reading.
    fn add(&mut self, steps: &[PatternState], at: usize) {
        self.waiting.push(at);
        while let Some(at) = self.waiting.pop() {
            if std::mem::replace(&mut self.seen[at], true) {
                continue;
            }
            match &steps[at] {
                PatternState::Either(one, other) => self.waiting.extend([*other, *one]),
                PatternState::Jump(to) => self.waiting.push(*to),
                _ => self.list.push(at),
            }
        }
    }
}

/// The parser of a pattern.
struct Compiler<'p> {
    chars: &'p [char],
    at: usize,
    steps: Vec<PatternState>,
}

impl Compiler<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Compiles up to the end, or up to one of the characters in `ends`. Fails if the nesting is too deep.
    fn sequence(&mut self, ends: &[char], depth: usize) -> Result<(), ()> {
        if depth > MAX_NESTING {
            return Err(());
        }
        while let Some(c) = self.peek(0) {
            if ends.contains(&c) {
                return Ok(());
            }
            match c {
                '*' | '+' | '@' | '?' | '!' if self.peek(1) == Some('(') => self.group(c, depth)?,
                '/' if self.stands_for_folders(1, ends) => self.folders_below(ends),
                '*' if self.begins_name() && self.stands_for_folders(0, ends) => {
                    self.folders_above(ends);
                }
                '*' => {
                    while self.peek(0) == Some('*') {
                        self.at += 1;
                    }
                    self.any_number(|steps| steps.push(PatternState::Any));
                }
                '?' => self.push(PatternState::Any),
                '[' => self.class(),
                '{' => self.braces(depth)?,
                '\\' if self.peek(1).is_some() => {
                    self.at += 1;
                    self.push(PatternState::Char(self.chars[self.at]));
                }
                _ => self.push(PatternState::Char(c)),
            }
        }
        Ok(())
    }

    fn push(&mut self, step: PatternState) {
        self.steps.push(step);
        self.at += 1;
    }

    fn begins_name(&self) -> bool {
        self.at == 0 || matches!(self.chars[self.at - 1], '/' | '{' | '(' | ',' | '|')
    }

    /// Returns true if a `**` component follows.
    fn stands_for_folders(&self, ahead: usize, ends: &[char]) -> bool {
        let two = self.peek(ahead) == Some('*') && self.peek(ahead + 1) == Some('*');
        two && self.peek(ahead + 2).is_none_or(|c| c == '/' || ends.contains(&c))
    }

    /// Compiles `/**`: any number of folders below, including none.
    fn folders_below(&mut self, ends: &[char]) {
        if self.peek(3) == Some('/') && !ends.contains(&'/') {
            self.push(PatternState::Char('/'));
            self.folders_above(ends);
            return;
        }
        self.at += 3;
        self.any_number(|steps| {
            steps.push(PatternState::Char('/'));
            name(steps);
        });
    }

    /// Compiles `**/`, or a `**` that is the whole pattern.
    fn folders_above(&mut self, ends: &[char]) {
        if self.peek(2) == Some('/') && !ends.contains(&'/') {
            self.at += 3;
            self.any_number(|steps| {
                name(steps);
                steps.push(PatternState::Char('/'));
            });
        } else {
            self.at += 2;
            name(&mut self.steps);
            self.any_number(|steps| {
                steps.push(PatternState::Char('/'));
                name(steps);
            });
        }
    }

    /// Compiles zero or more repetitions of the states that `body` pushes.
    fn any_number(&mut self, body: impl FnOnce(&mut Vec<PatternState>)) {
        let start = self.steps.len();
        self.steps.push(PatternState::Match);
        body(&mut self.steps);
        self.steps.push(PatternState::Jump(start));
        self.steps[start] = PatternState::Either(start + 1, self.steps.len());
    }

    /// Compiles a character class, or an unclosed bracket.
    fn class(&mut self) {
        let rest = &self.chars[self.at + 1..];
        let negated = matches!(rest.first(), Some('!' | '^'));
        let begin = usize::from(negated);
        // A bracket in the first position is one of the characters.
        let close = rest.iter().skip(begin + 1).position(|c| *c == ']').map(|at| at + begin + 1);
        let Some(close) = close else {
            self.push(PatternState::Char('['));
            return;
        };
        let (mut ranges, mut inside) = (Vec::new(), &rest[begin..close]);
        while let [low, more @ ..] = inside {
            match more {
                ['-', high, after @ ..] => {
                    ranges.push((*low, *high));
                    inside = after;
                }
                _ => {
                    ranges.push((*low, *low));
                    inside = more;
                }
            }
        }
        self.at += close + 1;
        self.push(PatternState::Class { ranges, negated });
    }

    /// Compiles `{a,b}`. `{1..9}` matches any text, and an unclosed brace is a character.
    fn braces(&mut self, depth: usize) -> Result<(), ()> {
        let Some(close) = self.closing('{', '}') else {
            self.push(PatternState::Char('{'));
            return Ok(());
        };
        let inside: String = self.chars[self.at + 1..close].iter().collect();
        if inside.contains("..") && !inside.contains([',', '{']) {
            self.at = close + 1;
            self.any_number(|steps| steps.push(PatternState::Any));
            return Ok(());
        }
        self.choices(',', '}', depth)
    }

    /// Compiles `@(a|b)` and the other extended patterns.
    fn group(&mut self, kind: char, depth: usize) -> Result<(), ()> {
        self.at += 1;
        let Some(close) = self.closing('(', ')') else {
            self.at -= 1;
            self.push(if kind == '?' { PatternState::Any } else { PatternState::Char(kind) });
            return Ok(());
        };
        let start = self.steps.len();
        match kind {
            '!' => {
                self.at = close + 1;
                self.any_number(|steps| steps.push(PatternState::Any));
                return Ok(());
            }
            '@' => return self.choices('|', ')', depth),
            '+' => {
                self.choices('|', ')', depth)?;
                self.steps.push(PatternState::Either(start, self.steps.len() + 1));
            }
            _ => {
                self.steps.push(PatternState::Match);
                self.choices('|', ')', depth)?;
                if kind == '*' {
                    self.steps.push(PatternState::Jump(start));
                }
                self.steps[start] = PatternState::Either(start + 1, self.steps.len());
            }
        }
        Ok(())
    }

    /// Compiles the choices that follow an opening bracket.
    fn choices(&mut self, separator: char, close: char, depth: usize) -> Result<(), ()> {
        let mut jumps = Vec::new();
        loop {
            self.at += 1;
            let fork = self.steps.len();
            self.steps.push(PatternState::Match);
            self.sequence(&[separator, close], depth + 1)?;
            jumps.push(self.steps.len());
            self.steps.push(PatternState::Match);
            if self.peek(0) == Some(separator) {
                self.steps[fork] = PatternState::Either(fork + 1, self.steps.len());
            } else {
                self.steps[fork] = PatternState::Jump(fork + 1);
                self.at += 1;
                break;
            }
        }
        let end = self.steps.len();
        jumps.into_iter().for_each(|at| self.steps[at] = PatternState::Jump(end));
        Ok(())
    }

    /// Returns the index of the bracket that closes the one at the current position.
    fn closing(&self, open: char, close: char) -> Option<usize> {
        let mut depth = 0;
        for (at, c) in self.chars.iter().enumerate().skip(self.at) {
            if *c == open {
                depth += 1;
            } else if *c == close {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }
}

/// Compiles one component of any characters.
fn name(steps: &mut Vec<PatternState>) {
    let start = steps.len();
    steps.extend([PatternState::Any, PatternState::Either(start, start + 2)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[&str], dir: &str) -> bool {
        Patterns::new(patterns).expect("within the limits").matches(Utf8Path::new(dir))
    }

    #[test]
    fn patterns_of_real_workspaces() {
        for (patterns, dir, expected) in [
            (&["packages/*"][..], "packages/ui", true),
            (&["packages/*"], "packages/ui/deep", false),
            (&["./packages/*/"], "packages/ui", true),
            (&["packages/**"], "packages/ui/deep", true),
            (&["packages/**"], "packages", true),
            (&["packages/**"], "packages2", false),
            (&["**"], "any/where", true),
            (&["**"], "", true),
            (&["*"], "", false),
            (&["."], "", true),
            (&["apps/web"], "apps/web", true),
            (&["apps/web"], "apps/web2", false),
            (&["apps/*-site"], "apps/a-site", true),
            (&["apps/*-site"], "apps/-site", true),
            (&["{apps,packages}/*"], "apps/a", true),
            (&["packages/*", "!packages/old"], "packages/old", false),
            (&["!**/test/**", "**"], "a/test/b", false),
            (&["packages/*"], "", false),
            (&["a/**/b"], "a/b", true),
            (&["a/**/b"], "a/x/y/b", true),
            (&["a/**/b"], "a/x/y/c", false),
            (&["**/b"], "b", true),
            (&["**/b/*"], "a/b/c", true),
            (&["a**b"], "a/b", false),
            (&["a**b"], "axb", true),
            (&["{apps/**,libs/{ui,api}}"], "apps/a/b", true),
            (&["{apps/**,libs/{ui,api}}"], "libs/api", true),
            (&["{apps/**,libs/{ui,api}}"], "libs/old", false),
            (&["apps/[a-c]?"], "apps/b1", true),
            (&["apps/[!a-c]?"], "apps/b1", false),
            (&["apps/[x"], "apps/[x", true),
            (&["apps/{x"], "apps/{x", true),
            (&["@(apps|libs)/+(a|b)"], "libs/abba", true),
            (&["@(apps|libs)/+(a|b)"], "libs/abc", false),
            (&["apps/!(old)"], "apps/new", true),
            (&["!(docs)"], "apps", true),
            (&["v{1..3}/x"], "v2/x", true),
            (&["caf\\*/ü?"], "caf*/üb", true),
        ] {
            assert_eq!(matches(patterns, dir), expected, "{patterns:?} {dir}");
        }
    }

    #[test]
    fn exponential_patterns_take_linear_time() {
        let deep = "a/".repeat(200) + "b";
        for (pattern, dir) in [
            ("**/".repeat(100) + "c", deep.as_str()),
            ("{a,a}".repeat(200), "b"),
            ("*a".repeat(300), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
            ("{a,aa}".repeat(150) + "c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
            ("+(a|aa)".repeat(50) + "c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
            ("*(*(*(*(a))))".repeat(20), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
        ] {
            assert!(!matches(&[&pattern], dir), "{pattern}");
        }
    }

    #[test]
    fn limits_are_errors() {
        let error = |patterns: &[String]| Patterns::new(patterns).expect_err("a limit");
        let long = error(&["a".repeat(5000)]);
        assert!(long.ends_with("has more than 4096 characters"), "{long}");
        let deep = error(&["{".repeat(50) + &"}".repeat(50)]);
        assert!(deep.ends_with("is nested too deeply"), "{deep}");
        assert_eq!(error(&vec!["a".to_owned(); 3000]), "there are more than 2000 patterns");
    }
}
