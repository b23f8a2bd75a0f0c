//! Finds the build of a package in its scripts: the commands before an upload, and the build of an adapter.

use crate::packages::manifest::Specs;
use crate::packages::shell_words::words;

/// Words before the name of a program that a package brings.
const LAUNCHERS: [&str; 11] =
    ["npx", "bunx", "pnpx", "npm", "pnpm", "yarn", "bun", EXECPATH, "exec", "dlx", "--bun"];

/// Managers that run a script by its name.
const MANAGERS: [&str; 5] = ["npm", "pnpm", "yarn", "bun", EXECPATH];

/// The manager that runs the script, as templates write it that fit every manager.
const EXECPATH: &str = "$npm_execpath";

/// The programs of the adapter of Next.js.
const OPEN_NEXT: [&str; 2] = ["opennextjs-cloudflare", "@opennextjs/cloudflare"];

/// The strings that identify a script: each command that uploads, or builds with the adapter of Next.js, contains
/// one of them.
const UPLOADERS: [&str; 3] = ["wrangler", OPEN_NEXT[0], OPEN_NEXT[1]];

/// Programs that run the scripts of packages in order. xtask does this itself.
const TASK_RUNNERS: [&str; 5] = ["turbo", "nx", "lerna", "lage", "moon"];

/// Programs and names of scripts that check the code and write no output.
const CHECKS: [&str; 12] = [
    "test",
    "lint",
    "check",
    "typecheck",
    "type-check",
    "format",
    "eslint",
    "prettier",
    "biome",
    "vitest",
    "jest",
    "playwright",
];

/// The command that builds a project of Next.js for Workers.
pub const OPEN_NEXT_BUILD: &str = "opennextjs-cloudflare build";

/// The folder that it writes.
pub const OPEN_NEXT_OUTPUT: &str = ".open-next";

/// The variable that chooses the environment of a build. xtask sets it to the one that it deploys to.
const ENVIRONMENT: &str = "CLOUDFLARE_ENV=";

/// The program that sets variables on every system.
const CROSS_ENV: &str = "cross-env";

/// The maximum number of scripts that are replaced by their commands, because scripts may call each other many times.
const SCRIPTS: usize = 100;

/// Returns the commands that build a package if its script `build` does not: those of the script `deploy` before the
/// upload, or the build of an adapter that another script runs. `None` if the script `build` is the build, or if there is
/// none.
pub(crate) fn find_build(scripts: &Specs) -> Option<String> {
    if !may_upload(scripts) {
        return None;
    }
    let before = before_upload(scripts, "deploy");
    let is_in_build = runs_open_next(scripts);
    if !before.is_empty() && !is_in_build {
        let joined = before.join(" && ");
        if !scripts.contains_key("build") {
            return Some(joined);
        }
        let is_adapter = before.iter().any(|step| is_open_next(step, &["build"]));
        let runs_build = steps(scripts, "build").iter().all(|step| before.contains(step))
            || before.iter().any(|step| script_name(step) == Some("build") || is_task_runner(step));
        if is_adapter || (!runs_build && joined.contains("build")) {
            return Some(joined);
        }
    }
    if is_in_build { None } else { open_next_build(scripts) }
}

/// Returns true if a script may upload. A quick test, because most packages upload nothing, and `affected` reads all of
/// them.
pub(super) fn may_upload(scripts: &Specs) -> bool {
    scripts.values().any(|text| UPLOADERS.iter().any(|name| text.contains(name)))
}

/// Returns true if the script `build`, or a script that it runs, runs the adapter of Next.js.
fn runs_open_next(scripts: &Specs) -> bool {
    steps(scripts, "build").iter().any(|step| is_open_next(step, &["build"]))
}

/// Returns true if the script `build` may leave out the adapter of Next.js: it runs `next build`, or there is none.
pub(crate) fn needs_open_next(scripts: &Specs) -> bool {
    let steps = steps(scripts, "build");
    let is_next = |step: &String| step.contains("next build");
    !steps.iter().any(|step| is_open_next(step, &["build"]))
        && (steps.is_empty() || steps.iter().any(is_next))
}

/// Returns the commands of the script `name` before its upload, without checks and without commands that change Cloudflare.
/// Empty if it does not upload.
fn before_upload(scripts: &Specs, name: &str) -> Vec<String> {
    let mut all = steps(scripts, &format!("pre{name}"));
    all.extend(steps(scripts, name));
    let Some(upload) = all.iter().position(|step| is_upload(step)) else { return Vec::new() };
    all.truncate(upload);
    all.retain(|step| writes_output(step));
    all
}

