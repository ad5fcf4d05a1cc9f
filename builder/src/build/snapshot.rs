//! A tree to work in, that begins as an earlier stage left it.
//!
//! overlayfs puts the layers of earlier stages under an empty one, so that nothing is copied and what the stage changes
//! is kept apart. Where it cannot work (a cache that is on overlayfs itself, a kernel without it) the tree is copied.
//!
//! In a user namespace overlayfs keeps its marks in `user.*` attributes and knows less: files with several names would be
//! torn apart by a change to one of them, so they are taken into the new layer with all their names beforehand; and a
//! directory of an earlier stage cannot be renamed (rename(2) says EXDEV), only copied, as mv(1) then does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use super::BuildError;
use crate::cache::stages::{Partial, Snapshot, Stages};
use crate::sandbox::{self, Run, Session, Step, Surroundings};
use crate::userns;

/// How trees begin as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Storage {
    /// Layers of overlayfs.
    Layers,
    /// Copies.
    Copies,
}

impl Storage {
    /// What works in a directory of stages.
    pub(crate) fn of(stages: &Stages) -> io::Result<Self> {
        let probe = stages.partial()?;
        let below = probe.path().join("below");
        for directory in [below.as_path(), &probe.layer(), &probe.work(), &probe.path().join("tree")] {
            fs_err::create_dir(directory)?;
        }
        let tree = probe.path().join("tree");
        match mount_layers(&[below], &probe.layer(), &probe.work(), &tree) {
            Ok(()) => unmount(&tree, UnmountFlags::DETACH).map(|()| Self::Layers).map_err(io::Error::from),
            Err(_) => Ok(Self::Copies),
        }
    }
}

/// A tree in the making.
pub(crate) struct Workplace {
    partial: Partial,
    root: PathBuf,
    layers: Vec<PathBuf>,
    mounted: bool,
}

impl Workplace {
    /// A tree that does not exist yet, for the stage that makes it.
    pub(crate) fn empty(stages: &Stages) -> io::Result<Self> {
        let partial = stages.partial()?;
        let root = partial.layer();
        Ok(Self { layers: vec![root.clone()], root, partial, mounted: false })
    }

    /// A tree that begins as `below`. Layers are mounted at `place`.
    pub(crate) fn upon(
        below: &Snapshot,
        (stages, storage): (&Stages, Storage),
        place: &Path,
        around: Surroundings<'_>,
    ) -> Result<Self, BuildError> {
        let partial = stages.partial()?;
        if let Some(volatile) = &below.volatile {
            for name in ["run", "tmp"] {
                let from = volatile.join(name);
                if fs_err::read_dir(&from)?.next().is_some() {
                    copy(&from, &partial.volatile().join(name), around)?;
                }
            }
        }
        if storage == Storage::Layers && below.layers.len() < MOST_LAYERS {
            fs_err::create_dir(partial.work())?;
            like_the_top(&below.layers, &partial.layer())?;
            mount_layers(&below.layers, &partial.layer(), &partial.work(), place)?;
            if userns::is_inside()? {
                let taken = take_links(place);
                if taken.is_err() {
                    unmount(place, UnmountFlags::DETACH).map_err(io::Error::from)?;
                }
                taken?;
            }
            let layers = below.layers.iter().cloned().chain([partial.layer()]).collect();
            return Ok(Self { partial, root: place.to_owned(), layers, mounted: true });
        }
        let root = partial.layer();
        match below.layers.as_slice() {
            [whole] => copy(whole, &root, around)?,
            several => {
                let views = stages.partial()?;
                fs_err::create_dir(views.work())?;
                fs_err::create_dir(views.layer())?;
                mount_layers(several, &views.layer(), &views.work(), place)?;
                let copied = copy(place, &root, around);
                unmount(place, UnmountFlags::DETACH).map_err(io::Error::from)?;
                copied?;
            }
        }
        Ok(Self { layers: vec![root.clone()], root, partial, mounted: false })
    }

    /// Where the tree is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What `/run` and `/tmp` are while something runs in the tree.
    pub(crate) fn volatile(&self) -> PathBuf {
        self.partial.volatile()
    }

    /// The directory of the stage.
    pub(crate) fn partial(&self) -> &Path {
        self.partial.path()
    }

    /// A new directory that is not part of the tree.
    pub(crate) fn beside(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.partial.path().join(name);
        fs_err::create_dir(&path)?;
        Ok(path)
    }

    /// The layers, its own last.
    pub(crate) fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    /// Ends the work: what is left can become a layer below others.
    pub(crate) fn seal(mut self) -> io::Result<Partial> {
        if self.mounted {
            complete_links(&self.root, &self.partial.layer())?;
            self.mounted = false;
            unmount(&self.root, UnmountFlags::DETACH)?;
            fs_err::remove_dir_all(self.partial.work())?;
        }
        Ok(self.partial)
    }

    /// Ends the work as it is.
    pub(crate) fn abandon(mut self) -> io::Result<Partial> {
        if std::mem::take(&mut self.mounted) {
            unmount(&self.root, UnmountFlags::DETACH)?;
        }
        Ok(self.partial)
    }
}

