//! Version ranges of npm, to check whether a package of this repository satisfies one.

type VersionNumbers = [u64; 3];

/// Returns true if `version` may satisfy `range`. A range that cannot be read counts as satisfied,
/// because an extra dependency costs a build, but a missing one hides a change.
#[must_use]
pub fn satisfies(range: &str, version: Option<&str>) -> bool {
    let Some((version, _)) = version.and_then(read) else {
        return true;
    };
    range.split("||").any(|part| {
        comparators(part.trim())
            .is_none_or(|all| all.iter().all(|(low, high)| *low <= version && version < *high))
    })
}

/// Parses one alternative as half-open intervals. `None` if a part cannot be read.
fn comparators(text: &str) -> Option<Vec<(VersionNumbers, VersionNumbers)>> {
    if let Some((low, high)) = text.split_once(" - ") {
        return Some(vec![(read(low)?.0, interval(high)?.1)]);
    }
    // `>= 1.2` is one comparator.
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut().filter(|last| last.ends_with(['<', '>', '=', '^', '~'])) {
            Some(last) => *last += word,
            None => words.push(word.to_owned()),
        }
    }
    words.iter().map(|word| interval(word)).collect()
}

fn interval(word: &str) -> Option<(VersionNumbers, VersionNumbers)> {
    const TOP: VersionNumbers = [u64::MAX; 3];
    let digits = word.trim_start_matches(['<', '>', '=', '^', '~']);
    let (low, given) = read(digits)?;
    let above = |index: usize| match index.checked_sub(1) {
        None => TOP,
        Some(index) => {
            let mut high = low;
            high[index] += 1;
            high[index + 1..].fill(0);
            high
        }
    };
    Some(match &word[..word.len() - digits.len()] {
        "" | "=" => (low, above(given)),
        "~" => (low, above(given.min(2))),
        "^" => {
            let first = low.iter().position(|part| *part > 0).map_or(given, |index| index + 1);
            (low, above(first.min(given)))
        }
        ">=" => (low, TOP),
        ">" => (above(given), TOP),
        "<" => ([0; 3], low),
        "<=" => ([0; 3], above(given)),
        _ => return None,
    })
}

/// Parses the numbers of a version, and how many of them it has. Prerelease and build do not count.
fn read(text: &str) -> Option<(VersionNumbers, usize)> {
    let core = text.trim().trim_start_matches('v').split(['-', '+']).next()?;
    let (mut version, mut given) = ([0; 3], 0);
    for part in core.split('.').filter(|part| !part.is_empty()) {
        if matches!(part, "*" | "x" | "X") {
            break;
        }
        *version.get_mut(given)? = part.parse().ok().filter(|number| *number < u64::MAX)?;
        given += 1;
    }
    Some((version, given))
}

#[cfg(test)]
mod tests {
    use super::satisfies;

    #[test]
    fn ranges_as_npm_reads_them() {
        for (range, version, expected) in [
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "1.2.4", false),
            ("^1.2.3", "1.9.0", true),
            ("^1.2.3", "2.0.0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("^0", "0.9.0", true),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~1", "1.9.0", true),
            ("*", "7.0.0", true),
            ("", "7.0.0", true),
            ("1.x", "1.5.0", true),
            ("1.x", "2.0.0", false),
            (">=1 <3", "2.9.9", true),
            (">= 1.2 < 3", "3.0.0", false),
            ("1.0.0 - 2.0.0", "2.0.0", true),
            ("1.0.0 - 2.0.0", "2.0.1", false),
            ("^1 || ^3", "3.1.0", true),
            ("^1 || ^3", "2.1.0", false),
            ("latest", "2.1.0", true),
            ("npm:other@1", "2.1.0", true),
        ] {
            assert_eq!(satisfies(range, Some(version)), expected, "{range} {version}");
        }
        assert!(satisfies("^9", None));
    }
}