/// Returns the commands of the first script that runs the build of OpenNext, without the variables that scripts set for
/// different environments.
fn open_next_build(scripts: &Specs) -> Option<String> {
    let (_, first) = open_next_builds(scripts).into_iter().next()?;
    let varying = variables_by_environment(scripts);
    let is_varying = |word: &str| varying.iter().any(|one| is_assignment_of(word, &one.variable));
    let steps = first.iter().map(|step| without_variables(step, is_varying));
    Some(steps.collect::<Vec<_>>().join(" && "))
}

/// Returns each script that runs the build of OpenNext with its commands, up to the upload or the preview. A command after
/// the build may change its output.
fn open_next_builds(scripts: &Specs) -> Vec<(&str, Vec<String>)> {
    let (deploys, others): (Vec<&str>, Vec<&str>) =
        scripts.keys().map(String::as_str).partition(|name| name.contains("deploy"));
    let build = |name| {
        let mut all = steps(scripts, name);
        let build = all.iter().position(|step| is_open_next(step, &["build"]))?;
        let after = all.iter().skip(build + 1);
        let kept = after.take_while(|step| !is_upload(step) && !is_server(step)).count();
        all.truncate(build + 1 + kept);
        all.retain(|step| writes_output(step));
        Some((name, all))
    };
    deploys.into_iter().chain(others).filter_map(build).collect()
}

/// A variable that two scripts set to different values for the same build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VaryingVariable {
    /// Its name.
    pub(super) variable: String,
    /// The scripts.
    pub(super) scripts: [String; 2],
}

/// Returns the variables that scripts set to different values for the same build, as `cf:build:staging` and
/// `cf:build:production` do.
pub(super) fn variables_by_environment(scripts: &Specs) -> Vec<VaryingVariable> {
    let builds = open_next_builds(scripts);
    let plain = |steps: &[String]| -> Vec<String> {
        steps.iter().map(|step| without_variables(step, |_| true)).collect()
    };
    let mut found: Vec<VaryingVariable> = Vec::new();
    let Some(((first_name, first), others)) = builds.split_first() else { return found };
    for (name, other) in others.iter().filter(|(_, other)| plain(other) == plain(first)) {
        for word in first.iter().flat_map(|step| assignments(step)) {
            let Some((variable, _)) = word.split_once('=') else { continue };
            let mut values = other.iter().flat_map(|step| assignments(step));
            let differs = values.any(|other| is_assignment_of(other, variable) && other != word);
            if differs && !found.iter().any(|one| one.variable == variable) {
                let scripts = [(*first_name).to_owned(), (*name).to_owned()];
                found.push(VaryingVariable { variable: variable.to_owned(), scripts });
            }
        }
    }
    found
}

fn is_assignment_of(word: &str, variable: &str) -> bool {
    word.strip_prefix(variable).is_some_and(|rest| rest.starts_with('='))
}

/// Returns the variables that a command sets before its program, each with its value.
fn assignments(command: &str) -> Vec<&str> {
    let words = words(command);
    let before = words.iter().take_while(is_before_program);
    before.copied().filter(|word| *word != CROSS_ENV).collect()
}

/// Returns the commands of a script between `&&`, for any environment. A script that it runs and that uploads, builds with
/// an adapter or chooses an environment, is replaced by its own commands.
pub(super) fn steps(scripts: &Specs, name: &str) -> Vec<String> {
    let steps = expand(scripts, name, &mut Vec::new(), &mut { SCRIPTS });
    steps.iter().map(|step| without_environment(step)).collect()
}

/// Returns a command without the variable that chooses its environment.
fn without_environment(command: &str) -> String {
    without_variables(command, |word| word.starts_with(ENVIRONMENT))
}

/// Returns a command without the assignments before its program for which `is_dropped` is true.
fn without_variables(command: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let words = words(command);
    let (before, rest) = words.split_at(words.iter().take_while(is_before_program).count());
    let mut kept: Vec<&str> = before.to_vec();
    kept.retain(|word| !is_dropped(word));
    if kept.len() == before.len() {
        return command.to_owned();
    }
    if kept == [CROSS_ENV] {
        kept.clear();
    }
    [&kept, rest].concat().join(" ")
}

fn is_before_program(word: &&&str) -> bool {
    word.contains('=') || **word == CROSS_ENV
}

