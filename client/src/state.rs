//! What is remembered of a server, outside of the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::certificate::{Certificate, KeyError};
use formats::streams::StreamsIndex;
use formats::verified::{Memory, Verified};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::files::{self, Lock, Owner};
use crate::remote::Origin;

/// What is remembered of one origin: the newest index it was ever accepted with, and its certificate.
///
/// ```text
/// <state>/v1/remotes/<origin>/
/// ├── lock               held while an index is checked and remembered
/// ├── memory.json        the highest repository serial and the newest publication seen
/// └── certificate.pgp    the pinned certificate with every update that was merged into it
/// ```
///
/// Losing it costs the protection against rollback until the next index; so it is not in the cache, which people
/// delete.
#[derive(Debug)]
pub struct RemoteState {
    directory: PathBuf,
    owner: Owner,
}

impl RemoteState {
    /// What is remembered of `origin` below the state directory.
    pub fn open(state: &Path, origin: &Origin, owner: Owner) -> Result<Self, StateError> {
        let directory = state.join("v1/remotes").join(origin.key());
        files::make_directories(&directory, owner).map_err(StateError::of(&directory))?;
        Ok(Self { directory, owner })
    }

    /// Keeps other processes from checking an index of this origin. That takes moments; `waiting` is called when it
    /// does not, because another process waits for the server.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Lock, StateError> {
        let path = self.directory.join("lock");
        Lock::exclusive_after(&path, self.owner, MOMENT, waiting).map_err(StateError::of(&path))
    }

    /// The newest index seen. A file that cannot be read is an error and not "nothing seen": that would let an
    /// older index in.
    pub fn memory(&self) -> Result<Memory, StateError> {
        let path = self.directory.join("memory.json");
        let content = files::read_if_there(&path).map_err(StateError::of(&path))?;
        let Some(content) = content else { return Ok(Memory::nothing()) };
        let stored: Stored = serde_json::from_slice(&content)
            .map_err(|error| StateError::Damaged { path, reason: error.to_string() })?;
        Ok(stored.memory)
    }

    /// Remembers an accepted index.
    pub fn remember(&self, before: Memory, index: &Verified<StreamsIndex>) -> Result<(), StateError> {
        let after = before.after(index);
        if after == before {
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(&Stored { memory: after }).unwrap_or_default();
        self.write("memory.json", &json)
    }

    /// The stored certificate.
    pub fn certificate(&self) -> Result<Option<Certificate>, StateError> {
        let path = self.directory.join("certificate.pgp");
        let content = files::read_if_there(&path).map_err(StateError::of(&path))?;
        // A damaged copy is as good as none: the server has another, and the pin decides whether it counts.
        Ok(content.and_then(|content| Certificate::from_bytes(&content).ok()))
    }

    /// Stores a certificate.
    pub fn keep(&self, certificate: &Certificate) -> Result<(), StateError> {
        self.write("certificate.pgp", &certificate.to_armored()?)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.directory.join(name);
        files::write_whole(&path, content, 0o644, self.owner).map_err(StateError::of(&path))
    }
}

const MOMENT: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    memory: Memory,
}

/// Why something could not be remembered.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state directory cannot be read or written.
    #[error("cannot use the state directory at `{}`", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was remembered cannot be read.
    #[error("what was remembered in `{}` cannot be read: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate cannot be written.
    #[error(transparent)]
    Certificate(#[from] KeyError),
}

impl StateError {
    fn of(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Storage { path, source }
    }

    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> Option<String> {
        match self {
            Self::Storage { .. } => Some(caller.other_state()),
            Self::Damaged { path, .. } => Some(format!(
                "remove `{}` if nobody can have tampered with it: an older index would then go unnoticed once",
                path.display()
            )),
            Self::Certificate(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use formats::time::Timestamp;

    use super::*;
    use crate::remote::{Trust, default_channel};

    fn origin() -> Origin {
        Origin { url: "https://host".parse().unwrap(), trust: Trust::Tls, channel: default_channel(), ca: None }
    }

    #[test]
    fn a_server_never_met_is_remembered_as_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = RemoteState::open(directory.path(), &origin(), Owner::SELF).unwrap();
        assert_eq!(state.memory().unwrap(), Memory::nothing());
        assert_eq!(state.certificate().unwrap(), None);
    }

    #[test]
    fn a_damaged_memory_is_an_error_and_not_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let state = RemoteState::open(directory.path(), &origin(), Owner::SELF).unwrap();
        state.write("memory.json", br#"{"serial": 7, "published": "2026-11-23T05:22:00Z"}"#).unwrap();
        let expected = Memory { serial: 7, published: Timestamp::from_unix(1_795_411_320) };
        assert_eq!(state.memory().unwrap(), expected);
        state.write("memory.json", b"{").unwrap();
        assert!(state.memory().unwrap_err().hint(Caller::Command).unwrap().contains("memory.json"));
    }
}
