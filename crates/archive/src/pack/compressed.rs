//! Archives as xz files on disk: one pass gives the file and both digests, and the file appears whole.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use formats::digest::FileDigest;
use formats::time::Timestamp;
use tempfile::NamedTempFile;

use super::{PackError, PackOptions, PackSummary, pack_members, pack_members_and_tree, pack_tree};
use crate::hashing::HashingWriter;
use crate::xz::{Encoder, XzOptions};

/// An xz file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The file.
    pub xz: FileDigest,
    /// What is in it, uncompressed: deltas are made between uncompressed archives.
    pub tar: FileDigest,
    /// How many members the archive has.
    pub entries: u64,
}

/// Packs the tree at `root` as the xz file `out`.
pub fn pack_tree_xz(root: &Path, out: &Path, options: &PackOptions, xz: &XzOptions) -> Result<Packed, PackError> {
    write_xz(out, xz, |encoder| pack_tree(root, encoder, options))
}

/// Packs files given as names and contents as the xz file `out`; see [`pack_members`].
pub fn pack_members_xz(
    members: &[(String, Vec<u8>)],
    out: &Path,
    newest: Timestamp,
    xz: &XzOptions,
) -> Result<Packed, PackError> {
    write_xz(out, xz, |encoder| pack_members(members, encoder, newest))
}

/// Packs files and the tree at `root` below the directory `name` as the xz file `out`; see [`pack_members_and_tree`].
pub fn pack_members_and_tree_xz(
    members: &[(String, Vec<u8>)],
    root: &Path,
    name: &str,
    out: &Path,
    options: &PackOptions,
    xz: &XzOptions,
) -> Result<Packed, PackError> {
    write_xz(out, xz, |encoder| pack_members_and_tree(members, root, name, encoder, options))
}

type XzWriter<'a> = Encoder<HashingWriter<BufWriter<&'a mut File>>>;

fn write_xz(
    out: &Path,
    xz: &XzOptions,
    pack: impl FnOnce(&mut XzWriter<'_>) -> Result<PackSummary, PackError>,
) -> Result<Packed, PackError> {
    let mut partial = create_beside(out).map_err(PackError::Write)?;
    let buffered = BufWriter::with_capacity(BUFFER_BYTES, partial.as_file_mut());
    let mut encoder = Encoder::new(HashingWriter::new(buffered), xz).map_err(PackError::Write)?;
    let summary = pack(&mut encoder)?;
    let (xz, mut buffered) = encoder.finish().map_err(PackError::Write)?.finish();
    buffered.flush().map_err(PackError::Write)?;
    drop(buffered);
    make_visible(partial, out).map_err(PackError::Write)?;
    Ok(Packed { xz, tar: summary.tar, entries: summary.entries })
}

fn create_beside(out: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".partial-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory_of(out))
}

fn make_visible(partial: NamedTempFile, out: &Path) -> io::Result<()> {
    partial.as_file().sync_all()?;
    partial.persist(out)?;
    File::open(directory_of(out))?.sync_all()
}

fn directory_of(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_file_and_of_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("meta.tar.xz");
        let members = [("config".to_owned(), b"lxc.arch = x86_64\n".to_vec())];
        let now = Timestamp::from_unix(1_700_000_000);
        let packed = pack_members_xz(&members, &out, now, &XzOptions { level: 0, ..XzOptions::default() }).unwrap();
        assert_eq!(packed.xz, FileDigest::of(&std::fs::read(&out).unwrap()));
        let mut tar = Vec::new();
        pack_members(&members, &mut tar, now).unwrap();
        assert_eq!(packed.tar, FileDigest::of(&tar));
        assert_eq!(packed.entries, 1);
    }

    #[test]
    fn a_pack_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("rootfs.tar.xz");
        let options = PackOptions::new(Timestamp::from_unix(0));
        pack_tree_xz(Path::new("/nonexistent"), &out, &options, &XzOptions::default()).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
