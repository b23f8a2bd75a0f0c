//! The same content is built once, and a cached output is the built output.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::wait::Wait;
use crate::support::{Ran, TestEnv};

/// Creates a repository with a site whose builds are counted outside of the repository.
fn counting_repository() -> TestEnv {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    count(&env, "");
    env.commit("site");
    env
}

/// Makes the site's build write its count, and do `more`.
fn count(env: &TestEnv, more: &str) {
    env.write(
        "projects/a/build.ts",
        &format!(
            "import {{ appendFileSync }} from 'node:fs';\n\
             appendFileSync('../../../builds', 'built\\n');\n\
             await Bun.write('dist/index.html', await Bun.file('content.txt').text());\n\
             await Bun.write('dist/env.txt', String(process.env.CLOUDFLARE_ENV));\n{more}"
        ),
    );
}

fn builds(env: &TestEnv) -> usize {
    std::fs::read_to_string(env.folder.join("builds")).map_or(0, |text| text.lines().count())
}

fn build(env: &TestEnv, more: &[&str]) -> Value {
    let ran = env.xtask(&[&["build", "a", "--engine", "host", "--json"], more].concat());
    ran.exits(0).record("a")["output"].clone()
}

fn page(env: &TestEnv) -> String {
    std::fs::read_to_string(env.root.join("projects/a/dist/index.html")).expect("a page")
}

