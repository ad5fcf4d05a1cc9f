//! What can go wrong.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::digest::Sha256;

use crate::address::Address;
use crate::redirect::RedirectRefused;

/// Why a transfer failed. A `url` in it never holds a password.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in the messages")]
pub enum TransferError {
    /// The URL is none, or not one of the web.
    #[error("`{url}` is no web address: {reason}")]
    Url { url: String, reason: String },
    /// Status 404 or 410.
    #[error("`{url}` does not exist on the server")]
    NotFound { url: String },
    /// Another status that says no and will say so again.
    #[error("the server refused `{url}` with status {status}")]
    Refused { url: String, status: u16 },
    /// A status that may change: 5xx, 408 (timeout), 429 (too many requests).
    #[error("the server cannot answer for `{url}` now: status {status}")]
    Unavailable { url: String, status: u16, retry_after: Option<Duration> },
    /// An answer that breaks the protocol.
    #[error("the server gave no usable answer for `{url}`: expected {expected}, found {found}")]
    BadResponse { url: String, expected: &'static str, found: String },
    /// More bytes than a limit or the announced size.
    #[error("{what} `{url}` is larger than {limit} bytes")]
    TooLarge { url: String, what: &'static str, limit: u64 },
    /// The server has a file of another size.
    #[error("`{url}` has the wrong size: expected {expected} bytes, found {found}")]
    WrongSize { url: String, expected: u64, found: u64 },
    /// The file is complete and is not the one that was asked for. What was received is removed.
    #[error("`{url}` does not match its digest: expected sha256 {expected}, found {found}")]
    WrongDigest { url: String, expected: Sha256, found: Sha256 },
    /// The server sends, but too little.
    #[error("`{url}` comes too slowly: expected {minimum_rate} bytes per second, found {found}")]
    TooSlow { url: String, minimum_rate: u64, found: u64 },
    /// The server was silent.
    #[error("the server did not answer for `{url}` within {} seconds", after.as_secs_f32())]
    TimedOut { url: String, after: Duration },
    /// The certificate of the server is not trusted, or there is no common ground for encryption.
    #[error("cannot make a trusted connection to the server of `{url}`")]
    Tls { url: String, source: Cause },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// There is no connection to the server.
    #[error("cannot connect to the server of `{url}`")]
    Connect { url: String, source: Cause },
    /// A redirect that is not followed.
    #[error("`{url}` redirects {reason}")]
    Redirect { url: String, reason: String },
    /// The connection broke. What was received is kept.
    #[error("the transfer of `{url}` was cut off after {received} bytes")]
    Interrupted { url: String, received: u64, source: Cause },
    /// The file system is full. What was received is kept.
    #[error("no space left for `{}`", path.display())]
    NoSpace { path: PathBuf, source: Cause },
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    Storage { action: &'static str, path: PathBuf, source: io::Error },
}

impl TransferError {
    /// Whether the same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::TooSlow { .. }
            | Self::TimedOut { .. }
            | Self::Connect { .. }
            | Self::Interrupted { .. } => true,
            Self::Url { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::BadResponse { .. }
            | Self::TooLarge { .. }
            | Self::WrongSize { .. }
            | Self::WrongDigest { .. }
            | Self::Tls { .. }
            | Self::Client(_)
            | Self::Redirect { .. }
            | Self::NoSpace { .. }
            | Self::Storage { .. } => false,
        }
    }

    /// What was asked for, as it may be shown. Nothing for what went wrong on this machine.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url { url, .. }
            | Self::NotFound { url }
            | Self::Refused { url, .. }
            | Self::Unavailable { url, .. }
            | Self::BadResponse { url, .. }
            | Self::TooLarge { url, .. }
            | Self::WrongSize { url, .. }
            | Self::WrongDigest { url, .. }
            | Self::TooSlow { url, .. }
            | Self::TimedOut { url, .. }
            | Self::Tls { url, .. }
            | Self::Connect { url, .. }
            | Self::Redirect { url, .. }
            | Self::Interrupted { url, .. } => Some(url),
            Self::Client(_) | Self::NoSpace { .. } | Self::Storage { .. } => None,
        }
    }

    /// From an error before the body.
    pub(crate) fn of_request(address: &Address, error: &reqwest::Error, timeout: Duration) -> Self {
        let url = address.shown();
        let chain = || std::iter::successors(Some(error as &(dyn Error + 'static)), |error| next_cause(*error));
        if let Some(RedirectRefused { reason }) = chain().find_map(|cause| cause.downcast_ref()) {
            return Self::Redirect { url, reason: reason.clone() };
        }
        let source = Cause::root_of(error);
        if chain().any(<dyn Error>::is::<rustls::Error>) {
            Self::Tls { url, source }
        } else if error.is_timeout() {
            Self::TimedOut { url, after: timeout }
        } else if error.is_connect() {
            Self::Connect { url, source }
        } else {
            Self::Interrupted { url, received: 0, source }
        }
    }

    /// From an error of the file system.
    pub(crate) fn of_storage(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path, source: Cause(source.to_string()) }
            }
            _ => Self::Storage { action, path, source },
        }
    }
}

/// The innermost cause of a failed request. The layers above it ("error sending request", "client error") say
/// nothing, and some quote the URL with its password.
#[derive(Debug)]
pub struct Cause(pub(crate) String);

impl Cause {
    pub(crate) fn root_of(error: &(dyn Error + 'static)) -> Self {
        let mut root = error;
        while let Some(cause) = next_cause(root) {
            root = cause;
        }
        match root.downcast_ref::<reqwest::Error>() {
            Some(_) => Self("the connection failed".to_owned()),
            None => Self(root.to_string()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

/// The cause of `error`. An `io::Error` skips the error it wraps when asked for its source.
fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Why no [`Fetcher`](crate::Fetcher) could be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in the messages")]
pub enum SetupError {
    /// The file of extra certificates cannot be read.
    #[error("cannot read the certificates in `{}`", path.display())]
    CaFile { path: PathBuf, source: rustls::pki_types::pem::Error },
    /// The file of extra certificates holds none.
    #[error("expected certificates in PEM form in `{}`, found none", path.display())]
    NoCertificate { path: PathBuf },
    /// A certificate in the file is malformed.
    #[error("a certificate in `{}` is malformed", path.display())]
    BadCertificate { path: PathBuf, source: rustls::Error },
    /// Only the given certificates are to be trusted, and none is given.
    #[error("expected a file of certificates to trust in place of the system's, found none")]
    NothingTrusted,
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The given certificates cannot be used.
    #[error("cannot use the certificates to trust")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}
