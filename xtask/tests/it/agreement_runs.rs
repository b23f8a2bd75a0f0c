//! Compares `affected`, `status` and `deploy` with the bytes that builds read, in real runs over random workspaces with
//! peers, cycles, overrides, patches, submodules and edits.
//!
//! `XTASK_RUNS=20` sets the number of workspaces. Each failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::affected::{affected_json, names};
use crate::random::Random;
use crate::support::TestEnv;

/// The number of workspaces in the suite. Each run of `deploy` takes seconds.
const WORKSPACES: u64 = 2;

/// The number of edits in a workspace.
const EDITS: usize = 2;

/// The build of each site: it writes all that it reads into its page.
const BUILD: &str = "import { readdirSync, readFileSync } from 'node:fs';\n\
    const read = (path) => path.endsWith('/') ? readdirSync(path).filter((name) => name.endsWith('.ts')).sort().map((name) => read(path + name)).join('') : path + '=' + readFileSync(path, 'utf8');\n\
    await Bun.write('dist/index.html', JSON.parse(readFileSync('reads.json', 'utf8')).map((path) => read('../../' + path)).join(''));\n";

/// A workspace of two sites and some packages.
struct Sites {
    env: TestEnv,
    /// The paths that the build of each site reads. A path with a final slash means the `.ts` files of the folder.
    reads: BTreeMap<String, Vec<String>>,
    dirs: Vec<String>,
}

