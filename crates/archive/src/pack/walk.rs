//! Goes through a tree in the order of the members' names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::EntryType;

use super::attributes::Attributes;
use super::header::Fields;
use super::{PackError, PackOptions, Packer};
use crate::placeholder::{self, Device};
use crate::text::shown;

/// Packs the tree at `root` with `top` as its name in the archive.
pub(super) fn pack<W: Write>(
    root: &Path,
    top: &[u8],
    packer: &mut Packer<W>,
    options: &PackOptions,
) -> Result<(), PackError> {
    let name = root.as_os_str().as_bytes();
    let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
    let dir = rustix::fs::open(root, flags, Mode::empty()).map_err(PackError::reading("open", name))?;
    let stat = rustix::fs::fstat(&dir).map_err(PackError::reading("look at", name))?;
    let skip = options.skip.iter().map(|path| member_name(top, path)).collect();
    let mut walk = Walk {
        packer,
        options,
        skip,
        first_names: HashMap::new(),
        attributes: Attributes::new(&options.ids),
        buffer: vec![0; BUFFER_BYTES],
    };
    walk.directory(&dir, &[top, b"/"].concat(), &stat)
}

struct Walk<'a, W: Write> {
    packer: &'a mut Packer<W>,
    options: &'a PackOptions,
    skip: Vec<Vec<u8>>,
    /// The first name of each inode that has several.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    attributes: Attributes<'a>,
    buffer: Vec<u8>,
}

struct Child {
    /// The name of the member; a directory's ends with a slash.
    member: Vec<u8>,
    name: Vec<u8>,
    stat: Stat,
}

