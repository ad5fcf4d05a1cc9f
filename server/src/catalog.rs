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
        let Some(record) = self.store.record(build)? else { return Ok(None) };
        let offers = if record.files.contains_key(&BuildFile::MetaTarXz) {
            let metadata = self
                .store
                .reader(build, BuildFile::MetaTarXz.name())
                .and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()))
                .map_err(MetadataError::Io)
                .and_then(lxc_metadata)
                .map_err(|source| CatalogError::Metadata { build: Box::new(build.clone()), source })?;
            Offers::of(&record.image, &metadata)
        } else {
            Offers::default()
        };
        let entry = Arc::new(CatalogEntry { record, offers });
        self.entries.insert(build.clone(), Arc::clone(&entry));
        Ok(Some(entry))
    }
}

/// Reads the LXC metadata of a build.
pub fn lxc_metadata(file: impl Read + Send + 'static) -> Result<LxcMetadata, MetadataError> {
    let limits = MemberLimits { total_bytes: Limits::default().metadata_bytes, ..MemberLimits::default() };
    // It is small: starting a thread takes longer than reading it.
    let tar = Decoder::new(file, &DecodeLimits { threads: 1, ..DecodeLimits::default() })?;
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
