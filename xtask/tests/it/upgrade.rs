//! `upgrade wrangler|bun|dagger`, with the real npm and Bun and a package registry on this machine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{Ran, TestEnv};

/// The version that the registry calls the newest.
const NEWEST: &str = "99.1.0";

/// Starts a package registry with one version of each package, without dependencies. It lives as long as the tests.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let base = address.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            if reader.read_line(&mut line).is_err() {
                continue;
            }
            let path =
                line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            let name = path.replace("%2f", "/").replace("%2F", "/");
            let package = json!({
                "name": name,
                "dist-tags": { "latest": NEWEST },
                "versions": { NEWEST: {
                    "name": name, "version": NEWEST,
                    "dist": { "tarball": format!("{base}/{name}/-/{NEWEST}.tgz"), "shasum": "0".repeat(40),
                              "integrity": "sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==" },
                } },
            });
            let body = package.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _closed = reader.get_mut().write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// Runs `upgrade` with the registry.
fn upgrade(env: &TestEnv, registry: &str, arguments: &[&str]) -> Ran {
    let cache = env.folder.join("npm-cache");
    let variables = [
        ("npm_config_registry", registry),
        ("BUN_CONFIG_REGISTRY", registry),
        ("npm_config_cache", cache.as_str()),
    ];
    env.xtask_with(&[&["upgrade"], arguments].concat(), &variables)
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.root.join(path)).expect(path)
}

/// The texts of all files that git knows or would add.
fn files(env: &TestEnv) -> BTreeMap<String, String> {
    let listed = env.sh("git ls-files --cached --others --exclude-standard").exits(0).stdout;
    listed.lines().map(|path| (path.to_owned(), read(env, path))).collect()
}

fn config(env: &TestEnv) -> Value {
    serde_json::from_str(&read(env, "dagger/config/config.json")).expect("JSON")
}

/// Returns output with the pinned versions replaced.
fn normalize(env: &TestEnv, text: &str) -> String {
    let config = config(env);
    let pins =
        [(config["tools"]["bun"].as_str(), "BUN"), (config["tools"]["dagger"].as_str(), "DAGGER")];
    let wrangler: Value =
        serde_json::from_str(&read(env, "dagger/cloudflare/toolchain/package.json")).expect("JSON");
    let pins =
        pins.into_iter().chain([(wrangler["dependencies"]["wrangler"].as_str(), "WRANGLER")]);
    pins.fold(text.to_owned(), |text, (version, name)| {
        text.replace(version.expect("a version"), name)
    })
}

