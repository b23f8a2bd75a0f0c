//! The order of projects whose Workers are bound to each other.

use serde_json::Value;

use crate::pipeline::pipeline;
use crate::support::TestEnv;

/// Writes a Worker that answers with `text` and with the answer of the Worker that it is bound to.
fn worker(env: &TestEnv, name: &str, bound: &str, text: &str) {
    let services = if bound.is_empty() {
        String::new()
    } else {
        format!(r#", "services": [{{ "binding": "OTHER", "service": "{bound}" }}]"#)
    };
    let dir = format!("projects/{name}");
    env.write(
        &format!("{dir}/wrangler.jsonc"),
        &format!(
            r#"{{ "name": "{name}", "main": "worker.js", "compatibility_date": "2026-10-01", "workers_dev": true,
                  "preview_urls": true{services} }}"#
        ),
    );
    env.write(
        &format!("{dir}/worker.js"),
        &format!(
            "export default {{ async fetch(request, env) {{\n\
             if (!env.OTHER || new URL(request.url).pathname === '/own') return new Response('{text}');\n\
             return new Response('{text} ' + await (await env.OTHER.fetch('http://other/own')).text()); }} }};\n"
        ),
    );
    env.write(&format!("{dir}/package.json"), r#"{ "xtask": { "health": "/own" } }"#);
}

fn statuses(json: &Value) -> Vec<(&str, &str)> {
    let records = json["records"].as_array().expect("records").iter();
    records
        .map(|record| {
            (record["project"].as_str().expect("a name"), record["status"].as_str().expect("one"))
        })
        .collect()
}

#[test]
fn a_worker_is_deployed_after_those_that_its_config_names() {
    let env = TestEnv::with_tools();
    worker(&env, "app", "backend", "app");
    worker(&env, "backend", "core", "backend");
    worker(&env, "core", "", "core");
    worker(&env, "other", "", "other");
    env.commit("workers");
    let deploy = ["deploy", "--all", "--engine", "host", "--json"];

    // The sandbox refuses a binding to a Worker that does not exist, as Cloudflare does.
    let first = env.xtask(&deploy).exits(0).json();
    let live = [("core", "live"), ("backend", "live"), ("app", "live"), ("other", "live")];
    assert_eq!(statuses(&first), live);
    assert_eq!(env.fetch("app.localhost", "/"), (200, "app backend".to_owned()));
    let script = env.xtask(&["deploy", "--all", "--engine", "host", "--dry-run"]).exits(0).stdout;
    let at = |name: &str| {
        script.find(&format!("# {name}")).unwrap_or_else(|| panic!("{name}: {script}"))
    };
    assert!(at("core") < at("backend") && at("backend") < at("app"), "{script}");

    // A failure is its own row, and those that are bound to it are not deployed.
    worker(&env, "app", "backend", "app 2");
    worker(&env, "other", "", "other 2");
    env.write("projects/core/worker.js", "export default {\n");
    worker(&env, "backend", "core", "backend 2");
    let failed = env.xtask(&deploy).exits(3);
    let json = failed.json();
    let rows = [("core", "failed"), ("backend", "refused"), ("app", "refused"), ("other", "live")];
    assert_eq!(statuses(&json), rows);
    let message = |name: &str| failed.error(name);
    assert_eq!(
        message("backend"),
        "backend was not deployed: it is bound to core, which failed\n\
         hint: fix core and deploy both again\n\
         hint: or run `cargo xtask deploy backend`, which binds it to what is live of core"
    );
    assert!(message("app").starts_with("app was not deployed: it is bound to backend"), "{json}");
    assert_eq!(env.fetch("app.localhost", "/"), (200, "app backend".to_owned()));
    // Deployed alone it is bound to what is live.
    env.xtask(&["deploy", "backend", "app", "--engine", "host"]).exits(0);
    assert_eq!(env.fetch("app.localhost", "/"), (200, "app 2 backend 2".to_owned()));

    // The jobs of the pipeline wait for each other, and run together.
    worker(&env, "core", "", "core");
    let jobs = pipeline(&env).jobs;
    let job = |name: &str| &jobs.0.iter().find(|(job, _)| job == name).expect(name).1;
    let needs = |name: &str| job(name).needs.clone();
    assert_eq!(needs("deploy core"), None);
    assert_eq!(needs("deploy app"), Some(vec!["check".to_owned(), "deploy backend".to_owned()]));
    let changes = |name: &str| job(name).rules[0].changes.clone().unwrap_or_default();
    for path in ["projects/app/**/*", "projects/backend/**/*", "projects/core/**/*"] {
        assert!(changes("deploy core").iter().any(|pattern| pattern == path), "{path}");
    }
    assert!(!changes("deploy app").iter().any(|pattern| pattern.starts_with("projects/core")));

    // A cycle has one order. The first deployment of one says what to do.
    worker(&env, "ping", "pong", "ping");
    worker(&env, "pong", "ping", "pong");
    let cycle = env.xtask(&["deploy", "ping", "pong", "--engine", "host", "--json"]).exits(3);
    assert!(
        cycle
            .stderr
            .contains("Workers are bound to each other; deployed in this order: pong before ping"),
        "{}",
        cycle.stderr
    );
    let error = cycle.error("pong");
    assert!(
        error.contains(
            "hint: pong and ping are bound to each other, so the first one has to be deployed once without the binding: \
             remove it from projects/pong/wrangler.jsonc, deploy both, put it back and deploy again"
        ),
        "{error}"
    );
    // A job of the pipeline deploys one project, and says the same.
    let alone = env.xtask(&["deploy", "ping", "--engine", "host", "--json"]).exits(1);
    let error = alone.error("ping");
    assert!(
        error.contains(
            "hint: ping and pong are bound to each other, so the first one has to be deployed once without the binding: \
             remove it from projects/ping/wrangler.jsonc, deploy both, put it back and deploy again"
        ),
        "{error}"
    );
    worker(&env, "pong", "", "pong");
    env.xtask(&["deploy", "ping", "pong", "--engine", "host"]).exits(0);
    worker(&env, "pong", "ping", "pong");
    env.xtask(&["deploy", "ping", "pong", "--engine", "host"]).exits(0);
    assert_eq!(env.fetch("pong.localhost", "/"), (200, "pong ping".to_owned()));
}

