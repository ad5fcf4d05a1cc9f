//! Why a command failed.

use std::io;

use formats::certificate::KeyError;
use terminal::log::LogError;
use terminal::{Advice, ExitStatus, ManualError};

use crate::catalog::CatalogError;
use crate::channel::ChannelError;
use crate::config::ConfigError;
use crate::delta::DeltaError;
use crate::export::ExportError;
use crate::keys::KeysError;
use crate::operations::OperationsError;
use crate::publish::PublishError;
use crate::retention::RetentionError;
use crate::serve::ServeError;
use crate::store::{ObjectsError, SettingsError, StoreError};

/// Why a command failed. What failed for one of several builds is reported by the command itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A certificate that could not be written.
    #[error("cannot export the certificates")]
    ExportKeys(#[source] KeyError),
    /// The manual.
    #[error(transparent)]
    Manual(#[from] ManualError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Where the builds are.
    #[error(transparent)]
    StoreSettings(#[from] SettingsError),
    /// A build of the store.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The deltas.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The operations database.
    #[error(transparent)]
    Operations(#[from] OperationsError),
    /// An export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What prune keeps.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// A publish.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The configuration of `serve`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The running server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Advice for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Keys(KeysError::Missing { .. }) => Some("`rootcellar-server keys init` makes both".to_owned()),
            Self::Keys(KeysError::Unusable { source: KeyError::NoPrimary { .. }, .. }) => {
                Some("do it where the whole key is kept: keys/README.md says how".to_owned())
            }
            Self::Publish(error) => error.hint(),
            Self::Channel(error) => error.hint(),
            Self::Retention(error) => error.hint(),
            Self::Delta(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Operations(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Serve(error) => error.hint(),
            Self::StoreSettings(SettingsError::Io(error))
                if error.kind() == io::ErrorKind::PermissionDenied && !ObjectsError::is_cause_of(error) =>
            {
                Some(CHOOSE.to_owned())
            }
            Self::StoreSettings(error) => error.hint(),
            Self::Io(error)
            | Self::Store(StoreError::Io(error))
            | Self::Catalog(CatalogError::Store(StoreError::Io(error)))
                if ObjectsError::is_cause_of(error) =>
            {
                Some(ObjectsError::HINT.to_owned())
            }
            Self::Manual(error) => error.hint(),
            Self::Io(error) | Self::Keys(KeysError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(CHOOSE.to_owned())
            }
            Self::Keys(_) | Self::ExportKeys(_) | Self::Store(_) | Self::Catalog(_) | Self::Log(_) | Self::Io(_) => {
                None
            }
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Manual(error) => error.exit_status(),
            Self::Keys(KeysError::Missing { .. } | KeysError::Unusable { source: KeyError::NoPrimary { .. }, .. })
            | Self::Export(ExportError::Unpublished)
            | Self::Config(_)
            | Self::Log(_) => ExitStatus::Refused,
            Self::Serve(error) if error.is_refusal() => ExitStatus::Refused,
            Self::StoreSettings(error) if error.is_refusal() => ExitStatus::Refused,
            Self::Operations(error) if error.is_refusal() => ExitStatus::Refused,
            Self::Channel(error) if error.is_refusal() => ExitStatus::Refused,
            Self::Retention(error) if error.is_refusal() => ExitStatus::Refused,
            Self::Keys(_)
            | Self::ExportKeys(_)
            | Self::Export(_)
            | Self::Store(_)
            | Self::StoreSettings(_)
            | Self::Catalog(_)
            | Self::Channel(_)
            | Self::Delta(_)
            | Self::Operations(_)
            | Self::Retention(_)
            | Self::Publish(_)
            | Self::Serve(_)
            | Self::Io(_) => ExitStatus::Failed,
        }
    }
}

const CHOOSE: &str = "choose another data directory with `--data DIR` or ROOTCELLAR_SERVER_DATA";
