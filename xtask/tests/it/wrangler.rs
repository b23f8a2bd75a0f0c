//! Wrangler's other commands against the sandbox: what people use beside `cargo xtask`.

use std::process::Command;

use crate::support::{CANARY, Ran, TestEnv, ran};

fn wrangler(env: &TestEnv, arguments: &[&str]) -> Ran {
    let launcher =
        env.root.join("dagger/cloudflare/toolchain/node_modules/wrangler/bin/wrangler.js");
    let mut command = Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN is set"));
    command.arg("--bun").arg(launcher).args(arguments).current_dir(env.root.join("projects/api"));
    command
        .env_clear()
        .env("PATH", std::env::var("PATH").expect("PATH"))
        .env("HOME", env.root.join("home"));
    command
        .env("CI", "1")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CLOUDFLARE_API_TOKEN", CANARY);
    command.env("CLOUDFLARE_API_BASE_URL", format!("http://127.0.0.1:{}/client/v4", env.port()));
    command.env("CLOUDFLARE_ACCOUNT_ID", "0".repeat(32));
    ran(command.stdin(std::process::Stdio::null()).output().expect("wrangler runs"))
}

#[test]
fn versions_rollback_secrets_and_delete() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("worker");
    let first = env.xtask(&["deploy", "api", "--json"]).exits(0).record("api");
    let first = first["version"].as_str().expect("an id");

    let who = wrangler(&env, &["whoami", "--json"]).exits(0);
    assert_eq!(who.json()["loggedIn"], true);
    let upload =
        ["versions", "upload", "--env=", "--preview-alias=mr-7", "--tag=t7", "--var=STAGE:preview"];
    let uploaded = wrangler(&env, &upload).exits(0);
    assert!(
        uploaded.stdout.contains("https://mr-7-api.sandbox.workers.dev"),
        "{}",
        uploaded.stdout
    );
    assert_eq!(env.fetch("mr-7-api.localhost", "/up").1, "{\"stage\":\"preview\"}");
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
    let refused =
        wrangler(&env, &["versions", "upload", "--env=", "--preview-alias=MR_42!"]).exits(1);
    assert!(refused.stderr.contains("The alias"), "{}", refused.stderr);

    let listed = wrangler(&env, &["versions", "list", "--env=", "--json"]).exits(0).json();
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 2);
    let second = listed[1]["id"].as_str().expect("an id");
    assert_eq!(listed[1]["annotations"]["workers/tag"], "t7");
    let viewed = wrangler(&env, &["versions", "view", second, "--env=", "--json"]).exits(0).json();
    assert_eq!(viewed["id"], second);

    wrangler(&env, &["versions", "deploy", &format!("{second}@100%"), "-y", "--env="]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"preview\"}");
    wrangler(&env, &["rollback", first, "--env=", "--message=back"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").1, "{\"stage\":\"top\"}");
    let status = wrangler(&env, &["deployments", "status", "--env=", "--json"]).exits(0).json();
    assert_eq!(status["versions"][0]["version_id"], first);
    assert_eq!(status["annotations"]["workers/message"], "back");

    let early = wrangler(&env, &["secret", "put", "ONE", "--env="]).exits(1);
    assert!(early.stderr.contains("isn't currently deployed"), "{}", early.stderr);
    env.xtask(&["deploy", "api", "--force"]).exits(0);
    env.write("projects/api/secrets.json", "{\"ONE\":\"first-secret\",\"TWO\":\"second-secret\"}");
    wrangler(&env, &["secret", "bulk", "secrets.json", "--env="]).exits(0);
    let secrets = wrangler(&env, &["secret", "list", "--env="]).exits(0);
    assert!(
        secrets.stdout.contains("ONE") && !secrets.stdout.contains("first-secret"),
        "{}",
        secrets.stdout
    );
    wrangler(&env, &["secret", "delete", "ONE", "--env="]).exits(0);
    let state = env.fetch("127.0.0.1", "/__sandbox/state.json").1;
    assert!(!state.contains("second-secret"), "{state}");
    env.xtask(&["deploy", "api", "--force"]).exits(0);
    assert!(
        wrangler(&env, &["secret", "list", "--env="]).exits(0).stdout.contains("TWO"),
        "secrets are kept"
    );

    wrangler(&env, &["delete", "--env=", "--force"]).exits(0);
    assert_eq!(env.fetch("api.localhost", "/up").0, 404);
    let gone = wrangler(&env, &["versions", "upload", "--env="]).exits(1);
    assert!(gone.stderr.contains("does not yet exist"), "{}", gone.stderr);
}

/// Replaces the link to the shared packages by a folder with a link to each, without the shared compile cache.
fn own_packages(env: &TestEnv) -> camino::Utf8PathBuf {
    let packages = env.root.join("dagger/cloudflare/toolchain/node_modules");
    let shared = packages.canonicalize_utf8().expect("the shared packages");
    std::fs::remove_file(&packages).expect("a link");
    std::fs::create_dir(&packages).expect("a folder");
    for entry in shared.read_dir_utf8().expect("packages").map(|entry| entry.expect("a package")) {
        if entry.file_name() != ".cache" {
            std::os::unix::fs::symlink(entry.path(), packages.join(entry.file_name()))
                .expect("a link");
        }
    }
    packages.join(".cache/compile")
}

#[test]
fn what_bun_compiles_of_wrangler_is_kept_outside_of_ci() {
    let env = TestEnv::with_tools();
    let cache = own_packages(&env);
    env.worker("projects/api", "api");
    env.commit("worker");
    let deploy = |is_ci: &str| {
        env.xtask_with(&["deploy", "api", "--force"], &[("CI", is_ci)]).exits(0);
    };
    deploy("true");
    assert!(!cache.exists(), "a job would fill it for nothing");
    deploy("");
    let compiled = || -> Vec<camino::Utf8PathBuf> {
        let versions = cache.read_dir_utf8().expect("a folder");
        let folders = versions.map(|entry| entry.expect("a version of Bun").into_path());
        let files = folders.flat_map(|folder| folder.read_dir_utf8().expect("files"));
        files.map(|entry| entry.expect("a file").into_path()).collect()
    };
    let size = |path: &camino::Utf8PathBuf| path.metadata().expect("a file").len();
    assert!(
        compiled().iter().any(|file| size(file) > 1 << 20),
        "wrangler is long: {:?}",
        compiled()
    );
    // A damaged cache costs only time.
    for file in compiled() {
        std::fs::write(file, "damaged").expect("a file");
    }
    deploy("true");
    assert!(compiled().iter().any(|file| size(file) > 1 << 20), "compiled again");
}
