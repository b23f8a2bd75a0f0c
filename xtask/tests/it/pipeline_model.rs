//! The generated pipeline as a value, read from its text by a YAML parser.

use std::collections::BTreeMap;

use workspace::yaml::Yaml;

/// The whole file.
pub struct Pipeline {
    pub text: String,
    /// The rules of `workflow`, in a file that GitLab reads directly.
    pub workflow_rules: Vec<Rule>,
    /// The value of `workflow:auto_cancel:on_new_commit`.
    pub auto_cancel: Option<String>,
    pub stages: Vec<String>,
    /// The jobs in their order, hidden ones too.
    pub jobs: Jobs,
}

#[derive(Clone)]
pub struct Jobs(pub Vec<(String, Job)>);

impl Jobs {
    pub fn get(&self, name: &str) -> Option<&Job> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, job)| job)
    }
}

#[derive(Clone)]
pub struct Job {
    pub extends: Vec<String>,
    pub stage: Option<String>,
    pub rules: Vec<Rule>,
    pub needs: Option<Vec<String>>,
    pub variables: BTreeMap<String, String>,
    pub before_script: Vec<String>,
    pub script: Vec<String>,
    pub environment: Option<JobEnvironment>,
    pub resource_group: Option<String>,
    pub interruptible: Option<bool>,
}

#[derive(Clone)]
pub struct Rule {
    pub condition: String,
    pub changes: Option<Vec<String>>,
    pub when: Option<String>,
    pub allow_failure: Option<bool>,
}

#[derive(Clone)]
pub struct JobEnvironment {
    pub name: String,
    pub on_stop: Option<String>,
    pub action: Option<String>,
}

/// The keys of the file that are no jobs.
const GLOBAL: [&str; 4] = ["workflow", "stages", "default", "variables"];

impl Pipeline {
    pub fn parse(text: String) -> Pipeline {
        let yaml = Yaml::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let workflow = yaml.get("workflow");
        let jobs = yaml.entries().iter().filter(|(name, _)| !GLOBAL.contains(&name.as_str()));
        Pipeline {
            workflow_rules: workflow.map(rules).unwrap_or_default(),
            auto_cancel: workflow
                .and_then(|workflow| text_of(workflow.get("auto_cancel")?, "on_new_commit")),
            stages: texts(&yaml, "stages").unwrap_or_default(),
            jobs: Jobs(jobs.map(|(name, job)| (name.clone(), Job::new(job))).collect()),
            text,
        }
    }
}

impl Job {
    fn new(yaml: &Yaml) -> Job {
        let variables = yaml.get("variables").map(Yaml::entries).unwrap_or_default();
        let variables = variables
            .iter()
            .map(|(name, value)| (name.clone(), value.text().expect("a text").to_owned()));
        Job {
            extends: texts(yaml, "extends").unwrap_or_default(),
            stage: text_of(yaml, "stage"),
            rules: rules(yaml),
            needs: texts(yaml, "needs"),
            variables: variables.collect(),
            before_script: texts(yaml, "before_script").unwrap_or_default(),
            script: texts(yaml, "script").unwrap_or_default(),
            environment: yaml.get("environment").map(|environment| JobEnvironment {
                name: text_of(environment, "name").expect("a name"),
                on_stop: text_of(environment, "on_stop"),
                action: text_of(environment, "action"),
            }),
            resource_group: text_of(yaml, "resource_group"),
            interruptible: flag(yaml, "interruptible"),
        }
    }
}

fn rules(yaml: &Yaml) -> Vec<Rule> {
    let rules = yaml.get("rules").map(Yaml::items).unwrap_or_default().iter();
    let rules = rules.map(|rule| Rule {
        condition: text_of(rule, "if").expect("a condition"),
        changes: texts(rule, "changes"),
        when: text_of(rule, "when"),
        allow_failure: flag(rule, "allow_failure"),
    });
    rules.collect()
}

fn text_of(yaml: &Yaml, key: &str) -> Option<String> {
    yaml.get(key).and_then(Yaml::text).map(str::to_owned)
}

fn texts(yaml: &Yaml, key: &str) -> Option<Vec<String>> {
    let items = yaml.get(key)?.items().iter();
    Some(items.map(|item| item.text().expect("a text").to_owned()).collect())
}

fn flag(yaml: &Yaml, key: &str) -> Option<bool> {
    text_of(yaml, key).map(|text| text.parse().expect("true or false"))
}

/// Evaluates a condition of a rule as GitLab does: comparisons that `&&` joins. A variable that is not set
/// equals no text (<https://docs.gitlab.com/ci/jobs/job_rules/#cicd-variable-expressions>).
pub fn is_met(condition: &str, variables: &BTreeMap<&str, &str>) -> bool {
    condition.split(" && ").all(|comparison| {
        let (left, is_equal, right) = match comparison.split_once(" == ") {
            Some((left, right)) => (left, true, right),
            None => {
                let (left, right) = comparison.split_once(" != ").expect("a comparison");
                (left, false, right)
            }
        };
        let value = |operand: &str| match operand.strip_prefix('$') {
            Some(name) => variables.get(name).map(|&value| value.to_owned()),
            None => {
                let text = operand.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                Some(text.expect("a text in quotes").to_owned())
            }
        };
        (value(left) == value(right)) == is_equal
    })
}
