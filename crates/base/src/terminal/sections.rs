//! Collapsible sections in GitLab's job logs, one per task, for parallel tasks.
//!
//! A log is one stream, and GitLab's sections cannot overlap. One task prints immediately, and the others
//! buffer their lines until it has ended.

use std::collections::VecDeque;

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// GitLab's section marker, with control characters that must reach it
    /// (<https://docs.gitlab.com/ci/jobs/job_logs/#create-custom-collapsible-sections>).
    Mark(String),
    /// A line.
    Line(String),
}

/// The sections of a log.
#[derive(Debug, Default)]
pub struct Sections {
    live: Option<OutputSection>,
    waiting: VecDeque<OutputSection>,
    count: usize,
}

#[derive(Debug)]
struct OutputSection {
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
    /// Starts a task and returns its id. `now` is in seconds since 1970.
    pub fn start(&mut self, title: &str, now: u64) -> (usize, Vec<Chunk>) {
        self.count += 1;
        let (id, title, lines) = (self.count, title.to_owned(), Vec::new());
        self.waiting.push_back(OutputSection { id, title, started: now, lines, ended: None });
        (id, self.advance())
    }

    /// Prints or buffers a line of a task.
    pub fn line(&mut self, id: usize, line: &str) -> Vec<Chunk> {
        if self.live.as_ref().is_some_and(|live| live.id == id) {
            return vec![Chunk::Line(line.to_owned())];
        }
        match self.waiting.iter_mut().find(|section| section.id == id) {
            Some(section) => {
                section.lines.push(line.to_owned());
                Vec::new()
            }
            None => vec![Chunk::Line(line.to_owned())],
        }
    }

    /// Ends a task. `outcome` follows its section, so that it is visible if the section is collapsed.
    /// Sections of successful tasks are collapsed.
    pub fn end(&mut self, id: usize, good: bool, outcome: &str, now: u64) -> Vec<Chunk> {
        let end = End { at: now, good, outcome: outcome.to_owned() };
        if let Some(live) = self.live.take_if(|live| live.id == id) {
            let mut chunks = live.close(&end);
            chunks.extend(self.advance());
            return chunks;
        }
        if let Some(section) = self.waiting.iter_mut().find(|section| section.id == id) {
            section.ended = Some(end);
        }
        Vec::new()
    }

    /// Prints ended sections, then makes the oldest running one print immediately.
    fn advance(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while self.live.is_none() {
            let ended = self.waiting.iter().position(|section| section.ended.is_some());
            let Some(mut section) = self.waiting.remove(ended.unwrap_or(0)) else {
                break;
            };
            chunks.push(section.open());
            chunks.extend(std::mem::take(&mut section.lines).into_iter().map(Chunk::Line));
            match &section.ended {
                Some(end) => chunks.extend(section.close(end)),
                None => self.live = Some(section),
            }
        }
        chunks
    }
}

impl OutputSection {
    /// Returns a unique name of letters, digits and `.-`.
    fn name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        format!("{}-{}", self.title.chars().map(plain).collect::<String>(), self.id)
    }

    fn open(&self) -> Chunk {
        let succeeded = self.ended.as_ref().is_some_and(|end| end.good);
        let collapsed = if succeeded { "[collapsed=true]" } else { "" };
        let (name, OutputSection { title, started, .. }) = (self.name(), self);
        Chunk::Mark(format!("\x1b[0Ksection_start:{started}:{name}{collapsed}\r\x1b[0K{title}\n"))
    }

    fn close(&self, end: &End) -> Vec<Chunk> {
        let mark = format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K\n", end.at, self.name());
        let outcome = (!end.outcome.is_empty()).then(|| Chunk::Line(end.outcome.clone()));
        std::iter::once(Chunk::Mark(mark)).chain(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn text(chunks: &[Chunk]) -> String {
        let text = |chunk: &Chunk| match chunk {
            Chunk::Mark(mark) => mark.replace('\x1b', "").replace("[0K", "").replace('\r', " "),
            Chunk::Line(line) => format!("{line}\n"),
        };
        chunks.iter().map(text).collect()
    }

    #[test]
    fn one_task_prints_immediately_and_the_others_wait() {
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
        fn sections_never_overlap_or_lose_lines(events in prop::collection::vec((0..4_usize, 0..3_u8), 0..60)) {
            let names = ["a", "b", "c", "d"];
            let mut log = Sections::default();
            let (mut open, mut printed, mut last_output) = ([None; 4], Vec::new(), 0);
            for (task, event) in events {
                match (event, open[task]) {
                    (0, None) => {
                        let (id, chunks) = log.start(names[task], 0);
                        printed.extend(chunks);
                        open[task] = Some(id);
                    }
                    (1, Some(id)) => { printed.extend(log.line(id, names[task])); last_output += 1; }
                    (2, Some(id)) => { printed.extend(log.end(id, true, "", 0)); open[task] = None; }
                    _ => {}
                }
            }
            for id in open.into_iter().flatten() {
                printed.extend(log.end(id, true, "", 0));
            }
            let mut inside: Option<String> = None;
            let mut seen = 0;
            for chunk in &printed {
                match chunk {
                    Chunk::Line(line) => { prop_assert_eq!(inside.as_ref(), Some(line)); seen += 1; }
                    Chunk::Mark(mark) if mark.contains("section_start") => {
                        prop_assert!(inside.is_none());
                        inside = mark.trim_end().chars().last().map(String::from);
                    }
                    Chunk::Mark(_) => { prop_assert!(inside.take().is_some()); }
                }
            }
            prop_assert_eq!((inside, seen), (None, last_output));
        }
    }
}
