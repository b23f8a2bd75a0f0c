//! The scripts of jobs, as lines of bash.

use base::command::quote;

/// The command that CI checks: the README's test command.
pub const CHECK: &str = "bash .ci/run";

/// Says which variables reach jobs that should not see them. A job without an environment sees those
/// without a scope.
pub const VARIABLES: &str = "cargo xtask doctor pipeline";

/// Runs a script of the affected projects.
#[must_use]
pub fn run(script: &str) -> String {
    format!("cargo xtask run {}", quote(script))
}

/// Checks that the pipeline file is up to date, in a repository without a test command.
pub const GENERATED: &str = "cargo xtask ci generate --check";

/// Uploads what a merge request changed.
#[must_use]
pub fn preview(engine: &str) -> String {
    format!("cargo xtask preview --engine {engine}")
}

/// Removes what a preview left.
pub const PREVIEW_STOP: &str = "cargo xtask preview stop";

/// Removes what a failed [`PREVIEW_STOP`] left.
pub const PREVIEW_SWEEP: &str = "cargo xtask preview stop --merged";

/// Debian's npm, where the image has neither npm nor Bun.
pub const NPM: &str = "command -v npm || command -v bun || \
    { apt-get update -qq && apt-get install -qq --no-install-recommends npm; }";

/// Docker's command, by which Dagger starts its engine, where the image has none.
pub const DOCKER_CLI: &str = "command -v docker || \
    { apt-get update -qq && apt-get install -qq --no-install-recommends docker-cli; }";

/// The daemon makes its certificates while the job starts already.
pub const DOCKER_READY: &str = "\
timeout 60 sh -c 'until docker info >/dev/null 2>&1; do sleep 1; done' || {
  echo \"no Docker daemon at $DOCKER_HOST: is the runner privileged, and is /certs/client one of its volumes?\"
  docker info
  exit 1
}";

/// Programs of the job are in a folder that git ignores, because a shell runner owns no other.
pub const PATH: &str = "\
mkdir -p .xtask/bin
export PATH=\"$CI_PROJECT_DIR/.xtask/bin:$PATH\"";

/// The pinned Dagger CLI, unless the image has it. Names and checksums of the archives as Dagger's own
/// installer has them (<https://github.com/dagger/dagger/blob/main/install.sh>).
pub const DAGGER_CLI: &str = "\
if ! dagger version 2>/dev/null | grep -qF \"v$DAGGER_VERSION \"; then
  case \"$(uname -m)\" in aarch64|arm64) architecture=arm64 ;; *) architecture=amd64 ;; esac
  archive=\"dagger_v${DAGGER_VERSION}_linux_$architecture.tar.gz\"
  from=\"$DAGGER_DOWNLOADS/$DAGGER_VERSION\"
  folder=\"$(mktemp -d)\"
  curl -fsSL --retry 3 -o \"$folder/$archive\" \"$from/$archive\"
  if [ -n \"${DAGGER_SHA256:-}\" ]; then
    echo \"$DAGGER_SHA256  $archive\" >\"$folder/checksums.txt\"
  else
    curl -fsSL --retry 3 -o \"$folder/checksums.txt\" \"$from/checksums.txt\"
  fi
  (cd \"$folder\" && grep -F \"  $archive\" checksums.txt | sha256sum --check --strict)
  tar -xzf \"$folder/$archive\" -C .xtask/bin dagger
  rm -r \"$folder\"
fi";

/// The archive with xtask and the sandbox. Only GitLab itself gets the job's token, on standard input of curl. A package
/// registry may redirect to an object storage, and curl would send the header there too, so the redirect is a request of
/// its own.
pub const XTASK_ARCHIVE: &str = "\
archive=\"$(mktemp)\"
redirect=\"$(case \"$XTASK_ARCHIVE\" in
  \"$CI_API_V4_URL\"/*) printf 'header = \"JOB-TOKEN: %s\"\\n' \"$CI_JOB_TOKEN\" ;;
esac | curl -fsS --retry 3 --config - -o \"$archive\" -w '%{redirect_url}' \"$XTASK_ARCHIVE\")\"
[ -z \"$redirect\" ] || curl -fsSL --retry 3 -o \"$archive\" \"$redirect\"
echo \"$XTASK_SHA256  $archive\" | sha256sum --check --strict --quiet
tar -xzf \"$archive\" -C .xtask/bin
rm \"$archive\"";

/// Returns a line of a script with the program of the archive in place of Cargo's alias.
#[must_use]
pub fn without_cargo(line: &str) -> String {
    line.replace("cargo xtask ", "xtask ")
}

/// The whole command that deploys a project, or everything where none is named.
#[must_use]
pub fn deploy(project: Option<&str>, environment: &str, engine: &str) -> String {
    let name = project.map(|name| format!(" {}", quote(name))).unwrap_or_default();
    format!("cargo xtask deploy{name} --env {} --engine {engine}", quote(environment))
}
