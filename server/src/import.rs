//! How a build enters the store.

mod copy;

use std::io;
use std::path::{Path, PathBuf};

use formats::certificate::KeyError;
use formats::record::{BuildFile, BuildRecord};
use formats::serial::Serial;
use formats::signature::{Encoding, SignDetached};
use formats::time::Timestamp;
use fs_err as fs;

use crate::catalog::{MetadataError, lxc_metadata};
use crate::checkpoint::checkpoint;
use crate::data::Writer;
use crate::files;
use crate::import::copy::BuildDirectory;
use crate::keys::Keys;
use crate::lint::{Lint, lint};
use crate::store::{BuildId, ObjectsError, RECORD, Store, StoreError};

/// What became of a build directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The build is new in the store.
    New(BuildId),
    /// The very same build was there already.
    Known(BuildId),
}

/// Brings a build directory into the store: every file is copied while it is checked against the record, the
/// signatures that go with it are made, and the whole becomes visible by one rename. A build that is there is never
/// replaced.
///
/// `directory` is not trusted: only files that the record can name are taken, and links are not followed.
pub fn import(writer: &Writer, keys: &Keys, directory: &Path, now: Timestamp) -> Result<Imported, ImportError> {
    let source = BuildDirectory::open(directory)?;
    let json = source.read_record()?;
    let record = BuildRecord::from_json(&json).map_err(ImportError::Record)?;
    lint(&record)?;
    let (store, build) = (Store::new(writer), BuildId::of(&record));
    if let Some(there) = store.record(&build)? {
        return known(build, &there, &record);
    }
    let staged = tempfile::Builder::new().prefix("import-").tempdir_in(writer.staging())?;
    source.copy(&record, staged.path())?;
    if record.files.contains_key(&BuildFile::MetaTarXz) {
        lxc_metadata(fs::File::open(staged.path().join(BuildFile::MetaTarXz.name()))?)?;
    }
    sign(keys, &record, staged.path(), now)?;
    fs::write(staged.path().join(RECORD), &json)?;
    finish(staged.path(), &record)?;
    checkpoint("import:staged");

    store
        .place(writer, &build, staged.keep())
        .map_err(|source| ImportError::Place { build: Box::new(build.clone()), source })?;
    checkpoint("import:renamed");
    Ok(Imported::New(build))
}

/// What goes with a build for stock clients. These signatures do not expire: freshness comes from the index.
fn sign(keys: &Keys, record: &BuildRecord, directory: &Path, now: Timestamp) -> Result<(), ImportError> {
    let signature = |name: &str, encoding| -> Result<Vec<u8>, ImportError> {
        let mut content = fs::File::open(directory.join(name))?;
        keys.compat.sign_detached(&mut content, now, None, encoding).map_err(ImportError::Sign)
    };
    for file in [BuildFile::RootfsTarXz, BuildFile::MetaTarXz] {
        if record.files.contains_key(&file) {
            fs::write(directory.join(format!("{file}.asc")), signature(file.name(), Encoding::Armored)?)?;
        }
    }
    fs::write(directory.join(SUMS), record.sha256sums())?;
    fs::write(directory.join(format!("{SUMS}.gpg")), signature(SUMS, Encoding::Binary)?)?;
    Ok(())
}

/// Gives every file the time of the build, which clients see, and makes the directory durable.
fn finish(directory: &Path, record: &BuildRecord) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let file = fs::OpenOptions::new().write(true).open(entry?.path())?;
        file.set_modified(record.created.into())?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
    }
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    files::sync_directory(directory)
}

