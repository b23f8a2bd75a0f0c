//! `upgrade`: moves this tool, wrangler, Bun or Dagger to another version, with its lock file.

mod archive;
mod effect;
mod library;
mod newest;
mod pins;
mod tools;

use clap::{Args, ValueEnum};

use base::error::{Exit, Result, usage};
use deployment::context::Ctx;
use workspace::toolchain::is_exact;

/// Move this tool, wrangler, Bun or Dagger to another version.
///
/// A pin moves with its lock file, and the output names the projects that are deployed again because of it. Without a
/// part, the pins are listed with their newest versions. If anything fails, all files stay as they were.
#[derive(Debug, Args)]
pub struct UpgradeCommand {
    /// Part to upgrade [default: list them]
    #[arg(value_name = "PART", value_enum)]
    part: Option<Part>,
    /// Version [default: the newest one]. For `xtask`, a tag or commit: by default the newest tag if the pin is a tag,
    /// else the newest commit of the default branch
    #[arg(value_name = "VERSION")]
    version: Option<String>,
    /// Commit or tag of xtask
    #[arg(
        long,
        value_name = "REVISION",
        hide = true,
        conflicts_with = "version",
        requires = "part"
    )]
    rev: Option<String>,
}

/// A part with a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// This tool. Its own pins of wrangler, Bun and Dagger move with it
    Xtask,
    /// wrangler, which uploads, with miniflare and workerd
    Wrangler,
    /// Bun, which runs wrangler and installs and builds projects with its lock file
    Bun,
    /// The Dagger CLI and engine
    Dagger,
}

impl Part {
    /// Returns the tool. `None` for xtask itself, whose pin is a revision or an archive.
    fn tool(self) -> Option<PinnedTool> {
        match self {
            Part::Xtask => None,
            Part::Wrangler => Some(PinnedTool::Wrangler),
            Part::Bun => Some(PinnedTool::Bun),
            Part::Dagger => Some(PinnedTool::Dagger),
        }
    }
}

/// A tool that is pinned to a version of the npm registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PinnedTool {
    Wrangler,
    Bun,
    Dagger,
}

impl PinnedTool {
    /// Returns the name on the command line.
    fn name(self) -> &'static str {
        match self {
            PinnedTool::Wrangler => "wrangler",
            PinnedTool::Bun => "bun",
            PinnedTool::Dagger => "dagger",
        }
    }
}

/// The name of this tool.
const XTASK: &str = "xtask";

impl UpgradeCommand {
    /// Runs the command.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        let version = self.version.or(self.rev);
        let Some(part) = self.part else { return pins::list(ctx) };
        match part.tool() {
            Some(tool) => {
                version.as_deref().map_or(Ok(()), |version| check_version(tool, version))?;
                tools::upgrade(ctx, tool, version)
            }
            None => match archive::only_archive(ctx) {
                Some(pin) => archive::upgrade(ctx, &pin, version.as_deref()),
                None => library::upgrade(ctx, version.as_deref()),
            },
        }
    }
}

/// Refuses a tag or a range: a pin is one version.
fn check_version(tool: PinnedTool, version: &str) -> Result<()> {
    if is_exact(version) {
        return Ok(());
    }
    let name = tool.name();
    Err(usage(format!("`{version}` is not an exact version"))
        .hint(format!("name one like `cargo xtask upgrade {name} 1.2.3`, or none for the newest")))
}
