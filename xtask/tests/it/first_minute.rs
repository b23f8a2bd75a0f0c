//! The first command in a fresh clone, as a terminal shows it.

use std::process::Command;

use camino::Utf8Path;

use crate::support::wait::Wait;
use crate::support::{TestEnv, repository};

/// A crate called `xtask` whose compilation ends as soon as the terminal has shown something.
fn write_crate(env: &TestEnv, dir: &str) {
    env.write(
        &format!("{dir}Cargo.toml"),
        "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    env.write(
        &format!("{dir}src/main.rs"),
        "fn main() { println!(\"{}\", std::env::args().skip(1).collect::<String>()) }",
    );
    env.write(
        &format!("{dir}build.rs"),
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         let seen = std::env::var(\"FIRST_OUTPUT\").unwrap();\n    \
         for _ in 0..1200 {\n        if std::path::Path::new(&seen).exists() { return; }\n        \
         std::thread::sleep(std::time::Duration::from_millis(100));\n    }\n    \
         panic!(\"the terminal stays empty while xtask is compiled\");\n}\n",
    );
}

fn cargo_xtask(env: &TestEnv) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    env.environment(&mut cargo);
    cargo.args(["xtask", "hello"]).env("FIRST_OUTPUT", env.folder.join("seen"));
    for name in ["HOME", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            cargo.env(name, value);
        }
    }
    // As a person's: Cargo draws no bar in a pipeline by itself.
    cargo.env_remove("CI").env("CARGO_TARGET_DIR", env.folder.join("target"));
    cargo
}

/// Asserts that the alias of `config` shows a bar before xtask is compiled, in one row of 40 columns, and
/// nothing once it is compiled.
fn assert_alias(env: &TestEnv, config: &str) {
    env.write(".cargo/config.toml", config);
    let first = env.in_terminal(40, &mut cargo_xtask(env)).exits(0).stdout;
    let (bars, last) = first.rsplit_once("\x1b[K").expect("the bar is erased");
    assert_eq!(last, "hello\r\n", "{first:?}");
    let frames: Vec<&str> = bars.split('\r').filter(|frame| !frame.is_empty()).collect();
    assert!(frames.iter().any(|frame| frame.contains("0/3") || frame.contains("1/3")), "{first:?}");
    for frame in frames {
        assert!(!frame.contains('\n') && frame.chars().count() <= 40, "{frame:?}");
    }
    let second = env.in_terminal(40, &mut cargo_xtask(env)).exits(0).stdout;
    assert_eq!(second, "hello\r\n");
    let mut piped = cargo_xtask(env);
    let piped = crate::support::ran(piped.output().expect("cargo runs"));
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("hello\n", ""));
}

#[test]
fn a_bar_is_shown_before_xtask_is_compiled_and_nothing_afterwards() {
    let env = TestEnv::new();
    write_crate(&env, "");
    let config = repository().join(".cargo/config.toml");
    assert_alias(&env, &std::fs::read_to_string(config).expect("the alias of this repository"));
}

#[test]
fn the_alias_of_another_repository_does_the_same() {
    let env = TestEnv::new();
    write_crate(&env, "xtask/");
    let merge = |config| match delivery::init::alias::merge(config) {
        delivery::init::alias::Alias::Addition(config) => config,
        other => panic!("an alias for a repository that has none, not {other:?}"),
    };
    assert_alias(&env, &merge(None));
    // No toolchain has the standard library of this target.
    let other = "[build]\ntarget = \"wasm64-unknown-unknown\"\n";
    std::fs::remove_dir_all(env.folder.join("target")).expect("deleted");
    std::fs::remove_file(env.folder.join("seen")).expect("deleted");
    assert_alias(&env, &merge(Some(other)));
}

