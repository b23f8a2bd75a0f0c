//! Finds out whether the jobs of an existing `.gitlab-ci.yml` run in the pipelines of merge requests, as ours do.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::FILE;
use super::expression::{Operand, evaluate};
use base::text::list_first;
use workspace::config::Config;
use workspace::yaml::Yaml;

/// The lines that put all jobs of a merge request into one pipeline
/// (<https://docs.gitlab.com/ci/yaml/workflow/#switch-between-branch-pipelines-and-merge-request-pipelines>). A pipeline of a
/// tag stays.
pub const WORKFLOW: &str = "\
workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == \"merge_request_event\"
    - if: $CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS
      when: never
    - if: $CI_COMMIT_BRANCH
    - if: $CI_COMMIT_TAG
";

/// The rule of a job that runs in the pipelines of merge requests.
const RULE: &str = "- if: $CI_PIPELINE_SOURCE == \"merge_request_event\"";

/// The number of jobs that a note names.
const MAX_LISTED_JOBS: usize = 8;

/// A note on an existing pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineNote {
    /// The problem.
    pub text: String,
    /// The next step.
    pub fix: String,
    /// The lines to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<&'static str>,
}

impl PipelineNote {
    /// Returns the note for people, with the lines to add at its end.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines.map_or_else(|| "\n".to_owned(), |lines| format!(":\n\n{lines}"));
        format!("{}\n    fix: {}{lines}", self.text, self.fix)
    }
}

/// Returns what keeps the jobs of the existing pipeline at `root` out of the pipelines of merge requests. `None` if nothing
/// does, or if an included file of another place may decide it.
#[must_use]
pub fn note(root: &Utf8Path, config: &Config) -> Option<PipelineNote> {
    if !config.pipeline.is_included() {
        return None;
    }
    let own = OwnPipeline::read(root, Utf8Path::new(&config.pipeline.file))?;
    own.note(config.preview_environment().is_ok())
}

/// The keys that are no jobs.
const GLOBAL: [&str; 11] = [
    "default",
    "include",
    "stages",
    "types",
    "variables",
    "workflow",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
];

/// An event that starts a pipeline.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    /// A merge request.
    MergeRequest,
    /// A push to a branch with an open merge request.
    Push,
}

impl Event {
    fn variable(self, name: &str) -> Operand {
        let text = |text: &str| Operand::Text(text.to_owned());
        match (name, self) {
            ("CI_PIPELINE_SOURCE", Event::MergeRequest) => text("merge_request_event"),
            ("CI_PIPELINE_SOURCE", Event::Push) => text("push"),
            ("CI_DEFAULT_BRANCH", _) => Operand::DefaultBranch,
            ("CI_COMMIT_TAG", _) | ("CI_COMMIT_BRANCH", Event::MergeRequest) => Operand::Unset,
            ("CI_COMMIT_BRANCH", Event::Push)
            | ("CI_COMMIT_REF_NAME" | "CI_COMMIT_REF_SLUG", _) => Operand::OtherBranch,
            ("CI_OPEN_MERGE_REQUESTS", _)
            | ("CI_MERGE_REQUEST_ID" | "CI_MERGE_REQUEST_IID", Event::MergeRequest) => text("1"),
            (name, Event::Push) if name.starts_with("CI_MERGE_REQUEST_") => Operand::Unset,
            _ => Operand::Unknown,
        }
    }

    /// Returns true if one of `rules` may let a job or a pipeline run.
    fn may_pass(self, rules: &Yaml) -> bool {
        let Yaml::List(rules) = rules else { return true };
        for rule in rules {
            // Such as `!reference`.
            let Yaml::Map(_) = rule else { return true };
            let condition = match rule.get("if") {
                None => Some(true),
                Some(condition) => {
                    condition.text().and_then(|text| evaluate(text, &|name| self.variable(name)))
                }
            };
            let depends_on_files = rule.get("changes").or(rule.get("exists")).is_some();
            let is_met = condition.filter(|is_met| !(*is_met && depends_on_files));
            let is_never = rule.get("when").and_then(Yaml::text) == Some("never");
            match (is_met, is_never) {
                (Some(true), true) => return false,
                (Some(true) | None, false) => return true,
                (Some(false), _) | (None, true) => {}
            }
        }
        false
    }

    /// Returns true if a job with these `only` may run.
    fn may_be_only(self, only: &Yaml) -> bool {
        let refs = match only {
            Yaml::Map(_) => only.get("refs"),
            other => Some(other),
        };
        let Some(Yaml::List(refs)) = refs else { return true };
        refs.iter().any(|name| match (name.text(), self) {
            (Some(name), Event::MergeRequest) => name == "merge_requests",
            (Some(name), Event::Push) => {
                ["branches", "pushes"].contains(&name) || name.starts_with('/')
            }
            (None, _) => true,
        })
    }

