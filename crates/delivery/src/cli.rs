//! The command line: types and their help. What a command does lives with its `run`.

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    affected, build, ci, comment, completions, deploy, doctor, init, new, preview, projects,
    rollback, sandbox, status, upgrade,
};

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Delivery of every project in this repository as one command.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, styles = STYLES)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli<C: Subcommand> {
    /// What to do.
    #[command(subcommand)]
    pub command: C,
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print what would be done, as a shell script, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print one JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show the output of every program that is run
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// How many projects are built and uploaded side by side [default: the number of cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Print progress as plain lines even on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check this machine, the configuration and the credentials
    Doctor(doctor::Doctor),
    /// List what can be deployed
    Projects(projects::Projects),
    /// List what a change concerns
    Affected(affected::Affected),
    /// Say what is live where, and whether it is what stands here
    Status(status::Status),
    /// Install dependencies and build
    Build(build::Build),
    /// Build, upload, make live, check that it answers, and record it
    Deploy(deploy::Deploy),
    /// Upload a version that is not live, and check it at its own address
    Preview(preview::Preview),
    /// Make the former version live again, or a named one
    Rollback(rollback::Rollback),
    /// Make a preview's version live
    Promote(rollback::Promote),
    /// Write rows into the comment of this pipeline's merge request
    Comment(comment::Comment),
    /// Set up delivery in a repository that exists
    Init(init::Init),
    /// Move this tool to another revision
    Upgrade(upgrade::Upgrade),
    /// Make a project that builds, deploys and is in the pipeline
    New(new::New),
    /// The stand-in for Cloudflare on this machine
    Sandbox(sandbox::Sandbox),
    /// The pipeline file
    Ci(ci::Ci),
    /// Print a shell's completions for `xtask`
    Completions(completions::Completions),
}
