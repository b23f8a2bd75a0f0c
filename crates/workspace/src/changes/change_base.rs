//! Chooses the base of a comparison, so that no change is missed. The clone of a pipeline may have one ref, a
//! few commits and no default branch, so the facts of the pipeline come first.

use std::thread::ScopedJoinHandle;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::git;
use crate::git::history;
use base::error::{Error, Result, failed};

/// The state that the current one is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Base {
    /// A commit.
    Commit {
        /// Its full id.
        commit: String,
        /// The reason for this choice.
        why: String,
    },
    /// A list of paths from stdin.
    #[serde(rename = "given")]
    PathList,
    /// The base is unknown, so everything counts as changed.
    Everything {
        /// The reason.
        because: String,
    },
}

/// The files that differ from the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The base of the comparison.
    pub base: Base,
    /// The commit that was compared. `None` if there is no commit yet.
    pub head: Option<String>,
    /// `true` if uncommitted and untracked files count.
    pub uncommitted: bool,
    /// The files that differ, relative to the root. Empty if there is no base.
    pub paths: Vec<Utf8PathBuf>,
    /// Those of them that differ between the working tree and the compared commit.
    #[serde(skip)]
    pub working: Vec<Utf8PathBuf>,
}

/// The requested comparison, with the pipeline and access to deployments.
pub struct Question<'a> {
    /// The repository's root.
    pub root: &'a Utf8Path,
    /// A revision to compare with, instead of the rules.
    pub base: Option<&'a str>,
    /// A revision to compare, instead of the working tree.
    pub head: Option<&'a str>,
    /// The pipeline. `None` outside of one.
    pub pipeline: Option<PipelineFacts<'a>>,
    /// Reads the commit of the last successful deployment.
    pub deployed: &'a dyn Fn() -> LastDeployment,
}

/// The facts about a pipeline that the base depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipelineFacts<'a> {
    /// The commits of its merge request. `None` for another pipeline.
    pub merge_request: Option<MergeRequestCommits<'a>>,
    /// Its branch. `None` for a tag.
    pub branch: Option<&'a str>,
    /// The repository's default branch.
    pub default_branch: Option<&'a str>,
    /// The branch's commit before the push.
    pub before_push: Option<&'a str>,
}

/// The commits of a merge request's pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeRequestCommits<'a> {
    /// `true` if the pipeline runs on the merge with the target branch.
    pub is_on_merge_commit: bool,
    /// The commit where the merge request began.
    pub start: Option<&'a str>,
    /// The head of the target branch.
    pub target: Option<&'a str>,
}

/// The last successful deployment, as far as it is known.
#[derive(Debug)]
pub enum LastDeployment {
    /// Its commit.
    Commit(String),
    /// There was no deployment yet.
    Never,
    /// The service does not tell, for this reason.
    Unreadable(Error),
    /// There is no service to ask.
    NoService,
}

impl From<Result<Option<String>>> for LastDeployment {
    fn from(answer: Result<Option<String>>) -> LastDeployment {
        match answer {
            Ok(Some(commit)) => LastDeployment::Commit(commit),
            Ok(None) => LastDeployment::Never,
            Err(error) => LastDeployment::Unreadable(error),
        }
    }
}

