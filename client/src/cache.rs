//! The image cache.

mod entry;
mod listing;
mod prune;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use formats::digest::{FileDigest, Hasher};
use formats::image::ImageId;
use fs_err as fs;

use crate::caller::Caller;
use crate::files::unfinished::Unfinished;
use crate::files::{self, Lock, Owner};
use crate::remote::Origin;

pub use entry::{CachedBuild, CurrentBuild, Entry};
pub use listing::Kept;
pub use prune::{Check, Pruned};

/// The image cache.
///
/// ```text
/// <cache>/v1/
/// ├── lock                                     shared by whoever uses the cache, exclusive while it is pruned
/// ├── blobs/sha256/9f/9f2c…                    files by their digest, checked again before every use: a rootfs as it
/// │                                            was downloaded, the tar archive that was in it, the metadata
/// ├── partial/<origin>.<build file>            resumable, never trusted
/// └── images/<origin>/
///     ├── server                               its address, for people
///     └── <distribution>/<release>/<arch>/<variant>/
///         ├── lock                             held while the image is fetched: one download for everybody
///         ├── current.json                     the newest build known, and until when it need not be looked up again
///         └── builds/<build>.json              the digests of the files of one build
/// ```
///
/// A blob may be shared; what a build consists of is known per origin, so one server's word never counts for another.
/// Everything appears by a rename: a process killed at any moment leaves a cache that the next one can use.
///
/// What a later create needs is kept as an archive, and not as a tree. One digest vouches for all of it and is checked in a
/// fraction of the time that unpacking takes; there is no set-id file, device or foreign owner in the cache that
/// somebody could reach; whatever the image excludes in a mode is left out when it is unpacked; and deltas start from
/// it. It is not compressed: decoding is most of what a create costs.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    owner: Owner,
    _in_use: Lock,
}

impl Cache {
    /// Opens the cache in a directory, which is made if it is missing. While it is pruned that takes time, which
    /// `waiting` tells.
    pub fn open(directory: &Path, owner: Owner, waiting: impl FnOnce()) -> Result<Self, CacheError> {
        Self::locked(directory, owner, |path| Lock::shared(path, owner, waiting))
    }

    /// Opens the cache once nobody else uses it, and keeps others out. `waiting` is called while somebody does.
    pub fn open_alone(directory: &Path, owner: Owner, waiting: impl FnOnce()) -> Result<Self, CacheError> {
        Self::locked(directory, owner, |path| Lock::exclusive(path, owner, waiting))
    }

    fn locked(
        directory: &Path,
        owner: Owner,
        lock: impl FnOnce(&Path) -> io::Result<Lock>,
    ) -> Result<Self, CacheError> {
        let root = directory.join(VERSION);
        let failed = |source| CacheError::Storage { path: root.clone(), source };
        for part in [BLOBS, PARTIAL, IMAGES] {
            files::make_directories(&root.join(part), owner).map_err(failed)?;
        }
        let in_use = lock(&root.join("lock")).map_err(failed)?;
        Ok(Self { root, owner, _in_use: in_use })
    }

    /// What is kept of an image of an origin.
    pub fn entry(&self, origin: &Origin, image: &ImageId) -> Entry {
        let directory = self.root.join(IMAGES).join(origin.key());
        let server = (directory.join(SERVER), origin.url.to_string());
        Entry::at(directory.join(image.to_string()), self.owner).of_server(server)
    }

    /// The images of an origin that are cached.
    pub fn current(&self, origin: &Origin) -> Result<Vec<CurrentBuild>, CacheError> {
        Ok(self.entries_of(origin)?.iter().filter_map(Entry::current).collect())
    }

    /// What is kept of the images of an origin.
    pub fn entries_of(&self, origin: &Origin) -> Result<Vec<Entry>, CacheError> {
        entry::below(&self.root.join(IMAGES).join(origin.key()), self.owner)
    }

    /// Where a download of a file of an origin goes until it is complete.
    pub fn partial(&self, origin: &Origin, identity: &str) -> PathBuf {
        self.root.join(PARTIAL).join(format!("{}.{identity}", origin.key()))
    }

    /// Where a file belongs. Its directory exists.
    pub fn blob_path(&self, digest: &FileDigest) -> Result<PathBuf, CacheError> {
        let name = digest.sha256.to_string();
        let directory = self.root.join(BLOBS).join(&name[..2]);
        files::make_directories(&directory, self.owner)
            .map_err(|source| CacheError::Storage { path: directory.clone(), source })?;
        Ok(directory.join(name))
    }

