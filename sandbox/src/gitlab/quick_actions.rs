//! Parses quick actions in the text of a comment (<https://docs.gitlab.com/user/project/quick_actions/>).

use super::changes::MergeRequestAction;

/// A comment, split into its text and its quick actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedComment {
    /// The text without the commands.
    pub body: String,
    /// The name and the action of each command.
    pub commands: Vec<(String, MergeRequestAction)>,
}

/// Splits a comment like GitLab's `lib/gitlab/quick_actions/extractor.rb`. Removes carriage returns,
/// then each line that begins with a command outside code fences, `>>>` quotes and HTML blocks. Newer
/// versions of GitLab skip more blocks, but clients must work with older versions too.
#[must_use]
pub fn parse_comment(text: &str) -> ParsedComment {
    let text = text.replace('\r', "");
    let lines: Vec<&str> = text.split('\n').collect();
    let mut body: Vec<&str> = Vec::new();
    let mut commands = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        if let Some(length) = block_length(&lines[index..]) {
            body.extend(&lines[index..index + length]);
            index += length;
            continue;
        }
        index += 1;
        let Some(command) = parse_command(line) else {
            body.push(line);
            continue;
        };
        commands.push(command);
        // GitLab also removes the blank lines after a command.
        while lines.get(index).is_some_and(|line| line.trim().is_empty()) {
            index += 1;
        }
    }
    ParsedComment { body: body.join("\n").trim_end().to_owned(), commands }
}

/// Returns the number of lines of the block that begins with the first line. A block contains no commands.
/// `None` if no block begins there or if it is never closed.
fn block_length(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let closes: fn(&str) -> bool = if first.starts_with("```") {
        |line| line == "```"
    } else if first.starts_with(">>>") {
        |line| line == ">>>"
    } else if first.len() > 2 && first.starts_with('<') && first.find('>') == Some(first.len() - 1)
    {
        |line| line.starts_with("</") && line.len() > 3 && line.find('>') == Some(line.len() - 1)
    } else {
        return None;
    };
    // A block has at least one line between its first and its last one.
    lines.iter().skip(2).position(|line| closes(line)).map(|between| between + 3)
}

/// Parses a command such as `/label ~bug`. `None` if the line is not a known command.
fn parse_command(line: &str) -> Option<(String, MergeRequestAction)> {
    let rest = line.strip_prefix('/')?;
    let (name, argument) = rest.split_once(' ').unwrap_or((rest.trim_end(), ""));
    let name = name.to_ascii_lowercase();
    let argument = argument.trim();
    let action = match name.as_str() {
        "close" => MergeRequestAction::Close,
        "reopen" => MergeRequestAction::Reopen,
        "merge" => MergeRequestAction::Merge,
        "approve" => MergeRequestAction::Approve,
        "unapprove" => MergeRequestAction::Unapprove,
        "label" | "labels" => MergeRequestAction::Label(parse_names(argument, '~')),
        "unlabel" | "remove_label" => MergeRequestAction::Unlabel(parse_names(argument, '~')),
        "relabel" => MergeRequestAction::Relabel(parse_names(argument, '~')),
        "title" => MergeRequestAction::Title(argument.to_owned()),
        "assign" => MergeRequestAction::Assign(parse_names(argument, '@')),
        "unassign" => MergeRequestAction::Unassign(parse_names(argument, '@')),
        "draft" | "wip" => MergeRequestAction::Draft(true),
        "ready" => MergeRequestAction::Draft(false),
        "lock" => MergeRequestAction::Lock(true),
        "unlock" => MergeRequestAction::Lock(false),
        "todo" | "done" | "subscribe" | "unsubscribe" | "rebase" | "milestone"
        | "remove_milestone" | "estimate" | "spend" | "target_branch" | "assign_reviewer"
        | "unassign_reviewer" | "request_review" | "react" | "award" | "copy_metadata" => {
            MergeRequestAction::Other(name.clone())
        }
        _ => return None,
    };
    Some((name, action))
}

/// Parses a list of names such as `~one ~"two words" three`.
fn parse_names(text: &str, mark: char) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = rest.strip_prefix(mark).unwrap_or(rest);
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once([' ', ',']).unwrap_or((rest, "")),
        };
        if !name.is_empty() {
            names.push(name.to_owned());
        }
        rest = after.trim_start_matches([' ', ',']);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{MergeRequestAction, parse_comment};

    #[test]
    fn commands_outside_of_blocks_are_removed() {
        let text = "hello\r\n/label ~one ~\"two words\"\n\nworld\n```\n/close\n```\n>>>\n/merge\n>>>\n<p>\n/close\n</p>\n /close\n`/close`\n/closed\n/CLOSE";
        let comment = parse_comment(text);
        assert_eq!(
            comment.body,
            "hello\nworld\n```\n/close\n```\n>>>\n/merge\n>>>\n<p>\n/close\n</p>\n /close\n`/close`\n/closed"
        );
        let actions: Vec<&MergeRequestAction> =
            comment.commands.iter().map(|(_, action)| action).collect();
        let labels = MergeRequestAction::Label(vec!["one".to_owned(), "two words".to_owned()]);
        assert_eq!(actions, [&labels, &MergeRequestAction::Close]);
    }

    #[test]
    fn carriage_returns_and_unclosed_fences_do_not_hide_commands() {
        assert_eq!(parse_comment("\r/merge").commands.len(), 1);
        assert_eq!(parse_comment("```\n/merge").commands.len(), 1);
        assert_eq!(parse_comment("<!-- marker -->\n/merge").commands.len(), 1);
        assert_eq!(
            parse_comment("text \r\n"),
            super::ParsedComment { body: "text".to_owned(), commands: vec![] }
        );
    }
}
