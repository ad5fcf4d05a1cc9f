//! The client side of HTTP.

use std::fmt;
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use reqwest::header::RANGE;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use crate::address::Address;
use crate::body::Body;
use crate::clients::{Clients, Kind};
use crate::download::Download;
use crate::error::{SetupError, TransferError};
use crate::limits::Limits;
use crate::partial::Partial;
use crate::patience::Patience;
use crate::reporter::Reporter;
use crate::sink::Sink;
use crate::{response, trust};

/// How a [`Fetcher`] behaves.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// What a server may cost us.
    pub limits: Limits,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// A PEM file of certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Trust `ca_file` alone.
    pub ca_only: bool,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        let user_agent = concat!("rootcellar/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { limits: Limits::default(), user_agent, ca_file: None, ca_only: false }
    }
}

/// Fetches documents and files. Clones share connections.
///
/// Proxies come from the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, as curl reads them);
/// this machine itself is never asked through one.
#[derive(Clone)]
pub struct Fetcher {
    limits: Limits,
    clients: Clients,
}

impl Fetcher {
    /// A fetcher; reads the certificates of `ca_file`.
    pub fn new(options: FetcherOptions) -> Result<Self, SetupError> {
        let tls = trust::client_config(options.ca_file.as_deref(), options.ca_only)?;
        Ok(Self { limits: options.limits.clone(), clients: Clients::new(tls, options) })
    }

    /// The limits it keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A small document of at most `max_bytes`, counted after decompression. Failures that may pass are repeated.
    pub async fn document(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, TransferError> {
        let mut document = Vec::new();
        self.document_into(url, max_bytes, &mut document).await?;
        Ok(document)
    }

    /// The same, handed over while it arrives. Returns its size in bytes.
    pub async fn document_into<S: Sink + ?Sized>(
        &self,
        url: &str,
        max_bytes: u64,
        sink: &mut S,
    ) -> Result<u64, TransferError> {
        let address = Address::parse(url)?;
        let mut patience = Patience::new(&self.limits);
        loop {
            match self.read_document(&address, max_bytes, sink).await {
                Ok(size_bytes) => return Ok(size_bytes),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// How large the file at `url` is, if its server says so. Failures that may pass are repeated.
    pub async fn size(&self, url: &str) -> Result<Option<u64>, TransferError> {
        let address = Address::parse(url)?;
        let mut patience = Patience::new(&self.limits);
        loop {
            let request = self.clients.client(Kind::File, &address)?.head(address.url().clone());
            match self.send(&address, request).await {
                Ok(response) => return Ok(response::length(&response)),
                // A server that knows no HEAD may still know the file.
                Err(TransferError::Refused { status: 405 | 501, .. }) => return Ok(None),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Downloads a file: into `partial`, which it resumes if it is there, then to `done`, which appears whole and
    /// verified or not at all. Both must be in one file system, and nobody else may write to `partial` meanwhile.
    ///
    /// After an interruption `partial` is kept for the next call; one that turns out to be damaged is removed.
    pub async fn file(
        &self,
        url: &str,
        expected: FileDigest,
        partial: &Path,
        done: &Path,
        reporter: &dyn Reporter,
    ) -> Result<(), TransferError> {
        let address = Address::parse(url)?;
        if expected.size_bytes > self.limits.file_bytes {
            return Err(TransferError::TooLarge { url: address.shown(), what: "file", limit: self.limits.file_bytes });
        }
        let partial = Partial::open(partial, expected.size_bytes).await?;
        Download::new(self, &address, expected, partial, reporter).run(done).await
    }

    /// The head of the answer to a request for a file, from byte `from` on.
    pub(crate) async fn request_file(&self, address: &Address, from: u64) -> Result<Response, TransferError> {
        self.request(Kind::File, address, from).await
    }

    async fn read_document<S: Sink + ?Sized>(
        &self,
        address: &Address,
        max_bytes: u64,
        sink: &mut S,
    ) -> Result<u64, TransferError> {
        let too_large = || TransferError::TooLarge { url: address.shown(), what: "document", limit: max_bytes };
        let response = self.request(Kind::Document, address, 0).await?;
        if response.status() != StatusCode::OK {
            return Err(response::unusable(address, &response, "status 200"));
        }
        let announced = response.content_length();
        if announced.is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        sink.begin(announced);
        let mut body = Body::new(response, address, &self.limits);
        let mut size_bytes = 0;
        while let Some(chunk) = body.chunk().await? {
            size_bytes += chunk.len() as u64;
            if size_bytes > max_bytes {
                return Err(too_large());
            }
            sink.take(&chunk);
        }
        Ok(size_bytes)
    }

    async fn request(&self, kind: Kind, address: &Address, from: u64) -> Result<Response, TransferError> {
        let mut request = self.clients.client(kind, address)?.get(address.url().clone());
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        self.send(address, request).await
    }

    async fn send(&self, address: &Address, request: RequestBuilder) -> Result<Response, TransferError> {
        let Limits { connect_timeout, read_timeout, .. } = self.limits;
        let longest = connect_timeout + read_timeout;
        match timeout(longest, request.send()).await {
            Ok(Ok(response)) => response::check(address, response),
            Ok(Err(error)) => Err(TransferError::of_request(address, &error, connect_timeout)),
            Err(_) => Err(TransferError::TimedOut { url: address.shown(), after: longest }),
        }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("limits", &self.limits).finish_non_exhaustive()
    }
}
