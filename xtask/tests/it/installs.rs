//! Monorepos of each package manager, with the real managers from the registry.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use camino::Utf8Path;

use crate::support::{Ran, TestEnv};

/// One package manager's files.
struct Manager {
    name: &'static str,
    lock: (&'static str, &'static str),
    /// The specifier of a dependency on a member.
    member: &'static str,
    /// Fields of the root's `package.json`.
    root: &'static str,
    /// The command that a hint names.
    install: &'static str,
}

const NPM: Manager = Manager {
    name: "npm",
    lock: ("package-lock.json", include_str!("../locks/package-lock.json")),
    member: "*",
    root: "",
    install: "npm install",
};
const PNPM: Manager = Manager {
    name: "pnpm",
    lock: ("pnpm-lock.yaml", include_str!("../locks/pnpm-lock.yaml")),
    member: "workspace:*",
    root: r#""packageManager": "pnpm@10.34.8","#,
    install: "pnpm install",
};
const YARN_CLASSIC: Manager = Manager {
    name: "yarn",
    lock: ("yarn.lock", include_str!("../locks/yarn-classic.lock")),
    member: "*",
    root: "",
    install: "yarn install",
};
const YARN_BERRY: Manager = Manager {
    name: "berry",
    lock: ("yarn.lock", include_str!("../locks/yarn-berry.lock")),
    member: "workspace:*",
    root: r#""packageManager": "yarn@4.18.1","#,
    install: "yarn install",
};
const BUN: Manager = Manager {
    name: "bun",
    lock: ("bun.lock", include_str!("../locks/bun.lock")),
    member: "workspace:*",
    root: "",
    install: "bun install",
};

/// A monorepo of two sites that import a package with its own build. Each build and each install
/// leaves a line outside of the repository, and the install calls `bun`.
fn monorepo(manager: &Manager) -> TestEnv {
    let env = TestEnv::with_tools();
    env.write(
        "package.json",
        &format!(
            r#"{{ "name": "root", "private": true, "workspaces": ["packages/*", "projects/*"], {}
               "scripts": {{ "postinstall": "bun --version >> ../installs" }} }}"#,
            manager.root
        ),
    );
    if manager.name == "pnpm" {
        env.write("pnpm-workspace.yaml", "packages:\n  - packages/*\n  - projects/*\n");
    }
    env.write(manager.lock.0, manager.lock.1);
    env.write(
        "packages/ui/package.json",
        r#"{ "name": "@t/ui", "version": "1.0.0", "type": "module", "main": "dist/index.js",
             "scripts": { "build": "node build.mjs" } }"#,
    );
    env.write(
        "packages/ui/build.mjs",
        "import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';\n\
         appendFileSync('../../../builds', 'ui\\n');\n\
         mkdirSync('dist', { recursive: true });\n\
         writeFileSync('dist/index.js', `export const text = 'built by ${process.versions.bun ? 'bun' : 'node'}';`);\n",
    );
    for project in ["one", "two"] {
        let dir = format!("projects/{project}");
        env.write(
            &format!("{dir}/package.json"),
            &format!(
                r#"{{ "name": "{project}", "version": "1.0.0", "type": "module",
                     "dependencies": {{ "@t/ui": "{}", "is-number": "7.0.0" }},
                     "scripts": {{ "build": "node build.mjs" }} }}"#,
                manager.member
            ),
        );
        env.write(
            &format!("{dir}/build.mjs"),
            &format!(
                "import {{ appendFileSync, mkdirSync, writeFileSync }} from 'node:fs';\n\
                 import isNumber from 'is-number';\n\
                 import {{ text }} from '@t/ui';\n\
                 appendFileSync('../../../builds', '{project}\\n');\n\
                 mkdirSync('dist', {{ recursive: true }});\n\
                 writeFileSync('dist/index.html', `${{text}} ${{isNumber(5)}}`);\n"
            ),
        );
        env.write(
            &format!("{dir}/wrangler.jsonc"),
            &format!(
                r#"{{ "name": "{project}", "compatibility_date": "2026-10-01", "workers_dev": true,
                     "assets": {{ "directory": "./dist" }} }}"#
            ),
        );
    }
    let ignored = ".pnp.*\n.yarn\nnode_modules\n";
    env.write(".git/info/exclude", ignored);
    env.commit(manager.name);
    env
}

