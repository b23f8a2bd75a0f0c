//! The images of a Worker's containers.

use serde_json::Value;

/// Returns the path and the value of the first image in a block's `containers` that wrangler would build. `None` if each is
/// in a registry.
#[must_use]
pub fn built_image(block: &Value) -> Option<(String, String)> {
    let containers = block["containers"].as_array().into_iter().flatten().enumerate();
    containers.flat_map(images).find(|(_, image)| !is_in_registry(image)).map(|(path, image)| {
        let text = image["dockerfile"].as_str().or_else(|| image.as_str());
        (path, text.map_or_else(|| image.to_string(), str::to_owned))
    })
}

fn images((index, container): (usize, &Value)) -> Vec<(String, &Value)> {
    let own = container.get("image").map(|image| (format!("containers[{index}].image"), image));
    let named = container["images"].as_object().into_iter().flatten();
    let named = named.map(|(name, image)| (format!("containers[{index}].images.{name}"), image));
    own.into_iter().chain(named).collect()
}

/// Returns true for a text, or an object with `image`, that names an image with its registry and its tag or digest. A
/// registry's host has a dot, which the path of a Dockerfile may have too, so the tag decides.
fn is_in_registry(image: &Value) -> bool {
    let text = match image {
        Value::Object(fields) if !fields.contains_key("dockerfile") => image["image"].as_str(),
        image => image.as_str(),
    };
    let Some((host, path)) = text.and_then(|text| text.split_once('/')) else { return false };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_host = name.split('.').count() > 1
        && name.split('.').all(|part| !part.is_empty() && part.chars().all(is_word))
        && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()));
    let is_path =
        |path: &str| !path.is_empty() && path.chars().all(|c| is_word(c) || c == '.' || c == '/');
    let has_digest = path.split_once("@sha256:").is_some_and(|(path, digest)| {
        is_path(path) && digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
    });
    let has_tag = path.rsplit_once(':').is_some_and(|(path, tag)| {
        is_path(path) && !tag.is_empty() && tag.chars().all(|c| is_word(c) || c == '.')
    });
    is_host && (has_digest || has_tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_that_wrangler_would_build_is_found() {
        let digest = "a".repeat(64);
        let pushed = format!("registry.cloudflare.com/acme/box@sha256:{digest}");
        for image in [
            json!("registry.cloudflare.com/acme/box:1.2"),
            json!("docker.io/library/nginx:1"),
            json!("localhost.test:5000/box:latest"),
            json!(pushed),
            json!({ "image": pushed }),
        ] {
            let block = json!({ "containers": [{ "class_name": "Box", "image": image }] });
            assert_eq!(built_image(&block), None, "{image}");
            let block =
                json!({ "containers": [{ "class_name": "Box", "images": { "a": image } }] });
            assert_eq!(built_image(&block), None, "{image}");
        }
        for (image, text) in [
            (json!("./Dockerfile"), "./Dockerfile"),
            (json!("Dockerfile"), "Dockerfile"),
            (json!("../box.d/Dockerfile"), "../box.d/Dockerfile"),
            (json!("nginx:1"), "nginx:1"),
            (json!("docker.io/library/nginx"), "docker.io/library/nginx"),
            (json!({ "dockerfile": "./Dockerfile" }), "./Dockerfile"),
        ] {
            let block = json!({ "containers": [
                { "class_name": "A", "image": "docker.io/a/b:1" },
                { "class_name": "Box", "image": image },
            ] });
            let expected = ("containers[1].image".to_owned(), text.to_owned());
            assert_eq!(built_image(&block), Some(expected), "{image}");
        }
        assert_eq!(built_image(&json!({})), None);
    }
}
