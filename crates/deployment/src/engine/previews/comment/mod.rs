//! Updates the comment of a merge request from independent jobs.
//!
//! A comment that cannot be written does not fail the run: the error is printed and returned.

pub mod token_errors;
pub mod write;

use std::cell::RefCell;
use std::time::Duration;

use serde::Serialize;

use crate::context::Ctx;
use crate::plan::merge_request::MergeRequest;
use base::error::{Error, ErrorKind, Result, refused};
use base::secret::{Secret, TokenProblem};
use base::terminal::{CYAN, paint};
use base::time::{rfc3339, unix_now};
use gitlab::api::Notes;
use gitlab::api::request::Client;
use gitlab::api::request_error::RequestError;
use gitlab::comment::state::has_marker;
use gitlab::comment::{CommentRow, PreviewStatus, RowChange, render};
use workspace::config::Config;
use write::{CommentAction, Timing, WriteResult, Writer};

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of writing the comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommentResult {
    /// The action.
    pub action: CommentAction,
    /// The note's id.
    pub note: Option<u64>,
    /// The comment's URL.
    pub url: Option<String>,
    /// The duplicates that were deleted.
    pub deleted: Vec<u64>,
    /// The reason why it was not written.
    pub message: Option<String>,
    /// The next steps.
    pub hints: Vec<String>,
    /// The rows that it has now. Empty if they are unknown.
    #[serde(skip)]
    pub rows: Vec<CommentRow>,
    /// In a dry run, the exact Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markdown: Option<String>,
}

impl CommentResult {
    /// Returns the text for people: the Markdown in a dry run, else the URL of the comment.
    #[must_use]
    pub fn text(&self) -> String {
        match (&self.markdown, &self.url, self.action) {
            (Some(markdown), ..) => markdown.clone(),
            (None, Some(url), _) => format!("comment: {url}"),
            (None, None, CommentAction::Created | CommentAction::Edited) => {
                "comment written".to_owned()
            }
            (None, None, CommentAction::Unchanged) => "nothing to change".to_owned(),
            (None, None, CommentAction::Planned) => {
                "every row becomes \"removed\" or \"ended\"".to_owned()
            }
            (None, None, _) => self.message.clone().unwrap_or_else(|| "no comment".to_owned()),
        }
    }
}

/// The comment, or the reason why there is none.
pub struct Comment<'a> {
    ctx: &'a Ctx,
    token_variable: String,
    merge_request: Option<MergeRequest>,
    client: Option<Client<'a>>,
    /// A permanent error, after which no attempt is made. It is reported once.
    obstacle: RefCell<Option<CommentResult>>,
}

impl<'a> Comment<'a> {
    /// Returns the comment of this pipeline's merge request. Prints an error as a note if no
    /// comment is expected, else as a warning.
    #[must_use]
    pub fn new(ctx: &'a Ctx, config: &Config) -> Comment<'a> {
        Comment::for_merge_request(ctx, config, MergeRequest::from_ci(&ctx.ci, &config.gitlab))
    }

    /// Returns the comment of `merge_request`.
    #[must_use]
    pub fn for_merge_request(
        ctx: &'a Ctx,
        config: &Config,
        merge_request: Option<MergeRequest>,
    ) -> Comment<'a> {
        let token_variable = config.gitlab.token_variable.clone();
        let mut comment = Comment {
            ctx,
            token_variable,
            merge_request,
            client: None,
            obstacle: RefCell::default(),
        };
        if !ctx.dry_run {
            match comment.connect() {
                Ok(client) => comment.client = Some(client),
                Err(obstacle) => *comment.obstacle.borrow_mut() = Some(*obstacle),
            }
        }
        comment
    }

    /// Shows these projects as building. Rows need only project and status.
    pub fn building(&self, rows: &[CommentRow]) -> CommentResult {
        self.change(&RowChange::Rows(&self.with_job(rows)), false)
    }

    /// Shows the results of these projects.
    pub fn finish(&self, rows: &[CommentRow]) -> CommentResult {
        self.change(&RowChange::Rows(&self.with_job(rows)), true)
    }

