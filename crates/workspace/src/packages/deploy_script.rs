//! Finds what the script `deploy` of a package does in addition to a build and an upload. xtask does not run that script.

use serde_json::{Map, Value, json};

use crate::packages::build_script::{
    arguments, is_local_wrangler, is_task_runner, is_upload, may_upload, program, runs_build,
    steps, writes_output,
};
use crate::packages::manifest::Specs;
use crate::settings::Settings;
use crate::settings::before_deploy::BeforeDeploy;
use crate::settings::wrangler_flags::WranglerFlags;

/// Options of an upload that xtask sets itself, and whether a value follows.
const OWN_OPTIONS: [(&str, bool); 16] = [
    ("--env", true),
    ("-e", true),
    ("--config", true),
    ("-c", true),
    ("--name", true),
    ("--cwd", true),
    ("--env-file", true),
    ("--tag", true),
    ("--message", true),
    ("--outdir", true),
    ("--outfile", true),
    ("--strict", false),
    ("--autoconfig", false),
    ("--x-autoconfig", false),
    ("--yes", false),
    ("-y", false),
];

/// Programs, and commands of package managers, without which a deployment is the same. Of wrangler, `types`.
const NEUTRAL: [&str; 9] =
    ["rm", "rimraf", "del-cli", "mkdir", "echo", "ci", "install", "i", "wrangler"];

/// The commands that build a package.
#[derive(Clone, Debug)]
pub(crate) enum BuildCommands {
    /// Those of `xtask.build`.
    Setting,
    /// The script `build`, or none.
    Script,
    /// Commands of another script.
    Inference(Vec<String>),
}

/// The parts of the script `deploy` of a package that xtask does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeployScript {
    /// The name of the script.
    name: String,
    /// Commands before the upload.
    before: Vec<String>,
    /// Options of the upload, each with its value.
    options: Vec<String>,
    /// Commands after the upload.
    after: Vec<String>,
}

/// A message about a script `deploy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployScriptNote {
    /// The commands and options that xtask leaves out.
    pub message: String,
    /// The settings that make xtask use them. `None` if no setting does.
    pub settings: Option<String>,
}

impl DeployScript {
    /// Reads the script `deploy`, or the first script with that word in its name that uploads. `build` are the commands that
    /// xtask runs as the build. `None` if the script does nothing else.
    pub(crate) fn find(scripts: &Specs, build: &BuildCommands) -> Option<DeployScript> {
        if !may_upload(scripts) {
            return None;
        }
        let others = scripts.keys().filter(|name| name.contains("deploy") && *name != "deploy");
        let mut names = ["deploy"].into_iter().chain(others.map(String::as_str));
        let (name, all, upload) = names.find_map(|name| {
            let parts = [format!("pre{name}"), name.to_owned(), format!("post{name}")];
            let all: Vec<String> = parts.iter().flat_map(|name| steps(scripts, name)).collect();
            let upload =
                all.iter().position(|step| is_upload(step) && !step.contains("--dry-run"))?;
            Some((name, all, upload))
        })?;
        let own_build = steps(scripts, "build");
        let text = scripts.get("build").map_or("", String::as_str);
        let is_in_build = |step: &String| match build {
            BuildCommands::Setting => true,
            BuildCommands::Inference(commands) => commands.contains(step),
            BuildCommands::Script => own_build.contains(step) || runs_build(step, text),
        };
        let is_left_out = |step: &&String| {
            let is_local = is_local_wrangler(step);
            let is_neutral = !writes_output(step) || is_task_runner(step) || is_neutral(step);
            !is_upload(step) && (!is_local || !(is_neutral || is_in_build(step)))
        };
        let found = DeployScript {
            name: name.to_owned(),
            before: all[..upload].iter().filter(is_left_out).cloned().collect(),
            options: options(&all[upload]),
            after: all[upload + 1..].iter().filter(is_left_out).cloned().collect(),
        };
        let is_more = [&found.before, &found.options, &found.after];
        is_more.iter().any(|part| !part.is_empty()).then_some(found)
    }

