//! Alpine Linux: `URL/vX.Y/releases/ARCH/alpine-minirootfs-X.Y.Z-ARCH.tar.gz`, with a checksum and a signature beside.

use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::version::newest;
use super::web::Web;
use super::{Wanted, command};
use crate::sandbox::Step;

/// The newest `X.Y.Z` of the release `X.Y`; a release in full as it is. There are no archives of `edge`: it begins with
/// the release in `same_as`.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let release = if is_edge(wanted) { &wanted.same_as } else { &wanted.release };
    if is_edge(wanted) && release.is_empty() {
        return Err(SourceError::NoSameAs { release: wanted.release.clone() });
    }
    let parts: Vec<&str> = release.split('.').collect();
    let is_version = parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    let [major, minor, patch @ ..] = parts.as_slice() else { return Err(bad(release)) };
    if !is_version || patch.len() > 1 {
        return Err(bad(release));
    }
    let arch = &wanted.mapped;
    let base = format!("{}/v{major}.{minor}/releases/{arch}", wanted.url);
    let full = if patch.is_empty() {
        let names = web.names(&base)?;
        let version = newest(&names, "alpine-minirootfs-", &format!("-{arch}.tar.gz"), |version| {
            version.starts_with(&format!("{release}.")) && version.chars().all(|c| c.is_ascii_digit() || c == '.')
        });
        version.ok_or_else(|| SourceError::NotOnPage {
            what: format!("a root file system of {release}"),
            url: base.clone(),
        })?
    } else {
        release.clone()
    };
    let url = format!("{base}/alpine-minirootfs-{full}-{arch}.tar.gz");
    let checksums = Checksums::sha256(format!("{url}.sha256"));
    Ok(vec![Artifact { checksums: Some(checksums), signatures: vec![format!("{url}.asc")], ..Artifact::at(url) }])
}

/// A release becomes edge by an upgrade from its repositories.
pub(super) fn first_steps(wanted: &Wanted) -> Vec<Step> {
    if !is_edge(wanted) {
        return Vec::new();
    }
    let repositories = ["sed", "-i", "-e", "s#/v[0-9][0-9.]*/#/edge/#", "/etc/apk/repositories"];
    vec![
        command("use the repositories of edge", &repositories),
        command("upgrade to edge", &["apk", "upgrade", "--update-cache", "--available"]),
    ]
}

fn is_edge(wanted: &Wanted) -> bool {
    wanted.release == "edge"
}

fn bad(release: &str) -> SourceError {
    SourceError::Release { expected: "`X.Y`, `X.Y.Z` or `edge`", found: release.to_owned() }
}
