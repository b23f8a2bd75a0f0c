//! Locks a file, so that only one run at a time continues. The file names the holder.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant, SystemTime};

use camino::Utf8Path;

use base::deadline;
use base::error::{Error, Result, interrupted, refused, unwritable};
use base::runner::is_interrupted;
use base::time::{rfc3339, unix_now};

/// The maximum wait for another run's lock: longer than any run takes.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(3600);

/// The interval between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// A lock, released on drop.
///
/// The system releases it when the last handle of the file is closed. A child that inherits one keeps the
/// lock, so the next run waits while an upload of a killed run continues. We do not compare PIDs, because
/// a reused PID would look like the holder. The text in the file is for people.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    /// The time since the previous holder took the lock, if it was killed. It was killed later than that.
    pub killed_since: Option<Duration>,
}

impl FileLock {
    /// Returns the locked file, for a child that has to keep the lock.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The delay for the last request of a killed run, before the live version is read.
const SETTLE: Duration = Duration::from_secs(10);

/// The maximum age of a killed run whose last request may still take effect. No upload may take longer.
const RECENT: Duration = Duration::from_secs(1200);

impl FileLock {
    /// Waits for the last request of a killed run. Cloudflare may still execute it, and the live version
    /// would change right after it was read. Errors if this run is interrupted.
    pub fn settle(&self, say: impl FnOnce(&str)) -> Result<()> {
        if self.killed_since.is_none_or(|since| since > RECENT) {
            return Ok(());
        }
        say(&format!(
            "wait {} s, because the previous run was killed and its last request may still take effect",
            SETTLE.as_secs()
        ));
        let started = Instant::now();
        while started.elapsed() < SETTLE {
            if is_interrupted() {
                return Err(interrupted().hint("nothing was changed"));
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A remaining text shows the next run that the previous one was killed.
        let _courtesy = self.file.set_len(0);
    }
}

/// Locks a file. Calls `waiting` with the holder's name if another process holds the lock.
pub fn lock(path: &Utf8Path, waiting: impl FnOnce(&str)) -> Result<FileLock> {
    let cannot = |error: &std::io::Error| unwritable(format!("cannot lock {path}: {error}"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).map_err(|error| cannot(&error))?;
    if try_lock(&file).map_err(|error| cannot(&error))? {
        return Ok(sign(file));
    }
    waiting(&holder(&mut file));
    let (started, longest) = (Instant::now(), deadline::within(MAX_LOCK_WAIT)?);
    while !try_lock(&file).map_err(|error| cannot(&error))? {
        if is_interrupted() {
            return Err(interrupted());
        }
        if started.elapsed() >= longest {
            return Err(held_error(&holder(&mut file), longest));
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
    Ok(sign(file))
}

fn held_error(holder: &str, longest: Duration) -> Error {
    refused(format!("{holder} still holds the lock after {} s", longest.as_secs()))
        .hint("nothing was changed; wait for the other run or stop it, then retry")
}

fn try_lock(file: &File) -> Result<bool, std::io::Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes the holder's name into the locked file. The lock also holds if this fails.
fn sign(mut file: File) -> FileLock {
    let meta = file.metadata().ok().filter(|meta| meta.len() > 0);
    let locked_at = meta.and_then(|meta| meta.modified().ok());
    let killed_since =
        locked_at.and_then(|locked_at| SystemTime::now().duration_since(locked_at).ok());
    let command: Vec<String> = std::env::args().skip(1).take(2).collect();
    let text = format!(
        "`xtask {}` (process {}, since {})",
        command.join(" "),
        std::process::id(),
        rfc3339(unix_now())
    );
    let _courtesy = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(text.as_bytes()));
    FileLock { file, killed_since }
}

/// Returns the holder's name as the holder wrote it.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    let seek = file.seek(SeekFrom::Start(0));
    if read.is_err() || seek.is_err() || text.is_empty() { "another run".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn lock_tells_whether_its_holder_was_killed() {
        let dir = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let path = dir.join(format!("xtask-lock-{}", std::process::id()));
        let first = lock(&path, |_| ()).expect("free");
        assert_eq!(first.killed_since, None);
        drop(first);
        let second = lock(&path, |_| ()).expect("free");
        assert_eq!(second.killed_since, None, "the first one ended as it should");
        let text = std::fs::read_to_string(&path).expect("text");
        drop(second);
        std::fs::write(&path, text).expect("a file");
        let third = lock(&path, |_| ()).expect("free");
        assert!(third.killed_since.is_some_and(|since| since < Duration::from_secs(600)));
        drop(third);
        std::fs::remove_file(&path).expect("removable");
    }
}
