//! Progress: one line per task that is redrawn on a terminal, or one line per step elsewhere.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anstream::ColorChoice;
use anstream::adapter::strip_str;

use super::sections::{Chunk, Sections};
use super::{DIM, GREEN, RED, Ui, paint};
use crate::mutex;
use crate::time::unix_now;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The time after which a running step is printed again in a log, to show that the run is active. In seconds, from
/// [`INTERVAL_VARIABLE`]. 0 turns this off.
const INTERVAL: Duration = Duration::from_secs(30);

/// The variable that replaces [`INTERVAL`].
const INTERVAL_VARIABLE: &str = "XTASK_PROGRESS_INTERVAL";

/// The number of characters of a child's line that are kept. No terminal shows more.
const MAX_LINE_LENGTH: usize = 400;

struct Line {
    name: String,
    step: String,
    /// The last line of the child's output in this step.
    last_output: String,
    started: Instant,
    /// The last time at which a log got a line about this task.
    printed: Instant,
    section: Option<usize>,
}

impl Line {
    fn text(&self, frame: &str) -> String {
        let time = paint(DIM, &seconds(self.started.elapsed()));
        format!("{frame} {}  {} {time}  {}", self.name, self.step, paint(DIM, &self.last_line()))
    }

    /// Returns the line for a log.
    fn log_text(&self) -> String {
        let time = paint(DIM, &seconds(self.started.elapsed()));
        let text = format!("{}: {} {time}", self.name, self.step);
        match self.last_line() {
            line if line.is_empty() => text,
            line => format!("{text}  {}", paint(DIM, &line)),
        }
    }

    /// Returns the child's last line. A line break would take a second row.
    fn last_line(&self) -> String {
        crate::text::sanitize(&self.last_output).replace('\n', " ")
    }
}

/// The lines of progress at the bottom of the terminal.
pub struct ProgressArea {
    animated: bool,
    sections: Option<Sections>,
    lines: Vec<Line>,
    drawn: usize,
    frame: usize,
    interval: Duration,
}

impl ProgressArea {
    pub(super) fn new(animated: bool, sections: bool) -> ProgressArea {
        let sections = (sections && !animated).then(Sections::default);
        let interval = crate::env::variable(INTERVAL_VARIABLE).and_then(|text| text.parse().ok());
        let interval = interval.map_or(INTERVAL, Duration::from_secs);
        ProgressArea { animated, sections, lines: Vec::new(), drawn: 0, frame: 0, interval }
    }

    /// Returns the lines for a log about tasks that printed nothing for the interval, each with its section.
    fn overdue(&mut self) -> Vec<(Option<usize>, String)> {
        let interval = self.interval;
        if interval.is_zero() {
            return Vec::new();
        }
        let overdue = self.lines.iter_mut().filter(|line| line.printed.elapsed() >= interval);
        let print = |line: &mut Line| {
            line.printed = Instant::now();
            (line.section, line.log_text())
        };
        overdue.map(print).collect()
    }

    /// Prints `text` above the lines of progress.
    pub(super) fn above(&mut self, text: &str) {
        let text = crate::secret::redact(&crate::text::sanitize(text));
        let _closed = self.without_lines(|| writeln!(anstream::stderr(), "{text}"));
    }

    /// Calls `print` while no lines of progress are drawn.
    pub(super) fn without_lines<T>(&mut self, print: impl FnOnce() -> T) -> T {
        self.clear();
        let printed = print();
        self.draw();
        printed
    }

