//! Moves the pin of wrangler, Bun or Dagger, with its lock file.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::PinnedTool;
use super::effect::UpgradeEffect;
use super::newest::newest;
use crate::commands::ci;
use crate::commands::keys::KeyReport;
use crate::config_edit;
use base::cmd;
use base::error::{Exit, Result, failed, refused};
use base::files::write_whole;
use base::version::Version;
use deployment::context::Ctx;
use deployment::engine::setup::Setup;
use deployment::tools::program::INSTALL_DEADLINE;
use workspace::config::{CONFIG_FILE, Config};
use workspace::git;
use workspace::key::fresh_nonce;
use workspace::toolchain::{Toolchain, locked_version, parse_lock};

/// The image with Bun. Its tags are Bun's versions.
const BUN_IMAGE: &str = "oven/bun:";

/// The file of a pin, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentPin {
    /// The version.
    pub version: String,
    /// The file of the repository for the pin, even if it does not exist.
    pub file: Utf8PathBuf,
    /// `true` if it is compiled into this program, because the repository has no pin.
    pub is_carried: bool,
}

impl CurrentPin {
    /// Reads the pin of a tool.
    #[must_use]
    pub fn read(root: &Utf8Path, config: &Config, tool: PinnedTool) -> CurrentPin {
        let in_config = |version: &str| {
            let text = std::fs::read_to_string(root.join(CONFIG_FILE)).unwrap_or_default();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let is_carried = value["tools"].is_null();
            CurrentPin { version: version.to_owned(), file: CONFIG_FILE.into(), is_carried }
        };
        match tool {
            PinnedTool::Wrangler => {
                let toolchain = Toolchain::wrangler(root);
                CurrentPin {
                    version: toolchain.version().unwrap_or_else(|| "unknown".to_owned()),
                    file: toolchain.own_manifest(),
                    is_carried: toolchain.is_carried(),
                }
            }
            PinnedTool::Bun => in_config(&config.tools.bun),
            PinnedTool::Dagger => in_config(&config.tools.dagger),
        }
    }
}

/// Moves the pin of `tool` to `version`, or to the newest one.
pub fn upgrade(ctx: &Ctx, tool: PinnedTool, version: Option<String>) -> Result<Exit> {
    let root = &ctx.root;
    let config = Config::load(root)?;
    let pin = CurrentPin::read(root, &config, tool);
    let to = match version {
        Some(version) => version,
        None => newest(root, &config.tools.bun, tool)?,
    };
    let mut report = ToolUpgradeReport::new(tool, &pin, &to);
    if to == pin.version && fits(root, &config, tool) {
        ctx.ui.report(&report.json(), &format!("up to date: {} {to}", tool.name()));
        return Ok(Exit::Done);
    }
    check_dagger(root, &config, tool, &to)?;
    let before = KeyReport::read(ctx);
    if ctx.dry_run {
        report.files = planned_files(root, tool);
        // wrangler's lock file and the version of Bun are part of every content key. Dagger's version is part of
        // none.
        report.effect = before.ok().map(|keys| match tool {
            PinnedTool::Dagger => UpgradeEffect::on_no_project(&keys),
            _ => UpgradeEffect::on_every_project(&keys),
        });
        ctx.ui.report(&report.json(), &report.text());
        return Ok(Exit::Done);
    }
    let changes = PinEdits::new(ctx, &config, tool, &to)?;
    report.note = changes.note.clone();
    report.files = changes.write(root)?;
    report.files.extend(ci::refresh(ctx)?.into_iter().map(Utf8PathBuf::from));
    report.is_written = true;
    let after = KeyReport::read(ctx);
    report.effect = before.ok().zip(after.ok()).map(|(before, after)| {
        let mut effect = UpgradeEffect::new(&before, &after);
        // The first line says it already.
        effect.tools.clear();
        effect
    });
    ctx.ui.report(&report.json(), &report.text());
    Ok(Exit::Done)
}

/// Returns true if all files of a pin agree.
fn fits(root: &Utf8Path, config: &Config, tool: PinnedTool) -> bool {
    let bun = || {
        let toolchain = Toolchain::bun(root);
        toolchain.check().is_ok() && toolchain.version().as_ref() == Some(&config.tools.bun)
    };
    match tool {
        PinnedTool::Wrangler => Toolchain::wrangler(root).check().is_ok(),
        PinnedTool::Bun => bun() && bun_image(config, &config.tools.bun).is_none(),
        PinnedTool::Dagger => true,
    }
}

