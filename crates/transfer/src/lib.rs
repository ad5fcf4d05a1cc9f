//! Verified, resumable download.
//!
//! ```text
//! Fetcher::document        a small document, capped, in memory
//! Fetcher::document_into   one that a Sink reads while it arrives
//! Fetcher::file            a file of known size and sha256: url → partial → verified → done
//! Fetcher::unvouched_file  a file that only TLS speaks for
//! Fetcher::size            how large a file is
//! ```
//!
//! Everything a server can do to harm a client is bounded by [`Limits`]; everything that can go wrong is a variant of
//! [`TransferError`]. This crate never prints: it tells a [`Reporter`] how far it is, and logs what it retries.

mod address;
mod body;
mod clients;
mod download;
mod error;
mod fetcher;
mod limits;
mod partial;
mod patience;
mod redirect;
mod reporter;
mod response;
mod sink;
mod trust;
mod unvouched;

pub use error::{Cause, SetupError, TransferError};
pub use fetcher::{Fetcher, FetcherOptions};
pub use limits::Limits;
pub use reporter::{NoReporter, Reporter};
pub use sink::Sink;
