//! Commands in the text of a comment (<https://docs.gitlab.com/user/project/quick_actions/>).

use super::changes::Action;

/// A comment, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// What is left without the commands.
    pub body: String,
    /// Names and actions of the commands.
    pub commands: Vec<(String, Action)>,
}

/// Takes a comment apart as `lib/gitlab/quick_actions/extractor.rb` of GitLab does: carriage returns
/// go first, then each line that starts with a command outside code fences, `>>>` quotes and HTML
/// blocks. Newer versions skip a little more; this is the side on which a client must be safe.
#[must_use]
pub fn extract(text: &str) -> Extracted {
    let text = text.replace('\r', "");
    let lines: Vec<&str> = text.split('\n').collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut commands = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        if let Some(length) = protected(&lines[index..]) {
            kept.extend(&lines[index..index + length]);
            index += length;
            continue;
        }
        index += 1;
        let Some(command) = command(line) else {
            kept.push(line);
            continue;
        };
        commands.push(command);
        // The blank lines after a command go with it.
        while lines.get(index).is_some_and(|line| line.trim().is_empty()) {
            index += 1;
        }
    }
    Extracted { body: kept.join("\n").trim_end().to_owned(), commands }
}

/// How many lines a block takes in which nothing is a command, when one starts here. One that is
/// never closed protects nothing.
fn protected(lines: &[&str]) -> Option<usize> {
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
    // Something must stand between.
    lines.iter().skip(2).position(|line| closes(line)).map(|between| between + 3)
}

fn command(line: &str) -> Option<(String, Action)> {
    let rest = line.strip_prefix('/')?;
    let (name, argument) = rest.split_once(' ').unwrap_or((rest.trim_end(), ""));
    let name = name.to_ascii_lowercase();
    let argument = argument.trim();
    let action = match name.as_str() {
        "close" => Action::Close,
        "reopen" => Action::Reopen,
        "merge" => Action::Merge,
        "approve" => Action::Approve,
        "unapprove" => Action::Unapprove,
        "label" | "labels" => Action::Label(names(argument, '~')),
        "unlabel" | "remove_label" => Action::Unlabel(names(argument, '~')),
        "relabel" => Action::Relabel(names(argument, '~')),
        "title" => Action::Title(argument.to_owned()),
        "assign" => Action::Assign(names(argument, '@')),
        "unassign" => Action::Unassign(names(argument, '@')),
        "draft" | "wip" => Action::Draft(true),
        "ready" => Action::Draft(false),
        "lock" => Action::Lock(true),
        "unlock" => Action::Lock(false),
        "todo" | "done" | "subscribe" | "unsubscribe" | "rebase" | "milestone"
        | "remove_milestone" | "estimate" | "spend" | "target_branch" | "assign_reviewer"
        | "unassign_reviewer" | "request_review" | "react" | "award" | "copy_metadata" => {
            Action::Elsewhere(name.clone())
        }
        _ => return None,
    };
    Some((name, action))
}

/// `~one ~"two words" three`
fn names(text: &str, mark: char) -> Vec<String> {
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
    use super::{Action, extract};

    #[test]
    fn commands_leave_the_text_and_protected_blocks_stay() {
        let text = "hello\r\n/label ~one ~\"two words\"\n\nworld\n```\n/close\n```\n>>>\n/merge\n>>>\n<p>\n/close\n</p>\n /close\n`/close`\n/closed\n/CLOSE";
        let found = extract(text);
        assert_eq!(
            found.body,
            "hello\nworld\n```\n/close\n```\n>>>\n/merge\n>>>\n<p>\n/close\n</p>\n /close\n`/close`\n/closed"
        );
        let actions: Vec<&Action> = found.commands.iter().map(|(_, action)| action).collect();
        let labels = Action::Label(vec!["one".to_owned(), "two words".to_owned()]);
        assert_eq!(actions, [&labels, &Action::Close]);
    }

    #[test]
    fn carriage_returns_and_open_fences_protect_nothing() {
        assert_eq!(extract("\r/merge").commands.len(), 1);
        assert_eq!(extract("```\n/merge").commands.len(), 1);
        assert_eq!(extract("<!-- marker -->\n/merge").commands.len(), 1);
        assert_eq!(
            extract("text \r\n"),
            super::Extracted { body: "text".to_owned(), commands: vec![] }
        );
    }
}
