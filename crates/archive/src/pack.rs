//! A tree becomes a tar archive whose bytes depend on the tree alone.
//!
//! Members are `./` and then `./…` in the order of their bytes, with numeric owners and whole seconds. What the header of
//! POSIX.1-1988 cannot hold is in extended headers of POSIX.1-2001 (pax); extended attributes are `SCHILY.xattr.*`
//! records as GNU tar, star and libarchive read them. The order of directories on disk, the umask, access times and
//! inode numbers leave no trace. Sparse files are stored in full: where their holes are is a matter of the file system,
//! not of the tree.

pub mod compressed;

mod attributes;
mod header;
mod pax;
mod walk;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use formats::time::Timestamp;
use tar::EntryType;

use crate::hashing::HashingWriter;
use crate::ids::{IdMap, IdMaps};
use crate::text::shown;
use header::Fields;

/// How to pack a tree.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Modification times after this are written as this (`SOURCE_DATE_EPOCH`); earlier ones are kept.
    pub newest: Timestamp,
    /// Paths, relative to the root, that are left out with everything beneath them.
    pub skip: Vec<PathBuf>,
    /// The user namespace the tree was built in, when it is packed from outside of it: owners on disk are ids outside,
    /// owners in the archive are ids inside. [`IdMaps::identity`] where both are the same.
    pub ids: IdMaps,
}

impl PackOptions {
    /// Everything, with the owners on disk and no time after `newest`.
    pub fn new(newest: Timestamp) -> Self {
        Self { newest, skip: Vec::new(), ids: IdMaps::identity() }
    }
}

/// What was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSummary {
    /// How many members the archive has.
    pub entries: u64,
    /// Size and digest of the archive.
    pub tar: FileDigest,
}

/// Packs the tree at `root`: directories, regular files, hard and symbolic links, fifos and devices, with owners, modes,
/// times, capabilities, access control lists and extended attributes. Sockets are left out, as nobody listens on them.
pub fn pack_tree(root: &Path, out: impl Write, options: &PackOptions) -> Result<PackSummary, PackError> {
    let mut packer = Packer::new(out);
    walk::pack(root, b".", &mut packer, options)?;
    packer.finish().map(|(summary, _)| summary)
}

/// Packs files given as names and contents, as [`pack_members`] does, and then the tree at `root` below the directory
/// `name`.
pub fn pack_members_and_tree(
    members: &[(String, Vec<u8>)],
    root: &Path,
    name: &str,
    out: impl Write,
    options: &PackOptions,
) -> Result<PackSummary, PackError> {
    let mut packer = Packer::new(out);
    put_members(members, &mut packer, options.newest)?;
    walk::pack(root, name.as_bytes(), &mut packer, options)?;
    packer.finish().map(|(summary, _)| summary)
}

/// Packs files given as names and contents, with mode 0644, owner 0:0 and the time `newest`, in the order of their
/// names. Directories in the names become members of their own.
pub fn pack_members(
    members: &[(String, Vec<u8>)],
    out: impl Write,
    newest: Timestamp,
) -> Result<PackSummary, PackError> {
    let mut packer = Packer::new(out);
    put_members(members, &mut packer, newest)?;
    packer.finish().map(|(summary, _)| summary)
}

fn put_members<W: Write>(
    members: &[(String, Vec<u8>)],
    packer: &mut Packer<W>,
    newest: Timestamp,
) -> Result<(), PackError> {
    let mut sorted = BTreeMap::new();
    for (name, content) in members {
        let bad_name = || PackError::BadName { name: shown(name.as_bytes()) };
        if !name.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0')) {
            return Err(bad_name());
        }
        let parents = name.match_indices('/').filter_map(|(end, _)| name.get(..=end));
        sorted.extend(parents.map(|parent| (parent, None)));
        if sorted.insert(name.as_str(), Some(content)).is_some() {
            return Err(bad_name());
        }
    }
    for (name, content) in &sorted {
        let (kind, mode) = if content.is_some() { (EntryType::Regular, 0o644) } else { (EntryType::Directory, 0o755) };
        if name.strip_suffix('/').is_some_and(|file| sorted.contains_key(file)) {
            return Err(PackError::BadName { name: shown(name.as_bytes()) });
        }
        let content = content.map(Vec::as_slice).unwrap_or_default();
        let size = content.len() as u64;
        let fields = Fields { mode, size, mtime: newest.unix(), ..Fields::new(name.as_bytes(), kind) };
        packer.member(&fields)?;
        packer.write(content)?;
        packer.pad(size)?;
    }
    Ok(())
}

