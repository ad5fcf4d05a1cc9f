//! The classic indexes.

use std::collections::BTreeMap;

use formats::compat::{CompatLevel, Mode};
use formats::index::{BuildName, BuildPath, Index, IndexEntry};
use formats::layout;
use formats::record::BuildFile;

use crate::catalog::CatalogEntry;

/// The path of every index with the mode and level it is for: without a suffix, which is that of the newest level, and
/// for each level. All levels exist, so that no client pays for the fallback to the one without a suffix.
pub fn paths() -> impl Iterator<Item = (String, Mode, CompatLevel)> {
    let suffixes = || std::iter::once(None).chain(CompatLevel::all().map(Some));
    let all = Mode::ALL.into_iter().flat_map(move |mode| suffixes().map(move |level| (mode, level)));
    all.map(|(mode, level)| (layout::index(mode, level), mode, level.unwrap_or(CompatLevel::NEWEST)))
}

/// The lines of each index that builds add to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<(Mode, CompatLevel), String>);

impl Lines {
    /// Those of the newest build of each image.
    pub fn of(builds: &[&CatalogEntry]) -> Self {
        let all = Mode::ALL.into_iter().flat_map(|mode| CompatLevel::all().map(move |level| (mode, level)));
        Self(all.map(|(mode, level)| ((mode, level), index(builds, mode, level).to_string())).collect())
    }

    /// Those for one mode and level.
    pub fn get(&self, mode: Mode, level: CompatLevel) -> &str {
        self.0.get(&(mode, level)).map_or("", String::as_str)
    }
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
    fn both_modes_have_an_index_of_each_level_and_one_without() {
        let paths: Vec<_> = paths().map(|(path, _, _)| path).collect();
        assert_eq!((paths.len(), &*paths[0], &*paths[15]), (16, "meta/1.0/index-system", "meta/1.0/index-user.7"));
    }

    #[test]
    fn the_newest_build_of_each_image_is_listed_in_lines_of_six_fields() {
        let old = build(&FakeImage::new("debian/trixie/amd64/default").serial("20261122_0000"));
        let new = build(&FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522"));
        let cloud = build(&FakeImage::new("debian/trixie/amd64/cloud").serial("20261101_0000"));
        assert_eq!(
            Lines::of(&[&old, &cloud, &new]).get(Mode::System, CompatLevel::NEWEST),
            "debian;trixie;amd64;cloud;20261101_0000;/images/debian/trixie/amd64/cloud/20261101_0000/\n\
             debian;trixie;amd64;default;20261123_0522;/images/debian/trixie/amd64/default/20261123_0522/\n"
        );
    }

    #[test]
    fn an_image_is_hidden_from_levels_whose_configuration_it_does_not_have() {
        let image = FakeImage::new("debian/trixie/amd64/default").without_member("config.1");
        let lines = Lines::of(&[&build(&image)]);
        let count = |mode, level: &str| lines.get(mode, level.parse().unwrap()).lines().count();
        assert_eq!((count(Mode::System, "1"), count(Mode::System, "2")), (0, 1));
        assert_eq!((count(Mode::User, "1"), count(Mode::User, "7")), (0, 1));
    }
}