/// The variables with which this machine reaches the registry.
const NETWORK: [&str; 9] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "https_proxy",
    "no_proxy",
    "npm_config_cafile",
    "npm_config_registry",
];

/// The variables with which xtask uses the tools that all tests share, so that each is installed once.
pub fn variables() -> Vec<(&'static str, String)> {
    let tools = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    let network = NETWORK.iter().filter_map(|&name| Some((name, std::env::var(name).ok()?)));
    let own = [("XTASK_TOOLS", tools.into_string()), ("NO_COLOR", "1".to_owned())];
    network.chain(own).collect()
}

/// Runs xtask with the tools that all tests share.
pub fn run(env: &TestEnv, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
    let shared = variables();
    let shared = shared.iter().map(|(name, value)| (*name, value.as_str()));
    let variables: Vec<(&str, &str)> = shared.chain(more.iter().copied()).collect();
    env.xtask_with(arguments, &variables)
}

fn lines(env: &TestEnv, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(env.folder.join(name)).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Deploys both sites: one install, one build of each package, and what the runtime is.
fn deploys(manager: &Manager, runtime: &str) -> TestEnv {
    let env = monorepo(manager);
    run(&env, &["deploy", "--all", "--engine", "host", "--json"], &[]).exits(0);
    assert_eq!(lines(&env, "installs").len(), 1, "installed once, with the pinned Bun on PATH");
    assert_eq!(lines(&env, "builds"), ["one", "two", "ui"]);
    for site in ["one.localhost", "two.localhost"] {
        assert_eq!(env.fetch(site, "/"), (200, format!("built by {runtime} true")));
    }
    env
}

/// A dependency that the lock file does not have is refused with the command that adds it.
fn refuses_a_stale_lock(manager: &Manager) {
    let env = monorepo(manager);
    let path = env.root.join("projects/one/package.json");
    let text = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, text.replace("7.0.0", "6.0.0")).expect("written");
    let ran = run(&env, &["build", "one", "--engine", "host"], &[]);
    assert!([1, 3].contains(&ran.code), "{}\n{}", ran.stdout, ran.stderr);
    let hint =
        format!("run `{}` in the repository's root and commit {}", manager.install, manager.lock.0);
    assert!((ran.stdout + &ran.stderr).contains(&hint), "{hint}");
    assert!(!lines(&env, "builds").contains(&"one".to_owned()));
}

/// A registry that wants another token is told apart, with the variables that an install sees.
fn names_the_variables_of_a_private_registry(manager: &Manager, settings: (&str, &str)) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 4096];
            let _request = stream.read(&mut buffer);
            let body = r#"{"error":"token wanted"}"#;
            let _answer = write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let env = monorepo(manager);
    env.write(settings.0, &settings.1.replace("PORT", &port.to_string()));
    let cache = env.folder.join("cache");
    let fresh = [
        ("npm_config_cache", cache.as_str()),
        ("BUN_INSTALL_CACHE_DIR", cache.as_str()),
        ("XDG_CACHE_HOME", cache.as_str()),
        ("NPM_TOKEN", "canary-registry-token"),
    ];
    let ran = run(&env, &["build", "one", "--engine", "host"], &fresh).exits(1);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("\"variables\": { \"install\": [\"NPM_TOKEN\"] }"), "{text}");

    let config = env.root.join("dagger/config/config.json");
    let old = std::fs::read_to_string(&config).expect("text");
    let new =
        old.replacen('{', r#"{ "variables": { "install": ["NPM_TOKEN", "OTHER_TOKEN"] },"#, 1);
    std::fs::write(&config, new).expect("written");
    let ran = run(&env, &["build", "one", "--engine", "host"], &fresh).exits(1);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("NPM_TOKEN (is set), OTHER_TOKEN (is not set)"), "{text}");
    assert!(!text.contains("canary-registry-token"), "{text}");
}