    /// Refuses the preview of `project` if `shown` has a row of a newer pipeline for it. Otherwise a retried job of an older
    /// pipeline would take the URL back to an older commit.
    pub fn refuse_outdated(&self, project: &str, shown: &CommentResult) -> Result<()> {
        let own = self.merge_request.as_ref().and_then(|request| request.pipeline);
        let row = shown.rows.iter().find(|row| row.project == project);
        let Some((newer, own)) = row.and_then(|row| row.pipeline).zip(own) else { return Ok(()) };
        if newer <= own {
            return Ok(());
        }
        Err(refused(format!(
            "the comment of the merge request shows pipeline {newer}, so this job of the older pipeline {own} uploads no \
             preview; nothing was changed"
        ))
        .hint(format!("retry the job of pipeline {newer}, or start a new pipeline of the merge request")))
    }

    /// Shows every preview as ended. The aliases of the projects in `aliases` still work. Creates no comment.
    pub fn mark_stopped(&self, aliases: &[&str]) -> CommentResult {
        self.change(&RowChange::End { time: &rfc3339(unix_now()), aliases }, true)
    }

    /// Shows that the previews of the `removed` projects are gone, or that only an alias still works. `all` means that
    /// the merge request has no other previews.
    #[must_use]
    pub fn show_removed(
        &self,
        removed: &[&str],
        all: bool,
        has_alias: impl Fn(&str) -> bool,
    ) -> CommentResult {
        let aliases: Vec<&str> = removed.iter().copied().filter(|name| has_alias(name)).collect();
        if all {
            return self.mark_stopped(&aliases);
        }
        let status = |name: &str| {
            if aliases.contains(&name) { PreviewStatus::AliasOnly } else { PreviewStatus::Removed }
        };
        let rows: Vec<CommentRow> =
            removed.iter().map(|&name| CommentRow::new(name, status(name))).collect();
        self.finish(&rows)
    }

    /// Fills missing fields of `rows` with the values of this job: commit, time, log, pipeline.
    #[must_use]
    pub fn with_job(&self, rows: &[CommentRow]) -> Vec<CommentRow> {
        let here = self.merge_request.as_ref();
        let now = rfc3339(unix_now());
        let root = format!("{}/", self.ctx.root);
        let fill = |row: &CommentRow| {
            let pipeline = row.pipeline.or_else(|| here?.pipeline);
            if row.status == PreviewStatus::Unaffected {
                return CommentRow { pipeline, ..row.clone() };
            }
            CommentRow {
                commit: row.commit.clone().or_else(|| here?.commit.clone()),
                time: row.time.clone().or_else(|| Some(now.clone())),
                log: row.log.clone().or_else(|| here?.job.clone()),
                pipeline,
                // The job's absolute path does not help a reader of the comment.
                reason: row.reason.as_ref().map(|reason| reason.replace(&root, "")),
                warning: row.warning.as_ref().map(|text| text.replace(&root, "")),
                ..row.clone()
            }
        };
        rows.iter().map(fill).collect()
    }

