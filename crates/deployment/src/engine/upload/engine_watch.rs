//! Watches the Dagger engine during a run of the CLI, which waits forever for an engine that has stopped
//! (observed with v0.21.8).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::tools::engine_address::{self, Address};

/// The interval between two checks of the engine.
const PAUSE: Duration = Duration::from_secs(5);

/// The number of consecutive refused connections after which the engine counts as stopped.
const REFUSALS: u32 = 3;

/// Runs `work` with a flag that is set once the engine refuses connections.
pub fn run_beside<T>(work: impl FnOnce(&AtomicBool) -> T) -> T {
    run_with(&engine_address::current(), PAUSE, work)
}

fn run_with<T>(address: &Address, pause: Duration, work: impl FnOnce(&AtomicBool) -> T) -> T {
    let is_gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (running, ended) = mpsc::channel();
        let is_gone = &is_gone;
        scope.spawn(move || look(address, pause, is_gone, &ended));
        let result = work(is_gone);
        drop(running);
        result
    })
}

/// Checks the engine until the work has ended. `ended` sends nothing, it only closes.
fn look(address: &Address, pause: Duration, gone: &AtomicBool, ended: &Receiver<()>) {
    let mut refusals = 0;
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        refusals = if address.refuses() { refusals + 1 } else { 0 };
        if refusals == REFUSALS {
            gone.store(true, Ordering::SeqCst);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_the_flag_only_if_the_engine_is_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Address::Open(listener.local_addr().expect("an address").to_string());
        let pause = Duration::from_millis(10);
        let is_gone = run_with(&address, pause, |gone| {
            std::thread::sleep(Duration::from_millis(200));
            gone.load(Ordering::SeqCst)
        });
        assert!(!is_gone);
        let is_gone = run_with(&address, pause, |gone| {
            drop(listener);
            while !gone.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
            }
            true
        });
        assert!(is_gone);
    }
}
