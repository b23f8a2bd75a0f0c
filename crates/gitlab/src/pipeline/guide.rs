//! The generated files of the pipeline: the file that GitLab reads, and the table in its guide.

use super::variables;
use base::error::{Result, refused};
use workspace::Workspace;
use workspace::own_repository::OwnRepository;

const START: &str = "<!-- variables: written by `cargo xtask ci generate` -->";
const END: &str = "<!-- end of variables -->";

/// Returns the expected text of each generated file of `workspace`, by path. Only the
/// repository of xtask has a guide.
pub fn files(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let mut files = vec![(workspace.config.pipeline.file.clone(), super::generate(workspace)?)];
    if let Some(OwnRepository { guide, .. }) = OwnRepository::read(&workspace.root) {
        let text = workspace::symlinks::read(&workspace.root, guide.as_str().into())?;
        let table = variables::markdown(&variables::table(&workspace.config));
        let filled = fill(&text, &table).ok_or_else(|| {
            refused(format!("{guide} lacks the lines `{START}` and `{END}`"))
                .hint("put them around the table of variables")
        })?;
        files.push((guide, filled));
    }
    Ok(files)
}

/// Replaces the text between the markers with `table`.
fn fill(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_the_text_between_the_markers() {
        let text = format!("a\n{START}\nold\n{END}\nb\n");
        let filled = fill(&text, "new\n").expect("markers");
        assert_eq!(filled, format!("a\n{START}\nnew\n{END}\nb\n"));
        assert_eq!(fill(&filled, "new\n"), Some(filled));
        assert_eq!(fill("a", "t"), None);
    }
}
