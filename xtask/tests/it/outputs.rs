//! The output of every command as a person sees it: at 80 and at 40 columns, with and without colour.
//!
//! `xtask/tests/outputs/` holds one file per command. `UPDATE_EXPECT=1` writes them again.

use std::fmt::Write as _;

use anstream::adapter::strip_str;
use expect_test::expect_file;

use crate::support::{Ran, TestEnv, repository};

/// The commands as they are typed. Each has a file.
const READING: [&[&str]; 35] = [
    &["help"],
    &["help", "deploy"],
    &["projects"],
    &["affected", "--why"],
    &["status"],
    &["versions", "shop"],
    &["diff", "shop"],
    &["logs", "api"],
    &["open", "shop"],
    &["delete", "shop", "--dry-run"],
    &["dev", "shop", "--dry-run"],
    &["wrangler", "shop", "--dry-run", "--", "types"],
    &["build", "shop"],
    &["rollback", "shop", "--dry-run"],
    &["promote", "shop", "--from", "mr-7", "--dry-run"],
    &["preview", "stop", "--alias", "mr-7"],
    &["comment", "rows.json"],
    &["new", "--list"],
    &["new", "blog", "--dry-run"],
    &["ci", "generate", "--check"],
    &["clean", "--dry-run"],
    &["doctor", "--list"],
    &["doctor", "git", "git.repository", "config"],
    &["doctor", "wrangler", "pins"],
    &["sandbox", "up"],
    &["sandbox", "status"],
    &["sandbox", "cron", "api"],
    &["sandbox", "merge-request", "--source", "new-home"],
    &["upgrade", "xtask"],
    &["upgrade", "dagger", "99.0.0", "--dry-run"],
    &["upgrade", "wrangler", "latest"],
    &["dist", "--from", "projects"],
    &["setup", "--sandbox"],
    &["deploy", "shpo"],
    &["secret", "put", "TOKEN"],
];

/// Runs a command in each of the four ways and compares the file of that name. `prepare` gets the number of the run.
fn check(env: &TestEnv, name: &str, arguments: &[&str], prepare: &dyn Fn(&TestEnv, usize)) {
    let run = |number: usize, columns: &str, colour: (&str, &str)| {
        prepare(env, number);
        let ran = env.xtask_with(arguments, &[("COLUMNS", columns), colour]);
        transcript(arguments, &ran)
    };
    let port = env.port().to_string();
    let normalize = |text: &str| normalize(env, &port, text);
    let mut text = String::new();
    for (index, columns) in ["80", "40"].into_iter().enumerate() {
        let plain = run(index * 2, columns, ("NO_COLOR", "1"));
        let colour = run(index * 2 + 1, columns, ("CLICOLOR_FORCE", "1"));
        assert!(!plain.contains('\u{1b}'), "{arguments:?}: colour in spite of NO_COLOR: {plain:?}");
        let plain = normalize(&plain);
        let stripped = normalize(&strip_str(&colour).to_string());
        assert_eq!(stripped, plain, "{arguments:?} at {columns} columns");
        let colour = normalize(&colour);
        let _infallible = write!(text, "=== {columns} columns ===\n{plain}");
        if columns == "80" && colour != plain {
            let visible = colour.replace("\u{1b}[", "‹");
            let _infallible = write!(text, "=== {columns} columns, colour (‹…m) ===\n{visible}");
        }
    }
    let path = repository().join(format!("xtask/tests/outputs/{name}.txt"));
    expect_file![path.as_std_path()].assert_eq(&text);
}

fn transcript(arguments: &[&str], ran: &Ran) -> String {
    let Ran { code, stdout, stderr } = ran;
    let mut text = format!("$ cargo xtask {}\n", arguments.join(" "));
    for (name, stream) in [("stdout", stdout), ("stderr", stderr)] {
        if !stream.is_empty() {
            let _infallible = write!(text, "--- {name}\n{}\n", stream.trim_end_matches('\n'));
        }
    }
    text + &format!("--- exit {code}\n\n")
}

/// Returns output without what differs from run to run. Ids, commits and the port keep their width.
fn normalize(env: &TestEnv, port: &str, text: &str) -> String {
    let bun = std::env::var("XTASK_BUN").expect("XTASK_BUN is set");
    let text = text
        .replace(env.root.as_str(), "/repo")
        .replace(env.folder.as_str(), "/tmp")
        .replace(repository().as_str(), "/xtask")
        .replace(&bun, "bun")
        .replace(port, &"9".repeat(port.len()));
    text.lines().map(|line| normalize_line(line) + "\n").collect()
}

fn normalize_line(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let mut out = normalize_piece(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (code, rest) = piece.split_once('m').unwrap_or((piece, ""));
        out += &format!("\u{1b}{code}m{}", normalize_piece(rest));
    }
    out.trim_end().to_owned()
}

