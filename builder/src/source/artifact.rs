//! One archive, before it is fetched.

use formats::checksum::Algorithm;

use super::place::Place;

/// Where an archive is, what its publisher says of it, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    /// `https://`, `http://` or `file://`.
    pub(super) url: String,
    /// The list that has its checksum.
    pub(super) checksums: Option<Checksums>,
    /// Where its own signature may be; the first that is there counts.
    pub(super) signatures: Vec<String>,
    /// Whether certificates in the spec are of no use over https, because the publisher signs in another way.
    pub(super) tls_suffices: bool,
    /// Whether it comes on top of the root file system, so that the spec's own checksum is not for it.
    pub(super) is_second: bool,
    /// Where it goes.
    pub(super) place: Place,
}

/// A list of checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    /// Where it is.
    pub(super) url: String,
    /// Which of its lines count.
    pub(super) algorithm: Algorithm,
    /// Where its signature may be, unless it is signed inline.
    pub(super) signatures: Vec<String>,
    /// Whether it is about one file, whatever that is called there.
    pub(super) of_one: bool,
}

impl Artifact {
    /// A whole root file system that nobody says anything about.
    pub(super) fn at(url: String) -> Self {
        Self { url, checksums: None, signatures: Vec::new(), tls_suffices: false, is_second: false, place: Place::Root }
    }

    /// The file's name.
    pub(super) fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

impl Checksums {
    /// A list for `sha256sum`.
    pub(super) fn sha256(url: String) -> Self {
        Self { url, algorithm: Algorithm::Sha256, signatures: Vec::new(), of_one: false }
    }

    /// The same for one file, which may have another name there.
    pub(super) fn sha256_of_one(url: String) -> Self {
        Self { of_one: true, ..Self::sha256(url) }
    }

    /// A list for `sha512sum`.
    pub(super) fn sha512(url: String) -> Self {
        Self { algorithm: Algorithm::Sha512, ..Self::sha256(url) }
    }
}
