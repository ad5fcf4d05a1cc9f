//! Files that nothing vouches for.

use std::path::Path;

use formats::digest::FileDigest;
use reqwest::StatusCode;

use crate::address::Address;
use crate::body::Body;
use crate::error::TransferError;
use crate::fetcher::Fetcher;
use crate::partial::Partial;
use crate::patience::Patience;
use crate::reporter::Reporter;
use crate::response;

impl Fetcher {
    /// Downloads a file whose size and digest nobody announced to `path`, over what is there, and returns what it
    /// turned out to be. Only TLS speaks for its content, so this is for servers that a user chose to trust without
    /// signatures. Nothing is resumed: two parts could belong to two files.
    pub async fn unvouched_file(
        &self,
        url: &str,
        path: &Path,
        reporter: &dyn Reporter,
    ) -> Result<FileDigest, TransferError> {
        let address = Address::parse(url)?;
        let mut patience = Patience::new(self.limits());
        loop {
            match self.read_unvouched(&address, path, reporter).await {
                Ok(digest) => {
                    reporter.finished();
                    return Ok(digest);
                }
                Err(error) => patience.after(error).await?,
            }
        }
    }

    async fn read_unvouched(
        &self,
        address: &Address,
        path: &Path,
        reporter: &dyn Reporter,
    ) -> Result<FileDigest, TransferError> {
        let limit = self.limits().file_bytes;
        let too_large = || TransferError::TooLarge { url: address.shown(), what: "file", limit };
        let response = self.request_file(address, 0).await?;
        if response.status() != StatusCode::OK {
            return Err(response::unusable(address, &response, "status 200"));
        }
        let announced = response.content_length().unwrap_or(0);
        if announced > limit {
            return Err(too_large());
        }
        let mut partial = Partial::open(path, announced).await?;
        partial.restart().await?;
        reporter.started(announced, 0);
        let mut body = Body::new(response, address, self.limits());
        while let Some(chunk) = body.chunk().await? {
            if partial.size_bytes() + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            partial.append(&chunk).await?;
            reporter.advanced(chunk.len() as u64);
        }
        let digest = partial.digest();
        partial.finish(path).await?;
        Ok(digest)
    }
}
