//! Writes the derived files below the root given as the first argument, or checks them with
//! `--check`. `cargo xtask generate` is how people call it.

use std::process::ExitCode;

use base::terminal::{Options, Ui};
use camino::Utf8PathBuf;
use delivery::generated::{Mode, generate};

fn main() -> ExitCode {
    let ui = Ui::new(Options::default());
    let mut arguments = std::env::args().skip(1);
    let root = Utf8PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let mode = if arguments.any(|word| word == "--check") { Mode::Check } else { Mode::Write };
    match generate(&root, mode) {
        Err(error) => {
            ui.error(&error);
            ExitCode::FAILURE
        }
        Ok(stale) if mode == Mode::Check && !stale.is_empty() => {
            ui.out(&format!("out of date: {}; run `cargo xtask generate`", stale.join(", ")));
            ExitCode::FAILURE
        }
        Ok(stale) if stale.is_empty() => {
            ui.out("up to date");
            ExitCode::SUCCESS
        }
        Ok(stale) => {
            ui.out(&format!("wrote {}", stale.join(", ")));
            ExitCode::SUCCESS
        }
    }
}