    /// Returns the note on what `settings` do not make xtask do. `None` if nothing is left.
    #[must_use]
    pub fn note(&self, settings: &Settings) -> Option<DeployScriptNote> {
        let done: Vec<&str> =
            settings.before_deploy.steps().iter().map(|step| step.text.as_str()).collect();
        // The commands before the upload that are left out, and those of them that can be steps.
        let (mut before, mut steps): (Vec<&String>, Vec<String>) = (Vec::new(), Vec::new());
        for command in &self.before {
            match before_deploy_step(command) {
                // It changes a database of this machine.
                Some(step) if !step.is_remote => {}
                Some(step) if done.contains(&step.text.as_str()) => {}
                step => {
                    before.push(command);
                    steps.extend(step.map(|step| step.text));
                }
            }
        }
        let flags = settings.wrangler.all();
        let options: Vec<&String> =
            self.options.iter().filter(|option| !flags.contains(option)).collect();
        let listed = |commands: &[&String]| {
            let quoted: Vec<String> = commands.iter().map(|text| format!("`{text}`")).collect();
            quoted.join(", ")
        };
        let after: Vec<&String> = self.after.iter().collect();
        let parts = [
            ("runs", before.as_slice(), " before the upload"),
            ("passes", &options, " to wrangler"),
            ("runs", &after, " after the upload"),
        ];
        let parts = parts.iter().filter(|(_, commands, _)| !commands.is_empty());
        let parts: Vec<String> = parts
            .map(|(verb, commands, end)| format!("{verb} {}{end}", listed(commands)))
            .collect();
        if parts.is_empty() {
            return None;
        }
        let mut fields = Map::new();
        if !steps.is_empty() {
            let all = done.iter().map(|&step| step.to_owned()).chain(steps);
            fields.insert("beforeDeploy".to_owned(), all.collect());
        }
        let accepted = options.iter().filter(|option| is_setting::<WranglerFlags>(option));
        let accepted: Vec<String> = accepted.map(|&option| option.clone()).collect();
        if !accepted.is_empty() {
            let all = flags.iter().cloned().chain(accepted);
            fields.insert("wrangler".to_owned(), all.collect());
        }
        let settings = (!fields.is_empty()).then(|| format!("\"xtask\": {}", Value::from(fields)));
        let message = format!("the script `{}` {}", self.name, parts.join(", "));
        Some(DeployScriptNote { message: format!("{message}; xtask does not"), settings })
    }
}

fn is_neutral(command: &str) -> bool {
    program(command).is_none_or(|program| NEUTRAL.contains(&program))
}

/// Returns true if a setting accepts `text` as its only value.
fn is_setting<S: serde::de::DeserializeOwned>(text: &str) -> bool {
    serde_json::from_value::<S>(json!([text])).is_ok()
}

/// A command of wrangler as a step of `xtask.beforeDeploy`.
struct BeforeDeployStep {
    text: String,
    /// `true` if the command changes data at Cloudflare.
    is_remote: bool,
}

/// Returns the step for a command of wrangler. `None` if it cannot be one.
fn before_deploy_step(command: &str) -> Option<BeforeDeployStep> {
    let words = arguments(command, &["wrangler"])?;
    let mut words = words_without(&words, &OWN_OPTIONS);
    let is_remote = words.contains(&"--remote");
    words.retain(|word| *word != "--local");
    if !is_remote {
        words.push("--remote");
    }
    let text = format!("wrangler {}", words.join(" "));
    is_setting::<BeforeDeploy>(&text).then_some(BeforeDeployStep { text, is_remote })
}

/// Returns the options of an upload, each with its value, without those that xtask sets itself.
fn options(upload: &str) -> Vec<String> {
    let words: Vec<&str> = upload.split_whitespace().collect();
    let verb = words.iter().position(|word| ["deploy", "publish", "upload"].contains(word));
    let words = words_without(&words[verb.map_or(words.len(), |at| at + 1)..], &OWN_OPTIONS);
    let mut found: Vec<String> = Vec::new();
    for word in words {
        match found.last_mut() {
            _ if word.starts_with('-') && word != "--" => found.push(word.to_owned()),
            // A value of the option before it. A file without an option is the Worker's code.
            Some(option) if !option.contains('=') => *option = format!("{option}={word}"),
            _ => {}
        }
    }
    found
}

