//! `sandbox merge-request`: opens a merge request in the sandbox's GitLab.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use base::command::quote;
use base::env::variable;
use base::error::{Exit, Result, failed, refused};
use base::http;
use base::secret::{Secret, remember};
use base::terminal::{CYAN, paint};
use deployment::context::Ctx;
use deployment::engine::setup::Setup;
use deployment::tools::sandbox;
use workspace::Workspace;
use workspace::config::is_project_number;
use workspace::git;

/// The project of the sandbox's GitLab if neither the shared config nor the sandbox names one.
const PROJECT: &str = "1";

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of `sandbox merge-request`.
#[derive(Debug, Args)]
pub struct MergeRequestCommand {
    /// Source branch, which need not exist [default: the current branch]
    #[arg(long, value_name = "BRANCH")]
    source: Option<String>,
    /// Target branch [default: the default branch of this repository]
    #[arg(long, value_name = "BRANCH")]
    target: Option<String>,
    /// Title [default: subject of the newest commit]
    #[arg(long)]
    title: Option<String>,
    /// Print only the commands of a shell that set the variables of its pipeline
    #[arg(long)]
    export: bool,
}

impl MergeRequestCommand {
    /// Starts the sandbox if it does not run, and opens the merge request. Reuses an open one of the
    /// same branches.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let workspace = Workspace::load(&ctx.root)?;
        let (source, target) = self.branches(ctx)?;
        let subject = || git::ask(&ctx.root, &["log", "-1", "--format=%s"]);
        let title = self.title.clone().or_else(subject).unwrap_or_else(|| source.clone());
        let mut setup = Setup::new(ctx, &workspace.config)?;
        let port = setup.running_sandbox(&workspace.config.account_ids())?.port;
        setup.finish(&format!("sandbox at http://127.0.0.1:{port}"));
        sandbox::check(&ctx.root, port)?;
        let project = variable("SANDBOX_GITLAB_PROJECT")
            .filter(|number| is_project_number(number))
            .or_else(|| workspace.config.gitlab.number().map(str::to_owned))
            .unwrap_or_else(|| PROJECT.to_owned());
        let gitlab = MergeRequests { port, project, token: token(ctx)? };
        let iid = match gitlab.find(&source, &target)? {
            Some(iid) => iid,
            None => gitlab.open(&source, &target, &title)?,
        };
        let name = &workspace.config.gitlab.token_variable;
        let exports = gitlab.exports(iid, name, sandbox::gitlab_token_file(&ctx.root).as_str());
        let url = format!("http://127.0.0.1:{port}/#mr-{}-{iid}", gitlab.project);
        let report = json!({
            "schema": 1, "iid": iid, "project": gitlab.project, "source": source, "target": target,
            "url": url, "api": gitlab.api(),
        });
        let text = if self.export {
            exports.join("\n")
        } else {
            text(iid, &source, &target, &url, &exports)
        };
        ctx.ui.report(&report, &text);
        Ok(Exit::Done)
    }

    /// Returns the source and the target branch.
    fn branches(&self, ctx: &Ctx) -> Result<(String, String)> {
        let target = match &self.target {
            Some(target) => target.clone(),
            None => git::history::default_branch(&ctx.root, None)?.map_or_else(
                || "main".to_owned(),
                |(name, _)| name.trim_start_matches("origin/").to_owned(),
            ),
        };
        let source = match &self.source {
            Some(source) => source.clone(),
            None => git::branch(&ctx.root)?.ok_or_else(|| {
                refused("no branch is checked out").hint("name the source branch with `--source`")
            })?,
        };
        if source == target {
            return Err(refused(format!("`{source}` cannot be merged into itself"))
                .hint("create a branch with `git switch -c new-home`, or name one with `--source new-home`"));
        }
        Ok((source, target))
    }
}

fn text(iid: u64, source: &str, target: &str, url: &str, exports: &[String]) -> String {
    let exports: String = exports.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "merge request !{iid}: {source} into {target}\n  {}\n\
         Run these commands to preview as its pipeline does; the page shows the comment:\n{exports}  \
         cargo xtask preview\n  cargo xtask preview stop\n\
         Or set the variables with: eval \"$(cargo xtask sandbox merge-request --source {} --target {} --export)\"\n",
        paint(CYAN, url),
        quote(source),
        quote(target),
    )
}

/// Returns the token of the sandbox's GitLab.
fn token(ctx: &Ctx) -> Result<Secret> {
    let path = sandbox::gitlab_token_file(&ctx.root);
    let text = std::fs::read_to_string(&path).map_err(|_| {
        refused(format!("the sandbox's GitLab has no token in {path}"))
            .hint("unset SANDBOX_GITLAB_TOKENS, run `cargo xtask sandbox down`, then retry")
    })?;
    let token = Secret::new(text.trim());
    remember(&token);
    Ok(token)
}

/// The merge requests of a project in the sandbox's GitLab.
struct MergeRequests {
    port: u16,
    project: String,
    token: Secret,
}

impl MergeRequests {
    fn api(&self) -> String {
        format!("http://127.0.0.1:{}/api/v4", self.port)
    }

    /// Returns the number of the open merge request of these branches.
    fn find(&self, source: &str, target: &str) -> Result<Option<u64>> {
        let Some(list) = self.send("?state=opened&per_page=100", None)? else { return Ok(None) };
        let found = list
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["source_branch"] == source && one["target_branch"] == target);
        Ok(found.and_then(|one| one["iid"].as_u64()))
    }

    fn open(&self, source: &str, target: &str, title: &str) -> Result<u64> {
        let body = json!({ "source_branch": source, "target_branch": target, "title": title });
        let created = self.send("", Some(&body))?.unwrap_or_default();
        created["iid"]
            .as_u64()
            .ok_or_else(|| failed(format!("the sandbox's GitLab answered {created}")))
    }

    /// Returns the response. `None` if the project does not exist yet. The first merge request creates it.
    fn send(&self, query: &str, body: Option<&Value>) -> Result<Option<Value>> {
        let agent = http::agent(REQUEST_TIMEOUT, 0);
        let url = format!("{}/projects/{}/merge_requests{query}", self.api(), self.project);
        let headers = [("PRIVATE-TOKEN", self.token.expose())];
        let response = match body {
            Some(body) => http::post(&agent, &url, &headers, body),
            None => http::get(&agent, &url, &headers),
        };
        let response = response
            .map_err(|error| failed(format!("the sandbox's GitLab did not answer: {error:#}")))?;
        if response.status == 404 && body.is_none() {
            return Ok(None);
        }
        if response.status >= 300 {
            let text = http::short(&String::from_utf8_lossy(&response.body));
            return Err(failed(format!(
                "the sandbox's GitLab answered {}: {text}",
                response.status
            ))
            .hint("run `cargo xtask sandbox logs --requests` to see the request"));
        }
        serde_json::from_slice(&response.body).map(Some).map_err(|error| {
            failed(format!("the sandbox's GitLab did not answer with JSON: {error}"))
        })
    }

    /// Returns shell commands that set the variables of the merge request's pipeline. They read the
    /// token from its file.
    fn exports(&self, iid: u64, token_variable: &str, token_file: &str) -> Vec<String> {
        vec![
            format!(
                "export CI_API_V4_URL={} CI_PROJECT_ID={} CI_MERGE_REQUEST_IID={iid}",
                self.api(),
                self.project
            ),
            format!("export {token_variable}=\"$(cat {})\"", quote(token_file)),
        ]
    }
}
