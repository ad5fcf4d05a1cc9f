//! The images as a listing shows them.

use std::borrow::Cow;

use formats::arch::Arch;
use formats::image::ImageId;
use formats::index::{IndexLine, lines};
use transfer::Sink;

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

/// Who looks at the images of a server, one after the other.
pub trait Viewer {
    /// One more image.
    fn show(&mut self, image: Listed<'_>);
    /// The listing begins: what was shown before does not count, as the server has to be asked once more.
    fn begin(&mut self);
}

/// What can be said of a listing when all of it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether the images came in order of their ids, each once. Otherwise who shows them has to see to that.
    pub is_sorted: bool,
    /// Where there were none, names that may have been meant.
    pub near: Vec<String>,
}

/// Shows the images of a classic index while it arrives: the same that [`Catalog::of_index`] has in the end. An index may
/// have very many lines, and keeping them takes longer than reading them.
pub struct IndexListing<'a> {
    pattern: Option<&'a Pattern>,
    viewer: &'a mut dyn Viewer,
    /// A line whose end is still to come.
    begun: Vec<u8>,
    /// The usable line before.
    last: String,
    is_sorted: bool,
    /// The ids that did not match, a line each, as long as none did.
    unmatched: Option<String>,
}

impl<'a> IndexListing<'a> {
    /// Shows the viewer the images that match.
    pub fn new(pattern: Option<&'a Pattern>, viewer: &'a mut dyn Viewer) -> Self {
        Self {
            pattern,
            viewer,
            begun: Vec::new(),
            last: String::new(),
            is_sorted: true,
            unmatched: pattern.map(|_| String::new()),
        }
    }

    /// The index has ended.
    pub fn finish(mut self) -> Shown {
        let last = std::mem::take(&mut self.begun);
        self.read(&last);
        let unmatched = self.unmatched.unwrap_or_default();
        let ids: Vec<ImageId> = unmatched.lines().filter_map(|id| id.parse().ok()).collect();
        let typed = self.pattern.map(Pattern::text).unwrap_or_default();
        let near = near::names(typed, ids.iter().map(|id| (id, [].as_slice())));
        Shown { is_sorted: self.is_sorted, near }
    }

    /// Shows what whole lines say.
    fn read(&mut self, whole: &[u8]) {
        let text = str::from_utf8(whole).map_or_else(|_| String::from_utf8_lossy(whole), Cow::Borrowed);
        let last = std::mem::take(&mut self.last);
        let (mut id, mut last) = (String::new(), Line::of(&last));
        for line in lines(&text).filter_map(Line::of) {
            // Most servers write them in order, each image once.
            self.is_sorted &= last.is_none_or(|last| last.image < line.image);
            last = Some(line);
            let (distribution, release, arch, variant) = line.image;
            id.clear();
            for part in [distribution, "/", release, "/", arch.as_str(), "/", variant] {
                id.push_str(part);
            }
            if self.pattern.is_none_or(|pattern| pattern.matches(&id, line.image, &[])) {
                self.unmatched = None;
                self.viewer.show(Listed { image: &id, newest: line.build, size_bytes: None, aliases: &[] });
            } else if let Some(unmatched) = &mut self.unmatched {
                unmatched.extend([id.as_str(), "\n"]);
            }
        }
        self.last = last.map(|last| last.text.to_owned()).unwrap_or_default();
    }
}

impl Sink for IndexListing<'_> {
    fn begin(&mut self, _: Option<u64>) {
        self.viewer.begin();
        (self.begun, self.last, self.is_sorted) = (Vec::new(), String::new(), true);
        self.unmatched = self.pattern.map(|_| String::new());
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.begun.split_off(end + 1);
            let whole = std::mem::replace(&mut self.begun, rest);
            self.read(&whole);
        }
    }
}

/// A usable line of a classic index.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    /// The distribution, the release, the architecture and the variant.
    image: (&'a str, &'a str, Arch, &'a str),
    build: &'a str,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let IndexLine { distribution, release, arch, variant, build, .. } = IndexLine::parse(text)?;
        Some(Self { text, image: (distribution, release, arch.parse().ok()?, variant), build })
    }
}

impl Catalog {
    /// Shows these images.
    pub fn show(&self, pattern: Option<&Pattern>, viewer: &mut dyn Viewer) -> Shown {
        let mut is_empty = true;
        for image in self.listing(pattern) {
            is_empty = false;
            if let Some(newest) = image.builds.first() {
                let (id, size_bytes) = (image.id.to_string(), newest.size_bytes());
                viewer.show(Listed { image: &id, newest: newest.name.as_str(), size_bytes, aliases: &image.aliases });
            }
        }
        let near = pattern.filter(|_| is_empty).map(|pattern| self.near(pattern.text())).unwrap_or_default();
        Shown { is_sorted: true, near }
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
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Viewer for Seen {
        fn show(&mut self, image: Listed<'_>) {
            self.0.push(format!("{}@{}", image.image, image.newest));
        }

        fn begin(&mut self) {
            self.0.clear();
        }
    }

    /// What is shown of an index that comes in pieces.
    fn shown<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, pattern: Option<&Pattern>) -> (Vec<String>, Shown) {
        let mut seen = Seen::default();
        let mut listing = IndexListing::new(pattern, &mut seen);
        pieces.into_iter().for_each(|piece| listing.take(piece));
        let outcome = listing.finish();
        (seen.0, outcome)
    }

