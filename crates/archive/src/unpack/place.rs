//! Makes members in the destination.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, times};
use super::entry::{Kind, Member, Members};
use super::name::MemberPath;
use super::{DevicePolicy, ExistingDirectories, UnpackError, UnpackSummary, is_device};
use crate::beneath::{RootDir, resolve};
use crate::placeholder::Device;
use crate::text::shown;

/// What was made so far, and what is left to do at the end.
pub(super) struct Placed<'a> {
    root: &'a RootDir,
    attributes: Attributes<'a>,
    summary: UnpackSummary,
    /// The directory of the last member. Members come sorted, so it is mostly that of the next one, too. Making things
    /// changes the meaning of no path that had one; removing does, and forgets it.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Directories get their attributes at the end, those further down first.
    directories: BTreeMap<MemberPath, Directory>,
    /// Members left out, which hard links may point to.
    left_out: HashMap<MemberPath, LeftOut>,
}

/// A directory that waits for its attributes, with the inode it was: something else in its place does not get them.
struct Directory {
    member: Member,
    inode: (u64, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    Device,
    Excluded,
}

impl<'a> Placed<'a> {
    pub(super) fn new(root: &'a RootDir, attributes: Attributes<'a>) -> Self {
        Self {
            root,
            attributes,
            summary: UnpackSummary::default(),
            parent: None,
            directories: BTreeMap::new(),
            left_out: HashMap::new(),
        }
    }

    /// Leaves a member out.
    pub(super) fn exclude(&mut self, member: &Member) {
        self.summary.excluded += 1;
        let why = if is_device(member) { LeftOut::Device } else { LeftOut::Excluded };
        self.left_out.insert(member.path.clone(), why);
    }

    /// Makes a member.
    pub(super) fn place<R: Read>(&mut self, member: &Member, members: &mut Members<R>) -> Result<(), UnpackError> {
        // Refused before anything is made, so that an error of ids comes first.
        self.attributes.owner(member)?;
        if is_device(member) && self.attributes.options().devices == DevicePolicy::Skip {
            self.skip_device(member);
            return Ok(());
        }
        self.summary.entries += 1;
        match &member.kind {
            Kind::Directory => return self.directory(member),
            _ if member.path.is_root() => return Err(UnpackError::BadName { name: "./".to_owned() }),
            Kind::File { .. } => self.file(member, members)?,
            Kind::HardLink(target) => return self.hard_link(member, target),
            Kind::Symlink(target) => {
                self.make(member, |parent, name| rustix::fs::symlinkat(target, parent, name))?;
                self.finish_link(member)?;
            }
            Kind::Fifo => self.node(member, FileType::Fifo, 0)?,
            Kind::Character { major, minor } | Kind::Block { major, minor }
                if self.attributes.options().devices == DevicePolicy::Placeholder =>
            {
                let is_block = matches!(member.kind, Kind::Block { .. });
                self.placeholder(member, Device { is_block, major: *major, minor: *minor })?;
            }
            Kind::Character { major, minor } => {
                self.node(member, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?;
            }
            Kind::Block { major, minor } => {
                self.node(member, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))?;
            }
        }
        self.left_out.remove(&member.path);
        Ok(())
    }

    /// Gives directories their attributes.
    pub(super) fn finish(mut self) -> Result<UnpackSummary, UnpackError> {
        self.parent = None;
        while let Some((path, Directory { member, inode })) = self.directories.pop_last() {
            let Ok(dir) = self.root.directory(path.as_bytes()) else { continue };
            if inode_of(&dir).map_err(UnpackError::system("look at", path.as_bytes()))? == inode {
                self.attributes.apply_to_file(dir.as_fd(), &member)?;
            }
        }
        self.summary.attributes_skipped = self.attributes.skipped;
        self.summary.attributes_skipped_names = self.attributes.skipped_names;
        Ok(self.summary)
    }

