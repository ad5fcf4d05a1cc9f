//! Copying a tree with everything that belongs to it: owners, modes, times, extended attributes, links between its
//! files, holes, devices. Where the file system can, data is shared until one of the copies changes.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::runtime::sys;

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    /// Files, directories, links and the like.
    pub(crate) entries: u64,
    /// Devices that only the host's root may make.
    pub(crate) devices_skipped: u64,
}

/// Copies the directory `source` to `name` in `parent`, which must not have it. Nothing that is mounted below is
/// entered, and no link is followed. A subvolume of btrfs becomes a snapshot of it where that is possible.
pub(crate) fn copy(source: &Path, parent: &Path, name: &str) -> io::Result<Copied> {
    let source = rustix::fs::openat(CWD, source, DIRECTORY, Mode::empty())?;
    let parent = rustix::fs::openat(CWD, parent, DIRECTORY, Mode::empty())?;
    let name = CString::new(name)?;
    if is_subvolume(&source)? && sys::snapshot_subvolume(&source, &parent, &name).is_ok() {
        return Ok(Copied { entries: 1, devices_skipped: 0 });
    }
    let mut copy = Copy { copied: Copied::default(), links: HashMap::new() };
    copy.directory(&source, &parent, &name)?;
    Ok(copy.copied)
}

/// Whether the directory is a subvolume of a btrfs file system, and so can have a snapshot in no time.
pub(crate) fn is_subvolume(directory: impl AsFd) -> io::Result<bool> {
    let directory = directory.as_fd();
    Ok(rustix::fs::fstatfs(directory)?.f_type == BTRFS_MAGIC && rustix::fs::fstat(directory)?.st_ino == SUBVOLUME_ROOT)
}

/// Gives a new directory or file what belongs to another.
pub(crate) fn adopt(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let names = list(|buffer| rustix::fs::flistxattr(from, buffer))?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    for name in names {
        let value = value(|buffer| rustix::fs::fgetxattr(from, name.as_c_str(), buffer))?;
        keep(&name, rustix::fs::fsetxattr(to, name.as_c_str(), &value, XattrFlags::empty()))?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(to, &times(&stat))?)
}

struct Copy {
    copied: Copied,
    /// Where files with more than one name were put: a directory of the copy and the name in it.
    links: HashMap<(u64, u64), (OwnedFd, CString)>,
}

impl Copy {
    fn directory(&mut self, source: &OwnedFd, parent: &OwnedFd, name: &CStr) -> io::Result<()> {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        let target = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
        self.copied.entries += 1;
        for entry in Dir::read_from(source.as_fd())? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(source, &target, name).map_err(|error| named(&error, OsStr::from_bytes(name.to_bytes())))?;
            }
        }
        adopt(source.as_fd(), target.as_fd())
    }

    fn entry(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            return match rustix::fs::openat2(source, name, DIRECTORY, Mode::empty(), resolve) {
                Ok(directory) => self.directory(&directory, target, name),
                // Something is mounted here: the copy has the place for it.
                Err(Errno::XDEV) => Ok(rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o755))?),
                Err(errno) => Err(errno.into()),
            };
        }
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some((directory, first)) = self.links.get(&identity)
        {
            return Ok(rustix::fs::linkat(directory, first.as_c_str(), target, name, AtFlags::empty())?);
        }
        match kind {
            FileType::RegularFile => file(source, target, name)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(link.as_c_str(), target, name)?;
                attributes(source, target, name, &stat)?;
            }
            _ => match rustix::fs::mknodat(target, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev) {
                Err(Errno::PERM) => {
                    self.copied.devices_skipped += 1;
                    return Ok(());
                }
                made => {
                    made?;
                    attributes(source, target, name, &stat)?;
                }
            },
        }
        self.copied.entries += 1;
        if stat.st_nlink > 1 {
            self.links.insert(identity, (target.try_clone()?, name.to_owned()));
        }
        Ok(())
    }
}

fn file(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let from = File::from(rustix::fs::openat(source, name, flags | OFlags::RDONLY, Mode::empty())?);
    let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let to = File::from(rustix::fs::openat(target, name, create, Mode::from_raw_mode(0o600))?);
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        data(&from, &to)?;
    }
    adopt(from.as_fd(), to.as_fd())
}

/// Copies what is data and leaves holes where holes are.
fn data(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    let mut end = 0;
    while end < length {
        let start = match rustix::fs::seek(from, SeekFrom::Data(end)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // A file system without holes.
            Err(_) => end,
        };
        end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(length);
        let (mut read, mut write) = (start, start);
        while read < end {
            let wanted = usize::try_from(end - read).unwrap_or(usize::MAX);
            let copied = match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), wanted) {
                Ok(copied) => copied,
                Err(_) => by_hand(from, to, &mut read, &mut write, wanted)?,
            };
            if copied == 0 {
                break;
            }
        }
    }
    to.set_len(length)
}

