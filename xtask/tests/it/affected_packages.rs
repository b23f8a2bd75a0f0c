//! Packages around projects: which of their files affect the projects in their folders.

use serde_json::Value;

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

#[test]
fn code_of_an_enclosing_package_counts_with_its_manifest_and_its_locked_packages() {
    let env = TestEnv::new();
    env.write("package.json", r#"{ "name": "root", "private": true }"#);
    env.write("pnpm-workspace.yaml", "packages: ['packages/*', 'packages/*/dev']\n");
    let lock = |of_worker: &str, of_other: &str| {
        let importer = |name: &str, version: &str| {
            format!(
                "  packages/{name}:\n    dependencies:\n      mitt:\n        specifier: ^3.0.0\n        version: {version}\n"
            )
        };
        let package = |version: &str| {
            format!("  mitt@{version}:\n    resolution: {{integrity: sha512-{version}}}\n")
        };
        let text = format!(
            "lockfileVersion: '9.0'\nimporters:\n  .: {{}}\n{}{}  packages/worker/dev: {{}}\n  packages/entry/dev: {{}}\n{}packages:\n{}{}snapshots:\n",
            importer("worker", of_worker),
            importer("entry", of_worker),
            importer("other", of_other),
            package(of_worker),
            if of_worker == of_other { String::new() } else { package(of_other) },
        );
        env.write("pnpm-lock.yaml", &text);
    };
    lock("3.0.0", "3.0.0");
    for name in ["worker", "entry", "other"] {
        env.write(
            &format!("packages/{name}/package.json"),
            &format!(r#"{{ "name": "{name}", "version": "1.0.0", "dependencies": {{ "mitt": "^3.0.0" }} }}"#),
        );
        env.write(
            &format!("packages/{name}/src/index.js"),
            "import mitt from 'mitt';\nexport default mitt;\n",
        );
        env.write(&format!("packages/{name}/docs.md"), "docs\n");
    }
    // One imports code of the package around it, and the config of the other one names such code.
    env.write("packages/worker/dev/package.json", r#"{ "name": "worker-dev" }"#);
    env.write("packages/worker/dev/index.js", "export { default } from '../src/index.js';\n");
    let config = |main: &str| {
        format!(r#"{{ "name": "dev", "main": "{main}", "compatibility_date": "2026-01-01" }}"#)
    };
    env.write("packages/worker/dev/wrangler.json", &config("index.js"));
    env.write("packages/entry/dev/package.json", r#"{ "name": "entry-dev" }"#);
    env.write(
        "packages/entry/dev/wrangler.json",
        &config("../src/index.js").replace("\"dev\"", "\"entry\""),
    );
    env.commit("workspace");
    let affected = |change: &dyn Fn()| {
        change();
        let json = affected_json(&env, &["--base", "HEAD"]);
        let found = names(&json).join(" ");
        env.sh("git checkout -q .");
        found
    };
    let both = "packages/entry/dev packages/worker/dev";
    assert_eq!(affected(&|| lock("3.0.1", "3.0.0")), both);
    assert_eq!(affected(&|| lock("3.0.0", "3.0.1")), "");
    assert_eq!(
        affected(&|| env
            .write("packages/worker/package.json", r#"{ "name": "worker", "version": "1.0.1" }"#)),
        "packages/worker/dev"
    );
    assert_eq!(
        affected(&|| env.write("packages/worker/src/index.js", "export default 1;\n")),
        "packages/worker/dev"
    );
    assert_eq!(affected(&|| env.write("packages/worker/docs.md", "more\n")), "");
    assert_eq!(
        affected(&|| env.write("packages/other/package.json", r#"{ "name": "other" }"#)),
        ""
    );
    // The content key follows the locked packages too.
    let key = |json: Value| json["projects"][0]["key"].as_str().expect("a key").to_owned();
    let plan =
        || env.xtask(&["deploy", "packages/worker/dev", "--dry-run", "--json"]).exits(0).json();
    let before = key(plan());
    lock("3.0.1", "3.0.0");
    assert_ne!(key(plan()), before);
}

/// A repository with one `package.json` for all projects, as Nx creates it.
fn one_package(env: &TestEnv, scripts: &str) {
    env.write(
        "package.json",
        &format!(r#"{{ "name": "acme", "private": true, "scripts": {scripts}, "dependencies": {{ "mitt": "3.0.1" }} }}"#),
    );
    env.write("package-lock.json", &one_lock("3.0.1"));
    env.write(
        "tsconfig.base.json",
        r#"{ "compilerOptions": { "baseUrl": ".", "paths": { "@acme/shared": ["libs/shared/src/index.ts"] } } }"#,
    );
    env.write("libs/shared/project.json", r#"{ "name": "shared" }"#);
    env.write("libs/other/project.json", r#"{ "name": "other" }"#);
    env.write("nx.json", "{}");
    env.write("libs/shared/src/index.ts", "export const hello = () => 'hello';\n");
    env.write("libs/other/src/index.ts", "export const other = 1;\n");
    env.write("docs/guide.md", "guide\n");
    for (name, code) in [
        ("api", "import { hello } from '@acme/shared';\nexport default { fetch: hello };\n"),
        ("web", "export default {};\n"),
    ] {
        env.write(
            &format!("apps/{name}/wrangler.json"),
            &format!(r#"{{ "name": "{name}", "main": "src/index.ts", "compatibility_date": "2026-01-01" }}"#),
        );
        env.write(&format!("apps/{name}/src/index.ts"), code);
        env.write(
            &format!("apps/{name}/tsconfig.json"),
            r#"{ "extends": "../../tsconfig.base.json" }"#,
        );
    }
    env.commit("one package");
}

fn one_lock(version: &str) -> String {
    format!(
        r#"{{ "name": "acme", "lockfileVersion": 3, "packages": {{
            "": {{ "name": "acme", "dependencies": {{ "mitt": "3.0.1" }} }},
            "node_modules/mitt": {{ "version": "{version}", "integrity": "sha512-{version}" }} }} }}"#
    )
}

#[test]
fn a_package_without_a_build_is_no_input_of_the_projects_in_it() {
    let env = TestEnv::new();
    one_package(&env, r#"{ "prepare": "husky", "test": "vitest" }"#);
    let changed = |path: &str, text: &str| {
        env.write(path, text);
        let found = names(&affected_json(&env, &["--base", "HEAD"])).join(" ");
        env.sh("git checkout -q . && git clean -qfd docs apps libs");
        found
    };
    for (path, expected) in [
        ("docs/guide.md", ""),
        ("libs/other/src/index.ts", ""),
        ("apps/web-e2e/test.ts", ""),
        ("libs/shared/src/index.ts", "apps/api"),
        ("apps/web/src/index.ts", "apps/web"),
        ("tsconfig.base.json", "apps/api apps/web"),
        ("package.json", "apps/api apps/web"),
    ] {
        assert_eq!(changed(path, "{ \"a\": 1 }\n"), expected, "{path}");
    }
    assert_eq!(changed("package-lock.json", &one_lock("3.0.2")), "apps/api apps/web");
    // Each of these may make any file of the package an input.
    let all = "apps/api apps/web";
    one_package(&env, r#"{ "postinstall": "node scripts/generate.mjs" }"#);
    assert_eq!(changed("docs/guide.md", "changed\n"), all);
    one_package(&env, r#"{ "build": "nx run-many -t build" }"#);
    assert_eq!(changed("docs/guide.md", "changed\n"), all);
    one_package(&env, "{}");
    assert_eq!(changed("docs/guide.md", "changed\n"), "");
    env.write(
        "package.json",
        r##"{ "name": "acme", "imports": { "#*": "./libs/*/src/index.ts" } }"##,
    );
    env.commit("names for files");
    assert_eq!(changed("libs/other/src/index.ts", "changed\n"), all);
}

#[test]
fn code_around_a_project_is_followed_with_its_own_lock_file() {
    let env = TestEnv::new();
    let dependency = r#""dependencies": { "mitt": "3.0.1" }"#;
    env.write("packages/app/package.json", &format!(r#"{{ "name": "app", {dependency} }}"#));
    env.write("packages/app/package-lock.json", &one_lock("3.0.1"));
    env.write("packages/app/src/index.ts", "export { b as default } from '../lib/b';\n");
    env.write("packages/app/lib/b.ts", "export const b = {};\n");
    env.write("packages/app/unused/c.ts", "export const c = 1;\n");
    env.write("packages/app/worker/package.json", r#"{ "name": "worker" }"#);
    env.write(
        "packages/app/worker/package-lock.json",
        r#"{ "name": "worker", "lockfileVersion": 3, "packages": { "": { "name": "worker" } } }"#,
    );
    env.write(
        "packages/app/worker/wrangler.json",
        r#"{ "name": "worker", "main": "../src/index.ts", "compatibility_date": "2026-01-01" }"#,
    );
    env.commit("worker in an app");
    let changed = |path: &str, text: &str| {
        env.write(path, text);
        let found = names(&affected_json(&env, &["--base", "HEAD"])).join(" ");
        env.sh("git checkout -q .");
        found
    };
    for (path, expected) in [
        ("packages/app/src/index.ts", "packages/app/worker"),
        ("packages/app/lib/b.ts", "packages/app/worker"),
        ("packages/app/unused/c.ts", ""),
    ] {
        assert_eq!(changed(path, "changed\n"), expected, "{path}");
    }
    assert_eq!(
        changed("packages/app/package-lock.json", &one_lock("3.0.2")),
        "packages/app/worker"
    );
}

#[test]
fn the_build_of_a_package_around_a_project_runs_first_if_it_writes_what_the_config_names() {
    let env = TestEnv::with_tools();
    env.write(
        "packages/app/package.json",
        r#"{ "name": "app", "scripts": { "build": "mkdir -p dist && cp page.html dist/index.html" } }"#,
    );
    env.write("packages/app/page.html", "<h1>built</h1>\n");
    env.write("packages/app/worker/package.json", r#"{ "name": "worker" }"#);
    env.write(
        "packages/app/worker/wrangler.json",
        r#"{ "name": "built", "assets": { "directory": "../dist" }, "compatibility_date": "2026-01-01" }"#,
    );
    env.write(".gitignore", "dist\n.xtask\n");
    env.commit("worker beside a build");
    env.write("packages/app/page.html", "<h1>changed</h1>\n");
    assert_eq!(names(&affected_json(&env, &["--base", "HEAD"])), ["packages/app/worker"]);
    env.xtask(&["deploy", "built", "--engine=host"]).exits(0);
    assert_eq!(env.fetch("built.localhost", "/").1, "<h1>changed</h1>\n");
}
