//! A tar archive of unknown origin becomes a tree that cannot reach outside of its directory.
//!
//! What GNU tar restores is restored: owners, modes, times to the nanosecond, hard links, devices, fifos, holes,
//! capabilities, access control lists and extended attributes. What makes the difference:
//!
//! - Names that are absolute or have `..` in them are refused.
//! - A directory that is a link in the archive (`lib -> usr/lib`, then `lib/x`) is followed as the container would:
//!   an absolute link starts at the destination and `..` stops at it. The kernel does this (`RESOLVE_IN_ROOT`).
//! - What is there already is removed, never written through: a file lands in a new inode even where a link, a fifo or a
//!   device of that name came before. Directories are kept; a directory that is not empty is not replaced.
//! - A hard link is made to what its name says, not through links; both must be in the destination.
//! - Modes, owners, times and attributes of directories come last, so a default access control list or a mode of 0 does
//!   not touch what comes after it in the archive.
//! - An archive must have an end mark: one that was cut between two members is refused.

mod attributes;
pub(crate) mod entry;
mod error;
mod excludes;
mod limits;
pub(crate) mod name;
mod pax;
mod place;
mod sparse;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use crate::beneath::RootDir;
use crate::ids::IdMaps;
use attributes::Attributes;
use entry::{Kind, Member, Members};
use place::Placed;

pub use error::UnpackError;
pub use excludes::Excludes;
pub use limits::UnpackLimits;

/// How to unpack.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// Whose files they become.
    pub ownership: Ownership,
    /// What becomes of character and block devices.
    pub devices: DevicePolicy,
    /// What becomes of directories that are there already.
    pub existing_directories: ExistingDirectories,
    /// The ids that exist here; an owner outside of them is an error before anything is made with it.
    pub ids: IdMaps,
    /// Members to leave out.
    pub excludes: Excludes,
    /// What the archive may ask for.
    pub limits: UnpackLimits,
}

impl UnpackOptions {
    /// What this process can do: owners as root, also as root of a user namespace; devices outside of one only.
    pub fn for_this_process() -> std::io::Result<Self> {
        let ids = IdMaps::of_this_process()?;
        let is_root = rustix::process::geteuid().is_root();
        Ok(Self {
            ownership: if is_root { Ownership::Restore } else { Ownership::Keep },
            devices: if is_root && ids.is_identity() { DevicePolicy::Create } else { DevicePolicy::Skip },
            existing_directories: ExistingDirectories::Update,
            ids,
            excludes: Excludes::default(),
            limits: UnpackLimits::default(),
        })
    }

    /// The same, for a tree that will be packed again: what stands for a device that cannot be made here is a file.
    pub fn for_a_build() -> std::io::Result<Self> {
        let options = Self::for_this_process()?;
        let devices = match options.devices {
            DevicePolicy::Create => DevicePolicy::Create,
            DevicePolicy::Skip | DevicePolicy::Placeholder => DevicePolicy::Placeholder,
        };
        Ok(Self { devices, ..options })
    }
}

/// Whose files unpacked files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The owners the archive says, by number.
    Restore,
    /// The user and group that unpack. Set-id bits, capabilities and other attributes that only root may set are left
    /// out, as they would speak for someone else.
    Keep,
}

/// What becomes of character and block devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevicePolicy {
    /// They are made.
    Create,
    /// They are left out and counted: no user namespace may make them (mknod(2), EPERM).
    Skip,
    /// Files stand for them ([`crate::placeholder`]), for a tree that will be packed again.
    Placeholder,
}

/// What becomes of directories that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingDirectories {
    /// They get the attributes the archive says, and a link in the place of a directory is replaced: GNU tar's rule.
    Update,
    /// They stay as they are, and so do links to directories, which names of hard links lead through, too: dpkg's rule,
    /// by which packages share directories. New ones get their attributes before anything is put in, so their time is
    /// that of the last change in them.
    Keep,
}

/// A member of an archive, for those who keep a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path without a leading `./` or a trailing slash; empty for the root.
    pub path: Vec<u8>,
    /// Whether it is a directory.
    pub is_directory: bool,
}

impl Listed {
    fn of(member: &Member) -> Self {
        Self { path: member.path.as_bytes().to_vec(), is_directory: matches!(member.kind, Kind::Directory) }
    }
}

/// What was unpacked, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackSummary {
    /// Members that were made.
    pub entries: u64,
    /// Bytes of file contents, without holes.
    pub content_bytes: u64,
    /// Members that [`UnpackOptions::excludes`] left out.
    pub excluded: u64,
    /// Devices, and hard links to devices, that [`DevicePolicy::Skip`] left out.
    pub devices_skipped: u64,
    /// Extended attributes that this system or file system does not take: labels, `trusted.*` in a user namespace.
    pub attributes_skipped: u64,
    /// Names of some of these.
    pub attributes_skipped_names: BTreeSet<String>,
}

/// Unpacks the archive `tar` into the directory `dest`, which must exist and which nobody else may change meanwhile.
/// The archive's `./`, where it has one, gives `dest` itself its owner, mode and times.
pub fn unpack(tar: impl Read, dest: &Path, options: &UnpackOptions) -> Result<UnpackSummary, UnpackError> {
    unpack_with(tar, dest, options, |_| {})
}

/// [`unpack`], and the members in their order, without those that were left out by [`UnpackOptions::excludes`].
pub fn unpack_listed(
    tar: impl Read,
    dest: &Path,
    options: &UnpackOptions,
) -> Result<(UnpackSummary, Vec<Listed>), UnpackError> {
    let mut list = Vec::new();
    let summary = unpack_with(tar, dest, options, |member| list.push(Listed::of(member)))?;
    Ok((summary, list))
}

/// The members of the archive `tar` in their order; nothing is made of them.
pub fn list(tar: impl Read, limits: &UnpackLimits) -> Result<Vec<Listed>, UnpackError> {
    let mut members = Members::new(tar, limits);
    let mut list = Vec::new();
    while let Some(member) = members.next()? {
        list.push(Listed::of(&member));
    }
    Ok(list)
}

fn unpack_with(
    tar: impl Read,
    dest: &Path,
    options: &UnpackOptions,
    mut seen: impl FnMut(&Member),
) -> Result<UnpackSummary, UnpackError> {
    let failed = |source| UnpackError::System { action: "open", member: dest.display().to_string(), source };
    let root = RootDir::open(dest).map_err(failed)?;
    attributes::forget_inherited(&root);
    let mut members = Members::new(tar, &options.limits);
    let mut placed = Placed::new(&root, Attributes::new(options));
    while let Some(member) = members.next()? {
        if options.excludes.cover(member.path.as_bytes()) {
            placed.exclude(&member);
        } else {
            placed.place(&member, &mut members)?;
            seen(&member);
        }
    }
    placed.finish()
}

/// Whether a member is a device.
fn is_device(member: &Member) -> bool {
    matches!(member.kind, Kind::Character { .. } | Kind::Block { .. })
}
