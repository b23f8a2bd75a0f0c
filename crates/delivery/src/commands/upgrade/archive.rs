//! The archive of `dist` in a repository whose jobs download it.

use std::time::Duration;

use serde_json::json;

use super::pins::PinRow;
use crate::commands::ci;
use crate::commands::setup::inputs::GITLAB_TOKEN;
use crate::config_edit;
use base::env::variable;
use base::error::{Exit, Result, failed, refused, usage};
use base::files::write_whole;
use base::http;
use deployment::context::Ctx;
use workspace::config::{CONFIG_FILE, Config};
use workspace::modules::TOOL;
use workspace::pipeline::API_VARIABLE;

/// The time limit for the checksum.
const CHECKSUM_TIMEOUT: Duration = Duration::from_secs(30);

/// The archive that the config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePin {
    url: String,
    /// `None` if the address has none.
    version: Option<String>,
}

impl ArchivePin {
    /// Finds the archive in the config. `None` if jobs compile xtask.
    fn find(config: &Config) -> Option<ArchivePin> {
        let url = config.pipeline.xtask_archive.clone()?;
        let version = version_of(&url).map(str::to_owned);
        Some(ArchivePin { url, version })
    }

    /// Returns the address of another version.
    fn address(&self, to: &str) -> Result<String> {
        let Some(version) = &self.version else {
            return Err(refused(format!(
                "`pipeline.xtaskArchive` is {}, whose version is unknown; nothing was changed",
                self.url
            ))
            .hint(format!(
                "write the new address and its checksum into {CONFIG_FILE}, or name archives as `dist` does: \
                 `xtask-v1.2.0-x86_64-linux.tar.gz`"
            )));
        };
        Ok(self.url.replace(version.as_str(), to))
    }
}

/// Returns the version in the name of an archive that `dist` made: `xtask-v1.2.0-x86_64-linux.tar.gz`.
fn version_of(url: &str) -> Option<&str> {
    let name = url.split(['?', '#']).next()?.rsplit('/').next()?;
    let rest = name.strip_prefix("xtask-")?.strip_suffix(".tar.gz")?;
    // A target begins with its processor: the rest is the version, which may hold a dash.
    let at = ["-x86_64", "-aarch64", "-arm", "-riscv", "-i686"];
    let end = at.iter().filter_map(|start| rest.find(start)).min()?;
    Some(&rest[..end]).filter(|version| !version.is_empty())
}

/// Returns the archive of a repository that has no other xtask. `None` if it has one, or no archive.
#[must_use]
pub fn only_archive(ctx: &Ctx) -> Option<ArchivePin> {
    only_archive_of(ctx, &Config::load(&ctx.root).ok()?)
}

fn only_archive_of(ctx: &Ctx, config: &Config) -> Option<ArchivePin> {
    if ctx.root.join(TOOL).join("Cargo.toml").exists() { None } else { ArchivePin::find(config) }
}

/// Returns the row of a repository without a revision of this library.
pub fn row(ctx: &Ctx, config: &Config) -> PinRow {
    match only_archive_of(ctx, config) {
        Some(pin) => PinRow::without_newest(pin.version, CONFIG_FILE),
        None => PinRow::without_newest(None, "this checkout"),
    }
}

/// Returns the steps that are left after the revision of xtask has moved. `None` if no job downloads an archive.
pub fn note(config: &Config) -> Option<String> {
    let pin = ArchivePin::find(config)?;
    let version = pin.version.map(|version| format!(" ({version})")).unwrap_or_default();
    Some(format!(
        "jobs still download the previous archive{version}: after the commit run `cargo xtask dist`, upload the archive and \
         set `pipeline.xtaskArchive` and `pipeline.xtaskSha256` in {CONFIG_FILE}\n"
    ))
}

