//! Rules of ARCHITECTURE.md that the compiler does not know.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::repository;

fn sources(dir: &str) -> Vec<(Utf8PathBuf, String)> {
    let mut waiting = vec![repository().join(dir)];
    let mut found = Vec::new();
    while let Some(dir) = waiting.pop() {
        for entry in dir.read_dir_utf8().expect("a folder").filter_map(Result::ok) {
            let path = entry.into_path();
            let skipped = matches!(path.file_name(), Some("node_modules" | "target"));
            if path.is_dir() && !skipped {
                waiting.push(path);
            } else if path.is_file() && path.extension() == Some("rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push((path.strip_prefix(repository()).expect("inside").to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {dir}");
    found
}

fn all_sources() -> Vec<(Utf8PathBuf, String)> {
    ["crates", "xtask", "dev", "sandbox/src", "sandbox/tests"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

#[test]
fn files_are_cohesive_and_describe_themselves() {
    for (path, text) in all_sources() {
        assert!(text.starts_with("//! "), "{path} does not describe itself");
        let lines = text.lines().count();
        assert!(lines <= 600, "{path} has {lines} lines");
    }
}

#[test]
fn the_tables_of_situations_and_claims_name_tests_that_exist() {
    let read = |path| std::fs::read_to_string(repository().join(path)).expect("a table");
    let table = read("docs/reference/situations.md") + &read("SECURITY.md");
    let sources = all_sources();
    let names: Vec<(&str, &str)> =
        table.split('`').filter_map(|word| word.split_once("::")).collect();
    assert!(names.len() > 110, "{} tests", names.len());
    for (file, name) in names {
        let is_there = sources.iter().any(|(path, text)| {
            let is_mod = path.file_stem() == Some("mod");
            let folder = path.parent().and_then(Utf8Path::file_name);
            let module = if is_mod { folder } else { path.file_stem() };
            module == Some(file)
                && [format!("fn {name}("), format!("    {name}: (")]
                    .iter()
                    .any(|start| text.contains(start))
        });
        assert!(is_there, "no test is called `{file}::{name}`");
    }
}

/// The ways to files, programs, connections and the environment, with the methods of camino that read.
const IO: [&str; 17] = [
    "std::process",
    "std::env",
    "std::fs",
    "std::net",
    "base::env",
    "base::runner",
    "xshell",
    "read_dir",
    "read_link",
    "read_to_string",
    "canonicalize",
    "metadata(",
    ".exists()",
    ".try_exists()",
    ".is_dir()",
    ".is_file()",
    ".is_symlink()",
];

/// The code that starts programs. Only the first opens connections. The build script cannot use `base`.
const STARTS_PROGRAMS: [&str; 4] = [
    "crates/base/",
    "crates/workspace/src/git",
    "crates/deployment/src/tools/sandbox.rs",
    "crates/delivery/build.rs",
];

#[test]
fn modules_keep_to_their_layer() {
    let forbidden: [(&str, &[&str]); 6] = [
        ("crates/deployment/src/plan", &IO),
        ("crates/deployment/src/report", &IO),
        ("crates/delivery/src/commands", &["std::process", "xshell"]),
        ("crates/gitlab/src/comment", &IO),
        ("crates/gitlab/src/pipeline", &["std::process", "std::env", "xshell"]),
        ("crates/deployment/src/engine", &["std::process::Command", "xshell"]),
    ];
    for (path, text) in sources("crates") {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (layer, words) in forbidden {
            for word in words.iter().filter(|_| path.starts_with(layer)) {
                assert!(!code.contains(word), "{path} may not use `{word}`");
            }
        }
        let environment = path == "crates/base/src/env.rs";
        assert!(
            environment || !code.contains("std::env::var"),
            "{path} reads a variable past `base::env`"
        );
        let starts_programs = code.contains("std::process::Command")
            || code
                .lines()
                .any(|line| line.starts_with("use std::process") && line.contains("Command"));
        let connects =
            ["TcpStream::connect", "UnixStream::connect", "Agent::new", "Agent::config_builder"]
                .iter()
                .any(|word| code.contains(word));
        let may = |folders: &[&str]| folders.iter().any(|folder| path.as_str().starts_with(folder));
        assert!(!starts_programs || may(&STARTS_PROGRAMS), "{path} starts programs past `base`");
        assert!(!connects || may(&STARTS_PROGRAMS[..1]), "{path} opens connections past `base`");
        let printer = path.starts_with("crates/base/src/terminal");
        // Its adapters only convert text.
        let prints = code.replace("anstream::adapter", "").contains("anstream::");
        assert!(printer || !prints, "{path} prints; only `terminal` may");
    }
}

/// The files that may name a variable of GitLab CI: the type that holds them all, the crate below it, and the file that
/// evaluates conditions of pipelines.
const READS_CI_VARIABLES: [&str; 3] =
    ["crates/base/", "crates/gitlab/src/ci.rs", "crates/gitlab/src/pipeline/own_jobs.rs"];

#[test]
fn one_file_reads_the_variables_of_gitlab_ci() {
    let is_name = |word: &str| {
        let is_part_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        word == "GITLAB_CI" || (word.starts_with("CI_") && word.chars().all(is_part_of_name))
    };
    let mut names = 0;
    for (path, text) in ["crates", "sandbox/src", "xtask/src"].into_iter().flat_map(sources) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        // A message has other words beside the name between its quotes.
        let found: Vec<&str> = code.split('"').filter(|word| is_name(word)).collect();
        names += found.len();
        let may = READS_CI_VARIABLES.iter().any(|folder| path.as_str().starts_with(folder));
        assert!(may || found.is_empty(), "{path} names {found:?}; use `gitlab::ci::CiVariables`");
    }
    assert!(names > 20, "{names} variables");
}

/// The folders and files of this repository that a team's repository does not have. That of `Cargo.toml` says which of
/// them the crates may read, `[workspace.metadata.xtask]`.
const OF_THIS_REPOSITORY: [&str; 7] =
    [".ci/", "crates/", "dev/", "docs/", "projects/rawkode", "sandbox/Cargo.toml", "xtask/tests"];

#[test]
fn the_architecture_names_paths_that_exist() {
    let page = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("text");
    let words = page.split('`').skip(1).step_by(2);
    let folders = ["crates/", "dagger/", "dev/", "docs/", "projects/", "sandbox/", "xtask/"];
    let paths: Vec<&str> =
        words.filter(|word| folders.iter().any(|folder| word.starts_with(folder))).collect();
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        assert!(repository().join(path).exists(), "ARCHITECTURE.md names {path}");
    }
}

#[test]
fn crates_name_no_path_of_this_repository() {
    let part_of_a_path = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
    for path in tracked_files("crates") {
        let is_data = path.components().any(|part| matches!(part.as_str(), "corpus" | "pins"));
        let Ok(text) = std::fs::read_to_string(repository().join(&path)) else { continue };
        for word in OF_THIS_REPOSITORY.iter().filter(|_| !is_data) {
            for (at, _) in text.match_indices(word) {
                let is_longer = text[..at].chars().next_back().is_some_and(part_of_a_path);
                let line = text[..at].lines().count();
                assert!(is_longer, "{path}:{line} names `{word}`");
            }
        }
        // `cargo dev generate` copies what a crate needs.
        let includes = text.match_indices("include_str!(\"").map(|(at, start)| at + start.len());
        for at in includes.chain(text.match_indices("include_bytes!(\"").map(|(at, _)| at + 16)) {
            let included = text[at..].split('"').next().unwrap_or_default();
            let up = included.matches("../").count();
            // Folders between the file and its crate: `crates/name/…/file`.
            let depth = path.components().count() - 3;
            assert!(up <= depth, "{path} includes {included}, which is not in its crate");
        }
    }
}

/// The files below `folder` that git does not ignore, relative to the root.
fn tracked_files(folder: &str) -> Vec<Utf8PathBuf> {
    let output = std::process::Command::new("git")
        .current_dir(repository())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", folder])
        .output()
        .expect("git runs");
    let files = String::from_utf8(output.stdout).expect("UTF-8");
    files.split('\0').filter(|path| !path.is_empty()).map(Utf8PathBuf::from).collect()
}

/// A circle of files can only be understood as a whole. A file of a folder and its `mod.rs` may use each other.
#[test]
fn files_of_workspace_form_no_circle() {
    let module = |path: &Utf8Path| {
        let path = path.strip_prefix("crates/workspace/src").expect("inside").with_extension("");
        path.as_str().trim_end_matches("/mod").replace('/', "::")
    };
    let files: BTreeMap<String, String> = sources("crates/workspace/src")
        .into_iter()
        .filter(|(path, _)| !matches!(path.file_name(), Some("lib.rs" | "fuzz.rs" | "tests.rs")))
        .map(|(path, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            (module(&path), code.to_owned())
        })
        .collect();
    let is_path = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':';
    let uses = |name: &str| -> BTreeSet<&str> {
        let paths = files[name].split("crate::").skip(1);
        let paths = paths.map(|rest| rest.split(|c| !is_path(c)).next().unwrap_or_default());
        // The longest module that the path begins with.
        let longest = |path: &str| {
            let ends = path.match_indices("::").map(|(end, _)| end).chain([path.len()]);
            ends.filter_map(|end| files.get_key_value(&path[..end])).last()
        };
        let found = paths.filter_map(longest).map(|(found, _)| found.as_str());
        found
            .filter(|found| !found.starts_with(&format!("{name}::")))
            .filter(|found| *found != name)
            .collect()
    };
    // Takes away the files that use no other one, until none is left.
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        files.keys().map(|name| (name.as_str(), uses(name))).collect();
    while let Some(leaf) = left.iter().find(|(_, used)| used.is_empty()).map(|(name, _)| *name) {
        left.remove(leaf);
        left.values_mut().for_each(|used| {
            used.remove(leaf);
        });
    }
    assert!(files.len() > 50 && left.is_empty(), "circles in {left:#?}");
}

#[test]
fn test_files_are_declared() {
    for (path, _) in sources("xtask/tests/it") {
        let (folder, name) = (path.parent().expect("a folder"), path.file_stem().expect("a name"));
        let within = if name == "mod" { folder.parent().expect("a folder") } else { folder };
        let name = if name == "mod" { folder.file_name().expect("a name") } else { name };
        let root = if within.ends_with("it") { "main.rs" } else { "mod.rs" };
        let declared = std::fs::read_to_string(repository().join(within).join(root)).expect("text");
        let found = declared.contains(&format!("mod {name};"));
        assert!(name == "main" || found, "{path} is not declared");
    }
}

#[test]
fn no_path_of_a_machine_and_no_registry_is_written_down() {
    // Put together here, so that this file does not hold them itself.
    let words = [["/home", "/"], ["/ro", "ot/"], ["registry.np", "mjs"], ["index.crates", ".io"]];
    for path in tracked_files(".").iter().filter(|path| *path != "Cargo.lock") {
        let Ok(text) = std::fs::read_to_string(repository().join(path)) else { continue };
        for word in words.map(|halves| halves.concat()) {
            assert!(!text.contains(&word), "{path} holds `{word}`");
        }
    }
}
