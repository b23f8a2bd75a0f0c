//! The command line's contract: exit codes, messages, derived files.

use std::process::Stdio;

use expect_test::expect;

use crate::support::wait::Wait;
use crate::support::{TestEnv, repository};

#[test]
fn derived_files_are_up_to_date() {
    use dev::generation::{Mode, generate};
    let stale = generate(&repository(), Mode::Check).expect("readable");
    assert!(stale.is_empty(), "run `cargo dev generate`: {stale:?}");
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory as _;
    delivery::cli::Cli::<delivery::cli::Command>::command().debug_assert();
}

#[test]
fn bad_input_has_its_exit_code_and_a_next_step() {
    let env = TestEnv::new();
    env.site("projects/a.com/website", "a");
    env.worker("projects/b.com/api", "b");
    env.commit("projects");
    let table: [(&[&str], i32, &str); 11] = [
        (&["deploi"], 2, "similar subcommand"),
        (&["deploy", "websiet"], 2, "did you mean `website`?"),
        (&["deploy", "a", "--env", "stagng"], 2, "did you mean `staging`?"),
        (&["deploy", "a", "--env", "production"], 3, "`production` is protected"),
        (&["deploy", "a", "--env", "staging"], 3, "without an `env.staging` block"),
        (&["deploy", "b", "--env", "staging"], 3, "CLOUDFLARE_WORKERS_TOKEN is not set"),
        (&["deploy", "a", "--env", "production", "--break-glass", ""], 2, "a reason is needed"),
        (&["deploy", "a", "--env", "production", "--break-glass", " \t"], 2, "a reason is needed"),
        (&["rollback", "a", "--env", "production", "--break-glass", " "], 2, "a reason is needed"),
        (&["deploy", "--jobs", "0"], 2, "0 is not in 1.."),
        (&["sandbox", "status"], 1, ""),
    ];
    for (arguments, code, message) in table {
        let ran = env.xtask(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
    let empty =
        env.xtask_with(&["deploy", "b", "--env", "staging"], &[("CLOUDFLARE_WORKERS_TOKEN", " ")]);
    assert!(empty.exits(3).stderr.contains("set but empty"));
    let in_pipeline = env.xtask_with(&["deploy", "a"], &[("GITLAB_CI", "true")]);
    assert!(in_pipeline.exits(2).stderr.contains("a pipeline has no default environment"));
}

/// No request reaches the proxy.
#[test]
fn the_placeholder_of_the_account_id_never_reaches_the_network() {
    let env = TestEnv::with_tools();
    env.worker("projects/api", "api");
    env.commit("project");
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a listener");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let variables = [("CLOUDFLARE_WORKERS_TOKEN", "0123456789abcdef"), ("HTTPS_PROXY", &address)];
    let errors = |arguments: &[&str], variables: &[(&str, &str)]| {
        let ran = env.xtask_with(arguments, variables).exits(3);
        let text = if ran.stderr.contains("error: ") { ran.stderr } else { ran.stdout };
        let at = text.find("error: ").expect("an error");
        text[at..].trim().to_owned()
    };
    let commands = ["status", "versions", "rollback", "preview", "deploy"];
    let shown = commands.map(|command| {
        let shown = errors(&[command, "api", "--env", "staging"], &variables);
        shown.replace("error: api: ", "error: ")
    });
    assert!(shown.iter().all(|text| *text == shown[0]), "{shown:#?}");
    expect![[r#"
        error: `cloudflare.accountId` in dagger/config/config.json is the placeholder that the repository comes with
        hint: write your account id there; it is in the address of the Cloudflare dashboard, dash.cloudflare.com/<accountId>"#]].assert_eq(&shown[0]);
    // Without a token both refusals are in one message.
    let both = errors(&["deploy", "api", "--env", "staging"], &[]);
    expect![[r#"
        error: 2 things are missing or wrong
          account id: `cloudflare.accountId` in dagger/config/config.json is the placeholder that the repository comes with
          token of staging: the variable CLOUDFLARE_WORKERS_TOKEN is not set
        hint: write your account id there; it is in the address of the Cloudflare dashboard, dash.cloudflare.com/<accountId>
        hint: put a Cloudflare API token into CLOUDFLARE_WORKERS_TOKEN; dagger/config/config.json names the variable"#]].assert_eq(&both);
    let config = "dagger/config/config.json";
    let text = std::fs::read_to_string(env.root.join(config)).expect("text");
    let account =
        r#""staging": { "cloudflare": { "accountId": "00000000000000000000000000000000" } }"#;
    env.write(config, &text.replace(r#""staging": {}"#, account));
    let shown = errors(&["versions", "api", "--env", "staging"], &variables);
    assert!(shown.contains("`environments.staging.cloudflare.accountId` in"), "{shown}");
    // With an account id the request is sent.
    env.write(
        config,
        &text.replace(
            r#""00000000000000000000000000000000""#,
            r#""0123456789abcdef0123456789abcdef""#,
        ),
    );
    assert!(proxy.accept().is_err(), "a request was sent for the placeholder");
    let mut status = env.command(&["status", "api", "--env", "staging"], &variables);
    let mut status = status.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let wait = Wait::begin();
    while proxy.accept().is_err() {
        wait.pause("no request with an account id");
    }
    status.kill().and_then(|()| status.wait()).expect("it ends");
}

#[test]
fn a_broken_config_file_is_refused_with_its_place() {
    let env = TestEnv::new();
    let config = std::fs::read_to_string(env.root.join("dagger/config/config.json")).expect("text");
    env.write("dagger/config/config.json", &config.replace("projectId", "projectID"));
    let ran = env.xtask(&["projects", "--json"]).exits(3);
    let error = &ran.json()["error"];
    assert!(
        error["message"].as_str().expect("text").starts_with("dagger/config/config.json:9:"),
        "{error}"
    );
    assert_eq!(error["hints"][0], "did you mean `projectId`?");
    assert_eq!(error["exit"], 3);
    std::fs::remove_file(env.root.join("dagger/config/config.json")).expect("removable");
    assert!(
        env.xtask(&["projects"]).exits(3).stderr.contains("cannot read dagger/config/config.json")
    );
}

/// A real terminal, by Bun: the last line of a child's output follows the step, wrapping is off
/// while lines are redrawn, and every redraw goes up as many rows as were drawn.
#[test]
fn progress_on_a_narrow_terminal_takes_one_row() {
    let env = TestEnv::with_tools();
    env.site("projects/site", "site");
    env.write(
        "projects/site/build.ts",
        "console.log('compiled '.repeat(30)); await Bun.sleep(600); await Bun.write('dist/index.html', 'x');",
    );
    env.commit("project");
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
    let run = |variables: &str, options: &str| {
        let terminal = repository().join("xtask/tests/fakes/terminal.ts");
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let text = format!(
            "{variables} '{bun}' '{terminal}' 30 '{xtask}' build site --engine host {options}"
        );
        env.sh(&text).exits(0).stdout
    };
    let shown = run("TERM=xterm", "");
    fn whole(part: &str) -> Option<&str> {
        part.split_once("\x1b[?7h").map(|(frame, _)| frame)
    }
    let frames: Vec<&str> = shown.split("\x1b[?7l").skip(1).filter_map(whole).collect();
    assert!(frames.iter().any(|frame| frame.contains("compiled compiled")), "{shown}");
    assert!(frames.iter().all(|frame| frame.matches('\n').count() == 1), "{shown}");
    assert!(shown.contains("\x1b[1A\x1b[J") && !shown.contains("\x1b[2A"), "{shown}");
    // Without colour it still moves; plain, it neither moves nor shows the child's lines.
    env.write("projects/site/content.txt", "changed, so that it is built again");
    let shown = run("TERM=xterm NO_COLOR=1", "");
    assert!(shown.contains("\x1b[1A\x1b[J") && !shown.contains("\x1b[2m"), "{shown}");
    for shown in [run("TERM=dumb", ""), run("TERM=xterm", "--no-progress")] {
        assert!(!shown.contains("\x1b[1A") && !shown.contains("compiled"), "{shown}");
    }
}