/// For file systems between which the kernel does not copy by itself.
fn by_hand(from: &File, to: &File, read: &mut u64, write: &mut u64, wanted: usize) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; wanted.min(1 << 20)];
    let length = from.read_at(&mut buffer, *read)?;
    to.write_all_at(buffer.get(..length).unwrap_or_default(), *write)?;
    *read += length as u64;
    *write += length as u64;
    Ok(length)
}

/// Owner, mode, times and attributes of what cannot be opened.
fn attributes(source: &OwnedFd, target: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let path = |directory: &OwnedFd| {
        Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(OsStr::from_bytes(name.to_bytes()))
    };
    let (from, to) = (path(source), path(target));
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(target, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    for attribute in list(|buffer| rustix::fs::llistxattr(&from, buffer))? {
        let value = value(|buffer| rustix::fs::lgetxattr(&from, attribute.as_c_str(), buffer))?;
        keep(&attribute, rustix::fs::lsetxattr(&to, attribute.as_c_str(), &value, XattrFlags::empty()))?;
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    Ok(rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The names of extended attributes that a copy has, too. An overlay's own name for itself must stay its own.
fn list(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<CString>> {
    let names = value(read)?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let names = names.filter_map(|name| CString::new(name).ok());
    Ok(names.filter(|name| !name.as_bytes().ends_with(b".overlay.uuid")).collect())
}

fn value(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 512];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::OPNOTSUPP | Errno::NODATA) => return Ok(Vec::new()),
            Err(Errno::RANGE) if buffer.len() < MAX_XATTR => buffer.resize(MAX_XATTR, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Labels of the host's security modules are not ours to give, and the copy gets its own.
fn keep(name: &CStr, result: rustix::io::Result<()>) -> io::Result<()> {
    let is_label = name.to_bytes().starts_with(b"security.") && name != c"security.capability";
    match result {
        Err(Errno::PERM | Errno::OPNOTSUPP) if is_label => Ok(()),
        result => Ok(result?),
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn named(error: &io::Error, name: &OsStr) -> io::Error {
    io::Error::new(error.kind(), format!("{}/{error}", name.to_string_lossy()))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `include/uapi/linux/magic.h`, and the inode that every subvolume begins with (`BTRFS_FIRST_FREE_OBJECTID`).
pub(crate) const BTRFS_MAGIC: rustix::fs::FsWord = 0x9123_683e;
const SUBVOLUME_ROOT: u64 = 256;
/// `XATTR_SIZE_MAX` of the kernel.
const MAX_XATTR: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn everything_that_belongs_to_a_tree_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/file"), "content").unwrap();
        fs::hard_link(from.join("a/file"), from.join("a/b/again")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o1777)).unwrap();
        rustix::fs::setxattr(from.join("a/file"), c"user.colour", b"green", XattrFlags::empty()).unwrap();
        let fifo = from.join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 8 << 20).unwrap();
        let old = Timestamps {
            last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 },
        };
        rustix::fs::utimensat(CWD, from.join("link"), &old, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        rustix::fs::utimensat(CWD, from.join("a"), &old, AtFlags::empty()).unwrap();

        let copied = copy(&from, dir.path(), "to").unwrap();
        assert_eq!((copied.entries, copied.devices_skipped), (7, 0));
        let stat = |path: &str| to.join(path).symlink_metadata().unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/again")).unwrap(), "content");
        assert_eq!(stat("a/file").ino(), stat("a/b/again").ino());
        assert_eq!((stat("a/file").mode() & 0o7777, stat("a/b").mode() & 0o7777), (0o4711, 0o1777));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(
            (stat("link").mtime(), stat("a").mtime(), stat("a").mtime_nsec()),
            (1_000_000_000, 1_000_000_000, 5)
        );
        assert_eq!(stat("fifo").mode(), fifo.metadata().unwrap().mode());
        let mut value = [0; 5];
        rustix::fs::getxattr(to.join("a/file"), c"user.colour", &mut value).unwrap();
        assert_eq!(&value, b"green");
        assert_eq!(stat("sparse").len(), (8 << 20) + 3);
        assert!(stat("sparse").blocks() * 512 < 1 << 20, "the hole was filled");
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("from")).unwrap();
        fs::create_dir_all(dir.path().join("to")).unwrap();
        assert!(copy(&dir.path().join("from"), dir.path(), "to").is_err());
    }
}
