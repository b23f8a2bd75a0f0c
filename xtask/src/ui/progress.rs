//! Lines of progress: one a task, redrawn in place on a terminal, one a step elsewhere.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{DIM, GREEN, RED, Ui, paint};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const TICK: Duration = Duration::from_millis(100);

struct Line {
    name: String,
    step: String,
    started: Instant,
}

/// What is drawn at the bottom of the terminal.
pub struct Board {
    animated: bool,
    lines: Vec<Line>,
    drawn: usize,
    frame: usize,
}

impl Board {
    pub(super) fn new(animated: bool) -> Board {
        Board { animated, lines: Vec::new(), drawn: 0, frame: 0 }
    }

    /// Prints `text` above the lines of progress.
    pub(super) fn above(&mut self, text: &str) {
        self.clear();
        let _closed = writeln!(anstream::stderr(), "{text}");
        self.draw();
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            let _closed = write!(anstream::stderr(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if !self.animated {
            return;
        }
        let frame = FRAMES[self.frame % FRAMES.len()];
        let mut text = String::new();
        for line in &self.lines {
            let time = paint(DIM, &seconds(line.started.elapsed()));
            text += &format!("{frame} {}  {} {time}\n", line.name, line.step);
        }
        self.drawn = self.lines.len();
        let mut err = anstream::stderr().lock();
        let _closed = write!(err, "{text}").and_then(|()| err.flush());
    }

    fn tick(&mut self) {
        self.frame += 1;
        self.clear();
        self.draw();
    }
}

/// One line of progress. It disappears when it is dropped.
pub struct Task {
    ui: Ui,
    board: Arc<Mutex<Board>>,
    name: String,
    started: Instant,
}

impl Task {
    pub(super) fn start(ui: Ui, board: Arc<Mutex<Board>>, name: &str) -> Task {
        let first = {
            let mut locked = board.lock().unwrap_or_else(PoisonError::into_inner);
            locked.lines.push(Line {
                name: name.to_owned(),
                step: String::new(),
                started: Instant::now(),
            });
            locked.animated && locked.lines.len() == 1
        };
        if first {
            let ticking = Arc::clone(&board);
            std::thread::spawn(move || animate(&ticking));
        }
        Task { ui, board, name: name.to_owned(), started: Instant::now() }
    }

    /// Says what is being done now.
    pub fn step(&self, step: &str) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.animated {
            if let Some(line) = board.lines.iter_mut().find(|line| line.name == self.name) {
                step.clone_into(&mut line.step);
            }
        } else {
            drop(board);
            self.ui.note(&format!("{}: {step}", self.name));
        }
    }

    /// Shows a line of a child's output where that was asked for.
    pub fn output(&self, line: &str) {
        if self.ui.verbose() {
            self.ui.note(&format!("{}{line}", paint(DIM, &format!("{} | ", self.name))));
        }
    }

    /// Ends the line with a result.
    pub fn end(self, good: bool, text: &str) {
        let mark = if good { paint(GREEN, "✓") } else { paint(RED, "✗") };
        let time = paint(DIM, &seconds(self.started.elapsed()));
        let (ui, name) = (self.ui.clone(), self.name.clone());
        drop(self);
        ui.note(&format!("{mark} {name}  {text} {time}"));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.clear();
        if let Some(at) = board.lines.iter().position(|line| line.name == self.name) {
            board.lines.remove(at);
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
    fn durations_are_short() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2s");
        assert_eq!(seconds(Duration::from_secs(125)), "2m05s");
    }
}
