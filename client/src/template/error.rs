//! Why the template did not make a container.

use std::io;
use std::path::PathBuf;

use formats::certificate::ParseFingerprintError;
use formats::image::ParseImageIdError;
use formats::metadata::LxcMetadataError;
use formats::name::ParseNameError;
use terminal::log::LogError;
use terminal::{Advice, ExitStatus};
use transfer::TransferError;

use crate::acquire::AcquireError;
use crate::cache::CacheError;
use crate::caller::Caller;
use crate::config::ConfigError;
use crate::container::policy::PolicyError;
use crate::container::rootfs::RootfsError;
use crate::remote::ParseServerUrlError;
use crate::repository::RepositoryError;

/// Why the template did not make a container.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in the messages")]
pub enum TemplateError {
    /// liblxc passes these; a person who runs the template by hand must, too.
    #[error("`--name`, `--path` and `--rootfs` of the container are needed")]
    NoContainer,
    /// A name or path that would break out of its line in the configuration.
    #[error("the container's name or path has a control character in it")]
    Control,
    /// liblxc tells who the caller is inside of the namespace.
    #[error("in a user namespace without `--mapped-uid`")]
    NoMap,
    /// A home directory is needed for a user's cache.
    #[error("the environment has no `HOME`, where a user's cache is")]
    NoHome,
    /// A server that is neither pinned nor chosen to be trusted without.
    #[error("no key is pinned for `{server}`")]
    NotPinned { server: String },
    /// The input ended before the image was named.
    #[error("no answer to `{question}`")]
    NoAnswer { question: &'static str },
    /// The input cannot be read.
    #[error("cannot read the answer")]
    Input(#[source] io::Error),
    /// This process cannot see to its own end.
    #[error("cannot wait for signals")]
    Watch(#[source] io::Error),
    /// Whoever wanted the container is gone.
    #[error("the process that creates the container has ended")]
    Unwanted,
    /// A signal.
    #[error("told to end by {signal}")]
    Told { signal: &'static str },
    /// The process that did the work was killed: perhaps there was no memory left.
    #[error("killed by {signal}")]
    Killed { signal: &'static str },
    /// The image has no configuration.
    #[error("the image's metadata has no `config` for this kind of container")]
    NoConfig,
    /// A file of the container directory.
    #[error("cannot read or write `{}`", path.display())]
    Storage { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Server(#[from] ParseServerUrlError),
    #[error(transparent)]
    Fingerprint(#[from] ParseFingerprintError),
    #[error(transparent)]
    Name(#[from] ParseNameError),
    #[error(transparent)]
    Image(#[from] ParseImageIdError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<RepositoryError> for TemplateError {
    fn from(error: RepositoryError) -> Self {
        Self::Acquire(error.into())
    }
}

/// What the stock template says of a failure, and where: scripts look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StockLine {
    Stdout(&'static str),
    Stderr(String),
}

impl TemplateError {
    /// The stock template's line for this, if it has one (lxc `templates/lxc-download.in`). What it says of its tools and of
    /// gpg cannot happen here.
    pub(super) fn stock_line(&self) -> Option<StockLine> {
        let line = match self {
            Self::NoContainer => "Please pass the name, path, and rootfs for the container",
            Self::NoMap => "In a user namespace without a map",
            Self::NoConfig => NO_CONFIG,
            Self::Acquire(error) | Self::Rootfs(RootfsError::Acquire(error)) => match error {
                AcquireError::NotFound(_) => return Some(StockLine::Stdout("ERROR: Couldn't find a matching image")),
                AcquireError::Metadata { source: LxcMetadataError::NoConfig, .. } => NO_CONFIG,
                AcquireError::Members { .. } | AcquireError::Metadata { .. } => {
                    return Some(StockLine::Stdout("ERROR: Invalid meta tarball."));
                }
                // What came and is not what it should be, the stock template would take.
                AcquireError::Repository(RepositoryError::Transfer(
                    TransferError::WrongDigest { .. }
                    | TransferError::WrongSize { .. }
                    | TransferError::TooLarge { .. },
                )) => return None,
                AcquireError::Repository(RepositoryError::Transfer(error)) => {
                    return Some(StockLine::Stderr(format!("ERROR: Failed to download {}", error.url()?)));
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(StockLine::Stderr(format!("ERROR: {line}")))
    }
}

const NO_CONFIG: &str = "meta tarball is missing the configuration file";

impl Advice for TemplateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoContainer => Some("run it as `lxc-create -t download -n NAME -- …`".to_owned()),
            Self::NotPinned { server } => Some(format!(
                "`rootcellar remote add NAME https://{server}` as root pins its key for everybody; `--fingerprint FPR` names \
                 it here; `--trust-tls`, or `template.trust = \"tls\"` in client.toml, does without"
            )),
            Self::NoHome => Some("`LXC_CACHE_PATH` names a directory for it".to_owned()),
            Self::NoAnswer { .. } => Some("name the image with `-d`, `-r` and `-a`".to_owned()),
            Self::Acquire(error) => error.hint(Caller::Template),
            Self::Cache(error) => Some(error.hint(Caller::Template)),
            Self::Config(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Rootfs(error) => error.hint(Caller::Template),
            Self::Control
            | Self::NoMap
            | Self::Input(_)
            | Self::Watch(_)
            | Self::Unwanted
            | Self::Told { .. }
            | Self::Killed { .. }
            | Self::NoConfig
            | Self::Storage { .. }
            | Self::Server(_)
            | Self::Fingerprint(_)
            | Self::Name(_)
            | Self::Image(_)
            | Self::Log(_) => None,
        }
    }

    /// The stock template ends with 1 for whatever it has to say something about.
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Refused
    }
}
