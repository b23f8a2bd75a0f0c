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
pub fn results(part: &ProjectPlan) -> Utf8PathBuf {
    Utf8Path::new(".xtask/deploy").join(&part.slug)
}

/// Returns true if the first container bundles.
#[must_use]
pub fn is_bundled(part: &ProjectPlan) -> bool {
    part.may_have_code() || part.target.has_build_command
}

/// Returns the name of a step of `xtask.beforeDeploy`.
#[must_use]
pub fn before_deploy_step(index: usize) -> String {
    format!("step-{}", index + 1)
}

/// Returns the names of the steps in their order.
#[must_use]
pub fn steps(plan: &Plan, part: &ProjectPlan) -> Vec<String> {
    let bundle = is_bundled(part).then_some(BUNDLE);
    let exists = (plan.kind(part) == UploadKind::Preview).then_some(EXISTS);
    let own =
        if plan.operation == Operation::Deploy { part.before_deploy.steps().len() } else { 0 };
    let first = bundle.into_iter().chain([PREPARE]).chain(exists).map(str::to_owned);
    first.chain((0..own).map(before_deploy_step)).chain([UPLOAD.to_owned()]).collect()
}

/// Returns the lines that upload a built project.
pub fn lines(plan: &Plan, part: &ProjectPlan) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut repository = None;
    if has_code(plan, part) {
        let (above, folder) = match container::is_used(part) {
            true => {
                (Vec::new(), format!("$(${} | {})", container::BUILT, call("directory", &[ROOT])?))
            }
            false => unbuilt_lines(part)?,
        };
        lines.extend(above);
        repository = Some(folder);
    }
    lines.push(assignment("wrangler", &wrangler_calls(part)?));
    let files = match &repository {
        None => published_files(part)?,
        Some(folder) => {
            let mut files = vec![format!("with-directory {} {folder}", quote(ROOT)?)];
            // The output of a project's own module is on this machine.
            if part.build_plan.own.is_some() && !container::is_used(part) {
                files.extend(build_output(part)?);
            }
            files
        }
    };
    let files = if is_bundled(part) {
        lines.push(assignment("bundled", &bundle_calls(part, files)?));
        vec![format!("with-directory {} {}", quote(ROOT)?, bundle_result("directory", ROOT)?)]
    } else {
        files
    };
    lines.push(assignment("uploaded", &upload_calls(plan, part, files)?));
    let export = relative(&part.dir, &results(part));
    lines.push(format!(
        "$uploaded | {} | export --wipe {}",
        call("directory", &[OUTPUT])?,
        quote(export.as_str())?
    ));
    lines.push(format!("$uploaded | {} | stdout", call("with-exec --", &["sh", "-c", SHOW])?));
    Ok(lines)
}

