//! What can be wrong with the configuration.

use std::io;
use std::path::PathBuf;

use formats::name::Name;

/// What can be wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration")]
    Read(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write the configuration")]
    Write(#[source] io::Error),
    /// The file is not understood.
    #[error("cannot understand `{}`", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A remote cannot be written as TOML.
    #[error("cannot write a remote as TOML")]
    Render {
        /// Why.
        source: Box<toml::ser::Error>,
    },
    /// The file is laid out in a way that cannot be edited by a program.
    #[error("cannot edit `{}` without changing more than the remote", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
    },
    /// There is no remote of this name.
    #[error("there is no remote `{name}`")]
    UnknownRemote {
        /// The name.
        name: Name,
        /// The names there are.
        known: Vec<String>,
    },
    /// The remote is configured in a file that is not ours to edit.
    #[error("the remote `{name}` is configured in `{}`", path.display())]
    RemoteElsewhere {
        /// The name.
        name: Name,
        /// The file.
        path: PathBuf,
    },
    /// There are several remotes and none was named.
    #[error("several remotes are configured and none of them is the default")]
    WhichRemote {
        /// Their names.
        known: Vec<String>,
    },
    /// There is none.
    #[error("no remote is configured")]
    NoRemote,
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownRemote { known, .. } if known.is_empty() => Self::NoRemote.hint(),
            Self::UnknownRemote { known, .. } => Some(format!("there is `{}`", known.join("`, `"))),
            Self::RemoteElsewhere { name, .. } => Some(format!(
                "root removes it for everybody: `sudo rootcellar remote remove {name}`; a remote of your own with this name \
                 takes its place"
            )),
            Self::WhichRemote { known } => {
                Some(format!("put `NAME:` before the image, or set `default_remote`: `{}`", known.join("`, `")))
            }
            Self::NoRemote => Some(
                "`rootcellar remote add default https://SERVER --fingerprint FINGERPRINT`, or give `--server` and `--fingerprint`"
                    .to_owned(),
            ),
            Self::Edit { .. } => Some("edit it by hand: remotes are tables named `[remotes.NAME]`".to_owned()),
            Self::Parse { .. } => Some("`rootcellar remote config-template` explains every key".to_owned()),
            Self::Read(_) | Self::Write(_) | Self::Render { .. } => None,
        }
    }
}
