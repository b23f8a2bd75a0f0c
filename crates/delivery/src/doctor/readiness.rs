//! The tools of each project of a repository, and the problems that prevent its deployment.

use camino::Utf8PathBuf;
use serde::Serialize;

use super::checks::projects::installation;
use base::env::is_set;
use base::error::{Error, refused};
use base::same_errors::{self, NamedError};
use base::terminal::table::{Cell, Table};
use base::terminal::{DIM, GREEN, RED, YELLOW, paint};
use base::time::today;
use deployment::builds::plan_builds;
use deployment::engine::setup;
use deployment::facts::read_facts;
use deployment::plan::Operation;
use deployment::plan::destination::Destination;
use deployment::plan::refusal::{ProjectRefusal, RefusalRule, RuleContext, Rules};
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::config::LOCAL;
use workspace::discovery::BrokenConfig;
use workspace::health::Health;
use workspace::names::MANIFEST;
use workspace::package::BuildOrigin;
use workspace::project::Project;
use workspace::wrangler::is_empty_value;

/// The binding fields of a wrangler config, with their names for people.
const BINDINGS: [(&str, &str); 17] = [
    ("/assets", "assets"),
    ("/triggers/crons", "crons"),
    ("/queues", "queues"),
    ("/kv_namespaces", "KV"),
    ("/d1_databases", "D1"),
    ("/r2_buckets", "R2"),
    ("/durable_objects", "Durable Objects"),
    ("/services", "services"),
    ("/workflows", "workflows"),
    ("/ai", "AI"),
    ("/vectorize", "Vectorize"),
    ("/hyperdrive", "Hyperdrive"),
    ("/browser", "browser"),
    ("/containers", "containers"),
    ("/analytics_engine_datasets", "analytics"),
    ("/send_email", "email"),
    ("/images", "images"),
];

/// A project, or a wrangler config that is not a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessRow {
    /// Its name, or the path of the config.
    pub project: String,
    /// The package manager of the nearest lock file. `None` without dependencies.
    pub manager: Option<&'static str>,
    /// That lock file.
    pub lock: Option<Utf8PathBuf>,
    /// The build that runs before wrangler.
    pub build: String,
    /// The health check after a deployment.
    pub health: String,
    /// Its bindings.
    pub bindings: Vec<&'static str>,
    /// The problem that prevents its deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The reason why it can be deployed to Cloudflare only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_problem: Option<String>,
    /// The manual fixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
    /// The parts of the project's script `deploy` that xtask does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// The parts of a script `deploy` that xtask does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The commands and options.
    pub message: String,
    /// The setting that makes xtask use them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Returns the rules that `projects` break in a deployment to `environment`. Content keys are not computed, because
/// that reads every file.
#[must_use]
pub fn refusals(
    workspace: &Workspace,
    projects: &[Project],
    environment: &str,
) -> Vec<ProjectRefusal> {
    let port = Destination::always_sandbox(environment).then_some(sandbox::DEFAULT_PORT);
    // The check `config` reports an environment that does not exist.
    let Ok(destination) = Destination::to_read(&workspace.config, environment, port) else {
        return Vec::new();
    };
    let all: Vec<&Project> = projects.iter().collect();
    let builds = plan_builds(workspace, &all);
    let schema = setup::installed_schema(&workspace.root);
    let context = RuleContext {
        operation: Operation::Deploy,
        destination: &destination,
        allow_stub: false,
        alias: None,
        strategy: None,
        applies_triggers: true,
        today: &today(),
        schema: schema.as_ref(),
        is_set,
    };
    let rules = Rules::new(workspace, context);
    let refusals = |build| rules.refusals(&read_facts(workspace, build, environment));
    builds.into_iter().flat_map(refusals).collect()
}

/// Returns a row for each project of `workspace` and for each config that cannot be used.
#[must_use]
pub fn rows(workspace: &Workspace) -> Vec<ReadinessRow> {
    let refusals = refusals(workspace, &workspace.projects, LOCAL);
    // Only the sandbox refuses a binding without a local form.
    let (of_sandbox, refusals): (Vec<ProjectRefusal>, Vec<ProjectRefusal>) =
        refusals.into_iter().partition(|refusal| refusal.rule == RefusalRule::LocalForm);
    let (problems, of_sandbox) =
        (ProjectRefusal::by_project(&refusals), ProjectRefusal::by_project(&of_sandbox));
    let find = |rows: &[(&ProjectRefusal, Error)], project: &Project| {
        let own = rows.iter().find(|(refusal, _)| refusal.is_of(project, LOCAL));
        own.map(|(_, failure)| failure.clone())
    };
    let mut rows: Vec<ReadinessRow> = workspace
        .projects
        .iter()
        .map(|project| {
            row(workspace, project, find(&problems, project), find(&of_sandbox, project))
        })
        .collect();
    let broken: Vec<&BrokenConfig> = BrokenConfig::needing_attention(&workspace.broken).collect();
    let joined = workspace.broken_rows(&broken);
    rows.extend(broken.iter().enumerate().map(|(place, one)| {
        let row = joined.iter().find(|(places, _)| places.contains(&place));
        broken_row(one, row.map(|(_, failure)| failure.hints.clone()).unwrap_or_default())
    }));
    rows
}

