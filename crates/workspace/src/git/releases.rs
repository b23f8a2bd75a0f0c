//! Releases: tags such as `v1.2.3`.

use camino::Utf8Path;

use super::ask;

/// Returns the numbers of a release such as `v1.2.3`. `None` for other tags and prereleases.
#[must_use]
pub fn release(tag: &str) -> Option<[u64; 3]> {
    let mut numbers = tag.strip_prefix('v').unwrap_or(tag).split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    let found = [next()?, next()?, next()?];
    numbers.next().is_none().then_some(found)
}

/// Returns the tag with the highest numbers. `None` if no tag is a release.
#[must_use]
pub fn newest_release<'t>(tags: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    tags.filter_map(|tag| Some((release(tag)?, tag))).max().map(|(_, tag)| tag)
}

/// Returns the release of the commit that is checked out. `None` if it is none.
#[must_use]
pub fn release_of_head(root: &Utf8Path) -> Option<String> {
    let tags = ask(root, &["tag", "--points-at", "HEAD"])?;
    newest_release(tags.lines().filter(|tag| tag.starts_with('v'))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        let mut tags = ["v1.10.0", "v1.9.9", "v2.0.0-rc.1", "nightly", "1.2.3", "v1.2", "v1.2.3.4"];
        assert_eq!(newest_release(tags.into_iter()), Some("v1.10.0"));
        tags.sort_by_key(|tag| release(tag));
        assert_eq!(
            tags.map(|tag| release(tag).is_some()),
            [false, false, false, false, true, true, true]
        );
    }
}
