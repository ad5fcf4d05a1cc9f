//! The classic LXC index: one line per image, read by every stock template since LXC 1.0.

use std::fmt;

use smol_str::SmolStr;

use crate::name::{Name, all, is_name, is_name_byte};

/// The classic index.
///
/// A line is `distribution;release;arch;variant;build;path/`: exactly six fields, LF, a final LF, no comment and no
/// blank line. Older templates abort on anything else, and newer ones paste a seventh field into the URL, so this
/// format cannot be extended (facts 3 and S3 of the classic contract).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The lines, in order. Of several lines for one image the first counts.
    pub entries: Vec<IndexEntry>,
}

impl Index {
    /// Reads the lines of one distribution, as [`parse`](Self::parse) does. An index may have very many others.
    pub fn parse_distribution(text: &str, distribution: &str) -> Self {
        let is_wanted = |line: &&str| line.split(';').next() == Some(distribution);
        Self { entries: lines(text).filter(is_wanted).filter_map(IndexEntry::parse).collect() }
    }

    /// Reads an index of any server. Lines that a stock template could not use either are left out and counted.
    pub fn parse(text: &str) -> (Self, usize) {
        let (mut entries, mut skipped) = (Vec::new(), 0);
        for line in lines(text) {
            match IndexEntry::parse(line) {
                Some(entry) => entries.push(entry),
                None => skipped += 1,
            }
        }
        (Self { entries }, skipped)
    }

    /// The first entry for an image, by exact comparison as the stock template does.
    pub fn find(&self, distribution: &str, release: &str, arch: &str, variant: &str) -> Option<&IndexEntry> {
        self.entries.iter().find(|entry| {
            entry.distribution.as_str() == distribution
                && entry.release.as_str() == release
                && entry.arch.as_str() == arch
                && entry.variant.as_str() == variant
        })
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

/// One line of the classic index.
///
/// The architecture is a [`Name`] and not an [`crate::arch::Arch`], and the build is any name with colons: other
/// servers spell both in their own way, and stock templates compare them as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// `debian`.
    pub distribution: Name,
    /// `bookworm`.
    pub release: Name,
    /// `amd64`.
    pub arch: Name,
    /// `default`.
    pub variant: Name,
    /// The build's name, compared only for equality.
    pub build: BuildName,
    /// The directory of the build's files on the server.
    pub path: BuildPath,
}

impl IndexEntry {
    fn parse(line: &str) -> Option<Self> {
        let IndexLine { distribution, release, arch, variant, build, path } = IndexLine::parse(line)?;
        Some(Self {
            distribution: distribution.parse().ok()?,
            release: release.parse().ok()?,
            arch: arch.parse().ok()?,
            variant: variant.parse().ok()?,
            build: BuildName::new(build)?,
            path: BuildPath::new(path)?,
        })
    }
}

/// The fields of a line of the classic index where they lie, for who only shows them: an index may have a hundred
/// thousand lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of `IndexEntry`")]
pub struct IndexLine<'a> {
    pub distribution: &'a str,
    pub release: &'a str,
    pub arch: &'a str,
    pub variant: &'a str,
    pub build: &'a str,
    pub path: &'a str,
}

/// The lines of an index, of which there may be very many. A line may end in `\r\n`.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes())
        .chain((!text.is_empty() && !text.ends_with('\n')).then_some(text.len()));
    let lines = ends.map(move |end| text.get(std::mem::replace(&mut start, end + 1)..end).unwrap_or_default());
    lines.map(|line| line.strip_suffix('\r').unwrap_or(line))
}

impl<'a> IndexLine<'a> {
    /// The fields of a line, if a stock template could use it.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (distribution, rest) = first_field(line, is_name)?;
        let (release, rest) = first_field(rest, is_name)?;
        let (arch, rest) = first_field(rest, is_name)?;
        let (variant, rest) = first_field(rest, is_name)?;
        let (build, path) = first_field(rest, is_build_name)?;
        // A path has no semicolon, so this was the last field.
        is_build_path(path).then_some(Self { distribution, release, arch, variant, build, path })
    }
}

