//! Changes copies of files at random, for the tests of parsers in each crate.
//!
//! The corpus of a crate is in its folder `corpus`. `XTASK_FUZZ=20000` sets the number of inputs for each target, and
//! lowers the limit for one input to a second.

use std::time::{Duration, Instant};

use camino::Utf8Path;

/// The longest time for one input in the suite. A busy machine is slow, but an exponential parser is slower.
const LIMIT: Duration = Duration::from_secs(20);

/// The longest time for one input if `XTASK_FUZZ` is set.
const GOAL: Duration = Duration::from_secs(1);

/// Pieces that break parsers.
const PIECES: [&str; 32] = [
    "[", "]", "{", "}", "\"", "'", "\\", "\n", ":", ",", "#", "//", "/*", "&a ", "*a", "? ", "- ",
    "\u{feff}", "\"\"\"", "=", "null", "1e999", "\\ud800", "\t", "**/", "{a,b}", "+(", "!", "@",
    "\u{0}", "..", "é",
];

/// Random numbers from a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).unwrap_or_default()
    }
}

/// Returns a copy of one of `texts` with some changes.
fn mutate(random: &mut Random, texts: &[Vec<char>]) -> String {
    let mut text = texts[random.below(texts.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(40)).min(text.len());
        match random.below(7) {
            0 => drop(text.drain(at..end)),
            1 => {
                let part = text[at..end].to_vec();
                (0..random.below(20)).for_each(|_| drop(text.splice(at..at, part.clone())));
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                let times = [1, 1, 1, 3, 200, 5000][random.below(6)];
                drop(text.splice(at..at, piece.repeat(times).chars().collect::<Vec<_>>()));
            }
            3 => {
                let other = &texts[random.below(texts.len())];
                let from = random.below(other.len());
                let part = other[from..(from + random.below(60)).min(other.len())].to_vec();
                text.splice(at..end, part).for_each(drop);
            }
            4 => text.truncate(at),
            5 => {
                text.iter_mut().skip(at).take(1).for_each(|c| {
                    *c = char::from(b' ' + u8::try_from(random.below(95)).unwrap_or(0));
                });
            }
            _ => text[at..end].reverse(),
        }
    }
    text.into_iter().collect()
}

/// Feeds changed copies of the files in one folder of the crate's corpus to `parse`. `count` is the value of
/// `XTASK_FUZZ`.
pub fn run(folder: &str, count: Option<String>, parse: impl Fn(&str)) {
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let files = folder.read_dir_utf8().expect("a corpus").map(|entry| entry.expect("an entry"));
    let mut texts: Vec<(String, Vec<char>)> = files
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().to_owned(), text.chars().collect())
        })
        .collect();
    texts.sort();
    let texts: Vec<Vec<char>> = texts.into_iter().map(|(_, text)| text).collect();
    for text in &texts {
        parse(&text.iter().collect::<String>());
    }
    let count = count.map(|count| count.parse().expect("XTASK_FUZZ is a number"));
    let limit = if count.is_some() { GOAL } else { LIMIT };
    let mut longest = Duration::ZERO;
    for seed in 1..=count.unwrap_or(150_u64) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let text = mutate(&mut random, &texts);
        let begun = Instant::now();
        parse(&text);
        longest = longest.max(begun.elapsed());
        assert!(begun.elapsed() < limit, "{folder}, seed {seed}: {:?}", begun.elapsed());
    }
    println!("{folder}: {} inputs, longest {longest:?}", count.unwrap_or(150));
}
