//! The access that a command of wrangler needs: the token, or code of the project, never both.

/// The access of a wrangler command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The token. The command changes nothing.
    Read,
    /// The token. The command may change what is live, or data.
    Change,
    /// No token, because the command needs none or runs code of the project.
    NoToken,
    /// It would run code of the project with the token. The text is the command of this tool that does it safely.
    Refused(&'static str),
}

/// The commands that access the account and run no code of the project (according to the source of 4.164).
const WITH_TOKEN: [&str; 31] = [
    "agent-memory",
    "ai",
    "ai-search",
    "artifacts",
    "basin",
    "browser",
    "cert",
    "d1",
    "delete",
    "deployments",
    "dispatch-namespace",
    "email",
    "flagship",
    "hyperdrive",
    "k2",
    "kv",
    "mtls-certificate",
    "pipelines",
    "queues",
    "r2",
    "rollback",
    "secret",
    "secrets-store",
    "tail",
    "triggers",
    "turnstile",
    "vectorize",
    "versions",
    "vpc",
    "whoami",
    "workflows",
];

/// The other commands that do so. The rest of their group runs code of the project or other programs, such as
/// Docker and cloudflared.
const PARTS_WITH_TOKEN: [[&str; 2]; 13] = [
    ["containers", "delete"],
    ["containers", "images"],
    ["containers", "info"],
    ["containers", "instances"],
    ["containers", "list"],
    ["containers", "registries"],
    ["pages", "download"],
    ["pages", "project"],
    ["pages", "secret"],
    ["tunnel", "create"],
    ["tunnel", "delete"],
    ["tunnel", "info"],
    ["tunnel", "list"],
];

/// The words between a command's first word and its last.
const GROUPS: [&str; 37] = [
    "addresses",
    "apps",
    "bucket",
    "bulk",
    "catalog",
    "consumer",
    "cors",
    "dev-url",
    "domain",
    "flags",
    "http",
    "images",
    "instances",
    "jobs",
    "key",
    "lifecycle",
    "local-uploads",
    "lock",
    "migrations",
    "namespace",
    "namespaces",
    "notification",
    "object",
    "project",
    "registries",
    "repos",
    "routing",
    "rules",
    "secret",
    "sending",
    "sippy",
    "store",
    "streams",
    "subscription",
    "time-travel",
    "widget",
    "worker",
];

/// The last words of commands that only read.
const READS: [&str; 5] = ["get", "info", "list", "status", "view"];

/// The commands that start workerd on this machine.
const STARTS_WORKERD: [&str; 3] = ["check", "dev", "types"];

/// The commands that bundle the project's code and upload it.
const UPLOADS: [(&[&str], &str); 4] = [
    (&["deploy"], "deploy PROJECT --env ENVIRONMENT"),
    (&["publish"], "deploy PROJECT --env ENVIRONMENT"),
    (&["versions", "upload"], "preview PROJECT --env ENVIRONMENT"),
    (&["preview"], "preview PROJECT --env ENVIRONMENT --strategy preview"),
];

/// Returns true if the command that `arguments` begin with starts workerd itself, for which wrangler needs Node.
#[must_use]
pub fn needs_node(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|first| STARTS_WORKERD.contains(&first.as_str()))
}

/// Returns true if `word` begins commands of wrangler that access the account.
#[must_use]
pub fn is_command(word: &str) -> bool {
    WITH_TOKEN.contains(&word) || PARTS_WITH_TOKEN.iter().any(|[first, _]| *first == word)
}

/// The commands that use the Worker of the environment in the config, or its bindings (according to the source of 4.164).
const USES_WORKER: [&str; 12] = [
    "build",
    "check",
    "delete",
    "deploy",
    "deployments",
    "dev",
    "rollback",
    "secret",
    "tail",
    "triggers",
    "types",
    "versions",
];

/// The commands that find storage by a binding of the config. `d1` has no other group.
const USES_BINDING: [&[&str]; 4] =
    [&["kv", "key"], &["kv", "bulk"], &["kv", "namespace", "delete"], &["d1"]];

/// The commands of `d1` that need no binding, because they create or list databases.
const NO_BINDING: [&[&str]; 2] = [&["d1", "create"], &["d1", "list"]];

