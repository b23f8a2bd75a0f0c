//! A Worker with more versions than a page of Cloudflare's list: `rollback`, `promote`, `versions`, `status`, `deploy`.

use camino::Utf8PathBuf;
use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{Ran, TestEnv};

/// Returns the file in which the sandbox keeps the Worker.
fn state(env: &TestEnv, worker: &str) -> Utf8PathBuf {
    let workers = env.root.join(".xtask/sandbox/cloudflare/workers");
    let mut files = workers.read_dir_utf8().expect("the folder of the Workers");
    let end = format!(".{worker}.json");
    let found = files.find_map(|file| {
        let path = file.expect("an entry").into_path();
        path.as_str().ends_with(&end).then_some(path)
    });
    found.expect("the Worker's file")
}

/// Adds previews `mr-<first>`, `mr-<first + 1>` and so on, which are copies of the newest version.
fn add_previews(env: &TestEnv, worker: &str, first: usize, count: usize) {
    env.xtask(&["sandbox", "down"]).exits(0);
    let path = state(env, worker);
    let text = std::fs::read_to_string(&path).expect("a state");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let versions = document["versions"].as_array_mut().expect("versions");
    let newest = versions.last().expect("a version").clone();
    for at in first..first + count {
        let mut preview = newest.clone();
        preview["id"] = json!(format!("{at:08x}-0000-4000-8000-000000000000"));
        preview["number"] = json!(versions.len() + 1);
        preview["annotations"] = json!({ "workers/alias": format!("mr-{at}"), "workers/tag": format!("{at:012x}"),
            "workers/message": format!("{at:040x} preview") });
        versions.push(preview);
    }
    document.as_object_mut().expect("an object").remove("checksum");
    std::fs::write(path, document.to_string()).expect("written");
    env.xtask(&["sandbox", "up"]).exits(0);
}

fn deploy(env: &TestEnv, content: &str) -> String {
    env.write("projects/web/content.txt", content);
    env.commit(content);
    let record = env.xtask(&["deploy", "web", "--json"]).exits(0).record("web");
    record["version"].as_str().expect("an id").to_owned()
}

fn live(ran: &Ran) -> String {
    ran.record("web")["live"]["version"].as_str().expect("a live version").to_owned()
}

/// Returns the error with the ids of versions as names, without commits and ages.
fn error_of(ran: &Ran, ids: &[(&str, &str)]) -> String {
    let text = ids.iter().fold(ran.stderr.clone(), |text, (id, name)| {
        text.replace(id, name).replace(&id[..8], name)
    });
    let line = |line: &str| line.split(" (commit").next().unwrap_or(line).to_owned() + "\n";
    text.lines().skip_while(|line| !line.starts_with("error")).map(line).collect()
}

#[test]
fn previews_do_not_hide_the_versions_that_were_live() {
    let env = TestEnv::with_tools();
    env.site("projects/web", "web");
    let (older, newer) = (deploy(&env, "two"), deploy(&env, "three"));
    let ids = [(older.as_str(), "OLDER"), (newer.as_str(), "NEWER")];
    // More than one page of ten, and more than the hundred that Cloudflare lists.
    for (first, count) in [(1, 11), (12, 110)] {
        add_previews(&env, "web", first, count);
        assert_eq!(live(&env.xtask(&["rollback", "web", "--json"]).exits(0)), older, "{count}");
        for name in [newer.as_str(), &newer[..8]] {
            let back = ["rollback", "web", "--to", name, "--json"];
            assert_eq!(live(&env.xtask(&back).exits(0)), newer, "{name}");
            let promoted = ["promote", "web", "--from", &older, "--json"];
            assert_eq!(live(&env.xtask(&promoted).exits(0)), older);
        }
        let none = error_of(&env.xtask(&["rollback", "web"]).exits(3), &ids);
        if count == 11 {
            expect![[r"
                error: no version that was live before OLDER exists; it is the first one
                hint: deploy an earlier commit instead
            "]]
            .assert_eq(&none);
        } else {
            expect![[r"
                error: the last 10 deployments, which are all that Cloudflare lists, have no version before OLDER
                hint: list the versions with `cargo xtask versions PROJECT`
                hint: make one live with `cargo xtask promote PROJECT --from VERSION`
            "]]
            .assert_eq(&none);
        }
        let unknown = env.xtask(&["rollback", "web", "--to", "deadbeef"]).exits(2);
        expect![[r"
            error: no version is `deadbeef`
            hint: name one of the last that were live:
              NEWER
              OLDER
        "]]
        .assert_eq(&error_of(&unknown, &ids));
        let table = env.xtask(&["versions", "web"]).exits(0).stdout;
        let rows: Vec<&str> = table.lines().filter(|line| line.contains("http://")).collect();
        assert_eq!(rows.len(), 12, "{table}");
        assert!(rows[10].contains(&newer[..8]) && rows[10].contains("was live"), "{table}");
        assert!(rows[11].contains(&older[..8]) && !rows[11].contains("was live"), "{table}");
        let note = if count == 11 { "and 1 older version;" } else { "and 90 older versions;" };
        assert!(table.contains(note), "{table}");
        env.xtask(&["rollback", "web", "--to", &newer]).exits(0);
    }
    // The newest version of an alias becomes live, also if its preview is not among the last ten.
    let promoted = env.xtask(&["promote", "web", "--from", "mr-30", "--json"]).exits(0);
    assert_eq!(live(&promoted), "0000001e-0000-4000-8000-000000000000");
    let gone = env.xtask(&["promote", "web", "--from", "release"]).exits(2);
    expect![[r"
        error: none of the last 100 versions has the alias `release`
        hint: name one of its aliases: mr-121, mr-120, mr-119, mr-118, mr-117, mr-116, mr-115, mr-114, mr-113, mr-112 and 90 more
    "]]
    .assert_eq(&error_of(&gone, &[]));
    let opened = env.xtask(&["open", "web", "--alias", "mr-30", "--json"]).exits(0).json();
    assert!(opened["url"].as_str().is_some_and(|url| url.contains("mr-30-web.")), "{opened}");
}

#[test]
fn previews_after_a_changed_secret_keep_a_project_up_to_date() {
    let env = TestEnv::with_tools();
    env.worker("projects/web", "web");
    let deployed = deploy(&env, "two");
    let put = "printf hush | cargo-xtask wrangler web -- secret put KEY";
    let program = crate::support::program();
    let put = put.replace("cargo-xtask", program.to_str().expect("a path"));
    env.sh(&put).exits(0);
    add_previews(&env, "web", 1, 11);
    let row = env.xtask(&["status", "web", "--env", "local", "--json"]).exits(0).json();
    assert_eq!(row["rows"][0]["inStep"], true, "{row:#}");
    let again = env.xtask(&["deploy", "web", "--json"]).exits(0).record("web");
    assert_eq!(again["status"], "unchanged", "{again:#}");
    assert_ne!(again["live"]["version"], json!(deployed), "the secret's version is live");
}