impl<W: Write> Walk<'_, W> {
    /// Packs a directory and everything in it. `member` ends with a slash.
    fn directory(&mut self, dir: &OwnedFd, member: &[u8], stat: &Stat) -> Result<(), PackError> {
        let xattrs =
            self.attributes.of_file(dir.as_fd()).map_err(PackError::reading("read the attributes of", member))?;
        let fields = Fields { xattrs: &xattrs, ..self.fields(member, EntryType::Directory, stat)? };
        self.packer.member(&fields)?;
        for child in self.children(dir.as_fd(), member)? {
            match FileType::from_raw_mode(child.stat.st_mode) {
                FileType::Directory => {
                    let subdir = rustix::fs::openat(dir, &child.name, DIRECTORY, Mode::empty())
                        .map_err(PackError::reading("open", &child.member))?;
                    self.directory(&subdir, &child.member, &child.stat)?;
                }
                kind => self.leaf(dir.as_fd(), &child, kind)?,
            }
        }
        Ok(())
    }

    /// What is in a directory, in the order of the members' names: a directory sorts as its name and a slash.
    fn children(&self, dir: BorrowedFd<'_>, parent: &[u8]) -> Result<Vec<Child>, PackError> {
        let mut children = Vec::new();
        for entry in Dir::read_from(dir).map_err(PackError::reading("list", parent))? {
            let entry = entry.map_err(PackError::reading("list", parent))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut member = [parent, name].concat();
            if self.skip.contains(&member) {
                continue;
            }
            let stat = rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(PackError::reading("look at", &member))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Socket | FileType::Unknown => continue,
                FileType::Directory => member.push(b'/'),
                _ => {}
            }
            children.push(Child { member, name: name.to_vec(), stat });
        }
        children.sort_by(|one, other| one.member.cmp(&other.member));
        Ok(children)
    }

    fn leaf(&mut self, dir: BorrowedFd<'_>, child: &Child, kind: FileType) -> Result<(), PackError> {
        if child.stat.st_nlink > 1 {
            match self.first_names.entry((child.stat.st_dev, child.stat.st_ino)) {
                Entry::Occupied(first) => {
                    let first = first.get().clone();
                    let fields = Fields { link: &first, ..self.fields(&child.member, EntryType::Link, &child.stat)? };
                    return self.packer.member(&fields);
                }
                Entry::Vacant(none) => {
                    none.insert(child.member.clone());
                }
            }
        }
        if kind == FileType::RegularFile {
            return self.file(dir, child);
        }
        let flags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let node = rustix::fs::openat(dir, &child.name, flags, Mode::empty())
            .map_err(PackError::reading("open", &child.member))?;
        let read_attributes = PackError::reading("read the attributes of", &child.member);
        let xattrs = self.attributes.of_node(node.as_fd()).map_err(read_attributes)?;
        let (kind, device) = match kind {
            FileType::Symlink => (EntryType::Symlink, (0, 0)),
            FileType::CharacterDevice => (EntryType::Char, device_numbers(&child.stat)),
            FileType::BlockDevice => (EntryType::Block, device_numbers(&child.stat)),
            _ => (EntryType::Fifo, (0, 0)),
        };
        let target = if kind == EntryType::Symlink {
            let read_link = rustix::fs::readlinkat(dir, &child.name, Vec::new());
            read_link.map_err(PackError::reading("read the link", &child.member))?.into_bytes()
        } else {
            Vec::new()
        };
        let fields = self.fields(&child.member, kind, &child.stat)?;
        self.packer.member(&Fields { link: &target, device, xattrs: &xattrs, ..fields })
    }

    fn file(&mut self, dir: BorrowedFd<'_>, child: &Child) -> Result<(), PackError> {
        let member = &child.member;
        let flags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
        let file =
            rustix::fs::openat(dir, &child.name, flags, Mode::empty()).map_err(PackError::reading("open", member))?;
        let mut xattrs =
            self.attributes.of_file(file.as_fd()).map_err(PackError::reading("read the attributes of", member))?;
        if let Some(index) = xattrs.iter().position(|(name, _)| name == placeholder::ATTRIBUTE) {
            let (_, value) = xattrs.remove(index);
            if let Some(device) = Device::parse(&value) {
                let kind = if device.is_block { EntryType::Block } else { EntryType::Char };
                let fields = self.fields(member, kind, &child.stat)?;
                let device = (device.major, device.minor);
                return self.packer.member(&Fields { device, xattrs: &xattrs, ..fields });
            }
        }
        let size = u64::try_from(child.stat.st_size).unwrap_or_default();
        let fields = self.fields(member, EntryType::Regular, &child.stat)?;
        self.packer.member(&Fields { size, xattrs: &xattrs, ..fields })?;

        let mut content = std::fs::File::from(file).take(size);
        let mut found = 0;
        loop {
            let read = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(PackError::Read { action: "read", path: shown(member), source }),
            };
            found += read as u64;
            self.packer.write(self.buffer.get(..read).unwrap_or_default())?;
        }
        if found != size {
            return Err(PackError::Changed { path: shown(member), expected: size, found });
        }
        self.packer.pad(size)
    }

    fn fields<'m>(&self, member: &'m [u8], kind: EntryType, stat: &Stat) -> Result<Fields<'m>, PackError> {
        let inside = |map: &crate::ids::IdMap, id: u32| {
            let outside_map = || PackError::IdOutsideMap { path: shown(member), id, map: map.clone() };
            map.to_inside(id).ok_or_else(outside_map)
        };
        Ok(Fields {
            mode: stat.st_mode & 0o7777,
            user: inside(&self.options.ids.users, stat.st_uid)?,
            group: inside(&self.options.ids.groups, stat.st_gid)?,
            mtime: stat.st_mtime.min(self.options.newest.unix()),
            ..Fields::new(member, kind)
        })
    }
}

fn device_numbers(stat: &Stat) -> (u32, u32) {
    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
}

/// `./a/b` for `a/b`, `/a/b` and `./a/b/`, below the top `.`.
fn member_name(top: &[u8], path: &Path) -> Vec<u8> {
    let mut name = top.to_vec();
    for component in path.components() {
        if let Component::Normal(part) = component {
            name.push(b'/');
            name.extend_from_slice(part.as_bytes());
        }
    }
    name
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BUFFER_BYTES: usize = 256 << 10;