    fn of_catalog(text: &str, pattern: Option<&Pattern>) -> Vec<String> {
        let mut seen = Seen::default();
        Catalog::of_index(Index::parse(text).0).show(pattern, &mut seen);
        seen.0
    }

    const TEXT: &str = "alpine;3.20;amd64;default;1;/images/a/1/\nalpine;3.20;arm64;default;1;/images/../x/\n\
                        alpine;3.20;arm64;\x1b[2J;1;/images/a/1/\nalpine;3.9;pdp11;default;1;/images/a/1/\nalpine;1;2\n\
                        void;current;x86_64;musl;2;/images/v/2/";

    #[test]
    fn a_listing_of_a_classic_index_shows_what_its_catalog_has_and_nothing_unusable() {
        for (pattern, expected) in [
            (None, vec!["alpine/3.20/amd64/default@1", "void/current/amd64/musl@2"]),
            (Some("v*musl"), vec!["void/current/amd64/musl@2"]),
            (Some("alpine/3.20/default"), vec!["alpine/3.20/amd64/default@1"]),
            (Some("void/current/x86_64"), vec!["void/current/amd64/musl@2"]),
        ] {
            let pattern: Option<Pattern> = pattern.map(|text| text.parse().unwrap());
            let (seen, outcome) = shown([TEXT.as_bytes()], pattern.as_ref());
            assert_eq!((&seen, outcome.is_sorted), (&expected.iter().map(ToString::to_string).collect(), true));
            assert_eq!(of_catalog(TEXT, pattern.as_ref()), expected);
        }
    }

    #[test]
    fn an_index_that_is_not_in_order_or_names_an_image_twice_is_said_to_be() {
        let line = |image: &str| format!("{image};default;1;/images/a/\n");
        for (images, is_sorted) in [
            (["a;1;amd64", "a;1;arm64", "b;1;amd64"], true),
            (["b;1;amd64", "a;1;amd64", "a;1;arm64"], false),
            (["a;1;amd64", "a;1;x86_64", "b;1;amd64"], false),
            // As the catalog has it, whatever the bytes of the lines say.
            (["a;1;amd64", "a-b;1;amd64", "b;1;amd64"], true),
        ] {
            let text = images.map(line).concat();
            // Also where one piece ends and the next begins.
            assert_eq!(shown([text.as_bytes()], None).1.is_sorted, is_sorted, "{images:?}");
            assert_eq!(shown(text.as_bytes().chunks(20), None).1.is_sorted, is_sorted, "{images:?}");
        }
    }

    #[test]
    fn where_nothing_matches_near_names_are_told() {
        let pattern: Pattern = "alpin/3.20".parse().unwrap();
        let (seen, outcome) = shown([TEXT.as_bytes()], Some(&pattern));
        assert_eq!((seen.len(), outcome.near), (0, vec!["alpine/3.20".to_owned()]));
        let mut viewer = Seen::default();
        let of_index = Catalog::of_index(Index::parse(TEXT).0);
        assert_eq!(of_index.show(Some(&pattern), &mut viewer).near, ["alpine/3.20"]);
    }

    #[test]
    fn what_a_failed_attempt_brought_does_not_count() {
        let mut seen = Seen::default();
        let mut listing = IndexListing::new(None, &mut seen);
        listing.take(b"zzz;1;amd64;default;1;/images/z/\nalpine;3.2");
        listing.begin(None);
        listing.take(TEXT.as_bytes());
        assert!(listing.finish().is_sorted);
        assert_eq!(seen.0, of_catalog(TEXT, None));
    }

    proptest! {
        #[test]
        fn wherever_an_index_is_cut_the_same_is_shown(
            lines in prop::collection::vec("[a-c];[12];(amd64|arm64|x86_64);[de];[0-9]{2};/i/[a-z\u{e9}]/|[a-c;\r]{0,9}", 0..12),
            length in 1_usize..40,
        ) {
            let text = lines.join("\n");
            let (seen, outcome) = shown(text.as_bytes().chunks(length), None);
            prop_assert_eq!(&(seen.clone(), outcome.clone()), &shown([text.as_bytes()], None));
            if outcome.is_sorted {
                prop_assert_eq!(seen, of_catalog(&text, None));
            }
        }
    }
}
