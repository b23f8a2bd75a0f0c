//! Compares the arguments of wrangler in the Cloudflare module with those of the host engine.

use cloudflare::wrangler;
use serde_json::Value;
use workspace::wrangler_flags::WranglerFlags;

use crate::support::{ran, repository};

#[test]
fn both_engines_pass_the_same_arguments_to_wrangler() {
    for (config, environment, assets) in [
        (Some("wrangler.jsonc"), None, None),
        (Some("wrangler.toml"), Some("staging"), Some("/empty")),
        (Some("wrangler.jsonc"), Some(""), Some("/empty")),
        (None, None, None),
    ] {
        let (tag, message) = ("0123456789ab", "it's a \"message\"");
        let name = config.unwrap_or("wrangler.json");
        let step = serde_json::json!({ "command": "deploy", "environment": environment, "tag": tag, "message": message });
        let first = serde_json::json!({ "config": config, "environment": environment, "assets": assets,
            "outdir": "/out", "outfile": "/form" });
        let code = format!(
            "import {{ bundleArguments, stepArguments, wranglerArguments, WRANGLER_ENV }} from {:?};\n\
             const step0 = {{ command: '', arguments: ['d1', 'execute', 'DB', '--remote'], reads: [] }};\n\
             const given = (step) => Object.fromEntries(Object.entries(step).filter(([, value]) => value !== null));\n\
             const step = given({step});\n\
             const upload = {{ ...step, command: 'preview', alias: 'mr-1' }};\n\
             const preview = {{ ...upload, strategy: 'preview' }};\n\
             console.log(JSON.stringify([bundleArguments(given({first})), wranglerArguments(step), wranglerArguments(upload), wranglerArguments(preview), stepArguments({name:?}, given(step).environment, step0), Object.entries(WRANGLER_ENV)]));",
            repository().join("dagger/cloudflare/src/arguments.ts")
        );
        let mut bun =
            std::process::Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN is set"));
        let theirs = ran(bun.args(["-e", &code]).output().expect("bun runs")).exits(0).json();
        let first = wrangler::bundle_arguments(config, environment, assets, "/out", "/form");
        let ours = wrangler::deploy_arguments(environment, tag, message);
        let uploads = wrangler::upload_arguments(Some("mr-1"), environment, tag, message);
        let previews = wrangler::preview_arguments(Some("mr-1"), environment, tag, message);
        let step = ["d1", "execute", "DB", "--remote"].map(str::to_owned);
        let step = wrangler::step_arguments(Some(name), environment, &step);
        let all = serde_json::json!([first, ours, uploads, previews, step, wrangler::WRANGLER_ENV]);
        assert_eq!(theirs, all);
    }
}

#[test]
fn both_engines_accept_the_same_flags_of_wrangler() {
    let parse = |flag: &str| -> Result<Value, String> {
        let flags: WranglerFlags =
            serde_json::from_value(serde_json::json!([flag])).map_err(|error| error.to_string())?;
        Ok(serde_json::json!({ "bundle": flags.for_bundle(), "upload": flags.for_upload() }))
    };
    let listed = parse("--none").expect_err("an unknown flag");
    let names: Vec<&str> =
        listed.split('`').filter(|word| word.starts_with("--")).skip(1).collect();
    let words: Vec<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}=1")]).collect();
    let code = format!(
        "import {{ parseFlags }} from {:?};\n\
         const parse = (word) => {{ try {{ return parseFlags(JSON.stringify([word])); }} catch (error) {{ return error.message; }} }};\n\
         console.log(JSON.stringify([parse('--none'), ...{}.map(parse)]));",
        repository().join("dagger/cloudflare/src/arguments.ts"),
        serde_json::json!(words)
    );
    let mut bun = std::process::Command::new(std::env::var("XTASK_BUN").expect("XTASK_BUN is set"));
    let theirs = ran(bun.args(["-e", &code]).output().expect("bun runs")).exits(0).json();
    let refusal = |flag: &str| {
        serde_json::json!(format!("`{flag}` is not a flag of a project: {}", names.join(", ")))
    };
    assert_eq!(theirs[0], refusal("--none"));
    for (index, word) in words.iter().enumerate() {
        assert_eq!(theirs[index + 1], parse(word).unwrap_or_else(|_| refusal(word)), "{word}");
    }
}

#[test]
fn both_engines_prepare_uploads_with_the_same_program() {
    let path = repository().join("dagger/cloudflare/toolchain/prepare-upload.js");
    let theirs = std::fs::read_to_string(path).expect("the module's copy");
    assert_eq!(theirs, wrangler::PREPARE_UPLOAD, "run `cargo dev generate`");
}
