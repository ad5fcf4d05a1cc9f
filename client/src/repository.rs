//! What a server publishes, checked.

mod certificate;

use std::path::Path;

use formats::certificate::Certificate;
use formats::digest::FileDigest;
use formats::layout;
use formats::streams::{ProductsEntry, StreamsIndex};
use formats::time::Timestamp;
use formats::verified::{self, Keyring, PastValidity, Refusal, Verified};
use tokio::runtime::Runtime;
use transfer::{Fetcher, FetcherOptions, Reporter, SetupError, Sink, TransferError};

use crate::caller::Caller;
use crate::catalog::Catalog;
use crate::login;
use crate::remote::{Origin, Trust};
use crate::state::{RemoteState, StateError};

pub use certificate::{Introduction, introduce};

/// A connection to one server. It owns the async runtime, so that everything above it is plain code.
#[derive(Debug)]
pub struct Repository {
    origin: Origin,
    /// The same with a name and a password, where the server is to be told who asks.
    reached: Origin,
    fetcher: Fetcher,
    runtime: Runtime,
}

impl Repository {
    /// A connection to the server of `origin`; nothing is sent yet.
    pub fn connect(origin: Origin) -> Result<Self, RepositoryError> {
        let options = FetcherOptions { ca_file: origin.ca.clone(), ..FetcherOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RepositoryError::Runtime)?;
        let url = login::of_netrc(&origin.url).map_or_else(|| origin.url.clone(), |login| origin.url.as_user(&login));
        let reached = Origin { url, ..origin.clone() };
        Ok(Self { origin, reached, fetcher: Fetcher::new(options).map_err(Box::new)?, runtime })
    }

