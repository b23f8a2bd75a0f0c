//! Formats the upload of a project as calls of Dagger's own API. It loads no module.
//!
//! As on the host engine, the first container bundles the code and has no token. The second one has the token, and runs
//! only our programs. Each step writes its exit code and its output to files. No step runs after a failed one.

use camino::{Utf8Path, Utf8PathBuf};

use super::container::{ROOT, assignment, call, container_path, unbuilt_lines};
use super::{container, has_code, quote, relative, token_variable};
use crate::plan::commands::{BUILD_ENVIRONMENT, PrepareRequest, upload_arguments};
use crate::plan::{Operation, Plan, ProjectPlan};
use base::error::Result;
use cloudflare::wrangler::{self, UploadKind};
use workspace::wrangler::CONFIG_NAMES;

/// The program that prepares an upload, relative to the root, unless the repository has the same one.
pub const PROGRAM: &str = ".xtask/tmp/prepare-upload.js";

/// The step that bundles.
pub const BUNDLE: &str = "bundle";

/// The step that prepares the upload.
pub const PREPARE: &str = "prepare";

/// The step that checks that the Worker of a Worker Preview exists.
pub const EXISTS: &str = "exists";

/// The step that uploads.
pub const UPLOAD: &str = "upload";

/// The file with the attempt's nonce, in the folder of results.
pub const NONCE: &str = "nonce";

/// The file that wrangler writes, in the folder of results.
pub const ENTRIES: &str = "wrangler.ndjson";

/// The folder of wrangler in a container.
const TOOLCHAIN: &str = "/toolchain";

/// The folder of the results in a container.
const OUTPUT: &str = "/output";

/// The bundle in a container.
const BUNDLE_FILE: &str = "/bundle/bundle.form";

/// An empty folder in the container that bundles.
const EMPTY: &str = "/bundle/empty";

/// The folder to upload, in a container.
const PREPARED: &str = "/upload/folder";

/// Runs a step in a shell. The arguments are its name and its words. It writes the exit code to a file, and does nothing
/// after a failed step.
const RUN: &str = "grep -qsv \"^0$\" /output/*.exit || { \"$@\" 2>&1; echo $? > /output/$0.exit; }";

/// Prints the output of all steps, and fails if one of them did.
const SHOW: &str = "cat /output/*.log; ! grep -sv \"^0$\" /output/*.exit";