/// Normalizes text without colour codes.
fn normalize_piece(text: &str) -> String {
    let indent = text.len() - text.trim_start_matches(' ').len();
    // The width of an age moves what follows it.
    let mut columns = text[indent..].split("  ").map(str::trim).filter(|column| !column.is_empty());
    let mut out =
        " ".repeat(indent.min(8)) + &columns.next().map(normalize_words).unwrap_or_default();
    for column in columns {
        out += "  ";
        out += &normalize_words(column);
    }
    if text.len() > indent && text.ends_with(' ') {
        out.push(' ');
    }
    out
}

fn normalize_words(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_unit = |word: Option<&&str>| {
        let units = ["s", "min", "h", "d", "B", "KiB", "MiB", "ms"];
        word.is_some_and(|word| units.contains(&word.trim_end_matches([',', ')'])))
    };
    let mut out: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let is_digit = |b: u8| b.is_ascii_digit() || b == b'.';
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(is_digit);
        let previous = index.checked_sub(1).map(|index| words[index]);
        out.push(if is_number(word.trim_start_matches('(')) && is_unit(words.get(index + 1)) {
            word.replace(|c: char| c.is_ascii_digit() || c == '.', "") + "0"
        } else if *word == "min" && previous.is_some_and(is_number) {
            // On a busy machine an age is more than a minute.
            "s".to_owned()
        } else if previous.is_some_and(|word| word.ends_with("process")) {
            "1234,".to_owned()
        } else if is_duration(word) {
            "0.0s".to_owned()
        } else {
            normalize_ids(word)
        });
    }
    out.join(" ")
}

/// Returns true for `2.1s` and `1m05s`.
fn is_duration(word: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.' || c == 'm';
    word.strip_suffix('s').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(is_digit)
    })
}

/// Replaces hexadecimal ids of at least seven digits and times of RFC 3339, each by the same width.
fn normalize_ids(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let is_time = rest.get(..20).is_some_and(|text| {
            text.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(have, wanted)| {
                if wanted == b'0' { have.is_ascii_digit() } else { have == wanted }
            })
        });
        if is_time {
            out += "0000-00-00T00:00:00Z";
            rest = &rest[20..];
            continue;
        }
        let id = &rest[..length];
        let is_hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let is_uuid = rest.len() >= 36 && length == 8 && is_hex && rest.as_bytes()[23] == b'-';
        if is_uuid {
            out += "00000000-0000-0000-0000-000000000000";
            rest = &rest[36..];
        } else if is_hex && length >= 7 {
            out += &"0".repeat(length);
            rest = &rest[length..];
        } else {
            let next = length.max(rest.chars().next().map_or(1, char::len_utf8));
            out += &rest[..next];
            rest = &rest[next..];
        }
    }
    out
}

#[test]
fn every_command_reads_well_at_any_width_with_and_without_colour() {
    let env = TestEnv::with_tools();
    env.site("projects/example.com/shop", "shop");
    env.worker("projects/example.com/api", "api");
    env.write("rows.json", r#"[{ "project": "example.com/shop", "status": "ready" }]"#);
    env.commit("Two projects");
    // A port of five digits, so that its width is always the same.
    let port = (0..100).find_map(|_| {
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        (port > 9999).then(|| port.to_string())
    });
    env.xtask(&["sandbox", "up", "--port", &port.expect("a port")]).exits(0);
    let change = |env: &TestEnv, number: usize| {
        env.write("projects/example.com/shop/content.txt", &format!("round {number}"));
        env.commit(&format!("Round {number}"));
    };
    env.xtask(&["deploy", "--all", "-q"]).exits(0);
    check(&env, "deploy", &["deploy", "shop"], &change);
    check(&env, "deploy-unchanged", &["deploy", "shop", "api", "--jobs", "1"], &|_, _| ());
    check(&env, "preview", &["preview", "shop", "--alias", "mr-7"], &|env, number| {
        change(env, number + 10);
    });
    check(&env, "rollback", &["rollback", "shop"], &|env, number| {
        change(env, number + 20);
        env.xtask(&["deploy", "shop", "-q"]).exits(0);
    });
    check(&env, "promote", &["promote", "shop", "--from", "mr-7"], &|env, number| {
        change(env, number + 30);
        env.xtask(&["preview", "shop", "--alias", "mr-7", "-q"]).exits(0);
    });
    change(&env, 40);
    env.xtask(&["preview", "shop", "--alias", "mr-7", "-q"]).exits(0);
    change(&env, 41);
    env.xtask(&["build", "shop"]).exits(0);
    for arguments in READING {
        let words: Vec<&str> = arguments
            .iter()
            .map(|word| word.trim_start_matches('-'))
            .filter(|word| !word.is_empty())
            .collect();
        check(&env, &words.join("-").replace('/', "-"), arguments, &|_, _| ());
    }
    env.write("projects/example.com/shop/build.ts", "console.error('it broke'); process.exit(3);");
    check(&env, "deploy-failure", &["deploy", "shop", "api", "-q", "--jobs", "1"], &|_, _| ());
    check(&env, "sandbox-down", &["sandbox", "status"], &|_, _| ());
}