/// Returns `words` without these options and their values.
fn words_without<'w>(words: &[&'w str], options: &[(&str, bool)]) -> Vec<&'w str> {
    let mut kept = Vec::new();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let (name, value) =
            word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match options.iter().find(|(option, _)| *option == name) {
            None => kept.push(word),
            Some((_, has_value)) if *has_value && value.is_none() => drop(words.next()),
            Some(_) => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scripts: &[(&str, &str)], build: &[&str], settings: &str, expected: &[&str]) {
        let specs = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let build = match build {
            [] => BuildCommands::Script,
            steps => BuildCommands::Inference(steps.iter().map(|&step| step.to_owned()).collect()),
        };
        let settings: Settings = serde_json::from_str(settings).expect("settings");
        let script = DeployScript::find(&specs.collect(), &build);
        let note = script.and_then(|script| script.note(&settings));
        let note = note.map(|note| [Some(note.message), note.settings]);
        let note: Vec<String> = note.into_iter().flatten().flatten().collect();
        assert_eq!(note, expected, "{scripts:?}");
    }

    #[test]
    fn what_a_deploy_script_does_in_addition_is_found() {
        let migrate = "wrangler d1 migrations apply DB --remote";
        check(
            &[("deploy", &format!("{migrate} && wrangler deploy --keep-vars --minify"))],
            &[],
            "{}",
            &[
                "the script `deploy` runs `wrangler d1 migrations apply DB --remote` before the upload, passes `--keep-vars`, `--minify` to wrangler; xtask does not",
                r#""xtask": {"beforeDeploy":["wrangler d1 migrations apply DB --remote"],"wrangler":["--keep-vars","--minify"]}"#,
            ],
        );
        // Settings have it.
        check(
            &[(
                "deploy",
                &format!(
                    "{migrate} --env production && wrangler deploy --env production --keep-vars"
                ),
            )],
            &[],
            r#"{ "beforeDeploy": "wrangler d1 migrations apply DB --remote", "wrangler": "--keep-vars" }"#,
            &[],
        );
        // One more step than the settings have, and a script that runs another.
        check(
            &[
                (
                    "deploy:production",
                    "npm run migrate && npx wrangler deploy --var REL:1 --define A:1",
                ),
                ("migrate", migrate),
                ("postdeploy:production", "node notify.js"),
            ],
            &[],
            r#"{ "beforeDeploy": "wrangler d1 execute DB --remote --file=a.sql" }"#,
            &[
                "the script `deploy:production` runs `wrangler d1 migrations apply DB --remote` before the upload, passes `--var=REL:1`, `--define=A:1` to wrangler, runs `node notify.js` after the upload; xtask does not",
                r#""xtask": {"beforeDeploy":["wrangler d1 execute DB --remote --file=a.sql","wrangler d1 migrations apply DB --remote"],"wrangler":["--define=A:1"]}"#,
            ],
        );
        // Code that is generated before the script `build`.
        check(
            &[
                ("build", "vite build"),
                ("deploy", "node codegen.js && npm run build && npm test && wrangler deploy"),
            ],
            &[],
            "{}",
            &["the script `deploy` runs `node codegen.js` before the upload; xtask does not"],
        );
    }

    #[test]
    fn a_plain_deploy_script_has_no_note() {
        for (scripts, build) in [
            (&[("deploy", "wrangler deploy")][..], &[][..]),
            (&[("deploy", "wrangler deploy src/index.ts --env staging -c wrangler.toml")], &[]),
            (&[("deploy", "vite build && wrangler deploy")], &["vite build"]),
            (
                &[("build", "tsc && vite build"), ("deploy", "npm run build && wrangler deploy")],
                &[],
            ),
            (&[("build", "vite build"), ("deploy", "vite build && wrangler deploy")], &[]),
            (
                &[
                    ("build", "vite build"),
                    ("deploy", "npm run lint && turbo run build && wrangler deploy"),
                ],
                &[],
            ),
            // Databases of this machine.
            (&[("deploy", "wrangler d1 migrations apply DB --local && wrangler deploy")], &[]),
            (&[("deploy", "wrangler d1 migrations apply DB && wrangler deploy")], &[]),
            (&[("deploy", "wrangler types && wrangler deploy")], &[]),
            (&[("deploy", "wrangler deploy && wrangler deploy --env production")], &[]),
            (&[("deploy", "gh-pages -d dist")], &[]),
            (&[("deploy", "npm ci && rm -rf dist && wrangler deploy")], &[]),
            (&[("deploy:dry", "node a.js && wrangler deploy --dry-run")], &[]),
        ] {
            check(scripts, build, "{}", &[]);
        }
    }
}
