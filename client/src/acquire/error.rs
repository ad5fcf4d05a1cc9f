//! Why an image could not be had.

use archive::members::MembersError;
use formats::image::{ImageId, ImageQuery};
use formats::metadata::LxcMetadataError;

use crate::cache::CacheError;
use crate::caller::Caller;
use crate::catalog::NotFound;
use crate::repository::RepositoryError;

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The server, or what it sent.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// There is no such image.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Offline, and the cache has no such image.
    #[error("no undamaged build of `{query}` from `{server}` is in the cache")]
    NotCached {
        /// What was asked for.
        query: ImageQuery,
        /// The server.
        server: String,
        /// Names like it that are.
        near: Vec<String>,
    },
    /// The metadata tarball of an image is bad.
    #[error("the metadata of `{image}` is refused")]
    Members {
        /// The image.
        image: ImageId,
        /// Why.
        source: Box<MembersError>,
    },
    /// The members of the metadata are.
    #[error("the metadata of `{image}` is refused")]
    Metadata {
        /// The image.
        image: ImageId,
        /// Why.
        source: LxcMetadataError,
    },
}

impl AcquireError {
    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(caller),
            Self::NotFound(error) => Some(error.hint(caller)),
            Self::Cache(error) => Some(error.hint(caller)),
            Self::NotCached { near, .. } if !near.is_empty() => Some(format!("the cache has `{}`", near.join("`, `"))),
            Self::NotCached { query, .. } => Some(format!("without `--offline`, `rootcellar fetch {query}` gets it")),
            Self::Members { .. } | Self::Metadata { .. } => {
                Some("the image is broken or hostile; tell the server's operator".to_owned())
            }
        }
    }

    /// Whether this machine failed, and not the data or the input.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_failure(),
            Self::Cache(_) => true,
            Self::NotFound(_) | Self::NotCached { .. } | Self::Members { .. } | Self::Metadata { .. } => false,
        }
    }
}
