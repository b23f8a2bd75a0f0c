//! `yarn.lock` of Yarn classic and of Yarn berry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::blocks::{Block, blocks, unquote};
use super::{LockFile, LockedPackage};

const KINDS: [&str; 2] = ["dependencies", "optionalDependencies"];

pub(super) fn parse(text: &str) -> Option<LockFile> {
    let all = blocks(text);
    if let Some(metadata) = all.iter().find(|block| block.entry().0 == "__metadata") {
        return berry(&all, metadata);
    }
    text.contains("# yarn lockfile v1").then(|| classic(&all))
}

/// The blocks of packages, and the key of each by its requests.
struct Requests<'t> {
    blocks: Vec<Block<'t>>,
    keys: HashMap<String, String>,
    /// The keys by the name of the package.
    by_name: BTreeMap<String, Vec<String>>,
}

impl<'t> Requests<'t> {
    fn new(all: &[Block<'t>]) -> Requests<'t> {
        let packages = all.iter().copied().filter(|block| block.entry().0 != "__metadata");
        let mut requests =
            Requests { blocks: packages.collect(), keys: HashMap::new(), by_name: BTreeMap::new() };
        for block in &requests.blocks {
            for request in split(block.head) {
                requests.keys.insert(request.to_owned(), block.head.to_owned());
                if let Some((name, _)) = request.get(1..).and_then(|rest| rest.split_once('@')) {
                    let name = format!("{}{name}", &request[..1]);
                    let keys = requests.by_name.entry(name).or_default();
                    keys.push(block.head.to_owned());
                }
            }
        }
        requests
    }

    /// Returns the keys of a dependency. A resolution may replace the requested version with another
    /// one. Then every version of the name counts.
    fn find(&self, name: &str, range: &str) -> Vec<String> {
        let candidates = [format!("{name}@{range}"), format!("{name}@npm:{range}")];
        if let Some(key) = candidates.iter().find_map(|request| self.keys.get(request)) {
            return vec![key.clone()];
        }
        self.by_name.get(name).cloned().unwrap_or_else(|| vec![format!("{name} {range}")])
    }

    fn dependencies(&self, block: &Block) -> Vec<String> {
        let kinds = blocks(block.body);
        let kinds = kinds.iter().filter(|child| KINDS.contains(&child.entry().0));
        let pairs = kinds.flat_map(|child| blocks(child.body));
        pairs.flat_map(|pair| self.find(pair.entry().0, pair.entry().1)).collect()
    }

    fn packages(&self) -> HashMap<String, LockedPackage> {
        let package = |block: &Block| {
            let dependencies = self.dependencies(block);
            (block.head.to_owned(), LockedPackage { text: block.body.to_owned(), dependencies })
        };
        self.blocks.iter().map(package).collect()
    }
}

/// Returns the requests in the first line of a package: `a@^1, "b@1 || 2":`.
fn split(head: &str) -> impl Iterator<Item = &str> {
    unquote(head.trim_end_matches(':')).split(", ").map(unquote)
}

fn classic(all: &[Block]) -> LockFile {
    let requests = Requests::new(all);
    LockFile {
        header: "classic".to_owned(),
        packages: requests.packages(),
        importers: BTreeMap::new(),
        by_request: Some(requests.keys),
    }
}

fn berry(all: &[Block], metadata: &Block) -> Option<LockFile> {
    let requests = Requests::new(all);
    let mut lock = LockFile { header: metadata.body.to_owned(), ..LockFile::default() };
    for block in &requests.blocks {
        let resolution = block.child("resolution")?.entry().1;
        if let Some((_, path)) = resolution.split_once("@workspace:") {
            let path = if path == "." { "" } else { path };
            let found: BTreeSet<String> = requests.dependencies(block).into_iter().collect();
            lock.importers.insert(path.to_owned(), found);
        }
    }
    lock.packages = requests.packages();
    Some(lock)
}
