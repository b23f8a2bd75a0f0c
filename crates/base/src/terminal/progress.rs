//! Lines of progress: one a task, redrawn in place on a terminal, one a step elsewhere.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::ColorChoice;
use anstream::adapter::strip_str;

use super::sections::{Piece, Sections};
use super::{DIM, GREEN, RED, Ui, paint};
use crate::time::unix_now;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const TICK: Duration = Duration::from_millis(100);

/// How much of a child's line is kept; no terminal shows more.
const LONGEST: usize = 400;

struct Line {
    name: String,
    step: String,
    /// The last line of the child's output in this step.
    said: String,
    started: Instant,
}

impl Line {
    fn text(&self, frame: &str) -> String {
        let time = paint(DIM, &seconds(self.started.elapsed()));
        // One row each: a line break would be another.
        let said = paint(DIM, &crate::text::sanitize(&self.said).replace('\n', " "));
        format!("{frame} {}  {} {time}  {said}", self.name, self.step)
    }
}

/// What is drawn at the bottom of the terminal.
pub struct Board {
    animated: bool,
    sections: Option<Sections>,
    lines: Vec<Line>,
    drawn: usize,
    frame: usize,
}

impl Board {
    pub(super) fn new(animated: bool, sections: bool) -> Board {
        let sections = (sections && !animated).then(Sections::default);
        Board { animated, sections, lines: Vec::new(), drawn: 0, frame: 0 }
    }

    /// Prints `text` above the lines of progress.
    pub(super) fn above(&mut self, text: &str) {
        self.clear();
        let _closed = writeln!(anstream::stderr(), "{}", crate::text::sanitize(text));
        self.draw();
    }

    /// Prints what sections have to say. Marks go around the filter that drops control characters.
    fn show(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Line(line) => self.above(&line),
                Piece::Mark(mark) => write_raw(&mark),
            }
        }
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            write_raw(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if !self.animated || self.lines.is_empty() {
            return;
        }
        let frame = FRAMES[self.frame % FRAMES.len()];
        let lines: Vec<String> = self.lines.iter().map(|line| line.text(frame)).collect();
        write_raw(&unwrapped(&lines, anstream::stderr().current_choice() != ColorChoice::Never));
        self.drawn = lines.len();
    }

    fn tick(&mut self) {
        self.frame += 1;
        self.clear();
        self.draw();
    }
}

/// Lines that take one row each however narrow the terminal is, also after its size has changed: it
/// cuts off what does not fit while its automatic wrapping is off (DECAWM,
/// <https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>). Some terminals then show the very last
/// character in the last column, so that is a space.
fn unwrapped(lines: &[String], colour: bool) -> String {
    let text: String = lines.iter().map(|line| format!("{line} \r\n")).collect();
    let text = if colour { text } else { strip_str(&text).to_string() };
    format!("\x1b[?7l{text}\x1b[?7h")
}

/// Writes to a terminal past the filter that takes out colours, which would take out movements too.
fn write_raw(text: &str) {
    let mut err = std::io::stderr().lock();
    let _closed = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// One line of progress. It disappears when it is dropped.
pub struct Task {
    ui: Ui,
    board: Arc<Mutex<Board>>,
    name: String,
    section: Option<usize>,
    outcome: Option<(bool, String)>,
    started: Instant,
}

impl Task {
    pub(super) fn start(ui: Ui, board: Arc<Mutex<Board>>, name: &str) -> Task {
        let (first, section) = {
            let mut locked = board.lock().unwrap_or_else(PoisonError::into_inner);
            locked.lines.push(Line {
                name: name.to_owned(),
                step: String::new(),
                said: String::new(),
                started: Instant::now(),
            });
            let started = locked.sections.as_mut().map(|log| log.start(name, unix_now()));
            let section = started.map(|(id, pieces)| {
                locked.show(pieces);
                id
            });
            (locked.animated && locked.lines.len() == 1, section)
        };
        if first {
            let ticking = Arc::clone(&board);
            std::thread::spawn(move || animate(&ticking));
        }
        let name = name.to_owned();
        Task { ui, board, name, section, outcome: None, started: Instant::now() }
    }

    /// Says what is being done now.
    pub fn step(&self, step: &str) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.animated {
            if let Some(line) = board.lines.iter_mut().find(|line| line.name == self.name) {
                step.clone_into(&mut line.step);
                line.said.clear();
            }
        } else {
            drop(board);
            self.say(&format!("{}: {step}", self.name));
        }
    }

    /// Prints a line in the task's section, where there are sections.
    fn say(&self, line: &str) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.section, board.sections.as_mut()) {
            (Some(id), Some(log)) => {
                let pieces = log.line(id, line);
                board.show(pieces);
            }
            _ => {
                drop(board);
                self.ui.note(line);
            }
        }
    }

    /// Shows a line of a child's output: behind the step on a terminal, until the next one comes, and
    /// for good where that was asked for.
    pub fn output(&self, line: &str) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.animated {
            if let Some(ours) = board.lines.iter_mut().find(|line| line.name == self.name) {
                ours.said = line.chars().take(LONGEST).collect();
            }
            return;
        }
        drop(board);
        if self.ui.verbose() {
            self.say(&format!("{}{line}", paint(DIM, &format!("{} | ", self.name))));
        }
    }

    /// Ends the line with a result.
    pub fn end(mut self, good: bool, text: &str) {
        let mark = if good { paint(GREEN, "✓") } else { paint(RED, "✗") };
        let time = paint(DIM, &seconds(self.started.elapsed()));
        let line = format!("{mark} {}  {text} {time}", self.name);
        let (ui, sections) = (self.ui.clone(), self.section.is_some());
        self.outcome = Some((good, line.clone()));
        drop(self);
        if !sections {
            ui.note(&line);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.clear();
        if let Some(at) = board.lines.iter().position(|line| line.name == self.name) {
            board.lines.remove(at);
        }
        if let (Some(id), Some(log)) = (self.section, board.sections.as_mut()) {
            let (good, line) = self.outcome.take().unwrap_or_default();
            let pieces = log.end(id, good, &line, unix_now());
            board.show(pieces);
        }
        board.draw();
    }
}

fn animate(board: &Mutex<Board>) {
    loop {
        std::thread::sleep(TICK);
        let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.lines.is_empty() {
            return;
        }
        board.tick();
    }
}

/// A duration as people read it: `0.4s`, `12.3s`, `2m05s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole >= 60 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        format!("{:.1}s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_takes_one_row_and_ends_blank() {
        let line = Line {
            name: "site".to_owned(),
            step: "build".to_owned(),
            said: "x".repeat(300),
            started: Instant::now(),
        };
        let text = unwrapped(&[line.text("*"), line.text("*")], false);
        let inner = text.strip_prefix("\x1b[?7l").and_then(|text| text.strip_suffix("\x1b[?7h"));
        let rows: Vec<&str> = inner.expect("wrapping is off in between").lines().collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].starts_with("* site  build 0.0s  xxx"), "{}", rows[0]);
        assert!(rows[0].ends_with("x "), "{}", rows[0]);
        assert!(!inner.expect("text").contains('\u{1b}'));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2s");
        assert_eq!(seconds(Duration::from_secs(125)), "2m05s");
    }
}
