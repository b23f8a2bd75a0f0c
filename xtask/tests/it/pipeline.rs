//! The generated pipeline: which jobs GitLab makes of it, and what it must agree with itself about.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use workspace::Workspace;

use crate::pipeline_model::{Job, Pipeline, Rule, is_met};
use crate::support::{TestEnv, repository};

/// The environment of a merge request's previews.
const REVIEW: &str = "review/$CI_MERGE_REQUEST_IID";

/// A repository with two projects and the pipeline written.
pub fn with_pipeline() -> TestEnv {
    let env = TestEnv::with_tools();
    env.site("projects/a.com/website", "a");
    env.worker("projects/b.com", "b");
    env.commit("projects");
    env.xtask(&["ci", "generate"]).exits(0);
    env.commit("pipeline");
    env
}

pub fn pipeline(env: &TestEnv) -> Pipeline {
    let workspace = Workspace::load_strict(&env.root).expect("a workspace");
    Pipeline::parse(gitlab::pipeline::generate(&workspace).expect("a pipeline"))
}

/// The config file with `settings` as its `pipeline` section.
pub fn configure(env: &TestEnv, settings: &Value) {
    let path = "dagger/config/config.json";
    let text = std::fs::read_to_string(repository().join(path)).expect("text");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["pipeline"] = settings.clone();
    env.write(path, &config.to_string());
}

pub fn bun() -> String {
    std::env::var("XTASK_BUN").expect("XTASK_BUN is set by `cargo xtask test`")
}

