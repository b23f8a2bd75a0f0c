//! Finds the reason of a failed install in its output.

use base::env::variable;
use base::error::Result;
use base::runner::CompletedProcess;
use workspace::config::{CONFIG_FILE, Variables};
use workspace::files::folder_name;
use workspace::installation::Installation;

/// Messages about a lock file that does not match the manifests.
const STALE: [&str; 10] = [
    "lockfile had changes, but lockfile is frozen",
    "npm ci` can only install packages when your package.json",
    // The end of npm's message, which is longer than the stored output.
    "Run \"npm help ci\" for more info",
    "npm ci` can only install with an existing package-lock.json",
    "ERR_PNPM_OUTDATED_LOCKFILE",
    // pnpm 12.
    "ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE",
    "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH",
    "Your lockfile needs to be updated",
    "YN0028",
    "The lockfile would have been",
];

/// Messages about missing or wrong credentials of a registry.
const DENIED: [&str; 13] = [
    // Yarn classic prints only this for a status of 401.
    "Couldn't find package",
    "E401",
    "E403",
    "ENEEDAUTH",
    "_FETCH_401",
    "_FETCH_403",
    "YN0041",
    "Response code: 401",
    "Response code: 403",
    "401 Unauthorized",
    "403 Forbidden",
    "returned a 401",
    "returned a 403",
];

/// Messages about a package or version that a registry does not have.
const MISSING: [&str; 6] =
    ["_FETCH_404", "E404", "ETARGET", "NO_MATCHING_VERSION", "Response code: 404", "- 404"];

/// Messages about an unreachable registry.
const UNREACHABLE: [&str; 11] = [
    "ENOTFOUND",
    "ECONNREFUSED",
    "ECONNRESET",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "ConnectionRefused",
    "FailedToOpenSocket",
    "ENETUNREACH",
    "UnknownHostname",
    "self-signed certificate",
    "SELF_SIGNED_CERT",
];

/// Returns the next step after an install that failed with these last lines of output.
#[must_use]
pub fn hint(install: &Installation, variables: &Variables, tail: &[String]) -> String {
    specific_hint(install, variables, tail).unwrap_or_else(|| {
        let (alone, dir) = (install.frozen_arguments().join(" "), folder_name(&install.dir));
        format!(
            "run `{} {alone}` in {dir} to see the install fail alone",
            install.manager.program()
        )
    })
}

/// Returns the next step if the lines contain a known reason. `None` otherwise.
#[must_use]
pub fn specific_hint(
    install: &Installation,
    variables: &Variables,
    tail: &[String],
) -> Option<String> {
    // Yarn classic writes `Response code`, and berry `Response Code`.
    let lines: Vec<String> = tail.iter().map(|line| line.to_ascii_lowercase()).collect();
    let has = |texts: &[&str]| {
        let mut texts = texts.iter().map(|text| text.to_ascii_lowercase());
        texts.any(|text| lines.iter().any(|line| line.contains(&text)))
    };
    // Bun prints the status after the URL.
    let is_status = |line: &String| line.ends_with("- 401") || line.ends_with("- 403");
    let hint = if let Some(package) = tail.iter().find_map(|line| failed_script(line)) {
        format!(
            "look at the output of the install script of {package}, which failed; if it needs a variable, such as one that skips a \
             download, add its name in {CONFIG_FILE}: `\"variables\": {{ \"install\": [\"NAME\"] }}`"
        )
    } else if let Some(packages) = tail.iter().find_map(|line| ignored_builds(line)) {
        allow_builds_hint(install, packages)
    } else if let Some(name) = tail.iter().find_map(|line| unset_variable(line)) {
        format!(
            "set {name}, which Yarn's config names, and add it in {CONFIG_FILE}: `\"variables\": {{ \"install\": [\"{name}\"] }}`"
        )
    } else if let Some(hint) = node_hint(tail) {
        hint
    } else if has(&STALE) {
        install.update_hint()
    } else if has(&DENIED) || tail.iter().any(is_status) {
        denied_hint(variables)
    } else if has(&MISSING) {
        "check the name and version of the package, and the registry of its scope in `.npmrc`: the registry that was asked has no such package"
            .to_owned()
    } else if has(&UNREACHABLE) {
        crate::tools::program::REGISTRY.to_owned()
    } else {
        return None;
    };
    Some(hint)
}

