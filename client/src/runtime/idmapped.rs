//! Idmapped mounts: a directory on which the owners of files are shown through the map of a container, so that one
//! unpacked image serves containers with every map, and nothing is chowned.
//!
//! `lxc.rootfs.options = idmap=container` asks for it, and so does `idmap=container` of a mount entry. Without a word it
//! is done for a root file system, or a lower layer of one, that belongs to the host's root: no mapped container could
//! use it otherwise. The kernel lets only the host's root do it, and not every file system can; where it cannot be done
//! and nobody asked for it, the directory is taken as it is.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{OpenTreeFlags, open_tree};

use super::backing::Backing;
use super::error::{Error, failed};
use super::plan::Plan;
use super::sys::{self, SingleThread};
use super::user_namespace;

/// Mounts that were made so, each for one use.
#[derive(Debug, Default)]
pub(crate) struct Idmapped(BTreeMap<PathBuf, Vec<OwnedFd>>);

impl Idmapped {
    /// The mount of a directory, where one was made.
    pub(crate) fn take(&mut self, path: &Path) -> Option<OwnedFd> {
        self.0.get_mut(path)?.pop()
    }
}

/// Makes those a container needs, while the calling process still is the host's root.
pub(crate) fn make(alone: SingleThread, plan: &Plan) -> Result<Idmapped, Error> {
    let mut mounts = Idmapped::default();
    if plan.idmap.is_empty() || !rustix::process::geteuid().is_root() {
        return Ok(mounts);
    }
    let candidates: &[PathBuf] = match &plan.rootfs {
        Backing::Directory(path) => std::slice::from_ref(path),
        Backing::Overlay(overlay) => &overlay.lowers,
    };
    let asked = plan.rootfs_options.idmap;
    let of_rootfs = candidates.iter().filter(|path| asked.unwrap_or_else(|| is_the_hosts(path, plan)));
    let of_rootfs = of_rootfs.map(|path| (path, asked.is_some()));
    let of_entries = plan.mounts.iter().filter(|entry| entry.is_idmapped).map(|entry| (&entry.source, true));
    let mut namespace = None;
    for (path, is_asked_for) in of_rootfs.chain(of_entries) {
        let namespace = if let Some(namespace) = &mut namespace {
            namespace
        } else {
            let made = user_namespace::descriptor(alone, &plan.idmap);
            namespace.insert(made.map_err(failed("make a user namespace for", &plan.config))?)
        };
        match open(path, namespace) {
            Ok(mount) => mounts.0.entry(path.clone()).or_default().push(mount),
            Err(error) if is_asked_for => return Err(failed("show with mapped owners", path)(error)),
            Err(error) => tracing::debug!(%error, "`{}` is taken as it is", path.display()),
        }
    }
    Ok(mounts)
}

fn open(path: &Path, namespace: &OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, path, flags)?;
    sys::set_idmap(&mount, namespace)?;
    Ok(mount)
}

/// Whether it belongs to root of the host, who is nobody in the container.
fn is_the_hosts(path: &Path, plan: &Plan) -> bool {
    path.metadata().is_ok_and(|data| data.uid() == 0) && !plan.idmap.reaches_user(0)
}