fn row(
    workspace: &Workspace,
    project: &Project,
    problem: Option<Error>,
    sandbox: Option<Error>,
) -> ReadinessRow {
    let installation = installation(workspace, project);
    let target = project.target(LOCAL);
    let own = build_text(project).filter(|_| !target.runs_script_build(project.package.as_ref()));
    let build = match (own, target.has_build_command) {
        (Some(build), true) => format!("{build}, then `build.command`"),
        (Some(build), false) => build,
        (None, true) => "`build.command`".to_owned(),
        (None, false) => "none".to_owned(),
    };
    let install = installation.as_ref().ok().and_then(Option::as_ref);
    let value = &project.wrangler.value;
    let has = |pointer: &str| value.pointer(pointer).is_some_and(|value| !is_empty_value(value));
    ReadinessRow {
        project: if project.name.is_empty() {
            project.worker.clone()
        } else {
            project.name.clone()
        },
        manager: install.map(|install| install.manager.program()),
        lock: install.map(|install| install.dir.join(install.lock)),
        build,
        health: match project.health() {
            Health::Off => "off".to_owned(),
            health => health.path().to_owned(),
        },
        bindings: BINDINGS.iter().filter(|(field, _)| has(field)).map(|(_, name)| *name).collect(),
        problem: problem.as_ref().map(|failure| format!("{failure:#}")),
        sandbox_problem: sandbox.as_ref().map(|failure| format!("{failure:#}")),
        fixes: problem.or(sandbox).map(|failure| failure.hints).unwrap_or_default(),
        left_out: left_out(project),
    }
}

/// Reads the script `deploy` of the project's package. A package above the project may deploy several.
fn left_out(project: &Project) -> Option<LeftOut> {
    let package = project.package.as_ref().filter(|package| package.dir == project.dir)?;
    let note = package.deploy_script.as_ref()?.note(&package.settings, &project.wrangler.value)?;
    let manifest = package.dir.join(MANIFEST);
    let fix = note.settings.map(|settings| format!("set `{settings}` in {manifest}"));
    Some(LeftOut { message: format!("{manifest}: {}", note.message), fix })
}

/// Describes the build of the project's package. `None` if it has no build.
fn build_text(project: &Project) -> Option<String> {
    let package = project.package.as_ref()?;
    Some(match package.build? {
        BuildOrigin::Script => "script `build`".to_owned(),
        BuildOrigin::Setting | BuildOrigin::Inference => {
            format!("`{}`", package.settings.build.commands().join(" && "))
        }
    })
}

fn broken_row(broken: &BrokenConfig, fixes: Vec<String>) -> ReadinessRow {
    ReadinessRow {
        project: broken.label(),
        manager: None,
        lock: None,
        build: String::new(),
        health: String::new(),
        bindings: Vec::new(),
        problem: Some(format!("{:#}", broken.labeled_failure())),
        sandbox_problem: None,
        fixes,
        left_out: None,
    }
}

/// Returns the rows of `workspace` as a table for a terminal with `width` columns, with the problems and the notes on
/// configs that are no projects below it.
#[must_use]
pub fn text(workspace: &Workspace, rows: &[ReadinessRow], width: Option<usize>) -> String {
    let notes = workspace.config_notes();
    let notes: String = notes.iter().map(|note| paint(DIM, note) + "\n").collect();
    if rows.is_empty() {
        let reason = workspace.no_project();
        let hints = reason.iter().flat_map(|reason| &reason.hints);
        let hints: String = hints.map(|hint| fix_line(hint)).collect();
        let reason = reason.map(|reason| format!(": {}", reason.message)).unwrap_or_default();
        return format!("no projects{reason}\n{hints}{notes}");
    }
    let mut table = Table::new(&["PROJECT", "INSTALL", "BUILD", "HEALTH", "BINDINGS", "READY"]);
    for row in rows {
        let lock = match (&row.manager, &row.lock) {
            (Some(manager), Some(lock)) => format!("{manager} ({lock})"),
            _ => "–".to_owned(),
        };
        let bindings =
            if row.bindings.is_empty() { "–".to_owned() } else { row.bindings.join(", ") };
        let or_dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        let is_ready = match (&row.problem, &row.sandbox_problem) {
            (None, None) => Cell::new("✓", GREEN),
            (None, Some(_)) => Cell::new("at Cloudflare", YELLOW),
            (Some(_), _) => Cell::new("✗", RED),
        };
        table.row(vec![
            row.project.as_str().into(),
            lock.into(),
            or_dash(&row.build).into(),
            or_dash(&row.health).into(),
            bindings.into(),
            is_ready,
        ]);
    }
    table.text(width) + &problems(rows) + &notes
}