impl Question<'_> {
    /// Returns the files that differ from the base.
    pub fn changes(&self) -> Result<Changes> {
        Ok(self.changes_and(|_| ())?.0)
    }

    /// Returns the files that differ from the base, and what `make` returns for the compared commit. Both run in parallel.
    pub fn changes_and<T>(&self, make: impl FnOnce(&str) -> T) -> Result<(Changes, Option<T>)> {
        let uncommitted = self.head.is_none() && self.pipeline.is_none();
        let root = self.root;
        std::thread::scope(|scope| {
            // It takes the longest, and does not depend on the base.
            let status = uncommitted.then(|| scope.spawn(|| history::uncommitted_paths(root)));
            let (base, head) = self.base_and_head()?;
            let committed = match (&base, &head) {
                (Base::Commit { commit, .. }, Some(head)) if commit != head => {
                    let (from, to) = (commit.clone(), head.clone());
                    Some(scope.spawn(move || history::changed_between(root, &from, &to)))
                }
                _ => None,
            };
            let result = head.as_deref().map(make);
            let read = |reader: ScopedJoinHandle<'_, Result<Vec<Utf8PathBuf>>>| {
                reader.join().map_err(|_| failed("git's reader failed"))?
            };
            let mut paths = committed.map_or(Ok(Vec::new()), read)?;
            let working = status.map_or(Ok(Vec::new()), read)?;
            if matches!(base, Base::Commit { .. }) {
                paths.extend(working.iter().cloned());
            }
            paths.sort();
            paths.dedup();
            Ok((Changes { base, head, uncommitted, paths, working }, result))
        })
    }

    /// Returns the base, and the commit to compare with it.
    fn base_and_head(&self) -> Result<(Base, Option<String>)> {
        let revision = self.head.unwrap_or("HEAD");
        if let Some((base, head)) = self.at_once(revision)? {
            return Ok((base, Some(head)));
        }
        let Some(head) = history::commit(self.root, revision)? else {
            return Ok((
                everything(&match self.head {
                    Some(head) => format!("`{head}` is not a commit of this clone"),
                    None => "there is no commit yet".to_owned(),
                }),
                None,
            ));
        };
        let base = match (self.base, &self.pipeline) {
            (Some(base), _) => self.fork(base, &head)?,
            (None, Some(pipeline)) => self.in_pipeline(pipeline, &head)?,
            (None, None) => self.on_a_machine(&head)?,
        };
        Ok((base, Some(head)))
    }

    /// Finds the merge base with one git command in the usual case. `None` if the slow path must explain the failure.
    fn at_once(&self, revision: &str) -> Result<Option<(Base, String)>> {
        let (name, base) = match self.base {
            Some(base) => (base.to_owned(), base.to_owned()),
            None if self.pipeline.is_some() => return Ok(None),
            None => match history::default_branch(self.root, None)? {
                Some(branch) => branch,
                None => return Ok(None),
            },
        };
        let fork = history::fork(self.root, &base, revision)?;
        Ok(fork.map(|fork| (since(&name, fork.base), fork.other)))
    }

    fn on_a_machine(&self, head: &str) -> Result<Base> {
        match history::default_branch(self.root, None)? {
            Some((name, commit)) => self.fork_of(&name, &commit, head),
            None => Ok(everything(
                "this clone knows no default branch: neither the remote's nor `main`",
            )),
        }
    }

    fn in_pipeline(&self, pipeline: &PipelineFacts<'_>, head: &str) -> Result<Base> {
        if let Some(commits) = &pipeline.merge_request {
            return self.in_merge_request(commits, head);
        }
        if pipeline.branch.is_none() {
            return Ok(everything("this pipeline runs for no branch"));
        }
        if pipeline.branch == pipeline.default_branch {
            return self.on_default_branch(pipeline, head);
        }
        match history::default_branch(self.root, pipeline.default_branch)? {
            Some((name, commit)) => self.fork_of(&name, &commit, head),
            None => Ok(everything("this clone does not have the default branch")),
        }
    }

    /// Returns the base in a merge request. A detached pipeline runs on the branch. The other kinds
    /// run on its merge with the target branch, and compare with the tip of the target branch.
    fn in_merge_request(&self, commits: &MergeRequestCommits<'_>, head: &str) -> Result<Base> {
        if !commits.is_on_merge_commit {
            return match commits.start.filter(|id| is_id(id)) {
                Some(id) => self.exactly(id, "where the merge request began"),
                None => Ok(everything("CI_MERGE_REQUEST_DIFF_BASE_SHA names no commit")),
            };
        }
        let why = "the target branch";
        if let Some(id) = commits.target.filter(|id| is_id(id)) {
            return self.exactly(id, why);
        }
        Ok(match history::commit(self.root, &format!("{head}^1"))? {
            Some(commit) => Base::Commit { commit, why: why.to_owned() },
            None => everything("CI_MERGE_REQUEST_TARGET_BRANCH_SHA names no commit"),
        })
    }

    /// Returns the last deployment, independent of the history in between, because the next pipeline
    /// must also deploy the changes of a failed one.
    fn on_default_branch(&self, pipeline: &PipelineFacts<'_>, head: &str) -> Result<Base> {
        let reason = match (self.deployed)() {
            LastDeployment::Commit(id) if is_id(&id) => {
                return self.exactly(&id, "the last successful deployment");
            }
            LastDeployment::Commit(_) | LastDeployment::Never => {
                return Ok(everything("nothing was deployed there yet"));
            }
            LastDeployment::Unreadable(error) => {
                format!("GitLab does not tell what was deployed: {error:#}")
            }
            LastDeployment::NoService => "GitLab cannot be asked what was deployed".to_owned(),
        };
        let Some(before) = pipeline.before_push.filter(|id| is_id(id)) else {
            return Ok(everything(&format!("{reason}, and this pipeline follows no push")));
        };
        let known = history::commit(self.root, before)?;
        let ancestor = match &known {
            Some(before) => history::merge_base(self.root, before, head)? == known,
            None => false,
        };
        Ok(match known {
            Some(commit) if ancestor => {
                Base::Commit { commit, why: format!("the commit before this push ({reason})") }
            }
            _ => everything(&format!(
                "{reason}, and the commit before this push is not in its history"
            )),
        })
    }

    /// Returns the commit `id`. Fetches it if the clone of a pipeline does not have it.
    fn exactly(&self, id: &str, why: &str) -> Result<Base> {
        if history::commit(self.root, id)?.is_some() || history::fetch_commit(self.root, id)? {
            return Ok(Base::Commit { commit: id.to_owned(), why: why.to_owned() });
        }
        Ok(everything(&format!("{why}, {id}, is not in this clone and cannot be fetched")))
    }

    /// Returns the commit where `head` forked from `base`.
    fn fork(&self, base: &str, head: &str) -> Result<Base> {
        match history::commit(self.root, base)? {
            Some(commit) => self.fork_of(base, &commit, head),
            None if self.pipeline.is_some() && is_id(base) => self.exactly(base, "asked for"),
            None => Ok(everything(&format!("`{base}` is not a commit of this clone"))),
        }
    }

    fn fork_of(&self, name: &str, commit: &str, head: &str) -> Result<Base> {
        if let Some(commit) = history::merge_base(self.root, commit, head)? {
            return Ok(since(name, commit));
        }
        Ok(everything(&match git::is_shallow(self.root)? {
            true => format!(
                "this shallow clone ends before the merge base with {name} (`git fetch --unshallow`)"
            ),
            false => format!("there is no common history with {name}"),
        }))
    }
}

fn since(name: &str, commit: String) -> Base {
    Base::Commit { commit, why: format!("the merge base with {name}") }
}

fn everything(because: &str) -> Base {
    Base::Everything { because: because.to_owned() }
}

/// Returns true if `text` is a full object id, and not the zeros that GitLab uses for "none".
fn is_id(text: &str) -> bool {
    text.len() >= 40
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && text.bytes().any(|b| b != b'0')
}
