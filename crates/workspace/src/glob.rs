//! Patterns of folders, as `workspaces` and `pnpm-workspace.yaml` write them.

use camino::Utf8Path;

/// Whether `dir`, relative to the folder that holds the patterns, is named by them. A pattern that
/// begins with `!` takes folders out again, wherever it stands.
#[must_use]
pub fn names(patterns: &[String], dir: &Utf8Path) -> bool {
    let hit = |pattern: &str| matches(pattern, dir);
    patterns.iter().filter(|p| !p.starts_with('!')).any(|p| hit(p))
        && !patterns.iter().filter_map(|p| p.strip_prefix('!')).any(hit)
}

/// Whether `dir` is what `pattern` describes. `*` and `?` stay within one folder's name, `**` stands
/// for any number of folders, `{a,b}` for either.
fn matches(pattern: &str, dir: &Utf8Path) -> bool {
    if let Some((before, rest)) = pattern.split_once('{')
        && let Some((choices, after)) = rest.split_once('}')
    {
        let with = |choice: &str| matches(&format!("{before}{choice}{after}"), dir);
        return choices.split(',').any(with);
    }
    let pattern: Vec<&str> =
        pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let dir: Vec<&str> = dir.components().map(|part| part.as_str()).collect();
    folders(&pattern, &dir)
}

fn folders(pattern: &[&str], dir: &[&str]) -> bool {
    match (pattern.split_first(), dir.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            folders(rest, dir)
                || dir.split_first().is_some_and(|(_, below)| folders(pattern, below))
        }
        (Some((part, rest)), Some((name, below))) => {
            name_matches(part.as_bytes(), name.as_bytes()) && folders(rest, below)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            name_matches(rest, name)
                || name.split_first().is_some_and(|(_, more)| name_matches(pattern, more))
        }
        (Some((p, rest)), Some((n, more))) => (*p == b'?' || p == n) && name_matches(rest, more),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_real_workspaces() {
        for (patterns, dir, expected) in [
            (&["packages/*"][..], "packages/ui", true),
            (&["packages/*"], "packages/ui/deep", false),
            (&["./packages/*/"], "packages/ui", true),
            (&["packages/**"], "packages/ui/deep", true),
            (&["**"], "any/where", true),
            (&["apps/web"], "apps/web", true),
            (&["apps/web"], "apps/web2", false),
            (&["apps/*-site"], "apps/a-site", true),
            (&["{apps,packages}/*"], "apps/a", true),
            (&["packages/*", "!packages/old"], "packages/old", false),
            (&["!**/test/**", "**"], "a/test/b", false),
            (&["packages/*"], "", false),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
            assert_eq!(names(&patterns, Utf8Path::new(dir)), expected, "{patterns:?} {dir}");
        }
    }
}
