//! The first part of a preview's host name.

use ring::digest::{SHA256, digest};

use super::merge_request::iid;
use base::error::{Result, refused, usage};
use workspace::key::hex;

/// The maximum length of a DNS label, which consists of the alias, a dash and the Worker's name.
const LABEL: usize = 63;

/// Checks an alias by Cloudflare's rules, which wrangler does not check: lowercase letters, digits and
/// dashes, a letter first (<https://developers.cloudflare.com/workers/configuration/previews/>).
pub fn check(alias: &str, worker: &str) -> Result<()> {
    if !alias.starts_with(|c: char| c.is_ascii_lowercase())
        || !alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        || alias.ends_with('-')
    {
        return Err(usage(format!("`{alias}` is not a valid alias"))
            .hint("use lower-case letters, digits and dashes, and a letter first"));
    }
    let length = alias.len() + 1 + worker.len();
    if length > LABEL {
        return Err(refused(format!(
            "`{alias}-{worker}` has {length} characters, and a host name's part at most {LABEL}"
        ))
        .hint("choose a shorter one: `--alias`"));
    }
    Ok(())
}

/// Returns the alias of a merge request.
#[must_use]
pub fn of_merge_request(iid: &str) -> String {
    format!("mr-{iid}")
}

/// Returns the merge request of an alias.
#[must_use]
pub fn merge_request(alias: &str) -> Option<u64> {
    iid(alias.strip_prefix("mr-")?)
}

/// Returns the alias of a branch, short enough for the longest of the Workers' names. A shortened or
/// changed name could collide with that of another branch, so four digits of the name's hash follow. They
/// also follow a name that looks like a merge request's alias, because that preview ends with the merge
/// request.
#[must_use]
pub fn of_branch(branch: &str, longest_worker: usize) -> String {
    let mut alias = String::new();
    for c in branch.to_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !alias.ends_with('-') {
            alias.push(c);
        }
    }
    let trimmed = alias.trim_matches('-');
    let lettered = match trimmed.chars().next() {
        Some(c) if c.is_ascii_lowercase() => trimmed.to_owned(),
        _ => format!("b-{trimmed}"),
    };
    let room = LABEL.saturating_sub(longest_worker + 1);
    if lettered == branch && lettered.len() <= room && merge_request(branch).is_none() {
        return lettered;
    }
    let hash = hex(&digest(&SHA256, branch.as_bytes()).as_ref()[..2]);
    let kept: String = lettered.chars().take(room.saturating_sub(5)).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_merge_request_of_an_alias() {
        assert_eq!(merge_request(&of_merge_request("42")), Some(42));
        for alias in ["mr-042", "mr-+42", "mr-0", "mr-4x", "mr-", "mr-42-website", "main"] {
            assert_eq!(merge_request(alias), None, "{alias}");
        }
    }

    #[test]
    fn rules() {
        for alias in ["mr-42", "a", "feature-x1"] {
            assert!(check(alias, "website").is_ok(), "{alias}");
        }
        for alias in ["MR_42!", "42", "-a", "a-", "", "a.b", "\u{e4}"] {
            assert!(check(alias, "website").is_err(), "{alias}");
        }
        assert!(check(&"a".repeat(55), "website").is_ok());
        assert!(check(&"a".repeat(56), "website").is_err());
    }

    #[test]
    fn branches() {
        assert_eq!(of_branch("new-home", 7), "new-home");
        assert!(of_branch("Feature/New_Home!", 7).starts_with("feature-new-home-"));
        assert_ne!(of_branch("feature/x", 7), of_branch("feature-X", 7));
        assert!(of_branch("mr-42", 7).starts_with("mr-42-"), "that is a merge request's");
    }

    proptest! {
        #[test]
        fn every_branch_has_a_valid_alias(branch in ".{1,80}", worker in "[a-z]{1,40}") {
            let alias = of_branch(&branch, worker.len());
            prop_assert!(check(&alias, &worker).is_ok(), "{}", alias);
        }
    }
}
