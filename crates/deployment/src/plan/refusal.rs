//! The rules for the projects of a run. All of them are checked here, before anything changes.
//!
//! A run fails with the refusals, a dry run prints them, and `doctor` shows them. Three kinds of rules are elsewhere, because
//! a plan does no IO: those about this machine (`doctor::preflight`), the one that reads the merge request's comment
//! (`engine::previews::comment`), and those that need a file's content or a request to Cloudflare (`engine::upload::refuse`, right
//! before the upload).

use cloudflare::wrangler_fields::ConfigSchema;
use serde::Serialize;

use super::claims::Claims;
use super::destination::Destination;
use super::{Operation, ProjectFacts, alias, block, fields, guard, protection};
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
    /// The images of containers are in a registry.
    Container,
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
    /// The projects whose Workers its config names are not refused.
    Bound,
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
            RefusalRule::Bound => "bound Workers",
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
            | RefusalRule::Container
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
    context: RuleContext<'a>,
}

/// The part of a request that the rules depend on.
#[derive(Clone, Copy)]
pub struct RuleContext<'a> {
    /// The requested operation.
    pub operation: Operation,
    /// The destination.
    pub destination: &'a Destination,
    /// Upload to the sandbox although bindings have no local form.
    pub allow_stub: bool,
    /// The preview's alias, or its name.
    pub alias: Option<&'a str>,
    /// The strategy of the previews, as the command line sets it.
    pub strategy: Option<Strategy>,
    /// `true` if the run applies crons and routes.
    pub applies_triggers: bool,
    /// The date in UTC, such as `2026-01-31`.
    pub today: &'a str,
    /// The schema of wrangler's config. `None` while wrangler is not installed.
    pub schema: Option<&'a ConfigSchema>,
    /// Returns true if a variable of the caller is set.
    pub is_set: fn(&str) -> bool,
}

/// The rules that one project breaks, each with its failure.
#[derive(Default)]
struct BrokenRules(Vec<(RefusalRule, Error)>);

impl BrokenRules {
    fn check<T>(&mut self, rule: RefusalRule, checked: Result<T>) {
        self.all(rule, checked.err());
    }

    fn all(&mut self, rule: RefusalRule, failures: impl IntoIterator<Item = Error>) {
        self.0.extend(failures.into_iter().map(|failure| (rule, failure)));
    }
}