/// Fails if the Worker, whose name is the last argument, was never deployed. `wrangler preview` would create it.
const ASK: &str = "\
const { CLOUDFLARE_API_BASE_URL: api = \"https://api.cloudflare.com/client/v4\", CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: token } = process.env;
const worker = process.argv.at(-1);
const answer = await fetch(`${api}/accounts/${account}/workers/scripts/${encodeURIComponent(worker)}/deployments`, { headers: { Authorization: `Bearer ${token}` }, redirect: \"manual\", signal: AbortSignal.timeout(30_000) });
const text = await answer.text();
const deployments = answer.ok ? JSON.parse(text).result?.deployments : [];
if (!(deployments?.length > 0)) {
  console.log(answer.ok || /\"code\":\\s*(10007|10090)\\b/.test(text) ? `refused: the Worker \\`${worker}\\` has never been deployed, and a preview needs one\\nhint: deploy it first` : `Cloudflare does not say whether the Worker \\`${worker}\\` exists: it answered ${answer.status}`);
  process.exit(3);
}
";

/// The folder of the results, relative to the root. Each run replaces it.
#[must_use]
pub fn results(project: &ProjectPlan) -> Utf8PathBuf {
    Utf8Path::new(".xtask/deploy").join(&project.slug)
}

/// Returns true if the first container bundles.
#[must_use]
pub fn is_bundled(project: &ProjectPlan) -> bool {
    project.may_have_code() || project.target.has_build_command
}

/// Returns the name of a step of `xtask.beforeDeploy`.
#[must_use]
pub fn before_deploy_step(index: usize) -> String {
    format!("step-{}", index + 1)
}

/// Returns the names of the steps in their order.
#[must_use]
pub fn steps(plan: &Plan, project: &ProjectPlan) -> Vec<String> {
    let bundle = is_bundled(project).then_some(BUNDLE);
    let exists = (plan.kind(project) == UploadKind::Preview).then_some(EXISTS);
    let own =
        if plan.operation == Operation::Deploy { project.before_deploy.steps().len() } else { 0 };
    let first = bundle.into_iter().chain([PREPARE]).chain(exists).map(str::to_owned);
    first.chain((0..own).map(before_deploy_step)).chain([UPLOAD.to_owned()]).collect()
}

/// Returns the lines that upload a built project.
pub fn lines(plan: &Plan, project: &ProjectPlan) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut repository = None;
    if has_code(plan, project) {
        let (above, folder) = match container::is_used(project) {
            true => {
                (Vec::new(), format!("$(${} | {})", container::BUILT, call("directory", &[ROOT])?))
            }
            false => unbuilt_lines(project)?,
        };
        lines.extend(above);
        repository = Some(folder);
    }
    lines.push(assignment("wrangler", &wrangler_calls(project)?));
    let files = match &repository {
        None => published_files(project)?,
        Some(folder) => {
            let mut files = vec![format!("with-directory {} {folder}", quote(ROOT)?)];
            // The output of a project's own module is on this machine.
            if project.build_plan.own.is_some() && !container::is_used(project) {
                files.extend(build_output(project)?);
            }
            files
        }
    };
    let files = if is_bundled(project) {
        lines.push(assignment("bundled", &bundle_calls(project, files)?));
        vec![format!("with-directory {} {}", quote(ROOT)?, bundle_result("directory", ROOT)?)]
    } else {
        files
    };
    lines.push(assignment("uploaded", &upload_calls(plan, project, files)?));
    let export = relative(&project.dir, &results(project));
    lines.push(format!(
        "$uploaded | {} | export --wipe {}",
        call("directory", &[OUTPUT])?,
        quote(export.as_str())?
    ));
    lines.push(format!("$uploaded | {} | stdout", call("with-exec --", &["sh", "-c", SHOW])?));
    Ok(lines)
}

/// Returns the calls that create the container with wrangler. They depend on its pins alone, so they are cached.
fn wrangler_calls(project: &ProjectPlan) -> Result<Vec<String>> {
    let pins = &project.build_plan.containers.toolchain;
    let mut calls = vec![
        "container".to_owned(),
        call("from", &[&project.build_plan.containers.images.bun])?,
        call("with-workdir", &[TOOLCHAIN])?,
    ];
    for name in ["package.json", "bun.lock"] {
        let file = from_host(project, "file", &pins.join(name))?;
        calls.push(format!("with-file {} {file}", quote(&format!("{TOOLCHAIN}/{name}"))?));
    }
    // Without a cache volume, because code of a project could change it.
    let install = ["bun", "install", "--frozen-lockfile", "--ignore-scripts"];
    calls.push(call("with-exec --", &install)?);
    for (name, value) in wrangler::WRANGLER_ENV {
        calls.push(call("with-env-variable", &[name, value])?);
    }
    Ok(calls)
}

/// Returns the calls that add the config and the published folder, for a project without code.
fn published_files(project: &ProjectPlan) -> Result<Vec<String>> {
    let config = from_host(project, "file", &project.config)?;
    let place = container_path(&project.config);
    let mut calls = vec![format!("with-file {} {config}", quote(place.as_str())?)];
    match &project.dist {
        Some(dist) if container::is_used(project) && project.build_plan.own.is_some() => {
            let place = container_path(dist);
            let folder = call("directory", &[place.as_str()])?;
            calls.push(format!(
                "with-directory {} $(${} | {folder})",
                quote(place.as_str())?,
                container::BUILT
            ));
        }
        Some(dist) => calls.push(folder_from_host(project, dist)?),
        None => {}
    }
    Ok(calls)
}

/// Returns the call that adds the output of a project's own module.
fn build_output(project: &ProjectPlan) -> Result<Option<String>> {
    super::exports(project).map(|folder| folder_from_host(project, &folder)).transpose()
}

fn folder_from_host(project: &ProjectPlan, folder: &Utf8Path) -> Result<String> {
    let there = from_host(project, "directory", folder)?;
    Ok(format!("with-directory {} {there}", quote(container_path(folder).as_str())?))
}

/// Returns a file or folder of this machine as a word. `path` is relative to the root or absolute.
fn from_host(project: &ProjectPlan, kind: &str, path: &Utf8Path) -> Result<String> {
    let path = match path.is_absolute() {
        true => path.to_owned(),
        false => relative(&project.dir, path),
    };
    Ok(format!("$(host | {})", call(kind, &[path.as_str()])?))
}

/// Returns a file or folder of the container that bundled, as a word.
fn bundle_result(kind: &str, path: &str) -> Result<String> {
    Ok(format!("$($bundled | {})", call(kind, &[path])?))
}

/// Returns the path of a result in a container.
fn result(name: &str) -> String {
    format!("{OUTPUT}/{name}")
}

/// Returns the call that runs a step.
fn step(name: &str, script: &str, argv: &[String]) -> Result<String> {
    let mut words = vec!["sh", "-c", script, name];
    words.extend(argv.iter().map(String::as_str));
    let log = quote(&result(&format!("{name}.log")))?;
    call(&format!("with-exec --redirect-stdout={log} --"), &words)
}

/// Returns the words that run wrangler.
fn wrangler(arguments: Vec<String>) -> Vec<String> {
    let launcher = format!("{TOOLCHAIN}/{}", wrangler::LAUNCHER);
    let options = wrangler::BUN_OPTIONS.map(str::to_owned);
    [vec!["bun".to_owned()], options.to_vec(), vec![launcher], arguments].concat()
}

/// Returns the call that invalidates the cache and marks the results of this attempt.
fn nonce(project: &ProjectPlan) -> Result<String> {
    call("with-new-file", &[&result(NONCE), &project.nonce])
}

/// Returns true if the build may write a config of an adapter, which wrangler then uses.
fn may_redirect(project: &ProjectPlan) -> bool {
    let is_built = container::is_used(project) && project.build_plan.own.is_some();
    is_built && project.config.file_name().is_some_and(|name| CONFIG_NAMES.contains(&name))
}

/// Returns the calls that bundle the code. All code of the project runs here, without a token.
fn bundle_calls(project: &ProjectPlan, files: Vec<String>) -> Result<Vec<String>> {
    let config = project.config.file_name();
    let assets = project.target.assets.is_some().then_some(EMPTY);
    let environment = project.wrangler_environment.as_deref();
    let is_certain = !may_redirect(project);
    let mut arguments = wrangler::bundle_arguments(
        config.filter(|_| is_certain),
        environment,
        assets.filter(|_| is_certain),
        "/bundle/dir",
        BUNDLE_FILE,
    );
    arguments.extend(project.bundle_flags());
    let script = match is_certain {
        true => RUN.to_owned(),
        false => {
            let own = [
                config.map(|name| format!("--config={name}")),
                assets.map(|_| format!("--assets={EMPTY}")),
            ];
            let own = own.into_iter().flatten().collect::<Vec<_>>().join(" ");
            format!(
                "if [ -e {} ]; then set -- \"$@\" --assets={EMPTY}; else set -- \"$@\" {own}; fi; {RUN}",
                wrangler::REDIRECT
            )
        }
    };
    let mut calls = vec!["$wrangler".to_owned()];
    calls.extend(files);
    calls.extend([
        call("with-new-file", &[BUNDLE_FILE, "not bundled"])?,
        format!("with-directory {} $(directory)", quote(EMPTY)?),
        nonce(project)?,
        call("with-workdir", &[container_path(&project.dir).as_str()])?,
    ]);
    // It sees what a build sees.
    if project.target.has_build_command {
        calls.extend(container::build_variables(&project.build_plan.containers)?);
        if let Some(environment) = &project.build_environment {
            calls.push(call("with-env-variable", &[BUILD_ENVIRONMENT, environment])?);
        }
    }
    calls.push(step(BUNDLE, &script, &wrangler(arguments))?);
    Ok(calls)
}

/// Returns the calls that prepare the upload and upload, with the token. No code of the project runs here.
fn upload_calls(plan: &Plan, project: &ProjectPlan, files: Vec<String>) -> Result<Vec<String>> {
    let destination = &plan.destination;
    let program = from_host(project, "file", &project.build_plan.containers.program)?;
    let mut calls =
        vec!["$wrangler".to_owned(), format!("with-file '/prepare-upload.js' {program}")];
    calls.extend(files);
    let variable = |name: &str, value: &str| call("with-env-variable", &[name, value]);
    if is_bundled(project) {
        let [exit, log] = ["exit", "log"].map(|kind| result(&format!("{BUNDLE}.{kind}")));
        for file in [BUNDLE_FILE, &exit, &log] {
            calls.push(format!("with-file {} {}", quote(file)?, bundle_result("file", file)?));
        }
    }
    calls.push(variable("WRANGLER_OUTPUT_FILE_PATH", &result(ENTRIES))?);
    calls.push(variable("CLOUDFLARE_ACCOUNT_ID", &destination.account_id)?);
    if let Some(port) = destination.sandbox {
        calls.push(call("with-service-binding", &["api", &format!("tcp://127.0.0.1:{port}")])?);
        calls.push(variable("CLOUDFLARE_API_BASE_URL", &format!("http://api:{port}/client/v4"))?);
    }
    let address = format!("env://{}", token_variable(destination));
    calls.push(call("with-secret-variable", &["CLOUDFLARE_API_TOKEN", &address])?);
    calls.push(nonce(project)?);
    let request = PrepareRequest {
        root: Utf8Path::new(ROOT),
        is_redirected: if may_redirect(project) { None } else { Some(false) },
        bundle: is_bundled(project).then(|| BUNDLE_FILE.into()),
        upload: Utf8Path::new(PREPARED),
    };
    let request = request.json(project, destination);
    let bun = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let prepare =
        bun(&["bun", "--no-env-file", "--config=/dev/null", "/prepare-upload.js", &request]);
    calls.push(call("with-workdir", &["/"])?);
    calls.push(step(PREPARE, RUN, &prepare)?);
    let kind = plan.kind(project);
    if kind == UploadKind::Preview {
        let [env, config, _] = wrangler::BUN_OPTIONS;
        let ask = bun(&["bun", env, config, "-e", ASK, &project.target.worker]);
        calls.push(step(EXISTS, RUN, &ask)?);
    }
    if plan.operation == Operation::Deploy && !project.before_deploy.is_empty() {
        calls.push(call("with-workdir", &[container_path(&project.dir).as_str()])?);
        let config = project.config.file_name();
        let environment = project.wrangler_environment.as_deref();
        for (index, own) in project.before_deploy.steps().iter().enumerate() {
            let arguments = wrangler::step_arguments(config, environment, &own.arguments);
            calls.push(step(&before_deploy_step(index), RUN, &wrangler(arguments))?);
        }
    }
    calls.push(call("with-workdir", &[PREPARED])?);
    calls.push(step(UPLOAD, RUN, &wrangler(upload_arguments(project, destination, kind)))?);
    Ok(calls)
}
