//! The few files of a metadata tarball, in memory.
//!
//! Nothing of such a tarball reaches a file system by its own name: LXC metadata are files at the top level, Incus
//! metadata a file and one directory `templates`. Everything else is refused by its name.

use std::collections::BTreeSet;
use std::io::Read;

use crate::text::shown;
use crate::unpack::entry::{Kind, Member, Members};
use crate::unpack::{UnpackError, UnpackLimits};

/// What a metadata tarball may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    /// Members. Default: 1000.
    pub entries: u64,
    /// Bytes of all contents together. Default: 16 MiB.
    pub total_bytes: u64,
    /// Whether files in a directory `templates` are taken, as in Incus metadata. Default: no.
    pub templates: bool,
}

impl Default for MemberLimits {
    fn default() -> Self {
        Self { entries: 1000, total_bytes: 16 << 20, templates: false }
    }
}

/// Why a metadata tarball was refused.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The archive itself is bad or too large.
    #[error(transparent)]
    Archive(#[from] UnpackError),
    /// A member that is not a file at the top level.
    #[error("`{name}` in the metadata is {found}, expected a file at the top level")]
    NotAFile {
        /// The member.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// Two members of one name.
    #[error("`{name}` is in the metadata twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that is no text.
    #[error("`{name}` in the metadata is not a name in UTF-8")]
    NotText {
        /// The name, as far as it is text.
        name: String,
    },
}

/// Names and contents of the files of a metadata tarball, in the order they come. Names are without `./`.
pub fn read_members(tar: impl Read, limits: &MemberLimits) -> Result<Vec<(String, Vec<u8>)>, MembersError> {
    let unpack_limits = UnpackLimits {
        entries: limits.entries,
        unpacked_bytes: limits.total_bytes,
        pax_total_bytes: limits.total_bytes,
        ..UnpackLimits::default()
    };
    let mut archive = Members::new(tar, &unpack_limits);
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    while let Some(member) = archive.next()? {
        let Some(name) = file_name(&member, limits)? else { continue };
        if !names.insert(name.clone()) {
            return Err(MembersError::Duplicate { name: shown(name.as_bytes()) });
        }
        let mut content = Vec::new();
        loop {
            let piece = archive.content()?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(piece);
            let used = piece.len();
            archive.consume(used);
        }
        files.push((name, content));
    }
    Ok(files)
}

/// The name of a file that is taken, nothing for a directory that is passed over.
fn file_name(member: &Member, limits: &MemberLimits) -> Result<Option<String>, MembersError> {
    let path = member.path.as_bytes();
    let (dir, _) = member.path.split();
    let refuse = |found| MembersError::NotAFile { name: shown(path), found };
    match &member.kind {
        Kind::Directory if member.path.is_root() || (limits.templates && path == TEMPLATES) => Ok(None),
        Kind::Directory => Err(refuse("a directory")),
        Kind::File { sparse: Some(_), .. } => Err(refuse("a sparse file")),
        Kind::File { .. } if member.path.is_root() => Err(refuse("nameless")),
        Kind::File { .. } if dir.is_empty() || (limits.templates && dir == TEMPLATES) => {
            let name = String::from_utf8(path.to_vec());
            name.map(Some).map_err(|_| MembersError::NotText { name: shown(path) })
        }
        Kind::File { .. } => Err(refuse("in a directory")),
        Kind::Symlink(_) => Err(refuse("a symbolic link")),
        Kind::HardLink(_) => Err(refuse("a hard link")),
        Kind::Character { .. } | Kind::Block { .. } => Err(refuse("a device")),
        Kind::Fifo => Err(refuse("a fifo")),
    }
}

const TEMPLATES: &[u8] = b"templates";

#[cfg(test)]
mod tests {
    use formats::time::Timestamp;

    use super::*;
    use crate::pack::pack_members;

    fn file(name: &str, content: &str) -> (String, Vec<u8>) {
        (name.to_owned(), content.as_bytes().to_vec())
    }

    fn tarball(members: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        pack_members(members, &mut out, Timestamp::from_unix(0)).unwrap();
        out
    }

    /// A tarball of one member that is no file.
    fn odd(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_link_name("etc/passwd").unwrap();
        header.set_size(0);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 1024]].concat()
    }

    #[test]
    fn files_come_back_as_they_were_packed() {
        let members = [file("config", "lxc.arch = x86_64\n"), file("expiry", "1700000000\n")];
        assert_eq!(read_members(tarball(&members).as_slice(), &MemberLimits::default()).unwrap(), members);
    }

    #[test]
    fn a_templates_directory_is_taken_only_where_it_is_allowed() {
        let members = [file("metadata.yaml", ""), file("templates/hostname.tpl", "x")];
        let allowed = MemberLimits { templates: true, ..MemberLimits::default() };
        assert_eq!(read_members(tarball(&members).as_slice(), &allowed).unwrap(), members);
        let refused = read_members(tarball(&members).as_slice(), &MemberLimits::default());
        assert!(matches!(refused, Err(MembersError::NotAFile { .. })));
        let deeper = tarball(&[file("templates/a/b", "x")]);
        assert!(matches!(read_members(deeper.as_slice(), &allowed), Err(MembersError::NotAFile { .. })));
    }

    #[test]
    fn links_devices_fifos_and_foreign_names_are_refused() {
        use tar::EntryType;
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo] {
            let refused = read_members(odd("config", kind).as_slice(), &MemberLimits::default());
            assert!(matches!(refused, Err(MembersError::NotAFile { .. })), "{kind:?}");
        }
        for name in ["../config", "/etc/config", "a/../config"] {
            let refused = read_members(odd(name, EntryType::Regular).as_slice(), &MemberLimits::default());
            assert!(matches!(refused, Err(MembersError::Archive(UnpackError::BadName { .. }))), "{name}");
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        let (one, other) = (tarball(&[file("config", "a")]), tarball(&[file("config", "b")]));
        let twice = [&one[..1024], &other].concat();
        let refused = read_members(twice.as_slice(), &MemberLimits::default());
        assert!(matches!(refused, Err(MembersError::Duplicate { .. })));
    }

    #[test]
    fn more_than_the_limits_is_refused() {
        let big = tarball(&[file("config", &"x".repeat(2000))]);
        let limits = MemberLimits { total_bytes: 1999, ..MemberLimits::default() };
        let refused = read_members(big.as_slice(), &limits);
        assert!(matches!(refused, Err(MembersError::Archive(UnpackError::TooMuch { .. }))));
    }
}
