//! Scripts for Dagger: what they look like for every kind of project, and that any value arrives
//! through the parser that Dagger itself uses.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use camino::Utf8Path;
use deployment::builds::plan_builds;
use deployment::plan::destination::Destination;
use deployment::plan::{
    Engine, EngineChoice, Operation, Plan, PlanRequest, ProjectFacts, ProjectInput, RunRequest,
};
use deployment::script::{quote, script};
use deployment::tools::program::which;
use expect_test::{Expect, expect};
use gitlab::ci::CiVariables;
use proptest::prelude::*;
use serde_json::Value;
use workspace::Workspace;
use workspace::config::ContainerUpload;
use workspace::git::Head;

use crate::support::TestEnv;

fn plan(
    env: &TestEnv,
    operation: Operation,
    name: &str,
    environment: &str,
    port: Option<u16>,
) -> Plan {
    let mut workspace = Workspace::load_strict(&env.root).expect("a workspace");
    // These configs have no block for `staging`, which a protected environment would not allow.
    workspace
        .config
        .environments
        .values_mut()
        .for_each(|environment| environment.protected = false);
    workspace.config.dagger.upload = ContainerUpload::Module;
    let projects = workspace.select(&[name.to_owned()]).expect(name);
    let choice = EngineChoice { engine: Engine::Dagger, reason: "asked for".into(), dagger: None };
    let ci = CiVariables::default();
    let destination = Destination::resolve(&workspace.config, environment, port, &ci, None)
        .expect("a destination");
    let alias = (operation == Operation::Preview).then(|| "mr-1".to_owned());
    let inputs = plan_builds(&workspace, &projects).into_iter().map(|one| ProjectInput {
        facts: ProjectFacts {
            project: one.project,
            build: one.build,
            missing_output: None,
            may_be_generated: false,
            has_assets_ignore: false,
        },
        reason: "named".to_owned(),
        key: Ok("k0123".to_owned()),
        inputs: BTreeSet::new(),
    });
    let input = PlanRequest {
        request: RunRequest { alias, ..RunRequest::new(operation, choice, destination) },
        projects: inputs.collect(),
        schema: None,
        is_set: |_| false,
        head: Head { commit: Some("0123abcd".into()), dirty: false },
        today: "2026-12-01".to_owned(),
        nonce: "n1",
    };
    let plan = Plan::new(&workspace, input);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    plan
}

#[track_caller]
fn expect_script(plan: &Plan, expected: &Expect) {
    expected.assert_eq(&script(plan, &plan.projects[0]).expect("a script"));
}

