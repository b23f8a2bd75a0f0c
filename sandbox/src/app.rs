//! The shared state that every request handler gets.

use std::sync::Arc;

use crate::cloudflare::links::Links;
use crate::cloudflare::tails::Tails;
use crate::faults::Faults;
use crate::gitlab::Gitlab;
use crate::proof::Identity;
use crate::requests::Requests;
use crate::serve::runtime::Runtime;
use crate::state::Store;
use crate::token::Token;

/// The account subdomain of workers.dev.
pub const SUBDOMAIN: &str = "sandbox";

/// The shared parts of the server.
#[derive(Clone)]
pub struct App(pub Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// The Workers that are deployed.
    pub store: Store,
    /// The token that opens the API.
    pub token: Token,
    /// The secret that proves that we are the sandbox.
    pub identity: Identity,
    /// The accounts that exist; the first is the one that `whoami` shows first.
    pub accounts: Vec<String>,
    /// The zones that exist; every name is one if there are none.
    pub zones: Vec<String>,
    /// The port that we answer on.
    pub port: u16,
    /// The runtime of versions.
    pub runtime: Runtime,
    /// The latest requests.
    pub requests: Requests,
    /// The links to files that need no token.
    pub links: Links,
    /// The tails of Workers.
    pub tails: Tails,
    /// The failures that tests asked for.
    pub faults: Faults,
    /// The stand-in for GitLab.
    pub gitlab: Gitlab,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
