//! [`ImageId`], and [`ImageQuery`]: what a person types for one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::arch::{Arch, ParseArchError};
use crate::index::BuildName;
use crate::name::{Name, ParseNameError};
use crate::serial::ParseSerialError;
use crate::text;

/// An image: `debian/trixie/amd64/default`. Each part is a [`Name`] or an [`Arch`], so an id is always a safe
/// relative path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId {
    /// `debian`.
    pub distribution: Name,
    /// `trixie`, `24.04`.
    pub release: Name,
    /// The architecture.
    pub arch: Arch,
    /// `default`, `cloud`.
    pub variant: Name,
}

impl ImageId {
    /// The variant of an id that names none.
    pub const DEFAULT_VARIANT: &'static str = "default";

    /// The simplestreams product name, `debian:trixie:amd64:default`.
    pub fn product_name(&self) -> String {
        format!("{}:{}:{}:{}", self.distribution, self.release, self.arch, self.variant)
    }

    /// The id of a simplestreams product name.
    pub fn from_product_name(text: &str) -> Result<Self, ParseImageIdError> {
        Self::from_parts(text, ':')
    }

    fn from_parts(text: &str, separator: char) -> Result<Self, ParseImageIdError> {
        let mut parts = text.split(separator);
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        let [Some(distribution), Some(release), Some(arch), Some(variant), None] = parts else {
            return Err(ParseImageIdError::Shape { found: shortened(text) });
        };
        Ok(Self {
            distribution: distribution.parse()?,
            release: release.parse()?,
            arch: arch.parse()?,
            variant: variant.parse()?,
        })
    }
}

impl FromStr for ImageId {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        Self::from_parts(text, '/')
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Large servers write very many: pieces take a third of the time that a format does.
        let Self { distribution, release, arch, variant } = self;
        let parts = [distribution.as_str(), "/", release.as_str(), "/", arch.as_str(), "/", variant.as_str()];
        parts.into_iter().try_for_each(|part| f.write_str(part))
    }
}

/// What a person types for an image: an alias or part of an id, with an optional build.
///
/// `debian`, `debian/12`, `debian/bookworm/arm64`, `debian/bookworm/cloud`, `debian/bookworm/amd64/cloud`, each
/// optionally followed by `@20261123_0522`, or what else a server calls a build. It is resolved against the products a
/// server signed, or the index of a classic one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuery {
    /// The parts between slashes, at least one, at most four.
    parts: Vec<Name>,
    /// The build asked for; the newest when absent.
    pub build: Option<BuildName>,
}

impl ImageQuery {
    /// Whether `id`, known by `aliases` (such as `debian/12` or `debian`), is an image this query asks for.
    ///
    /// What follows the alias or the distribution and release may be an architecture and a variant, in this order;
    /// they are `host` and `default` when absent. An alias may end in the variant (`debian/12/cloud`), as servers write
    /// it for Incus.
    pub fn matches<'a>(&self, id: &ImageId, aliases: impl IntoIterator<Item = &'a str>, host: Option<Arch>) -> bool {
        let name = format!("{}/{}", id.distribution, id.release);
        let variant = format!("/{}", id.variant);
        let mut aliases = aliases.into_iter().map(|alias| alias.strip_suffix(&variant).unwrap_or(alias));
        self.starts_with(&name, id, host) || aliases.any(|alias| self.starts_with(alias, id, host))
    }

    fn starts_with(&self, alias: &str, id: &ImageId, host: Option<Arch>) -> bool {
        let alias: Vec<&str> = alias.split('/').collect();
        let (start, rest) = self.parts.split_at(alias.len().min(self.parts.len()));
        start.iter().map(Name::as_str).eq(alias) && matches_rest(rest, id, host)
    }

    /// The text without the build.
    pub fn name(&self) -> String {
        self.parts.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
    }
}

impl FromStr for ImageQuery {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        let (name, build) = match text.split_once('@') {
            Some((name, build)) => {
                let bad = || ParseImageIdError::Build { found: shortened(build) };
                (name, Some(BuildName::new(build).ok_or_else(bad)?))
            }
            None => (text, None),
        };
        let parts = name.split('/').map(str::parse).collect::<Result<Vec<Name>, _>>()?;
        if parts.len() > 4 {
            return Err(ParseImageIdError::Shape { found: shortened(text) });
        }
        Ok(Self { parts, build })
    }
}

impl From<&ImageId> for ImageQuery {
    fn from(id: &ImageId) -> Self {
        let arch = id.arch.as_str().parse().ok();
        let parts =
            [Some(id.distribution.clone()), Some(id.release.clone()), arch, Some(id.variant.clone())].into_iter();
        Self { parts: parts.flatten().collect(), build: None }
    }
}

