//! Lock files of each package manager, written by its own program.

use super::*;

/// Returns the slices of the folders `a` and `b`.
fn slices(name: &str, text: &str) -> [Option<String>; 2] {
    let lock = LockFile::parse(name, text).unwrap_or_else(|| panic!("{name} is readable: {text}"));
    let specs = |spec: &str| Specs::from([(spec.to_owned(), "^1.0.0".to_owned())]);
    let (a, b) = (specs("one"), specs("two"));
    let manifests = BTreeMap::from([("a", &a), ("b", &b)]);
    ["a", "b"].map(|folder| lock.slice(&BTreeSet::from([folder]), &manifests))
}

/// Checks that `change` of the text changes only the slice of `a`, and that the other replacements change none.
#[track_caller]
fn check(name: &str, text: &str, changes: &[(&str, &str, [bool; 2])]) {
    let before = slices(name, text);
    assert!(before.iter().all(Option::is_some), "{name}: both are covered");
    for (from, to, expected) in changes {
        assert!(text.contains(from), "{from}");
        let after = slices(name, &text.replace(from, to));
        let changed = [0, 1].map(|at| before[at] != after[at]);
        assert_eq!(changed, *expected, "{name}: {from} → {to}");
    }
}

const A: [bool; 2] = [true, false];
const BOTH: [bool; 2] = [true, true];

#[test]
fn npm() {
    let text = r#"{ "name": "root", "lockfileVersion": 3, "packages": {
        "": { "workspaces": ["a", "b"] },
        "a": { "devDependencies": { "one": "^1.0.0" }, "optionalDependencies": { "absent": "1" } },
        "b": { "dependencies": { "two": "^1.0.0" } },
        "node_modules/one": { "version": "1.0.0", "dependencies": { "deep": "1" } },
        "node_modules/deep": { "version": "1.0.1" },
        "node_modules/two": { "version": "1.0.2", "dependencies": { "deep": "2" } },
        "node_modules/two/node_modules/deep": { "version": "2.0.0" },
        "node_modules/a": { "resolved": "a", "link": true } } }"#;
    check(
        "package-lock.json",
        text,
        &[
            ("1.0.0\"", "1.0.3\"", A),
            ("1.0.1", "1.0.9", A),
            ("\"1.0.2\"", "\"1.0.8\"", [false, true]),
            ("\"2.0.0\"", "\"2.0.1\"", [false, true]),
            ("\"name\": \"root\"", "\"name\": \"other\"", [false, false]),
            ("\"lockfileVersion\": 3", "\"lockfileVersion\": 2", BOTH),
        ],
    );
}

#[test]
fn pnpm_9() {
    let text = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n\nimporters:\n\n  .: {}\n\n  a:\n    dependencies:\n      one:\n        specifier: ^1.0.0\n        version: 1.0.0(deep@1.0.1)\n\n  b:\n    devDependencies:\n      two:\n        specifier: ^1.0.0\n        version: other@3.0.0\n\npackages:\n\n  deep@1.0.1:\n    resolution: {integrity: sha512-deep}\n\n  one@1.0.0:\n    resolution: {integrity: sha512-one}\n    peerDependencies:\n      deep: '*'\n\n  other@3.0.0:\n    resolution: {integrity: sha512-other}\n\nsnapshots:\n\n  deep@1.0.1: {}\n\n  one@1.0.0(deep@1.0.1):\n    dependencies:\n      deep: 1.0.1\n\n  other@3.0.0: {}\n";
    check(
        "pnpm-lock.yaml",
        text,
        &[
            ("sha512-one", "sha512-two", A),
            ("sha512-deep", "sha512-two", A),
            ("sha512-other", "sha512-two", [false, true]),
            ("autoInstallPeers: true", "autoInstallPeers: false", BOTH),
        ],
    );
}

#[test]
fn pnpm_6_and_5() {
    let six = "lockfileVersion: '6.0'\n\nimporters:\n\n  a:\n    dependencies:\n      one:\n        specifier: ^1.0.0\n        version: 1.0.0\n\n  b:\n    dependencies:\n      two:\n        specifier: ^1.0.0\n        version: 1.0.2\n\npackages:\n\n  /deep@1.0.1:\n    resolution: {integrity: sha512-deep}\n    dev: false\n\n  /one@1.0.0:\n    resolution: {integrity: sha512-one}\n    dependencies:\n      deep: 1.0.1\n    dev: false\n\n  /two@1.0.2:\n    resolution: {integrity: sha512-twin}\n";
    let changes = [
        ("sha512-one", "sha512-two", A),
        ("sha512-deep", "sha512-two", A),
        ("sha512-twin", "sha512-two", [false, true]),
    ];
    check("pnpm-lock.yaml", six, &changes);
    let five = six
        .replace("'6.0'", "5.4")
        .replace("/deep@1.0.1", "/deep/1.0.1")
        .replace("/one@1.0.0", "/one/1.0.0")
        .replace("/two@1.0.2", "/two/1.0.2")
        .replace(
            "      one:\n        specifier: ^1.0.0\n        version: 1.0.0\n",
            "      one: 1.0.0\n",
        );
    check("pnpm-lock.yaml", &five, &changes);
}