/// Returns the problems of `rows`. Problems of the same kind are one line, and problems with the same fixes are one group,
/// so that the fixes of a hundred projects are printed once.
fn problems(rows: &[ReadinessRow]) -> String {
    let named = |row: &ReadinessRow, problem: &String| {
        // Most messages begin with the path of the config, which identifies the project. A list of several begins with
        // their number.
        let is_named = problem.lines().next().is_some_and(|first| first.contains(&row.project));
        let name = if is_named { String::new() } else { format!("{}: ", row.project) };
        (row.project.clone(), Error { hints: row.fixes.clone(), ..refused(name + problem) })
    };
    let broken = rows.iter().filter_map(|row| Some(named(row, row.problem.as_ref()?)));
    let is_sandbox = |row: &&ReadinessRow| row.problem.is_none();
    let of_sandbox = rows.iter().filter(is_sandbox);
    let of_sandbox = of_sandbox.filter_map(|row| Some(named(row, row.sandbox_problem.as_ref()?)));
    problem_lines(&paint(RED, "✗"), &broken.collect::<Vec<_>>())
        + &problem_lines(&paint(YELLOW, "!"), &of_sandbox.collect::<Vec<_>>())
        + &rows
            .iter()
            .filter_map(|row| row.left_out.as_ref())
            .map(left_out_lines)
            .collect::<String>()
}

fn left_out_lines(left_out: &LeftOut) -> String {
    let fix = left_out.fix.as_deref().map(fix_line).unwrap_or_default();
    format!("{} {}\n{fix}", paint(YELLOW, "!"), left_out.message)
}

fn fix_line(fix: &str) -> String {
    format!("    {}\n", paint(DIM, &format!("fix: {fix}")))
}

fn problem_lines(mark: &str, problems: &[NamedError]) -> String {
    let mut groups: Vec<Vec<Error>> = Vec::new();
    for (_, problem) in same_errors::join(problems) {
        let is_same = |group: &&mut Vec<Error>| {
            !problem.hints.is_empty()
                && group.first().is_some_and(|first| first.hints == problem.hints)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(problem),
            None => groups.push(vec![problem]),
        }
    }
    let mut text = String::new();
    for group in groups {
        for problem in &group {
            text += &format!("{mark} {problem:#}\n");
        }
        for fix in group.first().into_iter().flat_map(|problem| &problem.hints) {
            text += &fix_line(fix);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(project: &str, problem: &str, fixes: &[&str]) -> ReadinessRow {
        ReadinessRow {
            project: project.to_owned(),
            manager: None,
            lock: None,
            build: String::new(),
            health: "/".to_owned(),
            bindings: Vec::new(),
            problem: Some(problem.to_owned()),
            sandbox_problem: None,
            fixes: fixes.iter().map(|fix| (*fix).to_owned()).collect(),
            left_out: None,
        }
    }

    fn plain(rows: &[ReadinessRow]) -> String {
        anstream::adapter::strip_str(&problems(rows)).to_string()
    }

    #[test]
    fn problems_with_the_same_fix_are_one_group() {
        let install = ["run `npm install` in the repository's root and commit the lock file"];
        let mut rows = vec![
            row("apps/a", "apps/a has no lock file", &install),
            row("apps/x", "apps/x/wrangler.json: broken", &["correct it"]),
            row("apps/y", "apps/y/wrangler.json: broken", &[]),
            row("apps/z", "apps/z/wrangler.json: broken", &[]),
        ];
        rows.extend(["apps/b", "apps/c"].map(|name| row(name, "no lock file", &install)));
        expect_test::expect![[r#"
            ✗ apps/a has no lock file
            ✗ apps/b, apps/c: no lock file
                fix: run `npm install` in the repository's root and commit the lock file
            ✗ apps/x/wrangler.json: broken
                fix: correct it
            ✗ apps/y/wrangler.json: broken; the same for apps/z
        "#]]
        .assert_eq(&plain(&rows));
        rows.extend(["apps/d", "apps/e"].map(|name| row(name, "no lock file", &install)));
        expect_test::expect![[r#"
            ✗ apps/a has no lock file
            ✗ apps/b, apps/c, apps/d and 1 more: no lock file
                fix: run `npm install` in the repository's root and commit the lock file
            ✗ apps/x/wrangler.json: broken
                fix: correct it
            ✗ apps/y/wrangler.json: broken; the same for apps/z
        "#]]
        .assert_eq(&plain(&rows));
    }
}