    /// Returns true if a job with these `except` may run.
    fn may_be_except(self, except: &Yaml) -> bool {
        let refs = match except {
            Yaml::Map(_) => except.get("refs"),
            other => Some(other),
        };
        let excluded: &[&str] = match self {
            Event::MergeRequest => &["merge_requests"],
            Event::Push => &["branches", "pushes"],
        };
        let mut names = refs.map(Yaml::items).unwrap_or_default().iter().filter_map(Yaml::text);
        !names.any(|name| excluded.contains(&name))
    }
}

/// The content of `.gitlab-ci.yml` and of the files of the repository that it includes.
struct OwnPipeline {
    /// The entries. Those of the including file are last, because they win.
    entries: Vec<(String, Yaml)>,
    /// `true` if it includes files of another place.
    is_partial: bool,
}

impl OwnPipeline {
    /// Reads it without the file `ours`. `None` if there is no file, or if a file cannot be read.
    fn read(root: &Utf8Path, ours: &Utf8Path) -> Option<OwnPipeline> {
        let mut pipeline = OwnPipeline { entries: Vec::new(), is_partial: false };
        let mut seen = BTreeSet::from([ours.to_owned()]);
        pipeline.add(root, Utf8Path::new(FILE), &mut seen)?;
        Some(pipeline)
    }

    fn add(
        &mut self,
        root: &Utf8Path,
        path: &Utf8Path,
        seen: &mut BTreeSet<Utf8PathBuf>,
    ) -> Option<()> {
        if !seen.insert(path.to_owned()) {
            return Some(());
        }
        let text = workspace::symlinks::read(root, path).ok()?;
        let yaml = Yaml::parse(&text).ok()?;
        // The first document has only the inputs then.
        self.is_partial |= yaml.get("spec").is_some();
        let include = yaml.get("include");
        let includes = match include {
            Some(Yaml::List(items)) => items.iter().collect(),
            other => other.into_iter().collect::<Vec<_>>(),
        };
        for include in includes {
            let local = match include {
                Yaml::Scalar(path) if !path.contains("://") => Some(path.as_str()),
                other => other.get("local").and_then(Yaml::text),
            };
            match local.filter(|path| !path.contains(['*', '$'])) {
                Some(path) => {
                    self.add(root, Utf8Path::new(path.trim_start_matches('/')), seen)?;
                }
                None => self.is_partial = true,
            }
        }
        self.entries.extend(yaml.entries().iter().cloned());
        Some(())
    }

