//! Selects the checks to run: all, some by name, or those that a command needs.

use super::check::{Check, Need};
use super::context::Context;
use base::error::{Error, Result, did_you_mean, usage};

/// The requested checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every check.
    All,
    /// These, and the checks below them: `projects` includes `projects.lock`.
    Checks(Vec<String>),
    /// The needs of a build of these projects. An empty list means all projects.
    Build(Vec<String>),
    /// The needs of a deployment of these projects.
    Deploy(Vec<String>),
    /// No checks, but the table of pinned versions.
    Pins,
}

impl Scope {
    /// Parses the words of the command line.
    #[must_use]
    pub fn parse(words: &[String]) -> Scope {
        match words.split_first() {
            None => Scope::All,
            Some((verb, [])) if verb == "pins" => Scope::Pins,
            Some((verb, projects)) if verb == "build" => Scope::Build(projects.to_vec()),
            Some((verb, projects)) if verb == "deploy" => Scope::Deploy(projects.to_vec()),
            Some(_) => Scope::Checks(words.to_vec()),
        }
    }

    /// Returns the requested projects. Empty means all.
    #[must_use]
    pub fn projects(&self) -> &[String] {
        match self {
            Scope::All | Scope::Checks(_) | Scope::Pins => &[],
            Scope::Build(projects) | Scope::Deploy(projects) => projects,
        }
    }

    /// Returns the requested checks of `all`.
    pub fn choose(&self, all: Vec<Check>, context: &Context) -> Result<Vec<Check>> {
        let needs = |need: Need| move |check: &Check| check.needed_by.contains(&need);
        Ok(match self {
            Scope::All => all,
            Scope::Pins => Vec::new(),
            Scope::Build(_) => all.into_iter().filter(needs(Need::Build)).collect(),
            Scope::Deploy(_) if context.is_remote() => {
                all.into_iter().filter(needs(Need::Remote)).collect()
            }
            Scope::Deploy(_) => all.into_iter().filter(needs(Need::Local)).collect(),
            Scope::Checks(names) => {
                for name in names {
                    if !all.iter().any(|check| is_below(&check.id, name)) {
                        return Err(unknown(&all, name));
                    }
                }
                let is_requested =
                    |check: &Check| names.iter().any(|name| is_below(&check.id, name));
                all.into_iter().filter(is_requested).collect()
            }
        })
    }
}

fn is_below(id: &str, name: &str) -> bool {
    id.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn unknown(all: &[Check], name: &str) -> Error {
    let failure = usage(format!("no check is called `{name}`"));
    if name == "pins" {
        return failure.hint("run `cargo xtask doctor pins` without other names");
    }
    let known = all.iter().map(|check| check.id.as_str()).chain(["build", "deploy", "pins"]);
    did_you_mean(name, known)
        .into_iter()
        .fold(failure, Error::hint)
        .hint("`cargo xtask doctor --list` prints them; a project is checked by `deploy PROJECT`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::table;

    fn ids(words: &[&str], environment: Option<&str>) -> Result<Vec<String>> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let scope = Scope::parse(&words);
        let context = Context::new("/nowhere".into(), environment.map(str::to_owned), Vec::new());
        let chosen = scope.choose(table::all(&context), &context)?;
        Ok(chosen.into_iter().map(|check| check.id).collect())
    }

    #[test]
    fn scope_includes_the_checks_below_it() {
        assert_eq!(ids(&["git"], None).expect("known"), ["git", "git.repository"]);
        assert_eq!(ids(&["projects.lock"], None).expect("known"), ["projects.lock"]);
        let failure = ids(&["wranglr"], None).expect_err("unknown");
        assert_eq!(failure.hints[0], "did you mean `wrangler`?");
    }

    #[test]
    fn scope_of_a_command_has_the_checks_it_needs() {
        let build = ids(&["build"], None).expect("known");
        assert!(build.contains(&"bun".to_owned()) && !build.contains(&"wrangler".to_owned()));
        let local = ids(&["deploy", "site"], Some("local")).expect("known");
        assert!(local.contains(&"sandbox".to_owned()));
        assert!(!local.iter().any(|id| id.starts_with("credentials") || id == "dagger"));
        let remote = ids(&["deploy"], Some("staging")).expect("known");
        assert!(remote.contains(&"credentials.staging".to_owned()));
        assert!(!remote.contains(&"sandbox".to_owned()) && !remote.contains(&"cc".to_owned()));
    }

    #[test]
    fn ids_are_unique() {
        let mut all = ids(&[], None).expect("known");
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