/// Refuses a version of Dagger that the repository's modules do not support, and one without a checksum.
fn check_dagger(root: &Utf8Path, config: &Config, tool: PinnedTool, to: &str) -> Result<()> {
    if tool != PinnedTool::Dagger {
        return Ok(());
    }
    if config.pipeline.dagger_sha256.is_some() {
        return Err(refused(format!(
            "{CONFIG_FILE}: `pipeline.daggerSha256` is the checksum of Dagger {}; nothing was changed",
            config.tools.dagger
        ))
        .hint("remove it, upgrade, and write the checksum of the new archive"));
    }
    let modules = root.join("dagger").read_dir_utf8().into_iter().flatten().flatten();
    for module in modules {
        let file = module.path().join("dagger.json");
        let value: Value = std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let least = value["engineVersion"].as_str().and_then(Version::find);
        if least > Version::find(to) {
            let file = file.strip_prefix(root).unwrap_or(&file);
            let least = least.map(|version| version.to_string()).unwrap_or_default();
            return Err(refused(format!(
                "{file} needs Dagger {least} or newer; nothing was changed"
            ))
            .hint(format!("name a newer version, or change `engineVersion` in {file} first")));
        }
    }
    Ok(())
}

/// Returns the image of Bun `version`. `None` if the config has it already, or if the tag of its image has no
/// version.
fn bun_image(config: &Config, version: &str) -> Option<String> {
    let tag = config.images.bun.strip_prefix(BUN_IMAGE)?;
    let (old, rest) = tag.split_at(tag.find('-').unwrap_or(tag.len()));
    let is_moved = old.split('.').count() == 3 && !tag.contains('@') && old != version;
    is_moved.then(|| format!("{BUN_IMAGE}{version}{rest}"))
}

/// Returns the files that an upgrade of `tool` writes.
fn planned_files(root: &Utf8Path, tool: PinnedTool) -> Vec<Utf8PathBuf> {
    let bun = Toolchain::bun(root);
    let wrangler = Toolchain::wrangler(root);
    match tool {
        PinnedTool::Wrangler => vec![wrangler.own_manifest(), wrangler.own_lock()],
        PinnedTool::Bun => vec![CONFIG_FILE.into(), bun.own_manifest(), bun.own_lock()],
        PinnedTool::Dagger => vec![CONFIG_FILE.into()],
    }
}

/// The new texts of files, by their paths relative to the root.
struct PinEdits {
    files: BTreeMap<Utf8PathBuf, String>,
    note: Option<String>,
}

impl PinEdits {
    /// Computes the texts. A package manager writes the lock file in a temporary folder, so that no file is left
    /// incomplete.
    fn new(ctx: &Ctx, config: &Config, tool: PinnedTool, to: &str) -> Result<PinEdits> {
        let root = &ctx.root;
        let mut changes = PinEdits { files: BTreeMap::new(), note: None };
        if matches!(tool, PinnedTool::Bun | PinnedTool::Dagger) {
            let text = std::fs::read_to_string(root.join(CONFIG_FILE))?;
            changes.files.insert(CONFIG_FILE.into(), edit_config(&text, config, tool, to)?);
            let image = &config.images.bun;
            if tool == PinnedTool::Bun && bun_image(config, to).is_none() && !image.contains(to) {
                changes.note =
                    Some(format!("images.bun in {CONFIG_FILE} is still {image}; change it too"));
            }
        }
        let toolchain = match tool {
            PinnedTool::Wrangler => Toolchain::wrangler(root),
            PinnedTool::Bun => Toolchain::bun(root),
            PinnedTool::Dagger => return Ok(changes),
        };
        changes.files.extend(lock(ctx, config, &toolchain, tool, to)?);
        let folder = toolchain.own_manifest();
        let folder = folder.parent().unwrap_or(Utf8Path::new(""));
        let modules = folder.join("node_modules");
        // `git check-ignore` prints an ignored path.
        if tool != PinnedTool::Bun && git::ask(root, &["check-ignore", modules.as_str()]).is_none()
        {
            changes.files.insert(folder.join(".gitignore"), "node_modules/\n".to_owned());
        }
        if toolchain.is_carried() {
            changes.note = Some(format!(
                "this repository now pins {} itself, so `upgrade xtask` does not move it; delete {folder} to return to the pin of xtask",
                tool.name()
            ));
        }
        Ok(changes)
    }

    /// Writes all files, or none, and returns their paths.
    fn write(&self, root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
        let mut previous: Vec<(Utf8PathBuf, Option<String>)> = Vec::new();
        for (path, text) in &self.files {
            let path = root.join(path);
            previous.push((path.clone(), std::fs::read_to_string(&path).ok()));
            if let Err(error) = write_whole(&path, text) {
                for (path, text) in previous {
                    match text {
                        Some(text) => write_whole(&path, &text)?,
                        None => drop(std::fs::remove_file(&path)),
                    }
                }
                return Err(base::error::unwritable(format!("{error:#}")));
            }
        }
        Ok(self.files.keys().cloned().collect())
    }
}

