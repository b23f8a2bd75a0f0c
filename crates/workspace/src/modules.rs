//! The Dagger modules and pinned tools that a repository carries, by their folders.

/// The folder of the module that deploys, relative to the repository's root.
pub const CLOUDFLARE: &str = "dagger/cloudflare";

/// The folder of the module that builds projects without a module of their own.
pub const BUN: &str = "dagger/bun";

/// The folder in which wrangler is pinned and installed.
pub const WRANGLER_TOOLCHAIN: &str = "dagger/cloudflare/toolchain";

/// The folder that pins Bun for machines with npm: `package.json` and `package-lock.json`.
pub const BUN_TOOLCHAIN: &str = "dagger/bun/toolchain";

/// Tells whether the source of a dependency in a `dagger.json` is a folder of the same repository:
/// it has neither the parts of an address nor a version.
#[must_use]
pub fn is_local(source: &str) -> bool {
    source.starts_with('.') || !source.contains(['/', '@', ':'])
}
