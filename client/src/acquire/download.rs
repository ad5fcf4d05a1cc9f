//! The two files of a build on their way into the cache.

use std::fs::File;

use archive::members::{MemberLimits, MembersError, read_members};
use archive::unpack::UnpackError;
use archive::xz::{DecodeLimits, Decoder};
use formats::digest::FileDigest;
use formats::image::ImageId;
use formats::metadata::LxcMetadata;
use formats::record::BuildFile;

use super::arriving::Arriving;
use super::rootfs::Keeper;
use super::{AcquireError, Acquired, Rootfs, Source};
use crate::cache::{CachedBuild, CurrentBuild, Entry};
use crate::catalog::{Build, RemoteFile};
use crate::checkpoint::checkpoint;
use crate::files::Lock;
use crate::narrator::{Download, Step};
use crate::repository::RepositoryError;

impl Source<'_> {
    /// Downloads the metadata of a build, and the rootfs later, when it is read: the two that a container needs are
    /// refused together, and the cache holds no build that cannot become one.
    pub(super) fn fetch(
        &self,
        build: &Build,
        pinned: bool,
        entry: Entry,
        lock: Lock,
    ) -> Result<Acquired<'_>, AcquireError> {
        let had = self.have(build, &entry)?;
        let (metadata_digest, metadata) = self.file(build, &build.metadata, BuildFile::MetaTarXz)?;
        checkpoint("fetch:metadata");
        let metadata = read_metadata(&build.image, metadata)?;
        let cached = CachedBuild {
            image: build.image.clone(),
            aliases: build.aliases.clone(),
            build: build.name.clone(),
            fetched: self.now,
            rootfs: match &had {
                Had::Nothing(digest, _) | Had::Compressed(digest, _) | Had::Decoded(digest, _) => *digest,
            },
            metadata: metadata_digest,
            tar: build.tar,
        };
        let current = (!pinned).then(|| self.fresh(build, &metadata));
        let origin = self.repository.origin();
        let rootfs = match had {
            Had::Nothing(digest, reporter) => {
                let arriving = Arriving {
                    repository: self.repository,
                    path: build.rootfs.path.clone(),
                    digest,
                    partial: self.cache.partial(origin, &digest.sha256.to_string()),
                    done: self.cache.blob_path(&digest)?,
                    reporter,
                };
                Rootfs::remote(arriving, self.keeper(entry, cached.clone(), current, lock), self.narrator)
            }
            Had::Compressed(_, file) => {
                self.store(&entry, &cached, current.as_ref())?;
                Rootfs::compressed(file, self.keeper(entry, cached.clone(), current, lock), self.narrator)
            }
            Had::Decoded(_, tar) => {
                self.store(&entry, &cached, current.as_ref())?;
                Rootfs::decoded(tar, self.narrator)
            }
        };
        Ok(Acquired { rootfs, build: cached, metadata })
    }

    /// Stores a build whose files are in the cache.
    fn store(&self, entry: &Entry, build: &CachedBuild, current: Option<&CurrentBuild>) -> Result<(), AcquireError> {
        entry.store(build)?;
        checkpoint("fetch:stored");
        if let Some(current) = current {
            entry.set_current(current)?;
        }
        self.narrator.tell_about(Step::Ready, &build.to_string());
        Ok(())
    }

    /// What is had of a build's root file system before all of it is downloaded.
    fn have(&self, build: &Build, entry: &Entry) -> Result<Had, AcquireError> {
        let Some(digest) = build.rootfs.digest else {
            // Nobody knows what to expect: it is stored before it is read.
            let (digest, file) = self.file(build, &build.rootfs, BuildFile::RootfsTarXz)?;
            return Ok(Had::Compressed(digest, file));
        };
        if let Some(tar) = self.archive_without_download(build, entry)? {
            return Ok(Had::Decoded(digest, tar));
        }
        if let Some(file) = self.cache.blob(&digest)? {
            return Ok(Had::Compressed(digest, file));
        }
        if let Some(tar) = self.archive_of_changes(build, entry)? {
            return Ok(Had::Decoded(digest, tar));
        }
        if let Some(file) = self.in_stock_cache(build, &digest)? {
            return Ok(Had::Compressed(digest, file));
        }
        Ok(Had::Nothing(digest, self.narrator.download(Step::Rootfs)))
    }

    pub(super) fn keeper(
        &self,
        entry: Entry,
        build: CachedBuild,
        current: Option<CurrentBuild>,
        lock: Lock,
    ) -> Keeper<'_> {
        Keeper { cache: self.cache, origin: self.repository.origin(), entry, build, current, _lock: lock }
    }

    fn file(&self, build: &Build, remote: &RemoteFile, file: BuildFile) -> Result<(FileDigest, File), AcquireError> {
        let step = if file == BuildFile::MetaTarXz { Step::Metadata } else { Step::Rootfs };
        if let Some(digest) = remote.digest
            && let Some(there) = self.cache.blob(&digest)?
        {
            return Ok((digest, there));
        }
        let reporter = self.narrator.download(step);
        let origin = self.repository.origin();
        let Some(digest) = remote.digest else {
            // Nobody knows what to expect, so nothing can be resumed either.
            let identity = format!("{}.{file}", build.image.product_name().replace(':', "."));
            let partial = self.cache.partial(origin, &identity);
            let found =
                self.repository.unvouched_file(&remote.path, &partial, &reporter).map_err(RepositoryError::from)?;
            let path = self.cache.blob_path(&found)?;
            fs_err::rename(&partial, &path).map_err(|source| crate::cache::CacheError::Storage { path, source })?;
            return Ok((found, self.cache.new_blob(&found)?));
        };
        let partial = self.cache.partial(origin, &digest.sha256.to_string());
        let done = self.cache.blob_path(&digest)?;
        self.repository.file(&remote.path, digest, &partial, &done, &reporter).map_err(RepositoryError::from)?;
        Ok((digest, self.cache.new_blob(&digest)?))
    }
}

/// What is had of a build's root file system, which is the one with this digest.
enum Had {
    /// It has to be downloaded.
    Nothing(FileDigest, Download),
    /// As the server has it.
    Compressed(FileDigest, File),
    /// The tar archive that is in it.
    Decoded(FileDigest, File),
}

/// The LXC metadata in a tarball.
pub(super) fn read_metadata(image: &ImageId, tarball: File) -> Result<LxcMetadata, AcquireError> {
    let members = Decoder::new(tarball, &DecodeLimits::one_thread())
        .map_err(|error| MembersError::from(UnpackError::Read(error)))
        .and_then(|tar| read_members(tar, &MemberLimits::default()))
        .map_err(|source| AcquireError::Members { image: image.clone(), source: Box::new(source) })?;
    LxcMetadata::from_members(members).map_err(|source| AcquireError::Metadata { image: image.clone(), source })
}
