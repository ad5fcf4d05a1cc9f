//! Why a command did not do what it was asked.

use std::io;
use std::path::PathBuf;

use formats::name::Name;
use terminal::log::LogError;
use terminal::{Advice, ExitStatus, ManualError};

use super::template::TemplateInstallError;
use crate::acquire::{AcquireError, ReadError};
use crate::cache::CacheError;
use crate::caller::Caller;
use crate::config::ConfigError;
use crate::container::create::CreateError;
use crate::repository::RepositoryError;
use crate::runtime;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in the messages")]
pub enum CommandError {
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An image could not be had.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// An image could not be had, by a command that can also do without the server.
    #[error(transparent)]
    AcquireOnline(AcquireError),
    /// An image could not be had, or is no image.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of several images.
    #[error("cannot warm `{image}`")]
    NotWarmed { image: String, source: Box<Self> },
    /// A server that is not asked again.
    #[error("`{server}` did not answer a moment ago")]
    Silent { server: String },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A container was not made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// LXC's templates.
    #[error(transparent)]
    Template(#[from] TemplateInstallError),
    /// The embedded runtime.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A server that is neither pinned nor chosen to be trusted without.
    #[error("no key is pinned for `{server}`")]
    NotPinned { server: String },
    /// The user is asked, and there is no terminal to ask on.
    #[error("the key of `{url}` is not confirmed: there is no terminal to ask on")]
    NobodyToAsk { url: String, command: String },
    /// The user said no.
    #[error("the key of `{url}` was not confirmed")]
    NotConfirmed { url: String },
    /// A remote of this name exists.
    #[error("there already is a remote `{name}`")]
    RemoteExists { name: Name },
    /// A password that would be stored where others read it.
    #[error("the address `{url}` has a password in it, and the configuration is for others to read, too")]
    PasswordInAddress { url: String, machine: String },
    /// Neither a container nor an image.
    #[error("`{name}` is neither a container nor an image's name")]
    NoSuchThing { name: String, source: formats::image::ParseImageIdError },
    /// No container, and no image that could be shown.
    #[error("there is no container `{name}`, and an image of this name cannot be shown")]
    NeitherContainerNorImage { name: Name, source: Box<CommandError> },
    /// The image names one remote, and the options another server.
    #[error("`{remote}:` names the remote `{remote}`, and `{option}` names another server")]
    TwoServers { remote: Name, option: &'static str },
    /// A file the user named cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The ids of a container's users.
    #[error(transparent)]
    IdMap(#[from] runtime::IdMapError),
    /// The manual.
    #[error(transparent)]
    Manual(#[from] ManualError),
    /// The standard streams.
    #[error("cannot ask")]
    Ask(#[source] io::Error),
    /// This process cannot tell where it runs.
    #[error("cannot read `/proc/self/uid_map`")]
    Placement(#[source] io::Error),
}

impl From<RepositoryError> for CommandError {
    fn from(error: RepositoryError) -> Self {
        Self::Acquire(error.into())
    }
}

impl Advice for CommandError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Acquire(error) | Self::Read(ReadError::Acquire(error)) => error.hint(Caller::Command),
            Self::AcquireOnline(error) => error.hint(Caller::OfflineCommand),
            Self::Read(error @ ReadError::Unpack(_)) => {
                error.is_bad_data().then(|| "the image is broken or hostile; tell the server's operator".to_owned())
            }
            Self::NotWarmed { source, .. } => source.hint(),
            Self::Cache(error) => Some(error.hint(Caller::Command)),
            Self::Create(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Template(error) => error.hint(),
            Self::Manual(error) => error.hint(),
            Self::NotPinned { server } => Some(format!(
                "give `--fingerprint FINGERPRINT`, or `rootcellar remote add NAME {server}`; `--trust-tls`, here or with \
                 `remote add`, trusts the TLS certificate alone"
            )),
            Self::NobodyToAsk { command, .. } => {
                Some(format!("compare the fingerprint with the server's operator, then `{command}`"))
            }
            Self::RemoteExists { name } => Some(format!(
                "`rootcellar remote trust {name}` pins its new key, `rootcellar remote remove {name}` forgets it"
            )),
            Self::PasswordInAddress { machine, .. } => Some(format!(
                "give the address without, and put `machine {machine} login USER password PASSWORD` into `~/.netrc`"
            )),
            Self::IdMap(runtime::IdMapError::NoSubordinates(_, user)) => Some(format!(
                "root gives a user ids, 65536 that nobody else has: `usermod --add-subuids 100000-165535 --add-subgids \
                 100000-165535 {user}`"
            )),
            Self::NeitherContainerNorImage { source, .. } => {
                let advice = source.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                Some(format!("`rootcellar ls` shows the containers{advice}"))
            }
            Self::TwoServers { remote, option } => {
                Some(format!("leave out either `{remote}:` or `{option}`, and what is said of that server"))
            }
            Self::NotConfirmed { .. } => Some("nothing was stored".to_owned()),
            Self::NoSuchThing { .. } => {
                Some("`rootcellar ls` shows the containers, `rootcellar list` the images".to_owned())
            }
            Self::Silent { .. }
            | Self::IdMap(_)
            | Self::Log(_)
            | Self::Unreadable { .. }
            | Self::Ask(_)
            | Self::Placement(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        let failed = match self {
            Self::Runtime(error) => return error.exit_status(),
            Self::NotWarmed { source, .. } | Self::NeitherContainerNorImage { source, .. } => {
                return source.exit_status();
            }
            Self::Template(error) => return error.exit_status(),
            Self::Manual(error) => return error.exit_status(),
            Self::Config(error) => matches!(error, ConfigError::Read(_) | ConfigError::Write(_)),
            Self::Acquire(error) | Self::AcquireOnline(error) => error.is_failure(),
            Self::Read(error) => !error.is_bad_data(),
            Self::Create(error) => error.is_failure(),
            Self::Cache(_) | Self::Silent { .. } | Self::Log(_) | Self::Ask(_) | Self::Placement(_) => true,
            Self::NotPinned { .. }
            | Self::NobodyToAsk { .. }
            | Self::NotConfirmed { .. }
            | Self::RemoteExists { .. }
            | Self::PasswordInAddress { .. }
            | Self::NoSuchThing { .. }
            | Self::TwoServers { .. }
            | Self::Unreadable { .. }
            | Self::IdMap(_) => false,
        };
        if failed { ExitStatus::Failed } else { ExitStatus::Refused }
    }
}