/// Returns the calls that create the container with wrangler. They depend on its pins alone, so they are cached.
fn wrangler_calls(part: &ProjectPlan) -> Result<Vec<String>> {
    let pins = &part.build_plan.containers.toolchain;
    let mut calls = vec![
        "container".to_owned(),
        call("from", &[&part.build_plan.containers.images.bun])?,
        call("with-workdir", &[TOOLCHAIN])?,
    ];
    for name in ["package.json", "bun.lock"] {
        let file = from_host(part, "file", &pins.join(name))?;
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
fn published_files(part: &ProjectPlan) -> Result<Vec<String>> {
    let config = from_host(part, "file", &part.config)?;
    let place = container_path(&part.config);
    let mut calls = vec![format!("with-file {} {config}", quote(place.as_str())?)];
    match &part.dist {
        Some(dist) if container::is_used(part) && part.build_plan.own.is_some() => {
            let place = container_path(dist);
            let folder = call("directory", &[place.as_str()])?;
            calls.push(format!(
                "with-directory {} $(${} | {folder})",
                quote(place.as_str())?,
                container::BUILT
            ));
        }
        Some(dist) => calls.push(folder_from_host(part, dist)?),
        None => {}
    }
    Ok(calls)
}

/// Returns the call that adds the output of a project's own module.
fn build_output(part: &ProjectPlan) -> Result<Option<String>> {
    super::exports(part).map(|folder| folder_from_host(part, &folder)).transpose()
}

fn folder_from_host(part: &ProjectPlan, folder: &Utf8Path) -> Result<String> {
    let there = from_host(part, "directory", folder)?;
    Ok(format!("with-directory {} {there}", quote(container_path(folder).as_str())?))
}

/// Returns a file or folder of this machine as a word. `path` is relative to the root or absolute.
fn from_host(part: &ProjectPlan, kind: &str, path: &Utf8Path) -> Result<String> {
    let path = match path.is_absolute() {
        true => path.to_owned(),
        false => relative(&part.dir, path),
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
fn nonce(part: &ProjectPlan) -> Result<String> {
    call("with-new-file", &[&result(NONCE), &part.nonce])
}

/// Returns true if the build may write a config of an adapter, which wrangler then uses.
fn may_redirect(part: &ProjectPlan) -> bool {
    let is_built = container::is_used(part) && part.build_plan.own.is_some();
    is_built && part.config.file_name().is_some_and(|name| CONFIG_NAMES.contains(&name))
}

/// Returns the calls that bundle the code. All code of the project runs here, without a token.
fn bundle_calls(part: &ProjectPlan, files: Vec<String>) -> Result<Vec<String>> {
    let config = part.config.file_name();
    let assets = part.target.assets.is_some().then_some(EMPTY);
    let environment = part.wrangler_environment.as_deref();
    let is_certain = !may_redirect(part);
    let mut arguments = wrangler::bundle_arguments(
        config.filter(|_| is_certain),
        environment,
        assets.filter(|_| is_certain),
        "/bundle/dir",
        BUNDLE_FILE,
    );
    arguments.extend(part.bundle_flags());
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
        nonce(part)?,
        call("with-workdir", &[container_path(&part.dir).as_str()])?,
    ]);
    // It sees what a build sees.
    if part.target.has_build_command {
        calls.extend(container::build_variables(&part.build_plan.containers)?);
        if let Some(environment) = &part.build_environment {
            calls.push(call("with-env-variable", &[BUILD_ENVIRONMENT, environment])?);
        }
    }
    calls.push(step(BUNDLE, &script, &wrangler(arguments))?);
    Ok(calls)
}

/// Returns the calls that prepare the upload and upload, with the token. No code of the project runs here.
fn upload_calls(plan: &Plan, part: &ProjectPlan, files: Vec<String>) -> Result<Vec<String>> {
    let destination = &plan.destination;
    let program = from_host(part, "file", &part.build_plan.containers.program)?;
    let mut calls =
        vec!["$wrangler".to_owned(), format!("with-file '/prepare-upload.js' {program}")];
    calls.extend(files);
    let variable = |name: &str, value: &str| call("with-env-variable", &[name, value]);
    if is_bundled(part) {
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
    calls.push(nonce(part)?);
    let request = PrepareRequest {
        root: Utf8Path::new(ROOT),
        is_redirected: if may_redirect(part) { None } else { Some(false) },
        bundle: is_bundled(part).then(|| BUNDLE_FILE.into()),
        upload: Utf8Path::new(PREPARED),
    };
    let request = request.json(part, destination);
    let bun = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let prepare =
        bun(&["bun", "--no-env-file", "--config=/dev/null", "/prepare-upload.js", &request]);
    calls.push(call("with-workdir", &["/"])?);
    calls.push(step(PREPARE, RUN, &prepare)?);
    let kind = plan.kind(part);
    if kind == UploadKind::Preview {
        let [env, config, _] = wrangler::BUN_OPTIONS;
        let ask = bun(&["bun", env, config, "-e", ASK, &part.target.worker]);
        calls.push(step(EXISTS, RUN, &ask)?);
    }
    if plan.operation == Operation::Deploy && !part.before_deploy.is_empty() {
        calls.push(call("with-workdir", &[container_path(&part.dir).as_str()])?);
        let config = part.config.file_name();
        let environment = part.wrangler_environment.as_deref();
        for (index, own) in part.before_deploy.steps().iter().enumerate() {
            let arguments = wrangler::step_arguments(config, environment, &own.arguments);
            calls.push(step(&before_deploy_step(index), RUN, &wrangler(arguments))?);
        }
    }
    calls.push(call("with-workdir", &[PREPARED])?);
    calls.push(step(UPLOAD, RUN, &wrangler(upload_arguments(part, destination, kind)))?);
    Ok(calls)
}