/// Why a tree could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The tree could not be read.
    #[error("cannot {action} `{path}`")]
    Read {
        /// What was being done.
        action: &'static str,
        /// The path in the tree.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// A file got shorter while it was read.
    #[error("`{path}` changed while it was packed: expected {expected} bytes, found {found}")]
    Changed {
        /// The path in the tree.
        path: String,
        /// Its size when it was opened.
        expected: u64,
        /// The bytes that were there.
        found: u64,
    },
    /// An owner does not exist in the user namespace of [`PackOptions::ids`].
    #[error("`{path}` belongs to id {id}, which stands for none of the ids {map} of the user namespace")]
    IdOutsideMap {
        /// The path in the tree.
        path: String,
        /// The owner on disk.
        id: u32,
        /// The map in use.
        map: IdMap,
    },
    /// A member's name is empty, has empty parts, `.` or `..`, or is there twice.
    #[error("`{name}` cannot be the name of a member, or is there twice")]
    BadName {
        /// The name.
        name: String,
    },
}

impl PackError {
    fn reading(action: &'static str, path: &[u8]) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Read { action, path: shown(path), source: errno.into() }
    }
}

/// Writes members, one after the other, and the end of the archive.
struct Packer<W: Write> {
    out: HashingWriter<W>,
    entries: u64,
}

impl<W: Write> Packer<W> {
    fn new(out: W) -> Self {
        Self { out: HashingWriter::new(out), entries: 0 }
    }

    /// Writes the headers of a member; its content and [`Packer::pad`] come next.
    fn member(&mut self, fields: &Fields<'_>) -> Result<(), PackError> {
        self.entries += 1;
        let headers = fields.encode();
        self.write(&headers)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Write)
    }

    /// Fills the last block of a content of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        self.write(header::padding(size))
    }

    fn finish(mut self) -> Result<(PackSummary, W), PackError> {
        self.write(&[0; 2 * header::BLOCK])?;
        self.out.flush().map_err(PackError::Write)?;
        let (tar, out) = self.out.finish();
        Ok((PackSummary { entries: self.entries, tar }, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(members: &[(&str, &str)]) -> Result<Vec<u8>, PackError> {
        let members: Vec<_> =
            members.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        let mut out = Vec::new();
        pack_members(&members, &mut out, Timestamp::from_unix(1_700_000_000)).map(|_| out)
    }

    #[test]
    fn the_order_members_are_given_in_leaves_no_trace() {
        let one = packed(&[("config", "a"), ("templates/b", "c"), ("templates/a", "b")]).unwrap();
        let other = packed(&[("templates/a", "b"), ("templates/b", "c"), ("config", "a")]).unwrap();
        assert_eq!(one, other);
        let names: Vec<_> = tar::Archive::new(one.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["config", "templates/", "templates/a", "templates/b"]);
    }

    #[test]
    fn names_that_are_no_relative_paths_or_there_twice_are_refused() {
        for names in [&["../x"][..], &["/x"], &[""], &["a//b"], &["x", "x"], &["a", "a-", "a/b"], &["a\0b"], &["a/"]] {
            let members: Vec<_> = names.iter().map(|name| (*name, "")).collect();
            assert!(matches!(packed(&members), Err(PackError::BadName { .. })), "{names:?}");
        }
    }
}
