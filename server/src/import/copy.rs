//! Copying a build directory of unknown origin, checking it on the way.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use formats::digest::{FileDigest, Hasher};
use formats::record::{BuildFile, BuildRecord};
use fs_err as fs;
use rustix::fs::{Mode, OFlags, open, openat};

use super::ImportError;
use crate::limits::Limits;
use crate::lint::pairs;
use crate::store::RECORD;

/// A build directory, held open so that every file comes from the same one.
pub(super) struct BuildDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

impl BuildDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let directory = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let unreadable =
            |source: rustix::io::Errno| ImportError::Unreadable { path: path.into(), source: source.into() };
        Ok(Self { path: path.to_path_buf(), directory: directory.map_err(unreadable)? })
    }

    /// The bytes of the build record.
    pub(super) fn read_record(&self) -> Result<Vec<u8>, ImportError> {
        let limit_bytes = Limits::default().record_bytes;
        let mut json = Vec::new();
        self.file(RECORD)?.take(limit_bytes + 1).read_to_end(&mut json)?;
        if json.len() as u64 > limit_bytes { Err(ImportError::RecordTooLarge { limit_bytes }) } else { Ok(json) }
    }

    /// Copies every file of the record, metadata first: the image fingerprints are computed while the large files pass.
    pub(super) fn copy(&self, record: &BuildRecord, target: &Path) -> Result<(), ImportError> {
        let is_rootfs = |file: &BuildFile| matches!(file, BuildFile::RootfsTarXz | BuildFile::RootfsSquashfs);
        let mut files: Vec<_> = record.files.iter().collect();
        files.sort_by_key(|(file, _)| is_rootfs(file));
        for (file, expected) in files {
            let mut combined = Vec::new();
            for (metadata, rootfs) in pairs(record).filter(|(_, rootfs)| rootfs == file) {
                let mut hasher = Hasher::default();
                io::copy(&mut fs::File::open(target.join(metadata.name()))?, &mut hasher)?;
                combined.push((metadata, rootfs, hasher));
            }
            self.copy_file(*file, *expected, &target.join(file.name()), &mut combined)?;
            for (metadata, rootfs, hasher) in combined {
                let expected = hasher.finish().sha256;
                if let Some(found) = record.fingerprint(metadata, rootfs).filter(|found| *found != expected) {
                    let (expected, found) = (expected.to_string(), found.to_string());
                    return Err(ImportError::WrongFingerprint { metadata, rootfs, expected, found });
                }
            }
        }
        Ok(())
    }

    fn copy_file(
        &self,
        file: BuildFile,
        expected: FileDigest,
        target: &Path,
        combined: &mut [(BuildFile, BuildFile, Hasher)],
    ) -> Result<(), ImportError> {
        // One byte more than expected is enough to see that a file is too long.
        let mut source = self.file(file.name())?.take(expected.size_bytes.saturating_add(1));
        let mut copy = fs::File::create(target)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            copy.write_all(bytes)?;
            hasher.update(bytes);
            for (_, _, hasher) in combined.iter_mut() {
                hasher.update(bytes);
            }
        }
        let found = hasher.finish();
        if found == expected {
            return Ok(());
        }
        let found = if found.size_bytes > expected.size_bytes { "a longer file".to_owned() } else { found.to_string() };
        Err(ImportError::Altered { file, expected: expected.to_string(), found })
    }

    fn file(&self, name: &str) -> Result<std::fs::File, ImportError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(rustix::io::Errno::LOOP) => return Err(ImportError::NotAFile { path }),
            Err(source) => return Err(ImportError::Unreadable { path, source: source.into() }),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(ImportError::NotAFile { path }) }
    }
}

const BUFFER_BYTES: usize = 1 << 20;
