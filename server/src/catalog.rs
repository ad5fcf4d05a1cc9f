//! What the store says about its builds.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use archive::members::{MemberLimits, MembersError, read_members};
use archive::xz::{DecodeLimits, Decoder};
use formats::metadata::{LxcMetadata, LxcMetadataError};
use formats::record::{BuildFile, BuildRecord};

use crate::limits::Limits;
use crate::offers::Offers;
use crate::store::{BuildId, Store, StoreError};

/// One build as documents are made from it.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// Its record.
    pub record: BuildRecord,
    /// Which stock templates it is offered to.
    pub offers: Offers,
}

/// The builds of the store, in memory. Builds never change, so what was read once stays right; it can always be read
/// again from the store.
#[derive(Debug)]
pub struct Catalog {
    store: Store,
    entries: HashMap<BuildId, Arc<CatalogEntry>>,
}

impl Catalog {
    /// A catalog that has read nothing yet.
    pub fn new(store: Store) -> Self {
        Self { store, entries: HashMap::new() }
    }

    /// A build, or `None` when the store does not have it.
    pub fn entry(&mut self, build: &BuildId) -> Result<Option<Arc<CatalogEntry>>, CatalogError> {
        if let Some(entry) = self.entries.get(build) {
            return Ok(Some(Arc::clone(entry)));
        }
        let Some(entry) = read(&self.store, build)? else { return Ok(None) };
        let entry = Arc::new(entry);
        self.entries.insert(build.clone(), Arc::clone(&entry));
        Ok(Some(entry))
    }

    /// Reads builds side by side. Those that the store does not have stay unknown.
    pub fn load(&mut self, builds: &[&BuildId]) -> Result<(), CatalogError> {
        let unknown: Vec<&BuildId> = builds.iter().copied().filter(|build| !self.entries.contains_key(build)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let share = unknown.len().div_ceil(threads).max(LEAST_FOR_A_READER);
        let store = &self.store;
        let read_share = |builds: &[&BuildId]| -> Result<Vec<(BuildId, Arc<CatalogEntry>)>, CatalogError> {
            let found =
                builds.iter().map(|build| Ok(read(store, build)?.map(|entry| ((*build).clone(), Arc::new(entry)))));
            found.filter_map(Result::transpose).collect()
        };
        let read_share = &read_share;
        let found = std::thread::scope(|scope| {
            let readers: Vec<_> = unknown.chunks(share).map(|builds| scope.spawn(move || read_share(builds))).collect();
            let joined = readers.into_iter().map(|reader| match reader.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        self.entries.extend(found.into_iter().flatten());
        Ok(())
    }
}

fn read(store: &Store, build: &BuildId) -> Result<Option<CatalogEntry>, CatalogError> {
    let Some(record) = store.record(build)? else { return Ok(None) };
    let offers = if record.files.contains_key(&BuildFile::MetaTarXz) {
        let metadata = store
            .reader(build, BuildFile::MetaTarXz.name())
            .and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(MetadataError::Io)
            .and_then(lxc_metadata)
            .map_err(|source| CatalogError::Metadata { build: Box::new(build.clone()), source })?;
        Offers::of(&record.image, &metadata)
    } else {
        Offers::default()
    };
    Ok(Some(CatalogEntry { record, offers }))
}

/// Builds are read by at most so many threads, each of which reads so many at least.
const MOST_READERS: usize = 8;
const LEAST_FOR_A_READER: usize = 16;

/// Reads the LXC metadata of a build.
pub fn lxc_metadata(file: impl Read + Send + 'static) -> Result<LxcMetadata, MetadataError> {
    let limits = MemberLimits { total_bytes: Limits::default().metadata_bytes, ..MemberLimits::default() };
    let tar = Decoder::new(file, &DecodeLimits::one_thread())?;
    Ok(LxcMetadata::from_members(read_members(tar, &limits)?)?)
}

/// Why the LXC metadata of a build cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The archive is damaged, or holds what metadata cannot.
    #[error(transparent)]
    Archive(#[from] MembersError),
    /// The file cannot be read.
    #[error("`meta.tar.xz` cannot be read")]
    Io(#[from] io::Error),
    /// Its members are not usable.
    #[error(transparent)]
    Members(#[from] LxcMetadataError),
}

/// What can be wrong with a build of the store.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The LXC metadata.
    #[error("the LXC metadata of {build} in the store is damaged")]
    Metadata {
        /// The build.
        build: Box<BuildId>,
        /// What is wrong with it.
        #[source]
        source: MetadataError,
    },
}
