//! The command line: commands and global options. [`crate::help`] arranges their help pages.

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Parser, Subcommand};

use crate::commands::{
    affected, build, ci, clean, comment, completions, delete, deploy, dev, diff, dist, doctor,
    init, keys, logs, new, open, preview, projects, rollback, run, sandbox, setup, status, upgrade,
    versions, wrangler,
};

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Deliver the projects of this monorepo: build, upload, check, roll back.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, styles = STYLES)]
pub struct Cli<C: Subcommand> {
    /// The command.
    #[command(subcommand)]
    pub command: C,
}

/// The global options. Each command accepts those that affect it.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Change nothing, and print what would be done, as a POSIX script where it can be one
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document on stdout
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the output of every program that runs
    #[arg(short, long)]
    pub verbose: bool,
    /// Number of projects to build and upload in parallel [default: number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Print progress as plain lines even on a terminal
    #[arg(long)]
    pub no_progress: bool,
}

impl Global {
    /// Reads the options from the matches of the root and of the subcommands.
    #[must_use]
    pub fn from_matches(root: &ArgMatches) -> Global {
        let levels = levels(root);
        let flag = |id: &str| {
            levels.iter().any(|level| level.try_get_one(id).ok().flatten() == Some(&true))
        };
        let jobs = levels.iter().find_map(|level| level.try_get_one("jobs").ok().flatten());
        Global {
            dry_run: flag("dry_run"),
            json: flag("json"),
            quiet: flag("quiet"),
            verbose: flag("verbose"),
            jobs: jobs.copied(),
            no_progress: flag("no_progress"),
        }
    }

    /// Returns an option that is given before a command that it does not affect. `None` if there is none.
    #[must_use]
    pub fn find_misplaced(root: &ArgMatches) -> Option<String> {
        let levels = levels(root);
        let leaf = levels.last().copied().unwrap_or(root);
        let is_given =
            |id: &str| root.value_source(id).is_some_and(|from| from == ValueSource::CommandLine);
        let ids = root.ids().map(clap::Id::as_str);
        let misplaced = ids.into_iter().find(|id| is_given(id) && !leaf.ids().any(|own| own == id));
        misplaced
            .filter(|id| leaf.try_contains_id(id).is_err())
            .map(|id| format!("--{}", id.replace('_', "-")))
    }
}

/// Returns the matches of the root and of each subcommand.
fn levels(root: &ArgMatches) -> Vec<&ArgMatches> {
    let mut levels = vec![root];
    let mut current = root;
    while let Some((_, inner)) = current.subcommand() {
        levels.push(inner);
        current = inner;
    }
    levels
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build projects, upload them, route traffic to them and check that they work
    Deploy(deploy::DeployCommand),
    /// Upload a version that is not live and check it at its own URL
    Preview(preview::PreviewCommand),
    /// Make a preview's version live
    Promote(rollback::PromoteCommand),
    /// Make the previous version live again, or a named one
    Rollback(rollback::RollbackCommand),
    /// Show the live version of each project and whether it matches the working tree
    Status(status::StatusCommand),
    /// List the versions of a project's Worker, newest first
    Versions(versions::VersionsCommand),
    /// Show which inputs of a project differ from its live version
    Diff(diff::DiffCommand),
    /// Show what a project's Worker writes
    Logs(logs::LogsCommand),
    /// Open a project's URL in the browser
    Open(open::OpenCommand),
    /// Delete a project's Worker with its versions, routes and crons
    Delete(delete::DeleteCommand),
    /// Start a project's development server
    Dev(dev::DevCommand),
    /// Run a script of `package.json` in projects
    Run(run::RunCommand),
    /// Run the pinned wrangler for a project
    Wrangler(wrangler::WranglerCommand),
    /// Write rows into the comment of this pipeline's merge request
    Comment(comment::CommentCommand),
    /// Set up delivery in a repository that exists
    Init(init::InitCommand),
    /// Write the account id, and store the tokens and the schedule in GitLab
    Setup(setup::SetupCommand),
    /// Move this tool, wrangler, Bun or Dagger to another version
    Upgrade(upgrade::UpgradeCommand),
    /// Make an archive of this tool for runners without Rust
    Dist(dist::DistCommand),
    /// Create a project that builds, deploys and is in the pipeline
    New(new::NewCommand),
    /// List the projects
    Projects(projects::ProjectsCommand),
    /// List the projects affected by a change
    Affected(affected::AffectedCommand),
    /// Install dependencies and build
    Build(build::BuildCommand),
    /// Check this machine, the configuration and the credentials
    Doctor(doctor::DoctorCommand),
    /// Generate the pipeline file
    Ci(ci::CiCommand),
    /// Delete build outputs, the build cache, logs and temporary files
    Clean(clean::CleanCommand),
    /// Start and stop the local stand-in for Cloudflare and GitLab
    Sandbox(sandbox::SandboxCommand),
    /// Print the completion script of a shell
    Completions(completions::CompletionsCommand),
    /// Print the completions of a command line
    #[command(hide = true)]
    Complete(completions::CompleteCommand),
    /// Print the content key of each project
    #[command(hide = true)]
    Keys(keys::KeysCommand),
}
