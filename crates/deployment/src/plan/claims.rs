//! Names at Cloudflare that only one project and environment can have: a Worker's name, a custom domain, a route.
//!
//! Two projects with the same claim would overwrite each other, and no run would notice it.

use base::error::{Result, refused};
use workspace::config::{Config, LOCAL};
use workspace::exclusion::leave_out;
use workspace::project::Project;
use workspace::routes::Route;

/// One block of a wrangler config, or its top level, which serves the environments without a block.
struct Claim<'p> {
    project: &'p Project,
    /// The name of the block. `None` for the top level.
    block: Option<&'p str>,
    /// The accounts of the environments that it serves, in lower case.
    accounts: Vec<String>,
    worker: String,
    routes: Vec<Route>,
}

impl<'p> Claim<'p> {
    fn all(config: &Config, project: &'p Project) -> Vec<Claim<'p>> {
        let known: Vec<&str> =
            config.environments.keys().map(String::as_str).chain([LOCAL]).collect();
        let blocks = project.environments.iter().map(|name| Some(name.as_str()));
        blocks
            .filter(|block| block.is_some_and(|name| known.contains(&name)))
            .chain([None])
            .map(|block| Claim::new(config, project, block, &known))
            .collect()
    }

    fn new(
        config: &Config,
        project: &'p Project,
        block: Option<&'p str>,
        known: &[&str],
    ) -> Claim<'p> {
        // No environment has this name. The top level serves environments without a block.
        let name = block.unwrap_or("");
        let serves = |environment: &&&str| match block {
            Some(block) => **environment == block,
            None => !project.wrangler.has(environment),
        };
        let account = |environment: &&str| config.cloudflare(environment).account_id.to_lowercase();
        Claim {
            project,
            block,
            accounts: known.iter().filter(serves).map(account).collect(),
            worker: project.target(name).worker,
            routes: Route::all(&project.wrangler.patterns(name)),
        }
    }

    fn is(&self, project: &Project, environment: &str) -> bool {
        let block = project.wrangler.has(environment).then_some(environment);
        self.project.config == project.config && self.block == block
    }

    /// Returns the position in the wrangler config.
    fn place(&self) -> String {
        match self.block {
            Some(block) => format!("{} (`env.{block}`)", self.project.config),
            None => self.project.config.to_string(),
        }
    }
}

/// The claims of all projects of a repository.
pub struct Claims<'p> {
    config: &'p Config,
    all: Vec<Claim<'p>>,
}

impl<'p> Claims<'p> {
    /// Reads the claims of the repository's `projects`.
    #[must_use]
    pub fn new(config: &'p Config, projects: &'p [Project]) -> Claims<'p> {
        let all = projects.iter().flat_map(|project| Claim::all(config, project)).collect();
        Claims { config, all }
    }

    fn account(&self, environment: &str) -> String {
        self.config.cloudflare(environment).account_id.to_lowercase()
    }

    /// Refuses a project with a Worker, a custom domain or a route that another project, or another
    /// environment of it, has in the same account.
    pub fn check(&self, project: &Project, environment: &str) -> Result<()> {
        let Some(own) = self.all.iter().find(|claim| claim.is(project, environment)) else {
            return Ok(());
        };
        let account = self.account(environment);
        for other in self.all.iter().filter(|other| other.accounts.contains(&account)) {
            let is_own_project = other.project.config == project.config;
            if is_own_project && other.block == own.block {
                continue;
            }
            if !is_own_project && other.worker == own.worker {
                let failure = refused(format!(
                    "{} and {} both deploy the Worker `{}`",
                    own.place(),
                    other.place(),
                    own.worker
                ))
                .hint("give one of them another `name`");
                // The same Worker twice, as for a service that reads only the root of a repository, is one too many.
                let dir = &own.project.dir;
                return Err(if *dir == other.project.dir {
                    failure
                } else {
                    failure.hint(format!("or {}", leave_out(self.config, dir)))
                });
            }
            // The top level has these routes. A block that inherits them would take them over.
            if is_own_project && own.block.is_none() {
                continue;
            }
            let shared =
                own.routes.iter().find(|one| other.routes.iter().any(|two| one.is_same(two)));
            if let Some(route) = shared {
                let failure = refused(format!(
                    "{} and {} both have the route `{}`",
                    own.place(),
                    other.place(),
                    route.pattern
                ));
                return Err(match (is_own_project, own.block) {
                    (true, Some(block)) => failure.hint(format!(
                        "give `env.{block}` other `routes`, or an empty list: blocks inherit them"
                    )),
                    _ => failure.hint("remove it from one of them"),
                });
            }
        }
        Ok(())
    }

    /// Refuses an alias that results in the host name of another Worker: `mr-1` of `site` has the host name of the
    /// Worker `mr-1-site`.
    pub fn check_alias(&self, project: &Project, environment: &str, alias: &str) -> Result<()> {
        let account = self.account(environment);
        let host = format!("{alias}-{}", project.target(environment).worker);
        let is_taken =
            |claim: &&Claim<'_>| claim.accounts.contains(&account) && claim.worker == host;
        match self.all.iter().find(is_taken) {
            Some(claim) => Err(refused(format!(
                "the alias `{alias}` of {} has the workers.dev address of the Worker `{host}` of {}",
                project.config,
                claim.place()
            ))
            .hint("choose another one with `--alias`")),
            None => Ok(()),
        }
    }
}
