//! Paths relative to the repository.

use camino::{Utf8Path, Utf8PathBuf};

/// Returns `path` without `.` and `..`. `None` if it leaves the repository.
#[must_use]
pub fn normalize(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part.as_str() {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            "/" => return None,
            name => parts.push(name),
        }
    }
    Some(parts.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normalize(Utf8Path::new("a/./b/../c")).as_deref(), Some(Utf8Path::new("a/c")));
        assert_eq!(normalize(Utf8Path::new("a/../../c")), None);
        assert_eq!(normalize(Utf8Path::new("/etc")), None);
    }
}