fn known(build: BuildId, there: &BuildRecord, record: &BuildRecord) -> Result<Imported, ImportError> {
    if there == record {
        return Ok(Imported::Known(build));
    }
    let digest = |record: &BuildRecord, file| record.files.get(&file).map(ToString::to_string);
    let differs = BuildFile::ALL.into_iter().find(|file| digest(there, *file) != digest(record, *file));
    let what = differs.map_or(RECORD, BuildFile::name);
    let shown = |record: &BuildRecord| {
        let none = || "none".to_owned();
        differs.map_or_else(
            || formats::digest::FileDigest::of(&record.to_json()).to_string(),
            |file| digest(record, file).unwrap_or_else(none),
        )
    };
    Err(ImportError::Different { build: Box::new(build), what, expected: shown(there), found: shown(record) })
}

/// Why a build did not enter the store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory or a file of it cannot be read as what it should be.
    #[error("`{}` is not a file of a build", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A link or a device where a file should be.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// `build.json` is longer than any record.
    #[error("`build.json` is too large for a build record: expected at most {limit_bytes} bytes")]
    RecordTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// `build.json` is no record.
    #[error("`build.json` is not a build record")]
    Record(#[source] serde_json::Error),
    /// A file other than the one the record names.
    #[error("`{file}` is not the file its record names: expected {expected}, found {found}")]
    Altered {
        /// The file.
        file: BuildFile,
        /// What the record says.
        expected: String,
        /// What was there.
        found: String,
    },
    /// An image fingerprint that the files do not have.
    #[error("the image fingerprint for `{metadata}` and `{rootfs}` is wrong: expected {expected}, found {found}")]
    WrongFingerprint {
        /// The metadata file.
        metadata: BuildFile,
        /// The rootfs file.
        rootfs: BuildFile,
        /// What the files have.
        expected: String,
        /// What the record says.
        found: String,
    },
    /// The record breaks a rule.
    #[error(transparent)]
    Lint(#[from] Lint),
    /// The LXC metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Another build of this name is in the store.
    #[error("the store has another {build}: `{what}` is {expected} there, {found} here")]
    Different {
        /// The build.
        build: Box<BuildId>,
        /// What differs.
        what: &'static str,
        /// The digest in the store.
        expected: String,
        /// The digest of the newcomer.
        found: String,
    },
    /// The build could not be put in its place.
    #[error("cannot bring {build} into the store")]
    Place {
        /// The build.
        build: Box<BuildId>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The compat key did not sign.
    #[error("cannot sign the build's files")]
    Sign(#[source] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ImportError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::Record(_) | Self::RecordTooLarge { .. } => {
                Some("give a build directory as rootcellar-builder makes it, with `build.json` in it".to_owned())
            }
            Self::NotAFile { .. } => Some("replace links by the files themselves".to_owned()),
            Self::Altered { .. } | Self::WrongFingerprint { .. } => {
                Some("the build is incomplete or was changed after it was made; build or copy it again".to_owned())
            }
            Self::Different { build, .. } => {
                let next = build.serial.time().map(|time| Serial::at(time + formats::time::Span::from_seconds(60)));
                let next = next.map(|serial| format!(", such as `{serial}`")).unwrap_or_default();
                Some(format!("a build in the store is never replaced; build again under another serial{next}"))
            }
            Self::Lint(_) | Self::Metadata(_) => Some("build the image again with a current builder".to_owned()),
            Self::Place { source: error, .. } | Self::Store(StoreError::Io(error)) | Self::Io(error)
                if ObjectsError::is_cause_of(error) =>
            {
                Some(ObjectsError::HINT.to_owned())
            }
            Self::Place { .. } | Self::Sign(_) | Self::Store(_) | Self::Io(_) => None,
        }
    }

    /// Whether the build is to blame, and not the machine.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::RecordTooLarge { .. }
            | Self::Record(_)
            | Self::Altered { .. }
            | Self::WrongFingerprint { .. }
            | Self::Lint(_)
            | Self::Metadata(_)
            | Self::Different { .. } => true,
            Self::Place { .. } | Self::Sign(_) | Self::Store(_) | Self::Io(_) => false,
        }
    }
}

const SUMS: &str = "SHA256SUMS";
