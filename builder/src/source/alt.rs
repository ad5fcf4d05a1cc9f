//! ALT Linux: `URL/RELEASE/cloud/ARCH/alt-RELEASE-rootfs-systemd-ARCH.tar.xz`, in a signed list.

use super::Wanted;
use super::artifact::{Artifact, Checksums};

/// The one archive of a branch.
pub(super) fn locate(wanted: &Wanted) -> Vec<Artifact> {
    let arch = if wanted.mapped == "armhf" { "armh" } else { wanted.mapped.as_str() };
    let base = format!("{}/{}/cloud/{arch}", wanted.url, wanted.release);
    let url = format!("{base}/alt-{}-rootfs-systemd-{arch}.tar.xz", wanted.release.to_lowercase());
    let checksums = Checksums {
        signatures: vec![format!("{base}/SHA256SUMS.gpg")],
        ..Checksums::sha256(format!("{base}/SHA256SUMS"))
    };
    vec![Artifact { checksums: Some(checksums), ..Artifact::at(url) }]
}
