//! What the downloaders ask of the web, and of files of this machine by `file://`.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use formats::digest::FileDigest;
use formats::links;
use tokio::runtime::Runtime;
use transfer::{Fetcher, FetcherOptions, Reporter, TransferError};

use super::error::SourceError;
use crate::limits;

/// Connections, and until when they may last.
pub(super) struct Web {
    fetcher: Fetcher,
    runtime: Runtime,
    deadline: Option<Instant>,
}

impl Web {
    /// Nothing is sent yet.
    pub(super) fn new(deadline: Option<Instant>) -> Result<Self, SourceError> {
        let user_agent = concat!("rootcellar-builder/", env!("CARGO_PKG_VERSION")).to_owned();
        let options = FetcherOptions { user_agent, ..FetcherOptions::default() };
        let fetcher = Fetcher::new(options).map_err(|error| SourceError::Setup(Box::new(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { fetcher, runtime, deadline })
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
        self.until_deadline(self.fetcher.document(url, limits::SOURCE_DOCUMENT_BYTES))
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
        match self.size(url) {
            Err(SourceError::Transfer(error)) if matches!(*error, TransferError::NotFound { .. }) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// How large a file is, if the server says so.
    pub(super) fn size(&self, url: &str) -> Result<Option<u64>, SourceError> {
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
        self.until_deadline(self.fetcher.file(url, expected, partial, done, reporter))
    }

    /// A file of which nothing is known beforehand.
    pub(super) fn unvouched_file(&self, url: &str, path: &Path, reporter: &dyn Reporter) -> Result<(), SourceError> {
        self.until_deadline(self.fetcher.unvouched_file(url, path, reporter)).map(drop)
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