/// Returns the commands of the script `name`. `path` has the scripts that run it.
fn expand<'s>(
    scripts: &'s Specs,
    name: &'s str,
    path: &mut Vec<&'s str>,
    left: &mut usize,
) -> Vec<String> {
    let Some(script) = scripts.get(name) else { return Vec::new() };
    path.push(name);
    let mut all = Vec::new();
    for command in script.split("&&").map(str::trim).filter(|command| !command.is_empty()) {
        let plain = without_environment(command);
        let other = script_name(&plain).and_then(|other| scripts.get_key_value(other));
        let inner = match other {
            Some((other, _)) if *left > 0 && !path.contains(&other.as_str()) => {
                *left -= 1;
                expand(scripts, other, path, left)
            }
            _ => Vec::new(),
        };
        let is_of_interest = |step: &String| {
            is_upload(step)
                || is_open_next(step, &["build"])
                || !is_local_wrangler(step)
                || step.contains(ENVIRONMENT)
        };
        if inner.iter().any(is_of_interest) {
            all.extend(inner);
        } else {
            all.push(command.to_owned());
        }
    }
    path.pop();
    all
}

/// Returns true if `command` runs the script `build`, whose text is `script`, or does the same. The script is not run a
/// second time before it.
pub(crate) fn runs_build(command: &str, script: &str) -> bool {
    let steps: Vec<&str> = command.split("&&").map(str::trim).collect();
    let is_build = |step: &&str| *step == script.trim() || script_name(step) == Some("build");
    command.trim() == script.trim()
        || (steps.iter().any(is_build) && !steps.iter().any(|step| step.starts_with("cd ")))
}

/// Returns the name of the script that a command runs: `build` of `npm run build`. `None` if it does more than that.
pub(super) fn script_name(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace();
    let manager = words.next().filter(|word| MANAGERS.contains(word))?;
    let mut words = words.skip_while(|word| ["-s", "--silent"].contains(word)).peekable();
    let has_run = words.next_if(|word| ["run", "run-script"].contains(word)).is_some();
    // `npm build` and `bun build` are their own commands.
    let is_enough = has_run || ["pnpm", "yarn"].contains(&manager);
    let name = words.next().filter(|_| is_enough)?;
    (words.next().is_none() && !LAUNCHERS.contains(&name)).then_some(name)
}

/// Returns the words after the program `programs` in a command. `None` if it runs none of them.
pub(super) fn arguments<'c>(command: &'c str, programs: &[&str]) -> Option<Vec<&'c str>> {
    let words = words(command);
    let is_program = |word: &&str| {
        let name = match word.char_indices().skip(1).find(|(_, c)| *c == '@') {
            Some((at, _)) => &word[..at],
            None => word,
        };
        programs.contains(&name)
    };
    let at = words.iter().position(is_program)?;
    Some(words[at + 1..].to_vec())
}

fn is_open_next(command: &str, verbs: &[&str]) -> bool {
    arguments(command, &OPEN_NEXT)
        .is_some_and(|words| words.first().is_some_and(|word| verbs.contains(word)))
}

/// Returns true for a command that uploads a Worker.
pub(super) fn is_upload(command: &str) -> bool {
    let is_wrangler = arguments(command, &["wrangler"]).is_some_and(|words| {
        matches!(words.as_slice(), ["deploy" | "publish", ..] | ["versions", "upload", ..])
    });
    is_wrangler || is_open_next(command, &["deploy", "upload"])
}

/// Returns true for a command that serves the output and does not end.
fn is_server(command: &str) -> bool {
    is_open_next(command, &["preview"])
        || arguments(command, &["wrangler"]).is_some_and(|words| words.first() == Some(&"dev"))
}

/// Returns true for a command that does not run wrangler, or runs a command of wrangler that needs no account.
pub(super) fn is_local_wrangler(command: &str) -> bool {
    arguments(command, &["wrangler"]).is_none_or(|words| words.first() == Some(&"types"))
}

pub(super) fn is_task_runner(command: &str) -> bool {
    program(command).is_some_and(|program| TASK_RUNNERS.contains(&program))
}

/// Returns the program of a command, without its launcher.
pub(super) fn program(command: &str) -> Option<&str> {
    let is_launcher =
        |word: &&str| LAUNCHERS.contains(word) || ["run", "run-script"].contains(word);
    command.split_whitespace().find(|word| !is_launcher(word))
}

