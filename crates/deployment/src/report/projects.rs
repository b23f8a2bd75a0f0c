//! The list of projects.

use serde::Serialize;

use base::error::{Error, with_hints};
use base::terminal::DIM;
use base::terminal::table::{Cell, Table};
use workspace::Workspace;
use workspace::discovery::BrokenConfig;
use workspace::graph::Edge;
use workspace::project::Project;

/// A project and its dependencies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectEntry<'a> {
    /// The project.
    #[serde(flatten)]
    pub project: &'a Project,
    /// The direct dependencies.
    pub depends_on: Vec<Edge<'a>>,
}

/// The JSON document.
#[derive(Debug, Serialize)]
pub struct ProjectsReport<'a> {
    /// The version of this shape.
    pub schema: u32,
    /// Sorted by folder.
    pub projects: Vec<ProjectEntry<'a>>,
    /// Wrangler configs that cannot be used.
    pub broken: &'a [BrokenConfig],
    /// The reason why there is no project.
    #[serde(skip)]
    no_project: Option<Error>,
}

impl<'a> ProjectsReport<'a> {
    /// Creates the report of `workspace`.
    #[must_use]
    pub fn new(workspace: &'a Workspace) -> ProjectsReport<'a> {
        let entry = |project: &'a Project| ProjectEntry {
            project,
            depends_on: workspace.graph.edges(&project.dir).collect(),
        };
        let projects = workspace.projects.iter().map(entry).collect();
        let (broken, no_project) = (&workspace.broken, workspace.no_project());
        ProjectsReport { schema: 1, projects, broken, no_project }
    }

    /// Returns the list as a table for a terminal with `width` columns.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        if let Some(reason) = &self.no_project {
            return with_hints(&format!("no projects: {}", reason.message), &reason.hints);
        }
        let mut table = Table::new(&["PROJECT", "WORKER", "ENVIRONMENTS"]);
        for ProjectEntry { project, .. } in &self.projects {
            let environments = match project.environments.as_slice() {
                [] => "top level".to_owned(),
                blocks => format!("top level, {}", blocks.join(", ")),
            };
            table.row(vec![
                project.name.as_str().into(),
                project.worker.as_str().into(),
                Cell::new(environments, DIM),
            ]);
        }
        table.text(width)
    }
}
