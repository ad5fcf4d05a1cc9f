//! What is in an archive, for those who compare two of them. Nothing is written anywhere.

use std::io::Read;

use formats::digest::{FileDigest, Hasher};

use crate::unpack::entry::{Kind, Member, Members};
use crate::unpack::{UnpackError, UnpackLimits};

/// One member, with the digest of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path without a leading `./` or a trailing slash; empty for the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// User and group by number.
    pub owner: (u64, u64),
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, capabilities and access control lists, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file. The digest is that of the parts that are stored; where the holes are makes a difference of its own.
    File(FileDigest),
    /// A directory.
    Directory,
    /// A symbolic link, to this.
    Symlink(Vec<u8>),
    /// One more name of a file, by the first.
    HardLink(Vec<u8>),
    /// A character device, major and minor.
    Character(u32, u32),
    /// A block device, major and minor.
    Block(u32, u32),
    /// A fifo.
    Fifo,
}

/// Shows every member of the archive `tar` in order.
pub fn list(tar: impl Read, limits: &UnpackLimits, mut see: impl FnMut(Entry)) -> Result<(), UnpackError> {
    let mut archive = Members::new(tar, limits);
    while let Some(member) = archive.next()? {
        let kind = match &member.kind {
            Kind::File { sparse, .. } => {
                let mut hasher = Hasher::default();
                if let Some(map) = sparse {
                    hasher.update(format!("{map:?}").as_bytes());
                }
                EntryKind::File(content(&mut archive, hasher)?)
            }
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink(target) => EntryKind::Symlink(target.clone()),
            Kind::HardLink(first) => EntryKind::HardLink(first.as_bytes().to_vec()),
            Kind::Character { major, minor } => EntryKind::Character(*major, *minor),
            Kind::Block { major, minor } => EntryKind::Block(*major, *minor),
            Kind::Fifo => EntryKind::Fifo,
        };
        see(entry(member, kind));
    }
    Ok(())
}

fn content<R: Read>(archive: &mut Members<R>, mut hasher: Hasher) -> Result<FileDigest, UnpackError> {
    loop {
        let piece = archive.content()?;
        if piece.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(piece);
        let used = piece.len();
        archive.consume(used);
    }
}

fn entry(member: Member, kind: EntryKind) -> Entry {
    Entry {
        path: member.path.as_bytes().to_vec(),
        kind,
        mode: member.mode,
        owner: (member.user, member.group),
        mtime: (member.mtime.seconds, member.mtime.nanoseconds),
        xattrs: member.xattrs,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use formats::time::Timestamp;

    use super::*;
    use crate::pack::{PackOptions, pack_tree};

    #[test]
    fn every_member_is_listed_with_what_it_is_and_holds() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        std::fs::write(tree.path().join("etc/motd"), "hello").unwrap();
        std::fs::set_permissions(tree.path().join("etc/motd"), PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::hard_link(tree.path().join("etc/motd"), tree.path().join("etc/same")).unwrap();
        symlink("motd", tree.path().join("etc/z")).unwrap();
        let mut tar = Vec::new();
        pack_tree(tree.path(), &mut tar, &PackOptions::new(Timestamp::from_unix(7))).unwrap();
        let mut found = Vec::new();
        list(tar.as_slice(), &UnpackLimits::default(), |entry| found.push(entry)).unwrap();
        let names: Vec<_> = found.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect();
        assert_eq!(names, ["", "etc", "etc/motd", "etc/same", "etc/z"]);
        assert_eq!(found[2].kind, EntryKind::File(FileDigest::of(b"hello")));
        assert_eq!((found[2].mode, found[2].mtime), (0o640, (7, 0)));
        assert_eq!(found[3].kind, EntryKind::HardLink(b"etc/motd".to_vec()));
        assert_eq!(found[4].kind, EntryKind::Symlink(b"motd".to_vec()));
    }

    #[test]
    fn an_archive_that_was_cut_is_an_error() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("a"), [7; 5000]).unwrap();
        let mut tar = Vec::new();
        pack_tree(tree.path(), &mut tar, &PackOptions::new(Timestamp::from_unix(7))).unwrap();
        for end in [600, 2000, tar.len() - 1024 - 512] {
            assert!(list(&tar[..end], &UnpackLimits::default(), |_| {}).is_err(), "{end}");
        }
    }
}
