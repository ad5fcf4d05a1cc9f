//! Fedora: `URL/packages/Fedora-Container-Base-Generic/RELEASE/BUILD/images/…oci.tar.xz`, an OCI archive. The build
//! system that has these does not sign them.

use super::Wanted;
use super::artifact::Artifact;
use super::error::SourceError;
use super::place::Place;
use super::version::newest;
use super::web::Web;

/// The latest build of a release: `YYYYMMDD.N`, or `YYYYMMDD.n.N` before the release.
pub(super) fn locate(wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
    let release = &wanted.release;
    let base = format!("{}/packages/{NAME}/{release}", wanted.url);
    let names = web.names(&base)?;
    let build = newest(&names, "", "", is_build)
        .ok_or_else(|| SourceError::NotOnPage { what: format!("a build of {release}"), url: base.clone() })?;
    let url = format!("{base}/{build}/images/{NAME}-{release}-{build}.{}.oci.tar.xz", wanted.mapped);
    Ok(vec![Artifact { place: Place::Oci, ..Artifact::at(url) }])
}

fn is_build(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    match name.split('.').collect::<Vec<_>>().as_slice() {
        [day, "n", number] | [day, number] => day.len() == 8 && is_number(day) && is_number(number),
        _ => false,
    }
}

const NAME: &str = "Fedora-Container-Base-Generic";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_have_a_day_and_a_number() {
        for name in ["20261101.0", "20261101.n.12"] {
            assert!(is_build(name), "{name}");
        }
        for name in ["20261101", "2026110.0", "20261101.t.0", "20261101.", "x0261101.0"] {
            assert!(!is_build(name), "{name}");
        }
    }
}