#[test]
fn another_environment_and_a_retry_do_not_build() {
    let env = counting_repository();
    let deploy = |more: &[&str]| {
        env.xtask(&[&["deploy", "a", "--engine", "host", "--json"], more].concat()).exits(0)
    };
    // Without their own blocks, environments of one account would share the Worker.
    let config = env.root.join("projects/a/wrangler.jsonc");
    let text = std::fs::read_to_string(&config).expect("text");
    std::fs::write(&config, text.replacen('{', r#"{ "env": { "staging": {} },"#, 1))
        .expect("written");
    let manifest = |settings: &str| {
        let scripts = r#""scripts": { "build": "bun build.ts" }"#;
        env.write("projects/a/package.json", &format!("{{ {scripts}, \"xtask\": {settings} }}"));
    };
    manifest(r#"{ "oneBuild": true }"#);
    let first = deploy(&[]);
    assert_eq!(first.record("a")["output"]["fromCache"], false);
    let built = first.record("a")["output"]["built"].clone();
    std::fs::remove_dir_all(env.root.join("projects/a/dist")).expect("removed");
    let staging = ["--env", "staging", "--sandbox", "--no-rollback"];
    let second: Ran = deploy(&staging);
    assert_eq!(second.record("a")["output"], json!({ "fromCache": true, "built": built }));
    assert_eq!(second.record("a")["timings"]["build"], Value::Null);
    assert!(second.stderr.contains(", from the cache (built 20"), "{}", second.stderr);
    assert_eq!(builds(&env), 1);
    let site = (200, "<h1>site-a one</h1>".to_owned());
    assert_eq!(env.fetch("site-a-staging.localhost", "/"), site);
    assert_eq!(env.fetch("site-a-staging.localhost", "/env.txt").1, "undefined");

    // An environment that the build can see is another build, with another output.
    manifest("{}");
    assert_eq!(deploy(&[]).record("a")["output"]["fromCache"], false);
    assert_eq!(deploy(&staging).record("a")["output"]["fromCache"], false);
    assert_eq!(env.fetch("site-a.localhost", "/env.txt").1, "undefined");
    assert_eq!(env.fetch("site-a-staging.localhost", "/env.txt").1, "staging");
    assert_eq!(builds(&env), 3);

    // What is forced is built again, and kept in place of the other.
    assert_eq!(deploy(&["--force"]).record("a")["output"]["fromCache"], false);
    assert_eq!(builds(&env), 4);
    env.assert_no_canary(&[&first, &second]);
}

#[test]
fn restores_only_an_identical_build() {
    let env = counting_repository();
    assert_eq!(build(&env, &[])["fromCache"], false);
    env.write("projects/a/dist/index.html", "another person's");
    assert_eq!(build(&env, &[])["fromCache"], true);
    assert_eq!(page(&env), "<h1>site-a one</h1>");
    env.write("projects/a/content.txt", "two");
    assert_eq!((build(&env, &[])["fromCache"].clone(), page(&env)), (false.into(), "two".into()));
    env.git(&["checkout", "--quiet", "projects/a/content.txt"]);
    assert_eq!(build(&env, &[])["fromCache"], true);
    assert_eq!(page(&env), "<h1>site-a one</h1>");
    assert_eq!(build(&env, &["--no-cache"])["fromCache"], false);
    assert_eq!(builds(&env), 3);

    // Files that git ignores and builds read, and variables that they see.
    env.write("projects/a/.env", "GREETING=hello");
    assert_eq!(build(&env, &[])["fromCache"], false);
    let command = ["build", "a", "--engine", "host", "--json"];
    let elsewhere = env.xtask_with(&command, &[("TZ", "Asia/Tokyo")]).exits(0);
    assert_eq!(elsewhere.record("a")["output"]["fromCache"], false);
    assert_eq!(builds(&env), 5);

    // A corrupt entry is reported and built again.
    let entries = env.root.join(".xtask/cache").read_dir_utf8().expect("entries");
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        std::fs::write(
            entry.path().join("files/projects/a/dist/index.html"),
            "<h1>site-a 0ne</h1>",
        )
        .expect("there");
    }
    let text = env.xtask(&["build", "a", "--engine", "host"]).exits(0).stderr;
    assert!(
        text.contains(
            "the cached output is corrupt: projects/a/dist/index.html is not what was kept"
        ),
        "{text}"
    );
    assert_eq!((builds(&env), page(&env)), (6, "<h1>site-a one</h1>".to_owned()));
    assert_eq!(build(&env, &[])["fromCache"], true);
}

#[test]
fn two_runs_at_once_share_one_build() {
    let env = counting_repository();
    let start = || {
        let mut command = env.command(&["build", "a", "--engine", "host", "--json"], &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask runs")
    };
    let runs = [start(), start()];
    let runs = runs.map(|run| run.wait_with_output().expect("an end"));
    let origin = |output: &std::process::Output| {
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["records"][0]["output"]["fromCache"].as_bool().expect("an output")
    };
    assert!(runs.iter().all(|run| run.status.success()));
    assert_ne!(origin(&runs[0]), origin(&runs[1]), "one of them waited for the other");
    assert_eq!((builds(&env), page(&env)), (1, "<h1>site-a one</h1>".to_owned()));
}

#[test]
fn builds_again_if_inputs_are_not_fully_known() {
    let env = counting_repository();
    let not_kept = |message: &str| {
        let before = builds(&env);
        for round in 1..=2 {
            let output = build(&env, &[]);
            assert_eq!(output["fromCache"], false, "{output}");
            let because = output["notKept"].as_str().expect("a reason");
            assert!(because.contains(message), "{because}");
            assert_eq!(builds(&env), before + round);
        }
    };
    // A redirect that leads nowhere.
    count(&env, "await Bun.write('.wrangler/deploy/config.json', '{}');");
    not_kept("projects/a/.wrangler/deploy/config.json cannot be read");
    // The build changes what it is made from.
    count(&env, "await Bun.write('content.txt', String(Math.random()));");
    not_kept("its inputs changed during the build");
    // A nested repository: git does not list its files.
    count(&env, "");
    env.write("projects/a/inner/file", "");
    env.git(&["-C", "projects/a/inner", "init", "--quiet"]);
    not_kept("it reads more than is known, through projects/a/inner");
    std::fs::remove_dir_all(env.root.join("projects/a/inner")).expect("removed");
    // A link to what is not among the inputs.
    std::os::unix::fs::symlink("../../elsewhere", env.root.join("projects/a/link"))
        .expect("a link");
    not_kept("it reads more than is known, through projects/a/link");
    std::fs::remove_file(env.root.join("projects/a/link")).expect("removed");
    // A Worker's code may import what a build writes.
    let config = env.root.join("projects/a/wrangler.jsonc");
    let text = std::fs::read_to_string(&config).expect("text");
    let text = text.replacen('{', r#"{ "main": "worker.ts","#, 1);
    std::fs::write(&config, text).expect("written");
    count(&env, "await Bun.write('dist/_/data.ts', '');await Bun.write('.astro/data.ts', '');");
    assert_eq!(build(&env, &[]).get("notKept"), None);
    std::fs::remove_dir_all(env.root.join("projects/a/.astro")).expect("removed");
    assert_eq!(build(&env, &[])["fromCache"], true);
    assert!(env.root.join("projects/a/.astro/data.ts").is_file(), "generated code comes back");
    count(&env, "await Bun.write('worker-configuration.d.ts', 'declare const a: 1;');");
    env.write(".git/info/exclude", "node_modules\nworker-configuration.d.ts\n");
    assert_eq!(build(&env, &[]).get("notKept"), None);
    assert_eq!(build(&env, &[])["fromCache"], true);
    // Nothing says what it writes.
    env.write("projects/a/wrangler.jsonc", r#"{ "name": "site-a", "main": "worker.ts" }"#);
    not_kept("neither `assets.directory` nor `main` nor a generated wrangler config");
}

/// Returns the hash of each file that the projects' builds wrote.
fn built_files(env: &TestEnv) -> String {
    let find = "find projects/*/dist projects/*/.wrangler/deploy -type f | sort | xargs sha256sum";
    env.sh(find).exits(0).stdout
}

/// A site of Vite's plugin, whose config has no folder of assets, and one of Astro with its adapter. Both come from the
/// registry by one lock file.
fn frameworks() -> TestEnv {
    let env = TestEnv::with_tools();
    let package = |dir: &str, name: &str, fields: &str| {
        let text =
            format!(r#"{{ "name": "{name}", "private": true, "type": "module", {fields} }}"#);
        env.write(&format!("{dir}/package.json"), &text);
    };
    env.write(
        "package.json",
        r#"{ "name": "root", "private": true, "workspaces": ["projects/*"] }"#,
    );
    env.write("bun.lock", include_str!("../locks/frameworks-bun.lock"));
    package(
        "projects/vite",
        "vite-site",
        r#""scripts": { "build": "vite build" },
           "dependencies": { "vite": "8.4.0", "@cloudflare/vite-plugin": "1.64.0", "wrangler": "4.164.0" }"#,
    );
    package(
        "projects/astro",
        "astro-site",
        r#""scripts": { "build": "ASTRO_TELEMETRY_DISABLED=1 astro build" },
           "dependencies": { "astro": "7.3.5", "@astrojs/cloudflare": "14.3.3", "wrangler": "4.164.0" }"#,
    );
    for (path, text) in [
        (
            "projects/vite/vite.config.mjs",
            "import { cloudflare } from '@cloudflare/vite-plugin';\nexport default { plugins: [cloudflare()] };\n",
        ),
        (
            "projects/vite/wrangler.jsonc",
            r#"{ "name": "vite-site", "main": "./worker/index.ts", "compatibility_date": "2026-10-01",
                 "workers_dev": true, "preview_urls": true, "vars": { "GREETING": "hello" },
                 "assets": { "not_found_handling": "single-page-application", "run_worker_first": ["/api/*"] } }"#,
        ),
        (
            "projects/vite/worker/index.ts",
            "export default { fetch: (request, env) => new Response(`api ${env.GREETING}`) };\n",
        ),
        (
            "projects/vite/index.html",
            "<!doctype html><h1>web</h1><script type=\"module\" src=\"/src/main.ts\"></script>\n",
        ),
        ("projects/vite/src/main.ts", "document.title = 'web';\n"),
        (
            "projects/astro/astro.config.mjs",
            "import { defineConfig, sessionDrivers } from 'astro/config';\nimport cloudflare from '@astrojs/cloudflare';\n\
             export default defineConfig({ adapter: cloudflare({ imageService: 'passthrough' }), output: 'server',\n\
             session: { driver: sessionDrivers.null() } });\n",
        ),
        (
            "projects/astro/wrangler.jsonc",
            r#"{ "name": "astro-site", "main": "@astrojs/cloudflare/entrypoints/server", "compatibility_date": "2026-10-01",
                 "compatibility_flags": ["nodejs_compat"], "workers_dev": true, "preview_urls": true,
                 "assets": { "binding": "ASSETS", "directory": "./dist" } }"#,
        ),
        (
            "projects/astro/src/pages/index.astro",
            "---\nconst at = 'server';\n---\n<h1>astro {at}</h1>\n",
        ),
    ] {
        env.write(path, text);
    }
    env.commit("frameworks");
    env
}

#[test]
fn the_outputs_of_vites_plugin_and_of_astro_are_cached_with_their_configs() {
    let env = frameworks();
    let deploy = || {
        let ran = env.xtask(&["deploy", "--all", "--engine", "host", "--json"]).exits(0);
        ["vite", "astro"].map(|name| ran.record(name))
    };
    let served = || {
        let hosts = [("vite-site", "/"), ("vite-site", "/api/x"), ("astro-site", "/")];
        hosts.map(|(worker, path)| env.fetch(&format!("{worker}.localhost"), path))
    };
    for record in deploy() {
        assert_eq!(
            (&record["status"], &record["output"]["fromCache"]),
            (&json!("live"), &json!(false))
        );
        assert_eq!(record["output"].get("notKept"), None, "{record}");
    }
    let (files, answers) = (built_files(&env), served());
    assert!(files.contains("projects/vite/.wrangler/deploy/config.json"), "{files}");
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(answers[1].1, "api hello");

    // A deployment of the same content, of which nothing is left on the disk but the cache.
    env.sh("rm -r projects/*/dist projects/*/.wrangler projects/*/node_modules node_modules")
        .exits(0);
    env.xtask(&["sandbox", "reset", "--yes"]).exits(0);
    for record in deploy() {
        assert_eq!(
            (&record["status"], &record["output"]["fromCache"]),
            (&json!("live"), &json!(true))
        );
        assert_eq!(record["timings"]["install"], Value::Null, "what is bundled needs no packages");
    }
    assert_eq!((built_files(&env), served()), (files, answers));

    // A site that no longer has the plugin does not deploy what the plugin left.
    env.write("projects/vite/vite.config.mjs", "export default {};\n");
    env.write(
        "projects/vite/wrangler.jsonc",
        r#"{ "name": "vite-site", "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true,
             "assets": { "directory": "./dist" } }"#,
    );
    let plain = env.xtask(&["deploy", "vite", "--engine", "host", "--json"]).exits(0);
    assert_eq!(plain.record("vite")["output"].get("notKept"), None);
    assert!(!env.root.join("projects/vite/.wrangler/deploy").exists());
    assert_eq!(env.fetch("vite-site.localhost", "/api/x").0, 404);
}

#[test]
fn an_imported_package_is_built_once_for_the_same_content() {
    let env = counting_repository();
    env.write(".git/info/exclude", "node_modules\ndist\n*.tsbuildinfo\n");
    env.write(
        "packages/ui/package.json",
        r#"{ "name": "ui", "exports": { ".": { "default": "./dist/index.js" } },
             "scripts": { "build": "bun build.ts" } }"#,
    );
    let package = |more: &str| {
        env.write(
            "packages/ui/build.ts",
            &format!(
                "import {{ appendFileSync }} from 'node:fs';\n\
                 appendFileSync('../../../packages', 'built\\n');\n\
                 await Bun.write('dist/index.js', await Bun.file('text.txt').text());\n{more}"
            ),
        );
    };
    package("");
    env.write("packages/ui/text.txt", "one");
    env.write(
        "projects/a/package.json",
        r#"{ "scripts": { "build": "bun build.ts" }, "xtask": { "dependsOn": ["packages/ui"] } }"#,
    );
    count(
        &env,
        "await Bun.write('dist/ui.txt', await Bun.file('../../packages/ui/dist/index.js').text());",
    );
    env.commit("a package");
    let packages = || {
        let text = std::fs::read_to_string(env.folder.join("packages"));
        text.map_or(0, |text| text.lines().count())
    };
    let output =
        || std::fs::read_to_string(env.root.join("projects/a/dist/ui.txt")).expect("what a made");
    // A build that the project's own cache cannot answer.
    let number = std::cell::Cell::new(0);
    let build_site = || {
        number.set(number.get() + 1);
        env.write("projects/a/content.txt", &number.get().to_string());
        let ran = env.xtask(&["build", "a", "--engine", "host"]).exits(0);
        (ran.stderr, output(), packages())
    };
    let result = |text: &str, builds: usize| (text.to_owned(), builds);
    let of = |(_, text, builds): (String, String, usize)| (text, builds);

    assert_eq!(of(build_site()), result("one", 1));
    assert_eq!(of(build_site()), result("one", 1));
    // It is restored where it is missing or changed, without the notes of another build.
    std::fs::remove_dir_all(env.root.join("packages/ui/dist")).expect("removed");
    env.write("packages/ui/tsconfig.tsbuildinfo", "{}");
    assert_eq!(of(build_site()), result("one", 1));
    assert!(!env.root.join("packages/ui/tsconfig.tsbuildinfo").exists());
    env.write("packages/ui/dist/index.js", "another person's");
    assert_eq!(of(build_site()), result("one", 1));
    env.write("packages/ui/text.txt", "two");
    assert_eq!(of(build_site()), result("two", 2));
    env.write("packages/ui/text.txt", "one");
    assert_eq!(of(build_site()), result("one", 2));

    // A build with unknown inputs runs each time, and the output names the reason.
    let not_cached = |reason: &str| {
        for _ in 0..2 {
            let before = packages();
            let (text, _, after) = build_site();
            assert!(text.contains(&format!("is not cached: {reason}")), "{text}");
            assert_eq!(after, before + 1);
        }
    };
    package("await Bun.write('generated.txt', String(Math.random()));");
    not_cached("its inputs changed during the build");
    env.write(".git/info/exclude", "node_modules\ndist\ngenerated.txt\n");
    not_cached("it wrote packages/ui/generated.txt, outside of what it exports");
    package("");
    env.write("packages/ui/text.txt", "three");
    env.write("packages/ui/dist/by-an-install.js", "");
    not_cached("it did not write packages/ui/dist/by-an-install.js");
    env.write(".git/info/exclude", "node_modules\n.xtask\n");
    env.write(".gitignore", "");
    not_cached("no folder that git ignores is exported by its package.json");
}

#[test]
fn a_package_is_not_built_while_another_run_reads_its_output() {
    let env = TestEnv::with_tools();
    let manifest = |name: &str| {
        format!(
            r#"{{ "name": "{name}", "scripts": {{ "build": "bun build.ts" }}, "xtask": {{ "dependsOn": ["packages/ui"] }} }}"#
        )
    };
    for name in ["a", "b"] {
        env.site(&format!("projects/{name}"), &format!("site-{name}"));
        env.write(&format!("projects/{name}/package.json"), &manifest(name));
    }
    // Git ignores no output of it, so that each run builds it.
    env.write(
        "packages/ui/package.json",
        r#"{ "name": "ui", "main": "out.js", "scripts": { "build": "echo built >> ../../../packages" } }"#,
    );
    env.write(
        "projects/a/build.ts",
        "import { existsSync, writeFileSync } from 'node:fs';\n\
         writeFileSync('../../../begun', '');\n\
         while (!existsSync('../../../go')) await Bun.sleep(20);\n\
         await Bun.write('dist/index.html', 'a');\n",
    );
    env.commit("sites");
    let start = |projects: &[&str]| {
        let words = [&["build"][..], projects, &["--engine=host", "--jobs=1"]].concat();
        let mut command = env.command(&words, &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask runs")
    };
    let packages = || {
        let text = std::fs::read_to_string(env.folder.join("packages")).expect("built packages");
        text.lines().count()
    };
    let first = start(&["a", "b"]);
    let wait = Wait::begin();
    while !env.folder.join("begun").exists() {
        wait.pause("the first build does not begin");
    }
    let mut second = start(&["b"]);
    let mut stderr = BufReader::new(second.stderr.take().expect("a pipe"));
    let mut output = String::new();
    while !output.contains("wait for `xtask build") {
        assert!(stderr.read_line(&mut output).expect("text") > 0, "it does not wait: {output}");
    }
    assert_eq!(packages(), 1);
    // The second run has the lock of `b`, which the first one needs next, and waits for the package.
    std::fs::write(env.folder.join("go"), "").expect("a file");
    let first = first.wait_with_output().expect("an end");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    stderr.read_to_string(&mut output).expect("text");
    assert!(second.wait().expect("an end").success(), "{output}");
    assert_eq!(packages(), 2);
}

#[test]
fn a_project_is_not_built_while_one_that_imports_it_is() {
    let env = TestEnv::with_tools();
    for name in ["a", "b"] {
        env.site(&format!("projects/{name}"), name);
        env.write(
            &format!("projects/{name}/build.ts"),
            "import { appendFileSync } from 'node:fs';\n\
             const say = (text: string) => appendFileSync('../../../builds', `${text} ${process.cwd().split('/').at(-1)}\\n`);\n\
             say('begin');\n\
             await Bun.sleep(400);\n\
             await Bun.write('dist/index.html', 'x');\n\
             say('end');\n",
        );
    }
    std::os::unix::fs::symlink("../b", env.root.join("projects/a/imported")).expect("a link");
    env.commit("sites");
    env.xtask(&["build", "a", "b", "--engine=host", "--jobs=2"]).exits(0);
    let builds = std::fs::read_to_string(env.folder.join("builds")).expect("builds");
    let lines: Vec<&str> = builds.lines().collect();
    assert_eq!(lines.len(), 6, "{builds}");
    for pair in lines.chunks(2) {
        let name = pair[0].strip_prefix("begin ").expect("a beginning");
        assert_eq!(pair[1], format!("end {name}"), "{builds}");
    }
}

#[test]
fn a_build_command_that_runs_the_script_build_runs_once() {
    let env = TestEnv::with_tools();
    for (name, command) in [("once", "bun run build"), ("other", "true")] {
        let dir = format!("projects/{name}");
        let config = json!({ "name": name, "main": "src/worker.ts", "compatibility_date": "2026-10-01",
            "build": { "command": command }, "assets": { "directory": "dist" } });
        env.write(&format!("{dir}/wrangler.json"), &config.to_string());
        env.write(&format!("{dir}/.gitignore"), "dist\nbuilt.txt\n");
        env.write(
            &format!("{dir}/package.json"),
            r#"{ "scripts": { "build": "echo built >> built.txt && mkdir -p dist && echo page > dist/page.txt" } }"#,
        );
        env.write(
            &format!("{dir}/src/worker.ts"),
            "export default { fetch: () => new Response('code') };\n",
        );
        env.commit("project");
        env.xtask(&["deploy", name, "--engine", "host"]).exits(0);
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/page.txt").1, "page\n", "{name}");
        let built = std::fs::read_to_string(env.root.join(&dir).join("built.txt"));
        assert_eq!(built.expect("the build ran"), "built\n", "{name}");
    }
    // Without an upload nothing is bundled.
    env.xtask(&["build", "once", "--engine", "host"]).exits(0);
    let built = std::fs::read_to_string(env.root.join("projects/once/built.txt"));
    assert_eq!(built.expect("the build ran"), "built\nbuilt\n");
    let script = env.xtask(&["deploy", "once", "--force", "--dry-run"]).exits(0).stdout;
    assert!(!script.contains("bun run build") && !script.contains("run build\n"), "{script}");
}
