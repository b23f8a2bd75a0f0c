//! `comment`: custom rows in the merge request's comment.

use camino::Utf8PathBuf;
use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use base::error::{ErrorContext as _, Exit, Result, usage};
use deployment::context::Ctx;
use deployment::engine::previews::comment as engine;
use deployment::engine::previews::comment::write::CommentAction;
use gitlab::comment::CommentRow;
use workspace::config::Config;

/// Write rows into the comment of this pipeline's merge request.
///
/// `preview` keeps the same comment up to date, so you can add sites that other tools publish. Rows of other
/// projects do not change, even if several jobs write at the same time.
#[derive(Debug, Args)]
pub struct CommentCommand {
    /// JSON file with a list of rows. Each has `project` and `status` (building, ready, failed, unaffected or
    /// removed), and optionally `aliasUrl`, `versionUrl`, `commit`, `time`, `log` and `reason`
    #[arg(value_name = "FILE", required_unless_present = "removed")]
    rows: Option<Utf8PathBuf>,
    /// Mark every preview as removed
    #[arg(long, conflicts_with = "rows")]
    removed: bool,
}

impl CommentCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let config = Config::load(&ctx.root)?;
        let rows = self.rows.as_ref().map(read).transpose()?;
        let comment = engine::Comment::new(ctx, &config);
        let commented =
            rows.map_or_else(|| comment.mark_stopped(&[]), |rows| comment.finish(&rows));
        ctx.ui.report(&commented, &commented.text());
        Ok(if commented.action == CommentAction::Failed { Exit::Failed } else { Exit::Done })
    }
}

fn read(path: &Utf8PathBuf) -> Result<Vec<CommentRow>> {
    let text = std::fs::read_to_string(path).map_err(|error| usage(format!("{path}: {error}")))?;
    let values: Vec<Value> =
        serde_json::from_str(&text).map_err(|error| usage(format!("{path}: {error}")))?;
    values.iter().map(|value| row(value).with_context(|| path.to_string())).collect()
}

/// Parses a row. Unknown fields are errors here, but not in a stored comment, which a later version may have
/// written.
fn row(value: &Value) -> Result<CommentRow> {
    let row = CommentRow::deserialize(value).map_err(|error| usage(error.to_string()))?;
    let known = serde_json::to_value(&row)?;
    let fields = value.as_object().into_iter().flatten();
    match fields.into_iter().find(|(name, value)| !value.is_null() && known.get(name).is_none()) {
        Some((name, _)) => Err(usage(format!("unknown field `{name}`"))),
        None => Ok(row),
    }
}
