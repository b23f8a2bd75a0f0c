//! One file per command. Each loads, plans, prints or executes, and reports. `selection`, `target`, `content_keys` and
//! `execution` are the parts that commands share.

pub mod affected;
pub mod build;
pub mod ci;
pub mod clean;
pub mod comment;
pub mod completions;
mod content_keys;
pub mod delete;
pub mod deploy;
pub mod dev;
pub mod diff;
pub mod dist;
pub mod doctor;
mod execution;
pub mod init;
pub mod keys;
pub mod logs;
pub mod merge_request;
pub mod new;
pub mod open;
mod orphans;
pub mod preview;
pub mod preview_stop;
pub mod projects;
pub mod rollback;
pub mod run;
pub mod sandbox;
pub mod selection;
pub mod setup;
pub mod status;
pub mod target;
pub mod upgrade;
pub mod versions;
pub mod wrangler;

use crate::cli::Command;
use base::error::Exit;
use deployment::context::Ctx;

impl Command {
    /// Runs the command. The error has the type that the commands of a team use.
    pub fn run(self, ctx: &Ctx) -> anyhow::Result<Exit> {
        Ok(match self {
            Command::Doctor(command) => command.run(ctx),
            Command::Projects(command) => command.run(ctx),
            Command::Affected(command) => command.run(ctx),
            Command::Status(command) => command.run(ctx),
            Command::Build(command) => command.run(ctx),
            Command::Deploy(command) => command.run(ctx),
            Command::Preview(command) => command.run(ctx),
            Command::Rollback(command) => command.run(ctx),
            Command::Promote(command) => command.run(ctx),
            Command::Versions(command) => command.run(ctx),
            Command::Diff(command) => command.run(ctx),
            Command::Logs(command) => command.run(ctx),
            Command::Open(command) => command.run(ctx),
            Command::Delete(command) => command.run(ctx),
            Command::Dev(command) => command.run(ctx),
            Command::Run(command) => command.run(ctx),
            Command::Wrangler(command) => command.run(ctx),
            Command::Comment(command) => command.run(ctx),
            Command::Init(command) => command.run(ctx),
            Command::New(command) => command.run(ctx),
            Command::Sandbox(command) => command.run(ctx),
            Command::Dist(command) => command.run(ctx),
            Command::Setup(command) => command.run(ctx),
            Command::Upgrade(command) => command.run(ctx),
            Command::Ci(command) => command.run(ctx),
            Command::Clean(command) => command.run(ctx),
            Command::Completions(command) => command.run(ctx),
            Command::Complete(command) => command.run(ctx),
            Command::Keys(command) => command.run(ctx),
        }?)
    }
}
