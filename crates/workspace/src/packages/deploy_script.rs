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

/// Options of an upload without a value, by `wrangler deploy --help` and `wrangler versions upload --help`, with those of earlier
/// versions. A word after one of them is the Worker's code.
const SWITCHES: [&str; 12] = [
    "--bundle",
    "--dry-run",
    "--keep-vars",
    "--latest",
    "--legacy-env",
    "--logpush",
    "--minify",
    "--no-bundle",
    "--node-compat",
    "--experimental-route-zones",
    "--strict",
    "--upload-source-maps",
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
    /// Commands before the upload, without those that change a database of this machine.
    before: Vec<CommandBefore>,
    /// Options of the upload, each with its value.
    options: Vec<String>,
    /// Commands after the upload.
    after: Vec<String>,
    /// Variables that scripts set for the builds of different environments.
    varying: Vec<VaryingVariable>,
}

/// A command before the upload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandBefore {
    text: String,
    /// The step of `xtask.beforeDeploy` that does the same. `None` if the command cannot be one.
    step: Option<String>,
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
        let upload = DeployScript::find_upload(scripts, build).unwrap_or_default();
        let found = DeployScript { varying, ..upload };
        (!found.is_empty()).then_some(found)
    }

    /// Reads the script `deploy`, or the first script with that word in its name that uploads. `None` if there is none.
    fn find_upload(scripts: &Specs, build: &BuildCommands) -> Option<DeployScript> {
        let UploadScript { name, before, upload, after } = UploadScript::find(scripts)?;
        let is_left_out = |command: &String| is_left_out(command, scripts, build);
        let before = before.into_iter().filter(is_left_out);
        Some(DeployScript {
            name: name.to_owned(),
            before: before.filter_map(CommandBefore::parse).collect(),
            options: arguments_of(&upload).options,
            after: after.into_iter().filter(is_left_out).collect(),
            varying: Vec::new(),
        })
    }

    fn is_empty(&self) -> bool {
        self.is_plain_upload() && self.varying.is_empty()
    }

    fn is_plain_upload(&self) -> bool {
        self.before.is_empty() && self.options.is_empty() && self.after.is_empty()
    }

    /// Returns the note on what `settings` and wrangler's `config` do not make xtask do. `None` if nothing is left.
    #[must_use]
    pub fn note(&self, settings: &Settings, config: &Value) -> Option<DeployScriptNote> {
        let rest = self.without(settings, config);
        let note =
            || DeployScriptNote { message: rest.message(), settings: rest.missing(settings) };
        (!rest.is_empty()).then(note)
    }

    /// Returns the parts that `settings` and wrangler's `config` do not have.
    fn without(&self, settings: &Settings, config: &Value) -> DeployScript {
        let mut rest = self.clone();
        let steps = settings.before_deploy.steps();
        rest.before.retain(|command| {
            command.step.as_ref().is_none_or(|own| steps.iter().all(|step| step.text != *own))
        });
        let flags = settings.wrangler.all();
        rest.options.retain(|option| !is_flag(option, flags) && !is_in_config(option, config));
        rest
    }

    fn message(&self) -> String {
        let before = self.before.iter().map(|command| &command.text);
        let parts = [
            ("runs", list_commands(before), "before the upload"),
            ("passes", list_commands(&self.options), "to wrangler"),
            ("runs", list_commands(&self.after), "after the upload"),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, commands, _)| !commands.is_empty())
            .map(|(verb, commands, end)| format!("{verb} {commands} {end}"))
            .collect();
        let upload = (!self.is_plain_upload())
            .then(|| format!("the script `{}` {}; xtask does not", self.name, parts.join(", ")));
        let varying = self.varying.iter().map(|one| {
            let (variable, [first, second]) = (&one.variable, &one.scripts);
            format!(
                "the scripts `{first}` and `{second}` set `{variable}` to different values, and xtask sets it for no build; \
                 `xtask.build` can set it, from `CLOUDFLARE_ENV`, which xtask sets to the name of the `env` block"
            )
        });
        upload.into_iter().chain(varying).collect::<Vec<_>>().join("; ")
    }

    /// Returns `settings` with the parts that they can have. `None` if they can have none.
    fn missing(&self, settings: &Settings) -> Option<String> {
        let mut fields = Map::new();
        let steps: Vec<&String> = self.before.iter().filter_map(|it| it.step.as_ref()).collect();
        if !steps.is_empty() {
            let set = settings.before_deploy.steps().iter().map(|step| &step.text);
            fields.insert("beforeDeploy".to_owned(), set.chain(steps).cloned().collect());
        }
        // A setting is not a line for a shell, which would replace variables.
        let is_literal = |option: &&String| !option.contains(['$', '`']);
        let flags = self.options.iter().filter(is_literal);
        let flags: Vec<&String> =
            flags.filter(|option| is_setting::<WranglerFlags>(option)).collect();
        if !flags.is_empty() {
            let set = settings.wrangler.all().iter();
            fields.insert("wrangler".to_owned(), set.chain(flags).cloned().collect());
        }
        (!fields.is_empty()).then(|| format!("\"xtask\": {}", Value::from(fields)))
    }
}