/// Returns `text` as Bun's YAML reader reads it.
pub fn read_yaml(text: &str) -> Value {
    let mut bun = Command::new(bun())
        .args(["-e", "console.log(JSON.stringify(Bun.YAML.parse(await Bun.stdin.text())))"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bun runs");
    std::io::Write::write_all(&mut bun.stdin.take().expect("stdin"), text.as_bytes())
        .expect("written");
    let output = bun.wait_with_output().expect("bun ends");
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A push, a merge request or another event.
pub struct Event {
    pub name: &'static str,
    pub variables: BTreeMap<&'static str, &'static str>,
    /// The paths that a push changed. `None` for events without a push, where every path counts.
    changed: Option<Vec<&'static str>>,
    /// The jobs, with what they wait for: `name` starts by itself, `name (manual)` by a click.
    pub jobs: Vec<&'static str>,
}

fn event(
    name: &'static str,
    variables: &[(&'static str, &'static str)],
    changed: Option<&[&'static str]>,
    jobs: &[&'static str],
) -> Event {
    let mut all = BTreeMap::from([("CI_DEFAULT_BRANCH", "main"), ("CI_PROJECT_ID", "7")]);
    all.extend(variables.iter().copied());
    Event { name, variables: all, changed: changed.map(<[_]>::to_vec), jobs: jobs.to_vec() }
}

/// The variables that GitLab sets for each (<https://docs.gitlab.com/ci/variables/predefined_variables/>).
pub fn events() -> Vec<Event> {
    let source = "CI_PIPELINE_SOURCE";
    let branch = "CI_COMMIT_BRANCH";
    let push = (source, "push");
    let main = (branch, "main");
    let mr = (source, "merge_request_event");
    let kind = "CI_MERGE_REQUEST_EVENT_TYPE";
    let target = ("CI_MERGE_REQUEST_PROJECT_ID", "7");
    let own = ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "7");
    let fork = ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "8");
    let reviewed = ["check", "preview", "preview-stop (manual)"];
    let (a, b) = ("deploy a.com/website", "deploy b.com");
    let (a_by_hand, b_by_hand) = ("deploy a.com/website (manual)", "deploy b.com (manual)");
    let page = "projects/a.com/website/content.txt";
    vec![
        event("a project changed", &[push, main], Some(&[page]), &["check", a, b_by_hand]),
        event(
            "config changed",
            &[push, main],
            Some(&["dagger/config/config.json"]),
            &["check", a, b],
        ),
        event(
            "docs changed",
            &[push, main],
            Some(&["README.md"]),
            &["check", a_by_hand, b_by_hand],
        ),
        event(
            "the default branch has its own merge request",
            &[push, main, ("CI_OPEN_MERGE_REQUESTS", "group/project!9")],
            Some(&[page]),
            &["check", a, b_by_hand],
        ),
        event("a person presses *New pipeline*", &[(source, "web"), main], None, &["check", a, b]),
        event("a push to another branch", &[push, (branch, "topic")], Some(&[page]), &[]),
        event("a tag", &[push, ("CI_COMMIT_TAG", "v1")], None, &[]),
        event("a schedule", &[(source, "schedule"), main], None, &["check", "preview-sweep", a, b]),
        event("a schedule of a branch", &[(source, "schedule"), (branch, "topic")], None, &[]),
        event("a merge request", &[mr, (kind, "detached"), target, own], Some(&[page]), &reviewed),
        event(
            "merged results",
            &[mr, (kind, "merged_result"), target, own],
            Some(&[page]),
            &reviewed,
        ),
        event(
            "a merge train",
            &[mr, (kind, "merge_train"), target, own],
            Some(&[page]),
            &["check"],
        ),
        event(
            "a fork's merge request",
            &[mr, (kind, "detached"), target, fork, ("CI_PROJECT_ID", "8")],
            Some(&[page]),
            &["check"],
        ),
        event(
            "a fork's merge request that a member runs here",
            &[mr, (kind, "merged_result"), target, fork],
            Some(&[page]),
            &["check"],
        ),
    ]
}

/// The first rule that applies, as GitLab looks for it.
fn first<'r>(rules: &'r [Rule], event: &Event) -> Option<&'r Rule> {
    let matches = |pattern: &String, path: &str| match pattern.strip_suffix("**/*") {
        Some(folder) => path.starts_with(folder),
        None => pattern == path,
    };
    rules.iter().find(|rule| {
        let changed = match (&rule.changes, &event.changed) {
            (Some(patterns), Some(paths)) => {
                paths.iter().any(|path| patterns.iter().any(|pattern| matches(pattern, path)))
            }
            _ => true,
        };
        is_met(&rule.condition, &event.variables) && changed
    })
}

fn job_names(pipeline: &Pipeline, event: &Event) -> Vec<String> {
    if first(&pipeline.workflow_rules, event).is_none() {
        return Vec::new();
    }
    let visible = pipeline.jobs.0.iter().filter(|(name, _)| !name.starts_with('.'));
    let names = visible.filter_map(|(name, job)| {
        let rule = first(&job.rules, event)?;
        let when = rule.when.as_ref();
        Some(when.map_or_else(|| name.clone(), |when| format!("{name} ({when})")))
    });
    names.collect()
}

#[test]
fn each_event_makes_its_jobs() {
    let env = with_pipeline();
    let pipeline = pipeline(&env);
    for event in events() {
        assert_eq!(job_names(&pipeline, &event), event.jobs, "{}", event.name);
    }
}

#[test]
fn a_fork_s_default_branch_does_not_deploy() {
    let env = with_pipeline();
    let path = "dagger/config/config.json";
    let text = std::fs::read_to_string(env.root.join(path)).expect("text");
    env.write(path, &text.replace("\"projectId\": \"0\"", "\"projectId\": \"7\""));
    let pipeline = pipeline(&env);
    let mut push = events().remove(0);
    assert_eq!(job_names(&pipeline, &push), push.jobs);
    push.variables.insert("CI_PROJECT_ID", "8");
    assert_eq!(job_names(&pipeline, &push), ["check"]);
}

/// Returns a field of the job `name`, or of a job that it extends.
fn inherited_value<T>(
    pipeline: &Pipeline,
    name: &str,
    field: &dyn Fn(&Job) -> Option<T>,
) -> Option<T> {
    let job = pipeline.jobs.get(name).unwrap_or_else(|| panic!("no job `{name}`"));
    field(job).or_else(|| {
        job.extends.iter().rev().find_map(|base| inherited_value(pipeline, base, field))
    })
}

/// The rules that GitLab checks on upload, or does not check and then does not follow.
pub fn assert_agrees_with_itself(pipeline: &Pipeline) {
    // Jobs that may be cancelled are cancelled by a new commit, and no others.
    assert_eq!(pipeline.auto_cancel.as_deref(), Some("interruptible"));
    for (name, job) in pipeline.jobs.0.iter().filter(|(name, _)| !name.starts_with('.')) {
        let of = |field: &dyn Fn(&Job) -> Option<bool>| inherited_value(pipeline, name, field);
        let needs =
            inherited_value(pipeline, name, &|job: &Job| job.needs.clone()).unwrap_or_default();
        for need in &needs {
            let needed = pipeline.jobs.get(need).expect("the needed job is there");
            for event in events() {
                let (here, there) = (first(&job.rules, &event), first(&needed.rules, &event));
                assert!(here.is_none() || there.is_some(), "{name} needs {need}: {}", event.name);
            }
        }
        let stage =
            inherited_value(pipeline, name, &|job: &Job| job.stage.clone()).expect("a stage");
        assert!(pipeline.stages.contains(&stage));
        assert!(!job.rules.is_empty(), "{name}: without rules it is not made for merge requests");
        let Some(place) = &job.environment else {
            assert_eq!(job.interruptible, None, "{name}");
            continue;
        };
        assert_eq!(job.resource_group.as_ref(), Some(&place.name), "{name}");
        let review = place.name == REVIEW;
        let previews = review && place.action.is_none();
        assert_eq!(of(&|job| job.interruptible), Some(previews), "{name}");
        if let Some(stop) = &place.on_stop {
            let stopper = pipeline.jobs.get(stop).expect("the stop job is there");
            let other = stopper.environment.as_ref().expect("an environment");
            assert_eq!((&other.name, other.action.as_deref()), (&place.name, Some("stop")));
            assert_eq!(stopper.resource_group, job.resource_group);
            assert_eq!((&stopper.stage, &stopper.needs), (&job.stage, &Some(Vec::new())));
            let conditions =
                |job: &Job| job.rules.iter().map(|rule| rule.condition.clone()).collect::<Vec<_>>();
            assert_eq!(conditions(stopper), conditions(job));
            assert!(stopper.rules.iter().all(|rule| rule.when.as_deref() == Some("manual")));
            assert!(stopper.rules.iter().all(|rule| rule.allow_failure == Some(true)));
        } else {
            assert!(!previews, "{name} would never be stopped");
        }
    }
}

#[test]
fn stop_jobs_groups_and_needs_are_consistent_for_every_setting() {
    let env = with_pipeline();
    assert_agrees_with_itself(&pipeline(&env));
    let shared = "unix:///run/dagger/engine.sock";
    configure(
        &env,
        &json!({ "engine": shared, "deploy": "one-job", "tags": ["dagger"], "deployTags": ["production"] }),
    );
    let one = pipeline(&env);
    assert_agrees_with_itself(&one);
    let runner = inherited_value(&one, "deploy", &|job: &Job| {
        job.variables.get("_EXPERIMENTAL_DAGGER_RUNNER_HOST").cloned()
    });
    assert_eq!(runner.as_deref(), Some(shared));
    assert!(one.jobs.get(".docker").is_none() && one.jobs.get("deploy b.com").is_none());
    assert_eq!(
        one.jobs.get("deploy").expect("a job").script,
        ["cargo xtask deploy --env production --engine dagger"]
    );
    let push = events().remove(2);
    assert_eq!(job_names(&one, &push), ["check", "deploy"], "xtask itself sees what changed");
    let read = read_yaml(&one.text);
    assert_eq!(read["default"]["tags"], json!(["dagger"]));
    assert_eq!(read[".deployment"]["tags"], json!(["production"]));
}

/// Staging without a click, then production by one, each with its jobs.
#[test]
fn later_environments_wait_for_the_previous_one() {
    let env = with_pipeline();
    let row = json!(["staging", "production"]);
    configure(&env, &json!({ "environments": row, "engine": "host" }));
    let each = pipeline(&env);
    assert_agrees_with_itself(&each);
    let (a, b) = ("deploy a.com/website to staging", "deploy b.com to staging (manual)");
    let clicks =
        ["deploy a.com/website to production (manual)", "deploy b.com to production (manual)"];
    let jobs = [&["check", a, b][..], &clicks].concat();
    assert_eq!(job_names(&each, &events()[0]), jobs, "a project changed");
    let schedule = events().into_iter().find(|event| event.name == "a schedule").expect("an event");
    let jobs =
        [&["check", "preview-sweep", a, b.trim_end_matches(" (manual)")][..], &clicks].concat();
    assert_eq!(job_names(&each, &schedule), jobs);
    let merge_request = &events()[9];
    assert_eq!(job_names(&each, merge_request), merge_request.jobs);
    let job = each.text.split_once("deploy b.com to production:\n").expect("a job").1;
    expect_test::expect![[r#"
          extends:
            - .deployment
          rules:
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
              when: manual
              allow_failure: true
          needs:
            - deploy b.com to staging
          script:
            - cargo xtask deploy b.com --env production --engine host
          environment:
            name: production/b.com
            url: $DEPLOY_URL
          resource_group: production/b.com
    "#]]
    .assert_eq(job.replace("\n  ", "\n").trim_start());
    let config = workspace::config::Config::load(&env.root).expect("valid");
    let rows = gitlab::pipeline::variables::table(&config);
    let rows: Vec<_> =
        rows.iter().map(|row| (row.scope.as_str(), row.protected, row.used_by.as_str())).collect();
    let previews = "`preview`, `preview-stop`, `preview-sweep`";
    assert_eq!(
        rows,
        [
            ("staging/*", false, "`deploy … to staging`"),
            ("production/*", true, "`deploy … to production`"),
            ("review/*", false, previews),
            ("review/*", false, previews),
        ]
    );

    let one_job = json!({ "environments": row, "deploy": "one-job", "file": ".gitlab/xtask.yml" });
    configure(&env, &one_job);
    let included = pipeline(&env);
    let production = included.jobs.get("xtask:deploy to production").expect("a job");
    assert_eq!(production.needs.as_deref(), Some(&["xtask:deploy to staging".to_owned()][..]));
    assert_eq!(production.rules[0].when.as_deref(), Some("manual"));

    configure(&env, &json!({ "environments": [] }));
    let none = pipeline(&env);
    assert!(none.jobs.get(".deployment").is_none(), "previews alone");
}

#[test]
fn refuses_an_invalid_pipeline_section() {
    let env = TestEnv::new();
    for (settings, message) in [
        (json!({ "engine": "docker" }), "`pipeline.engine` is `docker`"),
        (json!({ "engin": "dind" }), "unknown field `engin`"),
        (json!({ "deploy": "some-jobs" }), "unknown variant `some-jobs`"),
        (json!({ "environment": "production" }), "unknown field `environment`"),
        (
            json!({ "environments": ["prod"] }),
            "`pipeline.environments` has `prod`, which is not one of `environments`\nhint: choose from: production, staging",
        ),
        (json!({ "environments": ["local"] }), "not one of `environments`"),
        (json!({ "environments": ["staging", "staging"] }), "has `staging` twice"),
        (json!({ "daggerSha256": "abc" }), "64 hexadecimal digits"),
    ] {
        configure(&env, &settings);
        let ran = env.xtask(&["ci", "generate"]).exits(3);
        assert!(ran.stderr.contains(message), "{settings}: {}", ran.stderr);
    }
}

/// Starts gitlab-ci-local on the repository of a test, as the pipeline of `variables`.
pub fn gitlab_ci_local(env: &TestEnv, variables: &BTreeMap<&str, &str>, more: &[&str]) -> String {
    let folder = repository().join("xtask/tests/pipeline");
    let run = |command: &mut Command| {
        let output = command.output().expect("bun runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    run(Command::new(bun()).current_dir(&folder).args([
        "install",
        "--frozen-lockfile",
        "--ignore-scripts",
    ]));
    let mut command = Command::new(bun());
    command.env_clear().current_dir(&env.root).env("HOME", env.folder.join("home"));
    command.env("PATH", std::env::var("PATH").expect("PATH"));
    command.arg(folder.join("node_modules/gitlab-ci-local/dist/index.js")).args(more);
    command.args(["--unset-variable", "CI_COMMIT_BRANCH"]);
    let names: Vec<&str> = variables.keys().copied().collect();
    command.args(["--ignore-predefined-vars", &names.join(",")]);
    for (name, value) in variables {
        command.args(["--variable", &format!("{name}={value}")]);
    }
    run(&mut command)
}

/// It knows neither `workflow:rules` nor what a push changed, so those have the evaluator above. Where there
/// is to be no pipeline, there is no job either.
#[test]
fn gitlab_ci_local_makes_the_same_jobs() {
    let env = with_pipeline();
    let pipeline = pipeline(&env);
    for mut event in events() {
        event.changed = None;
        let more = ["--list-json", "--evaluate-rule-changes=false"];
        let text = gitlab_ci_local(&env, &event.variables, &more);
        let list: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let jobs = list.as_array().expect("jobs").iter().filter_map(|job| {
            let name = job["name"].as_str().expect("a name");
            match job["when"].as_str() {
                Some("never") => None,
                Some("manual") => Some(format!("{name} (manual)")),
                _ => Some(name.to_owned()),
            }
        });
        assert_eq!(jobs.collect::<Vec<_>>(), job_names(&pipeline, &event), "{}", event.name);
    }
}
