//! One file per verb.

pub(crate) mod bootstrap;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod diff;
pub(crate) mod matrix;
pub(crate) mod pack;
pub(crate) mod plan;
pub(crate) mod resume;
pub(crate) mod shell;
pub(crate) mod validate;

use std::path::{Path, PathBuf};

use formats::arch::Arch;
use formats::time::Timestamp;
use terminal::{Advice, ExitStatus, ManualError};

use crate::bootstrap::BootstrapError;
use crate::build::BuildError;
use crate::build::failure::FailureError;
use crate::cache::CacheError;
use crate::comparison::ComparisonError;
use crate::config::ConfigError;
use crate::emulation::{self, Emulation, EmulationError};
use crate::format::FormatsError;
use crate::plan::PlanError;
use crate::spec::overrides::Override;
use crate::spec::{Spec, SpecError};
use crate::userns::{self, Ids, Mode, UsernsError};

/// What every verb that reads a spec accepts beside it.
#[derive(Debug, clap::Args)]
pub(crate) struct SpecArgs {
    /// Replace a value of the spec, as `image.release=trixie` or `files.0.path=/etc/motd`.
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
}

impl SpecArgs {
    fn load(&self, path: &Path, now: Timestamp) -> Result<Spec, SpecError> {
        Spec::load(path, &self.overrides, now)
    }
}

/// Makes this process one that can build for `arch`: root, be it of a user namespace, with an emulator where one is
/// needed, for as long as what is returned lives. No second thread may exist yet.
fn become_builder(mode: Mode, arch: Option<Arch>) -> Result<Option<Emulation>, CommandError> {
    match mode {
        Mode::Userns => userns::enter(Ids::Subordinate)?,
        Mode::Root if !rustix::process::geteuid().is_root() => return Err(CommandError::NeedsRoot),
        Mode::Root => {}
    }
    let Some(arch) = arch.filter(|arch| emulation::is_needed(*arch)) else { return Ok(None) };
    if mode == Mode::Root {
        // Only a namespace of its own has a list of emulators of its own.
        userns::enter(Ids::Host)?;
    }
    Ok(Some(emulation::register(arch)?))
}

/// The time of the build: `SOURCE_DATE_EPOCH`, or now.
fn build_time() -> Result<Timestamp, CommandError> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.trim().parse().map(Timestamp::from_unix).map_err(|_| CommandError::SourceDateEpoch { found: text })
        }
        Err(_) => Ok(std::time::SystemTime::now().into()),
    }
}

/// Whether the time of the build was given.
fn time_is_given() -> bool {
    std::env::var_os("SOURCE_DATE_EPOCH").is_some()
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("expected `SOURCE_DATE_EPOCH` in seconds since 1970, found `{found}`")]
    SourceDateEpoch { found: String },
    #[error("`--mode root` needs the host's root")]
    NeedsRoot,
    #[error("the configuration's `step_memory` is wrong: {problem}")]
    StepMemory { problem: String },
    #[error(transparent)]
    Userns(#[from] UsernsError),
    #[error(transparent)]
    Emulation(#[from] EmulationError),
    #[error("no program `{program}`")]
    NoProgram { program: &'static str },
    #[error("no cache directory: neither `--cache`, `XDG_CACHE_HOME` nor `HOME` is set")]
    NoCache,
    #[error("`{}` cannot be used", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("what a failed build was asked for cannot be understood")]
    Request,
    #[error(transparent)]
    Failure(#[from] FailureError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    #[error(transparent)]
    Log(#[from] terminal::log::LogError),
    #[error(transparent)]
    Manual(#[from] ManualError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Formats(#[from] FormatsError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the directory `{}` is not empty", path.display())]
    NotEmpty { path: PathBuf },
    #[error(transparent)]
    Pack(#[from] archive::pack::PackError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
}

impl Advice for CommandError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NeedsRoot => Some("run it as root, or with `--mode userns`".to_owned()),
            Self::Userns(error) => error.hint(),
            Self::Emulation(error) => error.hint(),
            Self::NoProgram { program } => {
                let package = match *program {
                    "mksquashfs" => "squashfs-tools",
                    "apt-get" => "apt",
                    program => program,
                };
                Some(format!("install the package `{package}`"))
            }
            Self::Config(_) => Some("`builder/config-template.toml` of the source tree explains every key".to_owned()),
            Self::SourceDateEpoch { .. }
            | Self::Formats(_)
            | Self::NoCache
            | Self::Request
            | Self::Directory { .. }
            | Self::Log(_)
            | Self::StepMemory { .. }
            | Self::NotEmpty { .. }
            | Self::Pack(_) => None,
            Self::Failure(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Comparison(error) => error.hint(),
            Self::Spec(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Build(error) => error.hint(),
            Self::Bootstrap(error) => error.hint(),
            Self::Manual(error) => error.hint(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::SourceDateEpoch { .. } | Self::NotEmpty { .. } | Self::Config(_) | Self::Formats(_) => {
                ExitStatus::Refused
            }
            Self::NeedsRoot
            | Self::NoProgram { .. }
            | Self::NoCache
            | Self::Directory { .. }
            | Self::Log(_)
            | Self::Pack(_) => ExitStatus::Failed,
            Self::Request | Self::StepMemory { .. } => ExitStatus::Refused,
            Self::Userns(error) => error.exit_status(),
            Self::Emulation(error) => error.exit_status(),
            Self::Failure(error) => error.exit_status(),
            Self::Cache(error) => error.exit_status(),
            Self::Comparison(error) => error.exit_status(),
            Self::Spec(error) => error.exit_status(),
            Self::Plan(error) => error.exit_status(),
            Self::Build(error) => error.exit_status(),
            Self::Bootstrap(error) => error.exit_status(),
            Self::Manual(error) => error.exit_status(),
        }
    }
}