/// The commands of a script that uploads, in their order.
struct UploadScript<'s> {
    name: &'s str,
    before: Vec<String>,
    upload: String,
    after: Vec<String>,
}

impl UploadScript<'_> {
    /// Returns the script `deploy`, or the first script with that word in its name, if it uploads.
    fn find(scripts: &Specs) -> Option<UploadScript<'_>> {
        let others = scripts.keys().filter(|name| name.contains("deploy") && *name != "deploy");
        let mut names = ["deploy"].into_iter().chain(others.map(String::as_str));
        names.find_map(|name| UploadScript::read(scripts, name))
    }

    /// Reads the script `name`, and the two that package managers run around it. `None` if it does not upload.
    fn read<'s>(scripts: &Specs, name: &'s str) -> Option<UploadScript<'s>> {
        let parts = [format!("pre{name}"), name.to_owned(), format!("post{name}")];
        let mut before: Vec<String> = parts.iter().flat_map(|name| steps(scripts, name)).collect();
        let uploads = |command: &String| is_upload(command) && !command.contains("--dry-run");
        let at = before.iter().position(uploads)?;
        let after = before.split_off(at + 1);
        let upload = before.pop()?;
        Some(UploadScript { name, before, upload, after })
    }
}

/// Returns true if a deployment of xtask does not do what `command` does.
fn is_left_out(command: &String, scripts: &Specs, build: &BuildCommands) -> bool {
    if is_upload(command) {
        return false;
    }
    let is_in_build = || match build {
        BuildCommands::Setting => true,
        BuildCommands::Inference(commands) => commands.contains(command),
        BuildCommands::Script => {
            let text = scripts.get("build").map_or("", String::as_str);
            steps(scripts, "build").contains(command) || runs_build(command, text)
        }
    };
    let is_neutral = !writes_output(command) || is_task_runner(command) || is_neutral(command);
    !is_local_wrangler(command) || !(is_neutral || is_in_build())
}

/// Returns the commands in backticks.
fn list_commands<'s>(commands: impl IntoIterator<Item = &'s String>) -> String {
    commands.into_iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
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

impl CommandBefore {
    /// Parses a command. `None` if it changes a database of this machine.
    fn parse(text: String) -> Option<CommandBefore> {
        let Some(words) = arguments(&text, &["wrangler"]) else {
            return Some(CommandBefore { text, step: None });
        };
        let mut words = words_without(&words, &OWN_OPTIONS);
        let is_remote = words.contains(&"--remote");
        words.retain(|word| *word != "--local");
        if !is_remote {
            words.push("--remote");
        }
        let step = format!("wrangler {}", words.join(" "));
        let step = is_setting::<BeforeDeploy>(&step).then_some(step);
        (is_remote || step.is_none()).then_some(CommandBefore { text, step })
    }
}

/// The arguments of an upload, without the options that xtask sets itself.
struct UploadArguments {
    /// The options, each with its value.
    options: Vec<String>,
    /// The file with the Worker's code, which replaces `main` of the config.
    code: Option<String>,
}

/// Returns the file with the Worker's code that the script `deploy` gives to wrangler. `None` if it gives none.
pub(crate) fn code_of_deploy_script(scripts: &Specs) -> Option<String> {
    arguments_of(&UploadScript::find(scripts)?.upload).code
}

fn arguments_of(upload: &str) -> UploadArguments {
    let words = words(upload);
    let verb = words.iter().position(|word| ["deploy", "publish", "upload"].contains(word));
    let words = words_without(&words[verb.map_or(words.len(), |at| at + 1)..], &OWN_OPTIONS);
    let (mut options, mut code): (Vec<String>, Option<String>) = (Vec::new(), None);
    for word in words {
        let word = unquote(word).unwrap_or_else(|| word.to_owned());
        match options.last_mut() {
            _ if word == "--" => {}
            _ if word.starts_with('-') => options.push(word),
            // The value of the option before it.
            Some(option) if !option.contains('=') && !SWITCHES.contains(&option.as_str()) => {
                *option = format!("{option}={word}");
            }
            _ => code = Some(word),
        }
    }
    UploadArguments { options, code }
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
        let with_code = "wrangler deploy --minify src/index.ts --assets ./dist";
        check_with(&[("deploy", with_code)], &[], "{}", config, &[]);
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
    fn code_that_a_script_gives_to_wrangler() {
        for (deploy, expected) in [
            ("wrangler deploy", None),
            ("wrangler deploy src/index.ts --minify", Some("src/index.ts")),
            ("wrangler deploy --minify './src/a b.ts'", Some("./src/a b.ts")),
            ("wrangler deploy --env staging -c wrangler.toml src/index.ts", Some("src/index.ts")),
            ("wrangler deploy --assets dist", None),
            ("vite build && wrangler deploy -- dist/worker.js", Some("dist/worker.js")),
        ] {
            let scripts = Specs::from([("deploy".to_owned(), deploy.to_owned())]);
            assert_eq!(code_of_deploy_script(&scripts).as_deref(), expected, "{deploy}");
        }
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
