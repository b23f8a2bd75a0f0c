//! Parses indented blocks, as pnpm and Yarn write them: a line, then the lines with more indentation.

/// A line with the block below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'t> {
    /// The line without its indentation.
    pub(super) head: &'t str,
    /// The lines below it.
    pub(super) body: &'t str,
}

/// Returns the blocks of a text whose lines are indented by the same depth. Comments and empty lines do
/// not count.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let (mut at, mut depth) = (0, None);
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        if is_blank(line) {
            continue;
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        if indent <= *depth.get_or_insert(indent)
            && let Some((head, from)) = open.replace((line.trim(), end))
        {
            found.push(Block { head, body: &text[from..start] });
        }
    }
    if let Some((head, from)) = open {
        found.push(Block { head, body: &text[from..] });
    }
    found
}

impl<'t> Block<'t> {
    /// Returns the key and the value of `key: value` or `key value`, without their quotes.
    pub(super) fn entry(&self) -> (&'t str, &'t str) {
        let head = self.head;
        if let Some(quote) = head.chars().next().filter(|c| ['"', '\''].contains(c))
            && let Some((key, rest)) = head[1..].split_once(quote)
        {
            return (key, unquote(rest.strip_prefix(':').unwrap_or(rest)));
        }
        match head.split_once(": ") {
            Some((key, value)) => (key, unquote(value)),
            None => match head.strip_suffix(':') {
                Some(key) => (key, ""),
                None => {
                    head.split_once(' ').map_or((head, ""), |(key, value)| (key, unquote(value)))
                }
            },
        }
    }

    /// Returns the block of this key below this one.
    pub(super) fn child(&self, key: &str) -> Option<Block<'t>> {
        blocks(self.body).into_iter().find(|block| block.entry().0 == key)
    }
}

/// Returns a scalar without its quotes.
pub(super) fn unquote(text: &str) -> &str {
    let text = text.trim();
    let inner =
        ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text)
}
