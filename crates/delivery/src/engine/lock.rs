//! One run at a time: a lock on a file, which says who holds it.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8Path;

use base::deadline;
use base::error::{Failure, interrupted, refused, unwritable};
use base::runner::INTERRUPTED;
use base::time::{rfc3339, unix_now};

/// How long another run may hold a lock: longer than everything that it may do.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long between two tries.
const TICK: Duration = Duration::from_millis(50);

/// Locks a file for the life of the returned handle, and calls `waiting` with who holds it when that is
/// another process. The system keeps the lock and releases it when its holder ends, however it ends: no
/// process id is compared, so none that is used again can be taken for the holder, and nothing is left
/// over from before a restart. What stands in the file is for people.
pub fn lock(path: &Utf8Path, waiting: impl FnOnce(&str)) -> Result<File> {
    let cannot = |error: &std::io::Error| unwritable(format!("cannot lock {path}: {error}"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).map_err(|error| cannot(&error))?;
    if try_lock(&file).map_err(|error| cannot(&error))? {
        sign(&mut file);
        return Ok(file);
    }
    waiting(&holder(&mut file));
    let (started, longest) = (Instant::now(), deadline::within(LONGEST)?);
    while !try_lock(&file).map_err(|error| cannot(&error))? {
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(interrupted().into());
        }
        if started.elapsed() >= longest {
            return Err(held(&holder(&mut file), longest).into());
        }
        std::thread::sleep(TICK);
    }
    sign(&mut file);
    Ok(file)
}

fn held(holder: &str, longest: Duration) -> Failure {
    refused(format!("{holder} still holds the lock after {} s", longest.as_secs()))
        .hint("nothing was changed; let it end, or end it, and run this again")
}

fn try_lock(file: &File) -> Result<bool, std::io::Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes who we are. That it cannot be written takes nothing from the lock.
fn sign(file: &mut File) {
    let command: Vec<String> = std::env::args().skip(1).take(2).collect();
    let text = format!(
        "`xtask {}` (process {}, since {})",
        command.join(" "),
        std::process::id(),
        rfc3339(unix_now())
    );
    let _courtesy = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
}

/// Who holds the lock, by its own words.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    let seek = file.seek(SeekFrom::Start(0));
    if read.is_err() || seek.is_err() || text.is_empty() { "another run".to_owned() } else { text }
}
