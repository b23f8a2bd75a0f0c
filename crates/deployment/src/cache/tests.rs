//! Tests that entries are complete or absent after any event.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A temporary folder, removed afterwards.
struct Place(Utf8PathBuf);

impl Place {
    fn new() -> Place {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let place = temporary.join(format!("xtask-cache-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a folder");
        Place(place)
    }

    fn cache(&self, limit: u64) -> BuildCache {
        BuildCache { dir: self.0.join("cache"), limit }
    }

    /// Creates an output with one page of this text, and a program.
    fn output(&self, name: &str, text: &str) -> Utf8PathBuf {
        let dir = self.0.join(name);
        std::fs::create_dir_all(dir.join("a")).expect("a folder");
        std::fs::write(dir.join("a/index.html"), text).expect("a file");
        std::fs::write(dir.join("run"), "#!/bin/sh").expect("a file");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.join("run"), executable).expect("a mode");
        dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn store(cache: &BuildCache, key: &str, from: &Utf8Path) {
    cache.store(key, from, format!("time of {key}")).expect("stored");
}

fn restore(cache: &BuildCache, key: &str, to: &Utf8Path) -> Lookup {
    remove(to);
    cache.restore(key, to).expect("an answer")
}

fn whole(key: &str) -> Lookup {
    Lookup::Hit { built: format!("time of {key}"), parts: OutputParts::one_folder() }
}

#[test]
fn restores_an_output_unchanged() {
    let place = Place::new();
    let (cache, to) = (place.cache(MAX_CACHE_SIZE), place.0.join("to"));
    assert_eq!(restore(&cache, "k", &to), Lookup::Miss);
    store(&cache, "k", &place.output("from", "one"));
    assert_eq!(restore(&cache, "k", &to), whole("k"));
    assert_eq!(std::fs::read_to_string(to.join("a/index.html")).expect("a file"), "one");
    let mode = |path| std::fs::metadata(to.join(path)).expect("there").permissions().mode() & 0o111;
    assert_ne!(mode("run"), 0);
    assert_eq!(mode("a/index.html"), 0);
    // Later changes of the output affect neither the cache nor the next restore.
    std::fs::write(to.join("a/index.html"), "changed").expect("written");
    assert_eq!(restore(&cache, "k", &to), whole("k"));
    assert_eq!(std::fs::read_to_string(to.join("a/index.html")).expect("a file"), "one");
}

#[test]
fn restores_parts_without_other_files() {
    let place = Place::new();
    let (cache, to) = (place.cache(MAX_CACHE_SIZE), place.0.join("to"));
    let from = place.output("from", "one");
    for (path, text) in [("b/deep/worker.js", "code"), ("b/other.txt", ""), ("c/types.ts", "")] {
        std::fs::create_dir_all(from.join(path).parent().expect("a parent")).expect("a folder");
        std::fs::write(from.join(path), text).expect("a file");
    }
    let parts = OutputParts {
        folders: ["a".into(), "b/deep".into()].into(),
        files: ["c/types.ts".into()].into(),
    };
    cache.store_parts("k", &from, parts.clone(), "now".to_owned()).expect("stored");
    assert_eq!(restore(&cache, "k", &to), Lookup::Hit { built: "now".to_owned(), parts });
    assert_eq!(std::fs::read_to_string(to.join("b/deep/worker.js")).expect("a file"), "code");
    assert!(to.join("a/index.html").is_file() && to.join("c/types.ts").is_file());
    assert!(!to.join("run").exists() && !to.join("b/other.txt").exists());

    std::os::unix::fs::symlink("types.ts", from.join("c/link.ts")).expect("a link");
    let parts = OutputParts { files: ["c/link.ts".into()].into(), ..OutputParts::default() };
    let refused = cache.store_parts("k", &from, parts, String::new()).expect_err("a link");
    assert_eq!(refused.message, "c/link.ts is neither a file nor a folder");
}

#[test]
fn removes_corrupt_entries() {
    type Damage = fn(&Utf8Path);
    let damages: [(&str, Damage); 6] = [
        ("a/index.html is not", |entry| {
            std::fs::write(entry.join("files/a/index.html"), "onf").expect("written");
        }),
        ("a/index.html is not", |entry| {
            std::fs::write(entry.join("files/a/index.html"), "").expect("written");
        }),
        ("run is gone", |entry| std::fs::remove_file(entry.join("files/run")).expect("removed")),
        ("manifest.json", |entry| std::fs::remove_file(entry.join(manifest::NAME)).expect("gone")),
        ("manifest.json", |entry| std::fs::write(entry.join(manifest::NAME), "{").expect("cut")),
        ("manifest.json is not", |entry| {
            let path = entry.join(manifest::NAME);
            let text = std::fs::read_to_string(&path).expect("text");
            std::fs::write(path, text.replace("\"run\"", "\"fun\"")).expect("written");
        }),
    ];
    let place = Place::new();
    let (cache, to) = (place.cache(MAX_CACHE_SIZE), place.0.join("to"));
    let from = place.output("from", "one");
    for (reason, damage) in damages {
        store(&cache, "k", &from);
        damage(&cache.dir.join("k"));
        let lookup = restore(&cache, "k", &to);
        assert!(matches!(&lookup, Lookup::Corrupt(text) if text.starts_with(reason)), "{lookup:?}");
        assert!(!to.exists(), "a part is left after {reason}");
        assert_eq!(restore(&cache, "k", &to), Lookup::Miss);
    }
}

#[test]
fn evicts_the_least_recently_used_entry() {
    let place = Place::new();
    let text = "x".repeat(1000);
    let from = place.output("from", &text);
    // The limit allows two entries.
    let (cache, to) = (place.cache(2500), place.0.join("to"));
    let used = |key: &str, seconds| {
        let file = File::open(cache.dir.join(key).join(SIZE)).expect("there");
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).expect("set");
    };
    store(&cache, "one", &from);
    used("one", 1);
    store(&cache, "two", &from);
    used("two", 2);
    assert_eq!(restore(&cache, "one", &to), whole("one"), "which is a use");
    std::fs::create_dir_all(cache.dir.join("unfinished-0/files")).expect("left by a killed run");
    store(&cache, "three", &from);
    assert_eq!(restore(&cache, "two", &to), Lookup::Miss);
    assert_eq!(restore(&cache, "one", &to), whole("one"));
    assert_eq!(restore(&cache, "three", &to), whole("three"));
    assert!(!cache.dir.join("unfinished-0").exists());
    let huge = place.output("huge", &"x".repeat(3000));
    assert!(cache.store("huge", &huge, String::new()).is_err());
}

#[test]
fn does_not_store_what_it_cannot_restore() {
    let place = Place::new();
    let cache = place.cache(MAX_CACHE_SIZE);
    let from = place.output("from", "one");
    std::os::unix::fs::symlink("a", from.join("link")).expect("a link");
    let refused = cache.store("k", &from, String::new()).expect_err("a link");
    assert_eq!(refused.message, "link is neither a file nor a folder");
    std::fs::create_dir(place.0.join("empty")).expect("a folder");
    assert!(cache.store("k", &place.0.join("empty"), String::new()).is_err());
    assert!(cache.store("k", &place.0.join("none"), String::new()).is_err());
}

#[test]
fn concurrent_readers_see_whole_entries() {
    let place = Place::new();
    let outputs = ["one", "two", "three"].map(|text| place.output(text, &text.repeat(50_000)));
    // The limit allows one of them, so that they evict each other all the time.
    let cache = place.cache(270_000);
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            let (cache, outputs, place) = (&cache, &outputs, &place);
            scope.spawn(move || {
                let to = place.0.join(format!("to-{worker}"));
                for round in 0..30 {
                    let from = &outputs[(worker + round) % 3];
                    let key = from.file_name().expect("a name");
                    match restore(cache, key, &to) {
                        Lookup::Miss => store(cache, key, from),
                        Lookup::Corrupt(damage) => panic!("{key}: {damage}"),
                        Lookup::Hit { .. } => {
                            let text = std::fs::read_to_string(to.join("a/index.html"));
                            assert_eq!(text.expect("a file"), key.repeat(50_000));
                        }
                    }
                }
            });
        }
    });
}
