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
use crate::files::Lock;
use crate::narrator::Step;
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
        let remote = match build.rootfs.digest {
            Some(digest) if self.cache.blob(&digest)?.is_none() => Ok((digest, self.narrator.download(Step::Rootfs))),
            // Nobody knows what to expect, or it is here: it is stored before it is read.
            _ => Err(self.file(build, &build.rootfs, BuildFile::RootfsTarXz)?),
        };
        let (metadata_digest, metadata) = self.file(build, &build.metadata, BuildFile::MetaTarXz)?;
        let metadata = read_metadata(&build.image, metadata)?;
        let cached = CachedBuild {
            image: build.image.clone(),
            build: build.name.clone(),
            fetched: self.now,
            rootfs: match &remote {
                Ok((digest, _)) | Err((digest, _)) => *digest,
            },
            metadata: metadata_digest,
            tar: build.tar,
        };
        let current = (!pinned).then(|| self.fresh(build, &metadata));
        let origin = self.repository.origin();
        let rootfs = match remote {
            Ok((digest, reporter)) => {
                let arriving = Arriving {
                    repository: self.repository,
                    path: build.rootfs.path.clone(),
                    digest,
                    partial: self.cache.partial(origin, &digest.sha256.to_string()),
                    done: self.cache.blob_path(&digest)?,
                    reporter,
                };
                let keeper = self.keeper(entry, cached.clone(), current, lock);
                Rootfs::remote(arriving, keeper, self.narrator)
            }
            Err((_, file)) => {
                entry.store(&cached)?;
                if let Some(current) = &current {
                    entry.set_current(current)?;
                }
                self.narrator.tell_about(Step::Ready, &cached.to_string());
                let keeper = self.keeper(entry, cached.clone(), current, lock);
                Rootfs::compressed(file, keeper, self.narrator)
            }
        };
        Ok(Acquired { rootfs, build: cached, metadata })
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

/// The LXC metadata in a tarball.
pub(super) fn read_metadata(image: &ImageId, tarball: File) -> Result<LxcMetadata, AcquireError> {
    let members = Decoder::new(tarball, &DecodeLimits::default())
        .map_err(|error| MembersError::from(UnpackError::Read(error)))
        .and_then(|tar| read_members(tar, &MemberLimits::default()))
        .map_err(|source| AcquireError::Members { image: image.clone(), source: Box::new(source) })?;
    LxcMetadata::from_members(members).map_err(|source| AcquireError::Metadata { image: image.clone(), source })
}