fn builds(name: &str) -> String {
    format!(r#"{{ "name": "{name}-package", "scripts": {{ "build": "x" }} }}"#)
}

/// Returns a repository with a project of each kind.
fn repository() -> TestEnv {
    let env = TestEnv::new();
    let files = |name: &str, assets: &str| {
        format!(r#"{{ "name": "{name}", "compatibility_date": "2026-10-01", {assets} }}"#)
    };
    let dist = r#""assets": { "directory": "./dist" }"#;
    for (path, text) in [
        ("projects/a.example/site/dagger.json", r#"{ "name": "site" }"#.to_owned()),
        ("projects/a.example/site/package.json", builds("site")),
        ("projects/a.example/site/wrangler.jsonc", files("site", dist)),
        ("projects/shared/package.json", builds("shared")),
        ("projects/shared/wrangler.json", files("shared", dist)),
        ("projects/out/package.json", builds("out")),
        (
            "projects/out/wrangler.toml",
            "name = \"out\"\ncompatibility_date = \"2026-10-01\"\nassets.directory = \"build/web site\"\n[env.staging]\n".to_owned(),
        ),
        ("projects/full/package.json", builds("full")),
        (
            "projects/full/wrangler.jsonc",
            files(
                "full",
                &format!(r#""main": "src/worker.ts", {dist}, "env": {{ "staging": {{}} }}"#),
            ),
        ),
        ("projects/code/wrangler.jsonc", files("code", r#""main": "src/worker.ts""#)),
        ("projects/code/src/worker.ts", String::new()),
        ("projects/bare/worker.ts", String::new()),
        ("projects/bare/wrangler.jsonc", files("bare", r#""main": "worker.ts""#)),
        ("projects/pair/package.json", builds("pair")),
        ("projects/pair/left/wrangler.jsonc", files("left", dist)),
    ] {
        env.write(path, &text);
    }
    env
}

#[test]
fn every_kind_of_project_has_its_script() {
    let env = repository();
    let staging = |name: &str| plan(&env, Operation::Deploy, name, "staging", None);
    // A project with its own module.
    expect_script(
        &staging("site"),
        &expect![[r#"
            build | export --wipe 'dist'
            '../../../dagger/cloudflare' --environment='staging' | deploy './dist' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='a.example/site' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-a.example-site' | record | export '.xtask/deploy.json'
        "#]],
    );
    expect_script(
        &plan(&env, Operation::Build, "site", "local", None),
        &expect![[r#"
        build | export --wipe 'dist'
    "#]],
    );
    // Built with Dagger's own API.
    expect_script(
        &staging("shared"),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/shared' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/shared/dist')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/shared' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/shared/dist' | export --wipe 'dist'
            '../../dagger/cloudflare' --environment='staging' | deploy './dist' 'wrangler.json' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='shared' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-shared' | record | export '.xtask/deploy.json'
        "#]],
    );
    // Another folder for what is built, with a space in its name, and a block of the environment.
    expect_script(
        &staging("out"),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/out' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/out/build/web site')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/out' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-env-variable 'CLOUDFLARE_ENV' 'staging' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/out/build/web site' | export --wipe 'build/web site'
            '../../dagger/cloudflare' --environment='staging' | deploy './build/web site' 'wrangler.toml' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='out' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-out' | record | export '.xtask/deploy.json'
        "#]],
    );
    // Code and assets.
    expect_script(
        &staging("full"),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/full' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/full/dist')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/full' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-env-variable 'CLOUDFLARE_ENV' 'staging' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/full/dist' | export --wipe 'dist'
            '../../dagger/cloudflare' --environment='staging' | with-workspace $($built | directory '/src') 'projects/full' | deploy './dist' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='full' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-full' | record | export '.xtask/deploy.json'
        "#]],
    );
    // Code alone.
    expect_script(
        &staging("code"),
        &expect![[r#"
            '../../dagger/cloudflare' --environment='staging' | with-source '.' | deploy './src' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='code' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-code' | record | export '.xtask/deploy.json'
        "#]],
    );
    expect_script(
        &staging("bare"),
        &expect![[r#"
            '../../dagger/cloudflare' --environment='staging' | with-source '.' | deploy '.' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='bare' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-bare' | record | export '.xtask/deploy.json'
        "#]],
    );
    // A package above the project.
    expect_script(
        &staging("left"),
        &expect![[r#"
            source=$(host | directory '../../..' --include='projects/pair' --include='projects/pair/left' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/pair/left/dist')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/pair' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/pair/left/dist' | export --wipe 'dist'
            '../../../dagger/cloudflare' --environment='staging' | deploy './dist' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --project='pair/left' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-pair-left' | record | export '.xtask/deploy.json'
        "#]],
    );
    // A version that is not live.
    expect_script(
        &plan(&env, Operation::Preview, "full", "staging", None),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/full' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/full/dist')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/full' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-env-variable 'CLOUDFLARE_ENV' 'staging' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/full/dist' | export --wipe 'dist'
            '../../dagger/cloudflare' --environment='staging' | with-workspace $($built | directory '/src') 'projects/full' | upload './dist' 'wrangler.jsonc' 'env://CLOUDFLARE_WORKERS_TOKEN' --alias='mr-1' --project='full' --tag='k0123' --message='0123abcd' --nonce='n1-full' | record | export '.xtask/deploy.json'
        "#]],
    );
    // A preview with its own bindings.
    let mut own = plan(&env, Operation::Preview, "shared", "staging", None);
    own.projects[0].strategy = Some(workspace::strategy::Strategy::Preview);
    let text = script(&own, &own.projects[0]).expect("a script");
    assert!(text.contains("--nonce='n1-shared' --strategy='preview' | record | export"), "{text}");
    // The sandbox.
    expect_script(
        &plan(&env, Operation::Deploy, "site", "local", Some(8787)),
        &expect![[r#"
            build | export --wipe 'dist'
            '../../../dagger/cloudflare' --environment='local' --api='tcp://127.0.0.1:8787' | deploy './dist' 'wrangler.jsonc' 'env://SANDBOX_TOKEN' --project='a.example/site' --tag='k0123' --message='0123abcd (triggers 44136fa3)' --nonce='n1-a.example-site' | record | export '.xtask/deploy.json'
        "#]],
    );
}

#[test]
fn a_container_gets_the_tracked_env_files_of_its_inputs() {
    let env = repository();
    for path in [".env.production", ".env.it's", "sub/.env"] {
        env.write(&format!("projects/shared/{path}"), "A=1\n");
    }
    env.write("projects/out/.env.production", "A=1\n");
    env.git(&["add", "--force", "projects"]);
    env.commit("variables");
    env.write("projects/shared/.env", "SECRET=1\n");
    std::fs::remove_file(env.root.join("projects/shared/sub/.env")).expect("removed");
    let plan = plan(&env, Operation::Build, "shared", "local", None);
    let script = script(&plan, &plan.projects[0]).expect("a script");
    let files = script.split_once("'projects/shared/dist' ").map(|(_, rest)| rest);
    let files = files.and_then(|rest| rest.lines().next()).unwrap_or(&script);
    expect![[r#"| with-file 'projects/shared/.env.it'\''s' $(host | file '../../projects/shared/.env.it'\''s') | with-file 'projects/shared/.env.production' $(host | file '../../projects/shared/.env.production'))"#]]
        .assert_eq(files);
}

#[test]
fn an_upload_by_the_api_has_its_script() {
    let env = repository();
    let by_api = |operation, name, environment, port| {
        let mut plan = plan(&env, operation, name, environment, port);
        plan.projects[0].build_plan.containers.upload = ContainerUpload::Api;
        plan
    };
    // A project with its own module, in the sandbox.
    expect_script(
        &by_api(Operation::Deploy, "site", "local", Some(8787)),
        &expect![[r#"
            build | export --wipe 'dist'
            wrangler=$(container | from 'oven/bun:1.4.5' | with-workdir '/toolchain' | with-file '/toolchain/package.json' $(host | file '../../../dagger/cloudflare/toolchain/package.json') | with-file '/toolchain/bun.lock' $(host | file '../../../dagger/cloudflare/toolchain/bun.lock') | with-exec -- 'bun' 'install' '--frozen-lockfile' '--ignore-scripts' | with-env-variable 'BUN_JSC_thresholdForOptimizeAfterWarmUp' '20000' | with-env-variable 'CI' '1' | with-env-variable 'CLOUDFLARE_CF_FETCH_ENABLED' 'false' | with-env-variable 'WRANGLER_HIDE_BANNER' 'true' | with-env-variable 'WRANGLER_LOG_SANITIZE' 'true' | with-env-variable 'WRANGLER_SEND_METRICS' 'false' | with-env-variable 'WRANGLER_WRITE_LOGS' 'false')
            uploaded=$($wrangler | with-file '/prepare-upload.js' $(host | file '../../../.xtask/tmp/prepare-upload.js') | with-file '/src/projects/a.example/site/wrangler.jsonc' $(host | file 'wrangler.jsonc') | with-directory '/src/projects/a.example/site/dist' $(host | directory 'dist') | with-env-variable 'WRANGLER_OUTPUT_FILE_PATH' '/output/wrangler.ndjson' | with-env-variable 'CLOUDFLARE_ACCOUNT_ID' '00000000000000000000000000000000' | with-service-binding 'api' 'tcp://127.0.0.1:8787' | with-env-variable 'CLOUDFLARE_API_BASE_URL' 'http://api:8787/client/v4' | with-secret-variable 'CLOUDFLARE_API_TOKEN' 'env://SANDBOX_TOKEN' | with-new-file '/output/nonce' 'n1-a.example-site' | with-workdir '/' | with-exec --redirect-stdout='/output/prepare.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'prepare' 'bun' '--no-env-file' '--config=/dev/null' '/prepare-upload.js' '{"account":"00000000000000000000000000000000","bundle":null,"config":"/src/projects/a.example/site/wrangler.jsonc","environment":null,"name":null,"project":"/src/projects/a.example/site","reads":[],"redirected":false,"root":"/src","upload":"/upload/folder"}' | with-workdir '/upload/folder' | with-exec --redirect-stdout='/output/upload.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'upload' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'deploy' '--autoconfig=false' '--strict' '--env-file=/dev/null' '--tag=k0123' '--message=0123abcd (triggers 44136fa3)')
            $uploaded | directory '/output' | export --wipe '../../../.xtask/deploy/a.example-site'
            $uploaded | with-exec -- 'sh' '-c' 'cat /output/*.log; ! grep -sv "^0$" /output/*.exit' | stdout
        "#]],
    );
    expect_script(
        &by_api(Operation::Build, "site", "local", None),
        &expect![[r#"
        build | export --wipe 'dist'
    "#]],
    );
    // Built with Dagger's own API, into a folder with a space in its name.
    expect_script(
        &by_api(Operation::Deploy, "out", "staging", None),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/out' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/out/build/web site')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/out' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-env-variable 'CLOUDFLARE_ENV' 'staging' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/out/build/web site' | export --wipe 'build/web site'
            wrangler=$(container | from 'oven/bun:1.4.5' | with-workdir '/toolchain' | with-file '/toolchain/package.json' $(host | file '../../dagger/cloudflare/toolchain/package.json') | with-file '/toolchain/bun.lock' $(host | file '../../dagger/cloudflare/toolchain/bun.lock') | with-exec -- 'bun' 'install' '--frozen-lockfile' '--ignore-scripts' | with-env-variable 'BUN_JSC_thresholdForOptimizeAfterWarmUp' '20000' | with-env-variable 'CI' '1' | with-env-variable 'CLOUDFLARE_CF_FETCH_ENABLED' 'false' | with-env-variable 'WRANGLER_HIDE_BANNER' 'true' | with-env-variable 'WRANGLER_LOG_SANITIZE' 'true' | with-env-variable 'WRANGLER_SEND_METRICS' 'false' | with-env-variable 'WRANGLER_WRITE_LOGS' 'false')
            uploaded=$($wrangler | with-file '/prepare-upload.js' $(host | file '../../.xtask/tmp/prepare-upload.js') | with-file '/src/projects/out/wrangler.toml' $(host | file 'wrangler.toml') | with-directory '/src/projects/out/build/web site' $($built | directory '/src/projects/out/build/web site') | with-env-variable 'WRANGLER_OUTPUT_FILE_PATH' '/output/wrangler.ndjson' | with-env-variable 'CLOUDFLARE_ACCOUNT_ID' '00000000000000000000000000000000' | with-secret-variable 'CLOUDFLARE_API_TOKEN' 'env://CLOUDFLARE_WORKERS_TOKEN' | with-new-file '/output/nonce' 'n1-out' | with-workdir '/' | with-exec --redirect-stdout='/output/prepare.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'prepare' 'bun' '--no-env-file' '--config=/dev/null' '/prepare-upload.js' '{"account":"00000000000000000000000000000000","bundle":null,"config":"/src/projects/out/wrangler.toml","environment":"staging","name":null,"project":"/src/projects/out","reads":[],"redirected":null,"root":"/src","upload":"/upload/folder"}' | with-workdir '/upload/folder' | with-exec --redirect-stdout='/output/upload.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'upload' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'deploy' '--autoconfig=false' '--strict' '--no-x-provision' '--env-file=/dev/null' '--env=staging' '--tag=k0123' '--message=0123abcd (triggers 44136fa3)')
            $uploaded | directory '/output' | export --wipe '../../.xtask/deploy/out'
            $uploaded | with-exec -- 'sh' '-c' 'cat /output/*.log; ! grep -sv "^0$" /output/*.exit' | stdout
        "#]],
    );
    // Code and assets, as a version that is not live.
    expect_script(
        &by_api(Operation::Preview, "full", "staging", None),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/full' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules' --exclude='projects/full/dist')
            built=$(container | from 'oven/bun:1.4.5' | with-directory '/src' $source | with-workdir '/src/projects/full' | with-env-variable 'ASTRO_TELEMETRY_DISABLED' '1' | with-env-variable 'CLOUDFLARE_ENV' 'staging' | with-exec -- 'bun' '--bun' 'run' 'build')
            $built | directory '/src/projects/full/dist' | export --wipe 'dist'
            wrangler=$(container | from 'oven/bun:1.4.5' | with-workdir '/toolchain' | with-file '/toolchain/package.json' $(host | file '../../dagger/cloudflare/toolchain/package.json') | with-file '/toolchain/bun.lock' $(host | file '../../dagger/cloudflare/toolchain/bun.lock') | with-exec -- 'bun' 'install' '--frozen-lockfile' '--ignore-scripts' | with-env-variable 'BUN_JSC_thresholdForOptimizeAfterWarmUp' '20000' | with-env-variable 'CI' '1' | with-env-variable 'CLOUDFLARE_CF_FETCH_ENABLED' 'false' | with-env-variable 'WRANGLER_HIDE_BANNER' 'true' | with-env-variable 'WRANGLER_LOG_SANITIZE' 'true' | with-env-variable 'WRANGLER_SEND_METRICS' 'false' | with-env-variable 'WRANGLER_WRITE_LOGS' 'false')
            bundled=$($wrangler | with-directory '/src' $($built | directory '/src') | with-new-file '/bundle/bundle.form' 'not bundled' | with-directory '/bundle/empty' $(directory) | with-new-file '/output/nonce' 'n1-full' | with-workdir '/src/projects/full' | with-exec --redirect-stdout='/output/bundle.log' -- 'sh' '-c' 'if [ -e .wrangler/deploy/config.json ]; then set -- "$@" --assets=/bundle/empty; else set -- "$@" --config=wrangler.jsonc --assets=/bundle/empty; fi; grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'bundle' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'deploy' '--dry-run' '--autoconfig=false' '--env-file=/dev/null' '--env=staging' '--outdir=/bundle/dir' '--outfile=/bundle/bundle.form')
            uploaded=$($wrangler | with-file '/prepare-upload.js' $(host | file '../../.xtask/tmp/prepare-upload.js') | with-directory '/src' $($bundled | directory '/src') | with-file '/bundle/bundle.form' $($bundled | file '/bundle/bundle.form') | with-file '/output/bundle.exit' $($bundled | file '/output/bundle.exit') | with-file '/output/bundle.log' $($bundled | file '/output/bundle.log') | with-env-variable 'WRANGLER_OUTPUT_FILE_PATH' '/output/wrangler.ndjson' | with-env-variable 'CLOUDFLARE_ACCOUNT_ID' '00000000000000000000000000000000' | with-secret-variable 'CLOUDFLARE_API_TOKEN' 'env://CLOUDFLARE_WORKERS_TOKEN' | with-new-file '/output/nonce' 'n1-full' | with-workdir '/' | with-exec --redirect-stdout='/output/prepare.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'prepare' 'bun' '--no-env-file' '--config=/dev/null' '/prepare-upload.js' '{"account":"00000000000000000000000000000000","bundle":"/bundle/bundle.form","config":"/src/projects/full/wrangler.jsonc","environment":"staging","name":null,"project":"/src/projects/full","reads":[],"redirected":null,"root":"/src","upload":"/upload/folder"}' | with-workdir '/upload/folder' | with-exec --redirect-stdout='/output/upload.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'upload' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'versions' 'upload' '--strict' '--no-x-provision' '--env-file=/dev/null' '--preview-alias=mr-1' '--env=staging' '--tag=k0123' '--message=0123abcd')
            $uploaded | directory '/output' | export --wipe '../../.xtask/deploy/full'
            $uploaded | with-exec -- 'sh' '-c' 'cat /output/*.log; ! grep -sv "^0$" /output/*.exit' | stdout
        "#]],
    );
    // Code alone.
    expect_script(
        &by_api(Operation::Deploy, "code", "staging", None),
        &expect![[r#"
            source=$(host | directory '../..' --include='projects/code' --exclude='**/.dev.vars*' --exclude='**/.env' --exclude='**/.env.*' --exclude='**/.git' --exclude='**/.wrangler' --exclude='**/.xtask' --exclude='**/node_modules')
            wrangler=$(container | from 'oven/bun:1.4.5' | with-workdir '/toolchain' | with-file '/toolchain/package.json' $(host | file '../../dagger/cloudflare/toolchain/package.json') | with-file '/toolchain/bun.lock' $(host | file '../../dagger/cloudflare/toolchain/bun.lock') | with-exec -- 'bun' 'install' '--frozen-lockfile' '--ignore-scripts' | with-env-variable 'BUN_JSC_thresholdForOptimizeAfterWarmUp' '20000' | with-env-variable 'CI' '1' | with-env-variable 'CLOUDFLARE_CF_FETCH_ENABLED' 'false' | with-env-variable 'WRANGLER_HIDE_BANNER' 'true' | with-env-variable 'WRANGLER_LOG_SANITIZE' 'true' | with-env-variable 'WRANGLER_SEND_METRICS' 'false' | with-env-variable 'WRANGLER_WRITE_LOGS' 'false')
            bundled=$($wrangler | with-directory '/src' $source | with-new-file '/bundle/bundle.form' 'not bundled' | with-directory '/bundle/empty' $(directory) | with-new-file '/output/nonce' 'n1-code' | with-workdir '/src/projects/code' | with-exec --redirect-stdout='/output/bundle.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'bundle' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'deploy' '--dry-run' '--config=wrangler.jsonc' '--autoconfig=false' '--env-file=/dev/null' '--outdir=/bundle/dir' '--outfile=/bundle/bundle.form')
            uploaded=$($wrangler | with-file '/prepare-upload.js' $(host | file '../../.xtask/tmp/prepare-upload.js') | with-directory '/src' $($bundled | directory '/src') | with-file '/bundle/bundle.form' $($bundled | file '/bundle/bundle.form') | with-file '/output/bundle.exit' $($bundled | file '/output/bundle.exit') | with-file '/output/bundle.log' $($bundled | file '/output/bundle.log') | with-env-variable 'WRANGLER_OUTPUT_FILE_PATH' '/output/wrangler.ndjson' | with-env-variable 'CLOUDFLARE_ACCOUNT_ID' '00000000000000000000000000000000' | with-secret-variable 'CLOUDFLARE_API_TOKEN' 'env://CLOUDFLARE_WORKERS_TOKEN' | with-new-file '/output/nonce' 'n1-code' | with-workdir '/' | with-exec --redirect-stdout='/output/prepare.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'prepare' 'bun' '--no-env-file' '--config=/dev/null' '/prepare-upload.js' '{"account":"00000000000000000000000000000000","bundle":"/bundle/bundle.form","config":"/src/projects/code/wrangler.jsonc","environment":null,"name":null,"project":"/src/projects/code","reads":[],"redirected":false,"root":"/src","upload":"/upload/folder"}' | with-workdir '/upload/folder' | with-exec --redirect-stdout='/output/upload.log' -- 'sh' '-c' 'grep -qsv "^0$" /output/*.exit || { "$@" 2>&1; echo $? > /output/$0.exit; }' 'upload' 'bun' '--no-env-file' '--config=/dev/null' '--bun' '/toolchain/node_modules/wrangler/bin/wrangler.js' 'deploy' '--autoconfig=false' '--strict' '--no-x-provision' '--env-file=/dev/null' '--tag=k0123' '--message=0123abcd (triggers 44136fa3)')
            $uploaded | directory '/output' | export --wipe '../../.xtask/deploy/code'
            $uploaded | with-exec -- 'sh' '-c' 'cat /output/*.log; ! grep -sv "^0$" /output/*.exit' | stdout
        "#]],
    );
    // A preview with its own bindings.
    let mut own = by_api(Operation::Preview, "shared", "staging", None);
    own.projects[0].strategy = Some(workspace::strategy::Strategy::Preview);
    let text = script(&own, &own.projects[0]).expect("a script");
    assert!(text.contains("wrangler.js' 'preview' '--name=mr-1'"), "{text}");
}

/// The parser and expansion of the Dagger CLI, as a program in Go. `None` if there is no Go.
struct Parser {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Parser {
    /// `test` names the program, because tests run in parallel.
    fn new(test: &str) -> Option<Parser> {
        let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/posix");
        let program = Utf8Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("posix-{}-{test}", std::process::id()));
        let skipped = |why: &str| {
            let text = format!("{why}: Dagger's own parser was left out, `sh` alone was asked");
            // Past the test runner, which keeps what passing tests print to itself.
            let _closed = writeln!(std::io::stderr(), "{text}");
        };
        let Some(go) = which("go") else {
            skipped("no Go on PATH");
            return None;
        };
        let mut build = Command::new(go);
        build.current_dir(folder).args(["build", "-buildvcs=false", "-o", program.as_str(), "."]);
        let output = build.output().expect("go runs");
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!message.starts_with("# "), "the program does not compile: {message}");
            // No way to the module proxy, or a Go that is too old.
            skipped(&format!(
                "Go cannot build the parser ({})",
                message.lines().last().unwrap_or("?")
            ));
            return None;
        }
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        std::fs::remove_file(&program).expect("removable while it runs");
        let (stdin, stdout) =
            (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
        Some(Parser { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// The words of every stage of every pipeline.
    fn read(&mut self, script: &str) -> Value {
        writeln!(self.stdin, "{}", Value::from(script)).expect("it reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().expect("ended");
    }
}

/// Text that a shell would do something with, beside any text.
fn value() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "'", "\\", "\"", "$HOME", "`id`", "$(id)", "*", "?", "[a]", "~", "#", "|", "&&", ";", "\n",
        "\r\n", "\r", "\t", " ", "--x=", "{a,b}", "!", "<<E", "DAGGER\n", "é", "\u{7f}",
        "\u{feff}",
    ]);
    let part = prop_oneof![3 => special.prop_map(str::to_owned), 1 => "[^\0]{0,6}"];
    prop::collection::vec(part, 0..12)
        .prop_map(|parts| parts.concat())
        .prop_filter("unquotable text is refused", |text| quote(text).is_ok())
}

#[test]
fn every_value_survives_dagger_s_parser() {
    let Some(parser) = Parser::new("any") else { return };
    let parser = std::cell::RefCell::new(parser);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&(value(), value()), |(first, second)| {
        let (one, two) = (quote(&first).expect("quotable"), quote(&second).expect("quotable"));
        let text = format!("{one} | deploy {two} --name={one}\nbuild {two}\n");
        let read = parser.borrow_mut().read(&text);
        prop_assert_eq!(&read["error"], &Value::Null);
        let option = format!("--name={first}");
        let words =
            serde_json::json!([[[first], ["deploy", second, option]], [["build", second]],]);
        prop_assert_eq!(&read["pipelines"], &words);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn dagger_parses_a_script_into_the_written_pipelines() {
    let env = TestEnv::new();
    env.site("projects/it's a site", "site");
    let mut plan = plan(&env, Operation::Deploy, "site", "staging", None);
    plan.projects[0].message = "it's $HOME\n| `id`".to_owned();
    let text = script(&plan, &plan.projects[0]).expect("a script");
    let Some(mut parser) = Parser::new("whole") else { return };
    // The lines before are assignments, which the parser of this test does not expand.
    let upload = text.find("'../../dagger/cloudflare'").expect("the upload");
    let read = parser.read(&text[upload..]);
    let deploy = &read["pipelines"][0];
    let module = serde_json::json!(["../../dagger/cloudflare", "--environment=staging"]);
    assert_eq!(deploy[0], module, "{read}");
    assert_eq!(deploy[1][0], "deploy");
    assert!(
        deploy[1]
            .as_array()
            .is_some_and(|words| words.contains(&Value::from("--message=it's $HOME\n| `id`"))),
        "{deploy}"
    );
    assert_eq!(deploy[2], serde_json::json!(["record"]));
    assert_eq!(deploy[3], serde_json::json!(["export", ".xtask/deploy.json"]));
    // And the parser says no where something is left open to it.
    for open in ["deploy $HOME", "deploy *", "deploy 'a", "a=b", "a & b", "a > b"] {
        assert!(parser.read(open)["error"].is_string(), "{open}");
    }
}