#[test]
fn a_worker_that_is_bound_to_a_refused_one_is_refused_by_the_plan() {
    let env = TestEnv::new();
    worker(&env, "app", "backend", "app");
    worker(&env, "backend", "core", "backend");
    worker(&env, "core", "", "core");
    worker(&env, "other", "", "other");
    // It has no date.
    env.write("projects/core/wrangler.json", r#"{ "name": "core", "main": "worker.js" }"#);
    env.commit("workers");
    let ran = env.xtask(&["deploy", "--all", "--engine", "host", "--dry-run", "--json"]).exits(3);
    let plan = ran.json();
    let names = |list: &str| -> Vec<String> {
        let all = plan[list].as_array().expect(list).iter();
        all.map(|one| one["project"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("projects"), ["other"]);
    assert_eq!(names("refused"), ["core", "backend", "app"]);
    assert!(
        ran.stderr.contains("backend was not deployed: it is bound to core, which is refused")
            && ran
                .stderr
                .contains("app was not deployed: it is bound to backend, which is refused"),
        "{}",
        ran.stderr
    );
}

#[test]
fn build_commands_of_one_folder_do_not_run_at_the_same_time() {
    let env = TestEnv::with_tools();
    for (file, name) in [("wrangler.toml", "two-a"), ("wrangler.b.toml", "two-b")] {
        env.write(
            &format!("projects/two/{file}"),
            &format!(
                "name = \"{name}\"\nmain = \"out/index.js\"\ncompatibility_date = \"2026-01-01\"\n\
                 [build]\ncommand = \"sh build.sh {name}\"\n"
            ),
        );
    }
    // The second one would overwrite what the first one bundles.
    env.write(
        "projects/two/build.sh",
        "mkdir -p out; sleep 1\n\
         echo \"export default { fetch: () => new Response('$1') };\" > out/index.js\nsleep 1\n",
    );
    env.write("projects/two/.gitignore", "out\n");
    env.commit("two");
    env.xtask(&["deploy", "--all", "--jobs", "2", "--engine", "host"]).exits(0);
    for name in ["two-a", "two-b"] {
        assert_eq!(env.fetch(&format!("{name}.localhost"), "/"), (200, name.to_owned()));
    }
}
