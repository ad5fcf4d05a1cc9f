//! The images as a listing shows them.

use formats::arch::Arch;
use formats::image::ImageId;
use formats::index::{IndexLine, lines};

use super::{Catalog, Image, Pattern, near};

/// An image as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its id.
    pub image: &'a str,
    /// Its newest build.
    pub newest: &'a str,
    /// What a create downloads; unknown where the server does not say.
    pub size_bytes: Option<u64>,
    /// What else it is called.
    pub aliases: &'a [String],
}

/// Shows the images of a classic index, which may have very many lines, in order of their ids: the same that
/// [`Catalog::of_index`] would show. Where there are none, it returns names that may have been meant.
pub fn show_index(text: &str, pattern: Option<&Pattern>, show: &mut dyn FnMut(Listed<'_>)) -> Vec<String> {
    let mut places: Vec<Place<'_>> = lines(text).filter_map(Place::of).collect();
    // Most servers write them in order, each image once.
    if !places.iter().map(Place::image).is_sorted_by(|one, other| one < other) {
        places.sort_by(|one, other| one.image().cmp(&other.image()));
        // Of the lines of one image the first counts.
        places.dedup_by(|one, other| one.image() == other.image());
    }
    let (mut id, mut is_empty) = (String::new(), true);
    for place in &places {
        let ([distribution, release, variant, newest], arch) = (place.fields(), place.arch);
        id.clear();
        for part in [distribution, "/", release, "/", arch.as_str(), "/", variant] {
            id.push_str(part);
        }
        if pattern.is_none_or(|pattern| pattern.matches(&id, (distribution, release, arch, variant), &[])) {
            is_empty = false;
            show(Listed { image: &id, newest, size_bytes: None, aliases: &[] });
        }
    }
    let Some(pattern) = pattern.filter(|_| is_empty) else { return Vec::new() };
    let ids: Vec<ImageId> = places.iter().filter_map(Place::id).collect();
    near::names(pattern.text(), ids.iter().map(|id| (id, [].as_slice())))
}

/// A usable line of a classic index and how long its fields are: less than the fields themselves would take.
struct Place<'a> {
    line: &'a str,
    lengths: [u8; 5],
    arch: Arch,
}

impl<'a> Place<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let IndexLine { distribution, release, arch, variant, build, .. } = IndexLine::parse(line)?;
        let lengths =
            [distribution, release, arch, variant, build].map(|field| u8::try_from(field.len()).unwrap_or(u8::MAX));
        Some(Self { line, lengths, arch: arch.parse().ok()? })
    }

    /// The distribution, the release, the variant and the build.
    fn fields(&self) -> [&'a str; 4] {
        let mut rest = self.line;
        let fields = self.lengths.map(|length| {
            let (field, others) = rest.split_at_checked(usize::from(length)).unwrap_or_default();
            rest = others.get(1..).unwrap_or_default();
            field
        });
        let [distribution, release, _, variant, build] = fields;
        [distribution, release, variant, build]
    }

    fn image(&self) -> (&'a str, &'a str, Arch, &'a str) {
        let [distribution, release, variant, _] = self.fields();
        (distribution, release, self.arch, variant)
    }

    fn id(&self) -> Option<ImageId> {
        let (distribution, release, arch, variant) = self.image();
        let [distribution, release, variant] = [distribution, release, variant].map(str::parse);
        Some(ImageId { distribution: distribution.ok()?, release: release.ok()?, arch, variant: variant.ok()? })
    }
}

impl Catalog {
    /// Shows these images. Where there are none, it returns names that may have been meant.
    pub fn show(&self, pattern: Option<&Pattern>, show: &mut dyn FnMut(Listed<'_>)) -> Vec<String> {
        let mut is_empty = true;
        for image in self.listing(pattern) {
            is_empty = false;
            if let Some(newest) = image.builds.first() {
                let (id, size_bytes) = (image.id.to_string(), newest.size_bytes());
                show(Listed { image: &id, newest: newest.name.as_str(), size_bytes, aliases: &image.aliases });
            }
        }
        pattern.filter(|_| is_empty).map(|pattern| self.near(pattern.text())).unwrap_or_default()
    }

    /// The images that a listing shows.
    pub fn listing(&self, pattern: Option<&Pattern>) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(move |Image { id, aliases, .. }| {
            pattern.is_none_or(|pattern| {
                let ImageId { distribution, release, arch, variant } = id;
                let parts = (distribution.as_str(), release.as_str(), *arch, variant.as_str());
                pattern.matches(&id.to_string(), parts, aliases)
            })
        })
    }

    /// What may have been meant by this.
    pub fn near(&self, typed: &str) -> Vec<String> {
        near::names(typed, self.images.iter().map(|image| (&image.id, image.aliases.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use formats::index::Index;

    use super::*;

    #[test]
    fn a_listing_of_a_classic_index_shows_what_its_catalog_has_and_nothing_unusable() {
        let text = "void;current;amd64;musl;2;/images/v/2/\nalpine;3.20;x86_64;default;2;/images/a/2/\n\
                    alpine;3.20;amd64;default;1;/images/a/1/\nalpine;3.9;pdp11;default;1;/images/a/1/\n\
                    alpine;3.20;arm64;default;1;/images/../x/\nalpine;3.20;arm64;\x1b[2J;1;/images/a/1/\nalpine;1;2\n";
        for (pattern, expected) in [
            (None, vec!["alpine/3.20/amd64/default@2", "void/current/amd64/musl@2"]),
            (Some("v*musl"), vec!["void/current/amd64/musl@2"]),
            (Some("alpine/3.20/default"), vec!["alpine/3.20/amd64/default@2"]),
            (Some("alpine/3.20/x86_64"), vec!["alpine/3.20/amd64/default@2"]),
        ] {
            let pattern: Option<Pattern> = pattern.map(|text| text.parse().unwrap());
            let (mut direct, mut catalog) = (Vec::new(), Vec::new());
            show_index(text, pattern.as_ref(), &mut |one| direct.push(format!("{}@{}", one.image, one.newest)));
            let of_index = Catalog::of_index(Index::parse(text).0);
            of_index.show(pattern.as_ref(), &mut |one| catalog.push(format!("{}@{}", one.image, one.newest)));
            assert_eq!(direct, expected);
            assert_eq!(catalog, expected);
        }
    }

    #[test]
    fn where_nothing_matches_near_names_are_told() {
        let text = "void;current;amd64;musl;2;/images/v/2/\nalpine;3.20;x86_64;default;2;/images/a/2/\n";
        let pattern: Pattern = "alpin/3.20".parse().unwrap();
        let near = show_index(text, Some(&pattern), &mut |_| panic!("nothing matches"));
        assert_eq!(near, ["alpine/3.20"]);
        let of_index = Catalog::of_index(Index::parse(text).0);
        assert_eq!(of_index.show(Some(&pattern), &mut |_| panic!("nothing matches"))[0], "alpine/3.20");
    }
}