    /// Where images come from, and why they are trusted.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A document of the channel.
    pub fn document(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, TransferError> {
        let mut document = Vec::new();
        self.document_into(path, max_bytes, &mut document)?;
        Ok(document)
    }

    /// A document of the channel, handed over while it arrives.
    pub fn document_into(&self, path: &str, max_bytes: u64, sink: &mut dyn Sink) -> Result<(), TransferError> {
        let outcome = self.runtime.block_on(self.fetcher.document_into(&self.reached.address(path), max_bytes, sink));
        match &outcome {
            Ok(size_bytes) => tracing::debug!(size_bytes, "fetched the document `{path}`"),
            Err(error) => tracing::debug!("no document `{path}`: {error}"),
        }
        outcome.map(drop)
    }

    /// The largest document that is not signed.
    pub fn document_limit(&self) -> u64 {
        self.fetcher.limits().document_bytes
    }

    /// A file of a build, by way of `partial` to `done`.
    pub fn file(
        &self,
        path: &str,
        expected: FileDigest,
        partial: &Path,
        done: &Path,
        reporter: &dyn Reporter,
    ) -> Result<(), TransferError> {
        tracing::debug!(size_bytes = expected.size_bytes, sha256 = %expected.sha256, "fetching the file `{path}`");
        let url = self.reached.shared_address(path.trim_start_matches('/'));
        self.runtime.block_on(self.fetcher.file(&url, expected, partial, done, reporter))
    }

    /// A file of a build that nothing but TLS vouches for.
    pub fn unvouched_file(
        &self,
        path: &str,
        done: &Path,
        reporter: &dyn Reporter,
    ) -> Result<FileDigest, TransferError> {
        let url = self.reached.shared_address(path.trim_start_matches('/'));
        self.runtime.block_on(self.fetcher.unvouched_file(&url, done, reporter))
    }

    /// The newest index, checked against what is remembered, and then remembered. `waiting` is called when another process
    /// does that for long.
    pub fn index(
        &self,
        state: &RemoteState,
        now: Timestamp,
        past_validity: PastValidity,
        waiting: impl FnOnce(),
    ) -> Result<Verified<StreamsIndex>, RepositoryError> {
        let Trust::Pinned(fingerprint) = &self.origin.trust else {
            return Err(RepositoryError::NothingVouches { url: self.origin.url.to_string() });
        };
        let signed = self.document(layout::SIGNED_INDEX, self.fetcher.limits().root_document_bytes)?;
        let _lock = state.lock(waiting)?;
        let memory = state.memory()?;
        let check = |certificate: &Certificate| {
            let mut keyring = Keyring::default();
            keyring.pin(fingerprint, certificate.clone())?;
            verified::verify_index(&signed, &keyring, &self.origin.channel, &memory, now, past_validity)
        };
        let stored = state.certificate()?;
        let index = match stored.as_ref().map(check) {
            Some(Ok(index)) => index,
            // The signature may be by a subkey that is newer than our copy of the certificate. If it is not, or
            // there is no newer copy, the first refusal stands.
            Some(Err(refusal @ (Refusal::UnpinnedKey { .. } | Refusal::KeyNotValid { .. }))) => {
                let newer = self.certificate(fingerprint).map_err(|_| refusal)?;
                let renewed = stored.map_or(Ok(newer.clone()), |stored| stored.merge(&newer))?;
                // Kept before it is used: what it revokes must stay revoked, whatever the server shows next.
                state.keep(&renewed)?;
                check(&renewed)?
            }
            Some(Err(refusal)) => return Err(refusal.into()),
            None => {
                let certificate = self.certificate(fingerprint)?;
                let index = check(&certificate)?;
                state.keep(&certificate)?;
                index
            }
        };
        state.remember(memory, &index)?;
        Ok(index)
    }

    /// The images of an index. Only the products files that can hold an image of this distribution are fetched, if
    /// one is named and there are such.
    pub fn catalog(
        &self,
        index: &Verified<StreamsIndex>,
        distribution: Option<&str>,
    ) -> Result<Catalog, RepositoryError> {
        let all: Vec<&ProductsEntry> = index.index.values().collect();
        let of_distribution: Vec<&ProductsEntry> = all
            .iter()
            .copied()
            .filter(|entry| {
                distribution
                    .is_some_and(|wanted| entry.products.iter().any(|name| name.split(':').next() == Some(wanted)))
            })
            .collect();
        let entries = if of_distribution.is_empty() { all } else { of_distribution };
        let products = entries.into_iter().map(|entry| {
            let bytes = self.document(&entry.path, entry.digest.size_bytes.min(self.document_limit()))?;
            Ok(verified::verify_products(index, &entry.path, &bytes)?)
        });
        Ok(Catalog::of_products(&products.collect::<Result<Vec<_>, RepositoryError>>()?))
    }
}

/// Why a server's images cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A document could not be fetched.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A document was fetched and is not trusted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The memory of the server cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server's certificate is none.
    #[error("the server's certificate cannot be used")]
    Certificate(#[from] formats::certificate::KeyError),
    /// The network cannot be used at all.
    #[error(transparent)]
    Setup(#[from] Box<SetupError>),
    /// The async runtime did not start.
    #[error("cannot set up the network")]
    Runtime(#[source] std::io::Error),
    /// Neither a key nor TLS.
    #[error("nothing vouches for what `{url}` sends: expected a pinned key")]
    NothingVouches {
        /// The server.
        url: String,
    },
    /// The server signs with a key it does not serve.
    #[error("the server does not serve the certificate of key {key}, which signs its index")]
    NoCertificate {
        /// The key id in the signature.
        key: String,
    },
}

impl RepositoryError {
    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> Option<String> {
        match self {
            Self::Transfer(error) => transfer_hint(error, caller),
            Self::Refused(refusal) => Some(refusal.hint().to_owned()),
            Self::State(error) => error.hint(caller),
            Self::NothingVouches { .. } => {
                Some("give `--fingerprint`, or `rootcellar remote add` the server".to_owned())
            }
            Self::NoCertificate { .. } => {
                Some("ask the server's operator for the fingerprint and give it as `--fingerprint`".to_owned())
            }
            Self::Certificate(_) | Self::Setup(_) | Self::Runtime(_) => None,
        }
    }

    /// Whether the server gives no answer at all: it cannot be reached, or not even for the document that everything
    /// begins with.
    pub fn is_silence(&self) -> bool {
        let is_index = |url: &str| url.ends_with(layout::SIGNED_INDEX) || url.contains("/meta/1.0/index-");
        match self {
            Self::Transfer(TransferError::Connect { .. }) => true,
            Self::Transfer(
                TransferError::TimedOut { url, .. }
                | TransferError::Unavailable { url, .. }
                | TransferError::Interrupted { url, .. },
            ) => is_index(url),
            _ => false,
        }
    }

    /// Whether this machine failed, and not the data or the input.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Transfer(error) => is_transfer_failure(error),
            Self::State(StateError::Storage { .. }) | Self::Runtime(_) => true,
            Self::State(_)
            | Self::Refused(_)
            | Self::Certificate(_)
            | Self::Setup(_)
            | Self::NothingVouches { .. }
            | Self::NoCertificate { .. } => false,
        }
    }
}

/// What the user can do about a failed transfer.
fn transfer_hint(error: &TransferError, caller: Caller) -> Option<String> {
    match error {
        TransferError::Tls { .. } => {
            Some("give the certificate of a private CA as `--ca FILE`, or set `SSL_CERT_FILE`".to_owned())
        }
        TransferError::WrongDigest { .. } | TransferError::WrongSize { .. } => {
            Some("a mirror may be mid-update; retry, and if it stays, somebody changes files on the way".to_owned())
        }
        TransferError::Connect { .. }
        | TransferError::TimedOut { .. }
        | TransferError::Unavailable { .. }
        | TransferError::TooSlow { .. }
        | TransferError::Interrupted { .. } => caller.without_server(),
        TransferError::NotFound { .. } => Some(
            "is this a rootcellar server? check the URL and the channel; a server with nothing but the classic layout can \
             be trusted for its TLS certificate alone, with `--trust-tls`"
                .to_owned(),
        ),
        TransferError::NoSpace { path, .. } => Some(caller.room(path)),
        TransferError::Refused { status: 401, .. } => Some(
            "it wants a name and a password: `machine HOST login USER password PASSWORD` in `~/.netrc` gives them, over \
             https"
                .to_owned(),
        ),
        TransferError::Url { .. }
        | TransferError::Refused { .. }
        | TransferError::BadResponse { .. }
        | TransferError::TooLarge { .. }
        | TransferError::Client(_)
        | TransferError::Redirect { .. }
        | TransferError::Storage { .. } => None,
    }
}

/// Whether a transfer failed for a reason that is neither the input nor what the server sent.
pub fn is_transfer_failure(error: &TransferError) -> bool {
    match error {
        TransferError::Unavailable { .. }
        | TransferError::TooSlow { .. }
        | TransferError::TimedOut { .. }
        | TransferError::Connect { .. }
        | TransferError::Interrupted { .. }
        | TransferError::NoSpace { .. }
        | TransferError::Client(_)
        | TransferError::Storage { .. } => true,
        TransferError::Url { .. }
        | TransferError::NotFound { .. }
        | TransferError::Refused { .. }
        | TransferError::BadResponse { .. }
        | TransferError::TooLarge { .. }
        | TransferError::WrongSize { .. }
        | TransferError::WrongDigest { .. }
        | TransferError::Tls { .. }
        | TransferError::Redirect { .. } => false,
    }
}
