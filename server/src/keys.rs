//! The two signing keys of a server.

use std::io;
use std::path::PathBuf;

use formats::certificate::{Certificate, Fingerprint, KeyError, SigningKey};
use formats::signature::{CompatKey, RepositoryKey, SignDetached, SignInline};
use formats::time::{Span, Timestamp};
use terminal::Printer;

use crate::data::{DataDir, Writer};
use crate::files;

/// The repository key, which clients of ours pin, and the compat key, which makes the detached signatures for stock
/// templates, gpgv and systemd. `keys/README.md` of the source tree is the ceremony.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs `index.sjson`, inline.
    pub repository: RepositoryKey,
    /// Signs everything else, detached.
    pub compat: CompatKey,
}

impl Keys {
    /// The keys of a data directory, or which of them are missing.
    fn load(data: &DataDir) -> Result<Result<Self, Vec<Role>>, KeysError> {
        let [repository, compat] = [Role::Repository, Role::Compat].map(|role| role.read(data));
        match (repository?, compat?) {
            (Some(repository), Some(compat)) => {
                Ok(Ok(Self { repository: RepositoryKey(repository), compat: CompatKey(compat) }))
            }
            (repository, compat) => {
                let there = [(Role::Repository, repository.is_some()), (Role::Compat, compat.is_some())];
                Ok(Err(there.into_iter().filter(|(_, there)| !there).map(|(role, _)| role).collect()))
            }
        }
    }

    /// The keys of a data directory, both of which must be there.
    pub fn existing(data: &DataDir) -> Result<Self, KeysError> {
        Self::load(data)?
            .map_err(|missing| KeysError::Missing { role: missing.first().copied().unwrap_or(Role::Repository) })
    }

    /// The keys of a data directory; missing ones are made, for an owner called `name`, and announced. A key that
    /// exists is never replaced.
    pub fn load_or_make(writer: &Writer, name: &str, now: Timestamp, printer: &Printer) -> Result<Self, KeysError> {
        loop {
            let missing = match Self::load(writer)? {
                Ok(keys) => return Ok(keys),
                Err(missing) => missing,
            };
            for role in missing {
                let key = role.make(name, now).map_err(|source| KeysError::Unusable { role, source })?;
                let secret = key.to_armored_secret().map_err(|source| KeysError::Unusable { role, source })?;
                writer.put(&role.path(writer), &secret, 0o600)?;
                let label = format!("Made the {role} key");
                printer.say(format_args!("{label:<30}{}", key.fingerprint().grouped()));
            }
        }
    }

    /// Both certificates.
    pub fn certificates(&self) -> [Certificate; 2] {
        [self.repository.certificate(), self.compat.certificate()]
    }

    /// The fingerprint that clients of ours pin.
    pub fn repository_fingerprint(&self) -> Fingerprint {
        self.repository.0.fingerprint()
    }

    /// The fingerprint that stock templates are given as `--keyid`.
    pub fn compat_fingerprint(&self) -> Fingerprint {
        self.compat.0.fingerprint()
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Inline signatures.
    Repository,
    /// Detached signatures.
    Compat,
}

impl Role {
    /// The file of the secret key.
    pub fn path(self, data: &DataDir) -> PathBuf {
        data.keys().join(format!("{self}.secret.pgp"))
    }

    fn read(self, data: &DataDir) -> Result<Option<SigningKey>, KeysError> {
        let Some(bytes) = files::read_if_there(&self.path(data))? else { return Ok(None) };
        SigningKey::from_bytes(&bytes).map(Some).map_err(|source| KeysError::Unusable { role: self, source })
    }

    fn make(self, name: &str, now: Timestamp) -> Result<SigningKey, KeyError> {
        let user_id = format!("rootcellar {self} key of {name}");
        match self {
            Self::Repository => SigningKey::generate_repository(&user_id, now, SUBKEY_VALIDITY),
            Self::Compat => SigningKey::generate_compat(&user_id, now),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Repository => "repository",
            Self::Compat => "compat",
        })
    }
}

/// What can be wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A key that is needed and was never made.
    #[error("this server has no {role} key yet")]
    Missing {
        /// Which key.
        role: Role,
    },
    /// A key that cannot be read, made or used.
    #[error("the {role} key is not usable")]
    Unusable {
        /// Which key.
        role: Role,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How long the signing subkey of the repository key may sign.
const SUBKEY_VALIDITY: Span = Span::from_days(730);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_kept_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let (printer, captured) = Printer::captured(false);
        let writer = data.write(&printer).unwrap();
        let now = Timestamp::from_unix(1_795_411_320);
        let made = Keys::load_or_make(&writer, "test", now, &printer).unwrap();
        assert_eq!(captured.stderr().lines().count(), 2);
        let read = Keys::load_or_make(&writer, "test", now, &printer).unwrap();
        assert_eq!(read.repository_fingerprint(), made.repository_fingerprint());
        assert_eq!(read.compat_fingerprint(), made.compat_fingerprint());
        assert_eq!(captured.stderr().lines().count(), 2);
        let permissions = std::fs::metadata(Role::Compat.path(&data)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_file_that_holds_no_key_is_named_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        std::fs::write(Role::Repository.path(&data), "not a key").unwrap();
        let error = Keys::existing(&data).unwrap_err();
        assert_eq!(error.to_string(), "the repository key is not usable");
        assert_eq!(std::fs::read(Role::Repository.path(&data)).unwrap(), b"not a key");
    }
}