    /// Opens a file of the cache after checking every byte of it. A file that is not what its name says is removed,
    /// and there is none.
    pub fn blob(&self, digest: &FileDigest) -> Result<Option<File>, CacheError> {
        let path = self.blob_path(digest)?;
        let failed = |source| CacheError::Storage { path: path.clone(), source };
        let mut file = match fs::File::open(&path) {
            Ok(file) => file.into_parts().0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if digest_of(&mut file).map_err(failed)? == *digest {
            return Ok(Some(file));
        }
        tracing::warn!("`{}` in the cache was damaged and is removed", path.display());
        files::remove_if_there(&path).map_err(failed)?;
        Ok(None)
    }

    /// Whether the cache has a file of this name, sound or not.
    pub(crate) fn has(&self, digest: &FileDigest) -> Result<bool, CacheError> {
        Ok(self.blob_path(digest)?.exists())
    }

    /// Opens a file that this process put there itself, a moment ago and verified.
    pub fn new_blob(&self, digest: &FileDigest) -> Result<File, CacheError> {
        let path = self.blob_path(digest)?;
        fs::File::open(&path).map(|file| file.into_parts().0).map_err(|source| CacheError::Storage { path, source })
    }

    /// An empty file that will become part of the cache. What an earlier process began under this identity is dropped:
    /// the caller holds the lock of the image.
    pub fn draft(&self, origin: &Origin, identity: &str) -> io::Result<Draft> {
        let path = self.partial(origin, identity);
        let (file, unfinished) = Unfinished::begin(|| Ok((File::create(&path)?, path.clone())))?;
        self.owner.give(&file)?;
        Ok(Draft { path, file, placed: false, _unfinished: unfinished })
    }

    /// Puts a finished file in its place. It is not forced to disk: what a power cut takes away is noticed at the next
    /// use, and made again.
    pub fn place(&self, mut draft: Draft, digest: &FileDigest) -> Result<(), CacheError> {
        let path = self.blob_path(digest)?;
        fs::rename(&draft.path, &path).map_err(|source| CacheError::Storage { path, source })?;
        draft.placed = true;
        Ok(())
    }

    /// Gives what is new in the cache to its owner.
    pub fn adopt(&self) -> Result<(), CacheError> {
        self.owner.adopt(&self.root).map_err(|source| CacheError::Storage { path: self.root.clone(), source })
    }
}

/// The images of an origin in a cache, each with its builds, the newest first; for who only shows names. Nothing is made
/// and nobody is waited for.
pub fn glance(directory: &Path, origin: &Origin) -> Vec<(CurrentBuild, Vec<CachedBuild>)> {
    let images = directory.join(VERSION).join(IMAGES).join(origin.key());
    let entries = entry::below(&images, Owner::SELF).unwrap_or_default();
    let of_entry = |entry: &Entry| {
        let mut builds = entry.all();
        builds.sort_by(|one, other| other.build.as_str().cmp(one.build.as_str()));
        Some((entry.current()?, builds))
    };
    entries.iter().filter_map(of_entry).collect()
}

/// A file that is being written for the cache. Dropped without being placed, it is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: File,
    placed: bool,
    _unfinished: Unfinished,
}

impl Draft {
    /// The file to write to.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = files::remove_if_there(&self.path);
        }
    }
}

/// Size and digest of a whole file, which is then at its beginning again.
fn digest_of(file: &mut File) -> io::Result<FileDigest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    file.rewind()?;
    Ok(hasher.finish())
}

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The cache directory cannot be read or written.
    #[error("cannot use the cache at `{}`", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl CacheError {
    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> String {
        let Self::Storage { path, source } = self;
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => caller.room(path),
            _ => caller.other_cache(),
        }
    }
}

pub(crate) const VERSION: &str = "v1";
const BLOBS: &str = "blobs/sha256";
const PARTIAL: &str = "partial";
const IMAGES: &str = "images";
const SERVER: &str = "server";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_checked_at_every_use_and_removed_when_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), Owner::SELF, || ()).unwrap();
        let digest = FileDigest::of(b"rootfs");
        assert!(cache.blob(&digest).unwrap().is_none());
        let path = cache.blob_path(&digest).unwrap();
        std::fs::write(&path, b"rootfs").unwrap();
        let mut content = String::new();
        cache.blob(&digest).unwrap().unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "rootfs");
        for damaged in ["rootfz", "rootfs and more", ""] {
            std::fs::write(&path, damaged).unwrap();
            assert!(cache.blob(&digest).unwrap().is_none(), "{damaged}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_cache_that_cannot_be_made_is_named_with_a_hint() {
        let error = Cache::open(Path::new("/proc/nowhere"), Owner::SELF, || ()).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
        assert!(error.hint(Caller::Command).contains("--cache-dir"));
    }
}
