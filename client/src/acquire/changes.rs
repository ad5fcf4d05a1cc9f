//! The archive of a build, out of that of an earlier build and what has changed since.
//!
//! Where the earlier build comes from does not matter, nor what is done with it: the result is what the signed documents
//! say, or it is dropped and the whole file is downloaded. [`formats::delta`] describes the format.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};

use archive::hashing::HashingWriter;
use archive::xz::Decoder;
use formats::delta::TAR_MAX_BYTES;
use formats::digest::FileDigest;
use transfer::TransferError;

use super::bounded::Bounded;
use super::patch::patched;
use super::rootfs::decode_limits;
use super::{AcquireError, Source};
use crate::cache::{CacheError, CachedBuild, Draft, Entry};
use crate::catalog::{Build, RemoteDelta};
use crate::checkpoint::checkpoint;
use crate::files;
use crate::narrator::Step;

impl Source<'_> {
    /// The archive of a build, when it is in the cache: a build may differ from another in its metadata alone.
    pub(super) fn archive_without_download(&self, build: &Build, entry: &Entry) -> Result<Option<File>, AcquireError> {
        let Some(expected) = build.tar else { return Ok(None) };
        if self.cache.has(&expected)? {
            return Ok(self.cache.blob(&expected)?);
        }
        // It may be in there compressed by other means.
        match entry.all().into_iter().find(|cached| cached.tar == Some(expected) && cached.build != build.name) {
            Some(cached) => self.decoded(&cached, entry),
            None => Ok(None),
        }
    }

    /// The archive of a build, made by the smallest delta that starts from a build in the cache. Nothing when there is
    /// none; one that does not work is told, and is none.
    pub(super) fn archive_of_changes(&self, build: &Build, entry: &Entry) -> Result<Option<File>, AcquireError> {
        let Some(expected) = build.tar else { return Ok(None) };
        for delta in &build.deltas {
            let Some(base) = entry.build(&delta.base) else { continue };
            let size = base.tar.map_or(TAR_MAX_BYTES, |tar| tar.size_bytes);
            if size.max(expected.size_bytes) > TAR_MAX_BYTES || !is_room_for(size + expected.size_bytes) {
                tracing::info!("too little memory for the delta from `{}`", delta.base.as_str());
                continue;
            }
            let Some(base) = self.decoded(&base, entry)? else { continue };
            match self.apply(build, delta, base, expected) {
                Ok(tar) => return Ok(Some(tar)),
                Err(error) => self.narrator.printer().warn(format_args!(
                    "the delta of `{}` from `{}` is of no use, the whole rootfs is downloaded: {error}",
                    build.name.as_str(),
                    delta.base.as_str()
                )),
            }
        }
        Ok(None)
    }

    /// The archive of a build in the cache, decoded now if nobody has yet.
    fn decoded(&self, build: &CachedBuild, entry: &Entry) -> Result<Option<File>, AcquireError> {
        if let Some(tar) = build.tar
            && let Some(file) = self.cache.blob(&tar)?
        {
            return Ok(Some(file));
        }
        let Some(xz) = self.cache.blob(&build.rootfs)? else { return Ok(None) };
        let made = self.draft(build).and_then(|draft| {
            let said_bytes = build.tar.map(|tar| tar.size_bytes);
            let mut tar = Bounded::new(Decoder::new(xz, &decode_limits())?, said_bytes);
            write(draft, |to| io::copy(&mut tar, to).map(drop))
        });
        let (draft, found) = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!("the build `{}` in the cache cannot be decoded: {error}", build.build.as_str());
                return Ok(None);
            }
        };
        if build.tar.is_some_and(|tar| tar != found) {
            tracing::warn!("the build `{}` in the cache holds another archive than it should", build.build.as_str());
            return Ok(None);
        }
        checkpoint("delta:base");
        self.cache.place(draft, &found)?;
        entry.store(&CachedBuild { tar: Some(found), ..build.clone() })?;
        Ok(Some(self.cache.new_blob(&found)?))
    }

    fn apply(
        &self,
        build: &Build,
        delta: &RemoteDelta,
        mut base: File,
        expected: FileDigest,
    ) -> Result<File, ChangesError> {
        let reporter = self.narrator.download(Step::Changes);
        let identity = delta.digest.sha256.to_string();
        let partial = self.cache.partial(self.repository.origin(), &identity);
        let done = partial.with_extension("delta");
        self.repository.file(&delta.path, delta.digest, &partial, &done, &reporter)?;
        checkpoint("delta:downloaded");
        let changes = File::open(&done)?;
        // Open is enough; whatever happens now, it is not needed again.
        files::remove_if_there(&done)?;

        let mut prefix = Vec::new();
        base.read_to_end(&mut prefix)?;
        let draft = self.cache.draft(self.repository.origin(), &format!("{identity}.tar"))?;
        let mut made = patched(BufReader::new(changes), &prefix, expected.size_bytes)?;
        let (draft, found) = write(draft, |to| io::copy(&mut made, to).map(drop))?;
        if found != expected {
            return Err(ChangesError::Wrong { build: build.name.as_str().to_owned(), expected, found });
        }
        checkpoint("delta:made");
        self.cache.place(draft, &found)?;
        checkpoint("delta:placed");
        Ok(self.cache.new_blob(&found)?)
    }

    fn draft(&self, build: &CachedBuild) -> io::Result<Draft> {
        let identity = format!("{}.base.tar", build.image.product_name().replace(':', "."));
        self.cache.draft(self.repository.origin(), &identity)
    }
}

/// Fills a file of the cache, and takes its digest.
fn write(
    draft: Draft,
    fill: impl FnOnce(&mut HashingWriter<BufWriter<File>>) -> io::Result<()>,
) -> io::Result<(Draft, FileDigest)> {
    let mut to = HashingWriter::new(BufWriter::with_capacity(BUFFER_BYTES, draft.file()?));
    fill(&mut to)?;
    let (found, mut rest) = to.finish();
    rest.flush()?;
    Ok((draft, found))
}

/// Whether this much memory can be had without taking it from anybody: the old archive is held in memory while the new
/// one is made, and as much of that.
fn is_room_for(bytes: u64) -> bool {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return true };
    available(&text).is_none_or(|available| bytes < available)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Why a delta was of no use.
#[derive(Debug, thiserror::Error)]
enum ChangesError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "it makes an archive of {} bytes with sha256 {}, and build `{build}` has one of {} bytes with sha256 {}",
        found.size_bytes, found.sha256, expected.size_bytes, expected.sha256
    )]
    Wrong { build: String, expected: FileDigest, found: FileDigest },
}

const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_that_can_be_had_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 10 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 10 kB\n"), None);
        assert!(is_room_for(1) && !is_room_for(u64::MAX));
    }
}
