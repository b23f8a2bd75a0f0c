//! A repository of known shape, and a change of three files whose effect is known. Every peer finds
//! in it what it needs, so that all of them look at one and the same tree.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::run::git;

/// The size of a tree.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The number of packages. The first tenth are projects.
    pub packages: usize,
    /// The number of dependencies between packages.
    pub edges: usize,
    /// The number of packages that the change affects.
    pub answer: usize,
}

/// The measured tree: 1,000 packages, 10,007 files.
pub const FULL: Shape = Shape { packages: 1_000, edges: 2_724, answer: 59 };

/// The tree of the tests: enough to see that everything works.
pub const QUICK: Shape = Shape { packages: 40, edges: 60, answer: 9 };

impl Shape {
    /// Returns the number of files that git knows: ten a package, [`ROOT_FILES`] and the config.
    pub fn files(self) -> usize {
        self.packages * 10 + ROOT_FILES.len() + 1
    }
}

/// The files that the peers read at the root.
const ROOT_FILES: [(&str, &str); 6] = [
    (
        "package.json",
        r#"{ "name": "root", "private": true, "packageManager": "pnpm@12.21.0", "workspaces": ["packages/*"] }"#,
    ),
    // Without a look at the registry for the package manager itself.
    ("pnpm-workspace.yaml", "packages:\n  - 'packages/*'\npmOnFail: ignore\n"),
    ("README.md", "Ten files a package.\n"),
    ("turbo.json", r#"{ "tasks": { "build": { "dependsOn": ["^build"] } } }"#),
    ("nx.json", r#"{ "defaultBase": "main", "neverConnectToCloud": true }"#),
    (
        ".moon/workspace.yml",
        "projects: ['packages/*']\nvcs: { defaultBranch: main }\ntelemetry: false\n",
    ),
];

/// The generated repository.
pub struct GeneratedTree {
    /// Its root.
    pub root: PathBuf,
    /// The names of the packages that the change affects, by this generator's own walk.
    pub answer: BTreeSet<String>,
}

/// Makes the repository at `root`: `main`, and `change` checked out.
pub fn generate(root: &Path, shape: Shape) -> GeneratedTree {
    let dependencies = edges(shape);
    assert_eq!(dependencies.iter().map(BTreeSet::len).sum::<usize>(), shape.edges);
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
    let config = "dagger/config/config.json";
    write(config, &std::fs::read_to_string(workspace.join(config)).expect(config));
    for (file, text) in ROOT_FILES {
        write(file, text);
    }
    for (index, on) in dependencies.iter().enumerate() {
        let dir = format!("packages/p{index}");
        let (mut named, mut moon) = (String::new(), String::from("dependsOn:"));
        for (position, on) in on.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(named, r#"{comma} "p{on}": "workspace:*""#).expect("text");
            write!(moon, "\n  - p{on}").expect("text");
        }
        let manifest = format!(
            r#"{{ "name": "p{index}", "version": "1.0.0", "scripts": {{ "build": "true" }}, "dependencies": {{{named} }} }}"#
        );
        write(&format!("{dir}/package.json"), &(manifest + "\n"));
        let moon = if on.is_empty() { "dependsOn: []" } else { &moon };
        write(&format!("{dir}/moon.yml"), &format!("{moon}\n"));
        let project = index < shape.packages / 10;
        if project {
            write(&format!("{dir}/wrangler.json"), &format!(r#"{{ "name": "p{index}" }}"#));
        }
        for file in 0..if project { 7 } else { 8 } {
            write(&format!("{dir}/src/file{file}.ts"), &format!("export const n = {file};\n"));
        }
    }
    let changed = three(&dependencies, shape);
    git(root, &["init", "--quiet", "--initial-branch=main"]);
    // The peers' own files, which are no part of the tree.
    write(".git/info/exclude", "/.xtask\n/node_modules\n/.nx\n/.turbo\n/.moon/cache\n");
    commit(root, "tree");
    git(root, &["checkout", "--quiet", "-b", "change"]);
    for index in changed {
        write(&format!("packages/p{index}/src/file0.ts"), "export const n = 'changed';\n");
    }
    commit(root, "change");
    assert_eq!(git(root, &["ls-files"]).lines().count(), shape.files(), "files");
    let projects = users(&dependencies, &changed).into_iter().map(|index| format!("p{index}"));
    GeneratedTree { root: root.to_owned(), answer: projects.collect() }
}

impl GeneratedTree {
    /// A clone as a merge request's job has it: of the change alone, without history and without other
    /// branches, taken after `main` has moved on. Returns its folder and the variables that GitLab sets.
    pub fn runner_clone(&self) -> (PathBuf, [(&'static str, String); 4]) {
        let (origin, clone) = (self.root.join(".git/origin"), self.root.join(".git/clone"));
        let began = git(&self.root, &["rev-parse", "main"]).trim().to_owned();
        let address = format!("file://{}", origin.display());
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        git(&self.root, &["clone", "--quiet", "--bare", ".", &path(&origin)]);
        let moved = ["commit-tree", "-p", "main", "-m", "moved on", "change^{tree}"];
        let moved = git(&origin, &[&WHO[..], &moved].concat());
        git(&origin, &["update-ref", "refs/heads/main", moved.trim()]);
        git(&self.root, &["init", "--quiet", &path(&clone)]);
        git(&clone, &["remote", "add", "origin", &address]);
        git(&clone, &["fetch", "--quiet", "--no-tags", "--depth", "1", "origin", "change"]);
        git(&clone, &["checkout", "--quiet", "FETCH_HEAD"]);
        let variables = [
            ("GITLAB_CI", "true".to_owned()),
            ("CI_MERGE_REQUEST_IID", "1".to_owned()),
            ("CI_MERGE_REQUEST_EVENT_TYPE", "detached".to_owned()),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", began),
        ];
        (clone, variables)
    }
}

/// Returns the dependencies of each package: packages with higher numbers, so that there is no cycle.
fn edges(shape: Shape) -> Vec<BTreeSet<usize>> {
    let mut dependencies = vec![BTreeSet::new(); shape.packages];
    let mut state: u64 = 1;
    let mut random = |below: usize| {
        // Knuth's MMIX generator: the same tree everywhere.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let mut count = 0;
    while count < shape.edges {
        let from = random(shape.packages - 1);
        let to = from + 1 + random(shape.packages - 1 - from);
        count += usize::from(dependencies[from].insert(to));
    }
    dependencies
}

/// Three packages whose change affects exactly as many as `shape` says.
fn three(dependencies: &[BTreeSet<usize>], shape: Shape) -> [usize; 3] {
    for a in (1..shape.packages).step_by(3) {
        for b in (a + 2..shape.packages).step_by(7) {
            let changed = [a, a + 1, b];
            if users(dependencies, &changed).len() == shape.answer {
                return changed;
            }
        }
    }
    panic!("no three packages affect {}", shape.answer);
}

/// The changed packages and all that depend on them.
fn users(dependencies: &[BTreeSet<usize>], changed: &[usize]) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = changed.iter().copied().collect();
    // Edges lead to higher numbers, so one walk from the top sees every one.
    for index in (0..dependencies.len()).rev() {
        if dependencies[index].iter().any(|on| found.contains(on)) {
            found.insert(index);
        }
    }
    found
}

/// The author of commits.
const WHO: [&str; 4] = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"];

fn commit(root: &Path, message: &str) {
    git(root, &["add", "--all"]);
    git(root, &[&WHO[..], &["commit", "--quiet", "-m", message]].concat());
}
