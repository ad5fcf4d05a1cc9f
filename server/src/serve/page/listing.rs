//! What is published, as the pages list it.

use formats::image::ImageId;
use formats::record::BuildFile;
use formats::serial::Serial;
use formats::streams::Products;
use formats::time::Timestamp;
use terminal::human;

/// The images of a channel, in order of their names.
#[derive(Debug, Default)]
pub(in crate::serve) struct Listing {
    images: Vec<Image>,
}

/// An image that has at least one build.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) id: ImageId,
    /// The distribution's name for people.
    pub(super) os: String,
    /// Its other names, separated by commas.
    pub(super) aliases: String,
    /// Whether its distribution no longer supported it when this was published.
    pub(super) is_past_end_of_life: bool,
    /// The newest build.
    pub(super) newest: Build,
    /// The builds before it, newest first.
    earlier: Vec<Build>,
}

/// One build of an image.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) serial: Serial,
    /// Of what one client fetches: the smallest rootfs.
    size_bytes: u64,
}

/// The images of one distribution.
pub(super) struct Group<'a> {
    pub(super) os: &'a str,
    pub(super) images: Vec<&'a Image>,
}

impl Listing {
    /// Reads products files, one after the other.
    pub(in crate::serve) fn of<'a>(files: impl Iterator<Item = &'a [u8]>, published: Timestamp) -> Self {
        let mut images: Vec<Image> = files.flat_map(|file| Self::images_of(file, published)).collect();
        images.sort_by(|a, b| a.id.cmp(&b.id));
        Self { images }
    }

    fn images_of(products: &[u8], published: Timestamp) -> Vec<Image> {
        let Ok(products) = serde_json::from_slice::<Products>(products) else { return Vec::new() };
        let images = products.images().filter_map(|(id, product)| {
            let mut builds = product.builds().map(|(serial, version)| {
                let rootfs = [BuildFile::RootfsTarXz, BuildFile::RootfsSquashfs];
                let sizes = rootfs.into_iter().filter_map(|file| Some(version.item(file)?.digest.size_bytes));
                Build { serial, size_bytes: sizes.min().unwrap_or(0) }
            });
            let (newest, earlier) = (builds.next()?, builds.collect());
            let aliases = product.aliases().collect::<Vec<_>>().join(", ");
            let is_past_end_of_life = product.support_eol.as_ref().is_some_and(|day| *day < published.date());
            Some(Image { id, os: product.os.clone(), aliases, is_past_end_of_life, newest, earlier })
        });
        images.collect()
    }

    /// The images whose name or alias holds every word, by distribution, at most `most` of them, and how many match.
    pub(super) fn search(&self, words: &str, most: usize) -> (Vec<Group<'_>>, usize) {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut total = 0;
        for image in self.images.iter().filter(|image| words.iter().all(|word| image.is_called(word))) {
            total += 1;
            if total > most {
                continue;
            }
            match groups.last_mut() {
                Some(group)
                    if group.images.last().is_some_and(|last| last.id.distribution == image.id.distribution) =>
                {
                    group.images.push(image);
                }
                _ => groups.push(Group { os: &image.os, images: vec![image] }),
            }
        }
        (groups, total)
    }

    /// One image.
    pub(super) fn image(&self, id: &ImageId) -> Option<&Image> {
        self.images.binary_search_by(|image| image.id.cmp(id)).ok().and_then(|place| self.images.get(place))
    }
}

impl Image {
    /// Every build, newest first.
    pub(super) fn builds(&self) -> impl Iterator<Item = &Build> {
        std::iter::once(&self.newest).chain(&self.earlier)
    }

    /// A build, the newest if no serial is given, and the one before it.
    pub(super) fn build(&self, serial: Option<&str>) -> Option<(&Build, Option<&Build>)> {
        let mut builds = self.builds();
        let found = builds.find(|one| serial.is_none_or(|serial| one.serial.as_str() == serial))?;
        Some((found, builds.next()))
    }

    fn is_called(&self, word: &str) -> bool {
        let mut names = [self.id.to_string(), self.os.to_lowercase(), self.aliases.to_lowercase()].into_iter();
        names.any(|name| name.contains(word))
    }
}

impl Build {
    /// When it was made, for people: to the minute, as its serial says.
    pub(super) fn made(&self) -> String {
        self.serial.time().map(|time| time.to_string()).unwrap_or_default()
    }

    /// Its size for people.
    pub(super) fn size(&self) -> String {
        human::bytes(self.size_bytes)
    }
}
