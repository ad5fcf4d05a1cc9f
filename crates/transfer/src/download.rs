//! One file on its way.

use std::mem;
use std::path::Path;

use formats::digest::FileDigest;
use reqwest::{Response, StatusCode};

use crate::address::Address;
use crate::body::Body;
use crate::error::{Cause, TransferError};
use crate::fetcher::Fetcher;
use crate::partial::Partial;
use crate::patience::Patience;
use crate::reporter::Reporter;
use crate::response::{self, ContentRange};

/// The state of one download over all its requests.
///
/// A partial is continued by `Range` without `If-Range`: the digest is known beforehand and is the stronger
/// validator, while the `ETag` of one and the same file differs between the mirrors and nodes that serve it. If the
/// parts do not fit together, the digest tells, and the file is fetched once more from its beginning.
pub(crate) struct Download<'a> {
    fetcher: &'a Fetcher,
    address: &'a Address,
    expected: FileDigest,
    partial: Partial,
    reporter: &'a dyn Reporter,
    /// Whether the server is asked for ranges.
    ranges: bool,
    /// Whether the partial was put together from more than one answer.
    patched: bool,
    /// Whether a mismatch may still be blamed on the patches.
    second_chance: bool,
}

impl<'a> Download<'a> {
    pub(crate) fn new(
        fetcher: &'a Fetcher,
        address: &'a Address,
        expected: FileDigest,
        partial: Partial,
        reporter: &'a dyn Reporter,
    ) -> Self {
        let patched = partial.size_bytes() > 0;
        Self { fetcher, address, expected, partial, reporter, ranges: true, patched, second_chance: true }
    }

    /// Fetches, verifies, and puts the file at `done`.
    pub(crate) async fn run(mut self, done: &Path) -> Result<(), TransferError> {
        self.reporter.started(self.expected.size_bytes, self.partial.size_bytes());
        let mut patience = Patience::new(self.fetcher.limits());
        let mut furthest = self.partial.size_bytes();
        loop {
            if let Err(error) = self.receive().await {
                if let TransferError::TooLarge { .. } = error {
                    self.partial.remove().await?;
                    return Err(error);
                }
                self.partial.flush().await?;
                if self.partial.size_bytes() >= furthest + WORTH_ANOTHER_TRY {
                    furthest = self.partial.size_bytes();
                    patience.renew();
                }
                patience.after(error).await?;
                continue;
            }
            let found = self.partial.digest();
            if found == self.expected {
                break;
            }
            if !(self.patched && mem::take(&mut self.second_chance)) {
                self.partial.remove().await?;
                let (url, expected) = (self.address.shown(), self.expected.sha256);
                return Err(TransferError::WrongDigest { url, expected, found: found.sha256 });
            }
            tracing::warn!("the parts of `{}` do not fit together; starting over", self.address.shown());
            self.restart().await?;
        }
        self.partial.finish(done).await?;
        self.reporter.finished();
        Ok(())
    }

    /// Receives until the partial has its full size. Once it has, a connection that breaks or hangs does not matter.
    async fn receive(&mut self) -> Result<(), TransferError> {
        let total = self.expected.size_bytes;
        if self.partial.size_bytes() == total {
            return Ok(());
        }
        let response = self.open().await?;
        let mut body = Body::new(response, self.address, self.fetcher.limits());
        loop {
            let missing = total - self.partial.size_bytes();
            match body.chunk().await {
                Ok(Some(chunk)) if chunk.len() as u64 > missing => {
                    return Err(TransferError::TooLarge { url: self.address.shown(), what: "file", limit: total });
                }
                Ok(Some(chunk)) => {
                    self.partial.append(&chunk).await?;
                    self.reporter.advanced(chunk.len() as u64);
                }
                Ok(None) | Err(_) if missing == 0 => return Ok(()),
                Ok(None) => return Err(body.interrupted(Cause(format!("{missing} of {total} bytes are missing")))),
                Err(error) => return Err(error),
            }
        }
    }

    /// A response whose body continues the partial, which is emptied if the server cannot continue it.
    async fn open(&mut self) -> Result<Response, TransferError> {
        let from = if self.ranges { self.partial.size_bytes() } else { 0 };
        let response = self.fetcher.request_file(self.address, from).await?;
        if from == 0 || response.status() == StatusCode::OK {
            return self.open_whole(response).await;
        }
        let range = ContentRange::of(&response);
        self.check_size(range.total)?;
        if response.status() == StatusCode::PARTIAL_CONTENT && range.start == Some(from) {
            self.patched = true;
            return Ok(response);
        }
        // Another range than the one asked for, or 416 for a range that exists.
        self.ranges = false;
        let response = self.fetcher.request_file(self.address, 0).await?;
        self.open_whole(response).await
    }

    async fn open_whole(&mut self, response: Response) -> Result<Response, TransferError> {
        if response.status() != StatusCode::OK {
            return Err(response::unusable(self.address, &response, "status 200"));
        }
        self.check_size(response.content_length())?;
        if self.partial.size_bytes() > 0 {
            self.restart().await?;
        }
        Ok(response)
    }

    async fn restart(&mut self) -> Result<(), TransferError> {
        self.partial.restart().await?;
        self.patched = false;
        self.reporter.started(self.expected.size_bytes, 0);
        Ok(())
    }

    fn check_size(&self, announced: Option<u64>) -> Result<(), TransferError> {
        let expected = self.expected.size_bytes;
        match announced {
            Some(found) if found != expected => {
                Err(TransferError::WrongSize { url: self.address.shown(), expected, found })
            }
            _ => Ok(()),
        }
    }
}

/// Bytes by which a download must get further for its repetitions to be counted anew. It bounds how long a server
/// that cuts every connection can keep us.
const WORTH_ANOTHER_TRY: u64 = 1024 * 1024;
