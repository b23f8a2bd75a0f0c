//! One repository and one sandbox for all rows. Each row has its own Worker, which is a copy of one
//! that was deployed for real.

use std::fs::File;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::Case;
use crate::support::wait::max_wait;
use crate::support::{CANARY, TestEnv, copy};

/// The account of rows that do not need their own.
pub const ACCOUNT: &str = "00000000000000000000000000000000";

/// The versions of a template: one that was live once, one that is live, one that is a preview.
pub const VERSIONS: [&str; 3] = ["older", "previous", "preview"];

/// The step of rows with one.
const STEP: &str = "wrangler d1 execute DB --remote --command 'SELECT 1'";

/// The argument of rows that run in containers.
pub const DAGGER: &str = "--engine=dagger";

pub struct Stage {
    pub env: TestEnv,
    pub port: u16,
    workers: Utf8PathBuf,
    agent: ureq::Agent,
}

impl Stage {
    pub fn new(cases: &[Case]) -> Stage {
        let env = TestEnv::with_tools();
        if cases.iter().any(|case| case.group.args.contains(&DAGGER.to_owned())) {
            copy(&env, "dagger");
        }
        for kind in ["site", "code"] {
            if cases.iter().any(|case| case.group.project.starts_with(kind)) {
                template(&env, kind);
            }
        }
        env.xtask(&["sandbox", "up"]).exits(0);
        env.xtask(&["sandbox", "down"]).exits(0);
        let workers = env.root.join(".xtask/sandbox/cloudflare/workers");
        for case in cases {
            project(&env, case);
            seed(&workers, case);
        }
        accounts(&env, cases);
        env.commit("rows");
        env.xtask(&["sandbox", "up"]).exits(0);
        let agent = base::http::agent(max_wait(), 0);
        let stage = Stage { port: env.port(), env, workers, agent };
        let first = cases.iter().filter_map(|case| case.fault.clone());
        let faults = first.chain(cases.iter().flat_map(|case| case.besides.clone()));
        stage.ask("POST", "/__sandbox/faults", &faults.collect());
        cases.iter().for_each(|case| stage.prepare(case));
        stage
    }

    /// The row's Worker as the sandbox keeps it; null when there is none.
    pub fn worker(&self, case: &Case) -> Value {
        let path = file(&self.workers, &case.account, &case.name);
        File::open(path).map_or(Value::Null, |file| serde_json::from_reader(file).expect("JSON"))
    }

    /// The record that was saved of the attempt `nonce`, or the row's newest; null when there is none.
    pub fn record(&self, case: &Case, nonce: Option<&str>) -> Value {
        let folder = self.root(case).join(".xtask/records");
        let end = format!("-{}.json", nonce.unwrap_or(&case.name));
        let entries = folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
        let own = entries.filter(|entry| entry.file_name().ends_with(&end));
        let newest = own.max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
        newest.map_or(Value::Null, |entry| {
            serde_json::from_reader(File::open(entry.path()).expect("a record")).expect("JSON")
        })
    }

    /// Returns `true` once the row's fault has happened: a request, or a build that has begun.
    pub fn has_happened(&self, case: &Case) -> bool {
        if case.fault.is_none() {
            return self.dir(case).join("begun").exists();
        }
        let faults = self.ask("GET", "/__sandbox/faults", &Value::Null);
        faults[case.number]["taken"].as_u64().expect("a number") > 0
    }

