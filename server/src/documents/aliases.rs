//! The other names of images.

use std::collections::{BTreeMap, BTreeSet};

use formats::image::ImageId;
use formats::name::Name;
use formats::record::BuildRecord;

/// For each distribution, the release that its bare name means.
#[derive(Clone, Debug, Default)]
pub(super) struct CurrentReleases(BTreeMap<Name, Name>);

impl CurrentReleases {
    /// The newest release of each distribution: the one with the highest number. Where releases are named by numbers,
    /// one that is not (`edge`, `rawhide`) is never meant; elsewhere the number is the one that builds give as an alias
    /// (`debian/13` for trixie), which what is not yet released has none of. Without any number there must be one
    /// release only.
    pub(super) fn of<'a>(builds: impl IntoIterator<Item = &'a BuildRecord>) -> Self {
        let mut releases: BTreeMap<&Name, BTreeSet<(Option<Rank>, &Name)>> = BTreeMap::new();
        for build in builds {
            releases.entry(&build.image.distribution).or_default().insert((rank(build), &build.image.release));
        }
        let current = releases.into_iter().filter_map(|(distribution, ranked)| {
            let is_only_one = ranked.iter().map(|(_, release)| release).collect::<BTreeSet<_>>().len() == 1;
            let (rank, newest) = ranked.last()?;
            (rank.is_some() || is_only_one).then(|| (distribution.clone(), (*newest).clone()))
        });
        Self(current.collect())
    }

    /// The names of an image: the aliases of its record and its own name, each also with the variant. A name without a
    /// variant means the default one, so it is given to no other.
    pub(super) fn aliases(&self, image: &ImageId, others: &[String]) -> Vec<String> {
        let own = format!("{}/{}", image.distribution, image.release);
        let suffix = format!("/{}", image.variant);
        let is_default = image.variant.as_str() == ImageId::DEFAULT_VARIANT;
        let is_current = self.0.get(&image.distribution) == Some(&image.release);
        let bare = is_current.then(|| image.distribution.to_string());
        let mut all = Vec::new();
        for name in std::iter::once(&own).chain(others).chain(&bare) {
            let name = name.strip_suffix(&suffix).unwrap_or(name);
            let plain = is_default.then(|| name.to_owned());
            for alias in std::iter::once(format!("{name}{suffix}")).chain(plain) {
                if !all.contains(&alias) {
                    all.push(alias);
                }
            }
        }
        all
    }
}

/// How new a release is: the later in this order, the newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The version that a build of a release with another name has.
    Alias(Vec<u64>),
    /// The release is named by its version.
    Own(Vec<u64>),
}

fn rank(build: &BuildRecord) -> Option<Rank> {
    let ImageId { distribution, release, .. } = &build.image;
    let alias = |alias: &String| {
        let name = alias.strip_prefix(distribution.as_str())?.strip_prefix('/')?;
        version(name.split('/').next()?)
    };
    let own = version(release.as_str()).map(Rank::Own);
    own.or_else(|| build.aliases.iter().filter_map(alias).max().map(Rank::Alias))
}

/// `24.04` as numbers.
fn version(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use testkit::FakeImage;

    use super::*;

    fn current(images: &[(&str, &[&str])]) -> BTreeMap<String, String> {
        let record = |(id, aliases): &(&str, &[&str])| {
            aliases.iter().fold(FakeImage::new(id), |image, alias| image.alias(alias)).record()
        };
        let records: Vec<_> = images.iter().map(record).collect();
        let CurrentReleases(current) = CurrentReleases::of(&records);
        current.into_iter().map(|(distribution, release)| (distribution.to_string(), release.to_string())).collect()
    }

    fn one(images: &[(&str, &[&str])]) -> Option<String> {
        current(images).into_values().next()
    }

    #[test]
    fn a_bare_name_means_the_newest_release_that_has_a_number() {
        let debian: &[(&str, &[&str])] = &[
            ("debian/bookworm/amd64/default", &["debian/12"]),
            ("debian/sid/amd64/default", &[]),
            ("debian/trixie/amd64/cloud", &["debian/13/cloud"]),
            ("debian/bullseye/amd64/default", &["debian/11"]),
        ];
        assert_eq!(one(debian).as_deref(), Some("trixie"));
        // By numbers and not by letters.
        let ubuntu: &[(&str, &[&str])] = &[
            ("alpine/3.9/amd64/default", &[]),
            ("alpine/3.22/amd64/default", &[]),
            ("alpine/edge/amd64/default", &[]),
        ];
        assert_eq!(one(ubuntu).as_deref(), Some("3.22"));
    }

    #[test]
    fn where_releases_are_numbers_another_one_is_never_meant() {
        let fedora: &[(&str, &[&str])] =
            &[("fedora/43/amd64/default", &[]), ("fedora/rawhide/amd64/default", &["fedora/44"])];
        assert_eq!(one(fedora).as_deref(), Some("43"));
    }

    #[test]
    fn without_numbers_the_only_release_is_meant_and_of_several_none() {
        let arch: (&str, &[&str]) = ("archlinux/current/amd64/default", &[]);
        let both = [arch, ("debian/forky/amd64/default", &[]), ("debian/sid/amd64/default", &[])];
        assert_eq!(current(&both), BTreeMap::from([("archlinux".to_owned(), "current".to_owned())]));
    }

    #[test]
    fn a_name_without_a_variant_belongs_to_the_default_one() {
        let current = CurrentReleases(BTreeMap::from([("debian".parse().unwrap(), "trixie".parse().unwrap())]));
        let others = ["debian/13".to_owned(), "debian/13/default".to_owned()];
        assert_eq!(
            current.aliases(&"debian/trixie/amd64/default".parse().unwrap(), &others),
            ["debian/trixie/default", "debian/trixie", "debian/13/default", "debian/13", "debian/default", "debian"]
        );
        let others = ["debian/13".to_owned(), "debian/13/cloud".to_owned()];
        assert_eq!(
            current.aliases(&"debian/trixie/amd64/cloud".parse().unwrap(), &others),
            ["debian/trixie/cloud", "debian/13/cloud", "debian/cloud"]
        );
        assert_eq!(
            current.aliases(&"debian/sid/amd64/default".parse().unwrap(), &[]),
            ["debian/sid/default", "debian/sid"]
        );
    }
}
