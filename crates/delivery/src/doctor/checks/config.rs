//! The shared config file, and the pins that have their own files.

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use crate::doctor::pins;
use deployment::plan::destination::{PLACEHOLDER_HINT, placeholder_message};
use workspace::config::CONFIG_FILE;
use workspace::modules;
use workspace::toolchain::Toolchain;

/// `config`
pub fn config(context: &Context) -> Finding {
    match context.config() {
        Err(failure) => Finding::from(failure).source(CONFIG_FILE),
        Ok(config) => {
            let names: Vec<&str> = config.environments.keys().map(String::as_str).collect();
            Finding::ok()
                .detail(format!("environments: local, {}", names.join(", ")))
                .source(CONFIG_FILE)
        }
    }
}

/// `config.account`
pub fn account(context: &Context) -> Finding {
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let cloudflare = config.cloudflare(context.environment());
    if !cloudflare.is_placeholder() {
        return Finding::ok().with_value(cloudflare.account_id).source(CONFIG_FILE);
    }
    if context.is_remote() {
        let field = config.account_field(context.environment());
        Finding::fail(placeholder_message(&field))
            .with_value(cloudflare.account_id)
            .source(CONFIG_FILE)
            .manual_fix(PLACEHOLDER_HINT)
    } else {
        Finding::skip("still the placeholder; only environments at Cloudflare need it")
            .source(CONFIG_FILE)
    }
}

/// `config.images`
pub fn images(context: &Context) -> Finding {
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let images = serde_json::to_value(&config.images).unwrap_or_default();
    let entries = images.as_object().into_iter().flatten();
    let tags: Vec<&str> = entries
        .filter_map(|(_, image)| image.as_str())
        .filter(|image| !image.contains("@sha256:"))
        .collect();
    let finding = Finding::ok().source(CONFIG_FILE);
    match tags.as_slice() {
        [] => finding.detail("pinned by digest"),
        tags => finding.detail(format!(
            "named by tag: {}; a digest could not change under us",
            tags.join(", ")
        )),
    }
}

/// `config.pins`
pub fn pins(context: &Context) -> Finding {
    let root = &context.root;
    // Pins that a repository does not have are compiled into this program.
    let own = [
        (Toolchain::bun(root), modules::BUN_TOOLCHAIN, "package-lock.json"),
        (Toolchain::wrangler(root), modules::WRANGLER_TOOLCHAIN, "bun.lock"),
    ];
    let own = own.into_iter().filter(|(toolchain, ..)| !toolchain.is_carried());
    let files: Vec<String> = own.map(|(_, dir, lock)| format!("{dir}/{lock}")).collect();
    let missing: Vec<&str> = files
        .iter()
        .filter(|file| !context.root.join(file).is_file())
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Finding::fail(format!("missing: {}", missing.join(", ")))
            .manual_fix(format!("`git checkout -- {}`", missing.join(" ")));
    }
    let Ok(config) = context.config() else {
        return Finding::skip("see `config`");
    };
    let fits = Toolchain::wrangler(root).check().and_then(|()| Toolchain::bun(root).check());
    if let Err(failure) = fits {
        return Finding::from(&failure);
    }
    let pin = pins::bun(root, config);
    let Some(stated) = pin.differing().next() else {
        return Finding::ok();
    };
    Finding::fail(format!("{CONFIG_FILE} and {} pin different versions of Bun", stated.file))
        .with_value(&stated.version)
        .with_expected(&pin.own.version)
        .source(CONFIG_FILE)
        .manual_fix(format!("`cargo xtask upgrade bun {}`", pin.own.version))
}
