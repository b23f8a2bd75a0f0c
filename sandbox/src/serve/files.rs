//! A version's files as workerd reads them: assets in a folder of links to blobs.

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use percent_encoding::percent_decode_str;

use crate::cloudflare::assets::blob;
use crate::state::blobs::Blobs;
use crate::state::model::{Assets, Worker};

/// The folder of a version's assets below `dir`, made when it is not there whole.
pub fn assets(
    dir: &Utf8Path,
    blobs: &Blobs,
    worker: &Worker,
    id: &str,
    assets: &Assets,
) -> Result<Utf8PathBuf> {
    let folder = dir.join(id);
    if folder.is_dir() {
        return Ok(folder);
    }
    let temporary = dir.join(format!("{id}.{}.tmp", crate::ids::hex(&crate::ids::random::<4>())));
    std::fs::create_dir_all(&temporary)?;
    for (path, asset) in &assets.manifest {
        let file = temporary.join(relative(path)?);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let from = blobs.path(&blob(&worker.account, &asset.hash));
        std::fs::hard_link(&from, &file)
            .or_else(|_| std::fs::copy(&from, &file).map(|_| ()))
            .with_context(|| format!("cannot place the asset {path}"))?;
    }
    for name in ["_headers", "_redirects"] {
        if let Some(text) = assets.config[name].as_str() {
            std::fs::write(temporary.join(name), text)?;
        }
    }
    // Two requests may have made it at once; either is whole.
    if std::fs::rename(&temporary, &folder).is_err() {
        std::fs::remove_dir_all(&temporary)?;
    }
    Ok(folder)
}

/// A manifest path, which wrangler percent-encodes, as a path that stays inside.
fn relative(path: &str) -> Result<Utf8PathBuf> {
    let mut file = Utf8PathBuf::new();
    for part in path.trim_start_matches('/').split('/') {
        let part =
            percent_decode_str(part).decode_utf8().context("an asset's path is not UTF-8")?;
        if part.is_empty() || part == "." || part == ".." || part.contains(['/', '\0']) {
            bail!("the asset path {path} is invalid");
        }
        file.push(part.as_ref());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn asset_paths_stay_inside() {
        assert_eq!(relative("/a/caf%C3%A9.html").expect("valid"), "a/café.html");
        for path in ["/../x", "/a/%2e%2e/x", "/a%2Fb", "/", "/a//b", "/%00"] {
            assert!(relative(path).is_err(), "{path}");
        }
    }
}
