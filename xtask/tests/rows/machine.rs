//! The machine that a row runs on: its programs, its files, its disk.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use super::Case;
use super::stage::Stage;
use crate::support::repository;

/// The first lines of programs that replace others.
const SHELL: &str = "#!/bin/sh\n";

/// A size that no file may pass is refused with an error only where the signal about it is ignored,
/// which a program inherits.
const IGNORED: &str = "trap '' 25";

/// A date that no clock has reached.
const FUTURE: Duration = Duration::from_secs(4_000_000_000);

impl Stage {
    /// The root of the row's repository: the common one, or its own clone.
    pub fn root(&self, case: &Case) -> Utf8PathBuf {
        if case.group.clone { self.clone_of(case) } else { self.env.root.clone() }
    }

    /// The folder of the row's project.
    pub fn dir(&self, case: &Case) -> Utf8PathBuf {
        self.root(case).join("projects").join(&case.name)
    }

    /// The root of a clone, as another machine has one, which deploys to the same sandbox.
    pub fn clone_of(&self, case: &Case) -> Utf8PathBuf {
        let clone = self.env.folder.join(format!("clone-{}", case.name));
        if !clone.exists() {
            self.env.git(&["clone", "--quiet", "--shared", ".", clone.as_str()]);
            for path in [".xtask/sandbox", "dagger/cloudflare/toolchain/node_modules"] {
                let link = clone.join(path);
                std::fs::create_dir_all(link.parent().expect("a parent")).expect("a folder");
                symlink(self.env.root.join(path), link).expect("a link");
            }
            // Or the link would be a part of what is deployed.
            std::fs::write(clone.join(".git/info/exclude"), "node_modules\n").expect("a file");
        }
        clone
    }

    /// Returns the folder of the row's files, next to the repository.
    fn case_folder(&self, case: &Case) -> Utf8PathBuf {
        self.env.folder.join(format!("row-{}", case.name))
    }

    /// Writes the row's files and programs.
    pub fn prepare(&self, case: &Case) {
        let (root, bin) = (self.root(case), self.case_folder(case).join("bin"));
        std::fs::create_dir_all(&bin).expect("a folder");
        for (path, text) in &case.row.files {
            let path = root.join(path.replace("{worker}", &case.name));
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(&path, text).expect("a file");
            if case.row.fault.contains("the future") {
                let file = File::options().append(true).open(&path).expect("a file");
                file.set_modified(SystemTime::UNIX_EPOCH + FUTURE).expect("a time");
            }
        }
        for (path, text) in &case.row.append {
            let file = File::options().append(true).open(root.join(path));
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        }
        for (name, text) in &case.row.programs {
            let path = bin.join(name);
            std::fs::write(&path, SHELL.to_owned() + &self.fill(case, text)).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
    }

    /// Fills the paths of the real programs and of the row's folders into `text`.
    fn fill(&self, case: &Case, text: &str) -> String {
        let (folder, root, repository) = (self.case_folder(case), self.root(case), repository());
        let bun = self.env.folder.join("bin/bun");
        let fake = repository.join("xtask/tests/fakes/dagger.ts");
        let dagger = format!("exec '{bun}' '{fake}' '{folder}' '{root}' '{repository}' \"$@\"");
        [("{dagger}", dagger.as_str()), ("{bun}", bun.as_str()), ("{folder}", folder.as_str())]
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// `command` on the row's machine.
    pub fn on_machine(&self, case: &Case, mut command: Command) -> Command {
        let path = command.get_envs().find(|(name, _)| *name == "PATH");
        let path = path.and_then(|(_, value)| value?.to_str()).expect("PATH").to_owned();
        command.env("PATH", format!("{}/bin:{path}", self.case_folder(case)));
        command.current_dir(self.root(case));
        let (full, later) = (case.row.fault == FULL, case.row.then.as_deref() == Some(FULL));
        if full || later { limit_writes(&command, full) } else { command }
    }
}

/// The name of a full disk in a row.
pub const FULL: &str = "the disk is full";

/// Returns `command` with a limit of 0 bytes per file, from the start or from when it sets the limit.
fn limit_writes(command: &Command, from_the_start: bool) -> Command {
    let limit = if from_the_start { "ulimit -f 0" } else { ":" };
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{IGNORED}; {limit}; exec \"$@\""), "sh"]);
    sh.arg(command.get_program()).args(command.get_args()).env_clear();
    sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    sh.current_dir(command.get_current_dir().expect("a folder"));
    sh
}

/// Lets the process `pid` write nothing from here on.
pub fn fill(pid: u32) {
    let done = Command::new("prlimit").args(["--fsize=0", "--pid", &pid.to_string()]).status();
    assert!(done.expect("prlimit runs").success());
}

/// Returns `true` if the folder of records can be written, so that there must be a record.
pub fn keeps(root: &Utf8Path) -> bool {
    !root.join(".xtask/records").is_file()
}
