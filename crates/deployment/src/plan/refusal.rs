//! The rules for the projects of a run. All of them are checked here, before anything changes.
//!
//! A run fails with the refusals, a dry run prints them, and `doctor` shows them. Three kinds of rules are elsewhere, because
//! a plan does no IO: those about this machine (`doctor::preflight`), the one that reads the merge request's comment
//! (`engine::comment`), and those that need a file's content or a request to Cloudflare (`engine::uploader::refuse`, right
//! before the upload).

use std::collections::{BTreeMap, BTreeSet};

use cloudflare::wrangler_fields::ConfigSchema;
use serde::Serialize;

use super::claims::Claims;
use super::destination::Destination;
use super::{BuildPlan, Operation, alias, block, fields, guard, protection};
use base::error::{Error, ErrorKind, Result};
use base::same_errors;
use workspace::Workspace;
use workspace::config::LOCAL;
use workspace::project::Project;
use workspace::strategy::Strategy;

/// A rule that a project can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalRule {
    /// A Worker has code or assets.
    Content,
    /// Each value of the config has the type that wrangler expects.
    FieldType,
    /// The config has a `compatibility_date`, and Cloudflare accepts it.
    Date,
    /// Cloudflare accepts the cron expressions and the routes.
    Trigger,
    /// The wrangler config names no other account than the environment.
    Account,
    /// No other environment changes the Workers and host names of a protected one.
    Protection,
    /// An environment has a block if the top level is meant for no environment.
    Block,
    /// A Worker, a domain, a route and a consumed queue belong to one project and environment.
    Claim,
    /// The folder of assets is in the repository and not the project itself.
    Assets,
    /// The host name of a preview's alias is free.
    Alias,
    /// A preview has a URL and its own bindings.
    Preview,
    /// The sandbox can run every binding.
    LocalForm,
    /// The config names storage by an id, and not by a placeholder.
    Storage,
    /// Wrangler knows every field of the config.
    Field,
    /// Steps before the upload read files of the repository.
    Steps,
    /// Lock files pin the dependencies of builds.
    Build,
    /// The files that the wrangler config names exist, or a build writes them.
    Output,
    /// Every input of the build exists.
    Inputs,
    /// The Worker has the secrets that its config requires.
    Secrets,
    /// No newer pipeline of the merge request has a preview.
    Pipeline,
}

impl RefusalRule {
    /// Returns the subject of the rule, for a list of several refusals.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            RefusalRule::Field => "wrangler fields",
            RefusalRule::Build => "lock files",
            RefusalRule::Output => "build outputs",
            RefusalRule::Inputs => "inputs",
            RefusalRule::Secrets => "required secrets",
            RefusalRule::Steps => "steps before the upload",
            RefusalRule::Alias | RefusalRule::Preview | RefusalRule::Pipeline => "preview",
            RefusalRule::Content
            | RefusalRule::FieldType
            | RefusalRule::Date
            | RefusalRule::Trigger
            | RefusalRule::Account
            | RefusalRule::Protection
            | RefusalRule::Block
            | RefusalRule::Claim
            | RefusalRule::Assets
            | RefusalRule::LocalForm
            | RefusalRule::Storage => "wrangler configs",
        }
    }
}

/// A rule that a project breaks. The project is left out, and does not stop the others.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRefusal {
    /// The project's name.
    pub project: String,
    /// The Worker's name in the environment.
    pub worker: String,
    /// The rule.
    pub rule: RefusalRule,
    /// The reason, the next steps and the kind.
    pub failure: Error,
}

impl ProjectRefusal {
    /// Creates the refusal of `project` in `environment`.
    #[must_use]
    pub fn new(
        project: &Project,
        environment: &str,
        rule: RefusalRule,
        failure: Error,
    ) -> ProjectRefusal {
        let worker = project.target(environment).worker;
        ProjectRefusal { project: project.name.clone(), worker, rule, failure }
    }

