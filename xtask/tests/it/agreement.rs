//! Compares `affected` and the content key with a model in random small workspaces with cycles, peers, overrides,
//! patches, lock files, hidden edits and nested repositories. `agreement_runs` does the same with `deploy` and `status`.
//!
//! `XTASK_WORKSPACES=300` sets the number of workspaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use workspace::affected::find_affected;
use workspace::change_base::{LastDeployment, Question};
use workspace::git::{KnownFiles, TrackedChanges};
use workspace::key::content_key;
use workspace::lock_changes::LockChanges;
use workspace::summary::Summary;
use workspace::{Workspace, inputs};

use crate::random::Random;
use crate::support::TestEnv;

/// The number of workspaces in the suite. Each gets a few edits.
const WORKSPACES: u64 = 6;

/// A workspace and its dependencies. The first two packages are projects.
struct Model {
    env: TestEnv,
    seed: u64,
    pnpm: bool,
    /// The packages that each package is made from, itself included.
    edges: Vec<BTreeSet<usize>>,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random(seed);
        let pnpm = random.below(2) == 0;
        let count = 3 + random.below(4);
        let mut edges: Vec<BTreeSet<usize>> =
            (0..count).map(|number| BTreeSet::from([number])).collect();
        let env = TestEnv::new();
        for (number, own_edges) in edges.iter_mut().enumerate() {
            let mut kinds: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
            kinds
                .entry("dependencies")
                .or_default()
                .insert(format!("lib-{number}"), "^1.0.0".into());
            for other in (0..count).filter(|other| *other != number) {
                let kind = ["dependencies", "devDependencies", "peerDependencies", "", "", ""]
                    [random.below(6)];
                if !kind.is_empty() {
                    let spec = if pnpm { "workspace:*" } else { "^1.0.0" };
                    kinds.entry(kind).or_default().insert(format!("p{other}"), spec.into());
                    own_edges.insert(other);
                }
            }
            if number == 2 {
                let own = kinds.entry("dependencies").or_default();
                own.insert("sub".into(), "file:../../vendor/sub".into());
            }
            let dir = dir(number);
            let mut manifest =
                serde_json::json!({ "name": format!("p{number}"), "version": "1.0.0" });
            for (kind, specs) in kinds {
                manifest[kind] = serde_json::json!(specs);
            }
            env.write(&format!("{dir}/package.json"), &manifest.to_string());
            env.write(&format!("{dir}/src.ts"), "1\n");
        }
        env.write(
            "projects/p0/wrangler.json",
            r#"{ "name": "p0", "main": "../../shared/main.ts" }"#,
        );
        env.write("shared/main.ts", "1\n");
        env.write("projects/p1/wrangler.toml", "name = \"p1\"\nmain = \"src.ts\"\n");
        env.write("projects/p1/tsconfig.json", r#"{ "extends": "../../config/base" }"#);
        env.write("config/base.json", "{}");
        env.write(
            "package.json",
            r#"{ "workspaces": ["projects/*", "packages/*"], "overrides": { "ov": "file:./vendor/ov" },
                 "patchedDependencies": { "x@1.0.0": "patches/x.patch" } }"#,
        );
        env.write("vendor/ov/index.js", "1\n");
        env.write("patches/x.patch", "1\n");
        env.write("README.md", "1\n");
        if pnpm {
            env.write("pnpm-workspace.yaml", "packages: ['projects/*', 'packages/*']\n");
        }
        env.sh("mkdir -p vendor/sub && cd vendor/sub && git init -q . && echo 1 > a.ts && git add . && \
                git -c user.name=T -c user.email=t@example.com commit -qm one")
            .exits(0);
        let model = Model { env, seed, pnpm, edges };
        model.write_lock(None);
        model.env.commit("tree");
        model.env.git(&["checkout", "--quiet", "-b", "change"]);
        model
    }

    /// Writes the lock file, in which one package may have another locked version.
    fn write_lock(&self, bumped: Option<usize>) {
        let version = |number| if bumped == Some(number) { "1.2.0" } else { "1.1.0" };
        if self.pnpm {
            let mut text = "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned();
            for number in 0..self.edges.len() {
                let (dir, version) = (dir(number), version(number));
                write!(text, "\n  {dir}:\n    dependencies:\n      lib-{number}:\n        specifier: ^1.0.0\n        version: {version}\n")
                    .expect("text");
            }
            text += "\npackages: {}\n";
            self.env.write("pnpm-lock.yaml", &text);
        } else {
            let mut packages = serde_json::json!({ "": {} });
            for number in 0..self.edges.len() {
                let name = format!("lib-{number}");
                packages[dir(number)] = serde_json::json!({ "dependencies": { &name: "^1.0.0" } });
                packages[format!("node_modules/{name}")] =
                    serde_json::json!({ "version": version(number) });
            }
            let lock = serde_json::json!({ "lockfileVersion": 3, "packages": packages });
            self.env.write("package-lock.json", &lock.to_string());
        }
    }

    /// Returns the projects that are made from one of `changed`.
    fn made_from(&self, changed: &[usize]) -> BTreeSet<String> {
        let reaches = |project: &usize| {
            let (mut seen, mut waiting) = (BTreeSet::new(), vec![*project]);
            while let Some(number) = waiting.pop() {
                if seen.insert(number) {
                    waiting.extend(&self.edges[number]);
                }
            }
            changed.iter().any(|number| seen.contains(number))
        };
        (0..2).filter(reaches).map(|number| format!("p{number}")).collect()
    }

    fn edit(&self, random: &mut Random) -> (String, BTreeSet<String>) {
        let number = random.below(self.edges.len());
        let all: Vec<usize> = (0..self.edges.len()).collect();
        let file = |path: &str, changed: &[usize]| {
            self.env.write(path, "edited\n");
            (path.to_owned(), self.made_from(changed))
        };
        match random.below(10) {
            0 => file(&format!("{}/new.ts", dir(number)), &[number]),
            1 => {
                let path = format!("{}/src.ts", dir(number));
                self.env.git(&["update-index", "--assume-unchanged", &path]);
                file(&path, &[number])
            }
            2 => file("vendor/ov/index.js", &all),
            3 => file("patches/x.patch", &all),
            4 => file("shared/helper.ts", &[0]),
            5 => file("config/base.json", &[1]),
            6 => file("vendor/sub/a.ts", &[2]),
            7 => {
                self.write_lock(Some(number));
                (format!("the locked version of lib-{number}"), self.made_from(&[number]))
            }
            8 => file(".npmrc", &all),
            _ => file("README.md", &[]),
        }
    }

    fn keys(&self) -> BTreeMap<String, String> {
        let workspace = Workspace::load(&self.env.root).expect("a workspace");
        assert!(workspace.broken.is_empty(), "seed {}: {:?}", self.seed, workspace.broken);
        let projects: Vec<_> = workspace.projects.iter().collect();
        let read = |known: Option<&KnownFiles<'_>>| {
            inputs::read(&workspace, &projects, &[], known).expect("inputs")
        };
        let changes = TrackedChanges::read(&self.env.root).expect("changes");
        let files = workspace.all_files.as_ref().expect("UTF-8");
        let known = KnownFiles::new(&self.env.root, files, &changes);
        let (inputs, found) = (read(None), read(known.as_ref()));
        assert_eq!(format!("{found:?}"), format!("{inputs:?}"), "seed {}", self.seed);
        let key = |inputs: &inputs::Inputs| content_key(&inputs.blobs, &BTreeMap::new());
        projects.iter().map(|project| project.worker.clone()).zip(inputs.iter().map(key)).collect()
    }

    fn affected_projects(&self) -> BTreeSet<String> {
        let root = &self.env.root;
        let question = Question {
            root,
            base: Some("main"),
            head: None,
            pipeline: None,
            deployed: &|| LastDeployment::NoService,
        };
        let changes = question.changes().expect("changes");
        let summary = Summary::new(&Workspace::load(root).expect("a workspace"));
        let locks = LockChanges::find(root, &summary, &changes);
        find_affected(&summary, &changes, &locks)
            .projects
            .iter()
            .map(|found| found.name.to_owned())
            .collect()
    }
}

