//! Mounting a root file system where nobody sees it, in two steps: one with the rights of the container's owner, who
//! may pass through private directories, and one as root of the container, to whom the file system then belongs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{Backing, DELTA, Options, WORK};
use crate::runtime::error::{Error, failed};
use crate::runtime::idmapped::Idmapped;

/// A root file system that was taken hold of.
#[derive(Debug)]
pub(crate) enum Held {
    /// A mount of the directory.
    Tree(OwnedFd),
    /// The layers of an overlay, the uppermost first, the directory that changes go to, and its name in that.
    Layers { lowers: Vec<Lower>, private: OwnedFd, delta: String },
}

/// A layer that is not changed.
#[derive(Debug)]
pub(crate) enum Lower {
    Directory(OwnedFd),
    /// Of a directory, still without a place.
    Mount(OwnedFd),
}

impl Backing {
    /// Takes hold of it with the rights of the calling process.
    pub(crate) fn hold(&self) -> Result<Held, Error> {
        self.hold_with(&mut Idmapped::default())
    }

    /// The same with some of the directories shown through a map.
    pub(crate) fn hold_with(&self, idmapped: &mut Idmapped) -> Result<Held, Error> {
        let overlay = match self {
            Self::Directory(path) => {
                if let Some(mount) = idmapped.take(path) {
                    return Ok(Held::Tree(mount));
                }
                let flags =
                    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
                return open_tree(CWD, path, flags).map(Held::Tree).map_err(failed("take hold of", path));
            }
            Self::Overlay(overlay) => overlay,
        };
        let open = |path: &Path| openat(CWD, path, DIRECTORY, Mode::empty()).map_err(failed("take hold of", path));
        let mut lower = |path: &PathBuf| match idmapped.take(path) {
            Some(mount) => Ok(Lower::Mount(mount)),
            None => open(path).map(Lower::Directory),
        };
        let private = overlay.upper.parent().unwrap_or(Path::new("/"));
        let delta = overlay.upper.file_name().and_then(|name| name.to_str()).unwrap_or(DELTA);
        Ok(Held::Layers {
            lowers: overlay.lowers.iter().map(&mut lower).collect::<Result<_, _>>()?,
            private: open(private)?,
            delta: delta.to_owned(),
        })
    }
}

impl Held {
    /// Gives layers that are mounts of their own a place below `room`: the kernel takes no others for an overlay.
    pub(crate) fn settle(&mut self, room: &Path) -> Result<(), Error> {
        let Self::Layers { lowers, .. } = self else { return Ok(()) };
        for (number, lower) in lowers.iter_mut().enumerate() {
            let Lower::Mount(mount) = lower else { continue };
            let place = room.join(format!("lower-{number}"));
            std::fs::create_dir(&place).map_err(failed("create", &place))?;
            move_mount(&mount, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(failed("mount", &place))?;
            *lower = Lower::Directory(openat(CWD, &place, DIRECTORY, Mode::empty()).map_err(failed("open", &place))?);
        }
        Ok(())
    }

    /// Makes it one mount, still without a place. An overlay belongs to the user namespace of the calling process and,
    /// where that is not the host's, needs `has_user_xattrs`.
    pub(crate) fn into_mount(self, options: &Options) -> Result<OwnedFd, Error> {
        match self {
            Self::Tree(mount) => Ok(mount),
            Self::Layers { lowers, private, delta } => {
                overlay(&lowers, &private, &delta, options).map_err(failed("mount", "the overlay"))
            }
        }
    }
}

fn overlay(lowers: &[Lower], private: &OwnedFd, delta: &str, options: &Options) -> io::Result<OwnedFd> {
    let (upper, work) = (make(private, delta)?, make(private, WORK)?);
    // Layers are named by their file descriptors: their paths may hold anything, and lead through private directories.
    let path = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
    let lower = |(Lower::Directory(layer) | Lower::Mount(layer)): &Lower| path(layer);
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || {
        fsconfig_set_string(&context, "source", "overlay")?;
        fsconfig_set_string(&context, "lowerdir", lowers.iter().map(lower).collect::<Vec<_>>().join(":"))?;
        fsconfig_set_string(&context, "upperdir", path(&upper))?;
        fsconfig_set_string(&context, "workdir", path(&work))?;
        if options.has_user_xattrs {
            fsconfig_set_flag(&context, "userxattr")?;
        }
        for option in &options.others {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, option.as_str())?,
            }
        }
        fsconfig_create(&context)
    };
    match configure() {
        Ok(()) => Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?),
        Err(errno) => Err(explain(context, errno)),
    }
}

/// The directory of this name, made if it is not there.
fn make(private: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(private, name, Mode::from_raw_mode(0o755)) {
        Err(errno) if errno != Errno::EXIST => Err(errno.into()),
        _ => Ok(openat(private, name, DIRECTORY, Mode::empty())?),
    }
}

/// The kernel says why in lines that are read from the context, each `e overlay: REASON`.
fn explain(context: OwnedFd, errno: Errno) -> io::Error {
    let mut line = [0; 1024];
    let length = File::from(context).read(&mut line).unwrap_or(0);
    let said = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
    match said.trim().split_once(": ") {
        Some((_, reason)) => io::Error::new(io::Error::from(errno).kind(), format!("{reason}: {errno}")),
        None => errno.into(),
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::backing::Overlay;

    #[test]
    fn an_overlay_shows_all_layers_and_changes_only_its_own() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root mounts");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for layer in ["base", "top", "with: colon"] {
            std::fs::create_dir(path(layer)).unwrap();
            std::fs::write(path(layer).join(layer), layer).unwrap();
        }
        std::fs::create_dir(path("web1")).unwrap();
        std::fs::write(path("top/base"), "hidden").unwrap();
        let lowers = ["top", "with: colon", "base"].map(path).to_vec();
        let overlay = Overlay { lowers, upper: path("web1/delta0") };
        let mount = Backing::Overlay(overlay.clone()).hold().unwrap().into_mount(&Options::default()).unwrap();
        let inside = Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string());
        let read = |name: &str| std::fs::read_to_string(inside.join(name)).unwrap();
        assert_eq!([read("base"), read("top"), read("with: colon")], ["hidden", "top", "with: colon"]);
        std::fs::write(inside.join("top"), "changed").unwrap();
        assert_eq!(std::fs::read_to_string(overlay.upper.join("top")).unwrap(), "changed");
        assert_eq!(std::fs::read_to_string(path("top/top")).unwrap(), "top");
        assert!(path("web1/work").is_dir());
    }

    #[test]
    fn an_option_that_the_kernel_does_not_know_is_named() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root mounts");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let overlay = Overlay { lowers: vec!["/usr/share".into()], upper: dir.path().join("delta") };
        let held = Backing::Overlay(overlay).hold().unwrap();
        let error = held.into_mount(&Options::parse("colour=green")).unwrap_err();
        let text = crate::runtime::error::chain(&error);
        assert!(text.contains("colour"), "{text}");
    }
}