    fn get(&self, name: &str) -> Option<&Yaml> {
        self.entries.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn note(&self, has_previews: bool) -> Option<PipelineNote> {
        let workflow = self.get("workflow").and_then(|workflow| workflow.get("rules"));
        match workflow {
            None if self.is_partial => None,
            Some(rules) if !Event::MergeRequest.may_pass(rules) => {
                Some(no_pipeline_note(has_previews))
            }
            Some(rules) if !Event::Push.may_pass(rules) => None,
            _ => self.jobs_note(workflow.is_some()),
        }
    }

    /// Returns the note on the jobs that run for a push to the branch of a merge request, and not for the merge request.
    fn jobs_note(&self, has_workflow: bool) -> Option<PipelineNote> {
        let is_elsewhere = |(_, job): &(&str, &Yaml)| {
            let runs = |event| self.may_run(job, event, has_workflow);
            !runs(Event::MergeRequest) && runs(Event::Push)
        };
        let jobs: Vec<(&str, &Yaml)> = self.jobs().filter(is_elsewhere).collect();
        if jobs.is_empty() {
            return None;
        }
        let list = |names: Vec<&str>| list_first(MAX_LISTED_JOBS, &names);
        let text = format!(
            "these jobs of {FILE} do not run in the pipeline of a merge request, and GitLab's *Pipelines must succeed* \
             does not wait for another pipeline: {}",
            list(jobs.iter().map(|(name, _)| *name).collect())
        );
        // The others run wherever the workflow lets a pipeline run.
        let has_own_rules =
            |job: &Yaml| self.find(job, "rules").or(self.find(job, "only")).is_some();
        let with_rules = jobs.iter().filter(|(_, job)| has_own_rules(job));
        let with_rules: Vec<&str> = with_rules.map(|(name, _)| *name).collect();
        let lines = (!has_workflow).then_some(WORKFLOW);
        let fix = if with_rules.is_empty() && !has_workflow {
            format!("add these lines to {FILE}")
        } else {
            let also =
                if has_workflow { String::new() } else { format!(", and these lines to {FILE}") };
            format!("add `{RULE}` to the rules of {}{also}", list(with_rules))
        };
        Some(PipelineNote { text, fix, lines })
    }

    /// Returns the jobs whose failure makes a pipeline fail.
    fn jobs(&self) -> impl Iterator<Item = (&str, &Yaml)> {
        let is_job = |name: &str| !name.starts_with('.') && !GLOBAL.contains(&name);
        let text = |job: &Yaml, key: &str| {
            self.find(job, key).and_then(Yaml::text).unwrap_or_default().to_owned()
        };
        let names: BTreeSet<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
        let jobs = names.into_iter().filter(move |name| is_job(name));
        jobs.filter_map(|name| Some((name, self.get(name)?))).filter(move |(_, job)| {
            matches!(job, Yaml::Map(_))
                && text(job, "when") != "manual"
                && text(job, "allow_failure") != "true"
        })
    }

    /// Returns the value of `key` in a job, or in one that it extends.
    fn find<'p>(&'p self, job: &'p Yaml, key: &str) -> Option<&'p Yaml> {
        job.get(key)
            .or_else(|| self.parents_of(job, 0)?.into_iter().find_map(|parent| parent.get(key)))
    }

    /// Returns the jobs that a job extends, those that win first. `None` if one is not known.
    fn parents_of<'p>(&'p self, job: &'p Yaml, depth: usize) -> Option<Vec<&'p Yaml>> {
        let names: Vec<&str> = match job.get("extends") {
            None => return Some(Vec::new()),
            Some(Yaml::List(names)) => names.iter().map(Yaml::text).collect::<Option<_>>()?,
            Some(name) => vec![name.text()?],
        };
        let mut found = Vec::new();
        for name in names.into_iter().rev() {
            let parent = self.get(name).filter(|_| depth < MAX_EXTENDS)?;
            found.push(parent);
            found.extend(self.parents_of(parent, depth + 1)?);
        }
        Some(found)
    }

    /// Returns true if a job may run in the pipeline of an event.
    fn may_run(&self, job: &Yaml, event: Event, has_workflow: bool) -> bool {
        let Some(parents) = self.parents_of(job, 0) else { return true };
        // The parser does not merge the keys of an anchor.
        if std::iter::once(job).chain(parents).any(|one| one.get("<<").is_some()) {
            return true;
        }
        if let Some(rules) = self.find(job, "rules") {
            return event.may_pass(rules);
        }
        let is_excluded =
            self.find(job, "except").is_some_and(|except| !event.may_be_except(except));
        !is_excluded
            && match self.find(job, "only") {
                Some(only) => event.may_be_only(only),
                // The default of `only` is branches and tags, but not beside `workflow:rules`
                // (https://docs.gitlab.com/ci/yaml/deprecated_keywords/#only--except).
                None => has_workflow || event == Event::Push,
            }
    }
}

/// Returns the note on a workflow that allows no pipeline of a merge request.
fn no_pipeline_note(has_previews: bool) -> PipelineNote {
    let lost = if has_previews { "no preview runs" } else { "`check` runs only after a merge" };
    PipelineNote {
        text: format!("`workflow:rules` in {FILE} allow no pipeline of a merge request, so {lost}"),
        fix: format!("replace `workflow` in {FILE} with these lines"),
        lines: Some(WORKFLOW),
    }
}

/// GitLab accepts no more levels of `extends` (<https://docs.gitlab.com/ci/yaml/#extends>).
const MAX_EXTENDS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text and the fix of the note on `text`, or "none".
    fn note_of(text: &str) -> String {
        let yaml = Yaml::parse(text).expect("valid");
        let own = OwnPipeline { entries: yaml.entries().to_vec(), is_partial: false };
        own.note(true)
            .map_or_else(|| "none".to_owned(), |note| format!("{}; {}", note.text, note.fix))
    }

    const DENIED: &str = "`workflow:rules` in .gitlab-ci.yml allow no pipeline of a merge request, so no preview runs; \
                          replace `workflow` in .gitlab-ci.yml with these lines";