    fn skip_device(&mut self, member: &Member) {
        self.summary.devices_skipped += 1;
        self.left_out.insert(member.path.clone(), LeftOut::Device);
    }

    fn directory(&mut self, member: &Member) -> Result<(), UnpackError> {
        let path = member.path.as_bytes();
        if self.attributes.options().existing_directories == ExistingDirectories::Keep {
            if self.root.directory(path).is_ok() {
                return Ok(());
            }
            self.make(member, |parent, name| rustix::fs::mkdirat(parent, name, Mode::RWXU))?;
            let dir = self.root.directory(path).map_err(UnpackError::system("open", path))?;
            return self.attributes.apply_to_file(dir.as_fd(), member);
        }
        if !member.path.is_root() {
            self.make(member, |parent, name| {
                let made = rustix::fs::mkdirat(parent, name, Mode::RWXU);
                let is_dir = || is_directory(parent, name);
                made.or_else(|errno| if errno == Errno::EXIST && is_dir() { Ok(()) } else { Err(errno) })
            })?;
        }
        let dir = self.root.directory(path).map_err(UnpackError::system("open", path))?;
        let inode = inode_of(&dir).map_err(UnpackError::system("look at", path))?;
        self.directories.insert(member.path.clone(), Directory { member: member.clone(), inode });
        Ok(())
    }

    fn file<R: Read>(&mut self, member: &Member, members: &mut Members<R>) -> Result<(), UnpackError> {
        let Kind::File { stored_bytes, sparse } = &member.kind else { return Ok(()) };
        let path = member.path.as_bytes();
        let flags =
            OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let file =
            self.make(member, |parent, name| rustix::fs::openat(parent, name, flags, Mode::RUSR.union(Mode::WUSR)))?;
        let mut file = File::from(file);
        let failed = |source| UnpackError::System { action: "write", member: shown(path), source };
        match sparse {
            None => loop {
                let piece = members.content()?;
                if piece.is_empty() {
                    break;
                }
                file.write_all(piece).map_err(failed)?;
                let used = piece.len();
                members.consume(used);
            },
            Some(map) => {
                for (mut offset, mut left) in map.parts() {
                    while left > 0 {
                        let piece = members.content()?;
                        let used = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                        file.write_all_at(piece.get(..used).unwrap_or(piece), offset).map_err(failed)?;
                        members.consume(used);
                        offset += used as u64;
                        left -= used as u64;
                    }
                }
                file.set_len(map.size()).map_err(failed)?;
            }
        }
        self.summary.content_bytes += stored_bytes;
        self.attributes.apply_to_file(file.as_fd(), member)
    }

    fn placeholder(&mut self, member: &Member, device: Device) -> Result<(), UnpackError> {
        let flags =
            OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let mode = Mode::RUSR.union(Mode::WUSR);
        let file = self.make(member, |parent, name| rustix::fs::openat(parent, name, flags, mode))?;
        device
            .mark(file.as_fd())
            .map_err(UnpackError::system("set the placeholder's attribute of", member.path.as_bytes()))?;
        self.attributes.apply_to_file(file.as_fd(), member)
    }

    fn node(&mut self, member: &Member, kind: FileType, device: u64) -> Result<(), UnpackError> {
        let mode = Mode::RUSR.union(Mode::WUSR);
        self.make(member, |parent, name| rustix::fs::mknodat(parent, name, kind, mode, device))?;
        let node = self.open_node(member)?;
        self.attributes.apply_to_node(node.as_fd(), member, false)
    }

