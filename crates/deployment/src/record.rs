//! The deployment record: the actions, their inputs, and the live version.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::plan::Operation;
use crate::plan::destination::Destination;
use base::error::{DISK_HINT, Error, ErrorKind, Result, remote, unwritable, with_hints};
use base::files::write_whole;
use base::time::{rfc3339, unix_now};
use cloudflare::api::Live;
use workspace::strategy::Strategy;

/// The final status of one project's attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeployStatus {
    /// Built. Nothing else was requested.
    Built,
    /// Deployed, and the check passed.
    Live,
    /// Uploaded without being live, and the check passed at its preview URL.
    Ready,
    /// Deployed, the check failed, and the previous version is live again.
    RolledBack,
    /// The same content was already live, and the check passed.
    Unchanged,
    /// There is no preview yet, because the merge deploys the Worker for the first time.
    Undeployed,
    /// It failed, and the live version did not change.
    Failed,
    /// It was refused before anything changed.
    Refused,
    /// It failed or its outcome is unknown, and the remote side may have changed.
    Unknown,
    /// It was interrupted.
    Interrupted,
    /// The Worker was deleted.
    Deleted,
}

impl DeployStatus {
    /// Returns true if everything requested is done.
    #[must_use]
    pub fn is_done(self) -> bool {
        self.error_kind().is_none()
    }

    /// Returns the kind of the error that ended the attempt. `None` if everything requested is done.
    #[must_use]
    pub fn error_kind(self) -> Option<ErrorKind> {
        match self {
            DeployStatus::Built
            | DeployStatus::Live
            | DeployStatus::Ready
            | DeployStatus::Unchanged
            | DeployStatus::Undeployed
            | DeployStatus::Deleted => None,
            DeployStatus::Failed | DeployStatus::RolledBack => Some(ErrorKind::Failed),
            DeployStatus::Refused => Some(ErrorKind::Refused),
            DeployStatus::Unknown => Some(ErrorKind::Remote),
            DeployStatus::Interrupted => Some(ErrorKind::Interrupted),
        }
    }
}

/// The state of an attempt that an error ended.
impl From<ErrorKind> for DeployStatus {
    fn from(kind: ErrorKind) -> DeployStatus {
        match kind {
            ErrorKind::Config | ErrorKind::Refused => DeployStatus::Refused,
            ErrorKind::Interrupted => DeployStatus::Interrupted,
            ErrorKind::Remote => DeployStatus::Unknown,
            ErrorKind::Failed | ErrorKind::Usage => DeployStatus::Failed,
        }
    }
}

/// The versions of the used tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ToolVersions {
    /// Bun.
    pub bun: Option<String>,
    /// wrangler.
    pub wrangler: Option<String>,
    /// The Dagger CLI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dagger: Option<String>,
    /// xtask.
    pub xtask: String,
}

impl ToolVersions {
    /// Returns only xtask's own version.
    #[must_use]
    pub fn new() -> ToolVersions {
        ToolVersions { xtask: env!("CARGO_PKG_VERSION").to_owned(), ..ToolVersions::default() }
    }
}

/// The duration of each step in milliseconds. `None` for steps that did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Timings {
    /// Dependencies.
    pub install: Option<u64>,
    /// The build script.
    pub build: Option<u64>,
    /// The upload and deployment.
    pub deploy: Option<u64>,
    /// The check, from the deployment to the first right response.
    pub check: Option<u64>,
}

/// A step of `xtask.beforeDeploy` that ran.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// The command as the project writes it.
    pub command: String,
    /// The duration in milliseconds. `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<u64>,
    /// `true` if it succeeded.
    pub is_ok: bool,
}

/// The source of a build's output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSource {
    /// `true` if it is a cache hit, so that no build ran.
    pub from_cache: bool,
    /// The time of the build, RFC 3339.
    pub built: String,
    /// The reason why it was not stored in the cache.
    #[serde(rename = "notKept", skip_serializing_if = "Option::is_none")]
    pub not_stored: Option<String>,
    /// The corruption of the cached output that caused a new build.
    #[serde(rename = "damaged", skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<String>,
}

