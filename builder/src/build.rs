//! Building: the plan's stages, each upon the tree of the one before it.
//!
//! A stage's result is kept under a key made of everything that it depends on: the part of the spec it reads, the
//! version of the builder, the signed documents of the repositories it saw, `SOURCE_DATE_EPOCH` if it is given, and the
//! key of the stage before. What is there under its key is not made again, so a key that says too little would give a
//! stale image, and one that says too much would only cost time. Where the builder cannot know what a stage depends on
//! (a package manager whose lists it does not know), the stage and all after it have no key and are never kept.

pub(crate) mod failure;
pub(crate) mod inventory;
pub(crate) mod lint;
pub(crate) mod snapshot;
pub(crate) mod tree;
pub(crate) mod unchanged;
pub(crate) mod unpack;
pub(crate) mod workspace;

mod databases;
mod debootstrap;
mod generate;
mod keys;
mod native;
mod pack;
mod record;
mod running;
mod sbom;
mod tidy;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use formats::digest::{Hasher, Sha256};
use formats::record::BuildRecord;
use formats::time::Timestamp;
use terminal::{Advice, ExitStatus, Printer};

use self::failure::{Failure, FailureError, Resumption};
use self::lint::{Finding, Lint};
use self::running::Running;
use self::snapshot::Storage;
use self::unpack::Engine;
use self::workspace::Workspace;
use crate::bootstrap::BootstrapError;
use crate::cache::packages::PackageCache;
use crate::cache::stages::{self, Stages};
use crate::cache::{Cache, CacheError};
use crate::checkpoint::checkpoint;
use crate::limits;
use crate::plan::Plan;
use crate::sandbox::{self, Run, SandboxError, Step, StepLimits, Surroundings};
use crate::source::SourceError;
use crate::spec::Spec;

/// How to build.
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own on the command line")]
pub(crate) struct Options {
    /// Where builds go.
    pub(crate) output: PathBuf,
    /// What earlier builds kept; nothing without one.
    pub(crate) cache: Option<PathBuf>,
    /// Who installs the packages of the first tree.
    pub(crate) engine: Engine,
    /// The time of the build: nothing in it is newer.
    pub(crate) now: Timestamp,
    /// Whether that time was given, so that everything has to be as if made then.
    pub(crate) time_is_given: bool,
    /// How hard to compress the rootfs.
    pub(crate) xz_level: u32,
    /// How long the whole build may take.
    pub(crate) timeout: Option<Duration>,
    /// What one step may take.
    pub(crate) limits: StepLimits,
    /// Nothing is fetched: what the cache has must do.
    pub(crate) offline: bool,
    /// The overrides as they were given, for the record.
    pub(crate) overrides: Vec<String>,
    /// Builds also where nothing has changed.
    pub(crate) force: bool,
    /// The mirror that was given in place of the spec's.
    pub(crate) mirror: Option<String>,
    /// What a good build may have.
    pub(crate) allowed: Vec<Lint>,
    /// Accepts package lists whose validity is over.
    pub(crate) expired: bool,
}

/// What a build came to.
pub(crate) enum Outcome {
    /// There is a new build.
    Built(Built),
    /// The newest build is what this one would have become.
    Unchanged(Built),
}

