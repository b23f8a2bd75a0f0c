//! Parses a list of changed paths from another program.

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::paths::normalize;

/// Parses the paths in `text`, separated by NUL if it contains one, else by line. They may be
/// absolute or relative to `root`. Errors if the list is not reliable.
pub fn paths(root: &Utf8Path, text: &[u8]) -> Result<Vec<Utf8PathBuf>, String> {
    let text = String::from_utf8_lossy(text);
    let nul = text.contains('\0');
    let separator = if nul { '\0' } else { '\n' };
    text.split(separator)
        .map(|line| if nul { line.to_owned() } else { line.trim_end_matches('\r').to_owned() })
        .filter(|path| !path.is_empty())
        .map(|path| {
            if !nul && path.starts_with('"') {
                return Err(format!(
                    "the listed path {path} is quoted; list paths separated by NUL (`-z`)"
                ));
            }
            let path = Utf8Path::new(&path);
            normalize(path.strip_prefix(root).unwrap_or(path))
                .ok_or_else(|| format!("the listed path {path} is outside of the repository"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_path_lists_of_other_programs() {
        let read = |text: &[u8]| paths(Utf8Path::new("/repo"), text);
        assert_eq!(read(b"a\r\n./b/../c d\n\n/repo/e\n").expect("paths"), ["a", "c d", "e"]);
        assert_eq!(read(b"a\nb\0\"c\"\0").expect("paths"), ["a\nb", "\"c\""]);
        assert_eq!(read(b"").expect("none"), Vec::<Utf8PathBuf>::new());
        assert!(read(b"\"a\\tb\"\n").is_err(), "quoted by git");
        assert!(read(b"../a\n").is_err() && read(b"/etc/passwd\n").is_err(), "outside");
    }
}
