//! Void Linux: `URL/void-ARCH[-VARIANT]-ROOTFS-DATE.tar.xz`, in one list for all.

use super::Wanted;
use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::version::newest;
use super::web::Web;

/// The newest archive of a variant, such as `musl`.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let arch = &wanted.mapped;
    let kind = if wanted.variant.is_empty() { arch.clone() } else { format!("{arch}-{}", wanted.variant) };
    let prefix = format!("void-{kind}-ROOTFS-");
    let names = web.names(&wanted.url)?;
    let date = newest(&names, &prefix, ".tar.xz", |_| true).ok_or_else(|| SourceError::NotOnPage {
        what: format!("a root file system for {kind}"),
        url: wanted.url.clone(),
    })?;
    let list = format!("{}/sha256sum.txt", wanted.url);
    let checksums = Checksums { signatures: vec![format!("{}/sha256sum.sig", wanted.url)], ..Checksums::sha256(list) };
    // Void signs the list with signify today, with OpenPGP in the past: over TLS no OpenPGP signature can be asked for.
    let url = format!("{}/{prefix}{date}.tar.xz", wanted.url);
    Ok(vec![Artifact { checksums: Some(checksums), tls_suffices: true, ..Artifact::at(url) }])
}
