//! Formats a project's plan as a Dagger Shell script.

pub mod container;
pub mod upload;

use camino::{Utf8Path, Utf8PathBuf};

use crate::plan::destination::Destination;
use crate::plan::{Operation, Plan, ProjectPlan};
use base::error::{Result, refused};
use cloudflare::wrangler::UploadKind;
use workspace::before_deploy::WranglerStep;
use workspace::config::ContainerUpload;
use workspace::modules::CLOUDFLARE;
use workspace::paths::normalize;
use workspace::strategy::Strategy;

/// The path where the Cloudflare module leaves the record, relative to the project's folder.
pub const RECORD: &str = ".xtask/deploy.json";

/// The variable that carries the sandbox's token to Dagger.
pub const SANDBOX_TOKEN: &str = "SANDBOX_TOKEN";

/// Returns the script of one project, which runs in its folder.
///
/// The current module's functions are called by their bare names: `. | build` fails (observed with
/// an engine v0.21.8), because its constructor has no name.
///
/// No called function has a list as an argument. The CLI would split it at commas, twice, and remove
/// quotes from its items. A function that needs several values should accept one JSON string.
pub fn script(plan: &Plan, project: &ProjectPlan) -> Result<String> {
    let mut lines = Vec::new();
    if container::is_used(project) && (project.build.is_some() || has_code(plan, project)) {
        lines.extend(container::lines(project)?);
    }
    // The framework writes the config of such a project, so its folders are not known yet. They stay in the container.
    let stays = project.is_named_by_adapter()
        && container::is_used(project)
        && plan.operation != Operation::Build;
    if project.build.is_some() && !stays {
        lines.push(build(project)?);
    }
    if plan.operation != Operation::Build {
        match project.build_plan.containers.upload {
            ContainerUpload::Api => lines.extend(upload::lines(plan, project)?),
            ContainerUpload::Module => lines.push(module_upload(plan, project)?),
        }
    }
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// Returns true if the upload reads the project's folder, because its code is bundled or steps read its files.
fn has_code(plan: &Plan, project: &ProjectPlan) -> bool {
    let has_steps = plan.operation == Operation::Deploy && !project.before_deploy.is_empty();
    let is_bundled = match project.build_plan.containers.upload {
        ContainerUpload::Api => upload::is_bundled(project),
        ContainerUpload::Module => project.may_have_code(),
    };
    plan.operation != Operation::Build && (is_bundled || has_steps)
}

/// Returns the name of the variable with the token.
fn token_variable(destination: &Destination) -> &str {
    match destination.sandbox {
        Some(_) => SANDBOX_TOKEN,
        None => &destination.token_variable,
    }
}

/// Returns the folder that a build writes and Dagger exports: that of the assets, or of `main` if the
/// Worker has none. `None` if that is the project's own folder.
#[must_use]
pub fn exports(project: &ProjectPlan) -> Option<Utf8PathBuf> {
    let code = || {
        let folder = project.target.main.as_deref()?.parent()?;
        Some(normalize(&project.dir.join(folder))?)
            .filter(|folder| !project.dir.starts_with(folder))
    };
    project.dist.clone().or_else(code)
}

fn build(project: &ProjectPlan) -> Result<String> {
    let dist = exports(project).ok_or_else(|| {
        refused(format!(
            "{}: Dagger exports the folder that a build writes, but neither `assets.directory` nor `main` names one",
            project.config
        ))
        .hint("let the build write into its own folder, such as `dist`, or take `--engine host`")
    })?;
    let export = format!("export --wipe {}", quote(relative(&project.dir, &dist).as_str())?);
    if project.module {
        return Ok(format!("build | {export}"));
    }
    let folder = quote(container::container_path(&dist).as_str())?;
    Ok(format!("${} | directory {folder} | {export}", container::BUILT))
}

/// Returns the line that uploads by the Cloudflare module.
fn module_upload(plan: &Plan, project: &ProjectPlan) -> Result<String> {
    let destination = &plan.destination;
    let module = quote(relative(&project.dir, Utf8Path::new(CLOUDFLARE)).as_str())?;
    let config = project.config.file_name().unwrap_or_default();
    let token = token_variable(destination);
    // The module requires a folder. A Worker without assets has none, so it gets the folder of its
    // code, which is not published.
    let code =
        project.target.main.as_deref().and_then(Utf8Path::parent).map(|dir| project.dir.join(dir));
    let dist = project.dist.clone().or(code).unwrap_or_else(|| project.dir.clone());
    let function = match plan.kind(project) {
        UploadKind::Deployment => "deploy",
        UploadKind::Version | UploadKind::Preview => "upload",
    };
    let mut calls = Vec::new();
    let mut module = format!("{module} --environment={}", quote(&destination.environment)?);
    if let Some(port) = destination.sandbox {
        module += &format!(" --api={}", quote(&format!("tcp://127.0.0.1:{port}"))?);
    }
    calls.push(module);
    let steps = if plan.operation == Operation::Deploy { before_deploy(project) } else { None };
    if project.may_have_code() || steps.is_some() {
        calls.push(match container::is_used(project) {
            // With the installed and built files, so that wrangler bundles the build's output.
            true => format!(
                "with-workspace $(${} | directory {}) {}",
                container::BUILT,
                quote(container::ROOT)?,
                quote(project.dir.as_str())?
            ),
            false => "with-source '.'".to_owned(),
        });
    }
    if !project.flags.is_empty() {
        let flags = serde_json::json!(project.flags.all()).to_string();
        calls.push(format!("with-flags {}", quote(&flags)?));
    }
    if let Some(name) = &project.target.default_name {
        calls.push(format!("with-worker-name {}", quote(name)?));
    }
    if let Some(steps) = &steps {
        calls.push(format!("with-before-deploy {}", quote(steps)?));
    }
    let mut call = format!(
        "{function} {} {} {}",
        quote(&with_dot(&relative(&project.dir, &dist)))?,
        quote(config)?,
        quote(&format!("env://{token}"))?,
    );
    let strategy = project.strategy.filter(|&strategy| strategy == Strategy::Preview);
    let options = [
        ("alias", project.alias.as_deref()),
        ("project", Some(project.name.as_str())),
        ("tag", Some(project.key.as_str())),
        ("message", Some(project.message.as_str())),
        ("nonce", Some(project.nonce.as_str())),
        ("strategy", strategy.map(Strategy::name)),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            call += &format!(" --{name}={}", quote(value)?);
        }
    }
    calls.push(call);
    calls.extend(["record".to_owned(), format!("export {}", quote(RECORD)?)]);
    Ok(calls.join(" | "))
}