/// Returns true unless a command only checks the code, or changes Cloudflare.
pub(super) fn writes_output(command: &str) -> bool {
    let name = program(command).unwrap_or_default();
    let is_check = CHECKS.contains(&name.split(':').next().unwrap_or(name));
    is_local_wrangler(command) && !is_check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scripts: &[(&str, &str)], expected: Option<&str>) {
        let specs = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        assert_eq!(find_build(&specs.collect()).as_deref(), expected, "{scripts:?}");
    }

    #[test]
    fn a_command_that_runs_the_script_build_is_found() {
        for (command, expected) in [
            ("npm run build", true),
            ("npm run build --silent", false),
            ("npm -s run build", true),
            ("pnpm build", true),
            ("yarn run build", true),
            ("bun run build", true),
            ("bun build", false),
            ("npm ci && npm run build", true),
            ("worker-build --release", true),
            ("cargo install worker-build && worker-build --release", true),
            ("cd ../web && npm run build", false),
            ("npm run build:worker", false),
            ("npm --prefix ../web run build", false),
            ("node build.mjs", false),
        ] {
            assert_eq!(runs_build(command, "worker-build --release"), expected, "{command}");
        }
        assert!(runs_build("tsc && vite build", "tsc && vite build"));
    }

    #[test]
    fn a_build_in_the_script_deploy_is_found() {
        for (script, expected) in [
            ("vite build && wrangler deploy", Some("vite build")),
            (
                "cd web && astro build && npx wrangler deploy --minify",
                Some("cd web && astro build"),
            ),
            ("pnpm run build:site && pnpm exec wrangler deploy", Some("pnpm run build:site")),
            ("vite build && wrangler@4 versions upload", Some("vite build")),
            ("vite build && wrangler deploy && node notify.js", Some("vite build")),
            ("npm run lint && npm test && vite build && wrangler deploy", Some("vite build")),
            (
                "wrangler types && vite build && wrangler deploy",
                Some("wrangler types && vite build"),
            ),
            (
                "wrangler d1 migrations apply DB --remote && vite build && wrangler deploy",
                Some("vite build"),
            ),
            ("wrangler deploy", None),
            ("wrangler d1 migrations apply DB --remote && wrangler deploy", None),
            ("vite build && wrangler pages deploy dist", None),
            ("wrangler deploy && node setup.js", None),
        ] {
            check(&[("deploy", script)], expected);
        }
        check(&[("predeploy", "vite build"), ("deploy", "wrangler deploy")], Some("vite build"));
        check(
            &[
                ("deploy", "npm run web && npm run up"),
                ("web", "vite build"),
                ("up", "wrangler deploy"),
            ],
            Some("npm run web"),
        );
    }

    #[test]
    fn the_script_build_is_the_build_unless_deploy_builds_otherwise() {
        let nitro = "NITRO_PRESET=cloudflare_module nuxt build";
        for (build, deploy, expected) in [
            ("vite build", "npm run build && wrangler deploy", None),
            ("vite build", "yarn build && wrangler deploy", None),
            ("vite build", "$npm_execpath run build && wrangler deploy", None),
            ("vite build", "vite build && wrangler deploy", None),
            ("vite build", "node check-env.js && npm run build && wrangler deploy", None),
            ("vite build", "turbo run build && wrangler deploy", None),
            ("vite build", "node check-env.js && wrangler deploy", None),
            ("tsc", "vite build && wrangler deploy", Some("vite build")),
            ("nuxt build", &format!("{nitro} && wrangler deploy"), Some(nitro)),
            ("vite build", "npm run deploy", None),
        ] {
            check(&[("build", build), ("deploy", deploy)], expected);
        }
    }

    #[test]
    fn the_environment_of_a_build_is_left_to_xtask() {
        let site = "CLOUDFLARE_ENV=production vite build";
        check(&[("deploy", &format!("{site} && wrangler deploy"))], Some("vite build"));
        check(
            &[
                ("build", "vite build"),
                ("deploy", "CLOUDFLARE_ENV=production npm run build && wrangler deploy"),
            ],
            None,
        );
        check(
            &[("deploy", "MODE=a CLOUDFLARE_ENV=production vite build && wrangler deploy")],
            Some("MODE=a vite build"),
        );
        check(
            &[("deploy", "cross-env CLOUDFLARE_ENV=staging vite build && wrangler deploy")],
            Some("vite build"),
        );
        // Scripts that choose it, one below another.
        check(
            &[
                ("build", "vite build"),
                (
                    "build:production",
                    "pnpm --filter ui build && CLOUDFLARE_ENV=production pnpm run build",
                ),
                (
                    "deploy",
                    "CLOUDFLARE_ENV=production pnpm run build:production && wrangler deploy",
                ),
            ],
            None,
        );
        check(
            &[
                ("deploy", "npm run web && wrangler deploy"),
                ("web", "npm run site"),
                ("site", site),
            ],
            Some("vite build"),
        );
    }

    #[test]
    fn the_build_of_opennext_is_found_in_every_script() {
        let build = ("build", "next build");
        for (scripts, expected) in [
            (
                &[("deploy", "opennextjs-cloudflare build && opennextjs-cloudflare deploy")][..],
                Some(OPEN_NEXT_BUILD),
            ),
            (
                &[("preview", "opennextjs-cloudflare build && opennextjs-cloudflare preview")],
                Some(OPEN_NEXT_BUILD),
            ),
            (
                &[("cf:build", "npx @opennextjs/cloudflare@1.2.3 build --minify")],
                Some("npx @opennextjs/cloudflare@1.2.3 build --minify"),
            ),
            (
                &[("pages:build", "NODE_ENV=production opennextjs-cloudflare build")],
                Some("NODE_ENV=production opennextjs-cloudflare build"),
            ),
            (
                &[
                    ("deploy", "pnpm cf:build && pnpm exec wrangler deploy"),
                    ("cf:build", "opennextjs-cloudflare build"),
                ],
                Some(OPEN_NEXT_BUILD),
            ),
            (
                &[
                    (
                        "deploy",
                        "npm run db:migrate && npm run build && opennextjs-cloudflare build && wrangler deploy",
                    ),
                    ("db:migrate", "wrangler d1 migrations apply DB --remote"),
                ],
                Some("npm run build && opennextjs-cloudflare build"),
            ),
            (
                &[
                    ("deploy", "npm run cf:deploy"),
                    ("cf:deploy", "opennextjs-cloudflare build && opennextjs-cloudflare upload"),
                ],
                Some(OPEN_NEXT_BUILD),
            ),
            (
                &[("cf:build", "opennextjs-cloudflare build && node scripts/prune.mjs")],
                Some("opennextjs-cloudflare build && node scripts/prune.mjs"),
            ),
            (
                &[(
                    "preview",
                    "opennextjs-cloudflare build && node prune.mjs && opennextjs-cloudflare preview && node report.mjs",
                )],
                Some("opennextjs-cloudflare build && node prune.mjs"),
            ),
            (
                &[(
                    "cf",
                    "opennextjs-cloudflare build && npm run lint && node prune.mjs && wrangler dev",
                )],
                Some("opennextjs-cloudflare build && node prune.mjs"),
            ),
            (&[("deploy", "wrangler deploy")], None),
        ] {
            check(&[&[build], scripts].concat(), expected);
        }
        // Scripts for different environments.
        for (scripts, expected) in [
            (
                &[
                    (
                        "cf:build:production",
                        "DEPLOY_ENV=production A=1 opennextjs-cloudflare build",
                    ),
                    ("cf:build:staging", "A=1 DEPLOY_ENV=staging opennextjs-cloudflare build"),
                ][..],
                "A=1 opennextjs-cloudflare build",
            ),
            (
                &[
                    ("deploy:prod", "cross-env STAGE=prod npm run cf && wrangler deploy"),
                    ("deploy:stage", "cross-env STAGE=stage npm run cf && wrangler deploy"),
                    ("cf", "opennextjs-cloudflare build"),
                ],
                "opennextjs-cloudflare build",
            ),
            (
                &[
                    (
                        "deploy",
                        "NODE_ENV=production opennextjs-cloudflare build && wrangler deploy",
                    ),
                    ("preview", "opennextjs-cloudflare build && opennextjs-cloudflare preview"),
                ],
                "NODE_ENV=production opennextjs-cloudflare build",
            ),
        ] {
            check(&[&[build], scripts].concat(), Some(expected));
        }
        // The script `build` runs it already.
        let deploy = ("deploy", "opennextjs-cloudflare build && opennextjs-cloudflare deploy");
        check(&[("build", "npm run cf"), ("cf", "opennextjs-cloudflare build"), deploy], None);
        // Scripts that run each other.
        check(&[("build", "npm run deploy"), ("deploy", "npm run build")], None);
    }

    #[test]
    fn scripts_that_run_many_others_are_read_quickly() {
        let names: Vec<String> = (0..60).map(|n| format!("s{n}")).collect();
        let all: Vec<String> = names.iter().map(|name| format!("npm run {name}")).collect();
        let text = format!("{} && wrangler deploy", all.join(" && "));
        let scripts: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), text.as_str())).collect();
        let specs = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let specs: Specs = specs.chain([("deploy".to_owned(), text.clone())]).collect();
        assert!(steps(&specs, "deploy").len() < 10_000);
    }
}
