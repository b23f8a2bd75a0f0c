//! The handlers that a version's code exports, as the API names them.
//!
//! Cloudflare runs the code to find out. The sandbox reads the text of the main module, which wrangler
//! bundled: a name counts if the text defines a method, a property or an event listener of that name.
//! It may name a handler that is not exported, and does not miss one.

/// The handlers of a Worker.
const HANDLERS: [&str; 5] = ["fetch", "scheduled", "queue", "email", "tail"];

/// Returns the names of the handlers that `code` defines.
#[must_use]
pub fn handlers(code: &str) -> Vec<&'static str> {
    HANDLERS.into_iter().filter(|name| defines(code, name)).collect()
}

fn defines(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if code.contains(&format!("addEventListener(\"{name}\"")) {
        return true;
    }
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let is_part = before.ends_with(is_word) || after.starts_with(is_word);
        !is_part && !before.ends_with('.') && is_definition(after.trim_start())
    })
}

/// Tells whether what follows a name makes it a method (`(…) {`), a property (`:`, `=`) or a
/// shorthand property (`,`, `}`).
fn is_definition(after: &str) -> bool {
    match after.chars().next() {
        Some('(') => {
            end_of_parentheses(after).is_some_and(|rest| rest.trim_start().starts_with('{'))
        }
        Some('=') => !after.starts_with("=="),
        Some(':' | ',' | '}') => true,
        _ => false,
    }
}

fn end_of_parentheses(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(&text[at + 1..]),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::handlers;

    #[test]
    fn definitions_count_and_calls_do_not() {
        for (code, wanted) in [
            ("var w = {\n  async fetch(request, env) {\n    return x;\n  }\n};", vec!["fetch"]),
            (
                "export default { scheduled: async () => { await fetch(\"https://a\"); } }",
                vec!["scheduled"],
            ),
            (
                "export default { async queue(batch) { if (globalThis.fetch(u)) { } } }",
                vec!["queue"],
            ),
            ("class App { fetch = (request) => this.dispatch(request); }", vec!["fetch"]),
            (
                "function fetch(r) { }\nexport default { fetch, scheduled };",
                vec!["fetch", "scheduled"],
            ),
            ("addEventListener(\"fetch\", (e) => e.respondWith(x))", vec!["fetch"]),
            ("prefetch(a) { } fetched: 1", vec![]),
        ] {
            assert_eq!(handlers(code), wanted, "{code}");
        }
    }
}
