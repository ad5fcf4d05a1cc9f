//! Ubuntu: `URL/releases/RELEASE/release/ubuntu-base-VERSION-base-ARCH.tar.gz`, in a signed list.

use super::Wanted;
use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::version::newest;
use super::web::Web;

/// The archive of a version, or the newest of a release that is given by its name.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let base = format!("{}/releases/{}/release", wanted.url, wanted.release);
    let (prefix, suffix) = ("ubuntu-base-", format!("-base-{}.tar.gz", wanted.mapped));
    let is_version = |version: &str| version.chars().all(|c| c.is_ascii_digit() || c == '.');
    let version = if wanted.release.contains(|c: char| c.is_ascii_digit()) {
        wanted.release.clone()
    } else {
        let what =
            || SourceError::NotOnPage { what: format!("a base archive of {}", wanted.release), url: base.clone() };
        newest(&web.names(&base)?, prefix, &suffix, is_version).ok_or_else(what)?
    };
    let checksums = Checksums {
        signatures: vec![format!("{base}/SHA256SUMS.gpg")],
        ..Checksums::sha256(format!("{base}/SHA256SUMS"))
    };
    Ok(vec![Artifact { checksums: Some(checksums), ..Artifact::at(format!("{base}/{prefix}{version}{suffix}")) }])
}