fn dir(number: usize) -> String {
    format!("{}/p{number}", if number < 2 { "projects" } else { "packages" })
}

#[test]
fn affected_and_the_key_agree_with_the_model() {
    let count = std::env::var("XTASK_WORKSPACES").ok().and_then(|count| count.parse().ok());
    for seed in 1..=count.unwrap_or(WORKSPACES) {
        let model = Model::new(seed);
        let mut random = Random(seed + 1000);
        let (mut before, mut expected) = (model.keys(), BTreeSet::new());
        assert_eq!(model.affected_projects(), expected, "seed {seed}: nothing changed");
        for _ in 0..4 {
            let (what, expected_now) = model.edit(&mut random);
            let now = model.keys();
            let changed: BTreeSet<String> = now
                .iter()
                .filter(|(name, key)| before[*name] != **key)
                .map(|(name, _)| name.clone())
                .collect();
            // The same edit twice changes nothing.
            if !changed.is_empty() || !expected_now.is_subset(&expected) {
                assert_eq!(changed, expected_now, "seed {seed}: the keys after an edit of {what}");
            }
            expected.extend(expected_now);
            assert_eq!(
                model.affected_projects(),
                expected,
                "seed {seed}: affected after an edit of {what}"
            );
            before = now;
        }
    }
}
