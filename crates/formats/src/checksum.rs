//! Checksums as publishers of root file systems write them, alone or in lists.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use sha2::Digest as _;

/// The algorithms that vouch for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// 64 hexadecimal digits.
    Sha256,
    /// 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// What a file must have, written `sha256:` or `sha512:` and lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checksum {
    algorithm: Algorithm,
    digits: String,
}

impl Checksum {
    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits alone.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    fn of_digits(digits: &str, allowed: &[Algorithm]) -> Option<Self> {
        let algorithm = *allowed.iter().find(|algorithm| algorithm.digits() == digits.len())?;
        let is_hexadecimal = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        is_hexadecimal.then(|| Self { algorithm, digits: digits.to_ascii_lowercase() })
    }
}

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    /// Accepts the digits alone too, whose number says the algorithm, and upper case.
    fn from_str(text: &str) -> Result<Self, ParseChecksumError> {
        let text = text.trim();
        let checksum = match text.split_once(':') {
            None => Self::of_digits(text, &Algorithm::ALL),
            Some((name, digits)) => {
                let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
                algorithm.and_then(|algorithm| Self::of_digits(digits, &[algorithm]))
            }
        };
        checksum
            .ok_or_else(|| ParseChecksumError { found: text.chars().take(80).flat_map(char::escape_debug).collect() })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.digits)
    }
}

/// Text that is no checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sha256:` and 64 hexadecimal digits, or `sha512:` and 128, found `{found}`")]
pub struct ParseChecksumError {
    found: String,
}

/// Computes a [`Checksum`] of what is written to it.
pub struct ChecksumHasher(Hashing);

enum Hashing {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl ChecksumHasher {
    /// A hasher for checksums of this kind.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Hashing::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hashing::Sha512(sha2::Sha512::new()),
        })
    }

    /// The checksum of everything written.
    pub fn finish(self) -> Checksum {
        match self.0 {
            Hashing::Sha256(state) => Checksum { algorithm: Algorithm::Sha256, digits: hexadecimal(&state.finalize()) },
            Hashing::Sha512(state) => Checksum { algorithm: Algorithm::Sha512, digits: hexadecimal(&state.finalize()) },
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

impl Write for ChecksumHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Hashing::Sha256(state) => state.update(bytes),
            Hashing::Sha512(state) => state.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a list of checksums says of the file `name`.
///
/// Read are the lines of `sha256sum` and `sha512sum` (`DIGITS  NAME`, `DIGITS *NAME`), those of BSD
/// (`SHA256 (NAME) = DIGITS`), and digits alone, which are of any file. A comment such as `# BLAKE2B HASH` says of what
/// kind the lines after it are (Gentoo's `DIGESTS`). Names are compared without directories. Other lines are passed over.
pub fn listed(list: &str, name: &str, algorithm: Algorithm) -> Result<Checksum, ListedError> {
    let mut found: Option<Checksum> = None;
    let mut other_kind = false;
    for line in list.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            if let Some(kind) = comment.trim().strip_suffix(" HASH") {
                other_kind = !kind.eq_ignore_ascii_case(algorithm.name());
            }
            continue;
        }
        let Some((digits, of)) = entry(line, algorithm).filter(|_| !other_kind) else { continue };
        if of.is_some_and(|of| of.rsplit('/').next() != Some(name)) {
            continue;
        }
        let Some(checksum) = Checksum::of_digits(digits, &[algorithm]) else { continue };
        if found.as_ref().is_some_and(|earlier| *earlier != checksum) {
            return Err(ListedError::Ambiguous { name: name.to_owned(), algorithm: algorithm.name() });
        }
        found = Some(checksum);
    }
    found.ok_or_else(|| ListedError::Absent { name: name.to_owned(), algorithm: algorithm.name() })
}