/// Returns the steps before the upload in the module's format. `None` if there are none. The paths are relative to the
/// module's source: the repository, or the project's folder.
fn before_deploy(project: &ProjectPlan) -> Option<String> {
    let all = project.read_by_steps();
    let step = |step: &WranglerStep| {
        let files = step.files_below(&project.dir).unwrap_or_default();
        let migrations = all.iter().filter(|path| step.reads_migrations && !files.contains(path));
        let reads = files.iter().chain(migrations);
        let reads: Vec<Utf8PathBuf> = match container::is_used(project) {
            true => reads.cloned().collect(),
            false => reads.map(|path| relative(&project.dir, path)).collect(),
        };
        serde_json::json!({ "command": step.text, "arguments": step.arguments, "reads": reads })
    };
    let steps: Vec<serde_json::Value> = project.before_deploy.steps().iter().map(step).collect();
    (!steps.is_empty()).then(|| serde_json::Value::from(steps).to_string())
}

/// Characters that quotes do not protect.
const UNSAYABLE: [char; 3] = ['\0', '\u{80}', '\u{81}'];

/// Quotes `value` as one word of Dagger Shell, a POSIX dialect, in single quotes, without any
/// expansion. Refuses NUL, text that the shell would parse as a special value, and the control
/// characters U+0080 and U+0081, which its parser (mvdan.cc/sh 3.13.1) reads as the end of the
/// script and as an escaped line feed. That parser also drops a carriage return before a line feed,
/// even in quotes, so the quotes end and start again between the two.
pub fn quote(value: &str) -> Result<String> {
    if let Some(c) = value.chars().find(|c| UNSAYABLE.contains(c)) {
        return Err(refused(format!(
            "a value for Dagger holds the character U+{:04X}",
            u32::from(c)
        )));
    }
    if value.contains("{DSH:") {
        return Err(refused(format!("`{value}`: Dagger would take `{{DSH:` for its own syntax")));
    }
    let inner = value.replace('\'', r"'\''").replace("\r\n", "\r''\n");
    Ok(format!("'{inner}'"))
}

/// Returns the relative path from the folder `from` to `to`, both relative to the repository's root.
#[must_use]
pub fn relative(from: &Utf8Path, to: &Utf8Path) -> Utf8PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..");
    let down = to.components().skip(common).map(|project| project.as_str());
    let path: Utf8PathBuf = up.chain(down).collect();
    if path.as_str().is_empty() { Utf8PathBuf::from(".") } else { path }
}

/// Returns an unambiguous path: `dist` as `./dist`.
fn with_dot(path: &Utf8Path) -> String {
    if path.as_str().starts_with('.') { path.to_string() } else { format!("./{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn relative_paths_between_folders() {
        for (from, to, way) in [
            ("projects/a/site", "dagger/bun", "../../../dagger/bun"),
            ("projects/a", "projects/a/dist", "dist"),
            ("projects/pair/left", "projects/pair", ".."),
            ("a", "a", "."),
        ] {
            assert_eq!(relative(Utf8Path::new(from), Utf8Path::new(to)), way);
        }
    }

    #[test]
    fn refuses_words_that_dagger_would_interpret() {
        assert!(quote("a\0b").is_err() && quote("a\u{80}b").is_err() && quote("\u{81}").is_err());
        assert!(quote("x {DSH:ABC} y").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Tests that any text without NUL passes a real POSIX shell unchanged. `tests/it/script.rs`
        /// does the same with Dagger's own parser.
        #[test]
        fn quotes_words_exactly(value in r"([^\x00]|[\r\n'\\$ ]){0,40}") {
            prop_assume!(quote(&value).is_ok());
            let script = format!("printf %s {}", quote(&value).expect("quotable"));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs");
            prop_assert_eq!(output.stdout, value.as_bytes());
        }
    }
}