    /// Returns true if it belongs to `project` in `environment`.
    #[must_use]
    pub fn is_of(&self, project: &Project, environment: &str) -> bool {
        self.project == project.name && self.worker == project.target(environment).worker
    }

    /// Returns one failure for each project, in the order of `refusals`.
    #[must_use]
    pub fn by_project(refusals: &[ProjectRefusal]) -> Vec<(&ProjectRefusal, Error)> {
        let row = |rules: &'_ [ProjectRefusal]| {
            let parts = rules.iter().map(|each| (each.rule.subject(), &each.failure));
            all_at_once(&parts.collect::<Vec<_>>())
        };
        let rows = refusals.chunk_by(|a, b| a.project == b.project && a.worker == b.worker);
        rows.filter_map(|rules| Some((rules.first()?, row(rules)?))).collect()
    }

    /// Returns the failures of the projects. Those of the same kind are one.
    #[must_use]
    pub fn join_same(refusals: &[ProjectRefusal]) -> Vec<Error> {
        let rows = ProjectRefusal::by_project(refusals).into_iter();
        let named: Vec<_> =
            rows.map(|(refusal, failure)| (refusal.project.clone(), failure)).collect();
        same_errors::join(&named).into_iter().map(|(_, failure)| failure).collect()
    }
}

/// Returns one failure that lists all of `parts`, grouped by subject. `None` if `parts` is empty.
#[must_use]
pub fn all_at_once(parts: &[(&str, &Error)]) -> Option<Error> {
    let groups: Vec<(&str, String)> = parts
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|group| {
            let messages = group.iter().map(|(_, failure)| format!("{failure:#}"));
            Some((group.first()?.0, messages.collect::<Vec<_>>().join("\n")))
        })
        .collect();
    let message = match groups.as_slice() {
        [] => return None,
        [(_, message)] => message.clone(),
        several => several.iter().fold(
            format!("{} things are missing or wrong", several.len()),
            |text, (subject, message)| {
                format!("{text}\n  {subject}: {}", message.replace('\n', "\n  "))
            },
        ),
    };
    let mut hints: Vec<String> =
        parts.iter().flat_map(|(_, failure)| failure.hints.clone()).collect();
    hints.dedup();
    let kinds = parts.iter().map(|(_, failure)| failure.kind);
    let kind = kinds.max().unwrap_or(ErrorKind::Refused);
    Some(Error { hints, ..Error::new(kind, message) })
}

/// The rules for the projects of a workspace.
pub struct Rules<'a> {
    workspace: &'a Workspace,
    claims: Claims<'a>,
    facts: Facts<'a>,
}

/// The part of a request that the rules depend on.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The requested operation.
    pub operation: Operation,
    /// The destination.
    pub destination: &'a Destination,
    /// Upload to the sandbox although bindings have no local form.
    pub allow_stub: bool,
    /// The preview's alias, or its name.
    pub alias: Option<&'a str>,
    /// The strategy of each project's preview.
    pub strategies: &'a BTreeMap<String, Strategy>,
    /// The tools that install and build each project.
    pub builds: &'a BTreeMap<String, Result<BuildPlan>>,
    /// The refusals of configs with missing files that nothing builds, by project.
    pub unbuilt: &'a BTreeMap<String, Error>,
    /// The projects whose deployed config may be one that a build writes.
    pub generated: &'a BTreeSet<String>,
    /// The date in UTC, such as `2026-01-31`.
    pub today: &'a str,
    /// `true` if the run applies crons and routes.
    pub applies_triggers: bool,
    /// Content keys by project. A project without an entry was not read.
    pub keys: &'a BTreeMap<String, Result<String>>,
    /// The schema of wrangler's config. `None` while wrangler is not installed.
    pub schema: Option<&'a ConfigSchema>,
    /// Returns true if a variable of the caller is set.
    pub is_set: fn(&str) -> bool,
}

