//! What the downloaders ask of the web, and of files of this machine by `file://`.
//!
//! With a cache each answer is kept there, beside the archives, for builds that may not ask (`source::store`):
//!
//! ```text
//! <cache>/downloads/v1/
//! ├── 77ab….page    a document, by the digest of its address
//! └── 77ab….none    or that there is none
//! ```

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use formats::digest::{FileDigest, Sha256};
use formats::links;
use tokio::runtime::Runtime;
use transfer::{Fetcher, FetcherOptions, Reporter, TransferError};

use super::error::SourceError;
use crate::limits;
use crate::sandbox::Surroundings;

/// Connections, and until when they may last.
pub(super) struct Web {
    fetcher: Fetcher,
    runtime: Runtime,
    deadline: Option<Instant>,
    /// Where answers are kept.
    answers: Option<PathBuf>,
    /// Only those are given.
    offline: bool,
}

impl Web {
    /// Nothing is sent yet. Answers are kept in the directory `answers`, if there is one.
    pub(super) fn new(around: Surroundings<'_>, answers: Option<PathBuf>) -> Result<Self, SourceError> {
        let user_agent = concat!("rootcellar-builder/", env!("CARGO_PKG_VERSION")).to_owned();
        let options = FetcherOptions { user_agent, ..FetcherOptions::default() };
        let fetcher = Fetcher::new(options).map_err(|error| SourceError::Setup(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { fetcher, runtime, deadline: around.deadline, answers, offline: !around.network })
    }

    /// The names that the page about the directory `url` links to.
    pub(super) fn names(&self, url: &str) -> Result<Vec<String>, SourceError> {
        // With the slash no server has to redirect.
        let page = self.document(&format!("{url}/"))?;
        Ok(links::names(&String::from_utf8_lossy(&page)).into_iter().map(str::to_owned).collect())
    }

    /// A small document.
    pub(super) fn document(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        if let Some(path) = local(url) {
            let mut content = Vec::new();
            fs_err::File::open(path)?.take(limits::SOURCE_DOCUMENT_BYTES).read_to_end(&mut content)?;
            return Ok(content);
        }
        self.answer(url, || self.until_deadline(self.fetcher.document(url, limits::SOURCE_DOCUMENT_BYTES)))
    }

    /// What `ask` says, or what it said when it was last asked the same.
    fn answer(
        &self,
        question: &str,
        ask: impl FnOnce() -> Result<Vec<u8>, SourceError>,
    ) -> Result<Vec<u8>, SourceError> {
        let name = Sha256::of(question.as_bytes());
        let at = |ending| self.answers.as_ref().map(|directory| directory.join(format!("{name}.{ending}")));
        let (page, none) = (at("page"), at("none"));
        if self.offline {
            if none.is_some_and(|none| none.exists()) {
                return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
            }
            let kept = page.and_then(|page| std::fs::read(page).ok());
            return kept.ok_or_else(|| SourceError::Offline { url: question.to_owned() });
        }
        let answer = ask();
        let (Some(page), Some(none)) = (page, none) else { return answer };
        match &answer {
            Ok(content) => {
                fs_err::create_dir_all(page.parent().unwrap_or(&page))?;
                let mut partial = tempfile::NamedTempFile::new_in(page.parent().unwrap_or(&page))?;
                partial.write_all(content)?;
                partial.persist(page).map_err(|error| error.error)?;
                drop(std::fs::remove_file(none));
            }
            Err(SourceError::Transfer(error)) if matches!(**error, TransferError::NotFound { .. }) => {
                fs_err::create_dir_all(none.parent().unwrap_or(&none))?;
                fs_err::write(none, "")?;
                drop(std::fs::remove_file(page));
            }
            Err(_) => {}
        }
        answer
    }

    /// The first of several documents that is there.
    pub(super) fn first_of(&self, urls: &[String]) -> Result<Option<Vec<u8>>, SourceError> {
        for url in urls {
            match self.document(url) {
                Ok(document) => return Ok(Some(document)),
                Err(SourceError::Transfer(error)) if matches!(*error, TransferError::NotFound { .. }) => {}
                Err(SourceError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether there is a file.
    pub(super) fn exists(&self, url: &str) -> Result<bool, SourceError> {
        let looked = || self.until_deadline(self.fetcher.size(url)).map(|_| Vec::new());
        match self.answer(&format!("is there {url}"), looked) {
            Err(SourceError::Transfer(error)) if matches!(*error, TransferError::NotFound { .. }) => Ok(false),
            Err(SourceError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// How large a file is, if the server says so.
    pub(super) fn size(&self, url: &str) -> Result<Option<u64>, SourceError> {
        self.may_fetch(url)?;
        self.until_deadline(self.fetcher.size(url))
    }

    /// A file of known size and digest, resumed if it is there in part.
    pub(super) fn file(
        &self,
        url: &str,
        expected: FileDigest,
        partial: &Path,
        done: &Path,
        reporter: &dyn Reporter,
    ) -> Result<(), SourceError> {
        self.may_fetch(url)?;
        self.until_deadline(self.fetcher.file(url, expected, partial, done, reporter))
    }

    /// A file of which nothing is known beforehand.
    pub(super) fn unvouched_file(&self, url: &str, path: &Path, reporter: &dyn Reporter) -> Result<(), SourceError> {
        self.may_fetch(url)?;
        self.until_deadline(self.fetcher.unvouched_file(url, path, reporter)).map(drop)
    }

    fn may_fetch(&self, url: &str) -> Result<(), SourceError> {
        if self.offline { Err(SourceError::Offline { url: url.to_owned() }) } else { Ok(()) }
    }

    fn until_deadline<T>(&self, work: impl Future<Output = Result<T, TransferError>>) -> Result<T, SourceError> {
        let done = self.runtime.block_on(async {
            match self.deadline {
                Some(deadline) => {
                    tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| SourceError::TooLate)
                }
                None => Ok(work.await),
            }
        })?;
        Ok(done?)
    }
}

/// The path of a file of this machine.
pub(super) fn local(url: &str) -> Option<&Path> {
    url.strip_prefix("file://").map(Path::new)
}