#[test]
fn yarn_classic() {
    let text = "# yarn lockfile v1\n\n\ndeep@1:\n  version \"1.0.1\"\n\n\"one@^1.0.0\", one@~1:\n  version \"1.0.0\"\n  integrity sha512-one\n  dependencies:\n    deep \"1\"\n\ntwo@^1.0.0:\n  version \"1.0.2\"\n";
    check(
        "yarn.lock",
        text,
        &[
            ("sha512-one", "sha512-two", A),
            ("\"1.0.1\"", "\"1.0.9\"", A),
            ("\"1.0.2\"", "\"1.0.9\"", [false, true]),
        ],
    );
}

#[test]
fn yarn_berry() {
    let text = "__metadata:\n  version: 8\n  cacheKey: 10c0\n\n\"a@workspace:a\":\n  version: 0.0.0-use.local\n  resolution: \"a@workspace:a\"\n  dependencies:\n    one: \"npm:^1.0.0\"\n    b: \"workspace:*\"\n  languageName: unknown\n  linkType: soft\n\n\"b@workspace:*, b@workspace:b\":\n  version: 0.0.0-use.local\n  resolution: \"b@workspace:b\"\n  dependencies:\n    two: \"npm:^1.0.0\"\n  languageName: unknown\n  linkType: soft\n\n\"deep@npm:1\":\n  version: 1.0.1\n  resolution: \"deep@npm:1.0.1\"\n  checksum: deep\n\n\"one@npm:^1.0.0, one@npm:~1\":\n  version: 1.0.0\n  resolution: \"one@npm:1.0.0\"\n  dependencies:\n    deep: 1\n  checksum: 10c0/one\n\n\"two@npm:3.0.0\":\n  version: 3.0.0\n  resolution: \"two@npm:3.0.0\"\n  checksum: 10c0/two\n";
    check(
        "yarn.lock",
        text,
        &[
            ("10c0/one", "10c0/new", A),
            ("checksum: deep", "checksum: new", A),
            // A resolution replaced the version that `b` asks for, and `a` depends on `b`.
            ("10c0/two", "10c0/new", BOTH),
            ("cacheKey: 10c0", "cacheKey: 11", BOTH),
        ],
    );
}

#[test]
fn bun() {
    let text = r#"{ "lockfileVersion": 1, "workspaces": {
        "": { "name": "root" },
        "a": { "name": "a", "dependencies": { "one": "^1.0.0" } },
        "b": { "name": "@s/b", "devDependencies": { "two": "^1.0.0", "one": "2", }, }, },
      "overrides": { "x": "1" },
      "packages": {
        "one": ["one@1.0.0", "", { "dependencies": { "@s/deep": "1" } }, "sha512-one"],
        "@s/deep": ["@s/deep@1.0.1", "", {}, "sha512-deep"],
        "two": ["two@1.0.2", "", { "dependencies": { "@s/deep": "2" } }, "sha512-twin"],
        "two/@s/deep": ["@s/deep@2.0.0", "", { "optionalDependencies": { "leaf": "1" } }, "sha512-second"],
        "leaf": ["leaf@1.0.0", "", {}, "sha512-leaf"],
        "@s/b/one": ["one@2.0.0", "", {}, "sha512-other"], } }"#;
    check(
        "bun.lock",
        text,
        &[
            ("sha512-one", "sha512-new", A),
            ("sha512-deep", "sha512-new", A),
            ("sha512-twin", "sha512-new", [false, true]),
            ("sha512-second", "sha512-new", [false, true]),
            ("sha512-leaf", "sha512-new", [false, true]),
            ("sha512-other", "sha512-new", [false, true]),
            ("\"x\": \"1\"", "\"x\": \"2\"", BOTH),
        ],
    );
}

#[test]
fn an_unreadable_lock_file_gives_no_packages() {
    for (name, text) in [
        ("bun.lockb", "\0"),
        ("package-lock.json", r#"{ "lockfileVersion": 1, "dependencies": {} }"#),
        ("package-lock.json", "{"),
        ("pnpm-lock.yaml", "packages: {}\n"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  ? long\n  : {}\n"),
        ("yarn.lock", "one@1:\n  version \"1\"\n"),
        ("bun.lock", "[]"),
    ] {
        assert!(LockFile::parse(name, text).is_none(), "{name}: {text}");
    }
    let deep = format!("{{ \"packages\": {}", "[".repeat(10_000));
    assert!(LockFile::parse("package-lock.json", &deep).is_none());
    let lock = LockFile::parse("bun.lock", r#"{ "workspaces": { "": {} } }"#).expect("readable");
    assert!(lock.slice(&BTreeSet::from(["elsewhere"]), &BTreeMap::new()).is_none());
}
