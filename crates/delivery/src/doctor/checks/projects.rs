//! Checks the projects that can be deployed.

use std::time::Duration;

use cloudflare::wrangler_fields::ConfigSchema;
use workspace::toolchain::Toolchain;

use crate::doctor::context::Context;
use crate::doctor::finding::{CheckStatus, Finding};
use base::error::{Error, Result};
use cloudflare::wrangler;
use deployment::engine::upload::secrets::refuse_missing_if_readable;
use deployment::plan::destination::Destination;
use deployment::plan::fields::inheritance_note;
use deployment::plan::guard;
use deployment::plan::refusal::RefusalRule;
use deployment::tools::program::which;
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::detect;
use workspace::discovery::BrokenConfig;
use workspace::git;
use workspace::installation::Installation;
use workspace::project::Project;

/// `projects`
pub fn projects(context: &Context) -> Finding {
    if context.config().is_err() {
        return Finding::skip("needs the shared config; see `config`");
    }
    if which("git").is_none() {
        return Finding::skip("needs git; see `git`");
    }
    match context.read() {
        Err(_) if git::is_shallow(&context.root).is_err() => {
            Finding::skip("needs a git repository; see `git.repository`")
        }
        Err(error) => Finding::from(error),
        Ok(projects) if projects.is_empty() => {
            let workspace = context.workspace().ok();
            let has_broken = workspace.is_some_and(|workspace| {
                BrokenConfig::needing_attention(&workspace.broken).next().is_some()
            });
            let none = |reason: Error| {
                let fix = match has_broken {
                    // The hint of other commands is to run `doctor`.
                    true => "correct the configs that the list of projects below names".to_owned(),
                    false => reason.hints.join("\n"),
                };
                Finding::warn(format!("none: {}", reason.message)).manual_fix(fix)
            };
            workspace.and_then(Workspace::no_project).map_or_else(Finding::ok, none)
        }
        Ok(projects) => {
            let names: Vec<&str> = projects.iter().map(|p| p.name.as_str()).collect();
            Finding::ok().with_value(names.len().to_string()).detail(names.join(", "))
        }
    }
}

/// Merges the findings of all projects.
fn each(context: &Context, look: impl Fn(&Project) -> Vec<Finding>) -> Finding {
    match context.projects() {
        None => Finding::skip("they cannot be read; see `projects`"),
        Some(projects) => Finding::all(projects.iter().flat_map(look).collect(), Finding::ok()),
    }
}

/// Returns one finding from the refusals of the plan that `is_meant` selects. A deployment to the sandbox may ignore that
/// a binding has no local form.
fn refusal_finding(context: &Context, is_meant: impl Fn(RefusalRule) -> bool) -> Finding {
    if context.projects().is_none() {
        return Finding::skip("they cannot be read; see `projects`");
    }
    let meant = context.refusals().iter().filter(|refusal| is_meant(refusal.rule));
    let findings = meant.map(|refusal| {
        let finding = Finding::from(&refusal.failure);
        match refusal.rule {
            RefusalRule::LocalForm => Finding { status: CheckStatus::Warn, ..finding },
            _ => finding,
        }
    });
    Finding::all(findings.collect(), Finding::ok())
}

/// `projects.lock`
pub fn lock(context: &Context) -> Finding {
    refusal_finding(context, |rule| rule == RefusalRule::Build)
}

/// Describes the install of a project. `None` if it has no dependencies. Errors if the locked dependencies
/// cannot be installed.
pub fn installation(workspace: &Workspace, project: &Project) -> Result<Option<Installation>> {
    let Some(package) = &project.package else { return Ok(None) };
    match detect::installation(workspace, package)? {
        None if package.has_dependencies => Err(guard::no_lock_file(workspace, package)),
        found => Ok(found.filter(|_| package.has_dependencies)),
    }
}

/// `projects.config`
pub fn check_configs(context: &Context) -> Finding {
    if context.config().is_err() {
        return Finding::skip("see `config`");
    }
    let environment = context.environment();
    let refused =
        refusal_finding(context, |rule| !matches!(rule, RefusalRule::Build | RefusalRule::Field));
    let note = |project: &Project| {
        let missing = project.wrangler.not_inherited(environment);
        inheritance_note(&project.config, environment, &missing)
    };
    let notes = context.projects().into_iter().flatten().filter_map(note);
    let findings = refused.is_problem().then(|| refused.clone()).into_iter();
    Finding::all(findings.chain(notes.map(Finding::warn)).collect(), refused)
}

/// `projects.wrangler`
pub fn fields(context: &Context) -> Finding {
    let path = Toolchain::wrangler(&context.root).dir.join(wrangler::SCHEMA);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Finding::skip("wrangler, which knows the fields, is not installed yet");
    };
    let Ok(schema) = serde_json::from_str::<ConfigSchema>(&text) else {
        return Finding::fail(format!("{path} is not JSON"))
            .manual_fix("`cargo xtask doctor wrangler --fix`");
    };
    each(context, |project| {
        let unknown = guard::unknown_fields(&project.config, &project.wrangler, &schema);
        unknown.iter().map(Finding::from).collect()
    })
}

/// `projects.preview`: in this environment, and in the environment of previews.
pub fn preview(context: &Context) -> Finding {
    let previews = context.config().ok().and_then(|config| config.preview_environment().ok());
    let own = context.environment();
    let other = previews.filter(|environment| environment != own && !context.is_remote());
    each(context, |project| {
        let in_own = guard::preview_without_address(project, own)
            .map(|reason| format!("{}: {reason}", project.config));
        let in_other = || {
            let environment = other.as_ref()?;
            let reason = guard::preview_without_address(project, environment)?;
            Some(format!("{} in {environment}: {reason}", project.config))
        };
        let reason = in_own.or_else(in_other);
        let finding = |reason| {
            Finding::warn(format!("{reason}, so previews get no URL"))
                .manual_fix(guard::PREVIEW_URLS)
        };
        reason.map(finding).into_iter().collect()
    })
}

/// The timeout of one request. The check has five seconds for all projects.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);

/// `projects.secrets`
pub fn required_secrets(context: &Context) -> Finding {
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let environment = context.environment();
    let Some(projects) = context.projects() else {
        return Finding::skip("they cannot be read; see `projects`");
    };
    let requires = |project: &&Project| {
        let required = project.target(environment).required_secrets;
        required.is_some_and(|required| !required.is_empty())
    };
    let projects: Vec<&Project> = projects.iter().filter(requires).collect();
    if projects.is_empty() {
        return Finding::ok().with_value("none");
    }
    if context.offline && context.is_remote() {
        return Finding::skip("offline");
    }
    let port = (!context.is_remote()).then(|| sandbox::planned_port(&context.root));
    let destination = match Destination::to_read(config, environment, port) {
        Ok(destination) => destination,
        Err(failure) => return Finding::from(&failure),
    };
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for project in projects {
        match refuse_missing_if_readable(&context.root, project, &destination, REQUEST_TIMEOUT) {
            Ok(true) => {}
            Ok(false) => unread.push(project.name.clone()),
            Err(failure) => found.push(Finding::from(&failure)),
        }
    }
    if found.is_empty() && !unread.is_empty() {
        let reason = match port {
            Some(_) => "the sandbox cannot be asked",
            None => "Cloudflare cannot be asked",
        };
        return Finding::skip(format!("{reason} about {}", unread.join(", ")));
    }
    Finding::all(found, Finding::ok())
}
