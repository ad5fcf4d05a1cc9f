//! Why there is no tree.

use std::io;

use archive::unpack::UnpackError;
use formats::checksum::{Checksum, ListedError};
use formats::publisher::Distrust;
use terminal::{Advice, ExitStatus};
use transfer::{SetupError, TransferError};

/// What can go wrong with archives of others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("expected `image.release` as {expected}, found `{found}`")]
    Release { expected: &'static str, found: String },
    #[error("there are no archives of `{release}`: `source.same_as` must name the release to begin with")]
    NoSameAs { release: String },
    #[error("the publisher has nothing for the architecture `{found}`")]
    Arch { found: String },
    #[error("expected {what} on the page `{url}`, found none")]
    NotOnPage { what: String, url: String },
    #[error("nothing vouches for `{url}`{}", if *.plain { ": its checksum comes over plain http" } else { "" })]
    NothingVouches { url: String, plain: bool },
    #[error("`source.keys` has certificates, and `{url}` has no OpenPGP signature")]
    NoSignature { url: String },
    #[error("`{url}` is not to be trusted")]
    Distrusted { url: String, source: Distrust },
    #[error("the checksums in `{url}` are of no use")]
    Listed { url: String, source: ListedError },
    #[error("`{url}` is not the file it should be: expected {expected}, found {found}")]
    Altered { url: String, expected: Checksum, found: Checksum },
    #[error("`{url}`: its publisher says {listed}, and `source.checksum` {given}")]
    Contradiction { url: String, listed: Checksum, given: Checksum },
    #[error(
        "`{name}` is no archive that can be unpacked: expected tar, alone or in gzip, bzip2, xz or zstd, or squashfs"
    )]
    Kind { name: String },
    #[error("`{name}` cannot be unpacked")]
    Unpack { name: String, source: UnpackError },
    #[error("`{name}` cannot be unpacked: {reason}")]
    Squashfs { name: String, reason: String },
    #[error("no program `sqfs2tar`, which reads squashfs")]
    NoSquashfs,
    #[error("`{name}` has no directory `{directory}`")]
    NoDirectory { name: String, directory: String },
    #[error("`{name}` is no OCI archive: {problem}")]
    Oci { name: String, problem: String },
    #[error("`{url}` would have to be fetched, and `--offline` forbids it")]
    Offline { url: String },
    #[error("the download was stopped because the time given with `--timeout` is over")]
    TooLate,
    #[error(transparent)]
    Transfer(Box<TransferError>),
    #[error(transparent)]
    Setup(Box<SetupError>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How to make something vouch for an archive.
pub(crate) const NOTHING_VOUCHES: &str = "give the publisher's certificate in `source.keys` or the archive's digest in \
                                          `source.checksum`; `source.skip_verification: true` accepts whatever comes";

impl From<TransferError> for SourceError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(Box::new(error))
    }
}

impl Advice for SourceError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NothingVouches { .. } => NOTHING_VOUCHES,
            Self::NoSignature { .. } => "remove `source.keys`, and give the archive's digest in `source.checksum`",
            Self::Distrusted { source: Distrust::Stranger { .. }, .. } => {
                "if the publisher has a new key, put its certificate among `source.keys`"
            }
            Self::Altered { .. } | Self::Distrusted { .. } => {
                "a mirror may be mid-update; if it stays, somebody changes files on the way"
            }
            Self::NotOnPage { .. } => "look at the page: the release may have ended or moved",
            Self::Offline { .. } => "build once with the network and the same `--cache`",
            Self::NoSquashfs => "install the package `squashfs-tools-ng`",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Transfer(error) if error.is_retryable() => ExitStatus::Failed,
            Self::NoSquashfs | Self::Setup(_) | Self::Io(_) => ExitStatus::Failed,
            Self::Unpack { source, .. } if !source.is_bad_data() => ExitStatus::Failed,
            Self::Release { .. }
            | Self::NoSameAs { .. }
            | Self::Arch { .. }
            | Self::NotOnPage { .. }
            | Self::NothingVouches { .. }
            | Self::NoSignature { .. }
            | Self::Distrusted { .. }
            | Self::Listed { .. }
            | Self::Altered { .. }
            | Self::Contradiction { .. }
            | Self::Kind { .. }
            | Self::Unpack { .. }
            | Self::Squashfs { .. }
            | Self::NoDirectory { .. }
            | Self::Oci { .. }
            | Self::TooLate
            | Self::Offline { .. }
            | Self::Transfer(_) => ExitStatus::Refused,
        }
    }
}
