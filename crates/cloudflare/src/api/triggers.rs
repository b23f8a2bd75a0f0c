//! Reads the triggers of a Worker: crons, custom domains, routes.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Api, parse_as};
use base::error::Result;
use workspace::triggers::Triggers;

/// The crons, domains and routes of a Worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggersInUse {
    /// The cron schedules.
    pub crons: BTreeSet<String>,
    /// The custom domains.
    pub domains: BTreeSet<String>,
    /// The patterns of the routes.
    pub routes: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Schedule {
    cron: String,
}

#[derive(Deserialize)]
struct Domain {
    hostname: String,
    #[serde(default)]
    service: Option<String>,
}

/// A route as Cloudflare lists it, or as wrangler wrote it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListedRoute {
    Object { pattern: String },
    Pattern(String),
}

impl Api<'_> {
    /// Reads the triggers of `worker`. Empty if the Worker does not exist.
    pub fn triggers_in_use(&self, worker: &str) -> Result<TriggersInUse> {
        let schedules = self.get(&format!("workers/scripts/{worker}/schedules"))?;
        let schedules: Vec<Schedule> = match schedules {
            Some(found) if !found["schedules"].is_null() => {
                parse_as(found["schedules"].clone(), "list of schedules")?
            }
            _ => Vec::new(),
        };
        let path = format!("workers/domains?service={worker}");
        let domains: Option<Vec<Domain>> = self.get_as(&path, "list of domains")?;
        let path = format!("workers/services/{worker}/environments/production/routes");
        let routes: Option<Vec<ListedRoute>> = self.get_as(&path, "list of routes")?;
        Ok(TriggersInUse {
            crons: schedules.into_iter().map(|schedule| schedule.cron).collect(),
            domains: domains
                .unwrap_or_default()
                .into_iter()
                .filter(|domain| domain.service.as_ref().is_none_or(|name| name == worker))
                .map(|domain| domain.hostname)
                .collect(),
            routes: routes.unwrap_or_default().into_iter().map(ListedRoute::pattern).collect(),
        })
    }
}

impl ListedRoute {
    fn pattern(self) -> String {
        match self {
            ListedRoute::Object { pattern } | ListedRoute::Pattern(pattern) => pattern,
        }
    }
}

impl TriggersInUse {
    fn names(&self) -> BTreeSet<String> {
        let name = |kind: &'static str| move |text: &String| format!("{kind} `{text}`");
        let (crons, domains, routes) = (self.crons.iter(), self.domains.iter(), self.routes.iter());
        let crons = crons.map(name("the cron"));
        crons.chain(domains.map(name("the domain"))).chain(routes.map(name("the route"))).collect()
    }

    /// Returns the triggers that a deployment with `wanted` removes, each with its kind.
    #[must_use]
    pub fn removed_by(&self, wanted: &Triggers) -> Vec<String> {
        let keep = |wanted: &[String], own: &BTreeSet<String>| {
            if wanted.is_empty() { own.clone() } else { wanted.iter().cloned().collect() }
        };
        let after = TriggersInUse {
            crons: wanted
                .crons
                .as_ref()
                .map_or(self.crons.clone(), |crons| crons.iter().cloned().collect()),
            domains: keep(&wanted.domains, &self.domains),
            routes: keep(&wanted.routes, &self.routes),
        };
        self.names().difference(&after.names()).cloned().collect()
    }

    /// Returns the triggers that remain although the config does not name them. wrangler removes a domain
    /// or route only if the config names another one, and a cron only if the config has a list.
    #[must_use]
    pub fn left_by(&self, wanted: &Triggers) -> Vec<String> {
        let empty = |wanted: bool, own: &BTreeSet<String>| {
            if wanted { BTreeSet::new() } else { own.clone() }
        };
        let remaining = TriggersInUse {
            crons: empty(wanted.crons.is_some(), &self.crons),
            domains: empty(!wanted.domains.is_empty(), &self.domains),
            routes: empty(!wanted.routes.is_empty(), &self.routes),
        };
        remaining.names().into_iter().collect()
    }

    /// Describes the triggers that were added since `before`, and those that were removed.
    #[must_use]
    pub fn changes_since(&self, before: &TriggersInUse) -> Vec<String> {
        let (now, then) = (self.names(), before.names());
        let added = now.difference(&then).map(|what| format!("{what} is new"));
        let removed = then.difference(&now).map(|what| format!("{what} is gone"));
        added.chain(removed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn in_use(crons: &[&str], domains: &[&str], routes: &[&str]) -> TriggersInUse {
        TriggersInUse { crons: set(crons), domains: set(domains), routes: set(routes) }
    }

    fn triggers(crons: Option<&[&str]>, domains: &[&str]) -> Triggers {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        Triggers { crons: crons.map(list), domains: list(domains), ..Triggers::default() }
    }

    #[test]
    fn names_triggers_that_a_deployment_removes() {
        let now = in_use(&["0 3 * * *"], &["a.example", "b.example"], &["c.example/*"]);
        let both = triggers(Some(&[]), &["b.example"]);
        assert_eq!(now.removed_by(&both), ["the cron `0 3 * * *`", "the domain `a.example`"]);
        assert_eq!(now.left_by(&both), ["the route `c.example/*`"]);
        // Wrangler keeps triggers of a kind that the config does not set.
        let nothing = triggers(None, &[]);
        assert_eq!(now.removed_by(&nothing), [""; 0]);
        assert_eq!(now.left_by(&nothing).len(), 4);
        assert_eq!(
            now.removed_by(&triggers(Some(&["0 3 * * *"]), &["a.example", "b.example"])),
            [""; 0]
        );
    }

    #[test]
    fn names_added_and_removed_triggers() {
        let before = in_use(&["0 3 * * *"], &["a.example"], &[]);
        let now = in_use(&["*/5 * * * *"], &["a.example"], &["x/*"]);
        let changes = now.changes_since(&before);
        assert_eq!(
            changes,
            [
                "the cron `*/5 * * * *` is new",
                "the route `x/*` is new",
                "the cron `0 3 * * *` is gone"
            ]
        );
        assert_eq!(before.changes_since(&before), [""; 0]);
    }
}
