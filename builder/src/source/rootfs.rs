//! An archive at an address of its own, which may have a signature beside it.

use super::Wanted;
use super::artifact::Artifact;

/// The archive.
pub(super) fn locate(wanted: &Wanted) -> Vec<Artifact> {
    let url = wanted.url.clone();
    let signatures = [".asc", ".sig", ".gpg"].map(|ending| format!("{url}{ending}")).to_vec();
    vec![Artifact { signatures, ..Artifact::at(url) }]
}