/// Writes the crates `xtask` and `delivery`, with the build script of ours. `delivery` is compiled until the file of the
/// variable `SECONDS` exists, then `end` runs.
fn write_slow_crates(env: &TestEnv, end: &str) {
    let manifest = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
    };
    let dependency = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        format!("[dependencies]\n{name} = {{ path = \"{path}\" }}\n")
    };
    env.write("Cargo.toml", &manifest("xtask", &(dependency("delivery") + "[workspace]\n")));
    env.write(
        "src/main.rs",
        "use std::os::unix::process::CommandExt as _;\nfn main() {\n    delivery::hello();\n    \
         if let Some(next) = std::env::var_os(\"NEXT\") { panic!(\"{}\", std::process::Command::new(next).arg(\"3\").exec()) }\n}\n",
    );
    env.write("delivery/Cargo.toml", &manifest("delivery", &dependency("../wait")));
    env.write("delivery/src/lib.rs", "wait::wait!();\npub fn hello() { println!(\"hello\") }");
    let script = std::fs::read_to_string(repository().join("crates/delivery/build.rs"));
    env.write("delivery/build.rs", &script.expect("the build script"));
    env.write("wait/Cargo.toml", &manifest("wait", "[lib]\nproc-macro = true\n"));
    env.write(
        "wait/src/lib.rs",
        &format!(
            "use proc_macro::TokenStream;\n#[proc_macro]\npub fn wait(_: TokenStream) -> TokenStream {{\n    \
             let seen = std::env::var(\"SECONDS\").unwrap();\n    \
             for _ in 0..1200 {{\n        if std::path::Path::new(&seen).exists() {{ {end} }}\n        \
             std::thread::sleep(std::time::Duration::from_millis(100));\n    }}\n    \
             panic!(\"no seconds were shown\");\n}}\n"
        ),
    );
}

#[test]
fn the_seconds_are_shown_while_the_last_crate_is_compiled() {
    let env = TestEnv::new();
    let config = repository().join(".cargo/config.toml");
    env.write(".cargo/config.toml", &std::fs::read_to_string(config).expect("the alias"));
    let seen = env.folder.join("seconds");
    let run = |columns: u16, next: Option<&Utf8Path>| {
        let mut cargo = cargo_xtask(&env);
        cargo.envs(next.map(|next| ("NEXT", next)));
        // Saved, in the column beside the bar, and restored.
        let awaited = serde_json::json!(["\u{1b}7\u{1b}[42G2 s\u{1b}8", seen]);
        cargo.env("SECONDS", &seen).env("AWAITED", awaited.to_string());
        env.in_terminal(columns, &mut cargo)
    };
    write_slow_crates(&env, "return TokenStream::new();");
    let shown = run(80, None).exits(0).stdout;
    let (_, last) = shown.rsplit_once("\u{1b}[K").expect("the bar is erased, with the seconds");
    assert_eq!(last, "hello\r\n", "{shown:?}");
    assert_eq!(run(80, None).exits(0).stdout, "hello\r\n");

    // They end with their compilation, even if xtask becomes another program called `cargo`.
    std::fs::remove_dir_all(env.folder.join("target")).expect("deleted");
    std::fs::remove_file(&seen).expect("deleted");
    let next = env.folder.join("next/cargo");
    std::fs::create_dir_all(next.parent().expect("a folder")).expect("created");
    std::os::unix::fs::symlink("/bin/sleep", &next).expect("linked");
    let shown = run(80, Some(&next)).exits(0).stdout;
    let (_, last) = shown.rsplit_once("\u{1b}[K").expect("the bar is erased, with the seconds");
    assert_eq!(last, "hello\r\n", "{shown:?}");

    // Where they do not fit, nothing is written beside the bar.
    std::fs::remove_dir_all(env.folder.join("target")).expect("deleted");
    let narrow = run(40, None).exits(0).stdout;
    assert!(!narrow.contains("\u{1b}7"), "{narrow:?}");

    // If the compilation fails, the process that shows them ends.
    std::fs::remove_dir_all(env.folder.join("target")).expect("deleted");
    std::fs::remove_file(&seen).expect("deleted");
    write_slow_crates(&env, "panic!(\"broken\");");
    assert!(run(80, None).exits(101).stdout.contains("broken"));
    let target = env.folder.join("target");
    let is_running = || {
        let list = Command::new("ps").args(["-eo", "args="]).output().expect("ps runs");
        String::from_utf8_lossy(&list.stdout).contains(target.as_str())
    };
    let wait = Wait::begin();
    while is_running() {
        wait.pause("a compiler still runs");
    }
}