/// Returns the packages whose install scripts pnpm did not run, as it lists them: `esbuild@0.25.0, sharp`. Empty if the line
/// has none.
fn ignored_builds(line: &str) -> Option<&str> {
    let rest = line.split_once("ERR_PNPM_IGNORED_BUILDS")?.1;
    Some(rest.split_once("Ignored build scripts:").map_or("", |(_, packages)| packages.trim()))
}

/// Returns the hint with the setting that allows install scripts. pnpm 11 reads another one than pnpm 10
/// (<https://pnpm.io/settings#allowbuilds>).
fn allow_builds_hint(install: &Installation, packages: &str) -> String {
    let name = |package: &str| {
        let package = package.trim().trim_end_matches('.');
        let end = package.get(1..).and_then(|rest| rest.find('@')).map(|at| at + 1);
        let name = end.map_or(package, |end| &package[..end]);
        // A text of YAML cannot begin with `@`.
        if name.starts_with('@') { format!("'{name}'") } else { name.to_owned() }
    };
    let names: Vec<String> =
        packages.split(',').map(name).filter(|name| !name.is_empty()).collect();
    let names = if names.is_empty() { vec!["NAME".to_owned()] } else { names };
    let major = install.tool.version.split('.').next().and_then(|major| major.parse().ok());
    let setting = if major.is_some_and(|major: u32| major < 11) {
        format!("onlyBuiltDependencies: [{}]", names.join(", "))
    } else {
        let all: Vec<String> = names.iter().map(|name| format!("{name}: true")).collect();
        format!("allowBuilds: {{ {} }}", all.join(", "))
    };
    format!("allow the install scripts that you trust in pnpm-workspace.yaml: `{setting}`")
}

/// Returns the variable that Yarn's config names, and that is not set.
fn unset_variable(line: &str) -> Option<&str> {
    line.split_once("Environment variable not found (")?.1.split(')').next()
}

/// Words of a program that refuses a version of Node.
const NODE_REFUSED: [&str; 7] = [
    "not supported",
    "unsupported",
    "requires",
    "required",
    "minimum",
    "incompatible with this module",
    "upgrade",
];

/// Errors if a command of a build failed, with the next step if it refused the version of Node.
pub fn check_build(finished: CompletedProcess) -> Result<()> {
    let hint = node_hint(&finished.tail);
    match (finished.success(), hint) {
        (Ok(_), _) => Ok(()),
        (Err(failure), Some(hint)) => Err(failure.hint_if_failed(&hint)),
        (Err(failure), None) => Err(failure),
    }
}

/// Returns the next step if a program of a build refused the version of Node. `None` otherwise.
fn node_hint(tail: &[String]) -> Option<String> {
    let is_refusal = |line: &String| {
        let line = line.to_ascii_lowercase();
        // Node.js v20.20.2 is not supported by Astro! / The engine "node" is incompatible with this module.
        let names_node =
            ["node.js", "node version", "\"node\""].iter().any(|name| line.contains(name));
        names_node && NODE_REFUSED.iter().any(|word| line.contains(word))
    };
    tail.iter().any(is_refusal).then(|| {
        format!(
            "write the major version of Node that the build needs, such as `24`, into a file `.node-version` next to the \
             project's package.json or above it, or into `tools.node` of {CONFIG_FILE}; xtask installs it"
        )
    })
}