/// Digits, and the name they are for.
fn entry(line: &str, algorithm: Algorithm) -> Option<(&str, Option<&str>)> {
    if let Some((label, rest)) = line.split_once(" (")
        && label.eq_ignore_ascii_case(algorithm.name())
    {
        let (name, digits) = rest.rsplit_once(") = ")?;
        return Some((digits.trim(), Some(name)));
    }
    match line.split_once(char::is_whitespace) {
        None => (!line.is_empty()).then_some((line, None)),
        Some((digits, name)) => {
            let name = name.trim_start();
            Some((digits, Some(name.strip_prefix('*').unwrap_or(name))))
        }
    }
}

/// Why a list says nothing certain of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListedError {
    /// The file is not in it.
    #[error("the list has no {algorithm} checksum of `{name}`")]
    Absent {
        /// The file.
        name: String,
        /// The kind of checksum.
        algorithm: &'static str,
    },
    /// The file is in it with two checksums.
    #[error("the list has two {algorithm} checksums of `{name}`")]
    Ambiguous {
        /// The file.
        name: String,
        /// The kind of checksum.
        algorithm: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, algorithm: Algorithm) -> Checksum {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.write_all(text.as_bytes()).unwrap();
        hasher.finish()
    }

    #[test]
    fn the_checksums_of_abc_are_those_of_fips_180() {
        let sha256 = of("abc", Algorithm::Sha256);
        assert_eq!(sha256.to_string(), format!("sha256:{}", crate::digest::Sha256::of(b"abc")));
        let sha512 = of("abc", Algorithm::Sha512);
        assert!(sha512.digits().starts_with("ddaf35a193617abacc417349ae204131"), "{sha512}");
        for checksum in [sha256, sha512] {
            assert_eq!(checksum.to_string().parse(), Ok(checksum.clone()));
            assert_eq!(checksum.digits().to_uppercase().parse(), Ok(checksum));
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        let digits = "a".repeat(64);
        for text in ["", "sha256:", "sha256:ab", &digits[1..], &format!("sha512:{digits}"), &format!("md5:{digits}")] {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_found_in_every_kind_of_list() {
        let wanted = of("x", Algorithm::Sha256);
        let (digits, other) = (wanted.digits(), of("y", Algorithm::Sha256));
        for list in [
            format!("{}  other.tar\n{digits}  a.tar.xz\n", other.digits()),
            format!("{digits} *./images/a.tar.xz\n"),
            format!("SHA256 (a.tar.xz) = {digits}\nSHA256 (a.tar) = {}\n", other.digits()),
            format!("{digits}\n"),
            format!("Hash: SHA256\n\n{digits}  a.tar.xz\n{digits}  a.tar.xz\n"),
        ] {
            assert_eq!(listed(&list, "a.tar.xz", Algorithm::Sha256), Ok(wanted.clone()), "{list}");
        }
    }

    #[test]
    fn another_kind_of_the_same_length_is_not_taken_for_it() {
        let (wanted, other) = (of("x", Algorithm::Sha512), of("y", Algorithm::Sha512));
        let list = format!("# BLAKE2B HASH\n{}  a\n# SHA512 HASH\n{}  a\n", other.digits(), wanted.digits());
        assert_eq!(listed(&list, "a", Algorithm::Sha512), Ok(wanted));
    }

    #[test]
    fn a_list_that_is_silent_or_contradicts_itself_says_nothing() {
        let (one, other) = (of("x", Algorithm::Sha256), of("y", Algorithm::Sha256));
        let list = format!("{}  a\n{}  a\n{}  b\n", one.digits(), other.digits(), one.digits());
        assert!(matches!(listed(&list, "a", Algorithm::Sha256), Err(ListedError::Ambiguous { .. })));
        assert!(matches!(listed(&list, "c", Algorithm::Sha256), Err(ListedError::Absent { .. })));
        assert!(matches!(listed(&list, "b", Algorithm::Sha512), Err(ListedError::Absent { .. })));
    }

    proptest! {
        #[test]
        fn any_list_is_survived_and_a_checksum_from_it_stands_in_it(list in ".*", digits in "[0-9a-f]{64}", name in "[a-z.]{1,9}") {
            let list = format!("{list}\n{digits}  {name}\n");
            if let Ok(found) = listed(&list, &name, Algorithm::Sha256) {
                prop_assert!(list.to_lowercase().contains(found.digits()));
            }
        }
    }
}
