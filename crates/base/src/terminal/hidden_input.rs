//! Input that the terminal does not show.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Turns the echo of the terminal off, until it is dropped.
pub struct HiddenInput(Termios);

impl HiddenInput {
    /// Turns the echo off. Errors if stdin is not a terminal.
    pub fn start() -> nix::Result<HiddenInput> {
        let before = tcgetattr(std::io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // Input that was typed before the question is discarded.
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(HiddenInput(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let _closed = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
