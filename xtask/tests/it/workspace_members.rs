//! A member of a workspace is installed by the root's lock file, also if it has its own. A folder that is no member, and
//! whose dependencies nothing installs, is refused.

use expect_test::{Expect, expect};

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// A Worker whose code imports a dependency.
fn worker(env: &TestEnv, dir: &str, manifest: &str) {
    env.worker(dir, dir.rsplit('/').next().expect("a name"));
    env.write(&format!("{dir}/package.json"), manifest);
}

/// Searches all folders for projects.
fn everywhere(env: &TestEnv) {
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    env.write("dagger/config/config.json", &config.replacen('{', r#"{ "projects": ["**"],"#, 1));
}

/// Compares the lock file, the problem and the fixes of each project.
#[track_caller]
fn doctor(env: &TestEnv, expected: &Expect) {
    let report = env.xtask(&["doctor", "--offline", "--json"]).json();
    let rows = report["projects"].as_array().expect("projects").iter().map(|row| {
        let text = |field: &str| row[field].as_str().unwrap_or("–").to_owned();
        let fixes = row["fixes"].as_array().into_iter().flatten().filter_map(|fix| fix.as_str());
        let fixes: String = fixes.map(|fix| format!("\n  hint: {fix}")).collect();
        let mut line = format!("{}: {} ({})", text("project"), text("manager"), text("lock"));
        if row["problem"].is_string() {
            line += &format!("\n  {}{fixes}", text("problem"));
        }
        line
    });
    expected.assert_eq(&rows.collect::<Vec<_>>().join("\n"));
}

#[test]
fn npm_installs_a_member_with_a_lock_file_from_the_root() {
    let env = TestEnv::with_tools();
    everywhere(&env);
    env.write(
        "package.json",
        r#"{ "name": "root", "workspaces": ["demo", "apps/*", "!apps/old"] }"#,
    );
    let lock = r#"{ "lockfileVersion": 3, "packages": {
      "": { "workspaces": ["demo", "apps/*", "!apps/old"] },
      "demo": { "dependencies": { "hono": "4" } }, "apps/site": { "dependencies": { "zod": "4" } },
      "node_modules/hono": { "version": "4.0.1" }, "node_modules/zod": { "version": "4.0.2" } } }"#;
    env.write("package-lock.json", lock);
    for (dir, name) in [("demo", "hono"), ("apps/site", "zod"), ("apps/old", "hono")] {
        worker(&env, dir, &format!(r#"{{ "dependencies": {{ "{name}": "4" }} }}"#));
    }
    for dir in ["demo", "apps/old"] {
        env.write(
            &format!("{dir}/package-lock.json"),
            r#"{ "lockfileVersion": 3, "packages": { "": { "dependencies": { "hono": "4" } } } }"#,
        );
    }
    env.commit("tree");
    doctor(
        &env,
        &expect![[r#"
            apps/old: npm (apps/old/package-lock.json)
            apps/site: npm (package-lock.json)
            demo: npm (package-lock.json)"#]],
    );
    let notes = env.xtask(&["projects"]).exits(0).stderr;
    let note = "not used, because the npm workspace in the repository's root installs its members: demo/package-lock.json; delete it";
    assert!(notes.contains(note), "{notes}");
    // Both are installed in the root.
    let script = env.xtask(&["deploy", "demo", "apps/site", "--dry-run"]).exits(0).stdout;
    let in_root = "(\n  only\n  export npm_config_update_notifier=false\n";
    assert_eq!(script.matches(in_root).count(), 2, "{script}");
    assert_eq!(script.matches("ci --no-audit").count(), 2, "{script}");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env.write("package-lock.json", &lock.replace("4.0.1", "4.1.0"));
    assert_eq!(names(&affected_json(&env, &[])), ["demo"]);
    env.commit("change");
    assert_eq!(names(&affected_json(&env, &["--head", "HEAD"])), ["demo"]);
}

#[test]
fn pnpm_installs_a_member_with_the_lock_file_of_npm_from_the_root() {
    let env = TestEnv::with_tools();
    everywhere(&env);
    env.write("package.json", r#"{ "name": "root", "packageManager": "pnpm@9.15.9" }"#);
    env.write("pnpm-workspace.yaml", "packages: ['services/*', 'libs/*']\n");
    env.write(
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  services/forage:\n    dependencies:\n      ui:\n        specifier: workspace:*\n        version: link:../../libs/ui\n",
    );
    env.write("libs/ui/package.json", r#"{ "name": "ui" }"#);
    worker(&env, "services/forage", r#"{ "dependencies": { "ui": "workspace:*" } }"#);
    env.write("services/forage/package-lock.json", r#"{ "lockfileVersion": 3, "packages": {} }"#);
    worker(&env, "alone", r#"{ "dependencies": { "hono": "4" } }"#);
    env.write("alone/pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
    env.commit("tree");
    doctor(
        &env,
        &expect![[r#"
            alone: pnpm (alone/pnpm-lock.yaml)
            services/forage: pnpm (pnpm-lock.yaml)"#]],
    );
    // Without the flag, pnpm installs the workspace above the folder.
    for (name, flag) in [("alone", " --ignore-workspace"), ("services/forage", "")] {
        let script = env.xtask(&["deploy", name, "--dry-run"]).exits(0).stdout;
        let line = script.lines().find(|line| line.contains("install --frozen-lockfile"));
        let line = line.unwrap_or(&script);
        assert!(line.contains(&format!("--frozen-lockfile{flag}")), "{line}");
        assert_eq!(line.contains("--ignore-workspace"), !flag.is_empty(), "{line}");
    }
}

const NO_MEMBER: &str = r#"{ "dependencies": { "hono": "4", "wrangler": "4", "zod": "4" } }"#;

#[test]
fn a_folder_that_is_no_member_of_the_pnpm_workspace_is_refused() {
    let env = TestEnv::with_tools();
    everywhere(&env);
    env.write("package.json", r#"{ "name": "root", "devDependencies": { "zod": "4" } }"#);
    env.write("pnpm-workspace.yaml", "packages: ['apps/*']\n");
    env.write(
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/a: {}\n\npackages:\n\n  hono@4.0.1:\n    resolution: {}\n\nsnapshots:\n\n  hono@4.0.1: {}\n",
    );
    worker(&env, "apps/a", NO_MEMBER);
    worker(&env, "other/b", NO_MEMBER);
    // pnpm links the member into no folder above.
    env.write("apps/lib/package.json", r#"{ "name": "lib", "version": "1.2.0" }"#);
    worker(&env, "other/lib-user", r#"{ "dependencies": { "lib": "^1.1.0" } }"#);
    worker(&env, "other/types", r#"{ "devDependencies": { "vitest": "4" } }"#);
    worker(&env, "other/in-root", r#"{ "dependencies": { "zod": "4" } }"#);
    worker(
        &env,
        "other/built",
        r#"{ "devDependencies": { "vite": "7" }, "scripts": { "build": "tsc && vite build" } }"#,
    );
    worker(
        &env,
        "other/own",
        r#"{ "dependencies": { "hono": "4" }, "scripts": { "build": "pnpm install --ignore-workspace && vite build" } }"#,
    );
    env.commit("tree");
    doctor(
        &env,
        &expect![[r#"
            apps/a: pnpm (pnpm-lock.yaml)
            other/b: pnpm (pnpm-lock.yaml)
              other/b/package.json depends on `hono`, which pnpm-lock.yaml does not install, because other/b is no member of the pnpm workspace in the repository's root
              hint: add `other/b` to `packages` in pnpm-workspace.yaml, run `pnpm install` in the repository's root and commit pnpm-lock.yaml
              hint: or give it its own lock file: run `pnpm install --ignore-workspace` in other/b and commit other/b/pnpm-lock.yaml
            other/built: pnpm (pnpm-lock.yaml)
              other/built/package.json depends on `vite`, which pnpm-lock.yaml does not install, because other/built is no member of the pnpm workspace in the repository's root
              hint: add `other/built` to `packages` in pnpm-workspace.yaml, run `pnpm install` in the repository's root and commit pnpm-lock.yaml
              hint: or give it its own lock file: run `pnpm install --ignore-workspace` in other/built and commit other/built/pnpm-lock.yaml
            other/in-root: pnpm (pnpm-lock.yaml)
            other/lib-user: pnpm (pnpm-lock.yaml)
              other/lib-user/package.json depends on `lib`, which pnpm-lock.yaml does not install, because other/lib-user is no member of the pnpm workspace in the repository's root
              hint: add `other/lib-user` to `packages` in pnpm-workspace.yaml, run `pnpm install` in the repository's root and commit pnpm-lock.yaml
              hint: or give it its own lock file: run `pnpm install --ignore-workspace` in other/lib-user and commit other/lib-user/pnpm-lock.yaml
            other/own: pnpm (pnpm-lock.yaml)
            other/types: pnpm (pnpm-lock.yaml)"#]],
    );
    let refused = env.xtask(&["deploy", "other/b"]).exits(3);
    assert!(
        refused.stderr.contains("other/b is no member of the pnpm workspace"),
        "{}",
        refused.stderr
    );
    // With this setting, the code finds every package in the root.
    env.write(".npmrc", "shamefully-hoist = true\n");
    env.commit("hoist");
    env.xtask(&["deploy", "other/b", "--dry-run"]).exits(0);
}

#[test]
fn a_folder_that_npm_bun_or_yarn_does_not_install_is_refused() {
    for (lock, text, expected) in [
        (
            "package-lock.json",
            r#"{ "lockfileVersion": 3, "packages": { "": {}, "node_modules/zod": { "version": "4.0.2" } } }"#,
            expect![[r#"
                other/b: npm (package-lock.json)
                  other/b/package.json depends on `hono`, which package-lock.json does not install, because other/b is no member of the npm workspace in the repository's root
                  hint: add `other/b` to `workspaces` in package.json, run `npm install` in the repository's root and commit package-lock.json
                  hint: or give it its own lock file: run `npm install` in other/b and commit other/b/package-lock.json
                other/in-root: npm (package-lock.json)"#]],
        ),
        (
            "bun.lock",
            r#"{ "lockfileVersion": 1, "workspaces": { "": { "name": "root" } }, "packages": { "zod": ["zod@4.0.2", "", {}, "sha512-x"] } }"#,
            expect![[r#"
                other/b: bun (bun.lock)
                  other/b/package.json depends on `hono`, which bun.lock does not install, because other/b is no member of the Bun workspace in the repository's root
                  hint: add `other/b` to `workspaces` in package.json, run `bun install` in the repository's root and commit bun.lock
                  hint: or give it its own lock file: run `bun install` in other/b and commit other/b/bun.lock
                other/in-root: bun (bun.lock)"#]],
        ),
        (
            "yarn.lock",
            "__metadata:\n  version: 8\n\n\"root@workspace:.\":\n  resolution: \"root@workspace:.\"\n\n\"zod@npm:4\":\n  resolution: \"zod@npm:4.0.2\"\n",
            expect![[r#"
                other/b: yarn (yarn.lock)
                  other/b/package.json depends on `hono`, which yarn.lock does not install, because other/b is no member of the Yarn workspace in the repository's root
                  hint: add `other/b` to `workspaces` in package.json, run `yarn install` in the repository's root and commit yarn.lock
                  hint: or give it its own lock file: create an empty yarn.lock in other/b, run `yarn install` there and commit other/b/yarn.lock
                other/in-root: yarn (yarn.lock)"#]],
        ),
    ] {
        let env = TestEnv::with_tools();
        everywhere(&env);
        env.write("package.json", r#"{ "name": "root", "workspaces": ["apps/*"] }"#);
        env.write(lock, text);
        worker(&env, "other/b", NO_MEMBER);
        worker(&env, "other/in-root", r#"{ "dependencies": { "zod": "4" } }"#);
        env.commit("tree");
        doctor(&env, &expected);
    }
}

#[test]
fn a_root_without_a_workspace_installs_itself_alone() {
    let env = TestEnv::with_tools();
    everywhere(&env);
    env.write("package.json", r#"{ "name": "root", "dependencies": { "zod": "4" } }"#);
    env.write("package-lock.json", r#"{ "lockfileVersion": 3, "packages": { "": {} } }"#);
    worker(&env, "b", NO_MEMBER);
    worker(&env, "in-root", r#"{ "dependencies": { "zod": "4" } }"#);
    env.commit("tree");
    doctor(
        &env,
        &expect![[r#"
        b: npm (package-lock.json)
          b/package.json depends on `hono`, which package-lock.json does not install, because the repository's root has no workspace
          hint: add `b` to `workspaces` in package.json, run `npm install` in the repository's root and commit package-lock.json
          hint: or give it its own lock file: run `npm install` in b and commit b/package-lock.json
        in-root: npm (package-lock.json)"#]],
    );
    // A script of the root installs the folders below it.
    let scripts = r#"{ "name": "root", "scripts": { "postinstall": "cd b && npm ci" } }"#;
    env.write("package.json", scripts);
    env.commit("scripts");
    doctor(
        &env,
        &expect![[r#"
        b: npm (package-lock.json)
        in-root: npm (package-lock.json)"#]],
    );
}