    /// Links have an owner and times; attributes are so rare that only then the link is opened.
    fn finish_link(&mut self, member: &Member) -> Result<(), UnpackError> {
        if !member.xattrs.is_empty() {
            let node = self.open_node(member)?;
            return self.attributes.apply_to_node(node.as_fd(), member, true);
        }
        let (_, name) = member.path.split();
        let owner = self.attributes.owner(member)?;
        let parent = self.parent_of(&member.path)?;
        if let Some(owner) = owner {
            rustix::fs::chownat(parent, name, Some(owner.user), Some(owner.group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(UnpackError::system("set the owner of", member.path.as_bytes()))?;
        }
        rustix::fs::utimensat(parent, name, &times(member), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(UnpackError::system("set the times of", member.path.as_bytes()))
    }

    fn hard_link(&mut self, member: &Member, target: &MemberPath) -> Result<(), UnpackError> {
        let bad_link = |problem| UnpackError::BadHardLink {
            member: shown(member.path.as_bytes()),
            target: shown(target.as_bytes()),
            problem,
        };
        match self.left_out.get(target) {
            Some(LeftOut::Device) => {
                self.summary.entries -= 1;
                self.skip_device(member);
                return Ok(());
            }
            Some(LeftOut::Excluded) => return Err(bad_link("was left out")),
            None if target.is_root() => return Err(bad_link("is a directory")),
            None if *target == member.path => return Err(bad_link("is itself")),
            None => {}
        }
        let (target_dir, target_name) = target.split();
        let flags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        // Where links to directories are kept, names lead through them.
        let how = match self.attributes.options().existing_directories {
            ExistingDirectories::Keep => ResolveFlags::IN_ROOT,
            ExistingDirectories::Update => ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS),
        };
        let target_dir = if target_dir.is_empty() { b"." } else { target_dir };
        let opened = resolve(self.root.as_fd(), target_dir, flags, Mode::empty(), how);
        let target_dir = opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::XDEV => bad_link("is behind a symbolic link"),
            Errno::NOENT | Errno::NOTDIR => bad_link("is not in the archive before it"),
            errno => UnpackError::system("find the target of", member.path.as_bytes())(errno),
        })?;
        if !exists(&target_dir, target_name) {
            return Err(bad_link("is not in the archive before it"));
        }
        if is_directory(target_dir.as_fd(), target_name) {
            return Err(bad_link("is a directory"));
        }
        self.make(member, |parent, name| rustix::fs::linkat(&target_dir, target_name, parent, name, AtFlags::empty()))?;
        self.left_out.remove(&member.path);
        Ok(())
    }

    /// Makes something at a member's place; what is there already is removed first.
    fn make<T>(
        &mut self,
        member: &Member,
        create: impl Fn(std::os::fd::BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T, UnpackError> {
        let path = member.path.as_bytes();
        let (_, name) = member.path.split();
        let parent = self.parent_of(&member.path)?;
        match create(parent, name) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(UnpackError::system("make", path)),
        }
        let removed = rustix::fs::unlinkat(parent, name, AtFlags::empty())
            .or_else(|_| rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR));
        removed.map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST => UnpackError::Occupied { member: shown(path) },
            errno => UnpackError::system("replace", path)(errno),
        })?;
        let made = create(parent, name).map_err(UnpackError::system("make", path));
        self.parent = None;
        made
    }

    /// The directory a member is in, made with mode 0755 where the archive left it out.
    fn parent_of(&mut self, path: &MemberPath) -> Result<std::os::fd::BorrowedFd<'_>, UnpackError> {
        let (dir, _) = path.split();
        let cached = self.parent.take().filter(|(known, _)| known == dir);
        let entry = if let Some(entry) = cached {
            entry
        } else {
            let opened = self.root.ensure_dir(dir);
            (dir.to_vec(), opened.map_err(UnpackError::directory(path.as_bytes()))?)
        };
        Ok(self.parent.insert(entry).1.as_fd())
    }

    fn open_node(&mut self, member: &Member) -> Result<OwnedFd, UnpackError> {
        let (_, name) = member.path.split();
        let flags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let parent = self.parent_of(&member.path)?;
        let opened = rustix::fs::openat(parent, name, flags, Mode::empty());
        opened.map_err(UnpackError::system("open", member.path.as_bytes()))
    }
}

fn inode_of(dir: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn exists(dir: &OwnedFd, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_directory(dir: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
