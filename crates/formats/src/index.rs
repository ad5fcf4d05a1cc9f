//! The classic LXC index: one line per image, read by every stock template since LXC 1.0.

use std::fmt;

use smol_str::SmolStr;

use crate::name::Name;

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
        Self { entries: text.lines().filter(is_wanted).filter_map(IndexEntry::parse).collect() }
    }

    /// Reads an index of any server. Lines that a stock template could not use either are left out and counted.
    pub fn parse(text: &str) -> (Self, usize) {
        let (mut entries, mut skipped) = (Vec::new(), 0);
        for line in text.lines() {
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
        let mut fields = line.split(';');
        let mut next = || fields.next();
        let (distribution, release, arch, variant, build, path) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        if next().is_some() {
            return None;
        }
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
        let usable =
            text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(is_usable);
        usable.then(|| Self(text.into()))
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
        let inner = text.strip_prefix('/')?.strip_suffix('/')?;
        let usable = text.len() <= 512
            && inner.bytes().all(|byte| byte == b'/' || is_usable(byte))
            && inner.split('/').all(|part| part != "." && part != "..");
        usable.then(|| Self(text.to_owned()))
    }

    /// The path with its slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_usable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'_' | b':' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "alpine;3.20;amd64;default;20261120_07:42;/images/alpine/3.20/amd64/default/20261120_07:42/";

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
