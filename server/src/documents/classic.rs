//! The classic indexes.

use formats::compat::{CompatLevel, Mode};
use formats::index::{BuildName, BuildPath, Index, IndexEntry};
use formats::layout;
use formats::record::BuildFile;

use crate::catalog::CatalogEntry;

/// Every index with its path: both modes, without a suffix and for each level. All levels exist, so that no client
/// pays for the fallback to the one without a suffix, which is that of the newest level.
pub fn indexes(builds: &[&CatalogEntry]) -> Vec<(String, Index)> {
    let suffixes = || std::iter::once(None).chain(CompatLevel::all().map(Some));
    let all = Mode::ALL.into_iter().flat_map(|mode| suffixes().map(move |level| (mode, level)));
    all.map(|(mode, level)| (layout::index(mode, level), index(builds, mode, level.unwrap_or(CompatLevel::NEWEST))))
        .collect()
}

/// The newest build of each image that clients of this mode and level can use.
fn index(builds: &[&CatalogEntry], mode: Mode, level: CompatLevel) -> Index {
    let usable = |build: &&&CatalogEntry| {
        build.offers.contains(mode, level) && build.record.files.contains_key(&BuildFile::RootfsTarXz)
    };
    let mut newest: Vec<&CatalogEntry> = builds.iter().filter(usable).copied().collect();
    newest.sort_by(|a, b| a.record.image.cmp(&b.record.image).then(b.record.serial.cmp(&a.record.serial)));
    newest.dedup_by(|a, b| a.record.image == b.record.image);
    Index { entries: newest.into_iter().filter_map(entry).collect() }
}

/// Image ids and serials only hold characters that fit into a line.
fn entry(build: &CatalogEntry) -> Option<IndexEntry> {
    let image = &build.record.image;
    Some(IndexEntry {
        distribution: image.distribution.clone(),
        release: image.release.clone(),
        arch: image.arch.as_str().parse().ok()?,
        variant: image.variant.clone(),
        build: BuildName::new(build.record.serial.as_str())?,
        path: BuildPath::new(&format!("/{}/", layout::build_dir(image, &build.record.serial)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::streams::tests::entry as build;
    use testkit::FakeImage;

    #[test]
    fn the_newest_build_of_each_image_is_listed_in_lines_of_six_fields() {
        let old = build(&FakeImage::new("debian/trixie/amd64/default").serial("20261122_0000"));
        let new = build(&FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522"));
        let cloud = build(&FakeImage::new("debian/trixie/amd64/cloud").serial("20261101_0000"));
        let indexes = indexes(&[&old, &cloud, &new]);
        assert_eq!(indexes.len(), 16);
        let (path, index) = &indexes[0];
        assert_eq!(path, "meta/1.0/index-system");
        assert_eq!(
            index.to_string(),
            "debian;trixie;amd64;cloud;20261101_0000;/images/debian/trixie/amd64/cloud/20261101_0000/\n\
             debian;trixie;amd64;default;20261123_0522;/images/debian/trixie/amd64/default/20261123_0522/\n"
        );
    }

    #[test]
    fn an_image_is_hidden_from_levels_whose_configuration_it_does_not_have() {
        let image = FakeImage::new("debian/trixie/amd64/default").without_member("config.1");
        let build = build(&image);
        let indexes = indexes(&[&build]);
        let lines = |path: &str| indexes.iter().find(|(found, _)| found == path).unwrap().1.entries.len();
        assert_eq!(lines("meta/1.0/index-system.1"), 0);
        assert_eq!(lines("meta/1.0/index-system.2"), 1);
        assert_eq!(lines("meta/1.0/index-user.1"), 0);
        assert_eq!(lines("meta/1.0/index-user.7"), 1);
    }
}
