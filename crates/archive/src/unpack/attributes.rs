//! Owners, modes, extended attributes and times of what was made.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::entry::Member;
use super::{Ownership, UnpackError, UnpackOptions};
use crate::acl;
use crate::beneath::{RootDir, proc_path};
use crate::ids::IdMap;
use crate::placeholder;
use crate::text::shown;

/// Gives what was made the attributes a member says, in the order that keeps them: the owner (which clears set-id bits
/// and capabilities), then attributes, then the mode, then the capability, then the times.
pub(super) struct Attributes<'a> {
    options: &'a UnpackOptions,
    pub(super) skipped: u64,
    pub(super) skipped_names: BTreeSet<String>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(options: &'a UnpackOptions) -> Self {
        Self { options, skipped: 0, skipped_names: BTreeSet::new() }
    }

    pub(super) fn options(&self) -> &'a UnpackOptions {
        self.options
    }

    /// The owner a member says, when it is to be restored and exists here.
    pub(super) fn owner(&self, member: &Member) -> Result<Option<Owner>, UnpackError> {
        if self.options.ownership == Ownership::Keep {
            return Ok(None);
        }
        let existing = |id: u64, map: &IdMap| match u32::try_from(id) {
            Ok(existing) if map.holds(id) => Ok(existing),
            _ => {
                let member = shown(member.path.as_bytes());
                Err(UnpackError::IdOutsideMap { member, id, map: map.clone() })
            }
        };
        let user = existing(member.user, &self.options.ids.users)?;
        let group = existing(member.group, &self.options.ids.groups)?;
        Ok(Some(Owner { user: Uid::from_raw(user), group: Gid::from_raw(group) }))
    }

    /// The attributes of an open file or directory.
    pub(super) fn apply_to_file(&mut self, file: BorrowedFd<'_>, member: &Member) -> Result<(), UnpackError> {
        let name = member.path.as_bytes();
        if let Some(owner) = self.owner(member)? {
            rustix::fs::fchown(file, Some(owner.user), Some(owner.group))
                .map_err(UnpackError::system("set the owner of", name))?;
        }
        let set = |key: &[u8], value: &[u8]| rustix::fs::fsetxattr(file, key, value, XattrFlags::empty());
        self.set_xattrs(member, Stage::BeforeMode, set)?;
        rustix::fs::fchmod(file, self.mode(member)).map_err(UnpackError::system("set the mode of", name))?;
        self.set_xattrs(member, Stage::AfterMode, set)?;
        rustix::fs::futimens(file, &times(member)).map_err(UnpackError::system("set the times of", name))
    }

    /// The attributes of a fifo, device or link called `name` in `dir`, open as a path.
    pub(super) fn apply_to_node(
        &mut self,
        node: BorrowedFd<'_>,
        member: &Member,
        is_link: bool,
    ) -> Result<(), UnpackError> {
        let name = member.path.as_bytes();
        if let Some(owner) = self.owner(member)? {
            rustix::fs::chownat(node, "", Some(owner.user), Some(owner.group), AtFlags::EMPTY_PATH)
                .map_err(UnpackError::system("set the owner of", name))?;
        }
        let path = proc_path(node);
        let set = |key: &[u8], value: &[u8]| rustix::fs::setxattr(&path, key, value, XattrFlags::empty());
        self.set_xattrs(member, Stage::BeforeMode, set)?;
        if !is_link {
            rustix::fs::chmod(&path, self.mode(member)).map_err(UnpackError::system("set the mode of", name))?;
        }
        self.set_xattrs(member, Stage::AfterMode, set)?;
        rustix::fs::utimensat(node, "", &times(member), AtFlags::EMPTY_PATH)
            .map_err(UnpackError::system("set the times of", name))
    }

    fn mode(&self, member: &Member) -> Mode {
        let may_set_id = self.options.ownership == Ownership::Restore;
        Mode::from_raw_mode(if may_set_id { member.mode } else { member.mode & 0o1777 })
    }

    fn set_xattrs(
        &mut self,
        member: &Member,
        stage: Stage,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<(), UnpackError> {
        if stage == Stage::BeforeMode {
            self.skipped += member.unreadable_acls;
        }
        for (name, value) in &member.xattrs {
            let is_capability = name == b"security.capability";
            if is_capability != (stage == Stage::AfterMode) {
                continue;
            }
            let result = if self.may_set(name) { set(name, value) } else { Err(Errno::PERM) };
            match result {
                Ok(()) => {}
                Err(errno) if self.may_be_missing(name, errno) => {
                    self.skipped += 1;
                    if self.skipped_names.len() < NAMES_KEPT {
                        self.skipped_names.insert(shown(name));
                    }
                }
                Err(errno) => {
                    let label = [member.path.as_bytes(), b" (", name, b")"].concat();
                    return Err(UnpackError::system("set an extended attribute of", &label)(errno));
                }
            }
        }
        Ok(())
    }

    /// Without the owners, only attributes that do not speak for root. Marks of overlayfs and of placeholders are never
    /// an archive's to bring: they would change what the tree is.
    fn may_set(&self, name: &[u8]) -> bool {
        if is_mark(name) {
            return false;
        }
        self.options.ownership == Ownership::Restore
            || name.starts_with(b"user.")
            || matches!(name, acl::ACCESS | acl::DEFAULT)
    }

    /// Labels and `trusted.*` are up to the host; a file system without attributes takes none; a capability must not be
    /// lost in silence where owners are restored.
    fn may_be_missing(&self, name: &[u8], errno: Errno) -> bool {
        if is_mark(name) {
            return true;
        }
        let of_the_image = name.starts_with(b"user.")
            || matches!(name, acl::ACCESS | acl::DEFAULT)
            || (name == b"security.capability" && self.options.ownership == Ownership::Restore);
        match errno {
            Errno::NOTSUP => true,
            Errno::PERM | Errno::ACCESS | Errno::INVAL => !of_the_image,
            _ => false,
        }
    }
}

fn is_mark(name: &[u8]) -> bool {
    name == placeholder::ATTRIBUTE || name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// A user and group that exist here.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) user: Uid,
    pub(super) group: Gid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    BeforeMode,
    AfterMode,
}

/// The modification time of a member; the access time is left alone.
pub(super) fn times(member: &Member) -> Timestamps {
    let nanoseconds = |nanoseconds| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let modified = Timespec { tv_sec: member.mtime.seconds, tv_nsec: member.mtime.nanoseconds.into() };
    Timestamps { last_access: nanoseconds(UTIME_OMIT), last_modification: modified }
}

/// Takes away the default access control list that the destination may have from the directory it was made in: everything
/// unpacked would inherit it.
pub(super) fn forget_inherited(root: &RootDir) {
    for name in [acl::DEFAULT, acl::ACCESS] {
        // Without a list, or on a file system without lists, there is nothing to inherit.
        let _ = rustix::fs::fremovexattr(root.as_fd().as_fd(), name);
    }
}

const NAMES_KEPT: usize = 16;
