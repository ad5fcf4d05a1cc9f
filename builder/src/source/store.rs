//! Archives that were downloaded.
//!
//! ```text
//! <cache>/downloads/v1/
//! ├── 4be1…         an archive, by the digest of what vouches for it
//! ├── 4be1….part    the same, on its way; continued by whoever wants it next
//! ├── 4be1….new     the same, not checked yet
//! └── 4be1….lock    held by the build that fetches it
//! ```
//!
//! An archive is checked again each time it is used: one that was altered is fetched again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::checksum::{Algorithm, Checksum};
use formats::digest::{FileDigest, Sha256};
use formats::time::Timestamp;
use terminal::{Printer, Progress};
use transfer::Reporter;

use super::artifact::Artifact;
use super::error::SourceError;
use super::trust::{Evidence, Trust};
use super::web::{Web, local};

/// Where archives are kept.
pub(super) struct Store {
    directory: PathBuf,
    /// For this build only.
    temporary: bool,
}

/// An archive that was vouched for, at its beginning.
pub(super) struct Found {
    pub(super) file: File,
    pub(super) sha256: Checksum,
}

impl Store {
    /// The store in `cache`, else one in `work` that is gone afterwards.
    pub(super) fn open(cache: Option<&Path>, work: &Path) -> Result<Self, SourceError> {
        let directory = cache.map_or_else(|| work.join("downloads"), directory);
        fs_err::create_dir_all(&directory)?;
        Ok(Self { directory, temporary: cache.is_none() })
    }

    /// Removes what is not kept.
    pub(super) fn close(self) -> Result<(), SourceError> {
        if self.temporary {
            fs_err::remove_dir_all(self.directory)?;
        }
        Ok(())
    }

    /// The archive, kept or fetched, and checked.
    pub(super) fn obtain(
        &self,
        artifact: &Artifact,
        evidence: &Evidence,
        trust: &Trust,
        web: &Web,
        now: Timestamp,
        printer: &Printer,
    ) -> Result<Found, SourceError> {
        let url = artifact.url.as_str();
        if let Some(path) = local(url) {
            let file = fs_err::File::open(path)?.into_file();
            let sha256 = evidence.check(url, &file, trust, now)?;
            return Ok(Found { file, sha256 });
        }
        let key = evidence.key();
        let at = |ending: &str| self.directory.join(format!("{}{ending}", key.as_deref().unwrap_or(UNVOUCHED)));
        let (done, new) = (at(""), at(".new"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(at(".lock"))?;
        lock.lock()?;
        if key.is_some()
            && let Ok(file) = File::open(&done)
        {
            match evidence.check(url, &file, trust, now) {
                Ok(sha256) => return Ok(Found { file, sha256 }),
                Err(error) => {
                    printer.warn(format_args!("{error}; what was kept of it is fetched again"));
                    fs_err::remove_file(&done)?;
                }
            }
        }
        let shown = Shown(Mutex::new(Some(Progress::new(printer, "Downloading the archive", None))));
        let sha256 = evidence.checksum.as_ref().filter(|checksum| checksum.algorithm() == Algorithm::Sha256);
        let sha256 = sha256.and_then(|checksum| checksum.digits().parse::<Sha256>().ok());
        let size = if sha256.is_some() { web.size(url)? } else { None };
        match sha256.zip(size) {
            Some((sha256, size_bytes)) => {
                web.file(url, FileDigest { size_bytes, sha256 }, &at(".part"), &new, &shown)?;
            }
            None => web.unvouched_file(url, &new, &shown)?,
        }
        let file = fs_err::File::open(&new)?.into_file();
        let checked = evidence.check(url, &file, trust, now);
        let sha256 = checked.inspect_err(|_| drop(std::fs::remove_file(&new)))?;
        fs_err::rename(&new, &done)?;
        Ok(Found { file, sha256 })
    }
}

/// Where archives are kept in a cache.
pub(super) fn directory(cache: &Path) -> PathBuf {
    cache.join("downloads/v1")
}

/// Shows one download.
struct Shown(Mutex<Option<Progress>>);

impl Shown {
    fn with(&self, act: impl FnOnce(&Progress)) {
        if let Ok(progress) = self.0.lock()
            && let Some(progress) = progress.as_ref()
        {
            act(progress);
        }
    }
}

impl Reporter for Shown {
    fn started(&self, total: u64, resumed_from: u64) {
        self.with(|progress| progress.begin(total, resumed_from));
    }

    fn advanced(&self, bytes: u64) {
        self.with(|progress| progress.advance(bytes));
    }

    fn finished(&self) {
        let progress = self.0.lock().ok().and_then(|mut progress| progress.take());
        if let Some(progress) = progress {
            progress.finish_measured();
        }
    }
}

const UNVOUCHED: &str = "unvouched";
