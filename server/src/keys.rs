//! The two signing keys of a server.

use std::io;
use std::path::PathBuf;

use formats::certificate::{Certificate, Fingerprint, KeyError, SigningKey};
use formats::signature::{CompatKey, RepositoryKey, SignDetached, SignInline};
use formats::time::{Span, Timestamp};
use fs_err as fs;
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
    /// Certificates of keys that were revoked: they are served, so that clients that pinned one learn of it.
    pub revoked: Vec<Certificate>,
}

impl Keys {
    /// The keys of a data directory, or which of them are missing.
    fn load(data: &DataDir) -> Result<Result<Self, Vec<Role>>, KeysError> {
        let [repository, compat] = [Role::Repository, Role::Compat].map(|role| role.read(data));
        match (repository?, compat?) {
            (Some(repository), Some(compat)) => {
                let revoked = revoked(data)?;
                Ok(Ok(Self { repository: RepositoryKey(repository), compat: CompatKey(compat), revoked }))
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

    /// Gives the repository key another signing subkey and lets the old ones expire after `overlap`. The fingerprint
    /// stays.
    pub fn rotate(writer: &Writer, now: Timestamp, overlap: Span) -> Result<SigningKey, KeysError> {
        Self::change(writer, |key| key.rotate(now, SUBKEY_VALIDITY, overlap))
    }

    /// Revokes the signing subkeys of the repository key and gives it another. The fingerprint stays.
    pub fn revoke_subkeys(writer: &Writer, now: Timestamp) -> Result<SigningKey, KeysError> {
        Self::change(writer, |key| key.revoke_subkeys(now)?.rotate(now, SUBKEY_VALIDITY, Span::from_seconds(0)))
    }

    /// Revokes the repository key as a whole and takes it out of use. The next one who needs keys makes another, with
    /// another fingerprint.
    pub fn revoke_repository(writer: &Writer, now: Timestamp) -> Result<Fingerprint, KeysError> {
        let role = Role::Repository;
        let unusable = |source| KeysError::Unusable { role, source };
        let key = role.read(writer)?.ok_or(KeysError::Missing { role })?.revoke(now).map_err(unusable)?;
        let fingerprint = key.fingerprint();
        let public = key.certificate().to_armored().map_err(unusable)?;
        fs::create_dir_all(writer.revoked_keys())?;
        // The certificate is in its place before the secret leaves its own: killed between, this is done again.
        writer.put(&writer.revoked_keys().join(format!("{fingerprint}.pgp")), &public, 0o644)?;
        let aside = writer.revoked_keys().join(format!("{fingerprint}.secret"));
        fs::rename(role.path(writer), aside)?;
        files::sync_parent(&role.path(writer))?;
        Ok(fingerprint)
    }

    /// Changes the repository key, if its secret primary part is here.
    fn change(
        writer: &Writer,
        change: impl FnOnce(&SigningKey) -> Result<SigningKey, KeyError>,
    ) -> Result<SigningKey, KeysError> {
        let role = Role::Repository;
        let unusable = |source| KeysError::Unusable { role, source };
        let key = role.read(writer)?.ok_or(KeysError::Missing { role })?;
        let changed = change(&key).map_err(unusable)?;
        writer.put(&role.path(writer), &changed.to_armored_secret().map_err(unusable)?, 0o600)?;
        Ok(changed)
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

fn revoked(data: &DataDir) -> Result<Vec<Certificate>, KeysError> {
    let mut certificates = Vec::new();
    if data.revoked_keys().is_dir() {
        for entry in fs::read_dir(data.revoked_keys())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pgp") {
                let role = Role::Repository;
                let certificate = Certificate::from_bytes(&fs::read(path)?);
                certificates.push(certificate.map_err(|source| KeysError::Unusable { role, source })?);
            }
        }
    }
    Ok(certificates)
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