/// Moves the address and the checksum of the archive to `version`.
pub fn upgrade(ctx: &Ctx, pin: &ArchivePin, version: Option<&str>) -> Result<Exit> {
    let Some(to) = version else {
        return Err(usage("no server names the newest version of an archive; nothing was changed")
            .hint("name the version: `cargo xtask upgrade xtask v1.2.0`"));
    };
    let url = pin.address(to)?;
    let from = pin.version.as_deref().unwrap_or_default();
    let report = |written: bool, files: &[String]| json!({ "schema": 1, "url": url, "from": from, "to": to, "written": written, "files": files });
    if url == pin.url {
        ctx.ui.report(&report(false, &[]), &format!("up to date: {to}"));
        return Ok(Exit::Done);
    }
    let config = Config::load(&ctx.root)?;
    let sum = checksum(&config, &url)?;
    let head =
        format!("{from} → {to}\npipeline.xtaskArchive: {url}\npipeline.xtaskSha256: {sum}\n");
    if ctx.dry_run {
        let text = format!("{head}nothing is written by a dry run\n");
        ctx.ui.report(&report(false, &[]), &text);
        return Ok(Exit::Done);
    }
    let text = std::fs::read_to_string(ctx.root.join(CONFIG_FILE))?;
    let edited = config_edit::set(&text, &["pipeline", "xtaskArchive"], &json!(url))?;
    let edited = config_edit::set(&edited, &["pipeline", "xtaskSha256"], &json!(sum))?;
    Config::parse(&edited)?;
    write_whole(&ctx.root.join(CONFIG_FILE), &edited)?;
    let mut files = vec![CONFIG_FILE.to_owned()];
    files.extend(ci::refresh(ctx)?);
    let text = format!(
        "{head}written: {}\nnext: commit them; jobs download the new archive from then on\n",
        files.join(", ")
    );
    ctx.ui.report(&report(true, &files), &text);
    Ok(Exit::Done)
}

/// Reads the checksum beside an archive. The registry of a private project needs a token.
fn checksum(config: &Config, url: &str) -> Result<String> {
    let own = url.strip_prefix(API_VARIABLE).map(|path| format!("{}/{path}", config.gitlab.api()));
    let address = format!("{}.sha256", own.as_deref().unwrap_or(url));
    let unknown = |why: &str| {
        let hint = match own {
            Some(_) => format!(
                "check that the archive and its `.sha256` are there; if the project is private, set {GITLAB_TOKEN} to a token with \
                 the scope `read_api`"
            ),
            None => "check that the archive and its `.sha256` are there for everyone".to_owned(),
        };
        failed(format!("{address} cannot be read: {why}; nothing was changed")).hint(hint).hint(
            format!("or set `pipeline.xtaskArchive` and `pipeline.xtaskSha256` in {CONFIG_FILE}"),
        )
    };
    let names = [GITLAB_TOKEN, config.gitlab.token_variable.as_str()];
    let token = own.as_ref().and_then(|_| names.into_iter().find_map(variable));
    // The client sends no `Authorization` to the address of a redirect, such as that of an object storage.
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> =
        authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let response = http::get(&http::agent_for(&address, CHECKSUM_TIMEOUT, 5), &address, &headers)
        .map_err(|error| unknown(&format!("{error:#}")))?;
    if response.status != 200 {
        return Err(unknown(&format!("the server answered {}", response.status)));
    }
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let sum = text.split_whitespace().next().unwrap_or_default();
    match sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(sum.to_lowercase()),
        false => Err(unknown("it is not a SHA-256")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_addresses() {
        for (url, expected) in [
            ("https://h/xtask/v1.2.0/xtask-v1.2.0-x86_64-linux.tar.gz", Some("v1.2.0")),
            ("https://h/xtask-v2.0.0-rc.1-aarch64-unknown-linux-musl.tar.gz", Some("v2.0.0-rc.1")),
            (
                "$CI_API_V4_URL/projects/7/packages/generic/xtask/0123456789ab/xtask-0123456789ab-x86_64-linux.tar.gz?a=b",
                Some("0123456789ab"),
            ),
            ("https://h/xtask.tar.gz", None),
            ("https://h/xtask-latest.tar.gz", None),
        ] {
            assert_eq!(version_of(url), expected, "{url}");
        }
    }
}