impl<'a> Rules<'a> {
    /// Creates the rules for a request in a repository.
    #[must_use]
    pub fn new(workspace: &'a Workspace, context: RuleContext<'a>) -> Rules<'a> {
        let claims = Claims::new(&workspace.config, &workspace.projects);
        Rules { workspace, claims, context }
    }

    /// Returns every rule that a project breaks.
    #[must_use]
    pub fn refusals(&self, facts: &ProjectFacts<'_>) -> Vec<ProjectRefusal> {
        let environment = self.context.destination.environment.as_str();
        let project = facts.project;
        let mut broken = BrokenRules::default();
        broken.check(RefusalRule::Build, self.check_build(facts));
        broken.all(RefusalRule::Output, facts.missing_output.clone());
        if self.context.operation != Operation::Build {
            self.check_destination(facts, &mut broken);
        }
        let target = project.target(environment);
        let assets = guard::assets_folder(project, &target, facts.has_assets_ignore);
        broken.check(RefusalRule::Assets, assets);
        if self.context.operation != Operation::Build {
            self.check_upload(facts, &mut broken);
        }
        let refusal = |(rule, failure)| ProjectRefusal::new(project, environment, rule, failure);
        broken.0.into_iter().map(refusal).collect()
    }

    /// Checks the entry, the account and the names of the Worker.
    fn check_destination(&self, facts: &ProjectFacts<'_>, broken: &mut BrokenRules) {
        let RuleContext { destination, alias, .. } = self.context;
        let Workspace { config, projects, .. } = self.workspace;
        let (project, environment) = (facts.project, destination.environment.as_str());
        let wrong_types = fields::check_types(project, environment, facts.may_be_generated);
        broken.all(RefusalRule::FieldType, wrong_types);
        if !fields::has_wrong_entry(project, environment) {
            broken.check(RefusalRule::Content, guard::check(config, project, environment));
        }
        if destination.sandbox.is_none() {
            let checked = guard::check_account(config, project, environment);
            broken.check(RefusalRule::Account, checked);
        }
        match protection::check(config, projects, &[project], environment) {
            // The others would name a Worker or a route of a protected environment too.
            Err(failure) => broken.all(RefusalRule::Protection, [failure]),
            Ok(()) => {
                let checked = block::check(self.workspace, project, environment);
                broken.check(RefusalRule::Block, checked);
                broken.check(RefusalRule::Claim, self.claims.check(project, environment));
            }
        }
        if self.context.operation == Operation::Preview
            && let Some(alias) = alias
        {
            let checked = alias::check(alias, &project.target(environment).worker)
                .and_then(|()| self.claims.check_alias(project, environment, alias));
            broken.check(RefusalRule::Alias, checked);
        }
    }

    /// Checks the content of the upload.
    fn check_upload(&self, facts: &ProjectFacts<'_>, broken: &mut BrokenRules) {
        let RuleContext { operation, destination, .. } = self.context;
        let Workspace { config, .. } = self.workspace;
        let (project, environment) = (facts.project, destination.environment.as_str());
        let target = project.target(environment);
        let strategy = (operation == Operation::Preview)
            .then(|| project.strategy(config, environment, self.context.strategy));
        if let Some(strategy) = strategy {
            let checked = guard::check_preview(project, environment, strategy);
            broken.check(RefusalRule::Preview, checked);
        }
        let has_built_image = !facts.may_be_generated && target.built_image.is_some();
        if has_built_image {
            broken.check(RefusalRule::Container, guard::check_containers(&project.config, &target));
        }
        if destination.sandbox.is_some() && !has_built_image {
            let checked = guard::check_local_runtime(&project.config, &target);
            broken.check(RefusalRule::LocalForm, checked);
            if !self.context.allow_stub {
                let is_set = self.context.is_set;
                let checked = guard::check_local_form(&project.config, &target, is_set);
                broken.check(RefusalRule::LocalForm, checked);
            }
        }
        // A preview of the strategy `preview` has its own storage.
        let has_own_storage = strategy == Some(Strategy::Preview);
        if environment != LOCAL && !has_own_storage {
            broken.check(RefusalRule::Storage, guard::check_storage(project, environment));
        }
        // In the sandbox wrangler creates it.
        if destination.sandbox.is_none() && !has_own_storage && !facts.may_be_generated {
            broken.check(RefusalRule::Storage, fields::check_storage_ids(project, environment));
        }
        // `wrangler preview` needs no date, but the step that bundles does.
        let is_bundled = target.main.is_some() || target.has_build_command;
        // A config without an entry has its own refusal.
        let has_entry =
            is_bundled || target.assets.is_some() || fields::has_wrong_entry(project, environment);
        if !facts.may_be_generated && has_entry && (!has_own_storage || is_bundled) {
            let checked = fields::check_date(project, environment, self.context.today);
            broken.check(RefusalRule::Date, checked);
        }
        if self.context.applies_triggers {
            broken.all(RefusalRule::Trigger, fields::check_crons(project, environment));
            broken.all(RefusalRule::Trigger, fields::check_routes(project, environment));
        }
        if operation == Operation::Deploy {
            broken.check(RefusalRule::Steps, guard::check_steps(project));
        }
        if let Some(schema) = self.context.schema {
            let unknown = guard::unknown_fields(&project.config, &project.wrangler, schema);
            broken.all(RefusalRule::Field, unknown);
        }
    }

    fn check_build(&self, facts: &ProjectFacts<'_>) -> Result<()> {
        let build = facts.build.as_ref().map_err(Clone::clone)?;
        let is_locked = build.toolchain.installation.is_some();
        let package = facts.project.package.as_ref();
        match package.filter(|package| package.has_dependencies && !is_locked) {
            Some(package) => Err(guard::no_lock_file(self.workspace, package)),
            None => Ok(()),
        }
    }
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
