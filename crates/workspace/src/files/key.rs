//! The content key: 12 hexadecimal digits of a hash over all inputs of a project.

use std::collections::BTreeMap;

use camino::Utf8Path;
use ring::digest::{Context, SHA256, digest as digest_of};
use ring::rand::SecureRandom as _;

use base::error::{Result, failed};
use base::time::unix_now;

/// The state of one input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Git's file mode: `100644`, `100755`, `120000` for a link, `160000` for a submodule.
    pub mode: String,
    /// Git's object id of the content.
    pub id: String,
}

/// Returns the key of `inputs` (path to content) and `facts` (such as environment and tool
/// versions). It does not depend on the clock, the user, the path of the checkout, or the order.
#[must_use]
pub fn content_key<P: AsRef<Utf8Path> + Ord>(
    inputs: &BTreeMap<P, Blob>,
    facts: &BTreeMap<&str, String>,
) -> String {
    digest(inputs, facts)[..12].to_owned()
}

/// Returns the full hash of 64 digits.
#[must_use]
pub fn digest<P: AsRef<Utf8Path> + Ord>(
    inputs: &BTreeMap<P, Blob>,
    facts: &BTreeMap<&str, String>,
) -> String {
    let mut context = Context::new(&SHA256);
    // Every field has its length as a prefix, so that different inputs have different encodings.
    let mut feed = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    feed("xtask content key 1");
    for (name, value) in facts {
        feed(name);
        feed(value);
    }
    feed("inputs");
    for (path, blob) in inputs {
        feed(path.as_ref().as_str());
        feed(&blob.mode);
        feed(&blob.id);
    }
    hex(context.finish().as_ref())
}

/// Returns a unique id of an attempt: the time, so that files sort, and random digits.
pub fn fresh_nonce() -> Result<String> {
    let mut random = [0; 4];
    ring::rand::SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| failed("the system has no random numbers"))?;
    Ok(format!("{}-{}", unix_now(), hex(&random)))
}

/// Returns six hexadecimal digits that distinguish names after their special characters were replaced.
#[must_use]
pub fn short_hash(text: &str) -> String {
    hex(&digest_of(&SHA256, text.as_bytes()).as_ref()[..3])
}

/// Formats bytes as lowercase hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inputs: &[(&'static str, &str)], facts: &[(&'static str, &str)]) -> String {
        let inputs = inputs
            .iter()
            .map(|(path, id)| {
                (Utf8Path::new(*path), Blob { mode: "100644".into(), id: (*id).to_owned() })
            })
            .collect();
        content_key(
            &inputs,
            &facts.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        )
    }

    type Files = BTreeMap<String, (bool, String)>;

    fn files() -> impl proptest::strategy::Strategy<Value = Files> {
        // Few letters, so that near misses such as `a` + `bc` against `ab` + `c` occur.
        let content = (proptest::bool::ANY, "[ab0]{0,3}");
        proptest::collection::btree_map("[ab]{1,2}(/[ab]{1,2})?", content, 0..4)
    }

    fn key_of(files: &Files, shuffled: bool, facts: &BTreeMap<&str, String>) -> String {
        let blob = |(executable, id): &(bool, String)| Blob {
            mode: if *executable { "100755" } else { "100644" }.to_owned(),
            id: id.clone(),
        };
        let mut entries: Vec<_> =
            files.iter().map(|(path, file)| (Utf8Path::new(path), blob(file))).collect();
        if shuffled {
            entries.reverse();
        }
        content_key(&entries.into_iter().collect(), facts)
    }

    proptest::proptest! {
        #[test]
        fn different_inputs_have_different_keys(
            (one, other) in (files(), files()),
            (fact, another) in ("[ab]{0,2}", "[ab]{0,2}"),
        ) {
            let facts = BTreeMap::from([("a", fact)]);
            let others = BTreeMap::from([("a", another)]);
            let same = one == other && facts == others;
            proptest::prop_assert_eq!(key_of(&one, false, &facts) == key_of(&other, false, &others), same);
            proptest::prop_assert_eq!(key_of(&one, false, &facts), key_of(&one, true, &facts));
        }
    }

    #[test]
    fn order_does_not_matter_and_content_does() {
        let first = key(&[("a", "1"), ("b", "2")], &[("bun", "1.4.5")]);
        assert_eq!(first, key(&[("b", "2"), ("a", "1")], &[("bun", "1.4.5")]));
        assert_eq!(first.len(), 12);
        for other in [
            key(&[("a", "1"), ("b", "3")], &[("bun", "1.4.5")]),
            key(&[("a", "1"), ("c", "2")], &[("bun", "1.4.5")]),
            key(&[("a", "1")], &[("bun", "1.4.5")]),
            key(&[("a", "1"), ("b", "2")], &[("bun", "1.4.6")]),
            key(&[("a", "1"), ("b", "2")], &[("bun1.4", ".5")]),
        ] {
            assert_ne!(first, other);
        }
    }
}
