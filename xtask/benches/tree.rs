//! A repository of known shape: 1,000 packages, 10,007 files, 2,724 edges, and a change of three files
//! that concerns 59 packages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many packages there are. The first 100 are projects.
pub const PACKAGES: usize = 1_000;
/// How many files there are.
pub const FILES: usize = 10_007;
/// How many dependencies there are between packages.
pub const EDGES: usize = 2_724;
/// How many packages the change concerns.
pub const ANSWER: usize = 59;

/// The generated repository.
pub struct Tree {
    /// Its root.
    pub root: PathBuf,
    /// The names of the packages that the change concerns, by this generator's own walk.
    pub answer: BTreeSet<String>,
}

/// Makes the repository at `root`: `main`, and `change` checked out.
pub fn generate(root: &Path) -> Tree {
    let dependencies = edges();
    assert_eq!(dependencies.iter().map(BTreeSet::len).sum::<usize>(), EDGES);
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
    for file in ["dagger/config/config.json", ".gitignore"] {
        write(file, &std::fs::read_to_string(workspace.join(file)).expect(file));
    }
    write("package.json", r#"{ "name": "root", "private": true, "workspaces": ["packages/*"] }"#);
    for file in ["README.md", "bun.lock", "tsconfig.json", "biome.json"] {
        write(file, "{}\n");
    }
    for (index, on) in dependencies.iter().enumerate() {
        let dir = format!("packages/p{index}");
        let mut manifest =
            format!(r#"{{ "name": "p{index}", "version": "1.0.0", "dependencies": {{"#);
        for (position, on) in on.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(manifest, r#"{comma} "p{on}": "workspace:*""#).expect("text");
        }
        write(&format!("{dir}/package.json"), &(manifest + " } }\n"));
        let project = index < 100;
        if project {
            write(&format!("{dir}/wrangler.json"), &format!(r#"{{ "name": "p{index}" }}"#));
        }
        for file in 0..if project { 8 } else { 9 } {
            write(&format!("{dir}/src/file{file}.ts"), &format!("export const n = {file};\n"));
        }
    }
    let changed = three(&dependencies);
    git(root, &["init", "--quiet", "--initial-branch=main"]);
    commit(root, "tree");
    git(root, &["checkout", "--quiet", "-b", "change"]);
    for index in changed {
        write(&format!("packages/p{index}/src/file0.ts"), "export const n = 'changed';\n");
    }
    commit(root, "change");
    let count = git(root, &["ls-files"]).lines().count();
    assert_eq!(count, FILES, "files");
    let answer = users(&dependencies, &changed).into_iter().map(|index| format!("p{index}"));
    Tree { root: root.to_owned(), answer: answer.collect() }
}

/// What each package depends on: packages with higher numbers, so that there is no cycle.
fn edges() -> Vec<BTreeSet<usize>> {
    let mut dependencies = vec![BTreeSet::new(); PACKAGES];
    let mut state: u64 = 1;
    let mut random = |below: usize| {
        // Knuth's MMIX generator: the same tree everywhere.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let mut count = 0;
    while count < EDGES {
        let from = random(PACKAGES - 1);
        let to = from + 1 + random(PACKAGES - 1 - from);
        count += usize::from(dependencies[from].insert(to));
    }
    dependencies
}

/// Three packages whose change concerns exactly [`ANSWER`].
fn three(dependencies: &[BTreeSet<usize>]) -> [usize; 3] {
    for a in (1..PACKAGES).step_by(3) {
        for b in (a + 2..PACKAGES).step_by(7) {
            let changed = [a, a + 1, b];
            if users(dependencies, &changed).len() == ANSWER {
                return changed;
            }
        }
    }
    panic!("no three packages concern {ANSWER}");
}

/// The changed packages and all that depend on them.
fn users(dependencies: &[BTreeSet<usize>], changed: &[usize]) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = changed.iter().copied().collect();
    // Edges lead to higher numbers, so one walk from the top sees every one.
    for index in (0..PACKAGES).rev() {
        if dependencies[index].iter().any(|on| found.contains(on)) {
            found.insert(index);
        }
    }
    found
}

fn commit(root: &Path, message: &str) {
    git(root, &["add", "--all"]);
    let who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"];
    git(root, &[&who[..], &["commit", "--quiet", "-m", message]].concat());
}

/// Runs git and returns what it prints.
pub fn git(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").current_dir(root).args(arguments).output().expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
