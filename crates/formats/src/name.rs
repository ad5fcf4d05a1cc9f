//! [`Name`]: one part of an image id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::text;

/// One part of an image id: a distribution, a release or a variant.
///
/// Letters, digits, `.`, `+`, `_` and `-`, starting with a letter or digit, at most 64 bytes. A name is therefore
/// always one safe path component, one safe URL segment and one field of the classic index, whose oldest readers
/// expand globs and split on blanks (conformance item S3 of the classic contract).
///
/// Usual names take no memory of their own: a large server holds very many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let refuse = |reason| ParseNameError { name: text.escape_debug().to_string(), reason };
        if text.len() > MAX_BYTES {
            return Err(refuse("it is longer than 64 bytes"));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(refuse("it must start with a letter or a digit"));
        }
        if !all(text, is_name_byte) {
            return Err(refuse("only letters, digits and `.+_-` are allowed"));
        }
        Ok(Self(text.into()))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a [`Name`].
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= MAX_BYTES
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && all(text, is_name_byte)
}

/// Whether all bytes are fit. Each is looked at, which takes less time than stopping at one that is not.
pub(crate) fn all(text: &str, is_fit: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |fit, byte| fit & is_fit(byte))
}

/// The bytes of a name.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'_' | b'-')
}

/// Text that cannot be part of an image id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a usable name: {reason}")]
pub struct ParseNameError {
    name: String,
    reason: &'static str,
}

const MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_real_distributions_and_releases_are_accepted() {
        for text in ["debian", "3.20", "9-Stream", "15.6", "bookworm", "edge", "g++", "x86_64_v2"] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn anything_that_could_leave_its_directory_or_break_an_index_line_is_refused() {
        for text in ["", ".", "..", "../etc", "a/b", "a;b", "a b", "a*", "-x", ".hidden", "a\n", "a%2f", "ä"] {
            assert!(text.parse::<Name>().is_err(), "{text:?} was accepted");
        }
        assert!("x".repeat(65).parse::<Name>().is_err());
    }
}