    /// Sends a request to the sandbox with its token.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .header("authorization", format!("Bearer {CANARY}"))
            .header("content-type", "application/json")
            // A row's faults are not for the tests.
            .header("user-agent", "tests")
            .body(body.to_string())
            .expect("a request");
        let mut answer = self.agent.run(request).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        assert!(answer.status().is_success(), "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The path of the row's Worker in the API.
    pub fn script(case: &Case) -> String {
        format!("/client/v4/accounts/{}/workers/scripts/{}", case.account, case.name)
    }
}

fn file(workers: &Utf8Path, account: &str, name: &str) -> Utf8PathBuf {
    workers.join(format!("{account}.{name}.json"))
}

/// Deploys `template-<kind>` twice, and makes a preview of each kind.
fn template(env: &TestEnv, kind: &str) {
    let (dir, name) = (format!("projects/template-{kind}"), format!("template-{kind}"));
    for (at, version) in VERSIONS.iter().enumerate() {
        write(env, &dir, &name, kind, version);
        env.commit(version);
        let run = if at == 2 {
            ["preview", &name, "--engine=host", "--alias=mr-7"]
        } else {
            ["deploy", &name, "--engine=host", "--json"]
        };
        env.xtask(&run).exits(0);
    }
    let own = ["preview", &name, "--engine=host", "--alias=mr-8", "--strategy=preview"];
    env.xtask(&own).exits(0);
}

/// A project without anything to install or build.
fn write(env: &TestEnv, dir: &str, name: &str, kind: &str, text: &str) {
    let mut config = json!({
        "name": name, "compatibility_date": "2026-10-01", "workers_dev": true, "preview_urls": true,
        "previews": {},
    });
    if kind.starts_with("code") {
        config["main"] = json!("worker.ts");
        let code = format!("export default {{ fetch: () => new Response({text:?}) }};\n");
        env.write(&format!("{dir}/worker.ts"), &code);
    } else {
        config["assets"] = json!({ "directory": "./public" });
        env.write(&format!("{dir}/public/index.html"), text);
    }
    env.write(&format!("{dir}/wrangler.jsonc"), &config.to_string());
}

fn project(env: &TestEnv, case: &Case) {
    let (dir, kind) = (format!("projects/{}", case.name), case.group.project.as_str());
    write(env, &dir, &case.name, kind, &format!("new {}", case.name));
    match kind {
        kind if kind.starts_with("code that throws") => {
            let code = "export default { fetch() { throw new Error('broken'); } };\n";
            env.write(&format!("{dir}/worker.ts"), code);
        }
        "code with a step" => {
            let package = json!({ "xtask": { "beforeDeploy": STEP } });
            env.write(&format!("{dir}/package.json"), &package.to_string());
            let path = env.root.join(&dir).join("wrangler.jsonc");
            let text = std::fs::read_to_string(&path).expect("a config");
            let mut config: Value = serde_json::from_str(&text).expect("JSON");
            let id = format!("11111111-1111-4111-8111-{:0>12}", &case.name[1..]);
            config["d1_databases"] =
                json!([{ "binding": "DB", "database_name": case.name, "database_id": id }]);
            std::fs::write(path, config.to_string()).expect("a file");
        }
        "site that is built" => {
            let package = json!({ "scripts": { "build": case.row.action } });
            env.write(&format!("{dir}/package.json"), &package.to_string());
        }
        _ => {}
    }
}

/// Gives the row's Worker the template's versions.
fn seed(workers: &Utf8Path, case: &Case) {
    let kind = case.group.project.split(' ').next().unwrap_or_default();
    if kind == "new" {
        return;
    }
    let template = file(workers, ACCOUNT, &format!("template-{kind}"));
    let mut worker: Value =
        serde_json::from_reader(File::open(template).expect("a template")).expect("JSON");
    worker["name"] = json!(case.name);
    worker["account"] = json!(case.account);
    let dates = [("of the future", "2099"), ("of the past", "1999")];
    for (_, year) in dates.iter().filter(|(end, _)| case.group.project.ends_with(end)) {
        for list in ["versions", "deployments"] {
            for item in worker[list].as_array_mut().expect("a list") {
                item["created_on"] = json!(format!("{year}-01-01T00:00:00.000000Z"));
            }
        }
    }
    if case.group.project.ends_with("shares its traffic") {
        let [older, previous] = [0, 1].map(|at| worker["versions"][at]["id"].clone());
        let last = worker["deployments"].as_array_mut().and_then(|all| all.last_mut());
        last.expect("a deployment")["versions"] = json!([
            { "version_id": older, "percentage": 40 },
            { "version_id": previous, "percentage": 60 }
        ]);
    }
    if case.group.project.ends_with("deployed once") {
        for list in ["versions", "deployments"] {
            worker[list].as_array_mut().expect("a list").truncate(1);
        }
    }
    let path = file(workers, &case.account, &case.name);
    std::fs::write(path, worker.to_string()).expect("a file");
}

/// Rows with their own account have their own environment.
fn accounts(env: &TestEnv, cases: &[Case]) {
    let path = "dagger/config/config.json";
    let text = std::fs::read_to_string(env.root.join(path)).expect("a config");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    for case in cases.iter().filter(|case| case.account != ACCOUNT) {
        config["environments"][&case.name] = json!({ "cloudflare": { "accountId": case.account } });
    }
    env.write(path, &config.to_string());
}
