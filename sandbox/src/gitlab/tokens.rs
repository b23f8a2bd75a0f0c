//! Who may call: tokens of several kinds, each of a user.

use std::fmt;

use anyhow::{Result, anyhow};
use camino::Utf8Path;
use serde::Deserialize;

use super::model::User;
use crate::ids::hex;
use crate::token::Token;

/// The variable that holds all tokens as a JSON list of `{token, kind, user, project, role}`. With
/// it, nothing about tokens is written.
pub const VARIABLE: &str = "SANDBOX_GITLAB_TOKENS";

/// What sort of token it is (<https://docs.gitlab.com/security/tokens/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person's, with the scope `api`.
    Personal,
    /// A project's bot, with the scope `api`.
    Project,
    /// A person's, with the scope `read_api`.
    ReadApi,
    /// `CI_JOB_TOKEN`.
    Job,
    /// A person's, no longer good.
    Expired,
}

/// What the user is in the projects, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May read and comment.
    Guest,
    /// May set labels as well.
    Reporter,
    /// May merge and deploy as well.
    Developer,
    /// May edit what others wrote as well.
    Maintainer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
    kind: Kind,
    user: Option<String>,
    project: Option<u64>,
    role: Option<Role>,
}

/// What a token opens, and for whom.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The kind of the token.
    pub kind: Kind,
    /// Whose it is.
    pub user: User,
    /// The one project that it opens; every project when there is none.
    pub project: Option<u64>,
    /// What its user is there.
    pub role: Role,
}

/// All tokens. Only hashes are kept, and its `Debug` shows nothing.
pub struct Tokens(Vec<(blake3::Hash, Caller)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// The tokens from the environment, else one project token from `gitlab-token` in `state`, which
    /// is made when missing. It opens the project `only`, or any project when that is 0.
    pub fn load(state: &Utf8Path, only: u64) -> Result<Tokens> {
        if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()) {
            return Tokens::parse(&text);
        }
        let token = Token::of_file(&state.join("gitlab-token"), "glpat-")?;
        let project = (only > 0).then_some(only);
        let hash = token.hash();
        let caller =
            Caller { kind: Kind::Project, user: bot(only, &hash), project, role: Role::Developer };
        Ok(Tokens(vec![(hash, caller)]))
    }

    fn parse(text: &str) -> Result<Tokens> {
        // The error's own words could hold a token.
        let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| {
            anyhow!(
                "{VARIABLE} is no list of {{token, kind, user, project, role}}: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        Ok(Tokens(entries.into_iter().map(known).collect()))
    }

    /// What `token` opens. Hashes are compared, so that the time taken tells nothing.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Caller> {
        let hash = blake3::hash(token.as_bytes());
        self.0.iter().find(|(known, _)| *known == hash).map(|(_, caller)| caller)
    }
}

fn known(entry: Entry) -> (blake3::Hash, Caller) {
    let hash = blake3::hash(entry.token.trim().as_bytes());
    let bots = entry.kind == Kind::Project;
    let user = match entry.user {
        Some(username) => user(&username, &username),
        None if bots => bot(entry.project.unwrap_or_default(), &hash),
        None => user("you", "You"),
    };
    let role = entry.role.unwrap_or(if bots { Role::Developer } else { Role::Maintainer });
    (hash, Caller { kind: entry.kind, user, project: entry.project, role })
}

/// The bot that a project's token makes: a new token is a new user.
fn bot(project: u64, token: &blake3::Hash) -> User {
    let own = blake3::derive_key("sandbox gitlab bot", token.as_bytes());
    user(&format!("project_{project}_bot_{}", hex(&own[..16])), "Preview bot")
}

/// A user, whose id follows from the username, so that it stays without being written down.
#[must_use]
pub fn user(username: &str, name: &str) -> User {
    let hash = blake3::hash(username.as_bytes());
    let [a, b, c, ..] = *hash.as_bytes();
    let id = 100 + u64::from(u32::from_be_bytes([0, a, b, c]));
    User { id, username: username.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Role, Tokens};

    #[test]
    fn tokens_come_from_a_list_and_stay_out_of_its_errors() {
        let text = r#"[{"token":"a","kind":"project","project":7},{"token":"b","kind":"job","user":"ann"}]"#;
        let tokens = Tokens::parse(text).expect("a list");
        let bot = tokens.find("a").expect("known");
        assert!(bot.user.username.starts_with("project_7_bot_"));
        assert_eq!((bot.project, bot.role), (Some(7), Role::Developer));
        assert_eq!(tokens.find("b").map(|caller| caller.kind), Some(Kind::Job));
        assert!(tokens.find("c").is_none());
        let error = Tokens::parse(r#"[{"token":"canary","kind":"canary"}]"#).expect_err("a kind");
        assert!(!format!("{error:#}").contains("canary"), "{error:#}");
    }
}