#[test]
fn a_pin_moves_with_its_lock_file() {
    let env = TestEnv::with_tools();
    env.site("projects/shop", "shop");
    env.worker("projects/api", "api");
    env.write("dagger/config/dagger.json", r#"{ "name": "config", "engineVersion": "v0.20.2" }"#);
    env.commit("two projects");
    let registry = registry();
    let upgrade = |arguments: &[&str]| upgrade(&env, &registry, arguments);
    let before = files(&env);

    let list = upgrade(&[]).exits(0).stdout;
    expect![[r#"
        PART      CURRENT  NEWEST  PIN
        xtask     -        -       this checkout
        wrangler  WRANGLER  99.1.0  dagger/cloudflare/toolchain/package.json
        bun       BUN    99.1.0  dagger/config/config.json
        dagger    DAGGER   99.1.0  dagger/config/config.json
        next: `cargo xtask upgrade wrangler`
        next: `cargo xtask upgrade bun`
        next: `cargo xtask upgrade dagger`
    "#]]
    .assert_eq(&normalize(&env, &list));
    let dry = upgrade(&["wrangler", "--dry-run"]).exits(0).stdout;
    expect![[r#"
        wrangler WRANGLER → 99.1.0
        would be written: dagger/cloudflare/toolchain/package.json, dagger/cloudflare/toolchain/bun.lock
        2 of 2 projects get another content key and are deployed once more: api, shop
    "#]].assert_eq(&normalize(&env, &dry));
    let dry = upgrade(&["dagger", "--dry-run"]).exits(0).stdout;
    expect![[r#"
        dagger DAGGER → 99.1.0
        would be written: dagger/config/config.json
        no content key changes: nothing is deployed again
    "#]]
    .assert_eq(&normalize(&env, &dry));
    let missing = upgrade(&["wrangler", "98.0.0"]).exits(3);
    assert!(
        missing.stderr.contains("wrangler 98.0.0 cannot be locked; all files are as before"),
        "{}",
        missing.stderr
    );
    let old = upgrade(&["dagger", "0.1.0"]).exits(3).stderr;
    expect![[r#"
        error: dagger/config/dagger.json needs Dagger 0.20.2 or newer; nothing was changed
        hint: name a newer version, or change `engineVersion` in dagger/config/dagger.json first
    "#]]
    .assert_eq(&old);
    assert_eq!(files(&env), before, "nothing was changed");

    let json = upgrade(&["wrangler", "--json"]).exits(0).json();
    assert_eq!((&json["to"], &json["written"]), (&json!(NEWEST), &json!(true)));
    let all = json!(["api", "shop"]);
    assert_eq!(json["redeployed"], all);
    let changed =
        json!(["dagger/cloudflare/toolchain/bun.lock", "dagger/cloudflare/toolchain/package.json"]);
    assert_eq!(json["files"], changed);
    assert!(read(&env, "dagger/cloudflare/toolchain/bun.lock").contains("\"wrangler@99.1.0\""));
    let again = upgrade(&["wrangler"]).exits(0).stdout;
    assert_eq!(again, "up to date: wrangler 99.1.0\n");

    let json = upgrade(&["bun", NEWEST, "--json"]).exits(0).json();
    assert_eq!(json["redeployed"], all);
    let edited = config(&env);
    assert_eq!(edited["tools"]["bun"], NEWEST);
    assert_eq!(edited["images"]["bun"], format!("oven/bun:{NEWEST}"));
    let lock: Value =
        serde_json::from_str(&read(&env, "dagger/bun/toolchain/package-lock.json")).expect("JSON");
    assert_eq!(lock["packages"]["node_modules/bun"]["version"], NEWEST);
    assert_eq!(lock["packages"]["node_modules/bun"]["resolved"], Value::Null, "no address");

    env.xtask(&["ci", "generate"]).exits(0);
    let json = upgrade(&["dagger", NEWEST, "--json"]).exits(0).json();
    assert_eq!(json["redeployed"], json!([]), "no key has Dagger's version");
    assert_eq!(json["files"], json!(["dagger/config/config.json", ".gitlab-ci.yml"]));
    assert!(
        read(&env, ".gitlab-ci.yml").contains("DAGGER_VERSION: \"99.1.0\"")
            || read(&env, ".gitlab-ci.yml").contains("DAGGER_VERSION: 99.1.0")
    );
    let pins = env.xtask(&["doctor", "pins"]).exits(0).stdout;
    assert!(pins.contains("every other file agrees"), "{pins}");
}

/// An install would ignore a pin whose lock file names another version.
#[test]
fn a_pin_that_was_changed_without_its_lock_file_is_refused() {
    let env = TestEnv::with_tools();
    env.site("projects/shop", "shop");
    let manifest = "dagger/cloudflare/toolchain/package.json";
    let text = read(&env, manifest);
    let pinned: Value = serde_json::from_str(&text).expect("JSON");
    let pinned = pinned["dependencies"]["wrangler"].as_str().expect("a version").to_owned();
    env.write(manifest, &text.replace(&pinned, NEWEST));
    env.commit("bumped");
    let message = format!(
        "error: {manifest} pins wrangler {NEWEST}, but dagger/cloudflare/toolchain/bun.lock locks {pinned}\n\
         hint: run `cargo xtask upgrade wrangler {NEWEST}`, which writes the pin and its lock file\n\
         hint: or restore both with `git checkout -- dagger/cloudflare/toolchain`\n"
    );
    for arguments in [&["deploy", "shop"][..], &["deploy", "shop", "--dry-run"], &["build", "shop"]]
    {
        let ran = env.xtask(arguments).exits(3);
        assert!(ran.stderr.ends_with(&message), "{arguments:?}: {}", ran.stderr);
    }
    let doctor = env.xtask(&["doctor", "config.pins"]).exits(1).stdout;
    assert!(doctor.contains(&format!("pins wrangler {NEWEST}, but")), "{doctor}");
    // The command that the message names is the fix.
    upgrade(&env, &registry(), &["wrangler", NEWEST]).exits(0);
    let script = env.xtask(&["deploy", "shop", "--dry-run"]).exits(0).stdout;
    assert!(script.contains("install --frozen-lockfile"), "{script}");
}

/// A repository that only uses the tool has no pins until it wants another version than the tool carries.
#[test]
fn an_embedded_pin_moves_into_the_repository() {
    let env = TestEnv::foreign();
    env.worker("apps/api", "acme-api");
    env.write(
        "dagger/config/config.json",
        r#"{ "cloudflare": { "accountId": "00000000000000000000000000000000", "tokenVariable": "T" },
  "gitlab": { "url": "https://gitlab.example.org", "projectId": "0", "tokenVariable": "G" },
  "environments": { "production": { "protected": true } } }
"#,
    );
    env.commit("theirs");
    let registry = registry();
    let list = upgrade(&env, &registry, &["--json"]).exits(0).json();
    let places: Vec<&Value> =
        list["pins"].as_array().expect("pins").iter().map(|pin| &pin["place"]).collect();
    assert_eq!(
        places,
        ["this checkout", "built into xtask", "built into xtask", "built into xtask"]
    );
    let ran = upgrade(&env, &registry, &["wrangler"]).exits(0);
    let (_, rest) = ran.stdout.split_once('\n').expect("lines");
    expect![[r#"
        written: dagger/cloudflare/toolchain/.gitignore, dagger/cloudflare/toolchain/bun.lock, dagger/cloudflare/toolchain/package.json
        1 of 1 projects get another content key and are deployed once more: apps/api
        this repository now pins wrangler itself, so `upgrade xtask` does not move it; delete dagger/cloudflare/toolchain to return to the pin of xtask
        next: `cargo xtask doctor`, then commit these files
    "#]].assert_eq(rest);
    assert_eq!(read(&env, "dagger/cloudflare/toolchain/.gitignore"), "node_modules/\n");
    upgrade(&env, &registry, &["bun"]).exits(0);
    let edited = config(&env);
    assert_eq!(edited["tools"]["bun"], NEWEST);
    assert!(edited["tools"]["dagger"].is_string(), "{edited:#}");
    assert_eq!(edited["images"]["bun"], format!("oven/bun:{NEWEST}"));
    let names = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(names["projects"].as_array().map(Vec::len), Some(1), "the pins are no projects");
}

/// The token that reads the registry of a private project.
const READER: &str = "glpat-reader-of-packages";

/// Serves the checksum of one archive, and that of `v1.5.0` in a private project.
fn serve_checksum(sum: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            let mut request = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                request.push_str(&std::mem::take(&mut line));
            }
            let is_private = request.contains("/v1.5.0/xtask-v1.5.0-x86_64-linux.tar.gz.sha256 ");
            let may_read = request.contains(&format!("authorization: Bearer {READER}\r\n"));
            let is_there = request.contains("/v1.3.0/xtask-v1.3.0-x86_64-linux.tar.gz.sha256 ")
                || (is_private && may_read);
            let (status, body) = match is_there {
                true => ("200 OK", format!("{sum}  xtask-v1.3.0-x86_64-linux.tar.gz\n")),
                false => ("404 Not Found", String::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _closed = reader.get_mut().write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// A repository without a Rust crate only names the archive of a release.
#[test]
fn the_archive_of_a_repository_moves_with_its_checksum() {
    const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";
    let env = TestEnv::foreign();
    env.worker("apps/api", "acme-api");
    let server = serve_checksum(NEW);
    let write = |url: &str| {
        let config = json!({
            "cloudflare": { "accountId": "0".repeat(32), "tokenVariable": "T" },
            "gitlab": { "url": server, "projectId": "0", "tokenVariable": "G" },
            "environments": { "production": { "protected": true } },
            "pipeline": { "engine": "host", "xtaskArchive": url, "xtaskSha256": OLD },
        });
        env.write("dagger/config/config.json", &format!("{config:#}\n"));
    };
    let archive = |version: &str| {
        format!(
            "$CI_API_V4_URL/projects/7/packages/generic/xtask/{version}/xtask-{version}-x86_64-linux.tar.gz"
        )
    };
    write(&archive("v1.2.0"));
    env.xtask(&["ci", "generate"]).exits(0);
    env.commit("theirs");
    let normal = |text: &str| text.replace(&server, "SERVER");
    let list = upgrade(&env, &registry(), &["--json"]).exits(0).json();
    assert_eq!(
        list["pins"][0],
        json!({ "part": "xtask", "current": "v1.2.0", "newest": null, "place": "dagger/config/config.json" })
    );
    let mut shown = String::new();
    for arguments in [
        &["xtask"][..],
        &["xtask", "v1.4.0"],
        &["xtask", "v1.2.0"],
        &["xtask", "v1.3.0", "--dry-run"],
    ] {
        let ran = env.xtask(&[&["upgrade"], arguments].concat());
        shown += &format!(
            "upgrade {}: exit {}\n{}{}",
            arguments.join(" "),
            ran.code,
            ran.stdout,
            ran.stderr
        );
    }
    expect![[r#"
        upgrade xtask: exit 2
        error: no server names the newest version of an archive; nothing was changed
        hint: name the version: `cargo xtask upgrade xtask v1.2.0`
        upgrade xtask v1.4.0: exit 1
        error: SERVER/api/v4/projects/7/packages/generic/xtask/v1.4.0/xtask-v1.4.0-x86_64-linux.tar.gz.sha256 cannot be read: the server answered 404; nothing was changed
        hint: check that the archive and its `.sha256` are there; if the project is private, set GITLAB_TOKEN to a token with the scope `read_api`
        hint: or set `pipeline.xtaskArchive` and `pipeline.xtaskSha256` in dagger/config/config.json
        upgrade xtask v1.2.0: exit 0
        up to date: v1.2.0
        upgrade xtask v1.3.0 --dry-run: exit 0
        v1.2.0 → v1.3.0
        pipeline.xtaskArchive: $CI_API_V4_URL/projects/7/packages/generic/xtask/v1.3.0/xtask-v1.3.0-x86_64-linux.tar.gz
        pipeline.xtaskSha256: 2222222222222222222222222222222222222222222222222222222222222222
        nothing is written by a dry run
    "#]].assert_eq(&normal(&shown));
    assert_eq!(env.sh("git status --porcelain").stdout, "", "nothing was changed");
    let private = ["upgrade", "xtask", "v1.5.0", "--dry-run", "--json"];
    env.xtask(&private).exits(1);
    // The second name is `gitlab.tokenVariable`.
    for name in ["GITLAB_TOKEN", "G"] {
        let ran = env.xtask_with(&private, &[(name, READER)]).exits(0);
        assert_eq!(ran.json()["to"], "v1.5.0");
        assert!(!(ran.stdout + &ran.stderr).contains(READER), "{name}");
    }
    let ran = env.xtask(&["upgrade", "xtask", "v1.3.0"]).exits(0);
    expect![[r#"
        v1.2.0 → v1.3.0
        pipeline.xtaskArchive: $CI_API_V4_URL/projects/7/packages/generic/xtask/v1.3.0/xtask-v1.3.0-x86_64-linux.tar.gz
        pipeline.xtaskSha256: 2222222222222222222222222222222222222222222222222222222222222222
        written: dagger/config/config.json, .gitlab-ci.yml
        next: commit them; jobs download the new archive from then on
    "#]].assert_eq(&normal(&ran.stdout));
    let edited = config(&env);
    assert_eq!(edited["pipeline"]["xtaskArchive"], archive("v1.3.0"));
    assert_eq!(edited["pipeline"]["xtaskSha256"], NEW);
    assert!(read(&env, ".gitlab-ci.yml").contains(NEW));
    env.xtask(&["ci", "generate", "--check"]).exits(0);

    write("https://example.org/xtask.tar.gz");
    let unknown = env.xtask(&["upgrade", "xtask", "v1.3.0"]).exits(3);
    expect![[r#"
        error: `pipeline.xtaskArchive` is https://example.org/xtask.tar.gz, whose version is unknown; nothing was changed
        hint: write the new address and its checksum into dagger/config/config.json, or name archives as `dist` does: `xtask-v1.2.0-x86_64-linux.tar.gz`
    "#]].assert_eq(&unknown.stderr);
}
