//! Completions of `cargo xtask` in real shells: bash, and fish and zsh where they are installed.

use std::io::Write as _;

use crate::support::TestEnv;

/// Returns a repository with two projects, in which the built xtask is where Cargo would put it.
fn repository_with_xtask() -> TestEnv {
    let env = TestEnv::new();
    env.site("apps/shop/website", "website");
    env.site("apps/api", "api");
    env.write(".cargo/config.toml", "");
    env.commit("projects");
    let link = "mkdir -p target/debug bin-c && ln -s \"$XTASK\" target/debug/xtask";
    let link = link.replace("$XTASK", env!("CARGO_BIN_EXE_xtask"));
    env.sh(&link).exits(0);
    // Cargo would compile. A completion that called it would get this word.
    env.program("cargo", "#!/bin/sh\necho cargo-was-called\n");
    for shell in ["bash", "zsh", "fish"] {
        let script = env.xtask(&["completions", shell]).exits(0).stdout;
        env.write(&format!("completions.{shell}"), &script);
    }
    env
}

#[test]
fn shells_complete_commands_projects_and_environments() {
    let env = repository_with_xtask();
    let bash = "cd apps/api; . ../../completions.bash; \
        ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); __xtask_complete; echo \"${COMPREPLY[*]}\"; }; \
        ask cargo x; ask cargo xtask dep; ask cargo xtask deploy ''; ask cargo xtask deploy web; ask cargo xtask deploy api --env l";
    env.write("ask.bash", bash);
    assert_eq!(
        env.sh("bash ask.bash").exits(0).stdout,
        "xtask\ndeploy\napps/api apps/shop/website\nwebsite\nlocal\n"
    );
    let fish = "fish --no-config -c 'source completions.fish; for line in \"dep\" \"deploy web\" \"deploy api --env l\"; \
        complete -C \"cargo xtask $line\"; end'";
    let zsh = "zsh -f -c 'compdef() { :; }; compinit() { :; }; compadd() { print -r -- \"${(P)2}\"; }; source ./completions.zsh; \
        ask() { words=(\"$@\"); CURRENT=$#; __xtask_complete; }; \
        ask cargo xtask dep; ask cargo xtask deploy web; ask cargo xtask deploy api --env l'";
    for (shell, line) in [("fish", fish), ("zsh", zsh)] {
        if env.sh(&format!("command -v {shell}")).code != 0 {
            // Past the test runner, which keeps what passing tests print to itself.
            let _closed = writeln!(std::io::stderr(), "no {shell}: skipped");
            continue;
        }
        assert_eq!(env.sh(line).exits(0).stdout, "deploy\nwebsite\nlocal\n", "{shell}");
    }
}
