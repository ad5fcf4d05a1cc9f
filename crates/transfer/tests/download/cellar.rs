//! Where the tests download to, and how patient they are.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use formats::digest::FileDigest;
use rootcellar_transfer::{Fetcher, FetcherOptions, Limits, Reporter, TransferError};
use tempfile::TempDir;

/// Limits that make failures quick.
pub(crate) fn quick() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        retries: 2,
        retry_delay: Duration::from_millis(1),
        retry_delay_max: Duration::from_millis(5),
        ..Limits::default()
    }
}

pub(crate) fn fetcher(limits: Limits) -> Fetcher {
    Fetcher::new(FetcherOptions { limits, ..FetcherOptions::default() }).unwrap()
}

/// `size` bytes that differ from place to place.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|place| u8::try_from((place * 31 + place / 251) % 256).unwrap()).collect()
}

/// A directory with a partial and a place for the finished file.
pub(crate) struct Cellar {
    directory: TempDir,
    pub(crate) log: Log,
}

impl Cellar {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), log: Log::default() }
    }

    /// A cellar whose partial holds `bytes` already.
    pub(crate) fn with_partial(bytes: &[u8]) -> Self {
        let cellar = Self::new();
        std::fs::write(cellar.partial(), bytes).unwrap();
        cellar
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.directory.path().join("rootfs.partial")
    }

    pub(crate) fn done(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    pub(crate) fn partial_bytes(&self) -> Option<Vec<u8>> {
        std::fs::read(self.partial()).ok()
    }

    pub(crate) fn done_bytes(&self) -> Option<Vec<u8>> {
        std::fs::read(self.done()).ok()
    }

    pub(crate) async fn fetch(&self, fetcher: &Fetcher, url: &str, expected: &[u8]) -> Result<(), TransferError> {
        fetcher.file(url, FileDigest::of(expected), &self.partial(), &self.done(), &self.log).await
    }
}

/// What a reporter is told.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Told>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Total and resumed from, of each start.
    pub(crate) starts: Vec<(u64, u64)>,
    /// Bytes since the last start.
    pub(crate) advanced: u64,
    pub(crate) finished: bool,
}

impl Log {
    pub(crate) fn told(&self) -> Told {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reporter for Log {
    fn started(&self, total: u64, resumed_from: u64) {
        self.note(|told| {
            told.starts.push((total, resumed_from));
            told.advanced = 0;
        });
    }

    fn advanced(&self, bytes: u64) {
        self.note(|told| told.advanced += bytes);
    }

    fn finished(&self) {
        self.note(|told| told.finished = true);
    }
}
