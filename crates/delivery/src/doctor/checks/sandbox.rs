//! Checks the sandbox on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::doctor::context::Context;
use crate::doctor::finding::Finding;
use base::cmd;
use base::env::variable;
use base::probe;
use deployment::tools::sandbox;

/// `sandbox.program`
pub fn program(context: &Context) -> Finding {
    match sandbox::program(&context.root) {
        Err(failure) => Finding::from(&failure),
        Ok(program) if program.is_file() => Finding::ok().detail("built").source(program.as_str()),
        Ok(_) if sandbox::source(&context.root).is_some() => {
            Finding::ok().detail("built by the first deploy, which takes a minute or two")
        }
        Ok(program) => Finding::warn(format!("neither {program} nor its source is here"))
            .manual_fix(
                "run xtask by `cargo xtask`, which compiles both, or take both from one archive",
            ),
    }
}

/// `sandbox`
pub fn process(context: &Context) -> Finding {
    match sandbox::running(&context.root) {
        Some(server) => Finding::ok()
            .with_value("running")
            .detail(format!("{} (process {})", server.url, server.pid)),
        None => Finding::ok().with_value("not running").detail("a deploy starts it"),
    }
}

/// `sandbox.token`
pub fn token(context: &Context) -> Finding {
    if variable(sandbox::TOKEN_VARIABLE).is_some() {
        return Finding::ok().source(sandbox::TOKEN_VARIABLE);
    }
    let path = sandbox::token_file(&context.root);
    let Ok(meta) = path.metadata() else {
        return Finding::ok().detail("made by the first start");
    };
    let mode = meta.permissions().mode() & 0o777;
    let finding = if mode & 0o077 == 0 {
        Finding::ok()
    } else {
        let close = cmd!(&context.root, "chmod 600 {path}", Duration::from_secs(10));
        Finding::fail("other users can read it")
            .safe_fix("leave it to its owner", vec![close])
            .with_value(format!("mode {mode:03o}"))
            .with_expected("mode 600")
    };
    finding.source(path.strip_prefix(&context.root).unwrap_or(&path).as_str())
}

/// `port`
pub fn port(context: &Context) -> Finding {
    let port = sandbox::DEFAULT_PORT;
    if !probe::listens(port) {
        return Finding::ok().detail("free");
    }
    if sandbox::running(&context.root).is_some_and(|server| server.port == port) {
        return Finding::ok().detail("the sandbox of this checkout listens there");
    }
    let owner = probe::listener(port).unwrap_or_else(|| "another program".to_owned());
    Finding::ok()
        .with_value("taken")
        .detail(format!("by {owner}; the sandbox takes another port and says which"))
}
