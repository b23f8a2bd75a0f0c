//! Limits on the size and depth of untrusted files. One pass checks them before a parser reads the text,
//! because some parsers recurse once per level and would overflow the stack.

/// The largest manifest, config or settings file that is read.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// The deepest nesting that is read. No tool writes more than a dozen levels.
pub const MAX_DEPTH: usize = 100;

/// The syntax of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON, with or without comments.
    Json,
    /// TOML.
    Toml,
    /// YAML. Its parser limits the nesting.
    Yaml,
}

/// Returns the text without the byte order mark that some editors put first. Every tool ignores it.
#[must_use]
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The largest lock file that is read.
pub const MAX_LOCK_BYTES: usize = 128 << 20;

/// Returns true if a JSON lock file is within the limits of size and depth.
#[must_use]
pub fn is_readable_lock(text: &str) -> bool {
    text.len() <= MAX_LOCK_BYTES && Scan::new(text).json().is_ok()
}

/// Checks the size and depth of a manifest, config or settings file. The error names the exceeded limit.
pub fn check(text: &str, syntax: Syntax) -> Result<(), String> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(format!("the file has more than {} MiB", MAX_CONFIG_BYTES >> 20));
    }
    match syntax {
        Syntax::Json => Scan::new(text).json(),
        Syntax::Toml => Scan::new(text).toml(),
        Syntax::Yaml => Ok(()),
    }
}

/// One pass over the bytes of a text.
struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    depth: usize,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Scan<'t> {
        Scan { bytes: text.as_bytes(), at: 0, depth: 0 }
    }

    fn json(mut self) -> Result<(), String> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'"' | b'\'' => self.skip_string(byte, true),
                b'/' => self.skip_comment(),
                b'[' | b'{' => self.open()?,
                b']' | b'}' => self.close(),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    fn toml(mut self) -> Result<(), String> {
        // The parts of the dotted key that is being read.
        let mut parts = 0;
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'"' | b'\'' => {
                    let delimiter = [byte; 3];
                    if self.bytes[self.at..].starts_with(&delimiter) {
                        self.skip_block(delimiter, byte == b'"');
                    } else {
                        self.skip_string(byte, byte == b'"');
                    }
                }
                b'#' => self.skip_line(),
                b'.' => {
                    parts += 1;
                    if parts > MAX_DEPTH {
                        return Err(self.too_deep());
                    }
                }
                b'[' | b'{' => {
                    parts = 0;
                    self.open()?;
                }
                b']' | b'}' => {
                    parts = 0;
                    self.close();
                }
                b'\n' | b'=' | b',' => parts = 0,
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn too_deep(&self) -> String {
        let line = self.bytes[..self.at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is nested more than {MAX_DEPTH} levels deep")
    }

    /// Skips to the closing quote, or to the end of the line: strings do not span lines.
    fn skip_string(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' if escapes => self.at += 1,
                b'\n' => return,
                byte if *byte == quote => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Skips a multiline string of TOML.
    fn skip_block(&mut self, delimiter: [u8; 3], escapes: bool) {
        self.at += 3;
        while self.at < self.bytes.len() && !self.bytes[self.at..].starts_with(&delimiter) {
            self.at += if escapes && self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 2;
    }

    fn skip_comment(&mut self) {
        match self.bytes.get(self.at + 1) {
            Some(b'/') => self.skip_line(),
            Some(b'*') => {
                let rest = &self.bytes[self.at..];
                let end = rest.windows(2).skip(2).position(|pair| pair == b"*/");
                self.at += end.map_or(rest.len(), |end| end + 3);
            }
            _ => {}
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_texts_are_refused_before_they_are_parsed() {
        for (syntax, text) in [
            (Syntax::Json, "[".repeat(100_000)),
            (Syntax::Json, "{\"a\":".repeat(200)),
            (Syntax::Toml, format!("a = {}", "[".repeat(100_000))),
            (Syntax::Toml, format!("a{} = 1", ".a".repeat(100_000))),
            (Syntax::Toml, format!("[a{}]", ".a".repeat(100_000))),
            (Syntax::Toml, format!("a = {{ b{} = 1 }}", ".a".repeat(100_000))),
        ] {
            let error = check(&text, syntax).expect_err("too deep");
            assert_eq!(error, "line 1 is nested more than 100 levels deep");
        }
        let error = check(&" ".repeat(MAX_CONFIG_BYTES + 1), Syntax::Yaml).expect_err("too large");
        assert_eq!(error, "the file has more than 4 MiB");
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let many = "[".repeat(200);
        for (syntax, text) in [
            (Syntax::Json, format!("{{ \"a\": \"{many}\\\"{many}\" }}")),
            (Syntax::Json, format!("{{ // {many}\n /* {many}\n */ }}")),
            (Syntax::Toml, format!("a = \"{many}\" # {many}\nb = '{many}'")),
            (Syntax::Toml, format!("a = \"\"\"{many}\n\\\"\"\" {many}\"\"\"\nb = '''{many}\n'''")),
            (Syntax::Toml, "a = 1.5\n".repeat(200)),
            (Syntax::Json, "[1,2],".repeat(200)),
        ] {
            assert_eq!(check(&text, syntax), Ok(()), "{text}");
        }
    }
}