/// Returns true if the command that `arguments` begin with uses the Worker or a binding of the config's environment. The
/// others use only the account, or get the name of a Worker.
#[must_use]
pub fn uses_environment(arguments: &[String]) -> bool {
    let has = |option: &str| {
        arguments.iter().any(|word| word.split('=').next().is_some_and(|name| name == option))
    };
    if ["--help", "-h", "--version", "-v"].into_iter().any(has) {
        return false;
    }
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
    match words.as_slice() {
        ["delete" | "tail", worker, ..] if !worker.is_empty() => false,
        [first, ..] if USES_WORKER.contains(first) => !has("--name"),
        words => {
            let is_in = |commands: &[&[&str]]| commands.iter().any(|one| words.starts_with(one));
            is_in(&USES_BINDING) && !is_in(&NO_BINDING) && !has("--namespace-id")
        }
    }
}

/// Returns the access of the command that `arguments` begin with.
#[must_use]
pub fn access(arguments: &[String]) -> Access {
    let has = |options: &[&str]| arguments.iter().any(|word| options.contains(&word.as_str()));
    if has(&["--help", "-h", "--version", "-v"]) {
        return Access::NoToken;
    }
    // An option before the command may have a value that looks like a command.
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
    let upload = UPLOADS.iter().find(|(command, _)| words.starts_with(command));
    if let Some((_, instead)) = upload {
        return if has(&["--dry-run", "--dry-run=true"]) {
            Access::NoToken
        } else {
            Access::Refused(instead)
        };
    }
    let Some(first) = words.first() else { return Access::NoToken };
    if !WITH_TOKEN.contains(first) && !PARTS_WITH_TOKEN.iter().any(|part| words.starts_with(part)) {
        return Access::NoToken;
    }
    // A name follows these.
    if ["delete", "rollback"].contains(first) {
        return Access::Change;
    }
    // The word after the groups is the command. Names and values follow.
    let is_group = |word: &str| GROUPS.contains(&word);
    let command = words.iter().skip(1).find(|word| !is_group(word));
    let reads =
        ["tail", "whoami"].contains(first) || command.is_some_and(|word| READS.contains(word));
    if reads { Access::Read } else { Access::Change }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_of(line: &str) -> Access {
        access(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn commands_that_reach_the_account_have_the_token() {
        for line in [
            "tail",
            "whoami",
            "secret list",
            "kv key get k --binding KV",
            "d1 list",
            "versions view x",
            "r2 bucket lock list b",
            "r2 bucket dev-url get b",
            "queues consumer http list q",
            "containers images list",
            "pages project list",
            "email routing rules list example.com",
            "tunnel info t",
            "ai-search get a",
        ] {
            assert_eq!(access_of(line), Access::Read, "{line}");
        }
        for line in [
            "secret put KEY",
            "d1 migrations apply DB --remote",
            "kv key put list value",
            "kv key put k list --binding KV",
            "d1 execute DB --command list",
            "versions secret put K",
            "versions deploy x",
            "delete",
            "queues create list",
            "delete list",
            "rollback status",
            "queues pause-delivery q",
            "containers delete list",
            "pages project create p",
            "turnstile widget create w",
        ] {
            assert_eq!(access_of(line), Access::Change, "{line}");
        }
    }

    #[test]
    fn commands_use_the_environment_or_only_the_account() {
        let uses =
            |line: &str| uses_environment(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in [
            "secret put KEY",
            "secret list",
            "tail",
            "tail --format json",
            "delete",
            "deployments list",
            "versions view x",
            "rollback x",
            "triggers deploy",
            "types",
            "dev --port 1",
            "deploy --dry-run",
            "d1 execute DB --command x",
            "d1 migrations apply DB --remote",
            "d1 delete DB",
            "kv key put k v --binding KV",
            "kv bulk put f --binding KV",
            "kv namespace delete --binding KV",
        ] {
            assert!(uses(line), "{line}");
        }
        for line in [
            "whoami",
            "d1 create db",
            "d1 list",
            "kv namespace create kv",
            "kv namespace list",
            "kv key get k --namespace-id x",
            "kv key get k --namespace-id=x",
            "r2 bucket create b",
            "queues create q",
            "hyperdrive list",
            "delete other",
            "tail other",
            "secret put KEY --name other",
            "secret put --help",
            "--version",
        ] {
            assert!(!uses(line), "{line}");
        }
    }

    #[test]
    fn code_of_the_project_runs_without_the_token() {
        for line in [
            "dev",
            "types",
            "build",
            "check startup",
            "deploy --dry-run",
            "containers build .",
            "containers push tag",
            "pages deploy dist",
            "pages deployment create dist",
            "tunnel run t",
            "new-command",
            "--cwd deploy secret put",
            "secret put --help",
        ] {
            assert_eq!(access_of(line), Access::NoToken, "{line}");
        }
        for line in ["deploy", "deploy --minify", "versions upload", "preview", "publish"] {
            assert!(matches!(access_of(line), Access::Refused(_)), "{line}");
        }
    }
}
