//! The first part of a preview's host name.

use ring::digest::{SHA256, digest};

use super::merge_request::iid;
use base::error::{Result, refused, usage};
use base::http::host_of;
use workspace::key::hex;

/// The maximum length of a DNS label, which consists of the alias, a dash and the Worker's name.
const LABEL: usize = 63;

/// The length of the shortest alias of a long branch name: a letter, a dash and four digits of its hash.
const SHORTEST_ALIAS: usize = 6;

/// The longest name of a Worker that leaves room for the alias of any branch.
pub const LONGEST_WORKER: usize = LABEL - 1 - SHORTEST_ALIAS;

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
    if label(alias, worker).is_some() {
        return Ok(());
    }
    let failure = refused(format!(
        "`{alias}-{worker}` has {} characters ({} of the alias, {} of the Worker's name), and a host name's part at most {LABEL}",
        alias.len() + 1 + worker.len(),
        alias.len(),
        worker.len()
    ));
    let room = |other: &str| LABEL.saturating_sub(other.len() + 1);
    let shorter_worker = || {
        let most = room(alias);
        format!("give the Worker a `name` of at most {most} characters")
    };
    // A name without room for the alias of any branch is too long. Else the longer of the two is.
    let is_worker_long = worker.len() > LONGEST_WORKER || worker.len() > alias.len();
    Err(match (is_worker_long && room(alias) > 0, room(worker)) {
        (true, 0) => failure.hint(shorter_worker()),
        (true, most) => failure
            .hint(shorter_worker())
            .hint(format!("or choose an alias of at most {most} characters with `--alias`")),
        (false, most) => {
            failure.hint(format!("choose an alias of at most {most} characters with `--alias`"))
        }
    })
}

/// Returns the first part of a preview's host name: `prefix` is an alias or the first 8 digits of a version. `None` if it
/// is too long for DNS, so that no such host exists.
#[must_use]
pub fn label(prefix: &str, worker: &str) -> Option<String> {
    let label = format!("{prefix}-{worker}");
    (label.len() <= LABEL).then_some(label)
}

/// Returns true if no part of the host name of `url` is too long for DNS.
#[must_use]
pub fn has_valid_host(url: &str) -> bool {
    host_of(url).is_some_and(|host| host.split('.').all(|part| part.len() <= LABEL))
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

/// Returns the alias of a branch, short enough for the longest of the Workers' names, up to [`LONGEST_WORKER`]. A shortened or
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
    // A longer name of a Worker is refused. It leaves the alias valid for the others.
    let kept = room.max(SHORTEST_ALIAS) - hash.len() - 1;
    let kept: String = lettered.chars().take(kept).collect();
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
    fn a_label_that_is_too_long_names_its_parts() {
        let text = |alias: &str, worker: usize| {
            let worker = "w".repeat(worker);
            let error = check(alias, &worker).expect_err("too long").with_hints();
            error.replace(&worker, "WORKER")
        };
        assert_eq!(
            text("mr-1", 59),
            "`mr-1-WORKER` has 64 characters (4 of the alias, 59 of the Worker's name), and a host name's part at most 63\n\
             hint: give the Worker a `name` of at most 58 characters\n\
             hint: or choose an alias of at most 3 characters with `--alias`"
        );
        assert!(
            text("mr-1", 63).ends_with("\nhint: give the Worker a `name` of at most 58 characters")
        );
        let long = "a".repeat(56);
        assert!(
            text(&long, 7)
                .ends_with("\nhint: choose an alias of at most 55 characters with `--alias`")
        );
    }

    #[test]
    fn only_a_short_name_has_an_address_of_each_version() {
        assert_eq!(label("12345678", &"w".repeat(54)).map(|label| label.len()), Some(63));
        assert_eq!(label("12345678", &"w".repeat(55)), None);
        assert!(has_valid_host("https://mr-1-web.acme.workers.dev/"));
        assert!(!has_valid_host(&format!("https://{}.acme.workers.dev/", "w".repeat(64))));
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
        fn every_branch_has_a_valid_alias(branch in ".{1,80}", worker in "[a-z]{1,56}") {
            let alias = of_branch(&branch, worker.len());
            prop_assert!(check(&alias, &worker).is_ok(), "{}", alias);
            // A Worker with a longer name has none, and leaves one to the others.
            let alias = of_branch(&branch, 63);
            prop_assert!(check(&alias, &worker).is_ok(), "{}", alias);
        }
    }
}