/// Returns the config with another version of Bun or Dagger.
fn edit_config(text: &str, config: &Config, tool: PinnedTool, to: &str) -> Result<String> {
    let (bun, dagger) = match tool {
        PinnedTool::Bun => (to, config.tools.dagger.as_str()),
        _ => (config.tools.bun.as_str(), to),
    };
    // A config without `tools` gets both, because neither field has a default there.
    let mut edited = config_edit::set(text, &["tools", "bun"], &json!(bun))?;
    edited = config_edit::set(&edited, &["tools", "dagger"], &json!(dagger))?;
    if let Some(image) = bun_image(config, bun) {
        edited = config_edit::set(&edited, &["images", "bun"], &json!(image))?;
    }
    Config::parse(&edited)?;
    Ok(edited)
}

/// Returns the manifest of a toolchain with `version`, and the lock file that its package manager writes for it.
fn lock(
    ctx: &Ctx,
    config: &Config,
    toolchain: &Toolchain,
    tool: PinnedTool,
    version: &str,
) -> Result<[(Utf8PathBuf, String); 2]> {
    let (name, root) = (tool.name(), &ctx.root);
    let manifest = toolchain.manifest_with(version).ok_or_else(|| {
        refused(format!("{} is not a JSON object", toolchain.own_manifest())).hint(format!(
            "restore it with `git checkout -- {}`, then upgrade",
            toolchain.own_manifest()
        ))
    })?;
    let folder = root.join(".xtask/tmp").join(format!("upgrade-{name}-{}", fresh_nonce()?));
    let lock_name = toolchain.lock_file();
    let lock_name = lock_name.file_name().unwrap_or_default();
    let relock = || -> Result<String> {
        write_whole(&folder.join("package.json"), &manifest)?;
        // Other packages keep their locked versions. A broken lock file has none.
        if let Some(old) = toolchain.lock().filter(|old| parse_lock(old).is_some()) {
            write_whole(&folder.join(lock_name), &old)?;
        }
        let setup = Setup::new(ctx, config)?;
        let command = match tool {
            // Addresses of a registry stay out of the lock file.
            PinnedTool::Bun => cmd!(
                &folder,
                "npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-workspaces --no-audit --no-fund",
                INSTALL_DEADLINE
            ),
            _ => {
                let bun = setup.bun()?;
                cmd!(&folder, "{bun} install --lockfile-only --ignore-scripts", INSTALL_DEADLINE)
            }
        };
        setup.run(&format!("lock {name} {version}"), &command).map_err(|error| {
            error.context(format!("{name} {version} cannot be locked; all files are as before"))
        })?;
        setup.finish(&format!("locked {name} {version}"));
        Ok(std::fs::read_to_string(folder.join(lock_name))?)
    };
    let text = relock();
    let _gone = std::fs::remove_dir_all(&folder);
    let text = text?;
    let locked = parse_lock(&text).and_then(|lock| locked_version(&lock, name));
    if locked.as_deref() != Some(version) {
        return Err(failed(format!(
            "the new lock file has {name} {}, not {version}; all files are as before",
            locked.as_deref().unwrap_or("in no version")
        ))
        .hint("check the settings of the package registry: `cargo xtask doctor`"));
    }
    Ok([(toolchain.own_manifest(), manifest), (toolchain.own_lock(), text)])
}

/// The report of an upgrade.
#[derive(Debug)]
struct ToolUpgradeReport<'a> {
    tool: PinnedTool,
    pin: &'a CurrentPin,
    to: &'a str,
    is_written: bool,
    files: Vec<Utf8PathBuf>,
    /// `None` if the projects cannot be read.
    effect: Option<UpgradeEffect>,
    note: Option<String>,
}

impl<'a> ToolUpgradeReport<'a> {
    fn new(tool: PinnedTool, pin: &'a CurrentPin, to: &'a str) -> ToolUpgradeReport<'a> {
        let files = Vec::new();
        ToolUpgradeReport { tool, pin, to, is_written: false, files, effect: None, note: None }
    }

    fn json(&self) -> Value {
        json!({
            "schema": 1,
            "part": self.tool.name(),
            "from": self.pin.version,
            "to": self.to,
            "written": self.is_written,
            "files": self.files,
            "redeployed": self.effect.as_ref().map(|effect| &effect.changed),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} → {}\n", self.tool.name(), self.pin.version, self.to);
        let files: Vec<&str> = self.files.iter().map(|file| file.as_str()).collect();
        let will = if self.is_written { "written" } else { "would be written" };
        text += &format!("{will}: {}\n", files.join(", "));
        text += &match &self.effect {
            Some(effect) => effect.text(),
            None => "the projects cannot be read: `cargo xtask status` says why\n".to_owned(),
        };
        if let Some(note) = &self.note {
            text += &format!("{note}\n");
        }
        if self.is_written {
            text += "next: `cargo xtask doctor`, then commit these files\n";
        }
        text
    }
}