    /// Returns the client, or the result of all comments without one: there is no merge request or no token.
    fn connect(&self) -> std::result::Result<Client<'a>, Box<CommentResult>> {
        let name = &self.token_variable;
        let Some(merge_request) = &self.merge_request else {
            let message = "no comment: this is not a merge request pipeline";
            // Outside of a pipeline no comment is expected.
            if self.ctx.ci.is_pipeline() {
                self.ctx.ui.note(message);
            }
            return Err(Box::new(self.without_comment(CommentAction::Skipped, message, &[])));
        };
        if merge_request.in_fork {
            let message = format!(
                "no comment: this pipeline runs in a fork, which has no token for project {}; \
                 a member of the project can run it there",
                merge_request.project.number
            );
            self.ctx.ui.note(&message);
            return Err(Box::new(self.without_comment(CommentAction::Skipped, &message, &[])));
        }
        let Some(value) = base::env::raw_variable(name) else {
            let message = format!("no comment: {}", TokenProblem::Unset.message(name));
            let hints = [
                token_errors::describe_token(name),
                "read the links of a preview in the job's log and reports".to_owned(),
            ];
            self.ctx.ui.note(&with_hints(&message, &hints));
            return Err(Box::new(self.without_comment(CommentAction::Skipped, &message, &hints)));
        };
        client(self.ctx, &merge_request.project.api, name, Some(&value))
            .map_err(|failure| Box::new(self.warn(&failure, CommentAction::Skipped)))
    }

    fn change(&self, change: &RowChange<'_>, lasting: bool) -> CommentResult {
        if self.ctx.dry_run {
            let rows = change.apply(Vec::new());
            let markdown = (!rows.is_empty()).then(|| render::body(&rows));
            return CommentResult { markdown, ..self.outcome(CommentAction::Planned) };
        }
        if let Some(obstacle) = self.obstacle.borrow().as_ref() {
            return obstacle.clone();
        }
        let (Some(client), Some(merge_request)) = (&self.client, &self.merge_request) else {
            return self.outcome(CommentAction::Skipped);
        };
        match self.attempt(client, merge_request, change, lasting) {
            Ok(WriteResult { action, note, deleted, rows }) => {
                let page = merge_request.page.as_ref();
                let url = page.and_then(|page| Some(format!("{page}#note_{}", note?)));
                CommentResult { note, url, deleted, rows, ..self.outcome(action) }
            }
            Err(error) => {
                let result = self.warn(&error, CommentAction::Failed);
                // A token that is refused now is refused later; a server that is down may be back.
                if lasting || error.kind == ErrorKind::Refused {
                    *self.obstacle.borrow_mut() = Some(result.clone());
                }
                result
            }
        }
    }

    fn attempt(
        &self,
        client: &Client<'_>,
        merge_request: &MergeRequest,
        change: &RowChange<'_>,
        lasting: bool,
    ) -> Result<WriteResult> {
        let mut user = None;
        let MergeRequest { project, iid, .. } = merge_request;
        let written = Notes::new(client, &project.number, iid, has_marker).and_then(|notes| {
            user = Some(notes.user().username.clone());
            let timing = Timing::default();
            Writer { notes, retry_budget: &self.ctx.retry_budget, timing }.write(change, lasting)
        });
        written.map_err(|error| {
            let name = &self.token_variable;
            explain(error, name, user.as_deref(), &project.number, Some(iid))
        })
    }

    /// Warns that `error` prevents the comment.
    fn warn(&self, error: &Error, action: CommentAction) -> CommentResult {
        let message = format!("no comment: {error:#}");
        self.ctx.ui.warn(&with_hints(&message, &error.hints));
        self.without_comment(action, &message, &error.hints)
    }

    fn without_comment(
        &self,
        action: CommentAction,
        message: &str,
        hints: &[String],
    ) -> CommentResult {
        let message = Some(message.to_owned());
        CommentResult { message, hints: hints.to_vec(), ..self.outcome(action) }
    }

    fn outcome(&self, action: CommentAction) -> CommentResult {
        let (note, url, message, markdown) = (None, None, None, None);
        CommentResult {
            action,
            note,
            url,
            deleted: Vec::new(),
            message,
            hints: Vec::new(),
            rows: Vec::new(),
            markdown,
        }
    }
}

/// Creates a client for the API at `api` with the token `value` of the variable `name`.
pub fn client<'a>(ctx: &'a Ctx, api: &str, name: &str, value: Option<&str>) -> Result<Client<'a>> {
    connect(ctx, api, token_errors::token(name, value, ctx.ci.job_token.as_ref())?)
}

/// Creates a client for the API at `api`.
pub fn connect<'a>(ctx: &'a Ctx, api: &str, token: Secret) -> Result<Client<'a>> {
    Client::connect(api, token, REQUEST_TIMEOUT, &ctx.retry_budget)
}

/// Explains a refused request with the token in the variable `name`, with the next step. `project` is the number of the
/// project, and `iid` that of the merge request, if the request is about one.
#[must_use]
pub fn explain(
    error: Error,
    name: &str,
    user: Option<&str>,
    project: &str,
    iid: Option<&str>,
) -> Error {
    match error.find::<RequestError>() {
        Some(problem) => token_errors::explain(problem, name, user, project, iid),
        None => error,
    }
}

fn with_hints(message: &str, hints: &[String]) -> String {
    let hint = |hint: &String| format!("\n{} {hint}", paint(CYAN, "hint:"));
    message.to_owned() + &hints.iter().map(hint).collect::<String>()
}
