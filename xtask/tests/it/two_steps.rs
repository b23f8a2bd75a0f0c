//! Bundling has no token, and uploading runs nothing of a project: a row for each way round it.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::canary::find_token;
use crate::support::{CANARY, Ran, TestEnv, ran};
use cloudflare::wrangler::{BUN_OPTIONS, PREPARE_UPLOAD, bundle_arguments};

const DATE: &str =
    r#""compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true"#;

/// A shell command that writes down the environment that it sees, and a module that the Worker imports.
const SNOOP: &str = "env > seen.txt; cat /proc/$PPID/environ >> seen.txt; mkdir -p src; echo 'export const built = 1;' > src/built.ts";

fn deploy(env: &TestEnv, name: &str) -> Ran {
    env.commit("project");
    let run = env.xtask(&["deploy", name, "--json"]).exits(0);
    env.assert_no_canary(&[&run]);
    run
}

#[track_caller]
fn assert_refused(env: &TestEnv, name: &str, message: &str) {
    env.commit("project");
    let run = env.xtask(&["deploy", name, "--json"]).exits(3);
    let error = run.error(name);
    assert!(error.contains(message), "{error}");
    assert!(error.contains("hint: "), "{error}");
    assert_eq!(find_token(run.stdout.as_bytes()), None, "{}", run.stdout);
    assert_eq!(find_token(run.stderr.as_bytes()), None, "{}", run.stderr);
}

