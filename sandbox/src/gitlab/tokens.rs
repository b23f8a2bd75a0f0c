//! Loads the tokens of callers. Each token belongs to a user.

use std::fmt;

use anyhow::{Result, anyhow};
use camino::Utf8Path;
use serde::Deserialize;

use super::model::StoredUser;
use crate::ids::hex;
use crate::token::Token;

/// The variable that holds all tokens as a JSON list of `{token, kind, user, project, role}`. If it is
/// set, the sandbox writes no token file.
pub const VARIABLE: &str = "SANDBOX_GITLAB_TOKENS";

/// The kind of a token (<https://docs.gitlab.com/security/tokens/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A personal access token with the scope `api`.
    Personal,
    /// A project access token with the scope `api`.
    Project,
    /// A personal access token with the scope `read_api`.
    ReadApi,
    /// A job token (`CI_JOB_TOKEN`).
    Job,
    /// An expired personal access token.
    Expired,
}

/// The role of a user in the projects, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// May read and comment.
    Guest,
    /// May set labels as well.
    Reporter,
    /// May merge and deploy as well.
    Developer,
    /// May edit the notes of others as well.
    Maintainer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    token: String,
    kind: TokenKind,
    user: Option<String>,
    project: Option<u64>,
    role: Option<UserRole>,
}

/// A caller: the user of a token, and the permissions that it grants.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The kind of the token.
    pub kind: TokenKind,
    /// The user of the token.
    pub user: StoredUser,
    /// The only project that the token grants access to. `None` if it grants access to all projects.
    pub project: Option<u64>,
    /// The role of the user.
    pub role: UserRole,
}

/// The hashes of all tokens, with their callers. Its `Debug` hides the hashes.
pub struct Tokens(Vec<(blake3::Hash, Caller)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// Loads the tokens from the environment. Without them, uses one project token from `gitlab-token`
    /// in `state`, which is created if it is missing. It grants access to `only_project`, or to all
    /// projects if `only_project` is 0.
    pub fn load(state: &Utf8Path, only_project: u64) -> Result<Tokens> {
        if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()) {
            return Tokens::parse(&text);
        }
        let token = Token::from_file(&state.join("gitlab-token"), "glpat-")?;
        let project = (only_project > 0).then_some(only_project);
        let hash = token.hash();
        let caller = Caller {
            kind: TokenKind::Project,
            user: bot(only_project, &hash),
            project,
            role: UserRole::Developer,
        };
        Ok(Tokens(vec![(hash, caller)]))
    }

    fn parse(text: &str) -> Result<Tokens> {
        // The message of serde could contain a token.
        let entries: Vec<TokenEntry> = serde_json::from_str(text).map_err(|error| {
            anyhow!(
                "{VARIABLE} is not a list of {{token, kind, user, project, role}}: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        Ok(Tokens(entries.into_iter().map(caller_of).collect()))
    }

    /// Returns the caller that `token` belongs to. Compares hashes, so that the duration of the comparison does not
    /// depend on the token.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Caller> {
        let hash = blake3::hash(token.as_bytes());
        self.0.iter().find(|(stored, _)| *stored == hash).map(|(_, caller)| caller)
    }
}

/// Returns the hash of a token, and its caller.
fn caller_of(entry: TokenEntry) -> (blake3::Hash, Caller) {
    let hash = blake3::hash(entry.token.trim().as_bytes());
    let is_bot = entry.kind == TokenKind::Project;
    let user = match entry.user {
        Some(username) => user(&username, &username),
        None if is_bot => bot(entry.project.unwrap_or_default(), &hash),
        None => user("you", "You"),
    };
    let role =
        entry.role.unwrap_or(if is_bot { UserRole::Developer } else { UserRole::Maintainer });
    (hash, Caller { kind: entry.kind, user, project: entry.project, role })
}

/// Returns the bot of a project token. Each token has a separate bot.
fn bot(project: u64, token: &blake3::Hash) -> StoredUser {
    let digest = blake3::derive_key("sandbox gitlab bot", token.as_bytes());
    user(&format!("project_{project}_bot_{}", hex(&digest[..16])), "Preview bot")
}

/// Returns a user. The id depends only on the username, so it is not stored.
#[must_use]
pub fn user(username: &str, name: &str) -> StoredUser {
    let hash = blake3::hash(username.as_bytes());
    let [a, b, c, ..] = *hash.as_bytes();
    let id = 100 + u64::from(u32::from_be_bytes([0, a, b, c]));
    StoredUser { id, username: username.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{TokenKind, Tokens, UserRole};

    #[test]
    fn tokens_come_from_a_list_and_stay_out_of_its_errors() {
        let text = r#"[{"token":"a","kind":"project","project":7},{"token":"b","kind":"job","user":"ann"}]"#;
        let tokens = Tokens::parse(text).expect("a list");
        let bot = tokens.find("a").expect("known");
        assert!(bot.user.username.starts_with("project_7_bot_"));
        assert_eq!((bot.project, bot.role), (Some(7), UserRole::Developer));
        assert_eq!(tokens.find("b").map(|caller| caller.kind), Some(TokenKind::Job));
        assert!(tokens.find("c").is_none());
        let error = Tokens::parse(r#"[{"token":"canary","kind":"canary"}]"#).expect_err("a kind");
        assert!(!format!("{error:#}").contains("canary"), "{error:#}");
    }
}
