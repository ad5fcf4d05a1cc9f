//! The builds of a server.

mod backend;
mod directory;
mod id;
mod objects;
pub mod settings;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::image::ImageId;
use formats::record::BuildRecord;
use fs_err as fs;

use crate::data::{DataDir, Writer};
use crate::limits::Limits;

pub use backend::{Backend, Opened};
pub(crate) use id::in_order;
pub use id::{BuildId, BuildQuery};
pub(crate) use objects::Claim;
pub(crate) use objects::Objects;
pub use objects::{Object, ObjectsError};
pub use settings::{Place, Redirect, Settings, SettingsError};

/// The store: every build that was imported, under the names it is served by. It is the truth about builds; whatever
/// else names them can be made from it again.
///
/// A build is in the store when its record is: the record comes last and goes first. What changes the store asks for the
/// [`Writer`].
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// The store of a data directory.
    pub fn new(data: &DataDir) -> Self {
        Self { backend: Arc::clone(data.backend()) }
    }

    /// The store in an object store.
    pub(crate) fn in_objects(settings: &Settings) -> io::Result<Self> {
        Ok(Self { backend: Arc::new(Objects::open(settings)?) })
    }

    /// Every build, in order. What is not named like a build is none.
    pub fn builds(&self) -> io::Result<Vec<BuildId>> {
        let mut builds = self.backend.builds()?;
        builds.sort();
        Ok(builds)
    }

    /// The builds of one image, in order.
    pub fn builds_of(&self, image: &ImageId) -> io::Result<Vec<BuildId>> {
        let mut builds = self.backend.builds_of(image)?;
        builds.sort();
        Ok(builds)
    }

    /// The record of a build, or `None` when the build is not in the store.
    pub fn record(&self, build: &BuildId) -> Result<Option<BuildRecord>, StoreError> {
        let Some(json) = self.read(build, RECORD, Limits::default().record_bytes)? else { return Ok(None) };
        let record = BuildRecord::from_json(&json)
            .map_err(|source| StoreError::Record { build: Box::new(build.clone()), source })?;
        if BuildId::of(&record) == *build {
            Ok(Some(record))
        } else {
            Err(StoreError::Misplaced { build: Box::new(build.clone()), found: Box::new(BuildId::of(&record)) })
        }
    }

    /// The files that stand with a build.
    pub fn names(&self, build: &BuildId) -> io::Result<Vec<String>> {
        self.backend.names(build)
    }

    /// A small file of a build, or `None` when there is none. Of a larger one the first bytes are read, one more than the
    /// limit.
    pub fn read(&self, build: &BuildId, name: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        self.backend.read(build, name, limit_bytes)
    }

    /// A file of a build, to be read once from its beginning; `None` when there is none.
    pub fn reader(&self, build: &BuildId, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self.open(build, name)?.map(Opened::into_reader))
    }

    /// A file of a build, with what is known of it before it is read; `None` when there is none.
    pub fn open(&self, build: &BuildId, name: &str) -> io::Result<Option<Opened>> {
        self.backend.open(build, name)
    }

    /// A file of a build as a path of this machine; one that has none is copied into `scratch`.
    pub fn local(&self, build: &BuildId, name: &str, scratch: &Path) -> io::Result<PathBuf> {
        if let Some(path) = self.backend.path(build, name) {
            return Ok(path);
        }
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the store has no {name} of {build}"));
        let copy = scratch.join(format!("{}.{name}", build.serial));
        io::copy(&mut self.reader(build, name)?.ok_or_else(missing)?, &mut fs::File::create(&copy)?)?;
        Ok(copy)
    }

    /// The path of a file of a build, where builds are files of this machine.
    pub fn path(&self, build: &BuildId, name: &str) -> Option<PathBuf> {
        self.backend.path(build, name)
    }

    /// Brings a staged directory in as a build that is not there yet.
    pub fn place(&self, _: &Writer, build: &BuildId, staged: PathBuf) -> io::Result<()> {
        self.backend.place(build, staged)
    }

    /// Puts a file that was made beside those of a build.
    pub fn add(&self, _: &Writer, build: &BuildId, name: &str, made: &Path) -> io::Result<()> {
        self.backend.add(build, name, made)
    }

    /// Takes a file that stands beside those of a build away.
    pub fn discard(&self, _: &Writer, build: &BuildId, name: &str) -> io::Result<()> {
        self.backend.discard(build, name)
    }

    /// Takes a build out of the store.
    pub fn remove(&self, writer: &Writer, build: &BuildId) -> io::Result<()> {
        self.backend.remove(build, &writer.staging())
    }

    /// Moves a build out of the store and keeps it, for people to look at; returns where it is, or `None` when the store
    /// does not have it. It can be imported again.
    pub fn set_aside(&self, writer: &Writer, build: &BuildId) -> io::Result<Option<String>> {
        self.backend.set_aside(build, &writer.quarantine())
    }

    /// Removes what killed writers left; the number of files.
    pub fn sweep(&self, _: &Writer) -> io::Result<usize> {
        self.backend.sweep()
    }
}

/// What can be wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record that cannot be read.
    #[error("the record of {build} in the store is damaged")]
    Record {
        /// The build.
        build: Box<BuildId>,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A record in the directory of another build.
    #[error("the store has a wrong record: expected {build}, found {found}")]
    Misplaced {
        /// The build by its directory.
        build: Box<BuildId>,
        /// The build by its record.
        found: Box<BuildId>,
    },
    /// The file system or the object store failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The name of the build record.
pub const RECORD: &str = "build.json";

/// How often one build can be moved aside.
const MOST_COPIES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_build_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = Store::new(&data);
        let build: BuildId = "debian/trixie/amd64/default@20261123_0522".parse().unwrap();
        assert!(store.record(&build).unwrap().is_none());
        let path = store.path(&build, RECORD).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let other = testkit::FakeImage::new("debian/trixie/amd64/cloud").record();
        fs::write(&path, other.to_json()).unwrap();
        assert!(matches!(store.record(&build), Err(StoreError::Misplaced { .. })));
        fs::write(&path, "{").unwrap();
        assert!(matches!(store.record(&build), Err(StoreError::Record { .. })));
    }
}