impl<'a> Rules<'a> {
    /// Creates the rules for a request in a repository.
    #[must_use]
    pub fn new(workspace: &'a Workspace, facts: Facts<'a>) -> Rules<'a> {
        let claims = Claims::new(&workspace.config, &workspace.projects);
        Rules { workspace, claims, facts }
    }

    /// Returns every rule that `project` breaks.
    #[must_use]
    pub fn refusals(&self, project: &Project) -> Vec<ProjectRefusal> {
        let target = project.target(&self.facts.destination.environment);
        let mut broken = broken_rule(RefusalRule::Build, self.check_build(project));
        if let Some(failure) = self.facts.unbuilt.get(&project.name) {
            broken.push((RefusalRule::Output, failure.clone()));
        }
        if self.facts.operation != Operation::Build {
            broken.extend(self.config_refusals(project));
        }
        broken.extend(broken_rule(RefusalRule::Assets, guard::dist(project, &target)));
        if self.facts.operation != Operation::Build {
            broken.extend(self.upload_refusals(project));
        }
        if let Some(Err(failure)) = self.facts.keys.get(&project.name) {
            broken.push((RefusalRule::Inputs, failure.clone()));
        }
        let environment = self.facts.destination.environment.as_str();
        let refusal = |(rule, failure)| ProjectRefusal::new(project, environment, rule, failure);
        broken.into_iter().map(refusal).collect()
    }

    /// Checks the destination of the Worker.
    fn config_refusals(&self, project: &Project) -> Vec<(RefusalRule, Error)> {
        let Facts { destination, alias, .. } = self.facts;
        let environment = destination.environment.as_str();
        let is_generated = self.facts.generated.contains(&project.name);
        let mut broken = broken_rules(
            RefusalRule::FieldType,
            fields::check_types(project, environment, is_generated),
        );
        if !fields::has_wrong_entry(project, environment) {
            let checked = guard::check(&self.workspace.config, project, environment);
            broken.extend(broken_rule(RefusalRule::Content, checked));
        }
        if destination.sandbox.is_none() {
            let checked = guard::check_account(&self.workspace.config, project, environment);
            broken.extend(broken_rule(RefusalRule::Account, checked));
        }
        // The others would name a Worker or a route of a protected environment too.
        let Workspace { config, projects, .. } = self.workspace;
        let protected = protection::check(config, projects, &[project], environment);
        match protected {
            Err(failure) => broken.push((RefusalRule::Protection, failure)),
            Ok(()) => {
                let checked = block::check(self.workspace, project, environment);
                broken.extend(broken_rule(RefusalRule::Block, checked));
                let checked = self.claims.check(project, environment);
                broken.extend(broken_rule(RefusalRule::Claim, checked));
            }
        }
        if self.facts.operation == Operation::Preview
            && let Some(alias) = alias
        {
            let checked = alias::check(alias, &project.target(environment).worker)
                .and_then(|()| self.claims.check_alias(project, environment, alias));
            broken.extend(broken_rule(RefusalRule::Alias, checked));
        }
        broken
    }

    /// Checks the content of the upload.
    fn upload_refusals(&self, project: &Project) -> Vec<(RefusalRule, Error)> {
        let Facts { destination, allow_stub, schema, .. } = self.facts;
        let environment = destination.environment.as_str();
        let mut broken = Vec::new();
        if let Some(strategy) = self.facts.strategies.get(&project.name) {
            let checked = guard::check_preview(project, environment, *strategy);
            broken.extend(broken_rule(RefusalRule::Preview, checked));
        }
        if destination.sandbox.is_some() {
            let target = project.target(environment);
            let checked = guard::check_local_runtime(&project.config, &target);
            broken.extend(broken_rule(RefusalRule::LocalForm, checked));
            if !allow_stub {
                let checked = guard::check_local_form(&project.config, &target, self.facts.is_set);
                broken.extend(broken_rule(RefusalRule::LocalForm, checked));
            }
        }
        let is_generated = self.facts.generated.contains(&project.name);
        // A preview of the strategy `preview` has its own storage.
        let has_own = self.facts.strategies.get(&project.name) == Some(&Strategy::Preview);
        if environment != LOCAL && !has_own {
            let checked = guard::check_storage(project, environment);
            broken.extend(broken_rule(RefusalRule::Storage, checked));
        }
        // In the sandbox wrangler creates it.
        if destination.sandbox.is_none() && !has_own && !is_generated {
            let checked = fields::check_storage_ids(project, environment);
            broken.extend(broken_rule(RefusalRule::Storage, checked));
        }
        // `wrangler preview` needs no date, but the step that bundles does.
        let target = project.target(environment);
        let is_bundled = target.main.is_some() || target.has_build_command;
        // A config without an entry has its own refusal.
        let has_entry =
            is_bundled || target.assets.is_some() || fields::has_wrong_entry(project, environment);
        if !is_generated && has_entry && (!has_own || is_bundled) {
            let checked = fields::check_date(project, environment, self.facts.today);
            broken.extend(broken_rule(RefusalRule::Date, checked));
        }
        if self.facts.applies_triggers {
            let checked = fields::check_crons(project, environment).into_iter();
            let checked = checked.chain(fields::check_routes(project, environment));
            broken.extend(broken_rules(RefusalRule::Trigger, checked));
        }
        if self.facts.operation == Operation::Deploy {
            broken.extend(broken_rule(RefusalRule::Steps, guard::check_steps(project)));
        }
        let unknown =
            schema.map(|schema| guard::unknown_fields(&project.config, &project.wrangler, schema));
        broken.extend(unknown.into_iter().flatten().map(|failure| (RefusalRule::Field, failure)));
        broken
    }

    fn check_build(&self, project: &Project) -> Result<()> {
        let build = match self.facts.builds.get(&project.name) {
            Some(build) => build.as_ref().map_err(Clone::clone)?,
            None => return Ok(()),
        };
        let is_locked = build.toolchain.installation.is_some();
        match project.package.as_ref().filter(|package| package.has_dependencies && !is_locked) {
            Some(package) => Err(guard::no_lock_file(self.workspace, package)),
            None => Ok(()),
        }
    }
}

