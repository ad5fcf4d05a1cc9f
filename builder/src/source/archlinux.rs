//! Arch Linux and its ports: `URL/DATE/archlinux-bootstrap-DATE-x86_64.tar.zst`; for Arm the latest
//! `URL/os/ArchLinuxARM-ARCH-latest.tar.gz`, for RISC-V `URL/images/archriscv-latest.tar.zst`. Each is signed.

use super::Wanted;
use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::place::Place;
use super::version::newest;
use super::web::Web;

/// The archive of the release, or of the latest one.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let (base, arch) = (&wanted.url, &wanted.mapped);
    let (url, checksums) = match arch.as_str() {
        "x86_64" => {
            let release = if wanted.is_latest() { latest(base, web)? } else { wanted.release.clone() };
            let url = format!("{base}/{release}/archlinux-bootstrap-{release}-{arch}.tar.zst");
            (url, Some(Checksums::sha256(format!("{base}/{release}/sha256sums.txt"))))
        }
        "riscv64" => (format!("{base}/images/archriscv-latest.tar.zst"), None),
        _ => (format!("{base}/os/ArchLinuxARM-{arch}-latest.tar.gz"), None),
    };
    let place = Place::Inside { directory: format!("root.{arch}") };
    Ok(vec![Artifact { checksums, signatures: vec![format!("{url}.sig")], place, ..Artifact::at(url) }])
}

/// Releases are named by their day.
fn latest(base: &str, web: &Web) -> Result<String, SourceError> {
    let names = web.names(base)?;
    let is_day = |name: &str| {
        let lengths: Vec<usize> = name.split('.').map(str::len).collect();
        lengths == [4, 2, 2] && name.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let newest = newest(&names, "", "", is_day);
    newest.ok_or_else(|| SourceError::NotOnPage { what: "a release".to_owned(), url: base.to_owned() })
}
