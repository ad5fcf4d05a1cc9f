//! What a path asks for.

use std::borrow::Cow;

use formats::delta::DeltaKind;
use formats::image::ImageId;
use formats::layout;
use formats::record::BuildFile;
use formats::serial::Serial;

use super::page::Page;
use crate::store::{BuildId, RECORD};

/// A path that was understood. Files are named by types that can name nothing outside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A document of the current generation, by its path; perhaps there is none.
    Document(String),
    /// A page for people.
    Page(Page),
    /// A file of a build.
    File {
        /// The channel whose prefix it was asked under.
        channel: Option<String>,
        /// The build.
        build: BuildId,
        /// Which file.
        file: StoreFile,
    },
}

/// A file that stands in a build's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoreFile {
    /// A file the record names, with its size and digest.
    Recorded(BuildFile),
    /// A delta from another build of the same image.
    Delta(DeltaKind, Serial),
    /// A small file beside those.
    Small(&'static str),
}

impl StoreFile {
    /// Its name.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Recorded(file) => file.name().into(),
            Self::Delta(kind, base) => kind.file_name(base).into(),
            Self::Small(name) => (*name).into(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let recorded = BuildFile::ALL.into_iter().find(|file| file.name() == name).map(Self::Recorded);
        let delta = || DeltaKind::parse_file_name(name).map(|(kind, base)| Self::Delta(kind, base));
        recorded.or_else(delta).or_else(|| SMALL.into_iter().find(|small| *small == name).map(Self::Small))
    }
}

/// A path that no client of ours or of others would ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPath;

impl Route {
    /// Understands the path of a URL: runs of slashes count as one (stock templates write `//meta/…`), escapes are
    /// decoded once (wget2 writes `%3A`), and what could lead anywhere else is refused.
    pub(super) fn parse(path: &str) -> Result<Self, BadPath> {
        let decoded = decode(path)?;
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_bad = |segment: &&str| matches!(*segment, "." | "..") || segment.contains(['\\', '\0']);
        if segments.iter().any(is_bad) || decoded.chars().any(char::is_control) {
            return Err(BadPath);
        }
        if let Some(page) = page(&segments) {
            return Ok(Self::Page(page));
        }
        let (channel, rest) = match segments.as_slice() {
            ["c", channel, rest @ ..] => (Some(*channel), rest),
            rest => (None, rest),
        };
        Ok(file(channel, rest).unwrap_or_else(|| Self::Document(segments.join("/"))))
    }
}

fn page(segments: &[&str]) -> Option<Page> {
    match segments {
        [] => Some(Page::Images),
        ["style.css"] => Some(Page::Style),
        ["images", parts @ ..] if parts.len() == 4 => parts.join("/").parse().ok().map(Page::Image),
        _ => None,
    }
}

fn file(channel: Option<&str>, segments: &[&str]) -> Option<Route> {
    let ["images", parts @ .., serial, name] = segments else { return None };
    let image: ImageId = parts.join("/").parse().ok()?;
    let build = BuildId { image, serial: serial.parse().ok()? };
    // An architecture has many spellings and a build one directory.
    (layout::build_dir(&build.image, &build.serial) == format!("images/{}/{serial}", parts.join("/"))).then_some(())?;
    Some(Route::File { channel: channel.map(str::to_owned), build, file: StoreFile::parse(name)? })
}

/// The text of a path or a part of a query, its escapes decoded once.
pub(super) fn decode(path: &str) -> Result<String, BadPath> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit().ok_or(BadPath)?, digit().ok_or(BadPath)?);
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| BadPath)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| BadPath)
}

const SMALL: [&str; 5] = [RECORD, "SHA256SUMS", "SHA256SUMS.gpg", "rootfs.tar.xz.asc", "meta.tar.xz.asc"];

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz";

    #[test]
    fn slashes_collapse_and_escapes_are_decoded() {
        let plain = Route::parse(&format!("/{FILE}")).unwrap();
        assert!(matches!(&plain, Route::File { channel: None, .. }));
        for path in [
            "//images/debian/trixie/amd64/default/20261123_0522//rootfs.tar.xz",
            "/images/debian/trixie/amd64/default/20261123%5F0522/rootfs%2Etar.xz",
            "///images//debian/trixie/%61md64/default/20261123_0522/rootfs.tar.xz",
        ] {
            assert_eq!(Route::parse(path).unwrap(), plain, "{path}");
        }
        assert_eq!(Route::parse("//meta/1.0/index-user.7").unwrap(), Route::Document("meta/1.0/index-user.7".into()));
    }

    #[test]
    fn a_channels_prefix_leads_to_the_same_files() {
        let Route::File { channel, .. } = Route::parse(&format!("/c/staging//{FILE}")).unwrap() else { panic!() };
        assert_eq!(channel.as_deref(), Some("staging"));
    }

    #[test]
    fn paths_that_could_lead_elsewhere_are_bad() {
        for path in [
            "/../etc/passwd",
            "/images/../keys/repository.secret.pgp",
            "/%2e%2e/keys",
            "/images/%2e%2e%2f%2e%2e%2fkeys",
            "/a\\b",
            "/%00",
            "/%0d%0aX: y",
            "/%",
            "/%2",
            "/%zz",
            "/%ff",
            "/./x",
        ] {
            assert_eq!(Route::parse(path), Err(BadPath), "{path}");
        }
    }

    #[test]
    fn an_escape_is_decoded_once_and_other_files_are_no_files() {
        for path in [
            "/%252e%252e/keys",
            "/images/debian/trixie/amd64/default/20261123_0522/build.log",
            "/images/debian/trixie/amd64/default/20261123_0522",
            "/images/debian/trixie/x86_64/default/20261123_0522/rootfs.tar.xz",
            "/images/debian/trixie/amd64/default/yesterday/rootfs.tar.xz",
            "/v1/keys/repository.secret.pgp",
        ] {
            assert!(matches!(Route::parse(path).unwrap(), Route::Document(_)), "{path}");
        }
    }
}