/// Returns the rule with each failure.
fn broken_rules(
    rule: RefusalRule,
    failures: impl IntoIterator<Item = Error>,
) -> Vec<(RefusalRule, Error)> {
    failures.into_iter().map(|failure| (rule, failure)).collect()
}

/// Returns the rule with its failure if the check failed.
fn broken_rule<T>(rule: RefusalRule, checked: Result<T>) -> Vec<(RefusalRule, Error)> {
    checked.err().map(|failure| (rule, failure)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::error::refused;

    #[test]
    fn a_project_has_one_row_with_all_of_its_refusals() {
        let refusal = |project: &str, rule, failure| ProjectRefusal {
            project: project.to_owned(),
            worker: project.to_owned(),
            rule,
            failure,
        };
        let refusals = [
            refusal("a", RefusalRule::Build, refused("no lock file").hint("install")),
            refusal("a", RefusalRule::Field, refused("x\ny").hint("install").hint("remove it")),
            refusal("b", RefusalRule::Account, refused("another account")),
            refusal("b", RefusalRule::Claim, refused("taken").hint("rename it")),
        ];
        let rows = ProjectRefusal::by_project(&refusals);
        let text = |(refusal, failure): &(&ProjectRefusal, Error)| {
            format!("{}: {}", refusal.project, failure.with_hints())
        };
        expect_test::expect![[r#"
            a: 2 things are missing or wrong
              lock files: no lock file
              wrangler fields: x
              y
            hint: install
            hint: remove it
            b: another account
            taken
            hint: rename it"#]]
        .assert_eq(&rows.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
}
