//! Package managers: their lock files and their commands.

use camino::Utf8Path;
use serde::Serialize;
use serde_json::Value;

use crate::settings::steps::Runtime;

/// The kind of a lock file, by its name. Both generations of Yarn write the same one, so [`PackageManager`] tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockFileKind {
    /// npm.
    Npm,
    /// pnpm.
    Pnpm,
    /// Yarn, classic or berry.
    Yarn,
    /// Bun.
    Bun,
}

/// The names of lock files. The nearest one at or above a package pins its dependencies.
pub const LOCK_FILES: [(&str, LockFileKind); 6] = [
    ("bun.lock", LockFileKind::Bun),
    ("bun.lockb", LockFileKind::Bun),
    ("npm-shrinkwrap.json", LockFileKind::Npm),
    ("package-lock.json", LockFileKind::Npm),
    ("pnpm-lock.yaml", LockFileKind::Pnpm),
    ("yarn.lock", LockFileKind::Yarn),
];

/// Returns true if a file of this name is a lock file.
#[must_use]
pub fn is_lock_file(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| LockFileKind::from_file_name(name).is_some())
}

/// Returns the package manager that a `package.json` names, as `pnpm@9.1.0` or `pnpm`: its `packageManager`, else the one of
/// its `devEngines`. A list of several names none, because each of them may install.
#[must_use]
pub fn manager_field(package_manager: Option<&str>, dev_engines: &Value) -> Option<String> {
    if let Some(field) = package_manager {
        return Some(field.to_owned());
    }
    let engine = match &dev_engines["packageManager"] {
        Value::Array(several) => several.first().filter(|_| several.len() == 1)?,
        engine => engine,
    };
    let name = engine["name"].as_str()?;
    let version = engine["version"].as_str();
    Some(version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}")))
}

impl LockFileKind {
    /// Returns the kind of a lock file with this name.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<LockFileKind> {
        LOCK_FILES.iter().find(|(lock, _)| *lock == name).map(|(_, manager)| *manager)
    }

    /// Returns the kind that the manager in `packageManager` of a `package.json` writes, such as `pnpm@9.1.0`.
    #[must_use]
    pub fn from_field(field: &str) -> Option<LockFileKind> {
        Some(match field.split('@').next()?.trim() {
            "npm" => LockFileKind::Npm,
            "pnpm" => LockFileKind::Pnpm,
            "yarn" => LockFileKind::Yarn,
            "bun" => LockFileKind::Bun,
            _ => return None,
        })
    }

    /// Returns the name of the manager that writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LockFileKind::Npm => "npm",
            LockFileKind::Pnpm => "pnpm",
            LockFileKind::Yarn => "Yarn",
            LockFileKind::Bun => "Bun",
        }
    }

    /// Returns the command that installs and writes it.
    #[must_use]
    pub fn install_command(self) -> &'static str {
        match self {
            LockFileKind::Npm => "npm install",
            LockFileKind::Pnpm => "pnpm install",
            LockFileKind::Yarn => "yarn install",
            LockFileKind::Bun => "bun install",
        }
    }

    /// Returns the kind whose manager installs a folder with these lock files and this `packageManager`.
    /// `None` if they contradict each other or name no manager. Then everything counts that any
    /// manager follows.
    #[must_use]
    pub fn decide(locks: &[LockFileKind], field: Option<LockFileKind>) -> Option<LockFileKind> {
        match (locks, field) {
            ([], field) => field,
            ([only, rest @ ..], field) if rest.iter().all(|lock| lock == only) => {
                field.is_none_or(|field| field == *only).then_some(*only)
            }
            (several, field) => field.filter(|field| several.contains(field)),
        }
    }
}

/// A package manager. The content of `yarn.lock` tells Yarn's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// npm.
    Npm,
    /// pnpm.
    Pnpm,
    /// Yarn 1.
    YarnClassic,
    /// Yarn 2 and later.
    YarnBerry,
    /// Bun.
    Bun,
}

impl PackageManager {
    /// Returns the program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            PackageManager::Npm => "npm",
            PackageManager::Pnpm => "pnpm",
            PackageManager::YarnClassic | PackageManager::YarnBerry => "yarn",
            PackageManager::Bun => "bun",
        }
    }

    /// Returns the manager's name.
    #[must_use]
    pub fn product(self) -> &'static str {
        match self {
            PackageManager::Npm => LockFileKind::Npm.name(),
            PackageManager::Pnpm => LockFileKind::Pnpm.name(),
            PackageManager::YarnClassic | PackageManager::YarnBerry => LockFileKind::Yarn.name(),
            PackageManager::Bun => LockFileKind::Bun.name(),
        }
    }

    /// Returns the arguments of an install that changes no lock file.
    #[must_use]
    pub fn frozen_install(self) -> &'static [&'static str] {
        match self {
            PackageManager::Npm => &["ci", "--no-audit", "--no-fund"],
            PackageManager::Pnpm | PackageManager::Bun => &["install", "--frozen-lockfile"],
            PackageManager::YarnClassic => &["install", "--frozen-lockfile", "--non-interactive"],
            PackageManager::YarnBerry => &["install", "--immutable"],
        }
    }

    /// Returns the arguments of an install that changes no lock file and keeps what fits. Another server may use it.
    /// `npm ci` would delete all of it first.
    #[must_use]
    pub fn install_in_place(self) -> &'static [&'static str] {
        match self {
            PackageManager::Npm => &["install", "--no-save", "--no-audit", "--no-fund"],
            _ => self.frozen_install(),
        }
    }

    /// Returns the runtime of a package's scripts if nothing else is set.
    #[must_use]
    pub fn runtime(self) -> Runtime {
        if self == PackageManager::Bun { Runtime::Bun } else { Runtime::Node }
    }
}

#[cfg(test)]
mod tests {
    use super::LockFileKind::{self, Bun, Npm, Pnpm, Yarn};

    #[test]
    fn lock_file_and_field_decide_together() {
        for (locks, field, expected) in [
            (&[][..], "", None),
            (&[], "pnpm@9.1.0+sha512.ab", Some(Pnpm)),
            (&[Npm], "", Some(Npm)),
            (&[Npm], "npm@10", Some(Npm)),
            (&[Npm], "pnpm@9", None),
            (&[Bun, Bun], "", Some(Bun)),
            (&[Npm, Yarn], "", None),
            (&[Npm, Yarn], "yarn@4.1.0", Some(Yarn)),
            (&[Npm, Yarn], "bun@1", None),
            (&[Npm], "other@1", Some(Npm)),
        ] {
            let field = LockFileKind::from_field(field);
            assert_eq!(LockFileKind::decide(locks, field), expected, "{locks:?} {field:?}");
        }
    }
}