/// The field at the start of a line, and what follows it. It is so short that to look at each byte is the fastest way.
fn first_field(line: &str, is_usable: fn(&str) -> bool) -> Option<(&str, &str)> {
    let end = line.bytes().position(|byte| byte == b';')?;
    let (field, rest) = (line.get(..end)?, line.get(end + 1..)?);
    is_usable(field).then_some((field, rest))
}

impl fmt::Display for IndexEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distribution, release, arch, variant, build, path } = self;
        write!(f, "{distribution};{release};{arch};{variant};{};{}", build.0, path.0)
    }
}

/// The name of a build on any server: a [`Name`] that may also hold colons (`20260120_07:42`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildName(SmolStr);

impl BuildName {
    /// The build's name, unless it holds anything but letters, digits and `.+_:-`.
    pub fn new(text: &str) -> Option<Self> {
        is_build_name(text).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A directory on a server, `/images/…/`: it starts and ends with a slash, and no part of it is `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPath(String);

impl BuildPath {
    /// The path, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        is_build_path(text).then(|| Self(text.to_owned()))
    }

    /// The path with its slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_build_name(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && all(text, |byte| is_name_byte(byte) || byte == b':')
}

fn is_build_path(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) else { return false };
    text.len() <= 512
        && all(inner, |byte| is_name_byte(byte) || matches!(byte, b':' | b'/'))
        // Only where a part may begin with a dot are the parts looked at.
        && (!text.contains("/.") || inner.split('/').all(|part| part != "." && part != ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "alpine;3.20;amd64;default;20261120_07:42;/images/alpine/3.20/amd64/default/20261120_07:42/";

    #[test]
    fn lines_are_those_of_the_standard_library() {
        for text in ["", "\n", "a", "a\n", "a\r\nb", "\n\nc\r\n\n", "é\nü"] {
            assert_eq!(lines(text).collect::<Vec<_>>(), text.lines().collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn a_line_is_read_and_written_back() {
        let (index, skipped) = Index::parse(&format!("{LINE}\n"));
        assert_eq!((index.entries.len(), skipped), (1, 0));
        assert_eq!(index.to_string(), format!("{LINE}\n"));
        assert!(index.find("alpine", "3.20", "amd64", "default").is_some());
        assert!(index.find("alpine", "3.20", "x86_64", "default").is_none());
    }

    #[test]
    fn of_two_lines_for_one_image_the_first_counts() {
        let newer = LINE.replace("20261120", "20261121");
        let (index, _) = Index::parse(&format!("{newer}\n{LINE}\n"));
        assert_eq!(index.find("alpine", "3.20", "amd64", "default").unwrap().build.as_str(), "20261121_07:42");
    }

    #[test]
    fn lines_that_would_lead_a_client_astray_are_left_out_and_counted() {
        let lies = [
            "",
            "# comment",
            "alpine;3.20;amd64;default;1",
            &format!("{LINE};seventh"),
            "alpine;3.20;amd64;default;1;/images/../../etc/",
            "alpine;3.20;amd64;../x;1;/images/",
            "alp*ne;3.20;amd64;default;1;/images/",
            "alpine;3.20;amd64;default;1;http://evil/",
            "alpine;3.20;amd64;default;\u{1b}[31m;/images/",
            &format!("{LINE}\u{7f}"),
        ];
        let (index, skipped) = Index::parse(&lies.join("\n"));
        assert_eq!((index.entries.len(), skipped), (0, lies.len()));
    }

    proptest! {
        #[test]
        fn whatever_was_read_is_written_in_lines_of_six_fields(text in "\\PC{0,200}") {
            let (index, _) = Index::parse(&text);
            for line in index.to_string().lines() {
                prop_assert_eq!(line.split(';').count(), 6);
            }
            prop_assert_eq!(Index::parse(&index.to_string()), (index, 0));
        }
    }
}
