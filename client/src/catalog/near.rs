//! What may have been meant by a name that no image has.

use std::collections::BTreeMap;

use formats::arch::Arch;
use formats::image::ImageId;

/// The names closest to what was typed, each of which finds an image, and each of another image.
pub(crate) fn names<'a>(typed: &str, images: impl Iterator<Item = (&'a ImageId, &'a [String])>) -> Vec<String> {
    let host = Arch::host();
    let mut scored: BTreeMap<String, f64> = BTreeMap::new();
    for (id, aliases) in images {
        let (score, name) = closest(typed, id, aliases, host);
        let known = scored.entry(name).or_default();
        *known = known.max(score);
    }
    let mut scored: Vec<_> = scored.into_iter().filter(|(_, score)| *score > ALIKE).collect();
    scored.sort_by(|(one, a), (other, b)| {
        b.total_cmp(a).then_with(|| one.len().cmp(&other.len())).then_with(|| one.cmp(other))
    });
    scored.into_iter().take(MOST).map(|(name, _)| name).collect()
}

/// How close an image is to what was typed, and the name to tell.
fn closest(typed: &str, id: &ImageId, aliases: &[String], host: Option<Arch>) -> (f64, String) {
    let short = shortest(id, host);
    // Who typed a release or a distribution alone was close, but an alias of this very name would have been closer.
    let parts = [id.release.as_str(), id.distribution.as_str()].map(|part| (PART * alike(typed, part), &short));
    let full = id.to_string();
    let whole = [(alike(typed, &short), &short), (alike(typed, &full), &short)];
    // An alias means the host's architecture and the default variant.
    let is_usual = Some(id.arch) == host && id.variant.as_str() == ImageId::DEFAULT_VARIANT;
    let aliases = aliases.iter().filter(|_| is_usual).map(|alias| (alike(typed, alias), alias));
    let all = whole.into_iter().chain(aliases).chain(parts);
    let (score, name) = all.fold((0.0, &short), |best, one| if one.0 > best.0 { one } else { best });
    (score, name.clone())
}

/// The shortest part of an id that finds the image on this host.
fn shortest(id: &ImageId, host: Option<Arch>) -> String {
    let ImageId { distribution, release, arch, variant } = id;
    let mut name = format!("{distribution}/{release}");
    if Some(*arch) != host {
        name = format!("{name}/{arch}");
    }
    if variant.as_str() == ImageId::DEFAULT_VARIANT { name } else { format!("{name}/{variant}") }
}

fn alike(one: &str, other: &str) -> f64 {
    strsim::jaro_winkler(one, other)
}

/// How many names a hint lists.
const MOST: usize = 3;
/// From which similarity on a name is worth a hint; 1 is equality.
const ALIKE: f64 = 0.8;
/// What a part of a name counts.
const PART: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    fn near(typed: &str, images: &[(&str, &[&str])]) -> Vec<String> {
        let owned: Vec<(ImageId, Vec<String>)> = images
            .iter()
            .map(|(id, aliases)| (id.parse().unwrap(), aliases.iter().map(|alias| (*alias).to_owned()).collect()))
            .collect();
        names(typed, owned.iter().map(|(id, aliases)| (id, aliases.as_slice())))
    }

    fn host() -> String {
        Arch::host().unwrap().to_string()
    }

    fn foreign() -> &'static str {
        if Arch::host() == Some(Arch::Arm64) { "amd64" } else { "arm64" }
    }

    #[test]
    fn a_name_is_told_in_the_form_that_works_here() {
        let (here, there) =
            (format!("debian/bookworm/{}/default", host()), format!("debian/bookworm/{}/default", foreign()));
        assert_eq!(near("debain/bokworm", &[(&here, &[])]), ["debian/bookworm"]);
        assert_eq!(near("debian/bookworm", &[(&there, &[])]), [format!("debian/bookworm/{}", foreign())]);
        let cloud = format!("debian/bookworm/{}/cloud", host());
        assert_eq!(near("debian/bookworm", &[(&cloud, &[])]), ["debian/bookworm/cloud"]);
    }

    #[test]
    fn a_release_or_a_distribution_alone_leads_to_its_images() {
        let images = ["bookworm", "trixie"].map(|release| format!("debian/{release}/{}/default", host()));
        let images = images.each_ref().map(|id| (id.as_str(), &[][..]));
        assert_eq!(near("trixie", &images), ["debian/trixie"]);
        assert_eq!(near("debian", &images), ["debian/trixie", "debian/bookworm"]);
    }

    #[test]
    fn the_names_of_one_image_take_one_place() {
        let ids = ["bookworm", "trixie"].map(|release| format!("debian/{release}/{}/default", host()));
        let images = [
            (ids[0].as_str(), &["debian/12", "debian/12/default", "debian/bookworm/default"][..]),
            (ids[1].as_str(), &["debian/13", "debian/13/default", "debian/trixie/default"][..]),
        ];
        assert_eq!(near("debian/14", &images), ["debian/12", "debian/13"]);
    }
}