/// Mounts `below`, the lowest first, under the directory `upper` at `place`.
///
/// With `index` a change to a file reaches all its names, and with `redirect_dir` directories can be renamed, as in
/// any other tree. Neither works in a user namespace.
pub(crate) fn mount_layers(below: &[PathBuf], upper: &Path, work: &Path, place: &Path) -> io::Result<()> {
    // By their numbers, directories can have any name, and the list stays below the kernel's limit of a page.
    let open =
        |path: &PathBuf| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = below.iter().rev().map(open).collect::<Result<Vec<OwnedFd>, _>>()?;
    let [upper, work] = [upper.to_owned(), work.to_owned()].map(|path| open(&path));
    let (upper, work) = (upper?, work?);
    let mut lower = String::new();
    for directory in &opened {
        let _ = write!(lower, "{}/proc/self/fd/{}", if lower.is_empty() { "" } else { ":" }, directory.as_raw_fd());
    }
    let number = |directory: &OwnedFd| format!("/proc/self/fd/{}", directory.as_raw_fd());
    let kind = if userns::is_inside()? { "userxattr" } else { "index=on,redirect_dir=on" };
    let options = format!("lowerdir={lower},upperdir={},workdir={},{kind},metacopy=off", number(&upper), number(&work));
    Ok(mount("overlay", place, "overlay", MountFlags::empty(), CString::new(options)?.as_c_str())?)
}

/// The root of a tree is the directory of the uppermost layer: each gets owner and mode of the one below.
fn like_the_top(below: &[PathBuf], layer: &Path) -> io::Result<()> {
    fs_err::create_dir(layer)?;
    let Some(top) = below.last() else { return Ok(()) };
    let found = fs_err::metadata(top)?;
    std::os::unix::fs::chown(layer, Some(found.uid()), Some(found.gid()))?;
    fs_err::set_permissions(layer, found.permissions())?;
    fs_err::File::open(layer)?.file().set_modified(found.modified()?)
}

/// Takes every file with several names into the layer that `tree` is mounted with: its content once, and all names.
fn take_links(tree: &Path) -> io::Result<()> {
    let mut named: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    walk(tree, &mut |path, metadata| {
        if !metadata.is_dir() && metadata.nlink() > 1 {
            named.entry(metadata.ino()).or_default().push(path.to_owned());
        }
        Ok(())
    })?;
    let parents = named.values().flatten().filter_map(|path| path.parent());
    let times = parents.collect::<BTreeSet<_>>().into_iter().map(|parent| Ok((parent, times_of(parent)?)));
    let times = times.collect::<io::Result<Vec<_>>>()?;
    for names in named.values() {
        let Some((first, others)) = names.split_first() else { continue };
        let metadata = fs_err::symlink_metadata(first)?;
        let times_of_file = times_of(first)?;
        touch(first, &metadata)?;
        for other in others {
            fs_err::remove_file(other)?;
            fs_err::hard_link(first, other)?;
        }
        set_times(first, &times_of_file)?;
    }
    for (parent, times) in times {
        set_times(parent, &times)?;
    }
    Ok(())
}

/// When something was last read and changed.
fn times_of(path: &Path) -> io::Result<Timestamps> {
    let found = fs_err::symlink_metadata(path)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Ok(Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    })
}

fn set_times(path: &Path, times: &Timestamps) -> io::Result<()> {
    Ok(rustix::fs::utimensat(CWD, path, times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Puts all names of a changed file into the layer. While the layers are mounted, overlayfs knows that the names in
/// lower ones mean the changed file; a layer below others has to say it itself.
fn complete_links(tree: &Path, layer: &Path) -> io::Result<()> {
    let mut named: BTreeMap<u64, (u64, u64, PathBuf)> = BTreeMap::new();
    walk(layer, &mut |path, metadata| {
        // A character device without a number says that something is gone; the kernel links all of them to one.
        let is_whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        if !metadata.is_dir() && !is_whiteout && metadata.nlink() > 1 {
            let inside = path.strip_prefix(layer).unwrap_or(path).to_owned();
            named.entry(metadata.ino()).or_insert((0, metadata.nlink(), inside)).0 += 1;
        }
        Ok(())
    })?;
    let mut incomplete = BTreeSet::new();
    for (names, links, path) in named.into_values() {
        if names < links {
            let metadata = fs_err::symlink_metadata(tree.join(path))?;
            if metadata.nlink() > names {
                incomplete.insert(metadata.ino());
            }
        }
    }
    if incomplete.is_empty() {
        return Ok(());
    }
    walk(tree, &mut |path, metadata| {
        if !metadata.is_dir() && incomplete.contains(&metadata.ino()) {
            touch(path, metadata)?;
        }
        Ok(())
    })
}

/// Makes overlayfs take a file for a changed one, and changes nothing.
fn touch(path: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        return std::fs::OpenOptions::new().write(true).custom_flags(flags).open(path).map(drop);
    }
    // Others cannot be opened for that, but given to the owner they have.
    std::os::unix::fs::lchown(path, Some(metadata.uid()), Some(metadata.gid()))
}

fn walk(directory: &Path, visit: &mut impl FnMut(&Path, &std::fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        let metadata = fs_err::symlink_metadata(&path)?;
        visit(&path, &metadata)?;
        if metadata.is_dir() {
            walk(&path, visit)?;
        }
    }
    Ok(())
}

/// Copies a tree with everything about it.
fn copy(from: &Path, to: &Path, around: Surroundings<'_>) -> Result<(), BuildError> {
    fs_err::create_dir_all(to)?;
    let words = ["cp", "-a", "--reflink=auto", "--"].map(str::to_owned).into_iter();
    let paths = [format!("{}/.", from.display()), to.display().to_string()];
    let step = Step::new("copying the tree", Run::Command(words.chain(paths).collect()));
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let session = Session { environment, steps: vec![step], ..Session::default() };
    Ok(sandbox::run(&session, around)?)
}

/// More than any spec has stages, and few enough for one mount.
const MOST_LAYERS: usize = 100;
