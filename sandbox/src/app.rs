//! Defines the shared state that every request handler gets.

use std::sync::Arc;

use crate::cloudflare::links::Links;
use crate::cloudflare::tails::Tails;
use crate::cloudflare::zones::ZoneNames;
use crate::faults::Faults;
use crate::gitlab::GitlabState;
use crate::proof::SandboxIdentity;
use crate::requests::RequestLog;
use crate::serve::runtime::WorkerRuntime;
use crate::state::WorkerStore;
use crate::token::Token;

/// The subdomain of the accounts below workers.dev.
pub const SUBDOMAIN: &str = "sandbox";

/// The shared state of the server.
#[derive(Clone)]
pub struct App(pub Arc<AppState>);

/// The fields of [`App`].
pub struct AppState {
    /// The Workers and the resources of the accounts.
    pub store: WorkerStore,
    /// The API token.
    pub token: Token,
    /// The secret that proves that this server is the sandbox.
    pub identity: SandboxIdentity,
    /// The ids of the accounts, in the order in which `wrangler whoami` shows them.
    pub accounts: Vec<String>,
    /// The names of the zones. If the list is empty, every name is a zone.
    pub zones: Vec<String>,
    /// The names of zones that clients requested.
    pub zone_names: ZoneNames,
    /// The loopback port of the server.
    pub port: u16,
    /// The runtime that loads versions.
    pub runtime: WorkerRuntime,
    /// The latest requests.
    pub requests: RequestLog,
    /// The links to files.
    pub links: Links,
    /// The tails of Workers.
    pub tails: Tails,
    /// The faults that tests configured.
    pub faults: Faults,
    /// The stand-in for GitLab.
    pub gitlab: GitlabState,
}

impl std::ops::Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}
