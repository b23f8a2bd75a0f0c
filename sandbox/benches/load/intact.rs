//! Checks that every stored version is intact: its files exist and match their hashes.

use std::collections::HashSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::state::blobs::{AssetManifest, BlobStore, asset_hash};
use sandbox::state::model::Worker;

/// Compares stored contents with their hashes, each content once.
#[derive(Default)]
pub struct ContentChecker(HashSet<String>);

impl ContentChecker {
    /// Checks all new contents below the state in `dir`. Returns the total number of checked contents.
    pub fn check_all(&mut self, dir: &Path) -> usize {
        for entry in std::fs::read_dir(dir.join("cloudflare/workers")).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|kind| kind == "tmp") {
                // A temporary file of a killed run. The next run removes it.
                continue;
            }
            let text = std::fs::read(&path).expect("a file");
            let worker: Worker = sandbox::state::seal::unseal(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for (index, version) in worker.versions.iter().enumerate() {
                assert_eq!(version.number, index + 1, "{}", path.display());
                if let Some(assets) = &version.assets {
                    self.manifest(&dir.join("blobs"), &worker.account, &assets.manifest);
                }
            }
        }
        self.0.len()
    }

    fn manifest(&mut self, blobs: &Path, account: &str, name: &str) {
        if !self.0.insert(name.to_owned()) {
            return;
        }
        let bytes = std::fs::read(blobs.join(name)).expect("a manifest");
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), name);
        let manifest: AssetManifest = serde_json::from_slice(&bytes).expect("a manifest");
        for (path, asset) in manifest {
            let name = BlobStore::asset_name(account, &asset.hash);
            if self.0.insert(name.clone()) {
                let bytes = std::fs::read(blobs.join(&name)).expect("an asset");
                assert_eq!(asset_hash(&STANDARD.encode(&bytes), &path), asset.hash, "{path}");
            }
        }
    }
}

/// Counts the temporary files below the state in `dir`.
pub fn count_temporary(dir: &Path) -> usize {
    let folders = ["blobs", "cloudflare/workers", "gitlab"].map(|folder| dir.join(folder));
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count()
}
