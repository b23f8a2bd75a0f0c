//! A plan as a POSIX shell script that does the same by hand.

use crate::plan::commands::Places;
use crate::plan::{Plan, ProjectPlan, Verb};
use crate::tools::command::{Command, preamble};
use crate::tools::http;

/// The script of `plan`. `setup` are the commands that put missing tools in place first.
#[must_use]
pub fn script(plan: &Plan, places: &Places, setup: &[Command]) -> String {
    let destination = &plan.destination;
    let token_file = places.root.join(".xtask/sandbox/token");
    let commit = plan.head.commit.as_deref().unwrap_or("no commit");
    let mut text = format!(
        "#!/bin/sh\n# {} {}",
        verb(plan.verb),
        destination.environment
    );
    if destination.sandbox.is_some() {
        text += " in the sandbox (`cargo xtask sandbox up` starts it)";
    }
    text += &format!("\n# engine: {}\n# commit: {commit}", plan.engine.name());
    text += if plan.head.dirty {
        ", with uncommitted changes\n"
    } else {
        "\n"
    };
    text += &preamble(&[&destination.token_variable]);
    for command in setup {
        text += &command.script(token_file.as_str());
    }
    for part in &plan.projects {
        text += &format!(
            "\n# {}: {}\n# content key: {}\n",
            part.project, part.reason, part.key
        );
        if plan.verb == Verb::Deploy && !plan.force {
            text += "# skipped when the live version carries this key and answers\n";
        }
        for command in commands(plan, part, places) {
            text += &command.script(token_file.as_str());
        }
        if let (Verb::Deploy, Some(url)) = (plan.verb, destination.sandbox_url(&part.target.worker))
        {
            text += &check(&format!("{}{}", url.trim_end_matches('/'), part.health));
        }
    }
    text
}

/// The commands of one project, in order.
#[must_use]
pub fn commands(plan: &Plan, part: &ProjectPlan, places: &Places) -> Vec<Command> {
    let mut commands = Vec::new();
    commands.extend(part.install.as_ref().map(|dir| places.install(dir)));
    commands.extend(part.build.as_ref().map(|dir| places.build(part, dir)));
    if plan.verb == Verb::Deploy {
        commands.push(places.deploy(part, &plan.destination));
    }
    commands
}

fn check(url: &str) -> String {
    let (address, host) = http::loopback(url);
    let host = host
        .map(|host| format!(" --header 'Host: {host}'"))
        .unwrap_or_default();
    format!(
        "curl --fail --silent --show-error --location --retry 20 --retry-all-errors --retry-delay 1 --output /dev/null{host} '{address}'\n"
    )
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Build => "build for",
        Verb::Deploy => "deploy to",
    }
}
