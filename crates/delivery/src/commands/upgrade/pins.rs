//! The list of pins, with their newest versions.

use serde::Serialize;

use super::newest::newest;
use super::tools::CurrentPin;
use super::{PinnedTool, XTASK, archive, library};
use base::error::{Exit, Result, with_hints};
use base::terminal::table::{Cell, Table};
use base::terminal::{DIM, GREEN, YELLOW};
use deployment::context::Ctx;
use workspace::config::Config;

/// A pin in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PinRow {
    part: &'static str,
    /// `None` for xtask in its own checkout.
    current: Option<String>,
    /// `None` if it cannot be read.
    newest: Option<String>,
    /// The file with the pin. `xtask` if the pin is compiled into this program.
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// The list.
#[derive(Debug, Serialize)]
struct PinList {
    schema: u32,
    pins: Vec<PinRow>,
}

/// Lists the pins. Fails if a newest version cannot be read.
pub fn list(ctx: &Ctx) -> Result<Exit> {
    let config = Config::load(&ctx.root)?;
    let tools = [PinnedTool::Wrangler, PinnedTool::Bun, PinnedTool::Dagger];
    // A request takes about a second, and they are independent.
    let rows: Vec<PinRow> = std::thread::scope(|scope| {
        let row = |tool: PinnedTool| {
            let (root, config) = (&ctx.root, &config);
            scope.spawn(move || {
                let pin = CurrentPin::read(root, config, tool);
                let place = match pin.is_carried {
                    true => "built into xtask".to_owned(),
                    false => pin.file.to_string(),
                };
                PinRow::new(
                    tool.name(),
                    Some(pin.version),
                    place,
                    newest(root, &config.tools.bun, tool),
                )
            })
        };
        let library = library::current(ctx);
        let waiting: Vec<_> = tools.into_iter().map(row).collect();
        let library = match library {
            Some((current, place)) => {
                PinRow::new(XTASK, Some(current), place, library::newest(ctx))
            }
            None => archive::row(ctx, &config),
        };
        let rows = waiting.into_iter().filter_map(|row| row.join().ok());
        std::iter::once(library).chain(rows).collect()
    });
    let list = PinList { schema: 1, pins: rows };
    ctx.ui.report(&list, &list.text(ctx.ui.width()));
    let is_complete = list.pins.iter().all(|row| row.error.is_none());
    Ok(if is_complete { Exit::Done } else { Exit::Failed })
}

impl PinRow {
    fn new(
        part: &'static str,
        current: Option<String>,
        place: String,
        newest: Result<String>,
    ) -> PinRow {
        let (newest, error, hints) = match newest {
            Ok(newest) => (Some(newest), None, Vec::new()),
            Err(failure) => (None, Some(format!("{failure:#}")), failure.hints),
        };
        PinRow { part, current, newest, place, error, hints }
    }

    /// A pin whose newest version no server names.
    pub(super) fn without_newest(current: Option<String>, place: &str) -> PinRow {
        PinRow {
            part: XTASK,
            current,
            newest: None,
            place: place.to_owned(),
            error: None,
            hints: Vec::new(),
        }
    }

    fn is_old(&self) -> bool {
        self.newest.is_some() && self.newest != self.current
    }
}

impl PinList {
    /// Returns the table for a terminal with `width` columns.
    fn text(&self, width: Option<usize>) -> String {
        let mut table = Table::new(&["PART", "CURRENT", "NEWEST", "PIN"]);
        for row in &self.pins {
            let newest = match &row.newest {
                Some(newest) if row.is_old() => Cell::new(newest, YELLOW),
                Some(newest) => Cell::new(newest, GREEN),
                None if row.error.is_some() => Cell::new("unknown", DIM),
                None => Cell::new("-", DIM),
            };
            let current = row.current.as_deref().unwrap_or("-");
            table.row(vec![row.part.into(), current.into(), newest, Cell::new(&row.place, DIM)]);
        }
        let mut text = table.text(width);
        for row in self.pins.iter().filter(|row| row.is_old()) {
            text += &format!("next: `cargo xtask upgrade {}`\n", row.part);
        }
        for row in &self.pins {
            let text_of = |error: &String| with_hints(error, &row.hints) + "\n";
            text += &row.error.as_ref().map(text_of).unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use base::error::failed;
    use expect_test::expect;

    use super::*;

    #[test]
    fn table_shows_outdated_pins() {
        let row = |part: &'static str, current: &str, place: &str, newest: Result<&str>| {
            PinRow::new(part, Some(current.to_owned()), place.to_owned(), newest.map(str::to_owned))
        };
        let list = PinList {
            schema: 1,
            pins: vec![
                row(XTASK, "v1.2.0", "xtask/Cargo.toml", Ok("v1.3.0")),
                row("wrangler", "4.164.0", "built into xtask", Ok("4.164.0")),
                row(
                    "dagger",
                    "0.21.8",
                    "dagger/config/config.json",
                    Err(failed("npm does not tell the newest version of @dagger.io/dagger; nothing was changed")
                        .hint("run `npm view @dagger.io/dagger version` for the reason, or name the version")),
                ),
            ],
        };
        let text = |width| anstream::adapter::strip_str(&list.text(Some(width))).to_string();
        expect![[r#"
            PART      CURRENT  NEWEST   PIN
            xtask     v1.2.0   v1.3.0   xtask/Cargo.toml
            wrangler  4.164.0  4.164.0  built into xtask
            dagger    0.21.8   unknown  dagger/config/config.json
            next: `cargo xtask upgrade xtask`
            npm does not tell the newest version of @dagger.io/dagger; nothing was changed
            hint: run `npm view @dagger.io/dagger version` for the reason, or name the version
        "#]]
        .assert_eq(&text(80));
        expect![[r#"
            xtask
              current  v1.2.0
              newest   v1.3.0
              pin      xtask/Cargo.toml
            wrangler
              current  4.164.0
              newest   4.164.0
              pin      built into xtask
            dagger
              current  0.21.8
              newest   unknown
              pin      dagger/config/config.json
            next: `cargo xtask upgrade xtask`
            npm does not tell the newest version of @dagger.io/dagger; nothing was changed
            hint: run `npm view @dagger.io/dagger version` for the reason, or name the version
        "#]]
        .assert_eq(&text(40));
    }
}
