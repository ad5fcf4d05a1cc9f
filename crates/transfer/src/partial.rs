//! The part of a file that is already here.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use formats::digest::{FileDigest, Hasher};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};

use crate::error::{Cause, TransferError};

/// A file that grows at its end and is hashed as it grows. What is on disk is always a prefix of what was appended.
pub(crate) struct Partial {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Partial {
    /// Opens or creates the file and hashes what is there. Content that is longer than `total` bytes is dropped.
    /// Refuses when the rest has no room, before the file system is full.
    pub(crate) async fn open(path: &Path, total: u64) -> Result<Self, TransferError> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open_and_hash(&owned, total)).await;
        let (file, hasher) = opened
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| TransferError::of_storage("open", path, source))?;
        check_space(path, total - hasher.size_bytes())?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::from_std(file));
        Ok(Self { path: path.to_owned(), file, hasher })
    }

    /// How much is here.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.hasher.size_bytes()
    }

    /// Size and digest of what is here.
    pub(crate) fn digest(&self) -> FileDigest {
        self.hasher.clone().finish()
    }

    /// Takes in the next bytes.
    pub(crate) async fn append(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).await.map_err(|source| self.failed("write", source))
    }

    /// Hands everything taken in to the system, so that a kill loses nothing.
    pub(crate) async fn flush(&mut self) -> Result<(), TransferError> {
        self.file.flush().await.map_err(|source| self.failed("write", source))
    }

    /// Drops what is here.
    pub(crate) async fn restart(&mut self) -> Result<(), TransferError> {
        self.hasher = Hasher::default();
        let emptied = async {
            self.file.rewind().await?;
            self.file.get_ref().set_len(0).await
        };
        emptied.await.map_err(|source| self.failed("empty", source))
    }

    /// Removes the file.
    pub(crate) async fn remove(self) -> Result<(), TransferError> {
        tokio::fs::remove_file(&self.path).await.map_err(|source| self.failed("remove", source))
    }

    /// Makes the file permanent under its final name.
    pub(crate) async fn finish(mut self, done: &Path) -> Result<(), TransferError> {
        self.flush().await?;
        self.file.get_ref().sync_all().await.map_err(|source| self.failed("write", source))?;
        let (from, to) = (self.path.clone(), done.to_owned());
        let renamed = tokio::task::spawn_blocking(move || rename(&from, &to)).await;
        renamed
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| TransferError::of_storage("put the finished file at", done, source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> TransferError {
        TransferError::of_storage(action, &self.path, source)
    }
}

fn open_and_hash(path: &Path, total: u64) -> io::Result<(std::fs::File, Hasher)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut present = file.metadata()?.len();
    if present > total {
        file.set_len(0)?;
        present = 0;
    }
    let mut hasher = Hasher::default();
    io::copy(&mut (&file).take(present), &mut hasher)?;
    file.seek(SeekFrom::Start(hasher.size_bytes()))?;
    Ok((file, hasher))
}

fn check_space(path: &Path, needed: u64) -> Result<(), TransferError> {
    let space = rustix::fs::statvfs(path)
        .map_err(|errno| TransferError::of_storage("measure the space for", path, errno.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    // Some network file systems count no blocks at all.
    if space.f_blocks == 0 || free >= needed {
        return Ok(());
    }
    let source = Cause(format!("expected {needed} free bytes, found {free}"));
    Err(TransferError::NoSpace { path: path.to_owned(), source })
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => std::fs::File::open(".")?.sync_all(),
    }
}

/// Large enough that a write is worth its trip to another thread.
const BUFFER_BYTES: usize = 256 * 1024;
