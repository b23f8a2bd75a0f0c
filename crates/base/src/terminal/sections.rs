//! Collapsible sections in GitLab's job logs, one a task, for tasks that run side by side.
//!
//! A log is one stream, and GitLab's sections cannot overlap. So one task writes as it goes, and the
//! others wait with their lines until it has ended.

use std::collections::VecDeque;

/// A part of what is to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// GitLab's mark, with control characters that must reach it
    /// (<https://docs.gitlab.com/ci/jobs/job_logs/#create-custom-collapsible-sections>).
    Mark(String),
    /// A line.
    Line(String),
}

/// The sections of a log.
#[derive(Debug, Default)]
pub struct Sections {
    live: Option<Section>,
    waiting: VecDeque<Section>,
    count: usize,
}

#[derive(Debug)]
struct Section {
    id: usize,
    title: String,
    started: u64,
    lines: Vec<String>,
    ended: Option<End>,
}

#[derive(Debug)]
struct End {
    at: u64,
    good: bool,
    outcome: String,
}

impl Sections {
    /// A task begins; returns what names it from now on. `now` is in seconds since 1970.
    pub fn start(&mut self, title: &str, now: u64) -> (usize, Vec<Piece>) {
        self.count += 1;
        let (id, title, lines) = (self.count, title.to_owned(), Vec::new());
        self.waiting.push_back(Section { id, title, started: now, lines, ended: None });
        (id, self.advance())
    }

    /// A task says something.
    pub fn line(&mut self, id: usize, line: &str) -> Vec<Piece> {
        if self.live.as_ref().is_some_and(|live| live.id == id) {
            return vec![Piece::Line(line.to_owned())];
        }
        match self.waiting.iter_mut().find(|section| section.id == id) {
            Some(section) => {
                section.lines.push(line.to_owned());
                Vec::new()
            }
            None => vec![Piece::Line(line.to_owned())],
        }
    }

    /// A task ends. `outcome` stands below its section, so that it is seen when that is collapsed, as
    /// those are that went well and need no look.
    pub fn end(&mut self, id: usize, good: bool, outcome: &str, now: u64) -> Vec<Piece> {
        let end = End { at: now, good, outcome: outcome.to_owned() };
        if let Some(live) = self.live.take_if(|live| live.id == id) {
            let mut pieces = live.close(&end);
            pieces.extend(self.advance());
            return pieces;
        }
        if let Some(section) = self.waiting.iter_mut().find(|section| section.id == id) {
            section.ended = Some(end);
        }
        Vec::new()
    }

    /// Prints sections that have ended, and lets the oldest other one write as it goes.
    fn advance(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while self.live.is_none() {
            let ended = self.waiting.iter().position(|section| section.ended.is_some());
            let Some(mut section) = self.waiting.remove(ended.unwrap_or(0)) else {
                break;
            };
            pieces.push(section.open());
            pieces.extend(std::mem::take(&mut section.lines).into_iter().map(Piece::Line));
            match &section.ended {
                Some(end) => pieces.extend(section.close(end)),
                None => self.live = Some(section),
            }
        }
        pieces
    }
}

impl Section {
    /// Letters, digits and `_.-`, and no name twice.
    fn name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        format!("{}-{}", self.title.chars().map(plain).collect::<String>(), self.id)
    }

    fn open(&self) -> Piece {
        let good = self.ended.as_ref().is_some_and(|end| end.good);
        let collapsed = if good { "[collapsed=true]" } else { "" };
        let (name, Section { title, started, .. }) = (self.name(), self);
        Piece::Mark(format!("\x1b[0Ksection_start:{started}:{name}{collapsed}\r\x1b[0K{title}\n"))
    }

    fn close(&self, end: &End) -> Vec<Piece> {
        let mark = format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K\n", end.at, self.name());
        let outcome = (!end.outcome.is_empty()).then(|| Piece::Line(end.outcome.clone()));
        std::iter::once(Piece::Mark(mark)).chain(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn text(pieces: &[Piece]) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Mark(mark) => mark.replace('\x1b', "").replace("[0K", "").replace('\r', " "),
            Piece::Line(line) => format!("{line}\n"),
        };
        pieces.iter().map(text).collect()
    }

    #[test]
    fn one_writes_as_it_goes_and_the_others_wait() {
        let mut log = Sections::default();
        let (a, mut printed) = log.start("a.com/website", 10);
        printed.extend(log.line(a, "build"));
        assert_eq!(printed.len(), 2, "at once");
        let (b, none) = log.start("b", 11);
        assert_eq!(none, []);
        let (c, _) = log.start("c", 12);
        printed.extend(log.line(b, "b builds"));
        printed.extend(log.line(c, "c builds"));
        printed.extend(log.end(c, true, "c is live", 13));
        printed.extend(log.line(a, "deploy"));
        printed.extend(log.end(a, true, "", 14));
        printed.extend(log.line(b, "b deploys"));
        printed.extend(log.end(b, false, "b failed", 15));
        expect![[r#"
            section_start:10:a.com-website-1 a.com/website
            build
            deploy
            section_end:14:a.com-website-1 
            section_start:12:c-3[collapsed=true] c
            c builds
            section_end:13:c-3 
            c is live
            section_start:11:b-2 b
            b builds
            b deploys
            section_end:15:b-2 
            b failed
        "#]]
        .assert_eq(&text(&printed));
    }

    proptest! {
        #[test]
        fn sections_never_overlap_and_lose_no_line(events in prop::collection::vec((0..4_usize, 0..3_u8), 0..60)) {
            let names = ["a", "b", "c", "d"];
            let mut log = Sections::default();
            let (mut open, mut printed, mut said) = ([None; 4], Vec::new(), 0);
            for (task, event) in events {
                match (event, open[task]) {
                    (0, None) => {
                        let (id, pieces) = log.start(names[task], 0);
                        printed.extend(pieces);
                        open[task] = Some(id);
                    }
                    (1, Some(id)) => { printed.extend(log.line(id, names[task])); said += 1; }
                    (2, Some(id)) => { printed.extend(log.end(id, true, "", 0)); open[task] = None; }
                    _ => {}
                }
            }
            for id in open.into_iter().flatten() {
                printed.extend(log.end(id, true, "", 0));
            }
            let mut inside: Option<String> = None;
            let mut seen = 0;
            for piece in &printed {
                match piece {
                    Piece::Line(line) => { prop_assert_eq!(inside.as_ref(), Some(line)); seen += 1; }
                    Piece::Mark(mark) if mark.contains("section_start") => {
                        prop_assert!(inside.is_none());
                        inside = mark.trim_end().chars().last().map(String::from);
                    }
                    Piece::Mark(_) => { prop_assert!(inside.take().is_some()); }
                }
            }
            prop_assert_eq!((inside, seen), (None, said));
        }
    }
}