/// Returns the package whose install script failed, from a line of Bun, pnpm or Yarn berry. Its network errors are not
/// about the registry.
fn failed_script(line: &str) -> Option<&str> {
    let line = line.trim();
    // error: postinstall script from "sharp" exited with 1
    if let Some((_, rest)) = line.split_once("script from \"") {
        return rest.split_once("\" exited with").map(|(package, _)| package);
    }
    // .../node_modules/sharp postinstall: Failed
    if let Some((path, script)) =
        line.split_once(": Failed").map(|(start, _)| start).and_then(|start| start.rsplit_once(' '))
    {
        let is_script = ["preinstall", "install", "postinstall"].contains(&script);
        return path.rsplit_once("node_modules/").map(|(_, package)| package).filter(|_| is_script);
    }
    // YN0009: │ sharp@npm:0.35.5 couldn't be built successfully
    let (start, _) = line.split_once(" couldn't be built successfully")?;
    start.rsplit(' ').next()?.split_once("@npm:").map(|(package, _)| package)
}

/// Returns the hint with the variables that an install sees.
fn denied_hint(variables: &Variables) -> String {
    let state = |name: &String| {
        let state = if variable(name).is_some() { "is set" } else { "is not set" };
        format!("{name} ({state})")
    };
    let listed: Vec<String> = variables.install.iter().map(state).collect();
    if listed.is_empty() {
        format!(
            "name the variable of the registry's token in {CONFIG_FILE}: `\"variables\": {{ \"install\": [\"NPM_TOKEN\"] }}`; \
             an install sees no other variables that hold credentials"
        )
    } else {
        format!(
            "check the token of the registry; of the variables that hold credentials an install sees {}, by `variables.install` in {CONFIG_FILE}",
            listed.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workspace::installation::Tool;
    use workspace::package_manager::PackageManager;

    #[test]
    fn a_lock_file_of_pnpm_12_that_is_out_of_date_has_the_command_that_updates_it() {
        let install = Installation {
            dir: "".into(),
            manager: PackageManager::Pnpm,
            lock: "pnpm-lock.yaml",
            tool: Tool {
                name: "pnpm",
                package: "pnpm".to_owned(),
                version: "12.21.0".to_owned(),
                accepts: None,
            },
            release: None,
            ignores_workspace: false,
        };
        let line = "Error: ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE".to_owned();
        assert_eq!(
            specific_hint(&install, &Variables::default(), &[line]).as_deref(),
            Some("run `pnpm install` in the repository's root and commit pnpm-lock.yaml")
        );
    }

    #[test]
    fn ignored_install_scripts_have_the_setting_of_the_version() {
        let line =
            "[ERR_PNPM_IGNORED_BUILDS] Ignored build scripts: @scope/a@1.0.0, esbuild@0.25.0.";
        let hint = |version: &str, line: &str| {
            let install = Installation {
                dir: "".into(),
                manager: PackageManager::Pnpm,
                lock: "pnpm-lock.yaml",
                tool: Tool {
                    name: "pnpm",
                    package: "pnpm".to_owned(),
                    version: version.to_owned(),
                    accepts: None,
                },
                release: None,
                ignores_workspace: false,
            };
            specific_hint(&install, &Variables::default(), &[line.to_owned()]).expect("a hint")
        };
        expect_test::expect!["allow the install scripts that you trust in pnpm-workspace.yaml: `allowBuilds: { '@scope/a': true, esbuild: true }`"].assert_eq(&hint("12.21.0", line));
        expect_test::expect!["allow the install scripts that you trust in pnpm-workspace.yaml: `onlyBuiltDependencies: ['@scope/a', esbuild]`"].assert_eq(&hint("10.34.0", line));
        expect_test::expect!["allow the install scripts that you trust in pnpm-workspace.yaml: `allowBuilds: { NAME: true }`"].assert_eq(&hint("11.1.0", "ERR_PNPM_IGNORED_BUILDS"));
    }

    /// Returns the hint after an install with Yarn berry that ended with these lines.
    fn berry_hint(lines: &[&str]) -> Option<String> {
        let install = Installation {
            dir: "".into(),
            manager: PackageManager::YarnBerry,
            lock: "yarn.lock",
            tool: Tool {
                name: "yarn",
                package: "@yarnpkg/cli-dist".to_owned(),
                version: "4.8.1".to_owned(),
                accepts: None,
            },
            release: None,
            ignores_workspace: false,
        };
        let tail: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        specific_hint(&install, &Variables::default(), &tail)
    }

    #[test]
    fn a_variable_that_the_config_of_yarn_names_has_the_setting() {
        let line = "Usage Error: Environment variable not found (NPM_TOKEN) in /repo/.yarnrc.yml (in /repo/.yarnrc.yml)";
        assert_eq!(
            berry_hint(&[line]).as_deref(),
            Some(
                "set NPM_TOKEN, which Yarn's config names, and add it in dagger/config/config.json: `\"variables\": { \"install\": [\"NPM_TOKEN\"] }`"
            )
        );
    }

    #[test]
    fn a_status_of_yarn_berry_is_read_in_its_spelling() {
        let missing = "check the name and version of the package, and the registry of its scope in `.npmrc`: the registry that \
                       was asked has no such package";
        let lines = [
            "➤ YN0035: │ left-pad-2@npm:1.0.1: Package not found",
            "➤ YN0035: │   Response Code: 404 (Not Found)",
        ];
        assert_eq!(berry_hint(&lines).as_deref(), Some(missing));
        let denied = "name the variable of the registry's token in dagger/config/config.json: `\"variables\": { \"install\": \
                      [\"NPM_TOKEN\"] }`; an install sees no other variables that hold credentials";
        let lines = ["➤ YN0035: │   Response Code: 403 (Forbidden)"];
        assert_eq!(berry_hint(&lines).as_deref(), Some(denied));
        assert_eq!(berry_hint(&["➤ YN0002: │ a doesn't provide react, requested by b."]), None);
    }

    #[test]
    fn a_program_that_refuses_the_version_of_node_has_the_file_that_sets_it() {
        let hint = "write the major version of Node that the build needs, such as `24`, into a file `.node-version` next to the \
                    project's package.json or above it, or into `tools.node` of dagger/config/config.json; xtask installs it";
        for (line, expected) in [
            ("Node.js v20.20.2 is not supported by Astro!", Some(hint)),
            (
                "You are using Node.js 18.17.0. For Next.js, Node.js version \">=20.9.0\" is required.",
                Some(hint),
            ),
            (
                "You are using Node.js 20.10.0. Vite requires Node.js version 20.19+ or 22.12+. Please upgrade your Node.js version.",
                Some(hint),
            ),
            ("Wrangler requires at least Node.js v22.0.0. You are using v20.20.2.", Some(hint)),
            (
                "error undici@7.0.0: The engine \"node\" is incompatible with this module. Expected version \">=22\". Got \"20.20.2\"",
                Some(hint),
            ),
            ("Your Node version is incompatible with \"shop/app\".", None),
            ("Node.js v20.20.2", None),
            ("error: `node:fs` is not supported on this platform", None),
        ] {
            assert_eq!(node_hint(&[line.to_owned()]).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_failed_install_script_names_its_package() {
        for (line, package) in [
            ("error: postinstall script from \"puppeteer\" exited with 1", Some("puppeteer")),
            (".../node_modules/@acme/native install: Failed", Some("@acme/native")),
            ("packages/a postinstall: Failed", None),
            (
                "➤ YN0009: │ sharp@npm:0.35.5 couldn't be built successfully (exit code 1)",
                Some("sharp"),
            ),
            ("error: script \"build\" exited with code 1", None),
            (
                "ERR_PNPM_FETCH_404  GET https://registry.example/a/-/a-1.0.0.tgz: Not Found - 404",
                None,
            ),
        ] {
            assert_eq!(failed_script(line), package, "{line}");
        }
    }
}
