//! Finds what the script `deploy` of a package does in addition to a build and an upload. xtask does not run that script.

use serde_json::{Map, Value, json};

use crate::packages::build_script::{
    VaryingVariable, arguments, is_local_wrangler, is_task_runner, is_upload, may_upload, program,
    runs_build, steps, variables_by_environment, writes_output,
};
use crate::packages::manifest::Specs;
use crate::packages::shell_words::{unquote, words};
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
    /// Variables that scripts set for the builds of different environments.
    varying: Vec<VaryingVariable>,
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
    /// Reads what the scripts of a package do in addition to `build`, the commands that xtask runs as the build, and the
    /// upload. `None` if they do nothing else.
    pub(crate) fn find(scripts: &Specs, build: &BuildCommands) -> Option<DeployScript> {
        if !may_upload(scripts) {
            return None;
        }
        let varying = match build {
            BuildCommands::Inference(_) => variables_by_environment(scripts),
            BuildCommands::Setting | BuildCommands::Script => Vec::new(),
        };
        let found = DeployScript {
            varying,
            ..DeployScript::find_upload(scripts, build).unwrap_or_default()
        };
        (found != DeployScript::default()).then_some(found)
    }

    /// Reads the script `deploy`, or the first script with that word in its name that uploads. `None` if the script does
    /// nothing else.
    fn find_upload(scripts: &Specs, build: &BuildCommands) -> Option<DeployScript> {
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
            varying: Vec::new(),
        };
        let is_more = [&found.before, &found.options, &found.after];
        is_more.iter().any(|part| !part.is_empty()).then_some(found)
    }

    /// Returns the note on what `settings` and wrangler's `config` do not make xtask do. `None` if nothing is left.
    #[must_use]
    pub fn note(&self, settings: &Settings, config: &Value) -> Option<DeployScriptNote> {
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
        let is_set = |option: &String| is_flag(option, flags) || is_in_config(option, config);
        let options: Vec<&String> = self.options.iter().filter(|option| !is_set(option)).collect();
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
        let varying = self.varying.iter().map(|one| {
            let (variable, [first, second]) = (&one.variable, &one.scripts);
            format!(
                "the scripts `{first}` and `{second}` set `{variable}` to different values, and xtask sets it for no build; \
                 `xtask.build` can set it, from `CLOUDFLARE_ENV`, which xtask sets to the name of the `env` block"
            )
        });
        let varying: Vec<String> = varying.collect();
        if parts.is_empty() {
            let message = varying.join("; ");
            return (!varying.is_empty()).then_some(DeployScriptNote { message, settings: None });
        }
        let mut fields = Map::new();
        if !steps.is_empty() {
            let all = done.iter().map(|&step| step.to_owned()).chain(steps);
            fields.insert("beforeDeploy".to_owned(), all.collect());
        }
        // A setting is not a line for a shell, which would replace variables.
        let is_literal = |option: &&&String| !option.contains(['$', '`']);
        let accepted = options.iter().filter(is_literal);
        let accepted = accepted.filter(|option| is_setting::<WranglerFlags>(option));
        let accepted: Vec<String> = accepted.map(|&option| option.clone()).collect();
        if !accepted.is_empty() {
            let all = flags.iter().cloned().chain(accepted);
            fields.insert("wrangler".to_owned(), all.collect());
        }
        let settings = (!fields.is_empty()).then(|| format!("\"xtask\": {}", Value::from(fields)));
        let deploy = format!("the script `{}` {}; xtask does not", self.name, parts.join(", "));
        let message = std::iter::once(deploy).chain(varying).collect::<Vec<_>>().join("; ");
        Some(DeployScriptNote { message, settings })
    }
}

fn is_neutral(command: &str) -> bool {
    program(command).is_none_or(|program| NEUTRAL.contains(&program))
}

/// Returns true if `flags` have an option, with its value in the same flag or in the next one.
fn is_flag(option: &str, flags: &[String]) -> bool {
    let pairs = flags.windows(2).map(|pair| pair.join("="));
    flags.iter().any(|flag| flag == option) || pairs.into_iter().any(|pair| pair == option)
}

