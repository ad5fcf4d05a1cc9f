use super::UnpackError;
use crate::text::shown;

/// The name of a member as a path inside of the archive: no root, no `..`, no `.`, no doubled slash. The empty path is
/// the root of the tree, `./`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberPath(Vec<u8>);

impl MemberPath {
    /// The path a name in an archive stands for.
    pub(crate) fn parse(name: &[u8]) -> Result<Self, UnpackError> {
        let bad_name = || UnpackError::BadName { name: shown(name) };
        if name.is_empty() || name.starts_with(b"/") || name.contains(&0) {
            return Err(bad_name());
        }
        let mut path = Vec::with_capacity(name.len());
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(bad_name()),
                part => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                }
            }
        }
        Ok(Self(path))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory a member is in, and its name there.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (self.0.get(..slash).unwrap_or_default(), self.0.get(slash + 1..).unwrap_or_default()),
            None => (b"", &self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for name in [&b"./a/b"[..], b"a/b", b"a//b/", b"././a/./b"] {
            assert_eq!(MemberPath::parse(name).unwrap().as_bytes(), b"a/b");
        }
        assert_eq!(MemberPath::parse(b"a/b").unwrap().split(), (&b"a"[..], &b"b"[..]));
        assert!(MemberPath::parse(b"./").unwrap().is_root());
    }

    #[test]
    fn names_that_point_elsewhere_are_refused() {
        for name in [&b"/a"[..], b"..", b"../a", b"a/../b", b"a/..", b"", b"a\0b", b"./../a"] {
            assert!(MemberPath::parse(name).is_err(), "{}", shown(name));
        }
        assert!(MemberPath::parse(b"..a/b..").is_ok());
    }
}