/// Cargo's own pause in the last crate is described in docs/adr/0021.
#[test]
fn the_first_run_names_its_phases_and_prints_at_least_every_three_seconds() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "a");
    env.commit("site");
    let file = env.folder.join("pause");
    let run = |arguments: &[&str]| {
        let mut command = env.command(arguments, &[("LONGEST_PAUSE", file.as_str())]);
        let shown = env.in_terminal(80, command.env_remove("CI")).exits(0).stdout;
        let pause: u32 = std::fs::read_to_string(&file).expect("a time").parse().expect("a number");
        assert!(pause < 3000, "{arguments:?}: silent for {pause} ms");
        shown
    };
    let first = run(&["deploy", "a"]);
    // A part that takes less time than a frame of the progress line is not drawn. Without a terminal all are printed.
    let parts = ["[1/3] sandbox: ", "[2/3] build", "[3/3] deploy: "].map(|label| first.find(label));
    assert!(parts[2].is_some() && parts.iter().flatten().is_sorted(), "{first:?}");
    assert!(!first.contains("tools:"), "no tool was missing: {first:?}");
    // Nothing has to be set up again.
    env.write("projects/a/content.txt", "two");
    let second = run(&["deploy", "a"]);
    assert!(second.contains("upload") && !second.contains("/3]"), "{second:?}");
    // The same without a terminal.
    env.xtask(&["sandbox", "down"]).exits(0);
    env.write("projects/a/content.txt", "three");
    let plain = env.xtask(&["deploy", "a"]).exits(0).stderr;
    let steps = plain.lines().filter(|line| !line.starts_with('✓') && line.contains(": "));
    let steps: String = steps.map(|line| format!("{line}\n")).collect();
    let port = env.port().to_string();
    expect_test::expect![[r#"
        setup: [1/3] sandbox: start the sandbox
        a: read what is live
        a: [2/3] build
        a: [3/3] deploy: upload
        a: [3/3] deploy: check that it answers
    "#]]
    .assert_eq(&steps.replace(&port, "PORT"));
}

#[test]
fn a_reset_of_the_sandbox_asks_on_a_terminal() {
    let env = TestEnv::new();
    env.write(".xtask/sandbox/state.json", "kept");
    let state = env.root.join(".xtask/sandbox");
    let reset = |typed: &str| {
        let mut reset = env.command(&["sandbox", "reset"], &[("TYPED", typed)]);
        env.in_terminal(80, &mut reset).exits(0).stdout
    };
    for no in ["n\n", "\n", "yess\n"] {
        let shown = reset(no);
        let question = "Delete all deployments, tokens and merge requests of the sandbox? [y/N] ";
        assert!(
            shown.starts_with(question) && shown.ends_with("nothing was deleted\r\n"),
            "{shown:?}"
        );
        assert!(state.exists(), "{no:?}");
    }
    let shown = reset("y\n");
    assert!(shown.ends_with("sandbox reset: deployments deleted, not running\r\n"), "{shown:?}");
    assert!(!state.exists());
    // A script is not asked.
    env.write(".xtask/sandbox/state.json", "kept");
    env.xtask(&["sandbox", "reset"]).exits(0);
    assert!(!state.exists());
}

/// While the first terminal builds the sandbox, Cargo may not lock the target folder of xtask.
#[test]
fn the_sandbox_has_its_own_target_folder() {
    let command = deployment::tools::sandbox::build(&repository()).expect("its source is here");
    let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    let at = argv.iter().position(|word| *word == "--target-dir").expect("a target folder");
    let folder = Utf8Path::new(argv[at + 1]);
    assert_eq!(folder.file_name(), Some("sandbox"), "{argv:?}");
    let program = deployment::tools::sandbox::program(&repository()).expect("a path");
    assert_eq!(program, folder.join("debug/sandbox"));
    let xtask = crate::support::program();
    assert_eq!(xtask.ancestors().nth(2), folder.parent().map(Utf8Path::as_std_path));
}
