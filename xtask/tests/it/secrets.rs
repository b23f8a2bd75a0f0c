//! Tokens: nowhere but in an environment, whatever a child does with them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::canary::{find_token, watching};
use crate::support::{CANARY, TestEnv};

/// Programs that write a text down as other programs do: JavaScript, bash, base64.
const WRITERS: &str = r#"
const text = process.env.CANARY, out = [];
const html = (quote) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", quote);
out.push(JSON.stringify({ text }), JSON.stringify(JSON.stringify([text])), encodeURIComponent(text), encodeURI(text));
out.push(new URLSearchParams({ text }).toString(), escape(text), html("&#39;"), html("&#x27;"), Bun.escapeHTML(text));
for (const before of ["", "x", "xy", "user:", "Bearer "]) for (const after of ["", "z", "\n"]) {
  const bytes = Buffer.from(before + text + after);
  out.push(bytes.toString("base64"), bytes.toString("base64url"));
}
console.log(out.join("\n"));
"#;

#[test]
fn redacts_every_encoding_of_a_token() {
    let env = TestEnv::with_tools();
    env.write("writers.ts", WRITERS);
    let written = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&env.root)
            .env("CANARY", CANARY)
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
    let script = written(&bun, &["writers.ts"]);
    let shell = written(
        "bash",
        &["-c", "printf '%q\\n' \"$CANARY\"; printf '%s' \"$CANARY\" | base64 -w0"],
    );
    let lines: Vec<&str> = script.lines().chain(shell.lines()).collect();
    assert_eq!(lines.len(), 41, "{lines:#?}");
    let redactor = base::secret::Redactor::new([base::secret::Secret::new(CANARY)]);
    for line in lines {
        assert!(find_token(line.as_bytes()).is_some(), "not found: {line}");
        let shown = redactor.apply(line);
        assert!(shown.contains("***"), "not redacted: {line}");
        assert!(shown.len() < 40, "only in part: {shown}");
    }
}

#[test]
fn no_step_shows_the_token_in_its_arguments() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.commit("site");
    let (runs, watched) = watching(&env.folder, || {
        let first = env.xtask(&["-v", "deploy", "a", "--json"]).exits(0);
        env.write("projects/a/content.txt", "two");
        let second = env.xtask(&["-v", "deploy", "a"]).exits(0);
        let preview = env.xtask(&["preview", "a", "--alias", "new", "--force"]).exits(0);
        let back = env.xtask(&["rollback", "a", "--json"]).exits(0);
        let promoted = env.xtask(&["promote", "a", "--from", "new"]).exits(0);
        let status = env.xtask(&["status", "--json"]).exits(0);
        let doctor = env.xtask(&["doctor", "--offline", "-v", "--json"]);
        let dry = env.xtask(&["deploy", "a", "--dry-run"]).exits(0);
        [first, second, preview, back, promoted, status, doctor, dry]
    });
    assert!(watched.looks > 100, "{}", watched.looks);
    assert_eq!(watched.leaks, Vec::<String>::new());
    env.assert_no_canary(&runs.iter().collect::<Vec<_>>());
}

/// The build of the host engine runs as the same user, so it can read the environment of each process above it.
#[test]
fn a_build_cannot_read_the_token_of_its_parent_processes() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    env.write(
        "projects/a/build.ts",
        "import { existsSync, readFileSync } from 'node:fs';\n\
         const names: string[] = [], all: string[] = [];\n\
         for (let pid = process.pid; pid > 1 && existsSync(`/proc/${pid}/environ`); ) {\n\
           names.push(readFileSync(`/proc/${pid}/comm`, 'utf8').trim());\n\
           if (names.at(-1) === 'it') break;\n\
           all.push(readFileSync(`/proc/${pid}/environ`, 'utf8'));\n\
           pid = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\\) /, '').split(' ')[1]);\n\
         }\n\
         const found = ['SANDBOX_TOKEN', 'CLOUDFLARE_WORKERS_TOKEN', 'GITLAB_ANY'].filter((name) => all.join().includes(name));\n\
         console.log('above:', names.join(' '), 'found:', JSON.stringify(found));\n\
         process.exit(3);\n",
    );
    env.commit("site");
    let variables = [("CLOUDFLARE_WORKERS_TOKEN", CANARY), ("GITLAB_ANY", CANARY)];
    let ran = env.xtask_with(&["-v", "deploy", "a", "--json"], &variables).exits(1);
    let error = ran.error("a");
    assert!(error.contains("xtask") && error.contains("found: []"), "{error}");
    env.assert_no_canary(&[&ran]);
}

/// A program that was given the token may still print it.
#[test]
fn redacts_a_token_that_a_child_prints() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    // The token of the sandbox itself, which a build can find in the process that serves it.
    env.write(
        "projects/a/build.ts",
        "const { pid } = await Bun.file('../../.xtask/sandbox/server.json').json();\n\
         const all = await Bun.file(`/proc/${pid}/environ`).text();\n\
         const token = all.split('\\0').find((line) => line.startsWith('SANDBOX_TOKEN='))?.slice(14);\n\
         console.log(token ? 'it has the token' : 'it has none', token, JSON.stringify({ token }), btoa(`x:${token}`));\n\
         console.error(encodeURIComponent(token ?? ''));\n\
         process.exit(3);\n",
    );
    env.commit("site");
    let ran = env.xtask(&["-v", "deploy", "a", "--json"]).exits(1);
    let error = ran.error("a");
    assert!(error.contains("it has the token *** "), "{error}");
    env.assert_no_canary(&[&ran]);
}

#[test]
fn refuses_a_token_that_others_can_read_or_that_is_malformed() {
    let env = TestEnv::new();
    env.site("projects/a", "site-a");
    env.commit("site");
    let staging = ["deploy", "a", "--env", "staging"];
    env.write(
        "projects/a/wrangler.jsonc",
        r#"{ "name": "site-a", "compatibility_date": "2026-10-01", "assets": { "directory": "./dist" }, "env": { "staging": {} } }"#,
    );
    for token in ["t\u{f6}ken-canary-7f3a", "two words canary-7f3a", "line\nX-Evil: canary-7f3a"] {
        let variables = [("CLOUDFLARE_WORKERS_TOKEN", token)];
        for arguments in [&staging[..], &["rollback", "a", "--env", "staging"]] {
            let ran = env.xtask_with(arguments, &variables).exits(3);
            assert!(
                ran.stderr.contains("characters that are not allowed in a token"),
                "{}",
                ran.stderr
            );
            env.assert_no_canary(&[&ran]);
        }
    }
    // The sandbox's token, which is the only one in a file.
    env.write(".xtask/sandbox/token", "0123456789");
    let path = env.root.join(".xtask/sandbox/token");
    for (mode, message) in [
        (0o644, "other users can read"),
        (0o640, "other users can read"),
        (0o604, "other users can read"),
        (0o000, ""),
    ] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        let ran = env.xtask_with(&["rollback", "a"], &[("SANDBOX_TOKEN", "")]);
        assert!(ran.code != 0 && ran.stderr.contains(message), "{mode:o}: {}", ran.stderr);
        assert!(!ran.stderr.contains("0123456789"), "{}", ran.stderr);
    }
}