    /// Prints chunks of sections. Marks bypass the filter for control characters.
    fn show(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            match chunk {
                Chunk::Line(line) => self.above(&line),
                Chunk::Mark(mark) => write_raw(&mark),
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
        write_raw(&without_wrapping(
            &lines,
            anstream::stderr().current_choice() != ColorChoice::Never,
        ));
        self.drawn = lines.len();
    }

    fn tick(&mut self) {
        self.frame += 1;
        self.clear();
        self.draw();
    }
}

/// Joins lines so that each takes one row at any width, even after a resize. Without automatic wrapping the
/// terminal cuts off what does not fit (DECAWM, <https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>).
/// Some terminals then show the very last character in the last column, so each line ends with a space.
fn without_wrapping(lines: &[String], colour: bool) -> String {
    let text: String = lines.iter().map(|line| format!("{line} \r\n")).collect();
    let text = if colour { text } else { strip_str(&text).to_string() };
    format!("\x1b[?7l{text}\x1b[?7h")
}

/// Writes to a terminal without the colour filter, which would remove cursor movements too.
fn write_raw(text: &str) {
    let mut err = std::io::stderr().lock();
    let _closed = err.write_all(crate::secret::redact(text).as_bytes()).and_then(|()| err.flush());
}

/// One line of progress. Dropping it removes the line.
pub struct ProgressLine {
    ui: Ui,
    area: Arc<Mutex<ProgressArea>>,
    name: String,
    section: Option<usize>,
    outcome: Option<(bool, String)>,
    started: Instant,
    /// The part of the run that the steps belong to, such as `[3/4] build`.
    phase: Mutex<Option<String>>,
}

impl ProgressLine {
    pub(super) fn start(ui: Ui, area: Arc<Mutex<ProgressArea>>, name: &str) -> ProgressLine {
        let (first, section) = {
            let mut locked = mutex::lock(&area);
            locked.lines.push(Line {
                name: name.to_owned(),
                step: String::new(),
                last_output: String::new(),
                started: Instant::now(),
                printed: Instant::now(),
                section: None,
            });
            let started = locked.sections.as_mut().map(|log| log.start(name, unix_now()));
            let section = started.map(|(id, chunks)| {
                locked.show(chunks);
                id
            });
            if let Some(line) = locked.lines.last_mut() {
                line.section = section;
            }
            (locked.lines.len() == 1, section)
        };
        if first {
            let (ticking, ui) = (Arc::clone(&area), ui.clone());
            std::thread::spawn(move || animate(&ui, &ticking));
        }
        let name = name.to_owned();
        let phase = Mutex::default();
        ProgressLine { ui, area, name, section, outcome: None, started: Instant::now(), phase }
    }

    /// Names the part of the run that the next steps belong to, such as `[3/4] build`. `None` if the run has no
    /// numbered parts.
    pub fn phase(&self, phase: Option<String>) {
        *mutex::lock(&self.phase) = phase;
    }

    /// Shows the current step.
    pub fn step(&self, step: &str) {
        let phase = mutex::lock(&self.phase).clone();
        let step = &in_phase(phase.as_deref(), step);
        let mut area = mutex::lock(&self.area);
        if let Some(line) = area.lines.iter_mut().find(|line| line.name == self.name) {
            step.clone_into(&mut line.step);
            line.last_output.clear();
            line.printed = Instant::now();
        }
        if !area.animated {
            drop(area);
            self.say(&format!("{}: {step}", self.name));
        }
    }

    /// Prints a line in the task's section, or as a note if the log has no sections.
    fn say(&self, line: &str) {
        print(&self.ui, &self.area, self.section, line);
    }

    /// Shows a line of a child's output behind the step on a terminal, until the next line replaces it. A log gets the
    /// last line of a step that takes long, or every line with `--verbose`.
    pub fn output(&self, line: &str) {
        let mut area = mutex::lock(&self.area);
        if let Some(ours) = area.lines.iter_mut().find(|line| line.name == self.name) {
            ours.last_output = line.chars().take(MAX_LINE_LENGTH).collect();
        }
        let animated = area.animated;
        drop(area);
        if !animated && self.ui.verbose() {
            self.say(&format!("{}{line}", paint(DIM, &format!("{} | ", self.name))));
        }
    }