#[test]
fn a_build_command_runs_in_each_block_and_sees_no_token() {
    let env = TestEnv::with_tools();
    let json = |name: &str, block: &str| {
        format!(r#"{{ "name": "{name}", "main": "src/worker.ts", {DATE}, {block} }}"#)
    };
    let worker = "import { built } from './built';\nexport default { fetch: () => new Response(`built ${built}`) };\n";
    let command = serde_json::json!({ "command": SNOOP });
    for (name, file, text) in [
        ("top", "wrangler.jsonc", json("top", &format!(r#""build": {command}"#))),
        (
            "block",
            "wrangler.json",
            json("block", &format!(r#""env": {{ "local": {{ "build": {command} }} }}"#)),
        ),
        (
            "toml",
            "wrangler.toml",
            format!(
                "name = \"toml\"\nmain = \"src/worker.ts\"\ncompatibility_date = \"2026-10-01\"\nworkers_dev = true\n[env.local.build]\ncommand = {command}\n",
                command = serde_json::json!(SNOOP)
            ),
        ),
    ] {
        env.write(&format!("projects/{name}/{file}"), &text);
        env.write(&format!("projects/{name}/src/worker.ts"), worker);
        deploy(&env, name);
        let host = if name == "top" { name.to_owned() } else { format!("{name}-local") };
        assert_eq!(env.fetch(&format!("{host}.localhost"), "/").1, "built 1", "{name}");
        let seen = std::fs::read(env.root.join(format!("projects/{name}/seen.txt")));
        let seen = seen.expect("the command ran");
        assert!(
            seen.starts_with(b"") && find_token(&seen).is_none(),
            "{name}: the command saw the token"
        );
    }
}

#[test]
fn a_worker_that_imports_its_environment_publishes_no_token() {
    let env = TestEnv::with_tools();
    let config = |name: &str| {
        format!(
            r#"{{ "name": "{name}", "main": "src/worker.ts", {DATE}, "previews": {{}},
                "rules": [{{ "type": "Text", "globs": ["**/environ", "**/*.environ"] }}] }}"#
        )
    };
    let worker = |path: &str| {
        format!(
            "import text from '{path}';\nexport default {{ fetch: () => new Response(text) }};\n"
        )
    };
    for (name, path) in [("direct", "/proc/self/environ"), ("link", "./own.environ")] {
        env.write(&format!("projects/{name}/wrangler.jsonc"), &config(name));
        env.write(&format!("projects/{name}/src/worker.ts"), &worker(path));
    }
    symlink("/proc/self/environ", env.root.join("projects/link/src/own.environ")).expect("a link");
    for name in ["direct", "link"] {
        deploy(&env, name);
        let published = env.fetch(&format!("{name}.localhost"), "/").1;
        assert!(published.contains("PATH="), "{name}: {published}");
        assert!(find_token(published.as_bytes()).is_none(), "{name}: {published}");
        for (strategy, alias) in [("alias", "one"), ("preview", "two")] {
            let arguments = ["preview", name, "--alias", alias, "--strategy", strategy, "--force"];
            let run = env.xtask(&arguments).exits(0);
            let published = env.fetch(&format!("{alias}-{name}.localhost"), "/").1;
            assert!(published.contains("PATH="), "{name} {strategy}: {published}");
            assert!(find_token(published.as_bytes()).is_none(), "{name} {strategy}: {published}");
            env.assert_no_canary(&[&run]);
        }
    }
}

/// A project whose build leaves a config, as adapters do. `config` is the text of that config.
fn adapter(env: &TestEnv, name: &str, config: &str) {
    env.write(
        &format!("projects/{name}/wrangler.jsonc"),
        &format!(r#"{{ "name": "{name}", "main": "src/worker.ts", {DATE} }}"#),
    );
    env.write(
        &format!("projects/{name}/package.json"),
        &format!(r#"{{ "name": "{name}-package", "scripts": {{ "build": "bun build.ts" }} }}"#),
    );
    env.write(&format!("projects/{name}/src/worker.ts"), "export default {};\n");
    let build = format!(
        "await Bun.write('dist/server/wrangler.json', {config});\n\
         await Bun.write('dist/server/index.js', 'import {{ x }} from \"./assets/[id]-a.js\"; export default {{ fetch: () => new Response(x) }};\\n');\n\
         await Bun.write('dist/server/assets/[id]-a.js', 'export const x = \"generated\";');\n\
         await Bun.write('dist/client/index.html', 'client');\n\
         await Bun.write('.wrangler/deploy/config.json', '{{\"configPath\":\"../../dist/server/wrangler.json\"}}');\n",
        config = serde_json::json!(config)
    );
    env.write(&format!("projects/{name}/build.ts"), &build);
}

fn write_generated(name: &str, more: &str) -> String {
    format!(
        r#"{{ "name": "{name}", "topLevelName": "{name}", "definedEnvironments": [], "main": "index.js", {DATE}, "no_bundle": true,
            "rules": [{{ "type": "ESModule", "globs": ["**/*.js", "**/*.mjs"] }}], "assets": {{ "directory": "../client" }}{more} }}"#
    )
}

#[test]
fn a_generated_config_passes_the_guards_of_a_written_one() {
    let env = TestEnv::with_tools();
    // As it should be: modules with odd names, assets beside them, a command without a token.
    let command = serde_json::json!({ "command": "env > ../../seen.txt" });
    adapter(&env, "good", &write_generated("good", &format!(r#", "build": {command}"#)));
    deploy(&env, "good");
    assert_eq!(env.fetch("good.localhost", "/none").1, "generated");
    assert_eq!(env.fetch("good.localhost", "/").1, "client");
    let seen =
        env.sh("cat projects/good/seen.txt projects/good/dist/server/seen.txt 2>/dev/null; true");
    assert!(
        seen.stdout.is_empty() || find_token(seen.stdout.as_bytes()).is_none(),
        "{}",
        seen.stdout
    );

    std::fs::create_dir_all(env.folder.join("outside")).expect("a folder");
    std::fs::write(env.folder.join("outside/secret.txt"), "secret").expect("a file");
    for (name, config, message) in [
        (
            "proto",
            write_generated("proto", &format!(r#", "__proto__": {{ "build": {command} }}"#)),
            "`__proto__`",
        ),
        ("other", write_generated("taken", ""), "deploys the Worker `taken`"),
        (
            "route",
            write_generated(
                "route",
                r#", "routes": [{ "pattern": "WWW.example.com.", "custom_domain": true }]"#,
            ),
            "adds the route `www.example.com`",
        ),
        (
            "single",
            write_generated("single", r#", "route": "example.com/*""#),
            "adds the route `example.com/*`",
        ),
        (
            "account",
            write_generated("account", r#", "account_id": "ffffffffffffffffffffffffffffffff""#),
            "`account_id` is ffff",
        ),
        (
            "outside",
            write_generated("outside", "").replace("../client", "../../../../../outside"),
            "`assets.directory` is outside of the repository",
        ),
        (
            "sources",
            write_generated("sources", "").replace("../client", "../.."),
            "contains the project",
        ),
        ("unknown", write_generated("unknown", r#", "runs": "anything""#), "`runs` is not a field"),
        (
            "blocks",
            write_generated(
                "blocks",
                r#", "env": { "local": { "build": { "command": "true" } } }"#,
            ),
            "env",
        ),
    ] {
        adapter(&env, name, &config);
        env.commit("adapter");
        let run = env.xtask(&["deploy", name, "--json"]);
        assert!(run.code == 3 || (name == "blocks" && run.code == 1), "{name}: {run:?}");
        let error = run.error(name);
        assert!(error.contains(message), "{name}: {error}");
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/").0, 404, "{name}");
    }
    assert_eq!(env.fetch("taken.localhost", "/").0, 404);
}

#[test]
fn refuses_to_upload_a_file_with_the_token() {
    let env = TestEnv::with_tools();
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let wide: String = CANARY.chars().map(|c| format!("{c}\0")).collect();
    let reversed: String = CANARY.chars().rev().collect();
    let numbers: Vec<String> = CANARY.bytes().map(|byte| byte.to_string()).collect();
    let json = serde_json::json!({ "a": CANARY }).to_string();
    let base64 = env.sh("printf %s \"x$SANDBOX_TOKEN\" | base64 -w0").stdout;
    let site = |name: &str, file: &str, text: &str| {
        env.site(&format!("projects/{name}"), name);
        env.write(
            &format!("projects/{name}/build.ts"),
            "await Bun.write('dist/index.html', 'one');\n",
        );
        // As if the build had found it: outside of git, so that the test alone has it.
        let text = serde_json::json!(text);
        let write = format!(
            "await Bun.write('dist/index.html', 'one');\nawait Bun.write('dist/{file}', {text});\n"
        );
        std::fs::write(env.root.join(format!("projects/{name}/build.ts")), write).expect("a file");
    };
    for (name, file, text) in [
        ("plain", "a.txt", format!("before {CANARY} after")),
        ("base", "deep/b.bin", base64),
        ("hex", "c.txt", hex),
        ("wide", "d.txt", wide),
        ("back", "e.txt", reversed),
        ("list", "f.json", numbers.join(",")),
        ("json", "g.json", json),
        ("headers", "_headers", format!("/*\n  x-token: {CANARY}\n")),
    ] {
        site(name, file, &text);
        assert_refused(&env, name, &format!("projects/{name}/dist/{file} holds the API token"));
    }
    // In the code, its source map, and a variable of the config.
    for (name, code, more, message) in [
        (
            "code",
            serde_json::json!(CANARY).to_string(),
            String::new(),
            "the module `worker.js` holds",
        ),
        (
            "vars",
            "0".to_owned(),
            format!(r#", "vars": {}"#, serde_json::json!({ "A": CANARY })),
            "wrangler.jsonc holds the API token",
        ),
    ] {
        env.write(
            &format!("projects/{name}/wrangler.jsonc"),
            &format!(r#"{{ "name": "{name}", "main": "worker.ts", {DATE}{more} }}"#),
        );
        let code = format!("export default {{ fetch: () => new Response({code} as any) }};\n");
        env.write(&format!("projects/{name}/worker.ts"), &code);
        assert_refused(&env, name, message);
    }
}

#[test]
fn uploads_only_regular_public_files_of_the_project() {
    let env = TestEnv::with_tools();
    let build = |name: &str, more: &str| {
        env.site(&format!("projects/{name}"), name);
        env.write(
            &format!("projects/{name}/build.ts"),
            &format!("import {{ symlinkSync as link }} from 'node:fs';\nawait Bun.write('dist/index.html', 'one');\n{more}"),
        );
    };
    env.write("projects/notes.pem", "a key of the repository");
    for (name, more, message) in [
        (
            "proc",
            "link('/proc/self/environ', 'dist/a.txt');",
            "leads out of the repository, to /proc",
        ),
        ("git", "link('../../../.git/config', 'dist/a.txt');", "looks private (`.git`)"),
        (
            "state",
            "link('../../../.xtask/sandbox/server.json', 'dist/a.txt');",
            "looks private (`.xtask`)",
        ),
        ("gone", "link('nowhere', 'dist/a.txt');", "is a symbolic link that leads to nothing"),
        ("pem", "link('../../notes.pem', 'dist/a.txt');", "looks private (`notes.pem`)"),
        ("pipe", "Bun.spawnSync(['mkfifo', 'dist/pipe']);", "dist/pipe is not a regular file"),
        ("dotenv", "await Bun.write('dist/.env', 'A=1');", "dist/.env looks private"),
        ("local", "await Bun.write('dist/deep/.env.production', 'A=1');", "`.env.production`"),
        ("vars", "await Bun.write('dist/.dev.vars', 'A=1');", "looks private (`.dev.vars`)"),
        ("repo", "await Bun.write('dist/.git/config', 'A=1');", "looks private (`.git`)"),
        ("ssh", "await Bun.write('dist/id_ed25519', 'A=1');", "looks private (`id_ed25519`)"),
        ("npm", "await Bun.write('dist/.npmrc', '//r/:_authToken=1');", "looks private (`.npmrc`)"),
        (
            "big",
            "await Bun.write('dist/big.bin', new Uint8Array(26 << 20));",
            "has 27262976 bytes, and Cloudflare takes files of at most 26214400 (25 MiB)",
        ),
        (
            "again",
            "await Bun.write('dist/.env', 'A=1'); await Bun.write('dist/.assetsignore', '*.pem\\n/other/.env\\n');",
            "dist/.env looks private",
        ),
    ] {
        build(name, more);
        assert_refused(&env, name, message);
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/").0, 404, "{name}");
    }
    // Ignored, or meant.
    build(
        "meant",
        "await Bun.write('dist/.env', 'A=1'); await Bun.write('dist/keys/a.pem', 'public');\n\
         await Bun.write('dist/.assetsignore', '# private\\n.env\\n!/keys/*.pem\\n');\n",
    );
    deploy(&env, "meant");
    assert_eq!(env.fetch("meant.localhost", "/.env").0, 404);
    assert_eq!(env.fetch("meant.localhost", "/keys/a.pem").1, "public");
}

#[test]
fn does_not_upload_source_maps_from_outside() {
    let env = TestEnv::with_tools();
    let secret = r#"{"version":3,"sources":["a-file-of-another-place"],"mappings":"","names":[]}"#;
    std::fs::write(env.folder.join("home/config.json"), secret).expect("a file");
    let map = env.folder.join("home/config.json");
    let code = format!(
        "export default {{ fetch: () => new Response('ok') }};\n//# sourceMappingURL=../../../../../..{map}\n"
    );
    env.write(
        "projects/map/wrangler.jsonc",
        &format!(r#"{{ "name": "map", "main": "worker.js", {DATE}, "no_bundle": true }}"#),
    );
    env.write("projects/map/worker.js", &code);
    // The first step may read it, but it has no token. The second would read any file, a credential of a tool for one.
    let request = serde_json::json!({
        "root": env.root, "project": env.root.join("projects/map"), "config": env.root.join("projects/map/wrangler.jsonc"),
        "environment": null, "redirected": false, "bundle": env.root.join("bundle"), "upload": env.root.join("upload"), "account": "a",
    });
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{{\"main_module\":\"worker.js\"}}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"worker.js\"; filename=\"worker.js\"\r\nContent-Type: application/javascript+module\r\n\r\n{code}\r\n--b--"
    );
    std::fs::write(env.root.join("bundle"), form).expect("a file");
    prepare(&env, &request).exits(0);
    let module = std::fs::read_to_string(env.root.join("upload/src/worker.js")).expect("a module");
    assert!(
        module.contains("new Response('ok')") && !module.contains("sourceMappingURL"),
        "{module}"
    );
}

#[test]
fn refuses_uploads_that_cannot_take_two_steps() {
    let env = TestEnv::with_tools();
    for (name, more, message) in [
        (
            "image",
            r#""containers": [{ "class_name": "C", "image": "./Dockerfile" }]"#,
            "would build an image",
        ),
        (
            "unsafe",
            r#""unsafe": { "capnp": { "base_path": ".", "source_schemas": ["a.capnp"] } }"#,
            "`unsafe.capnp` would run a compiler",
        ),
        ("blob", r#""text_blobs": { "A": "a.txt" }"#, "`text_blobs` cannot be deployed"),
        ("proto", r#""vars": { "__proto__": { "A": 1 } }"#, "`__proto__`"),
    ] {
        env.write(
            &format!("projects/{name}/wrangler.jsonc"),
            &format!(r#"{{ "name": "{name}", "main": "worker.js", {DATE}, {more} }}"#),
        );
        let request = serde_json::json!({
            "root": env.root, "project": env.root.join(format!("projects/{name}")),
            "config": env.root.join(format!("projects/{name}/wrangler.jsonc")), "environment": null,
            "redirected": false, "bundle": null, "upload": env.root.join("upload"), "account": "a",
        });
        let run = prepare(&env, &request).exits(3);
        assert!(run.stderr.contains(message), "{}", run.stderr);
        assert!(run.stderr.contains("\nhint: "), "{}", run.stderr);
    }
}

fn prepare(env: &TestEnv, request: &serde_json::Value) -> Ran {
    std::fs::write(env.folder.join("prepare.js"), PREPARE_UPLOAD).expect("a file");
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
    let mut command = Command::new(bun);
    command.args(["--no-env-file", "--config=/dev/null", "run"]).arg(env.folder.join("prepare.js"));
    command.arg(request.to_string()).current_dir(&env.root).env("CLOUDFLARE_API_TOKEN", CANARY);
    ran(command.output().expect("it runs"))
}

/// The parts of a form by name: type and content, without the boundary.
fn parts(form: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(form).into_owned();
    let boundary = text.split("\r\n").next().expect("a boundary").to_owned();
    let parts = text.split(&boundary).filter(|part| part.starts_with("\r\n"));
    parts
        .map(|part| {
            let (head, body) = part.split_once("\r\n\r\n").expect("a head");
            let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next());
            let kind = head.split("Content-Type: ").nth(1).unwrap_or_default();
            let name = name.expect("a name").trim_start_matches("./").to_owned();
            (name, format!("{kind}\n{body}"))
        })
        .collect()
}

#[test]
fn a_repository_that_is_one_project_is_uploaded_from_a_folder_inside_of_it() {
    let env = TestEnv::with_tools();
    env.write("wrangler.jsonc", &format!(r#"{{ "name": "whole", "main": "worker.ts", {DATE} }}"#));
    env.write("worker.ts", "export default { fetch: () => new Response('whole') };\n");
    env.commit("project");
    let run = env.xtask(&["deploy", "--all", "--json"]).exits(0);
    assert_eq!(env.fetch("whole.localhost", "/").1, "whole");
    env.assert_no_canary(&[&run]);
}

/// The second step uploads the same as wrangler in one step, for a project of each kind.
#[test]
fn two_steps_upload_the_same_as_one() {
    let env = TestEnv::with_tools();
    let write = |path: &str, text: &str| env.write(&format!("projects/{path}"), text);
    let wasm = "\0asm\u{1}\0\0\0";
    write(
        "modules/wrangler.jsonc",
        &format!(
            r#"{{ // every kind of module
            "name": "modules", "main": "src/worker.ts", {DATE}, "compatibility_flags": ["nodejs_compat"], "minify": true,
            "define": {{ "MODE": "'x'" }}, "alias": {{ "aliased": "./src/lazy.ts" }}, "keep_vars": true, "upload_source_maps": true,
            "find_additional_modules": true, "base_dir": "src",
            "rules": [{{ "type": "Text", "globs": ["**/*.md"], "fallthrough": true }}, {{ "type": "ESModule", "globs": ["extra/*.mjs"] }}],
            "assets": {{ "directory": "./public", "binding": "ASSETS", "run_worker_first": ["/api/*"] }},
            "durable_objects": {{ "bindings": [{{ "name": "ROOM", "class_name": "Room" }}] }},
            "migrations": [{{ "tag": "v1", "new_sqlite_classes": ["Room"] }}],
            "workflows": [{{ "name": "flow", "binding": "FLOW", "class_name": "Flow" }}],
            "queues": {{ "producers": [{{ "binding": "Q", "queue": "jobs" }}] }}, "version_metadata": {{ "binding": "V" }},
            "vars": {{ "A": "top", "J": {{ "deep": [1] }} }}, "triggers": {{ "crons": ["0 * * * *"] }}, "observability": {{ "enabled": true }},
            "placement": {{ "mode": "smart" }}, "limits": {{ "cpu_ms": 50 }},
            "unsafe": {{ "bindings": [{{ "name": "U", "type": "custom" }}] }},
            "env": {{ "staging": {{ "vars": {{ "A": "staging" }} }}, "named": {{ "name": "other", "limits": {{ "cpu_ms": 9 }} }} }} }}"#
        ),
    );
    write(
        "modules/src/worker.ts",
        "import { WorkflowEntrypoint, DurableObject } from 'cloudflare:workers';\nimport wasm from './add.wasm'; import text from './hello.txt'; import data from './blob.bin'; import page from './page.html'; import notes from './notes.md'; import { x } from 'aliased';\nexport class Room extends DurableObject {}\nexport class Flow extends WorkflowEntrypoint {}\ndeclare const MODE: string;\nexport default { async fetch(r: Request) { const more = await import('./extra/' + r.url + '.mjs'); return new Response(text + page + notes + MODE + x + data.byteLength + more + (wasm instanceof WebAssembly.Module)); } };\n",
    );
    for (path, text) in [
        ("modules/src/lazy.ts", "export const x = 42;\n"),
        ("modules/src/add.wasm", wasm),
        ("modules/src/hello.txt", "hello\r\n--b\r\n"),
        ("modules/src/blob.bin", "\0binary\0"),
        ("modules/src/page.html", "<p>"),
        ("modules/src/notes.md", "# notes"),
        ("modules/src/extra/one.mjs", "export default 1;\n"),
        ("modules/public/index.html", "public"),
        (
            "plain/wrangler.toml",
            "name = \"plain\"\nmain = \"worker.js\"\ncompatibility_date = \"2026-10-01\"\n[vars]\nA = \"b\"\n[env.staging]\nvars = { A = \"c\" }\n",
        ),
        ("plain/worker.js", "export default { fetch: () => new Response('ok') };\n"),
        (
            "service/wrangler.json",
            "{ \"name\": \"service\", \"main\": \"worker.js\", \"compatibility_date\": \"2026-10-01\" }",
        ),
        (
            "service/worker.js",
            "addEventListener('fetch', (event) => event.respondWith(new Response('ok')));\n",
        ),
        (
            "python/wrangler.jsonc",
            "{ \"name\": \"python\", \"main\": \"src/entry.py\", \"compatibility_date\": \"2026-10-01\", \"compatibility_flags\": [\"python_workers\"] }",
        ),
        (
            "python/src/entry.py",
            "from workers import Response\nfrom lib import y\nasync def on_fetch(request):\n    return Response(y)\n",
        ),
        ("python/src/lib.py", "y = 'lib'\n"),
        ("python/python_modules/dep/__init__.py", "z = 1\n"),
        (
            "common/wrangler.jsonc",
            "{ \"name\": \"common\", \"main\": \"worker.js\", \"compatibility_date\": \"2026-10-01\", \"no_bundle\": true, \"rules\": [{ \"type\": \"CommonJS\", \"globs\": [\"**/*.cjs\"] }] }",
        ),
        (
            "common/worker.js",
            "import x from './x.cjs'; export default { fetch: () => new Response(x) };\n//# sourceMappingURL=worker.js.map\n",
        ),
        (
            "common/worker.js.map",
            "{\"version\":3,\"sources\":[\"a.ts\"],\"mappings\":\"\",\"names\":[]}",
        ),
        ("common/x.cjs", "module.exports = 'common';\n"),
    ] {
        write(path, text);
    }
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
    let launcher =
        env.root.join("dagger/cloudflare/toolchain/node_modules/wrangler/bin/wrangler.js");
    std::fs::create_dir_all(env.folder.join("tmp/empty")).expect("a folder");
    let wrangler = |dir: &str, arguments: &[String]| {
        let mut command = Command::new(&bun);
        env.environment(&mut command);
        command.args(BUN_OPTIONS).arg(&launcher).args(arguments).current_dir(env.root.join(dir));
        ran(command.env("WRANGLER_SEND_METRICS", "false").output().expect("it runs")).exits(0);
    };
    for (name, file, block) in [
        ("modules", "wrangler.jsonc", ""),
        ("modules", "wrangler.jsonc", "staging"),
        ("modules", "wrangler.jsonc", "named"),
        ("plain", "wrangler.toml", ""),
        ("plain", "wrangler.toml", "staging"),
        ("service", "wrangler.json", ""),
        ("python", "wrangler.jsonc", ""),
        ("common", "wrangler.jsonc", ""),
    ] {
        let dir = format!("projects/{name}");
        let out = |name: &str| env.folder.join("tmp").join(name).into_string();
        let has_blocks = matches!(name, "modules" | "plain");
        let environment = has_blocks.then_some(block);
        let bundle = |config: Option<&str>, to: &str, empty: bool| {
            let empty = empty.then(|| out("empty"));
            bundle_arguments(config, environment, empty.as_deref(), &out("dir"), &out(to))
        };
        wrangler(&dir, &bundle(Some(file), "one", false));
        wrangler(&dir, &bundle(Some(file), "first", name == "modules"));
        let request = serde_json::json!({
            "root": env.root, "project": env.root.join(&dir), "config": env.root.join(&dir).join(file),
            "environment": (!block.is_empty()).then_some(block), "redirected": false, "bundle": out("first"),
            "upload": env.root.join("upload"), "account": "a",
        });
        prepare(&env, &request).exits(0);
        wrangler("upload", &bundle(None, "second", false));
        let read = |name: &str| parts(&std::fs::read(out(name)).expect("a form"));
        let (one, two) = (read("one"), read("second"));
        assert!(one.len() >= if name == "modules" { 9 } else { 2 }, "{:?}", one.keys());
        assert_eq!(
            one.keys().collect::<Vec<_>>(),
            two.keys().collect::<Vec<_>>(),
            "{name} {block}"
        );
        for (part, text) in &one {
            assert_eq!(text, &two[part], "{name} {block}: {part}");
        }
    }
}

#[test]
fn printed_script_keeps_the_token_from_builds() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.write(
        "projects/a/build.ts",
        "await Bun.write('dist/index.html', 'two steps');\nawait Bun.write('dist/leak.txt', JSON.stringify(process.env));\n",
    );
    env.write("projects/b/worker.ts", "import text from '/proc/self/environ';\nexport default { fetch: () => new Response(text) };\n");
    let command = serde_json::json!({ "command": "env > seen.txt" });
    env.write(
        "projects/b/wrangler.jsonc",
        &format!(r#"{{ "name": "site-b", "main": "worker.ts", {DATE}, "build": {command}, "rules": [{{ "type": "Text", "globs": ["**/environ"] }}] }}"#),
    );
    env.commit("sites");
    // The script reads the sandbox's token from its file.
    let without = [("SANDBOX_TOKEN", "")];
    env.xtask_with(&["sandbox", "up"], &without).exits(0);
    let token = std::fs::read_to_string(env.root.join(".xtask/sandbox/token")).expect("a token");
    let arguments = ["deploy", "a", "b", "--dry-run", "--force"];
    let script = env.xtask_with(&arguments, &without).exits(0).stdout;
    let run = env.sh(&format!("unset SANDBOX_TOKEN\n{script}")).exits(0);
    assert_eq!(env.fetch("site-a.localhost", "/").1, "two steps");
    let seen = std::fs::read(env.root.join("projects/b/seen.txt")).expect("the command ran");
    for text in [
        env.fetch("site-a.localhost", "/leak.txt").1,
        env.fetch("site-b.localhost", "/").1,
        String::from_utf8_lossy(&seen).into_owned(),
    ] {
        assert!(text.contains("PATH"), "{text}");
        assert!(!text.contains(token.trim()), "{text}");
    }
    assert!(!run.stdout.contains(token.trim()) && !run.stderr.contains(token.trim()));
}
