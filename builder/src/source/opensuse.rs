//! openSUSE: container archives below `distribution/leap/RELEASE/appliances`, or those of Tumbleweed, with a checksum in
//! a file that may be signed.

use super::Wanted;
use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::version::newest_first;
use super::web::Web;

/// Where openSUSE publishes, for a spec that does not say.
pub(super) const DEFAULT_URL: &str = "https://download.opensuse.org";

/// The archive without a build number, which leads to the newest; else the newest build that is there.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let arch = if wanted.mapped.ends_with("86") { "ix86" } else { wanted.mapped.as_str() };
    let (directory, product) = if wanted.release.eq_ignore_ascii_case("tumbleweed") {
        let container = match wanted.mapped.as_str() {
            "i686" | "x86_64" => "container",
            "aarch64" => "container_ARM",
            "ppc64le" => "container_PowerPC",
            "s390x" => "container_zSystems",
            other => return Err(SourceError::Arch { found: other.to_owned() }),
        };
        (format!("repositories/Virtualization:/containers:/images:/openSUSE-Tumbleweed/{container}"), "tumbleweed")
    } else {
        (format!("distribution/leap/{}/appliances", wanted.release), "leap")
    };
    let base = format!("{}/{directory}", wanted.url);
    let names = web.names(&base)?;
    let prefix = format!("opensuse-{product}-image");
    let fits = |name: &str| name.contains(arch);
    let (builds, links): (Vec<_>, Vec<_>) =
        newest_first(&names, &prefix, ".tar.xz", fits).into_iter().partition(|middle| middle.contains("Build"));
    for middle in links.into_iter().chain(builds) {
        let url = format!("{base}/{prefix}{middle}.tar.xz");
        // The page may be newer or older than what it lists.
        if web.exists(&url)? {
            let list = format!("{url}.sha256");
            let checksums = Checksums { signatures: vec![format!("{list}.asc")], ..Checksums::sha256_of_one(list) };
            return Ok(vec![Artifact {
                checksums: Some(checksums),
                signatures: vec![format!("{url}.asc")],
                ..Artifact::at(url)
            }]);
        }
    }
    Err(SourceError::NotOnPage { what: format!("a container archive for {arch}"), url: base })
}