    #[test]
    fn a_workflow_may_allow_no_pipelines_of_merge_requests() {
        for (rules, is_denied) in [
            ("- if: $CI_COMMIT_BRANCH", true),
            ("- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH\n    - if: $CI_COMMIT_TAG", true),
            ("- if: $CI_PIPELINE_SOURCE == \"push\"", true),
            (
                "- if: $CI_PIPELINE_SOURCE == \"merge_request_event\"\n      when: never\n    - when: always",
                true,
            ),
            ("- if: $CI_MERGE_REQUEST_IID\n      when: never\n    - if: $CI_COMMIT_REF_NAME", true),
            ("- if: $CI_PIPELINE_SOURCE == 'merge_request_event'", false),
            ("- if: $CI_MERGE_REQUEST_IID\n    - if: $CI_COMMIT_BRANCH", false),
            ("- if: $CI_COMMIT_TAG\n      when: never\n    - when: always", false),
            ("- if: $CI_PIPELINE_SOURCE =~ /^(push|merge_request_event)$/", false),
            ("- if: $DEPLOY == \"1\"", false),
            ("- changes: [src/**]", false),
        ] {
            let text = format!("workflow:\n  rules:\n    {rules}\n");
            assert_eq!(note_of(&text) == DENIED, is_denied, "{text}");
        }
    }

    #[test]
    fn names_the_jobs_that_run_beside_the_pipeline_of_a_merge_request() {
        let listed = |text: &str| {
            let note = note_of(text);
            let names = note.split("another pipeline: ").nth(1).map(|rest| rest.split(';').next());
            names.flatten().unwrap_or("none").to_owned()
        };
        let open =
            "workflow:\n  rules:\n    - if: $CI_MERGE_REQUEST_IID\n    - if: $CI_COMMIT_BRANCH\n";
        let guarded = WORKFLOW;
        for (text, expected) in [
            ("test: { script: x }".to_owned(), "test"),
            ("test: { script: x, only: [branches] }".to_owned(), "test"),
            ("test: { script: x, except: [tags] }".to_owned(), "test"),
            ("test: { script: x, rules: [{ if: $CI_COMMIT_BRANCH }] }".to_owned(), "test"),
            (".base: { only: [pushes] }\ntest: { extends: .base, script: x }".to_owned(), "test"),
            (format!("{open}test: {{ script: x, rules: [{{ if: $CI_COMMIT_BRANCH }}] }}"), "test"),
            (format!("{open}test: {{ script: x }}"), "none"),
            (format!("{guarded}test: {{ script: x, rules: [{{ if: $CI_COMMIT_BRANCH }}] }}"), "none"),
            ("test: { script: x, only: [merge_requests, main] }".to_owned(), "none"),
            ("test: { script: x, only: { refs: [merge_requests] } }".to_owned(), "none"),
            ("test: { script: x, rules: [{ if: $CI_MERGE_REQUEST_IID }, { if: $CI_COMMIT_BRANCH }] }".to_owned(), "none"),
            ("test: { script: x, rules: [{ when: on_success }] }".to_owned(), "none"),
            // They do not run for a branch with a merge request.
            ("ship: { script: x, only: [main] }".to_owned(), "none"),
            ("ship: { script: x, only: [tags] }".to_owned(), "none"),
            ("ship: { script: x, rules: [{ if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH }] }".to_owned(), "none"),
            ("ship: { script: x, rules: [{ if: '$CI_COMMIT_BRANCH == \"main\"' }] }".to_owned(), "none"),
            // Their failure stops no merge.
            ("ship: { script: x, when: manual }".to_owned(), "none"),
            ("lint: { script: x, allow_failure: true }".to_owned(), "none"),
            // The file alone does not tell.
            ("test: { script: x, extends: .elsewhere }".to_owned(), "none"),
            (".base: &base { only: [merge_requests] }\ntest: { <<: *base, script: x }".to_owned(), "none"),
            ("test:\n  script: x\n  rules:\n    - !reference [.base, rules]".to_owned(), "none"),
            ("stages: [test]\nvariables: { A: b }\n.hidden: { script: x }".to_owned(), "none"),
        ] {
            assert_eq!(listed(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_fix_fits_the_jobs() {
        let fix = |text: &str| {
            let note = note_of(text);
            note.rsplit_once("; ").map(|(_, fix)| fix.to_owned()).unwrap_or_default()
        };
        assert_eq!(fix("a: { script: x }"), "add these lines to .gitlab-ci.yml");
        assert_eq!(
            fix("a: { script: x }\nb: { script: x, only: [branches] }"),
            format!("add `{RULE}` to the rules of b, and these lines to .gitlab-ci.yml")
        );
        let open = "workflow: { rules: [{ when: always }] }\n";
        assert_eq!(
            fix(&format!("{open}a: {{ script: x, rules: [{{ if: $CI_COMMIT_BRANCH }}] }}")),
            format!("add `{RULE}` to the rules of a")
        );
    }

    /// With these lines there is no note.
    #[test]
    fn the_lines_put_all_jobs_into_one_pipeline() {
        assert_eq!(note_of(&format!("{WORKFLOW}test: {{ script: x }}")), "none");
    }
}
