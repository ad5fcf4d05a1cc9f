//! A root file system that is read while it is downloaded.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use archive::unpack::UnpackError;
use formats::digest::{FileDigest, Hasher};

use super::AcquireError;
use super::rootfs::ReadError;
use crate::cache::CacheError;
use crate::checkpoint::checkpoint;
use crate::narrator::Download;
use crate::repository::{Repository, RepositoryError};

/// A download that has not begun.
///
/// Bytes are handed out before the whole file was verified. So what is made of them must stay hidden until
/// [`Arriving::read`] has returned: it fails unless every byte that was handed out belongs to the file whose digest is
/// known. It takes the digest of what it hands out by itself, so a file that changes on disk in between is noticed too.
#[derive(Debug)]
pub(super) struct Arriving<'a> {
    pub(super) repository: &'a Repository,
    pub(super) path: String,
    pub(super) digest: FileDigest,
    pub(super) partial: PathBuf,
    pub(super) done: PathBuf,
    pub(super) reporter: Download,
}

impl Arriving<'_> {
    /// Downloads the file to its place, and opens it.
    pub(super) fn store(&self) -> Result<File, AcquireError> {
        let Self { repository, path, digest, partial, done, reporter } = self;
        repository.file(path, *digest, partial, done, reporter).map_err(RepositoryError::from)?;
        checkpoint("fetch:rootfs");
        Ok(self.open_done()?)
    }

    /// The same, while `read` reads it. `stored` is called once the file is verified and in its place. What an earlier
    /// download left is completed first: only then is it known whether it is a part of this file.
    pub(super) fn read<T>(
        &self,
        stored: impl FnOnce() + Send,
        read: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>,
    ) -> Result<T, ReadError> {
        let partial = self.open_partial().map_err(AcquireError::from)?;
        if partial.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let mut file = self.store()?;
            stored();
            return Ok(read(&mut file)?);
        }
        let tide = Tide::default();
        let (size_bytes, hasher) = (self.digest.size_bytes, Hasher::default());
        let mut follower = Follower { file: partial, tide: &tide, size_bytes, hasher };
        let (downloaded, result) = thread::scope(|scope| {
            let download = scope.spawn(|| {
                let _ending = Ending(&tide);
                self.store()?;
                tide.turn(Phase::Complete);
                stored();
                Ok::<_, AcquireError>(())
            });
            let result = read(&mut follower).and_then(|value| {
                io::copy(&mut follower, &mut io::sink()).map_err(UnpackError::Read)?;
                Ok(value)
            });
            (download.join(), result)
        });
        // What the server did explains what became of its bytes, so it is said first.
        match downloaded {
            Ok(outcome) => outcome?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let handed_out = follower.hasher.finish();
        match result {
            Ok(value) if handed_out == self.digest => Ok(value),
            Err(error) if self.begins_with(handed_out).map_err(AcquireError::from)? => Err(error.into()),
            _ => Err(UnpackError::Read(io::Error::other("the download had to start over; try again")).into()),
        }
    }

    fn open_partial(&self) -> Result<File, CacheError> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&self.partial);
        file.map_err(|source| CacheError::Storage { path: self.partial.clone(), source })
    }

    fn open_done(&self) -> Result<File, CacheError> {
        File::open(&self.done).map_err(|source| CacheError::Storage { path: self.done.clone(), source })
    }

    /// Whether the verified file begins with the bytes that were handed out.
    fn begins_with(&self, handed_out: FileDigest) -> Result<bool, CacheError> {
        let mut hasher = Hasher::default();
        io::copy(&mut self.open_done()?.take(handed_out.size_bytes), &mut hasher)
            .map_err(|source| CacheError::Storage { path: self.done.clone(), source })?;
        Ok(hasher.finish() == handed_out)
    }
}

/// How far the download is.
#[derive(Debug, Default)]
struct Tide {
    phase: Mutex<Phase>,
    turned: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Arriving,
    Complete,
    Broken,
}

impl Tide {
    fn turn(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.turned.notify_all();
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Arriving {
            drop(self.turned.wait_timeout(phase, PAUSE));
        }
    }
}

/// Lets nobody wait for a download that ended, however it did.
struct Ending<'a>(&'a Tide);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.0.phase() == Phase::Arriving {
            self.0.turn(Phase::Broken);
        }
    }
}

/// Reads a file that grows to its full size. What comes after its last byte, such as waiting for the disk, is not waited
/// for.
struct Follower<'a> {
    file: File,
    tide: &'a Tide,
    size_bytes: u64,
    hasher: Hasher,
}

impl Read for Follower<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Looked at before the file is: what comes after the end of the file came before the end of the download.
            let phase = self.tide.phase();
            if self.hasher.size_bytes() == self.size_bytes {
                return Ok(0);
            }
            let count = self.file.read_at(buffer, self.hasher.size_bytes())?;
            match phase {
                _ if count > 0 || buffer.is_empty() => {
                    self.hasher.update(buffer.get(..count).unwrap_or(buffer));
                    return Ok(count);
                }
                Phase::Arriving => self.tide.wait(),
                Phase::Complete => return Ok(0),
                Phase::Broken => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download failed")),
            }
        }
    }
}

/// How long to wait for more. Downloads are written in pieces of a quarter of a megabyte.
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn follow(act: impl FnOnce(&mut File, &Tide) + Send) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        let tide = Tide::default();
        let hasher = Hasher::default();
        let mut follower = Follower { file: file.try_clone().unwrap(), tide: &tide, size_bytes: 13, hasher };
        let mut content = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| act(&mut file, &tide));
            follower.read_to_end(&mut content)
        })?;
        assert_eq!(follower.hasher.finish(), FileDigest::of(&content));
        Ok(content)
    }

    #[test]
    fn a_growing_file_is_read_to_the_end_of_its_download() {
        let content = follow(|file, tide| {
            for piece in [b"one ".as_slice(), b"two ", b"three"] {
                file.write_all(piece).unwrap();
                thread::sleep(Duration::from_millis(15));
            }
            tide.turn(Phase::Complete);
        });
        assert_eq!(content.unwrap(), b"one two three");
    }

    #[test]
    fn after_the_last_byte_nothing_is_waited_for() {
        let content = follow(|file, tide| {
            file.write_all(b"one two three").unwrap();
            // The end of the download comes when everything has been read.
            thread::sleep(Duration::from_millis(15));
            tide.turn(Phase::Broken);
        });
        assert_eq!(content.unwrap(), b"one two three");
    }

    #[test]
    fn a_download_that_ends_without_a_verdict_is_no_end_of_file() {
        let outcome = follow(|file, tide| {
            let _ending = Ending(tide);
            file.write_all(b"half").unwrap();
        });
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