/// Returns true if the top level of wrangler's config sets the same as an option: `--keep-vars` is `keep_vars`.
fn is_in_config(option: &str, config: &Value) -> bool {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let field = match name {
        "--assets" => &config["assets"]["directory"],
        name => &config[name.trim_start_matches('-').replace('-', "_")],
    };
    match (field, value) {
        (Value::Bool(set), None) => *set,
        (Value::Bool(set), Some(value)) => set.to_string() == value,
        (Value::String(set), Some(value)) => set == value,
        (Value::Array(set), Some(value)) => set.iter().any(|one| one == value),
        _ => false,
    }
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
    let words = words(upload);
    let verb = words.iter().position(|word| ["deploy", "publish", "upload"].contains(word));
    let words = words_without(&words[verb.map_or(words.len(), |at| at + 1)..], &OWN_OPTIONS);
    let mut found: Vec<String> = Vec::new();
    for word in words {
        let word = unquote(word).unwrap_or_else(|| word.to_owned());
        match found.last_mut() {
            _ if word.starts_with('-') && word != "--" => found.push(word),
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
        check_with(scripts, build, settings, "{}", expected);
    }

    #[track_caller]
    fn check_with(
        scripts: &[(&str, &str)],
        build: &[&str],
        settings: &str,
        config: &str,
        expected: &[&str],
    ) {
        let specs = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let build = match build {
            [] => BuildCommands::Script,
            steps => BuildCommands::Inference(steps.iter().map(|&step| step.to_owned()).collect()),
        };
        let settings: Settings = serde_json::from_str(settings).expect("settings");
        let script = DeployScript::find(&specs.collect(), &build);
        let config = serde_json::from_str(config).expect("a config");
        let note = script.and_then(|script| script.note(&settings, &config));
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
    fn variables_of_environments_are_named() {
        let note = "the scripts `cf:production` and `cf:staging` set `DEPLOY_ENV` to different values, and xtask sets it for no build; `xtask.build` can set it, from `CLOUDFLARE_ENV`, which xtask sets to the name of the `env` block";
        let scripts = [
            ("build", "next build"),
            ("cf:staging", "DEPLOY_ENV=staging opennextjs-cloudflare build"),
            ("cf:production", "DEPLOY_ENV=production opennextjs-cloudflare build"),
        ];
        check(&scripts, &["opennextjs-cloudflare build"], "{}", &[note]);
        check(&scripts, &[], "{}", &[]);
    }

    #[test]
    fn options_with_spaces_are_one_flag() {
        let deploy = r#"wrangler deploy --define "DEV: false" --message 'a b' --var "A:$B""#;
        check(
            &[("deploy", deploy)],
            &[],
            "{}",
            &[
                "the script `deploy` passes `--define=DEV: false`, `--var=A:$B` to wrangler; xtask does not",
                r#""xtask": {"wrangler":["--define=DEV: false"]}"#,
            ],
        );
        let left = "the script `deploy` passes `--var=A:$B` to wrangler; xtask does not";
        check(&[("deploy", deploy)], &[], r#"{ "wrangler": ["--define=DEV: false"] }"#, &[left]);
    }

    #[test]
    fn options_that_the_config_sets_have_no_note() {
        let deploy = "wrangler deploy --minify --keep-vars --assets ./dist --compatibility-date 2025-01-31 --compatibility-flags nodejs_compat";
        let config = r#"{
            "minify": true, "keep_vars": true, "assets": { "directory": "./dist" },
            "compatibility_date": "2025-01-31", "compatibility_flags": ["nodejs_compat"]
        }"#;
        check_with(&[("deploy", deploy)], &[], "{}", config, &[]);
        let note = "the script `deploy` passes `--minify` to wrangler; xtask does not";
        let setting = r#""xtask": {"wrangler":["--minify"]}"#;
        check_with(
            &[("deploy", "wrangler deploy --minify")],
            &[],
            "{}",
            r#"{ "minify": false }"#,
            &[note, setting],
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
