//! Finds a tool on PATH in a matching version, or installs it from the npm registry.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::tools::program::{INSTALL_DEADLINE, Location, reported_version, which};
use base::cmd;
use base::command::ProcessCommand;
use base::{probe, version_cache};
use workspace::installation::Tool;
use workspace::toolchain::tools_folder;

/// The file that marks a complete install.
const STAMP: &str = ".installed";

/// Finds `tool` on PATH, then among our own installs.
#[must_use]
pub fn find(root: &Utf8Path, tool: &Tool) -> Location {
    let on_path = which(tool.name).filter(|program| {
        version_on_path(root, tool, program).is_some_and(|version| tool.fits(&version))
    });
    if let Some(program) = on_path {
        return Location::OnPath(program);
    }
    let folder = folder(root, tool);
    let program = folder.join(program_in_folder(tool));
    if folder.join(STAMP).is_file() && program.is_file() {
        Location::Installed(program)
    } else {
        Location::Missing(program)
    }
}

/// Returns the version of a program on PATH. Package managers are not started, because a launcher
/// such as Corepack's would choose a version by the folder, and download it.
fn version_on_path(root: &Utf8Path, tool: &Tool, program: &Utf8Path) -> Option<String> {
    match tool.name {
        "node" => {
            let ask = || reported_version(program, probe::PATIENT);
            let version = version_cache::version(root, program, ask)?;
            Some(version.trim_start_matches('v').to_owned())
        }
        "bun" => {
            version_cache::version(root, program, || reported_version(program, probe::PATIENT))
        }
        _ => manifest_version(program, &tool.package),
    }
}

/// The fields of a manifest that tell its package.
#[derive(Deserialize)]
struct PackageVersion {
    name: String,
    version: String,
}

/// Returns the version in the `package.json` of the package `name` that holds `program`, because a package manager takes
/// 0.2 s to print it.
#[must_use]
pub fn manifest_version(program: &Utf8Path, name: &str) -> Option<String> {
    let real = program.canonicalize_utf8().ok()?;
    let manifests = real.ancestors().skip(1).take(3).map(|dir| dir.join("package.json"));
    let read = |path: Utf8PathBuf| -> Option<PackageVersion> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    };
    let manifest = manifests.filter_map(read).find(|manifest| manifest.name == name)?;
    Some(manifest.version)
}

/// Returns the folder of our own install.
fn folder(root: &Utf8Path, tool: &Tool) -> Utf8PathBuf {
    // Bun's own pin has a folder with a lock file, so this folder has another name.
    let name = if tool.name == "bun" { "packaged-bun" } else { tool.name };
    tools_folder(root).join(format!("{name}-{}", tool.version))
}

fn program_in_folder(tool: &Tool) -> String {
    match tool.name {
        "node" | "bun" => format!("node_modules/{}/bin/{}", tool.package, tool.name),
        name => format!("node_modules/.bin/{name}"),
    }
}

/// Returns the commands that install `tool` with npm. No script of the package runs.
///
/// npm installs into the nearest folder with `node_modules`. `--prefix` would work too, but npm would then ignore the
/// global `npmrc`, which may configure a company's registry and certificates.
#[must_use]
pub fn install(root: &Utf8Path, tool: &Tool) -> Vec<ProcessCommand> {
    let folder = folder(root, tool);
    let package = format!("{}@{}", tool.package, tool.version);
    let install = cmd!(
        &folder,
        "npm install --no-workspaces --prefer-offline --ignore-scripts --no-audit --no-fund {package}",
        INSTALL_DEADLINE
    );
    vec![
        cmd!(root, "mkdir -p {folder}/node_modules", INSTALL_DEADLINE),
        install,
        cmd!(&folder, "touch {STAMP}", INSTALL_DEADLINE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npm_installs_into_the_folder_and_reads_its_global_config() {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let root = temporary.join(format!("xtask-npm-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("a folder");
        std::fs::write(root.join("package.json"), r#"{ "workspaces": ["**"] }"#).expect("a file");
        let run = |dir: &Utf8Path, argv: &[String]| {
            let (program, arguments) = argv.split_first().expect("a program");
            let output =
                std::process::Command::new(program).args(arguments).current_dir(dir).output();
            String::from_utf8(output.expect("it runs").stdout).expect("UTF-8").trim().to_owned()
        };
        let tool = Tool {
            name: "pnpm",
            package: "pnpm".to_owned(),
            version: "9.1.0".to_owned(),
            accepts: None,
        };
        let commands = install(&root, &tool);
        run(&root, &commands[0].argv);
        let flags = commands[1].argv[2..].iter().filter(|word| word.starts_with("--"));
        let flags: Vec<String> = flags.cloned().collect();
        let npm = |dir: &Utf8Path, words: &[&str]| {
            let words = words.iter().map(|&word| word.to_owned());
            run(
                dir,
                &std::iter::once("npm".to_owned())
                    .chain(words)
                    .chain(flags.clone())
                    .collect::<Vec<_>>(),
            )
        };
        let folder = folder(&root, &tool).canonicalize_utf8().expect("it exists");
        assert_eq!(npm(&folder, &["prefix"]), folder);
        let config = ["config", "get", "globalconfig"];
        assert_eq!(npm(&folder, &config), npm(&temporary, &config));
        std::fs::remove_dir_all(root).expect("removable");
    }

    #[test]
    fn the_version_on_path_is_read_from_its_package() {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let dir = temporary.join(format!("xtask-registry-{}", std::process::id()));
        let package = dir.join("lib/node_modules/pnpm");
        for folder in [package.join("bin"), dir.join("bin"), dir.join("corepack/dist")] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        for (path, text) in [
            (package.join("package.json"), r#"{ "name": "pnpm", "version": "9.1.0" }"#),
            (package.join("bin/pnpm.cjs"), ""),
            (dir.join("corepack/package.json"), r#"{ "name": "corepack", "version": "0.30.0" }"#),
            (dir.join("corepack/dist/pnpm.js"), ""),
        ] {
            std::fs::write(path, text).expect("a file");
        }
        let link = dir.join("bin/pnpm");
        let version = |to: Utf8PathBuf| {
            std::os::unix::fs::symlink(to, &link).expect("a link");
            let version = manifest_version(&link, "pnpm");
            std::fs::remove_file(&link).expect("removable");
            version
        };
        assert_eq!(version(package.join("bin/pnpm.cjs")).as_deref(), Some("9.1.0"));
        assert_eq!(version(dir.join("corepack/dist/pnpm.js")), None);
        std::fs::remove_dir_all(dir).expect("removable");
    }
}