impl Sites {
    fn new(seed: u64, sandbox: Option<&Utf8Path>) -> Sites {
        let mut random = Random(seed);
        let env = TestEnv::with_tools();
        if let Some(sandbox) = sandbox {
            std::fs::create_dir_all(env.root.join(".xtask")).expect("a folder");
            std::os::unix::fs::symlink(sandbox, env.root.join(".xtask/sandbox")).expect("a link");
        }
        let count = 4 + random.below(3);
        let dirs: Vec<String> = (0..count)
            .map(|number| {
                format!("{}/s{seed}p{number}", if number < 2 { "projects" } else { "packages" })
            })
            .collect();
        let name = |number: usize| format!("s{seed}p{number}");
        let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        for number in 0..count {
            let mut manifest = json!({ "name": name(number), "version": "1.0.0" });
            for other in (0..count).filter(|other| *other != number) {
                let kind =
                    ["dependencies", "devDependencies", "peerDependencies", "", "", "", "", "", ""]
                        [random.below(9)];
                if !kind.is_empty() {
                    manifest[kind][name(other)] = json!("workspace:*");
                    edges[number].insert(other);
                }
            }
            match number {
                0 => {
                    manifest["dependencies"]["ov"] = json!("1.0.0");
                    manifest["xtask"] = json!({ "inputs": ["shared"] });
                }
                2 => manifest["dependencies"]["sub"] = json!("file:../../vendor/sub"),
                _ => {}
            }
            if number < 2 {
                manifest["scripts"]["build"] = json!("bun build.ts");
                env.write(&format!("{}/build.ts", dirs[number]), BUILD);
                env.write(
                    &format!("{}/wrangler.jsonc", dirs[number]),
                    &json!({ "name": name(number), "compatibility_date": "2026-10-01",
                             "assets": { "directory": "./dist" } })
                    .to_string(),
                );
            }
            env.write(&format!("{}/package.json", dirs[number]), &manifest.to_string());
            env.write(&format!("{}/src.ts", dirs[number]), "one\n");
        }
        env.write(
            "package.json",
            r#"{ "name": "root", "workspaces": ["projects/*", "packages/*"], "overrides": { "ov": "file:./vendor/ov" },
                 "patchedDependencies": { "x@1.0.0": "patches/x.patch" } }"#,
        );
        env.write("vendor/ov/package.json", r#"{ "name": "ov", "version": "1.0.0" }"#);
        env.write("vendor/ov/index.ts", "one\n");
        env.write("patches/x.patch", "one\n");
        env.write("shared/text.ts", "one\n");
        env.write("config/base.json", "{}");
        env.write(&format!("{}/tsconfig.json", dirs[1]), r#"{ "extends": "../../config/base" }"#);
        env.write(".gitignore", "node_modules\ndist\n.xtask\n");
        let submodule = TestEnv::new();
        submodule.write("package.json", r#"{ "name": "sub", "version": "1.0.0" }"#);
        submodule.write("a.ts", "one\n");
        submodule.commit("sub");
        env.sh(&format!(
            "git -c protocol.file.allow=always submodule --quiet add 'file://{}' vendor/sub",
            submodule.root
        ))
        .exits(0);
        env.sh("bun install --lockfile-only").exits(0);

        let mut reads = BTreeMap::new();
        for (number, dir) in dirs.iter().enumerate().take(2) {
            let (mut seen, mut waiting) = (BTreeSet::new(), vec![number]);
            while let Some(next) = waiting.pop() {
                if seen.insert(next) {
                    waiting.extend(&edges[next]);
                }
            }
            let mut paths = vec!["patches/x.patch".to_owned(), "vendor/ov/index.ts".to_owned()];
            // A site that imports another one is made from its output.
            let own = ["shared/text.ts", "config/base.json"];
            paths
                .extend((0..2).filter(|site| seen.contains(site)).map(|site| own[site].to_owned()));
            paths.extend(seen.iter().map(|package| format!("{}/", dirs[*package])));
            paths.extend(seen.contains(&2).then(|| "vendor/sub/a.ts".to_owned()));
            env.write(&format!("{dir}/reads.json"), &json!(paths).to_string());
            reads.insert(name(number), paths);
        }
        env.commit("tree");
        env.git(&["checkout", "--quiet", "-b", "change"]);
        Sites { env, reads, dirs }
    }

    /// Returns the page that each build would write now.
    fn pages(&self) -> BTreeMap<String, String> {
        let text = |path: &str| {
            let text = std::fs::read_to_string(self.env.root.join(path)).expect("text");
            format!("../../{path}={text}")
        };
        let page = |paths: &Vec<String>| -> String {
            let read = |path: &String| match path.strip_suffix('/') {
                None => text(path),
                Some(dir) => {
                    let entries = self.env.root.join(dir).read_dir_utf8().expect("a folder");
                    let names =
                        entries.map(|entry| entry.expect("an entry").file_name().to_owned());
                    let own: BTreeSet<String> =
                        names.filter(|name| name.ends_with(".ts")).collect();
                    own.iter().map(|name| text(&format!("{dir}/{name}"))).collect()
                }
            };
            paths.iter().map(read).collect()
        };
        self.reads.iter().map(|(name, paths)| (name.clone(), page(paths))).collect()
    }

    /// Edits something, or nothing that a build reads. Returns the path.
    fn edit(&self, random: &mut Random, round: usize) -> String {
        let dir = &self.dirs[random.below(self.dirs.len())];
        let (path, is_hidden) = match random.below(9) {
            0 => (format!("{dir}/new.ts"), false),
            1 => (format!("{dir}/src.ts"), true),
            2 => ("vendor/ov/index.ts".to_owned(), false),
            3 => ("patches/x.patch".to_owned(), false),
            4 => ("shared/text.ts".to_owned(), false),
            5 => ("config/base.json".to_owned(), true),
            6 => ("vendor/sub/a.ts".to_owned(), false),
            7 => (format!("{}/src.ts", self.dirs[2]), false),
            _ => ("README.md".to_owned(), false),
        };
        if is_hidden {
            self.env.git(&["update-index", "--assume-unchanged", &path]);
        }
        let comment = if path.ends_with(".json") { "{}\n// " } else { "" };
        self.env.write(&path, &format!("{comment}edit {round}\n"));
        path
    }

    /// Returns the projects whose live version `status` calls up to date, and all that are live.
    fn status(&self) -> BTreeMap<String, Value> {
        let json = self.env.xtask(&["status", "--env=local", "--json"]).exits(0).json();
        let rows = json["rows"].as_array().expect("rows").iter();
        rows.map(|row| (row["worker"].as_str().expect("text").into(), row["inStep"].clone()))
            .collect()
    }

    /// Deploys all projects. Returns those with a new version.
    fn deploy(&self) -> BTreeSet<String> {
        let ran = self.env.xtask(&["deploy", "--all", "--engine=host", "--json"]).exits(0).json();
        let records = ran["records"].as_array().expect("records").iter();
        let new = records.filter(|record| {
            let status = record["status"].as_str().expect("text");
            assert!(["live", "unchanged"].contains(&status), "{record:#}");
            status == "live"
        });
        new.map(|record| record["worker"].as_str().expect("text").to_owned()).collect()
    }
}

/// Returns the sites whose pages differ.
fn find_changes(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    now.iter()
        .filter(|(name, page)| before[*name] != **page)
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn affected_status_and_deploy_agree_with_the_bytes_of_builds() {
    let count = std::env::var("XTASK_RUNS").ok().and_then(|count| count.parse().ok());
    let mut first: Option<TestEnv> = None;
    for seed in 1..=count.unwrap_or(WORKSPACES) {
        let sandbox = first.as_ref().map(|env| env.root.join(".xtask/sandbox"));
        let sites = Sites::new(seed, sandbox.as_deref());
        println!("seed {seed}: {:?}", sites.reads);
        let mut random = Random(seed + 1000);
        let committed = sites.pages();
        let all: BTreeSet<String> = committed.keys().cloned().collect();
        assert_eq!(sites.deploy(), all, "seed {seed}: the first deployment");
        let mut live = committed.clone();
        for round in 0..EDITS {
            let path = sites.edit(&mut random, round);
            let pages = sites.pages();
            let now = find_changes(&live, &pages);
            let context = format!("seed {seed}, edit {round} of {path}");
            let found = affected_json(&sites.env, &["--base", "main"]);
            let affected: BTreeSet<String> =
                names(&found).iter().map(ToString::to_string).collect();
            assert_eq!(affected, find_changes(&committed, &pages), "{context}: affected");
            let in_step: BTreeMap<String, Value> =
                all.iter().map(|name| (name.clone(), json!(!now.contains(name)))).collect();
            assert_eq!(sites.status(), in_step, "{context}: status");
            assert_eq!(sites.deploy(), now, "{context}: deploy");
            for (name, page) in &pages {
                let served = sites.env.fetch(&format!("{name}.localhost"), "/");
                assert_eq!(served, (200, page.clone()), "{context}: {name}");
            }
            live = pages;
        }
        assert!(sites.status().values().all(|value| *value == json!(true)), "seed {seed}");
        if first.is_none() {
            first = Some(sites.env);
        } else {
            // The first one stops the sandbox.
            std::fs::remove_file(sites.env.root.join(".xtask/sandbox")).expect("removed");
        }
    }
}
