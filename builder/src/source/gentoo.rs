//! Gentoo: `URL/releases/ARCH/autobuilds/current-stage3-ARCH[-VARIANT]/stage3-….tar.xz` with signed digests, and the tree
//! of ebuilds, `URL/snapshots/portage-latest.tar.xz` with a signature.

use super::Wanted;
use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::place::Place;
use super::version::newest;
use super::web::Web;

/// The current stage 3 of a variant, and the ebuilds that go with it.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let arch = wanted.mapped.as_str();
    let kind = if wanted.variant.is_empty() { arch.to_owned() } else { format!("{arch}-{}", wanted.variant) };
    let base = format!("{}/releases/{}/autobuilds/current-stage3-{kind}", wanted.url, family(arch));
    let names = web.names(&base)?;
    let prefix = format!("stage3-{kind}-");
    let found = [".tar.xz", ".tar.bz2"].into_iter().find_map(|suffix| {
        let version = newest(&names, &prefix, suffix, |version| version.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(format!("{base}/{prefix}{version}{suffix}"))
    });
    let url =
        found.ok_or_else(|| SourceError::NotOnPage { what: format!("a stage 3 for {kind}"), url: base.clone() })?;
    let ebuilds = format!("{}/snapshots/portage-latest.tar.xz", wanted.url);
    Ok(vec![
        Artifact {
            checksums: Some(Checksums::sha512(format!("{url}.DIGESTS"))),
            signatures: vec![format!("{url}.asc")],
            ..Artifact::at(url)
        },
        Artifact {
            signatures: vec![format!("{ebuilds}.gpgsig")],
            place: Place::Below { parent: "var/db/repos", directory: "portage", name: "gentoo" },
            is_second: true,
            ..Artifact::at(ebuilds)
        },
    ])
}

/// The directory that holds the builds for an architecture and its relatives.
fn family(arch: &str) -> &str {
    match arch {
        "i686" => "x86",
        "arm64" => arch,
        _ if arch.starts_with("arm") => "arm",
        _ if arch.starts_with("ppc") => "ppc",
        _ if arch.starts_with("s390") => "s390",
        _ => arch,
    }
}
