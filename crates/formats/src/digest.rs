//! sha256 digests and the size and digest of a file.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A sha256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of several byte strings, one after the other. Incus names an image by the digest of its metadata
    /// file followed by its rootfs file (incus `doc/reference/image_format.md`).
    pub fn of_all<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Hasher::default();
        for part in parts {
            hasher.update(part);
        }
        hasher.finish().sha256
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl FromStr for Sha256 {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> Result<Self, ParseSha256Error> {
        let refuse = || ParseSha256Error { found: text.chars().take(80).flat_map(char::escape_debug).collect() };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            });
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(refuse)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = ParseSha256Error;

    fn try_from(text: String) -> Result<Self, ParseSha256Error> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// Text that is not a sha256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a sha256 digest of 64 lower-case hexadecimal digits, found `{found}`")]
pub struct ParseSha256Error {
    found: String,
}

/// What a file must be: its size and its digest. Everything that is fetched is named by its parent document with
/// both, so that neither other bytes nor endless bytes are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileDigest {
    /// Size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// sha256 of the whole content.
    pub sha256: Sha256,
}

impl FileDigest {
    /// Size and digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size_bytes: bytes.len() as u64, sha256: Sha256::of(bytes) }
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256 {}, {} bytes", self.sha256, self.size_bytes)
    }
}

/// Computes a [`FileDigest`] from bytes as they pass; it is also a [`Write`] sink.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    size_bytes: u64,
}

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// How many bytes were taken in so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Size and digest of everything taken in.
    pub fn finish(self) -> FileDigest {
        FileDigest { size_bytes: self.size_bytes, sha256: Sha256(self.state.finalize().into()) }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_of_abc_is_the_one_of_fips_180() {
        assert_eq!(Sha256::of(b"abc").to_string(), OF_ABC);
        assert_eq!(OF_ABC.parse(), Ok(Sha256::of(b"abc")));
    }

    #[test]
    fn a_digest_in_parts_equals_the_digest_of_the_whole() {
        assert_eq!(Sha256::of_all([b"a".as_slice(), b"bc"]), Sha256::of(b"abc"));
        let mut hasher = Hasher::default();
        hasher.write_all(b"ab").unwrap();
        hasher.write_all(b"c").unwrap();
        assert_eq!(hasher.finish(), FileDigest::of(b"abc"));
    }

    #[test]
    fn upper_case_short_and_foreign_digits_are_refused() {
        for text in [&OF_ABC.to_uppercase(), &OF_ABC[1..], "", &"g".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }
}
