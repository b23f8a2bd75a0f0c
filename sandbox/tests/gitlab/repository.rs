//! Tests the commits, changes, branches and files of a git repository.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Server, tokens};

const PROJECT: &str = "/projects/12";

/// A server with a git repository of two branches, and its merge request 42.
pub struct Fixture {
    pub server: Server,
    first: String,
    second: String,
    main: String,
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_DATE"), "2026-11-20T10:00:00+01:00");
    }
    let output =
        command.args(["-c", "commit.gpgsign=false"]).args(arguments).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "--all"]);
    git(dir, &["commit", "--quiet", "--message", message]);
    git(dir, &["rev-parse", "HEAD"])
}

impl Fixture {
    pub async fn new(name: &str) -> Fixture {
        let name = format!("gitlab-{name}-{}-0", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let repository = dir.join("repository");
        std::fs::create_dir_all(repository.join("src")).expect("a folder");
        let write = |path: &str, text: &[u8]| {
            std::fs::write(repository.join(path), text).expect("a file");
        };
        git(&repository, &["init", "--quiet", "--initial-branch", "main"]);
        write("README.md", b"one\ntwo\nthree\n");
        write("src/old name.ts", b"export const a = 1;\nexport const b = 2;\n");
        write("gone", b"x\n");
        commit(&repository, "First");
        git(&repository, &["checkout", "--quiet", "-b", "feature/a"]);
        write("README.md", b"one\n2\nthree\n");
        std::fs::remove_file(repository.join("gone")).expect("deleted");
        let first = commit(&repository, "Change\n\nWhy it changes.\n\nCc: Eve <eve@example.com>");
        git(&repository, &["mv", "src/old name.ts", "src/new.ts"]);
        write("data.bin", b"\0\x01\xff");
        let second = commit(&repository, "Move");
        git(&repository, &["checkout", "--quiet", "main"]);
        write("other", b"y\n");
        let main = commit(&repository, "Later on main");
        let repository = repository.to_str().expect("a path");
        let arguments = ["--gitlab-repository", repository];
        let server = Server::on(dir, Some(&tokens().to_string()), &arguments);
        let body = json!({ "iid": 42, "title": "A", "source_branch": "feature/a", "target_branch": "main" });
        server.post(&format!("{PROJECT}/merge_requests"), "ann", body).await.is(201);
        Fixture { server, first, second, main }
    }

    async fn get(&self, path: &str) -> Value {
        self.server.get(&format!("{PROJECT}{path}"), "ann").await.is(200)
    }
}

fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().expect("a list").iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn a_merge_request_has_the_commits_and_changes_of_its_branches() {
    let fixture = Fixture::new("commits").await;
    let base = {
        let one = fixture.get("/merge_requests/42?include_diverged_commits_count=true").await;
        assert_eq!(one["sha"], fixture.second);
        assert_eq!(one["diff_refs"]["head_sha"], fixture.second);
        assert_eq!(one["diff_refs"]["start_sha"], fixture.main);
        assert_eq!(one["diverged_commits_count"], 1);
        one["diff_refs"]["base_sha"].clone()
    };
    let listed = fixture.get("/merge_requests?state=opened").await;
    assert_eq!(listed[0]["sha"], fixture.second);

    let commits = fixture.get("/merge_requests/42/commits").await;
    assert_eq!(column(&commits, "id"), [json!(fixture.second), json!(fixture.first)]);
    let commit = &commits[1];
    assert_eq!(commit["short_id"], fixture.first[..8]);
    assert_eq!(commit["title"], "Change");
    assert_eq!(commit["message"], "Change\n\nWhy it changes.\n\nCc: Eve <eve@example.com>\n");
    assert_eq!(commit["trailers"], json!({ "Cc": "Eve <eve@example.com>" }));
    assert_eq!(commit["extended_trailers"], json!({ "Cc": ["Eve <eve@example.com>"] }));
    assert_eq!(commit["authored_date"], "2026-11-20T10:00:00.000+01:00");
    assert_eq!(commit["author_email"], "ann@example.com");
    assert_eq!(commit["parent_ids"], json!([base]));
    let url = commit["web_url"].as_str().expect("an address");
    assert!(url.ends_with(&format!("/-/commit/{}", fixture.first)), "{url}");

    let diffs = fixture.get("/merge_requests/42/diffs?per_page=100").await;
    assert_eq!(
        column(&diffs, "new_path"),
        [json!("README.md"), json!("data.bin"), json!("gone"), json!("src/new.ts")]
    );
    assert_eq!(diffs[0]["diff"], "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
    assert_eq!(diffs[1]["diff"], "Binary files /dev/null and b/data.bin differ\n");
    assert_eq!((&diffs[1]["a_mode"], &diffs[1]["b_mode"]), (&json!("0"), &json!("100644")));
    assert_eq!(column(&diffs, "new_file"), [false, true, false, false]);
    assert_eq!(column(&diffs, "deleted_file"), [false, false, true, false]);
    assert_eq!(column(&diffs, "renamed_file"), [false, false, false, true]);
    assert_eq!((&diffs[3]["old_path"], &diffs[3]["diff"]), (&json!("src/old name.ts"), &json!("")));
    let page = fixture.get("/merge_requests/42/diffs?per_page=1&page=2").await;
    assert_eq!(column(&page, "new_path"), [json!("data.bin")]);
    let changes = fixture.get("/merge_requests/42/changes").await;
    assert_eq!(changes["changes"], diffs);
    assert_eq!((&changes["changes_count"], &changes["iid"]), (&json!("4"), &json!(42)));

    let versions = fixture.get("/merge_requests/42/versions").await;
    assert_eq!(column(&versions, "head_commit_sha"), [json!(fixture.second)]);
    assert_eq!((&versions[0]["base_commit_sha"], &versions[0]["real_size"]), (&base, &json!("4")));
    let version = fixture.get(&format!("/merge_requests/42/versions/{}", versions[0]["id"])).await;
    assert_eq!((&version["commits"], &version["diffs"]), (&commits, &diffs));
    fixture.server.get(&format!("{PROJECT}/merge_requests/42/versions/1"), "ann").await.is(404);
}

#[tokio::test]
async fn branches_commits_comparisons_and_files_are_read() {
    let fixture = Fixture::new("repository").await;
    let project = fixture.get("").await;
    assert_eq!(
        (&project["default_branch"], &project["repository_access_level"]),
        (&json!("main"), &json!("enabled"))
    );
    let branches = fixture.get("/repository/branches").await;
    assert_eq!(column(&branches, "name"), [json!("feature/a"), json!("main")]);
    assert_eq!(column(&branches, "default"), [false, true]);
    let branch = fixture.get("/repository/branches/feature%2Fa").await;
    assert_eq!(branch, branches[0]);
    assert_eq!(
        (&branch["commit"]["id"], &branch["merged"]),
        (&json!(fixture.second), &json!(false))
    );
    let searched = fixture.get("/repository/branches?search=^feat").await;
    assert_eq!(column(&searched, "name"), [json!("feature/a")]);

    let commit = fixture.get(&format!("/repository/commits/{}", &fixture.first[..10])).await;
    assert_eq!((&commit["id"], &commit["project_id"]), (&json!(fixture.first), &json!(12)));
    assert_eq!(commit["stats"], json!({ "additions": 1, "deletions": 2, "total": 3 }));
    assert_eq!((&commit["status"], &commit["last_pipeline"]), (&Value::Null, &Value::Null));
    assert_eq!(fixture.get("/repository/commits/HEAD").await["id"], fixture.main);
    for list in ["comments", "statuses"] {
        let path = format!("/repository/commits/{}/{list}", fixture.first);
        assert_eq!(fixture.get(&path).await, json!([]), "{list}");
    }
    let changes = fixture.get("/repository/commits/main/diff").await;
    assert_eq!(column(&changes, "new_path"), [json!("other")]);

    let compared = fixture.get("/repository/compare?from=main&to=feature/a").await;
    assert_eq!(
        column(&compared["commits"], "id"),
        [json!(fixture.first), json!(fixture.second)],
        "oldest first"
    );
    assert_eq!(compared["commit"]["id"], fixture.second);
    assert_eq!(compared["diffs"].as_array().map(Vec::len), Some(4));
    let straight = fixture.get("/repository/compare?from=main&to=feature/a&straight=true").await;
    assert_eq!(straight["diffs"].as_array().map(Vec::len), Some(5), "also the file of main");
    let same = fixture.get("/repository/compare?from=main&to=main").await;
    assert_eq!((&same["compare_same_ref"], &same["commit"]), (&json!(true), &Value::Null));

    let file = fixture.get("/repository/files/src%2Fnew.ts?ref=feature%2Fa").await;
    assert_eq!(file["content"], "ZXhwb3J0IGNvbnN0IGEgPSAxOwpleHBvcnQgY29uc3QgYiA9IDI7Cg==");
    assert_eq!((&file["size"], &file["file_name"]), (&json!(40), &json!("new.ts")));
    assert_eq!(
        (&file["last_commit_id"], &file["commit_id"]),
        (&json!(fixture.second), &json!(fixture.second))
    );
    let raw = format!("{PROJECT}/repository/files/README.md/raw");
    let found = fixture.server.get(&raw, "ann").await;
    assert_eq!((found.status, found.text.as_str()), (200, "one\ntwo\nthree\n"));
    assert_eq!(found.header("x-gitlab-ref"), Some("HEAD"));
    assert_eq!(found.header("x-gitlab-size"), Some("14"));
    for (path, message) in [
        ("branches/none", "404 Branch Not Found"),
        ("commits/none", "404 Commit Not Found"),
        ("commits/--all", "404 Commit Not Found"),
        ("commits/main~1", "404 Commit Not Found"),
        ("compare?from=main&to=none", "404 Ref Not Found"),
        ("files/none?ref=main", "404 File Not Found"),
        ("files/src?ref=main", "404 File Not Found"),
        ("files/..%2F..%2Fserver.json?ref=main", "404 File Not Found"),
        ("files/%2Fetc%2Fpasswd?ref=main", "404 File Not Found"),
        ("files/a%00b?ref=main", "404 File Not Found"),
        ("files/*?ref=main", "404 File Not Found"),
        ("compare?from=main&to=--output=a", "404 Ref Not Found"),
        ("files/README.md?ref=none", "404 Commit Not Found"),
    ] {
        let path = format!("{PROJECT}/repository/{path}");
        assert_eq!(fixture.server.get(&path, "ann").await.is(404)["message"], message, "{path}");
    }
    let missing = format!("{PROJECT}/repository/files/README.md");
    assert_eq!(fixture.server.get(&missing, "ann").await.is(400)["error"], "ref is missing");
}

/// Nothing is invented for branches that the repository does not have.
#[tokio::test]
async fn an_unknown_branch_has_no_commits() {
    let fixture = Fixture::new("unknown-branch").await;
    let body =
        json!({ "iid": 43, "title": "B", "source_branch": "elsewhere", "target_branch": "main" });
    fixture.server.post(&format!("{PROJECT}/merge_requests"), "ann", body).await.is(201);
    for path in ["commits", "diffs", "changes", "versions"] {
        let path = format!("{PROJECT}/merge_requests/43/{path}");
        let text = fixture.server.get(&path, "ann").await.is(501)["message"].to_string();
        assert!(text.contains("the commits of !43: the branch `elsewhere` is not in"), "{text}");
    }
    // As after a merge with git.
    let repository = fixture.server.dir.join("repository");
    git(&repository, &["merge", "--quiet", "--no-edit", "feature/a"]);
    assert_eq!(fixture.get("/repository/branches/feature%2Fa").await["merged"], true);
    assert_eq!(fixture.get("/merge_requests/42/commits").await, json!([]));
}

#[tokio::test]
async fn projects_are_listed() {
    let fixture = Fixture::new("projects").await;
    let path = "/projects?membership=true&per_page=100&with_merge_requests_enabled=true&min_access_level=30&archived=false";
    let found = fixture.server.get(path, "ann").await.is(200);
    assert_eq!(column(&found, "id"), [json!(12)]);
    assert_eq!(fixture.server.get(path, "other").await.is(200), json!([]));
    assert_eq!(fixture.server.get("/projects?archived=true", "ann").await.is(200), json!([]));
    let refusal = fixture.server.get("/projects?topic=a", "ann").await.is(501);
    assert!(refusal["message"].as_str().is_some_and(|text| text.contains("topic")), "{refusal}");
}
