//! The output of `init`, `doctor` and a deployment for a project that cannot run here, or whose build writes something
//! else than its config names.

use expect_test::expect;
use serde_json::json;

use crate::support::{TestEnv, error_text};

#[test]
fn a_project_with_a_remote_binding_is_ready_at_cloudflare_only() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.write(
        "projects/answers/wrangler.json",
        r#"{ "name": "answers", "main": "index.js", "compatibility_date": "2026-01-01", "ai": { "binding": "AI" } }"#,
    );
    env.write("projects/answers/index.js", "export default { fetch: () => new Response('a') }\n");
    env.commit("projects");
    let rows = env.xtask(&["doctor", "--offline", "--json"]).json()["projects"].clone();
    expect![[r#"
        [
          {
            "bindings": [
              "AI"
            ],
            "build": "none",
            "fixes": [
              "add `--allow-stub` to deploy anyway; a request that uses one is answered with 501",
              "or deploy to Cloudflare with `--env`"
            ],
            "health": "/",
            "lock": null,
            "manager": null,
            "project": "answers",
            "sandboxProblem": "projects/answers/wrangler.json: the sandbox has no local form of `AI` (ai)"
          },
          {
            "bindings": [],
            "build": "none",
            "health": "/up",
            "lock": null,
            "manager": null,
            "project": "api"
          }
        ]
    "#]].assert_eq(&format!("{rows:#}\n"));
}

/// A project whose script `build` is `build`, with `main` in its config.
fn project(env: &TestEnv, name: &str, main: &str, build: &str) {
    let manifest = json!({ "name": name, "scripts": { "build": build } });
    env.write(&format!("projects/{name}/package.json"), &manifest.to_string());
    let config = json!({ "name": name, "main": main, "compatibility_date": "2026-01-01" });
    env.write(&format!("projects/{name}/wrangler.json"), &config.to_string());
    env.write(
        &format!("projects/{name}/.gitignore"),
        "dist/\n.output/\n.open-next/\n.svelte-kit/\n",
    );
}

#[test]
fn an_entry_that_the_build_does_not_write_is_refused() {
    let env = TestEnv::with_tools();
    let nitro = |preset: &str| {
        format!(
            "mkdir -p .output/server && echo 'export default {{ fetch: () => new Response(1) }}' > .output/server/index.mjs \
             && echo '{{ \"preset\": \"{preset}\" }}' > .output/nitro.json"
        )
    };
    project(&env, "other", "dist/worker.js", "mkdir -p dist && echo 1 > dist/index.js");
    project(&env, "next", ".open-next/worker.js", "mkdir -p .next");
    project(&env, "kit", ".svelte-kit/cloudflare/_worker.js", "mkdir -p .svelte-kit/output");
    project(&env, "nuxt", ".output/server/index.mjs", &nitro("node-server"));
    project(&env, "edge", ".output/server/index.mjs", &nitro("cloudflare_module"));
    env.commit("projects");
    let mut shown = String::new();
    for name in ["other", "next", "kit", "nuxt"] {
        let ran = env.xtask(&["deploy", name, "--json"]).exits(3);
        shown += &format!("{}\n", ran.error(name));
    }
    expect![[r#"
        projects/other/dist/worker.js, the `main` of projects/other/wrangler.json, is missing after the build
        hint: let the build write it, or set `"xtask": { "build": "…" }` in projects/other/package.json for the command that does
        projects/next/.open-next/worker.js, the `main` of projects/next/wrangler.json, is missing after the build
        hint: set `"xtask": { "build": "opennextjs-cloudflare build" }` in projects/next/package.json
        projects/kit/.svelte-kit/cloudflare/_worker.js, the `main` of projects/kit/wrangler.json, is missing after the build
        hint: use `@sveltejs/adapter-cloudflare` as the adapter of SvelteKit, which writes `.svelte-kit/cloudflare`
        projects/nuxt/.output/server/index.mjs was built for `node-server`, which does not run on Workers
        hint: set `nitro: { preset: "cloudflare_module" }` in the config of Nuxt or Nitro
    "#]].assert_eq(&shown);
    env.xtask(&["deploy", "edge"]).exits(0);
}

/// A project whose config names neither code nor assets, as the template of SolidStart.
fn without_entry(env: &TestEnv, name: &str, build: &str) {
    project(env, name, "removed", "node build.mjs");
    let config = json!({ "name": name, "compatibility_date": "2026-10-01", "workers_dev": true });
    env.write(&format!("projects/{name}/wrangler.json"), &config.to_string());
    env.write(&format!("projects/{name}/.gitignore"), ".output/\n!.wrangler/\n");
    env.write(&format!("projects/{name}/build.mjs"), build);
}

/// Writes the project `start`, whose build writes the config that names code and assets.
pub fn config_by_the_build(env: &TestEnv) {
    let generated = json!({
        "name": "start", "main": "index.mjs", "compatibility_date": "2026-10-01", "workers_dev": true,
        "assets": { "binding": "ASSETS", "directory": "../public" }, "no_bundle": true,
        "rules": [{ "type": "ESModule", "globs": ["**/*.mjs", "**/*.js"] }]
    });
    without_entry(
        env,
        "start",
        &format!(
            "import {{ mkdirSync, writeFileSync }} from 'node:fs';\n\
             for (const dir of ['.output/server', '.output/public', '.wrangler/deploy']) mkdirSync(dir, {{ recursive: true }});\n\
             writeFileSync('.output/server/index.mjs', 'export default {{ fetch: () => new Response(\"rendered\") }};');\n\
             writeFileSync('.output/server/wrangler.json', JSON.stringify({generated}));\n\
             writeFileSync('.output/public/robots.txt', 'all');\n\
             writeFileSync('.wrangler/deploy/config.json', '{{ \"configPath\": \"../../.output/server/wrangler.json\" }}');\n"
        ),
    );
}

#[test]
fn a_build_may_write_the_config_that_names_the_code() {
    let env = TestEnv::with_tools();
    config_by_the_build(&env);
    without_entry(&env, "nothing", "");
    env.write("projects/typo/wrangler.json", r#"{ "name": "typo" }"#);
    env.commit("projects");
    let doctor = env.xtask(&["doctor", "--offline", "--json"]).json()["projects"].clone();
    let problems = doctor.as_array().expect("rows").iter();
    let problems: Vec<_> = problems.map(|row| row["problem"].as_str().unwrap_or("–")).collect();
    expect![[r#"
        [
            "–",
            "–",
            "projects/typo/wrangler.json: neither `main` nor `assets.directory`",
        ]
    "#]]
    .assert_debug_eq(&problems);

    let live = env.xtask(&["deploy", "start", "--json"]).exits(0).record("start");
    // The content key leaves out what the build wrote there, and the cache needs that git ignores it.
    let not_kept = json!("git does not ignore projects/start/.wrangler/deploy");
    assert_eq!((&live["status"], &live["output"]["notKept"]), (&json!("live"), &not_kept));
    assert_eq!(env.fetch("start.localhost", "/"), (200, "rendered".to_owned()));
    assert_eq!(env.fetch("start.localhost", "/robots.txt"), (200, "all".to_owned()));
    let again = env.xtask(&["deploy", "start", "--json"]).exits(0).record("start");
    assert_eq!(again["status"], "unchanged");

    let nothing = env.xtask(&["deploy", "nothing", "--json"]).exits(3).record("nothing");
    expect![[r#"
        projects/nothing/wrangler.json: neither `main` nor `assets.directory`, and the build wrote no .wrangler/deploy/config.json
        hint: add `main` or `assets` with a `directory`, or let the framework write the config: `preset: "cloudflare-module"` of Nitro, `@cloudflare/vite-plugin` of Vite"#]]
    .assert_eq(&error_text(&nothing));
}

/// Writes a config of an adapter whose code responds with `old`.
fn leftover(env: &TestEnv, name: &str) {
    let config = json!({ "name": name, "main": "old.js", "compatibility_date": "2026-10-01" });
    env.write(&format!("projects/{name}/dist/wrangler.json"), &config.to_string());
    env.write(
        &format!("projects/{name}/dist/old.js"),
        "export default { fetch: () => new Response('old') };\n",
    );
    let redirect = r#"{ "configPath": "../../dist/wrangler.json" }"#;
    env.write(&format!("projects/{name}/.wrangler/deploy/config.json"), redirect);
}

#[test]
fn the_config_of_an_earlier_build_is_not_used() {
    let env = TestEnv::with_tools();
    // One has no build any more. The build of the other no longer writes the config, and git does not ignore it.
    for name in ["plain", "built"] {
        let config = json!({ "name": name, "main": "new.js", "compatibility_date": "2026-10-01", "workers_dev": true });
        env.write(&format!("projects/{name}/wrangler.json"), &config.to_string());
        env.write(
            &format!("projects/{name}/new.js"),
            "export default { fetch: () => new Response('new') };\n",
        );
        env.write(&format!("projects/{name}/.gitignore"), "dist/\n!.wrangler/\n");
    }
    env.write("projects/built/package.json", r#"{ "scripts": { "build": "true" } }"#);
    env.commit("projects");
    leftover(&env, "plain");
    leftover(&env, "built");
    for (name, warnings) in [
        (
            "plain",
            json!([
                "projects/plain/.wrangler/deploy/config.json was not used, because the project has no build that writes it"
            ]),
        ),
        ("built", json!(null)),
    ] {
        let live = env.xtask(&["deploy", name, "--json"]).exits(0).record(name);
        assert_eq!((&live["status"], &live["warnings"]), (&json!("live"), &warnings), "{name}");
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/").1, "new", "{name}");
    }
}

#[test]
fn the_rest_of_a_deploy_script_is_named() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    let deploy =
        "wrangler d1 migrations apply DB --remote && wrangler deploy --keep-vars && node notify.js";
    let manifest = json!({ "name": "api-package", "scripts": { "deploy": deploy } });
    env.write("projects/api/package.json", &manifest.to_string());
    env.commit("projects");
    let text = env.xtask(&["doctor", "--offline"]).stdout;
    let lines = text.lines().skip_while(|line| !line.contains("notify.js"));
    let lines: String = lines.take(2).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        ! projects/api/package.json: the script `deploy` runs `wrangler d1 migrations apply DB --remote` before the upload, passes `--keep-vars` to wrangler, runs `node notify.js` after the upload; xtask does not
            fix: set `"xtask": {"beforeDeploy":["wrangler d1 migrations apply DB --remote"],"wrangler":["--keep-vars"]}` in projects/api/package.json
    "#]]
    .assert_eq(&lines);
}

#[test]
fn the_lock_file_of_a_workspace_is_made_in_its_root() {
    let env = TestEnv::with_tools();
    for name in ["apps/a", "apps/b", "other/c"] {
        env.worker(name, name.rsplit('/').next().expect("a name"));
        env.write(
            &format!("{name}/package.json"),
            r#"{ "dependencies": { "is-number": "7.0.0" } }"#,
        );
    }
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    let places = r#"{ "projects": ["apps/**", "other/**"],"#;
    env.write("dagger/config/config.json", &config.replacen('{', places, 1));
    let fixes = |manifest: &str| {
        env.write("package.json", manifest);
        env.commit("root");
        let rows = env.xtask(&["doctor", "--offline", "--json"]).json()["projects"].clone();
        let fix = |row: &serde_json::Value| {
            format!("{}: {}", row["project"].as_str().unwrap_or_default(), row["fixes"][0])
        };
        let rows: Vec<String> = rows.as_array().into_iter().flatten().map(fix).collect();
        rows.join("\n")
    };
    expect![[r#"
        apps/a: "run `npm install` in the repository's root and commit the lock file"
        apps/b: "run `npm install` in the repository's root and commit the lock file"
        other/c: "run `npm install`, `pnpm install`, `yarn install` or `bun install` in other/c and commit the lock file""#]]
    .assert_eq(&fixes(r#"{ "workspaces": ["apps/*"], "packageManager": "npm@10.9.2" }"#));
    expect![[r#"
        apps/a: "run `npm install`, `pnpm install`, `yarn install` or `bun install` in the repository's root and commit the lock file"
        apps/b: "run `npm install`, `pnpm install`, `yarn install` or `bun install` in the repository's root and commit the lock file"
        other/c: "run `npm install`, `pnpm install`, `yarn install` or `bun install` in other/c and commit the lock file""#]]
    .assert_eq(&fixes(r#"{ "workspaces": ["apps/*"] }"#));
    env.write("pnpm-workspace.yaml", "packages: [\"apps/*\", \"other/*\"]\n");
    expect![[r#"
        apps/a: "run `pnpm install` in the repository's root and commit the lock file"
        apps/b: "run `pnpm install` in the repository's root and commit the lock file"
        other/c: "run `pnpm install` in the repository's root and commit the lock file""#]]
    .assert_eq(&fixes("{}"));
}

/// A repository of Nx with one `package.json` and a target `build` of each project.
fn nx_repository(env: &TestEnv) {
    env.write("package.json", r#"{ "name": "root", "scripts": { "build": "exit 1" } }"#);
    env.write(".gitignore", "dist\nnode_modules\n.xtask\n");
    env.write(
        "node_modules/.bin/nx",
        "#!/bin/sh\nset -e\nmkdir -p dist/docs/$2\ncp docs/$2/page.html dist/docs/$2/index.html\n",
    );
    env.sh("chmod +x node_modules/.bin/nx").exits(0);
    for name in ["one", "two"] {
        let config = format!(
            r#"{{ "name": "{name}", "compatibility_date": "2026-10-01", "assets": {{ "directory": "../../dist/docs/{name}/" }} }}"#
        );
        env.write(&format!("docs/{name}/wrangler.jsonc"), &config);
        let project = format!(r#"{{ "name": "{name}", "targets": {{ "build": {{}} }} }}"#);
        env.write(&format!("docs/{name}/project.json"), &project);
        env.write(&format!("docs/{name}/page.html"), &format!("<h1>{name}</h1>\n"));
    }
}

#[test]
fn a_target_of_nx_is_the_build_of_a_project_without_a_package() {
    let env = TestEnv::with_tools();
    nx_repository(&env);
    env.write("nx.json", "{}\n");
    env.commit("tree");
    env.xtask(&["deploy", "--all", "--engine=host"]).exits(0);
    for name in ["one", "two"] {
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/").1, format!("<h1>{name}</h1>\n"));
    }
    // The output exists now, and the plan is the same.
    let again =
        env.xtask(&["deploy", "one", "--engine=host", "--json"]).exits(0).record("docs/one");
    assert_eq!(again["status"], "unchanged", "{again:#}");
    env.write("docs/one/page.html", "<h1>changed</h1>\n");
    env.xtask(&["deploy", "one", "--engine=host"]).exits(0);
    assert_eq!(env.fetch("one.localhost", "/").1, "<h1>changed</h1>\n");
}

#[test]
fn an_output_that_no_build_of_the_project_writes_is_refused_before_the_install() {
    let env = TestEnv::with_tools();
    nx_repository(&env);
    env.write("package.json", r#"{ "name": "root", "devDependencies": { "nx": "22" } }"#);
    env.write("package-lock.json", r#"{ "lockfileVersion": 3, "packages": {} }"#);
    env.commit("tree");
    let ran = env.xtask(&["deploy", "one"]).exits(3);
    expect![[r#"
        error: docs/one/wrangler.jsonc: `assets.directory` is ../../dist/docs/one/, which does not exist, and the project has no build
        hint: set `"xtask": { "build": "…" }` in package.json, or add the missing file
    "#]].assert_eq(&ran.stderr);
    let rows = env.xtask(&["doctor", "--offline", "--json"]).json()["projects"].clone();
    assert!(rows[0]["problem"].is_string(), "{rows}");
}
