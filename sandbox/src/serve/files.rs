//! Links a version's files into a folder, from which workerd reads them.

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::state::blobs::BlobStore;
use crate::state::model::Assets;

/// Fills `folder` with the assets, and with the uploaded `_headers` and `_redirects`.
pub fn link_assets(
    folder: &Utf8Path,
    blobs: &BlobStore,
    account: &str,
    assets: &Assets,
) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    for (path, asset) in blobs.manifest(&assets.manifest)? {
        let file = folder.join(relative(&path)?);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {parent}"))?;
        }
        let source = blobs.asset_file(account, &path, &asset)?;
        std::fs::hard_link(&source, &file)
            .or_else(|_| std::fs::copy(&source, &file).map(|_| ()))
            .with_context(|| format!("cannot copy the asset {path}"))?;
    }
    for name in ["_headers", "_redirects"] {
        if let Some(text) = assets.config[name].as_str() {
            std::fs::write(folder.join(name), text)?;
        }
    }
    Ok(())
}

/// Removes a folder. Does nothing if it does not exist.
pub fn remove(folder: &Utf8Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Converts a path of a manifest to a relative path. Wrangler 4.164 does not encode it. Errors if it is outside
/// of the folder.
fn relative(path: &str) -> Result<Utf8PathBuf> {
    let path_in_folder = path.strip_prefix('/').unwrap_or_default();
    let is_valid =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !path_in_folder.split('/').all(is_valid) {
        bail!("the asset path {path:?} is invalid");
    }
    Ok(path_in_folder.into())
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn asset_paths_stay_inside() {
        assert_eq!(relative("/a/100%25 café.html").expect("valid"), "a/100%25 café.html");
        for path in ["/../x", "/a/../x", "a", "", "/", "//etc/passwd", "/a//b", "/\0"] {
            assert!(relative(path).is_err(), "{path}");
        }
    }
}