/// `npm ci` would delete the packages below another server of the workspace.
#[test]
fn dev_keeps_the_packages_that_npm_installed() {
    let env = monorepo(&NPM);
    let manifest = env.root.join("projects/one/package.json");
    let text = std::fs::read_to_string(&manifest).expect("text");
    let dev = r#""scripts": { "dev": "node build.mjs", "#;
    std::fs::write(&manifest, text.replace(r#""scripts": { "#, dev)).expect("written");
    run(&env, &["dev", "one"], &[]).exits(0);
    env.write("node_modules/is-number/kept.txt", "kept");
    run(&env, &["dev", "one"], &[]).exits(0);
    assert_eq!(lines(&env, "builds"), ["one", "one", "ui", "ui"]);
    let kept = std::fs::read_to_string(env.root.join("node_modules/is-number/kept.txt"));
    assert_eq!(kept.expect("a file of the first install"), "kept");
    let lock = std::fs::read_to_string(env.root.join("package-lock.json"));
    assert_eq!(lock.expect("a lock file"), NPM.lock.1);
}

/// `npm ci` would install everything again for each build.
#[test]
fn a_build_keeps_the_packages_that_npm_installed() {
    let env = monorepo(&NPM);
    let marker = env.root.join("node_modules/marker.txt");
    let build = |more: &[&str]| {
        env.write("node_modules/marker.txt", "kept");
        run(&env, &[&["deploy", "one", "--engine", "host"], more].concat(), &[]).exits(0);
        marker.exists()
    };
    let edit = |path: &str, old: &str, new: &str| {
        let path = env.root.join(path);
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.contains(old), "{path}: {text}");
        std::fs::write(path, text.replacen(old, new, 1)).expect("written");
    };
    assert!(!build(&[]), "the first one installs");
    env.write("projects/one/new.txt", "a change");
    assert!(!build(&[]), "scripts of an install run each time");
    edit("package.json", "\"postinstall\"", "\"other\"");
    env.write("projects/one/new.txt", "a second change");
    assert!(!build(&[]), "the first one without a script installs");
    env.write("projects/one/new.txt", "a third change");
    assert!(build(&[]), "the second one does not");
    assert!(!build(&["--force"]), "--force installs again");
    edit("projects/two/package.json", "{", r#"{ "description": "changed", "#);
    env.write("projects/one/new.txt", "another change");
    assert!(!build(&[]), "another manifest");
    env.sh("rm -r node_modules/is-number").exits(0);
    env.write("projects/one/new.txt", "a last change");
    assert!(!build(&[]), "a missing package");
    assert!(env.root.join("node_modules/is-number").is_dir());
}

/// npm reads the manifests of an npm workspace around the folder in which it runs, also for xtask's own tools.
#[test]
fn a_broken_manifest_of_an_npm_workspace_does_not_stop_the_install_of_tools() {
    let env = TestEnv::new();
    env.write("package.json", r#"{ "name": "root", "workspaces": ["projects/*"] }"#);
    env.site("projects/site", "site");
    env.write("projects/broken/package.json", r#"{ "name": "#);
    env.commit("workspace");
    let settings = "registry=http://127.0.0.1:9/\nfetch-retries=0\n";
    std::fs::write(env.folder.join("home/.npmrc"), settings).expect("a file");
    let ran = env.xtask(&["deploy", "site", "--engine", "host"]).exits(3);
    assert!(ran.stderr.contains("connect ECONNREFUSED 127.0.0.1:9"), "{}", ran.stderr);
}

macro_rules! each_manager {
    ($($module:ident: $manager:expr, $runtime:literal, $settings:expr;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn deploys_two_sites_and_a_built_package() {
                deploys(&$manager, $runtime);
            }

            #[test]
            fn a_stale_lock_file_is_refused() {
                refuses_a_stale_lock(&$manager);
            }

            #[test]
            fn a_private_registry_is_explained() {
                names_the_variables_of_a_private_registry(&$manager, $settings);
            }
        }
    )*};
}

const NPMRC: (&str, &str) = (
    ".npmrc",
    "registry=http://127.0.0.1:PORT/\n//127.0.0.1:PORT/:_authToken=${NPM_TOKEN}\nfetch-retries=0\n",
);

each_manager! {
    npm: NPM, "node", NPMRC;
    pnpm: PNPM, "node", (".npmrc", "registry=http://127.0.0.1:PORT/\nfetch-retries=0\nstore-dir=../store\n");
    yarn_classic: YARN_CLASSIC, "node", (".npmrc", "registry=http://127.0.0.1:PORT/\n//127.0.0.1:PORT/:_authToken=x\n");
    yarn_berry: YARN_BERRY, "node", (".yarnrc.yml", "npmRegistryServer: http://127.0.0.1:PORT\nunsafeHttpWhitelist: [127.0.0.1]\nenableGlobalCache: false\n");
    bun: BUN, "bun", ("bunfig.toml", "[install]\nregistry = \"http://127.0.0.1:PORT/\"\n");
}
