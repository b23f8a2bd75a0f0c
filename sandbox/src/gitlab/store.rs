//! Stores projects on disk. A change is on disk before the client gets its response.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::model::StoredProject;
use crate::mutex::lock;
use crate::state::seal::{seal, unseal};
use crate::state::{RESTORE_OR_DELETE, remove_temporary, report_damage, write_durably};

/// The first id. It is high, so that a client fails if it confuses an id with an `iid`.
const FIRST_ID: u64 = 1001;

/// All projects. Requests read them from memory. Changes are serialized.
#[derive(Debug)]
pub struct ProjectStore {
    dir: Utf8PathBuf,
    /// The id of the only project, or 0.
    only_project: u64,
    projects: Mutex<BTreeMap<u64, Arc<StoredProject>>>,
    /// Projects whose state file cannot be read, with the reason.
    damaged: BTreeMap<u64, String>,
    write_lock: Mutex<()>,
}

/// A copy of a project that a change modifies.
#[derive(Debug)]
pub struct Draft {
    /// The project.
    pub project: StoredProject,
    next_id: u64,
}

impl Draft {
    /// Returns a new id, unique in the instance.
    pub fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.project.last_id = id;
        id
    }
}

impl ProjectStore {
    /// Opens the projects in `state`. If `only_project` is not 0, it is the id of the only project. Otherwise
    /// the first merge request, deployment or environment creates its project.
    pub fn open(state: &Utf8Path, only_project: u64) -> Result<ProjectStore> {
        let dir = state.join("gitlab");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir}"))?;
        remove_temporary(&dir)?;
        let (mut projects, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for entry in dir.read_dir_utf8()?.filter_map(Result::ok) {
            let path = entry.path();
            let id = path.file_stem().and_then(|stem| stem.parse::<u64>().ok());
            let Some(id) = id.filter(|_| path.extension() == Some("json")) else { continue };
            match read(path, id) {
                Ok(project) => drop(projects.insert(id, Arc::new(project))),
                Err(error) => {
                    damaged.insert(id, report_damage(path, &error, RESTORE_OR_DELETE));
                }
            }
        }
        if only_project > 0 {
            projects.retain(|id, _| *id == only_project);
            damaged.retain(|id, _| *id == only_project);
            if damaged.is_empty() {
                projects
                    .entry(only_project)
                    .or_insert_with(|| Arc::new(new_project(only_project, None)));
            }
        }
        Ok(ProjectStore {
            dir,
            only_project,
            projects: Mutex::new(projects),
            damaged,
            write_lock: Mutex::new(()),
        })
    }

    /// Returns the damage that may affect a project, by its id or path. `None` if every state file is intact or
    /// if an intact project has this id or path. The path of a damaged project is unknown.
    #[must_use]
    pub fn damage(&self, identifier: &str) -> Option<&str> {
        if self.find(identifier).is_some() {
            return None;
        }
        let reason = match identifier.parse::<u64>() {
            Ok(id) => self.damaged.get(&id),
            Err(_) => self.damaged.values().next(),
        };
        reason.map(String::as_str)
    }

    /// Returns a project by its id or path.
    #[must_use]
    pub fn find(&self, identifier: &str) -> Option<Arc<StoredProject>> {
        let projects = self.lock();
        match identifier.parse::<u64>() {
            Ok(id) => projects.get(&id).cloned(),
            Err(_) => projects.values().find(|project| project.path == identifier).cloned(),
        }
    }

    /// Lists every project.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<StoredProject>> {
        self.lock().values().cloned().collect()
    }

    /// Returns the id of a project by its id or path, or the id that a new project would get. `None` if such a
    /// project cannot exist.
    #[must_use]
    pub fn id_for(&self, identifier: &str) -> Option<u64> {
        if let Some(project) = self.find(identifier) {
            return Some(project.id);
        }
        match identifier.parse::<u64>() {
            _ if self.only_project > 0 => None,
            Ok(id) => (id > 0).then_some(id),
            Err(_) if identifier.contains('/') => {
                Some(self.lock().keys().next_back().map_or(1, |last| last + 1))
            }
            Err(_) => None,
        }
    }

    /// Changes or creates a project. `id` is the result of [`ProjectStore::id_for`] for `identifier`. If `change` or the write
    /// fails, nothing is changed.
    pub fn change<T, E: From<anyhow::Error>>(
        &self,
        id: u64,
        identifier: &str,
        change: impl FnOnce(&mut Draft) -> Result<T, E>,
    ) -> Result<T, E> {
        let _guard = lock(&self.write_lock);
        let (project, last) = {
            let projects = self.lock();
            let last = projects.values().map(|project| project.last_id).max().unwrap_or_default();
            // The ids in damaged projects are unknown, so this skips many ids to avoid a collision.
            let last = last + 1_000_000 * self.damaged.len() as u64;
            (projects.get(&id).cloned(), last)
        };
        let path = identifier.contains('/').then_some(identifier);
        let project = project.map_or_else(|| new_project(id, path), Arc::unwrap_or_clone);
        let mut draft = Draft { project, next_id: FIRST_ID.max(last + 1) };
        let result = change(&mut draft)?;
        write_durably(&self.dir.join(format!("{id}.json")), &seal(&draft.project)?)?;
        drop(self.lock().insert(id, Arc::new(draft.project)));
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<StoredProject>>> {
        lock(&self.projects)
    }
}

fn read(path: &Utf8Path, id: u64) -> Result<StoredProject> {
    let bytes = std::fs::read(path).context("it cannot be read")?;
    let project: StoredProject = unseal(&bytes)?;
    if project.id != id {
        bail!("it is the file of project {}", project.id);
    }
    Ok(project)
}

fn new_project(id: u64, path: Option<&str>) -> StoredProject {
    let path = path.map_or_else(|| format!("sandbox/project-{id}"), str::to_owned);
    StoredProject { id, path, ..StoredProject::default() }
}

/// Returns the current time in GitLab's format: UTC with milliseconds.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
