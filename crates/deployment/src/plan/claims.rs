//! Names at Cloudflare that only one project and environment can have: a Worker's name, a custom domain, a route, and a
//! queue that is consumed.
//!
//! Two projects with the same claim would overwrite each other, and no run would notice it. Cloudflare refuses the second
//! consumer of a queue (code 11004), after it has deployed the code.

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
    /// The queues that it consumes.
    consumed_queues: Vec<String>,
    /// The accounts in which it certainly consumes them, in lower case. [`LOCAL`] is the sandbox.
    consumer_accounts: Vec<String>,
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
        let is_protected =
            |name: &str| config.environments.get(name).is_some_and(|own| own.protected);
        let served: Vec<&str> = known.iter().filter(serves).copied().collect();
        // The top level beside blocks is often for development alone, unless it is production.
        let is_deployed = block.is_some()
            || project.environments.is_empty()
            || served.iter().any(|name| is_protected(name));
        let consumes = |environment: &&&str| is_deployed || **environment == LOCAL;
        let consumer_accounts = served.iter().filter(consumes);
        Claim {
            project,
            block,
            accounts: served.iter().map(account).collect(),
            worker: project.target(name).worker,
            routes: Route::all(&project.wrangler.patterns(name)),
            consumed_queues: project.wrangler.consumed_queues(name),
            consumer_accounts: consumer_accounts.map(|name| queue_account(config, name)).collect(),
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
            self.check_consumers(own, other, environment)?;
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

    /// Refuses a queue that `own` consumes in `environment` if `other` consumes it too.
    fn check_consumers(&self, own: &Claim<'_>, other: &Claim<'_>, environment: &str) -> Result<()> {
        let account = queue_account(self.config, environment);
        if own.worker == other.worker || !other.consumer_accounts.contains(&account) {
            return Ok(());
        }
        let Some(queue) =
            own.consumed_queues.iter().find(|one| other.consumed_queues.contains(one))
        else {
            return Ok(());
        };
        let failure = refused(format!(
            "{} and {} both consume the queue `{queue}`, and a queue has one consumer",
            own.place(),
            other.place()
        ));
        Err(match (own.project.config == other.project.config, own.block) {
            (true, Some(block)) => {
                failure.hint(format!("give `env.{block}` its own queue in `queues.consumers`"))
            }
            _ => failure.hint("remove the consumer from one of them"),
        })
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

/// Returns the account whose queues `environment` uses, in lower case. The sandbox has its own.
fn queue_account(config: &Config, environment: &str) -> String {
    if environment == LOCAL {
        LOCAL.to_owned()
    } else {
        config.cloudflare(environment).account_id.to_lowercase()
    }
}
