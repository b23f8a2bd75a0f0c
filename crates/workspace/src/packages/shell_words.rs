//! The words of a command in a script.

/// Splits a command at spaces outside of quotes. The words keep their quotes.
pub(super) fn words(command: &str) -> Vec<&str> {
    let (mut quote, mut is_escaped) = (None, false);
    command
        .split(|c: char| {
            if is_escaped {
                is_escaped = false;
                return false;
            }
            match (c, quote) {
                ('\\', None | Some('"')) => is_escaped = true,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, None) if c.is_whitespace() => return true,
                _ => {}
            }
            false
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Returns a word without its quotes, as a shell does. `None` if a quote is not closed.
pub(super) fn unquote(word: &str) -> Option<String> {
    shlex::split(word).map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_of_quotes() {
        for (command, expected) in [
            ("wrangler  deploy\t--minify", &["wrangler", "deploy", "--minify"][..]),
            (r#"a --define "DEV: false" b"#, &["a", "--define", r#""DEV: false""#, "b"]),
            (r#"a --define="DEV: false""#, &["a", r#"--define="DEV: false""#]),
            (r"a 'it is' \'b", &["a", "'it is'", r"\'b"]),
            (r#"a "not closed"#, &["a", r#""not closed"#]),
            ("", &[]),
        ] {
            assert_eq!(words(command), expected, "{command}");
        }
        assert_eq!(unquote(r#"--define="DEV: false""#).as_deref(), Some("--define=DEV: false"));
        assert_eq!(unquote(r#""\"a b\"""#).as_deref(), Some(r#""a b""#));
        assert_eq!(unquote("'a"), None);
    }
}