/// A finished build.
pub(crate) struct Built {
    /// Where it is.
    pub(crate) directory: PathBuf,
    /// What it is.
    pub(crate) record: BuildRecord,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Builds the image that `plan` describes, or goes on with one that failed. What a failed build has made so far is
/// kept, with a note of `request`, which is what the user asked for.
pub(crate) fn build(
    spec: &Spec,
    plan: &Plan,
    options: &Options,
    (request, resumption): (&serde_json::Value, Option<Resumption>),
    printer: &Printer,
) -> Result<Outcome, BuildError> {
    let begun = Instant::now();
    let deadline = options.timeout.map(|timeout| begun + timeout);
    let cache = options.cache.as_ref().map(|root| Cache::open(root, deadline)).transpose()?;
    let workspace = Workspace::create(&options.output, &spec.image, &spec.serial)?;
    let log = File::create_new(workspace.build().join(LOG))?;
    let around = Surroundings { log: &log, deadline, limits: options.limits, network: !options.offline };
    sandbox::keep_mounts_private().map_err(|error| SandboxError::NotPrepared { reason: error.to_string() })?;
    let kept = cache.as_ref().map(|cache| Ok::<_, io::Error>(cache.root().join(stages::directory()?))).transpose()?;
    let directory = kept.unwrap_or_else(|| workspace.path().join("stages"));
    let stages = Stages::open(&directory)?;
    let packages = cache.as_ref().map(|cache| PackageCache::open(cache, &spec.image)).transpose()?;
    let running = Running {
        spec,
        plan,
        options,
        printer,
        workspace: &workspace,
        around,
        cache: cache.as_ref(),
        packages: packages.as_ref(),
        storage: Storage::of(&stages)?,
        stages: &stages,
        resumption: resumption.as_ref(),
        passing: RefCell::default(),
        finished: RefCell::default(),
        failed: RefCell::default(),
        had_network: Cell::default(),
    };
    checkpoint("build", "begun");
    match running.run() {
        Ok(Some(record)) => {
            drop(running);
            drop(log);
            checkpoint("build", "done");
            let directory = workspace.publish()?;
            if let Some(cache) = &cache {
                crate::cache::prune::routinely(cache)?;
            }
            Ok(Outcome::Built(Built { directory, record, elapsed: begun.elapsed() }))
        }
        Ok(None) => {
            let (directory, record) = running.previous()?.ok_or(SandboxError::Vanished)?;
            Ok(Outcome::Unchanged(Built { directory, record, elapsed: begun.elapsed() }))
        }
        Err(source) => {
            let tail = last_lines(&workspace.build().join(LOG));
            let failure = running.into_failure(request)?;
            let stage = failure.stage.clone();
            failure.write(workspace.path())?;
            Err(BuildError::Kept { directory: workspace.keep(), stage, tail, source: Box::new(source) })
        }
    }
}

/// Runs a command in the tree of a failed build, with this process's input and output; whether it ended well.
pub(crate) fn look_into(failure: &Failure, directory: &Path, command: Vec<String>) -> Result<bool, BuildError> {
    let tree = failure.tree.as_ref().ok_or(FailureError::NoTree)?;
    let (top, below) = tree.layers.split_last().ok_or(FailureError::NoTree)?;
    if !tree.layers.iter().all(|layer| layer.is_dir()) {
        return Err(FailureError::Gone { stage: failure.stage.clone() }.into());
    }
    sandbox::keep_mounts_private().map_err(|error| SandboxError::NotPrepared { reason: error.to_string() })?;
    let mut root = top.clone();
    if !below.is_empty() {
        root = directory.join("work/root");
        snapshot::mount_layers(below, top, &tree.partial.join("work"), &root)?;
    }
    let mut session = running::session_in(&root, &tree.partial.join("volatile"), &failure.environment);
    session.steps = vec![Step { network: tree.network, ..Step::new("the command", Run::Command(command)) }];
    session.terminal = Some(sandbox::terminal()?);
    let log = tempfile::tempfile()?;
    let around = Surroundings { log: &log, deadline: None, limits: StepLimits::default(), network: true };
    match sandbox::run(&session, around) {
        Ok(()) => Ok(true),
        Err(SandboxError::Step { reason, .. }) if reason.starts_with("exit status") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The digest of a file.
pub(crate) fn digest(path: &Path) -> io::Result<Sha256> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs_err::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish().sha256)
}

/// The last lines of a log, for the error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let content = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(limits::FAILURE_LINES)..].join("\n")
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{source}{}", indented(tail))]
    Kept { directory: PathBuf, stage: String, tail: String, source: Box<BuildError> },
    #[error("the build `{}` already exists", path.display())]
    Exists { path: PathBuf },
    #[error("the path `{}` cannot be used", .0.display())]
    Path(PathBuf),
    #[error("`source.skip_verification` needs `source.url`: the default mirror is always verified")]
    UnverifiedWithoutUrl,
    #[error("`source.keys` has no certificates")]
    Keys(#[from] formats::certificate::KeyError),
    #[error("debootstrap has no variant `{variant}`")]
    Variant { variant: &'static str },
    #[error("{place} cannot be written")]
    File { place: String, source: std::io::Error },
    #[error("cannot write YAML: {0}")]
    Yaml(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Bootstrap(BootstrapError),
    #[error("the image is not good:{}", indented(&lines(findings)))]
    Lint { findings: Vec<Finding> },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Failure(#[from] FailureError),
    #[error(transparent)]
    Pack(#[from] archive::pack::PackError),
}

impl Advice for BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Kept { directory, source, stage, .. } => {
                let own = match source.as_ref() {
                    Self::Sandbox(SandboxError::NotPrepared { .. }) => {
                        Some("building needs a kernel that lets the builder make namespaces and mounts".to_owned())
                    }
                    source => source.hint(),
                };
                let directory = directory.display();
                let network = match source.as_ref() {
                    Self::Sandbox(SandboxError::Step { isolated: true, .. }) => {
                        "; it had no network, which an action gets by `network: true` and all of them by `--network`"
                    }
                    _ => "",
                };
                Some(own.unwrap_or_else(|| {
                    format!(
                        "`rootcellar-builder shell {directory}` looks into the tree of the stage `{stage}`, `resume \
                         {directory}` runs the stage again; all output is in `{directory}/build/{LOG}`{network}"
                    )
                }))
            }
            Self::Source(error) => error.hint(),
            Self::Lint { findings } => {
                let name = findings.first().map(|finding| finding.lint.to_string()).unwrap_or_default();
                Some(format!("change the spec; `--allow-lint {name}` accepts an image as it is"))
            }
            Self::Cache(error) => error.hint(),
            Self::Failure(error) => error.hint(),
            Self::Bootstrap(error) => error.hint(),
            Self::Exists { .. } => Some("give another `--serial`, or build a minute later".to_owned()),
            _ => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Kept { source, .. } => source.exit_status(),
            Self::Bootstrap(error) => error.exit_status(),
            Self::Source(error) => error.exit_status(),
            Self::Cache(error) => error.exit_status(),
            Self::Failure(error) => error.exit_status(),
            Self::Exists { .. }
            | Self::Lint { .. }
            | Self::UnverifiedWithoutUrl
            | Self::Variant { .. }
            | Self::Keys(_)
            | Self::File { .. }
            | Self::Sandbox(
                SandboxError::Step { .. }
                | SandboxError::TooLate { .. }
                | SandboxError::StepTooLate { .. }
                | SandboxError::TooMuchMemory { .. }
                | SandboxError::TooManyProcesses { .. },
            ) => ExitStatus::Refused,
            Self::Path(_) | Self::Yaml(_) | Self::Io(_) | Self::Sandbox(_) | Self::Pack(_) => ExitStatus::Failed,
        }
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n{line}")).collect::<Vec<_>>().concat()
}

const LOG: &str = "build.log";
