//! Keeps projects on disk. A change is there before it is acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::model::Project;
use crate::state::sealed::{seal, unseal};
use crate::state::{remove_temporary, write_durably};

/// Ids start here, so that an id in the place of an iid is noticed.
const FIRST_ID: u64 = 1001;

/// All projects. Requests read memory, and changes take turns.
#[derive(Debug)]
pub struct Store {
    dir: Utf8PathBuf,
    only: u64,
    projects: Mutex<BTreeMap<u64, Arc<Project>>>,
    /// Projects whose state file cannot be read, with the reason.
    damaged: BTreeMap<u64, String>,
    turn: Mutex<()>,
}

/// A project while it is changed.
#[derive(Debug)]
pub struct Draft {
    /// The project.
    pub project: Project,
    next: u64,
}

impl Draft {
    /// Returns an id that nothing has had in the whole instance.
    pub fn id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.project.last_id = id;
        id
    }
}

impl Store {
    /// Opens the projects in `state`. With `only` there is that project and no other. With 0 a project
    /// is made by its first merge request, deployment or environment.
    pub fn open(state: &Utf8Path, only: u64) -> Result<Store> {
        let dir = state.join("gitlab");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir}"))?;
        remove_temporary(&dir)?;
        let (mut projects, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for entry in dir.read_dir_utf8()?.filter_map(Result::ok) {
            let path = entry.path();
            let id = path.file_stem().and_then(|stem| stem.parse::<u64>().ok());
            let Some(id) = id.filter(|_| path.extension() == Some("json")) else { continue };
            match read(path, id) {
                Ok(project) => drop(projects.insert(id, Arc::new(project))),
                Err(error) => {
                    let reason = format!(
                        "The state file {path} is damaged: {error:#}. Restore or delete it, then \
                         restart the sandbox"
                    );
                    crate::log::line(&reason);
                    damaged.insert(id, reason);
                }
            }
        }
        if only > 0 {
            projects.retain(|id, _| *id == only);
            damaged.retain(|id, _| *id == only);
            if damaged.is_empty() {
                projects.entry(only).or_insert_with(|| Arc::new(new(only, None)));
            }
        }
        Ok(Store { dir, only, projects: Mutex::new(projects), damaged, turn: Mutex::new(()) })
    }

    /// Returns why the project at `place` may be unreadable. `None` if every state file is whole, or
    /// if another project has this place. The path of a damaged project is not known.
    #[must_use]
    pub fn damage(&self, place: &str) -> Option<&str> {
        if self.find(place).is_some() {
            return None;
        }
        let reason = match place.parse::<u64>() {
            Ok(id) => self.damaged.get(&id),
            Err(_) => self.damaged.values().next(),
        };
        reason.map(String::as_str)
    }

    /// Returns the project that `place` names, by id or by path.
    #[must_use]
    pub fn find(&self, place: &str) -> Option<Arc<Project>> {
        let projects = self.lock();
        match place.parse::<u64>() {
            Ok(id) => projects.get(&id).cloned(),
            Err(_) => projects.values().find(|project| project.path == place).cloned(),
        }
    }

    /// Lists every project.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Project>> {
        self.lock().values().cloned().collect()
    }

    /// Returns the id that the project at `place` has, or would get if it was made now.
    #[must_use]
    pub fn claim(&self, place: &str) -> Option<u64> {
        if let Some(project) = self.find(place) {
            return Some(project.id);
        }
        match place.parse::<u64>() {
            _ if self.only > 0 => None,
            Ok(id) => (id > 0).then_some(id),
            Err(_) if place.contains('/') => {
                Some(self.lock().keys().next_back().map_or(1, |last| last + 1))
            }
            Err(_) => None,
        }
    }

    /// Changes the project at `place`, which [`Store::claim`] gave this id. Nothing is changed if
    /// `change` fails or the disk does.
    pub fn change<T, E: From<anyhow::Error>>(
        &self,
        id: u64,
        place: &str,
        change: impl FnOnce(&mut Draft) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (project, last) = {
            let projects = self.lock();
            let last = projects.values().map(|project| project.last_id).max().unwrap_or_default();
            // A damaged project has had ids as well, and nobody knows which.
            let last = last + 1_000_000 * self.damaged.len() as u64;
            (projects.get(&id).cloned(), last)
        };
        let path = place.contains('/').then_some(place);
        let project = project.map_or_else(|| new(id, path), Arc::unwrap_or_clone);
        let mut draft = Draft { project, next: FIRST_ID.max(last + 1) };
        let result = change(&mut draft)?;
        write_durably(&self.dir.join(format!("{id}.json")), &seal(&draft.project)?)?;
        drop(self.lock().insert(id, Arc::new(draft.project)));
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Project>>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Utf8Path, id: u64) -> Result<Project> {
    let bytes = std::fs::read(path).context("it cannot be read")?;
    let project: Project = unseal(&bytes)?;
    if project.id != id {
        bail!("it is the file of project {}", project.id);
    }
    Ok(project)
}

fn new(id: u64, path: Option<&str>) -> Project {
    let path = path.map_or_else(|| format!("sandbox/project-{id}"), str::to_owned);
    Project { id, path, ..Project::default() }
}

/// Returns the time as GitLab writes it: UTC with milliseconds.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