impl fmt::Display for ImageQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        self.build.iter().try_for_each(|build| write!(f, "@{}", build.as_str()))
    }
}

/// Text that is neither an image id nor part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseImageIdError {
    /// The wrong number of parts.
    #[error("expected an image such as `debian/trixie/amd64/default`, found `{found}`")]
    Shape {
        /// What was there instead.
        found: String,
    },
    /// A part that is no name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// An architecture nobody knows.
    #[error(transparent)]
    Arch(#[from] ParseArchError),
    /// What follows `@` is not a serial, where only our own builds are meant.
    #[error(transparent)]
    Serial(#[from] ParseSerialError),
    /// What follows `@` is no name of a build of any server.
    #[error("expected the name of a build after `@`, such as `20261123_0522`, found `{found}`")]
    Build {
        /// What was there instead.
        found: String,
    },
}

/// Foreign text as an error may show it.
fn shortened(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

/// Matches `[ARCH][/VARIANT]` against an id.
fn matches_rest(rest: &[Name], id: &ImageId, host: Option<Arch>) -> bool {
    let (arch, rest) = match rest.first().map(|first| first.as_str().parse::<Arch>()) {
        Some(Ok(arch)) => (Some(arch), &rest[1..]),
        _ => (host, rest),
    };
    let variant = match rest {
        [] => ImageId::DEFAULT_VARIANT,
        [variant] => variant.as_str(),
        _ => return false,
    };
    arch == Some(id.arch) && id.variant.as_str() == variant
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: [&str; 2] = ["debian/12", "debian"];

    fn bookworm(arch: &str, variant: &str) -> ImageId {
        format!("debian/bookworm/{arch}/{variant}").parse().unwrap()
    }

    fn asks(query: &str, id: &ImageId) -> bool {
        query.parse::<ImageQuery>().unwrap().matches(id, ALIASES, Some(Arch::Amd64))
    }

    #[test]
    fn an_id_has_four_safe_parts() {
        assert_eq!(bookworm("amd64", "cloud").to_string(), "debian/bookworm/amd64/cloud");
        assert_eq!(bookworm("amd64", "cloud").product_name(), "debian:bookworm:amd64:cloud");
        for text in ["debian/bookworm", "debian/../amd64/x", "a/b/vax/c", "debian/bookworm/amd64/default/x"] {
            assert!(text.parse::<ImageId>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_architecture_alias_is_stored_under_debians_name() {
        assert_eq!(bookworm("x86_64", "default"), bookworm("amd64", "default"));
    }

    #[test]
    fn a_query_means_the_host_architecture_and_the_default_variant() {
        for query in ["debian", "debian/12", "debian/bookworm", "debian/bookworm/amd64/default", "debian/12/default"] {
            assert!(asks(query, &bookworm("amd64", "default")), "{query}");
            assert!(!asks(query, &bookworm("arm64", "default")), "{query}");
            assert!(!asks(query, &bookworm("amd64", "cloud")), "{query}");
        }
    }

    #[test]
    fn a_query_can_ask_for_another_architecture_and_variant() {
        assert!(asks("debian/12/arm64", &bookworm("arm64", "default")));
        assert!(asks("debian/bookworm/cloud", &bookworm("amd64", "cloud")));
        assert!(asks("debian/arm64/cloud", &bookworm("arm64", "cloud")));
        assert!(!asks("debian/bookwor", &bookworm("amd64", "default")));
        assert!(!asks("debian/bookworm/amd64/cloud", &bookworm("amd64", "default")));
    }

    #[test]
    fn an_alias_may_end_in_the_variant() {
        let cloud = bookworm("amd64", "cloud");
        let asks =
            |query: &str| query.parse::<ImageQuery>().unwrap().matches(&cloud, ["debian/12/cloud"], Some(Arch::Amd64));
        assert!(
            asks("debian/12/cloud")
                && asks("debian/12/amd64/cloud")
                && !asks("debian/12")
                && !asks("debian/12/arm64/cloud")
        );
    }

    #[test]
    fn a_query_can_pin_a_build() {
        let query: ImageQuery = "debian/12@20261123_0522".parse().unwrap();
        assert_eq!(query.build.as_ref().unwrap().as_str(), "20261123_0522");
        assert_eq!(query.to_string(), "debian/12@20261123_0522");
        let classic: ImageQuery = "debian/12@20261123_05:22".parse().unwrap();
        assert_eq!(classic.to_string(), "debian/12@20261123_05:22");
        for bad in ["debian@", "debian@../x", "debian@a/b"] {
            let error = bad.parse::<ImageQuery>().unwrap_err();
            assert!(matches!(error, ParseImageIdError::Build { .. }), "{bad}: {error}");
        }
    }
}
