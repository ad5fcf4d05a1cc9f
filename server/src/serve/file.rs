//! Files of builds.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;
use bytes::Bytes;
use formats::digest::{FileDigest, Sha256};
use formats::record::BuildFile;

use super::conditional::Entity;
use super::document;
use super::route::StoreFile;
use crate::data::DataDir;
use crate::delta::{DeltaId, DeltaList};
use crate::limits::Limits;
use crate::store::{self, BuildId, Object, Store};

type Digests = Arc<BTreeMap<BuildFile, FileDigest>>;

/// The files of the store, opened when asked for. What records say about them is kept, because builds never change.
#[derive(Debug)]
pub(super) struct Files {
    data: DataDir,
    store: Store,
    limits: Limits,
    records: Mutex<HashMap<BuildId, Digests>>,
    deltas: Mutex<DeltaList>,
}

/// A file that was opened.
pub(super) struct Opened {
    pub(super) entity: Entity,
    pub(super) content: Content,
}

/// Where its bytes are.
pub(super) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In an open file.
    File(Arc<std::fs::File>),
    /// In an object store.
    Object(Object),
}

impl Files {
    pub(super) fn new(data: DataDir, limits: Limits) -> Self {
        let store = Store::new(&data);
        Self { data, store, limits, records: Mutex::default(), deltas: Mutex::default() }
    }

    /// The store itself.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Opens a file; `None` when there is none. It blocks.
    pub(super) fn open(&self, build: &BuildId, file: &StoreFile) -> io::Result<Option<Opened>> {
        let Some(opened) = self.store.open(build, &file.name())? else { return Ok(None) };
        let (size_bytes, modified) = (opened.size_bytes(), opened.modified());
        let entity = |etag: HeaderValue| Entity { size_bytes, etag, modified: modified.into() };
        match file {
            StoreFile::Recorded(_) | StoreFile::Delta(..) => {
                let Some(digest) = self.digest(build, file)? else { return Ok(None) };
                if digest.size_bytes != size_bytes {
                    let reason = format!("expected {} bytes, found {size_bytes} bytes", digest.size_bytes);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                let entity = entity(document::etag(&digest.sha256));
                let content = match opened {
                    store::Opened::File { file, .. } => Content::File(Arc::new(file)),
                    store::Opened::Object(object) => Content::Object(object),
                };
                Ok(Some(Opened { entity, content }))
            }
            StoreFile::Small(_) => {
                let mut bytes = Vec::new();
                opened.into_reader().take(self.limits.small_file_bytes).read_to_end(&mut bytes)?;
                if bytes.len() as u64 != size_bytes {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any such file"));
                }
                let entity = entity(document::etag(&Sha256::of(&bytes)));
                Ok(Some(Opened { entity, content: Content::Bytes(bytes.into()) }))
            }
        }
    }

    /// What is known of a file, if anything is: others are not served.
    fn digest(&self, build: &BuildId, file: &StoreFile) -> io::Result<Option<FileDigest>> {
        match file {
            StoreFile::Recorded(file) => self.recorded(build, *file),
            StoreFile::Delta(kind, base) => {
                let mut list = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
                let deltas = list.current(&self.data).map_err(io::Error::other)?;
                Ok(deltas.get(&DeltaId { build: build.clone(), kind: *kind, base: base.clone() }))
            }
            StoreFile::Small(_) => Ok(None),
        }
    }

    fn recorded(&self, build: &BuildId, file: BuildFile) -> io::Result<Option<FileDigest>> {
        let known = self.records().get(build).cloned();
        let digests = if let Some(digests) = known {
            digests
        } else {
            let Some(record) = self.store.record(build).map_err(io::Error::other)? else { return Ok(None) };
            let digests: Digests = Arc::new(record.files);
            self.records().insert(build.clone(), Arc::clone(&digests));
            digests
        };
        Ok(digests.get(&file).copied())
    }

    fn records(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, Digests>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
