//! The list of projects.

use serde::Serialize;

use base::terminal::{BOLD, DIM, paint};
use workspace::Workspace;
use workspace::discovery::Broken;
use workspace::graph::{Edge, Graph};
use workspace::project::Project;

/// A project and what it is made from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    /// The project.
    #[serde(flatten)]
    pub project: &'a Project,
    /// The direct dependencies.
    pub depends_on: Vec<Edge<'a>>,
}

/// The whole list.
#[derive(Debug, Serialize)]
pub struct ProjectsReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// Sorted by folder.
    pub projects: Vec<Entry<'a>>,
    /// Wrangler configs that no project can be made of.
    pub broken: &'a [Broken],
}

impl<'a> ProjectsReport<'a> {
    /// The report on `workspace`.
    #[must_use]
    pub fn new(workspace: &'a Workspace, graph: &'a Graph) -> ProjectsReport<'a> {
        let entry = |project: &'a Project| Entry {
            project,
            depends_on: graph.edges(&project.dir).collect(),
        };
        let projects = workspace.projects.iter().map(entry).collect();
        ProjectsReport { schema: 1, projects, broken: &workspace.broken }
    }

    /// The list as a table.
    #[must_use]
    pub fn text(&self) -> String {
        if self.projects.is_empty() {
            return "no projects: none has a wrangler config".to_owned();
        }
        let width = |column: fn(&Project) -> usize| {
            self.projects.iter().map(|entry| column(entry.project)).max().unwrap_or(0)
        };
        let (names, workers) = (width(|p| p.name.len()), width(|p| p.worker.len()));
        let mut text =
            paint(BOLD, &format!("{:names$}  {:workers$}  ENVIRONMENTS", "PROJECT", "WORKER"));
        for Entry { project, .. } in &self.projects {
            let environments = match project.environments.as_slice() {
                [] => "top level".to_owned(),
                blocks => format!("top level, {}", blocks.join(", ")),
            };
            let environments = paint(DIM, &environments);
            text +=
                &format!("\n{:names$}  {:workers$}  {environments}", project.name, project.worker);
        }
        text
    }
}