/// One project's attempt.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of this shape.
    pub schema: u32,
    /// The requested operation.
    #[serde(rename = "verb")]
    pub operation: Operation,
    /// The project's name.
    pub project: String,
    /// The Worker's name in the environment.
    pub worker: String,
    /// The environment.
    pub environment: String,
    /// `true` if it went to the sandbox instead of Cloudflare.
    pub sandbox: bool,
    /// The engine that built and uploaded it. `None` if neither was needed.
    pub engine: Option<String>,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// `true` if the working tree had uncommitted changes.
    pub dirty: bool,
    /// The content key.
    pub key: String,
    /// This attempt's nonce.
    pub nonce: String,
    /// The reason why a protected environment was changed from outside of its pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
    /// The final status.
    pub status: DeployStatus,
    /// The failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The next steps after the failure. Each has its command in backticks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The version that this attempt uploaded.
    pub version: Option<String>,
    /// The percentage of the traffic that the version gets in a gradual deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The strategy of a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The deployment of a Worker Preview that this attempt created or found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The alias of a preview, or its name. Its URL is the first of `urls`. The second one is that
    /// of exactly this version or deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The previous live version.
    pub previous: Option<Live>,
    /// The live version now. `None` if it could not be read.
    pub live: Option<Live>,
    /// The URLs.
    pub urls: Vec<String>,
    /// The source of the build's output. `None` if there was no build, or if Dagger built it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<BuildSource>,
    /// The steps that ran before the upload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_deploy: Vec<StepResult>,
    /// The tools.
    pub tools: ToolVersions,
    /// The start time, RFC 3339.
    pub started: String,
    /// The end time, RFC 3339.
    pub ended: String,
    /// The duration of the steps.
    pub timings: Timings,
    /// The log, relative to the repository's root.
    pub log: Utf8PathBuf,
}

impl Record {
    /// Creates the record of an attempt that has not ended.
    #[must_use]
    pub fn new(
        operation: Operation,
        project: &str,
        worker: &str,
        destination: &Destination,
        nonce: &str,
    ) -> Record {
        Record {
            schema: 1,
            operation,
            project: project.to_owned(),
            worker: worker.to_owned(),
            environment: destination.environment.clone(),
            sandbox: destination.sandbox.is_some(),
            engine: None,
            commit: None,
            dirty: false,
            key: String::new(),
            nonce: nonce.to_owned(),
            break_glass: destination.break_glass.clone(),
            status: DeployStatus::Failed,
            error: None,
            hints: Vec::new(),
            warnings: Vec::new(),
            version: None,
            percent: None,
            strategy: None,
            deployment: None,
            alias: None,
            previous: None,
            live: None,
            urls: Vec::new(),
            output: None,
            before_deploy: Vec::new(),
            tools: ToolVersions::default(),
            started: rfc3339(unix_now()),
            ended: String::new(),
            timings: Timings::default(),
            log: Utf8Path::new(".xtask/logs").join(format!("{nonce}.log")),
        }
    }

    /// Sets the failure that ended the attempt.
    #[must_use]
    pub fn ended_by(self, failure: Error) -> Record {
        let error = Some(format!("{failure:#}"));
        Record { status: failure.kind.into(), error, hints: failure.hints, ..self }
    }

    /// Returns the failure, and each next step on its own line.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        self.error.as_ref().map(|error| with_hints(error, &self.hints))
    }

    /// Saves a record before anything changes, so that it is true if the run is killed. `look` is the
    /// command that shows the live version.
    pub fn begin(&self, root: &Utf8Path, look: &str) -> Result<()> {
        let killed = remote("this attempt was killed before it could report its result")
            .hint(format!("run `{look}`"));
        let begun = Record { live: None, ..self.clone() }.ended_by(killed);
        let saved = begun.save(root).map(|_| ());
        saved.map_err(|error| unwritable(format!("no record can be left: {error:#}")))
    }

    /// Saves the record of an attempt that has ended. If that fails, the printed record contains the
    /// error, because a deployment without a record needs attention.
    pub fn save_at_the_end(&mut self, root: &Utf8Path) {
        if let Err(error) = self.save(root) {
            let text = self.error.take().map(|text| text + "\n").unwrap_or_default();
            self.error = Some(format!("{text}the record could not be saved: {error:#}"));
            self.hints.push(format!("{DISK_HINT}; this output is the only record of the run"));
            let is_local = matches!(self.status, DeployStatus::Built | DeployStatus::Unchanged);
            if self.status.is_done() && !is_local {
                self.status = DeployStatus::Unknown;
            }
        }
    }

    /// Writes the record below `.xtask/records/` atomically, and returns its path relative to the
    /// root.
    pub fn save(&self, root: &Utf8Path) -> Result<Utf8PathBuf> {
        let name = format!("{}-{}.json", self.environment, self.nonce);
        let path = Utf8Path::new(".xtask/records").join(name);
        write_whole(&root.join(&path), &(serde_json::to_string_pretty(self)? + "\n"))?;
        Ok(path)
    }
}
