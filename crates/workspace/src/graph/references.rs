//! Reads the paths in a wrangler config that lead out of its folder: the entry point, assets and images.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::paths::normalize;
use crate::wrangler::WranglerConfig;

/// Returns the paths of a wrangler config that lead out of `dir`, relative to the repository's root: each
/// file or folder that wrangler reads for its Worker.
#[must_use]
pub fn of_wrangler(config: &WranglerConfig, dir: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    let mut found = BTreeSet::new();
    let mut add = |value: &Value, folder: bool| {
        let Some(path) = value.as_str().and_then(|path| normalize(&dir.join(path))) else { return };
        // Code and a Dockerfile read files next to them.
        let path =
            if folder { path.parent().map(Utf8Path::to_owned).unwrap_or(path) } else { path };
        if !path.starts_with(dir) {
            found.insert(path);
        }
    };
    let blocks = config.value["env"].as_object().into_iter().flatten().map(|(_, block)| block);
    for block in std::iter::once(&config.value).chain(blocks) {
        add(&block["main"], true);
        add(&block["assets"]["directory"], false);
        add(&block["site"]["bucket"], false);
        add(&block["site"]["entry-point"], true);
        add(&block["tsconfig"], false);
        add(&block["base_dir"], false);
        add(&block["build"]["cwd"], false);
        let watched = &block["build"]["watch_dir"];
        watched.as_array().into_iter().flatten().chain([watched]).for_each(|path| add(path, false));
        for container in block["containers"].as_array().into_iter().flatten() {
            // An image of a registry is not a path: it begins with neither `.` nor `/`.
            let image = &container["image"];
            if image.as_str().is_some_and(is_dockerfile) {
                add(image, true);
            }
            add(&container["image_build_context"], false);
        }
        for section in ["wasm_modules", "text_blobs", "data_blobs", "alias"] {
            let values = block[section].as_object().into_iter().flatten();
            for (_, value) in values.filter(|(_, value)| value.as_str().is_some_and(is_relative)) {
                add(value, false);
            }
        }
        for database in block["d1_databases"].as_array().into_iter().flatten() {
            add(&database["migrations_dir"], false);
        }
    }
    found
}

pub(crate) fn is_relative(path: &str) -> bool {
    path.starts_with("./") || path.starts_with("../")
}

fn is_dockerfile(image: &str) -> bool {
    is_relative(image) || image.rsplit('/').next().is_some_and(|name| name.contains("Dockerfile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_wrangler_config() {
        let text = r#"{ "name": "a", "main": "../../worker/src/index.ts", "tsconfig": "../../tsconfig.worker.json",
            "assets": { "directory": "../site/dist" }, "site": { "bucket": "./public" },
            "containers": [{ "image": "../../images/api/Dockerfile" }, { "image": "registry.example.com/x:1" },
                           { "image": "./Dockerfile", "image_build_context": "../.." }],
            "alias": { "x": "../shim/x.ts", "y": "yes" },
            "env": { "production": { "assets": { "directory": "../other" } } } }"#;
        let config = WranglerConfig::parse(Utf8Path::new("wrangler.json"), text).expect("valid");
        let found = of_wrangler(&config, Utf8Path::new("apps/shop"));
        let found: Vec<&str> = found.iter().map(|path| path.as_str()).collect();
        let expected = [
            "",
            "apps/other",
            "apps/shim/x.ts",
            "apps/site/dist",
            "images/api",
            "tsconfig.worker.json",
            "worker/src",
        ];
        assert_eq!(found, expected);
    }
}