    /// Replaces the line with a result.
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

impl Drop for ProgressLine {
    fn drop(&mut self) {
        let mut area = mutex::lock(&self.area);
        area.clear();
        if let Some(at) = area.lines.iter().position(|line| line.name == self.name) {
            area.lines.remove(at);
        }
        if let (Some(id), Some(log)) = (self.section, area.sections.as_mut()) {
            let (good, line) = self.outcome.take().unwrap_or_default();
            let chunks = log.end(id, good, &line, unix_now());
            area.show(chunks);
        }
        area.draw();
    }
}

/// Returns a step with the part of the run that it belongs to. A step that is called like its part is not repeated.
fn in_phase(phase: Option<&str>, step: &str) -> String {
    match phase {
        None => step.to_owned(),
        Some(phase) if phase.rsplit(' ').next() == Some(step) => phase.to_owned(),
        Some(phase) => format!("{phase}: {step}"),
    }
}

/// Prints a line in a section, or as a note if the log has no sections.
fn print(ui: &Ui, area: &Mutex<ProgressArea>, section: Option<usize>, line: &str) {
    let mut area = mutex::lock(area);
    match (section, area.sections.as_mut()) {
        (Some(id), Some(log)) => {
            let chunks = log.line(id, line);
            area.show(chunks);
        }
        _ => {
            drop(area);
            ui.note(line);
        }
    }
}

/// Redraws the lines on a terminal, or prints those of long steps in a log, until no task is left.
fn animate(ui: &Ui, area: &Mutex<ProgressArea>) {
    loop {
        std::thread::sleep(FRAME_INTERVAL);
        let mut locked = mutex::lock(area);
        if locked.lines.is_empty() {
            return;
        }
        if locked.animated {
            locked.tick();
            continue;
        }
        let overdue = locked.overdue();
        drop(locked);
        for (section, line) in overdue {
            print(ui, area, section, &line);
        }
    }
}

/// Formats a duration: `0.4s`, `12.3s`, `2m05s`.
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
    fn a_progress_line_takes_one_row_and_is_cleared() {
        let line = Line {
            name: "site".to_owned(),
            step: "build".to_owned(),
            last_output: "x".repeat(300),
            started: Instant::now(),
            printed: Instant::now(),
            section: None,
        };
        let text = without_wrapping(&[line.text("*"), line.text("*")], false);
        let inner = text.strip_prefix("\x1b[?7l").and_then(|text| text.strip_suffix("\x1b[?7h"));
        let rows: Vec<&str> = inner.expect("wrapping is off in between").lines().collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].starts_with("* site  build 0.0s  xxx"), "{}", rows[0]);
        assert!(rows[0].ends_with("x "), "{}", rows[0]);
        assert!(!inner.expect("text").contains('\u{1b}'));
    }

    #[test]
    fn a_log_gets_the_last_line_of_a_step_that_takes_long() {
        let mut area = ProgressArea::new(false, false);
        let line = |name: &str, last_output: &str| Line {
            name: name.to_owned(),
            step: "build".to_owned(),
            last_output: last_output.to_owned(),
            started: Instant::now(),
            printed: Instant::now(),
            section: None,
        };
        area.lines = vec![line("site", "transforming\n\u{1b}[2K..."), line("api", "")];
        area.interval = Duration::from_secs(3600);
        assert_eq!(area.overdue(), []);
        area.interval = Duration::ZERO;
        assert_eq!(area.overdue(), []);
        area.interval = Duration::from_nanos(1);
        let printed = area.overdue().into_iter().map(|(_, line)| strip_str(&line).to_string());
        let printed: Vec<String> = printed.collect();
        assert_eq!(printed.len(), 2, "{printed:?}");
        assert!(printed[0].starts_with("site: build 0.0s  transforming"), "{printed:?}");
        assert!(!printed[0].contains('\n') && printed[1] == "api: build 0.0s", "{printed:?}");
    }

    #[test]
    fn a_step_names_its_phase_once() {
        assert_eq!(in_phase(None, "build"), "build");
        assert_eq!(in_phase(Some("[3/4] build"), "build"), "[3/4] build");
        assert_eq!(in_phase(Some("[3/4] build"), "build a"), "[3/4] build: build a");
        assert_eq!(in_phase(Some("[1/4] tools"), "install Bun"), "[1/4] tools: install Bun");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2s");
        assert_eq!(seconds(Duration::from_secs(125)), "2m05s");
    }
}
