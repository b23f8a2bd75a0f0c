//! Refuses values of a wrangler config that wrangler or Cloudflare refuses after the build, or after the code is live.

use camino::Utf8Path;

use base::command::xtask_line;
use base::error::{Error, Result, refused};
use workspace::compatibility_date::{DateProblem, date_problem};
use workspace::cron_rules::cron_problem;
use workspace::field_types::{WrongType, field_line};
use workspace::project::Project;

/// The field that wrangler requires for each upload.
const DATE: &str = "compatibility_date";

/// Refuses values of a wrong type. A build that writes the config may read a date of TOML.
#[must_use]
pub fn check_types(project: &Project, environment: &str, is_generated: bool) -> Vec<Error> {
    let is_checked = |wrong: &WrongType| !(is_generated && is_named(&wrong.path, DATE));
    let wrong = project.wrangler.wrong_types(environment).into_iter().filter(is_checked);
    wrong.map(|wrong| type_error(project, &wrong)).collect()
}

/// Returns true if the value that names the code or the assets has a wrong type.
#[must_use]
pub fn has_wrong_entry(project: &Project, environment: &str) -> bool {
    let is_entry = |path: &str| {
        ["main", "assets", "assets.directory"].iter().any(|field| is_named(path, field))
    };
    project.wrangler.wrong_types(environment).iter().any(|wrong| is_entry(&wrong.path))
}

/// Returns true if `path` is the path of `field` at the top level or in a block.
fn is_named(path: &str, field: &str) -> bool {
    match path.strip_suffix(field) {
        Some("") => true,
        Some(place) => {
            let block = place.strip_prefix("env.").and_then(|place| place.strip_suffix('.'));
            block.is_some_and(|block| !block.contains('.'))
        }
        None => false,
    }
}

fn type_error(project: &Project, wrong: &WrongType) -> Error {
    let WrongType { path, found, expected, meant } = wrong;
    let config = &project.config;
    let text = format!("{config}: `{path}` is {found}, and wrangler expects {expected}");
    let name = path.rsplit('.').next().unwrap_or(path);
    let fix = match meant {
        Some(value) => format!("write {}", field_line(config, name, value)),
        None => format!("correct `{path}` in {config}"),
    };
    refused(text).hint(fix)
}

/// Refuses a missing or invalid `compatibility_date`. `today` is the date in UTC.
pub fn check_date(project: &Project, environment: &str, today: &str) -> Result<()> {
    let (config, wrangler) = (&project.config, &project.wrangler);
    let value = wrangler.field(environment, DATE);
    let path = wrangler.field_path(environment, DATE);
    if value.is_null() {
        let line = field_line(config, DATE, &today.into());
        return Err(refused(format!(
            "{config}: it has no `{DATE}`, which wrangler requires for an upload"
        ))
        .hint(format!("add {line}, which is today, to its top level")));
    }
    // A value of another type is a wrong type.
    let Some(date) = value.as_str() else { return Ok(()) };
    match date_problem(date, today) {
        None => Ok(()),
        Some(DateProblem::WrongForm) => Err(refused(format!(
            "{config}: `{path}` is `{date}`, which is no date of the form `2025-01-31`"
        ))
        .hint(format!("write {}, which is today, or an earlier date", field_line(config, DATE, &today.into())))),
        Some(DateProblem::Future) => Err(refused(format!(
            "{config}: `{path}` is `{date}`, which Cloudflare refuses until that day comes; today is {today} in UTC"
        ))
        .hint(format!("write {}, or an earlier date", field_line(config, DATE, &today.into())))),
    }
}

/// The fix of a cron expression.
const CRON: &str = "write minute, hour, day of the month, month and day of the week, in UTC, such as `*/15 * * * *` or `0 9 * * MON-FRI`";

/// Refuses cron expressions that Cloudflare refuses.
#[must_use]
pub fn check_crons(project: &Project, environment: &str) -> Vec<Error> {
    let wrangler = &project.wrangler;
    let path = wrangler.field_path(environment, "triggers");
    let crons = wrangler.field(environment, "triggers")["crons"].as_array();
    let refusal = |(index, cron): (usize, &str)| {
        let reason = cron_problem(cron)?;
        let text = format!(
            "{}: `{path}.crons[{index}]` is `{cron}`, which Cloudflare refuses: {reason}",
            project.config
        );
        Some(refused(text).hint(CRON))
    };
    let crons = crons.into_iter().flatten().enumerate();
    crons.filter_map(|(index, cron)| refusal((index, cron.as_str()?))).collect()
}

/// Refuses routes that wrangler or Cloudflare refuses.
#[must_use]
pub fn check_routes(project: &Project, environment: &str) -> Vec<Error> {
    let problems = project.wrangler.route_problems(environment).into_iter();
    let refusal = |problem: workspace::route_rules::RouteProblem| {
        refused(format!("{}: `{}` {}", project.config, problem.path, problem.reason))
            .hint(problem.fix)
    };
    problems.map(refusal).collect()
}

/// The fields of storage that a deployment has to name, because it creates none: the list, the field, and the command that
/// creates one.
const STORAGE: [(&str, &str, &str); 4] = [
    ("/kv_namespaces", "id", "kv namespace create NAME"),
    ("/d1_databases", "database_id", "d1 create NAME"),
    ("/r2_buckets", "bucket_name", "r2 bucket create NAME"),
    ("/queues/producers", "queue", "queues create NAME"),
];

/// Refuses bindings to storage without its id or name. An upload to Cloudflare creates no storage.
pub fn check_storage_ids(project: &Project, environment: &str) -> Result<()> {
    let block = project.wrangler.block(environment);
    let wrangler = ["wrangler", project.name.as_str(), "--env", environment, "--"];
    let line = |create: &str| {
        let create: Vec<&str> = create.split(' ').collect();
        xtask_line(&[&wrangler[..], &create].concat())
    };
    for (list, field, create) in STORAGE {
        let bindings = block.pointer(list).and_then(|list| list.as_array()).into_iter().flatten();
        for binding in bindings.filter(|binding| binding.get(field).is_none()) {
            let Some(name) = binding["binding"].as_str() else { continue };
            let list = list.trim_start_matches('/').replace('/', ".");
            return Err(refused(format!(
                "{}: the binding `{name}` of `{list}` has no `{field}`, and a deployment creates no storage",
                project.config
            ))
            .hint(format!("create the storage, such as by `{}`, and write its `{field}` into `{list}`", line(create))));
        }
    }
    Ok(())
}

/// Returns a note on the fields of the top level that the block of `environment` lacks. `None` if it lacks none. wrangler
/// only warns, because that may be meant.
#[must_use]
pub fn inheritance_note(
    config: &Utf8Path,
    environment: &str,
    not_inherited: &[String],
) -> Option<String> {
    (!not_inherited.is_empty()).then(|| {
        format!(
            "{config}: `env.{environment}` lacks {} of the top level, which blocks do not inherit",
            not_inherited.join(", ")
        )
    })
}
