//! The files and packages that the settings of a task runner declare for the build of one package.

use std::collections::BTreeSet;

/// The folder that a declared path is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathBase {
    /// The folder of the settings of the root.
    Root,
    /// The folder of the package.
    Package,
}

/// The files and packages that the settings declare for the build of one package.
#[derive(Debug, Default)]
pub(crate) struct BuildDeclaration {
    /// Paths and patterns, in the order of their text.
    pub(crate) paths: BTreeSet<(PathBase, String)>,
    /// The paths and patterns that are left out.
    pub(crate) excluded: BTreeSet<(PathBase, String)>,
    /// Names of packages and projects.
    pub(crate) packages: BTreeSet<String>,
    /// Tasks of the same package that run before.
    pub(crate) tasks: BTreeSet<String>,
}

impl BuildDeclaration {
    /// Adds a path or a pattern. One that begins with `!` is left out.
    pub(crate) fn add_path(&mut self, base: PathBase, path: &str) {
        match path.strip_prefix('!') {
            Some(path) => self.exclude(base, path),
            None => drop(self.paths.insert((base, path.to_owned()))),
        }
    }

    /// Adds what `add` declares for each of `tasks`. With `is_run`, the task runner runs the tasks that these depend on, too.
    pub(crate) fn add_tasks(
        &mut self,
        tasks: &BTreeSet<String>,
        is_run: bool,
        add: impl Fn(&str, &mut BuildDeclaration),
    ) {
        let mut waiting: Vec<String> = tasks.iter().cloned().collect();
        let mut seen = tasks.clone();
        while let Some(task) = waiting.pop() {
            add(&task, self);
            for before in std::mem::take(&mut self.tasks) {
                if is_run && seen.insert(before.clone()) {
                    waiting.push(before);
                }
            }
        }
    }

    /// Leaves a path or the matches of a pattern out.
    pub(crate) fn exclude(&mut self, base: PathBase, path: &str) {
        self.excluded.insert((base, path.to_owned()));
    }
}
