//! The launcher's own room: what init needs, where root of a user namespace can reach it.
//!
//! That root is a stranger on the host: it may not pass through private directories, neither to the container's root
//! file system nor to the sources of its mounts. Its owner may. So mounts are taken hold of while the launcher still has
//! its owner's ids, and put up in the room when it has become root.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::backing::{self, Backing};
use super::cgroup::Cgroup;
use super::error::{Error, failed};
use super::idmapped::{self, Idmapped};
use super::mount::Mount;
use super::plan::Plan;
use super::root::Root;
use super::state::StateDir;
use super::sys::{self, SingleThread};
use super::{launcher, network, unmounted, user_namespace};

/// Where things are for init.
#[derive(Debug)]
pub(crate) struct Room {
    /// What the configuration mounts, with the sources in the room.
    pub(crate) mounts: Vec<Mount>,
    /// The root file system, and where it is mounted.
    pub(crate) root: Root,
    pub(crate) rootfs: PathBuf,
    /// Where directories to mount on can be made.
    pub(crate) scratch: PathBuf,
    /// What becomes `/sys/fs/cgroup` in the container.
    pub(crate) view: PathBuf,
}

impl Room {
    /// The state directory, for a container without a user namespace.
    pub(crate) fn in_state(state: &StateDir, plan: &Plan, cgroup: &Cgroup) -> Result<Self, Error> {
        let rootfs = match &plan.rootfs {
            Backing::Directory(path) => path.clone(),
            Backing::Overlay(_) => state.file("rootfs"),
        };
        let scratch = state.file("cgroup");
        for directory in [&rootfs, &scratch] {
            std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
        }
        let root = Root::mount(plan.rootfs.hold()?.into_mount(&plan.rootfs_options)?, &rootfs)?;
        let view = cgroup.mount_view(&scratch)?;
        Ok(Self { mounts: plan.mounts.clone(), root, rootfs, scratch: state.path().to_owned(), view })
    }

    /// Enters a new user namespace and furnishes a room in it.
    pub(crate) fn enter(
        alone: SingleThread,
        state: &StateDir,
        plan: &Plan,
        cgroup: &Cgroup,
        monitor: &UnixStream,
    ) -> Result<Self, Error> {
        let idmapped = idmapped::make(alone, plan)?;
        let namespace = |error| failed("make a user namespace for", state.path())(error);
        user_namespace::enter(alone, &plan.idmap).map_err(namespace)?;
        let network = if plan.network.is_own() { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
        unmounted::enter_own_mount_namespace(network)?;
        network::send(&plan.network, monitor)?;
        let held = Held::new(plan, idmapped)?;
        user_namespace::become_root().map_err(failed("become root of the namespace for", state.path()))?;
        if plan.network.is_own() {
            sys::bring_up_loopback().map_err(failed("bring up the interface", "lo"))?;
        }
        launcher::run_pre_mount_hooks(plan)?;
        let room = Path::new(ROOM);
        mount(Some("tmpfs"), room, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755,uid=0,gid=0"))
            .map_err(failed("mount a tmpfs on", room))?;
        let (mounts, tree, rootfs) = held.put_up(plan, room)?;
        let scratch = room.join("cgroup");
        std::fs::create_dir(&scratch).map_err(failed("create", &scratch))?;
        let view = cgroup.mount_view(&scratch)?;
        Ok(Self { mounts, root: tree, rootfs, scratch: room.to_owned(), view })
    }
}

/// Mounts that nobody sees yet.
struct Held {
    rootfs: backing::Held,
    /// Each with whether it is a directory, in the order of the plan's bind mounts. None for one that is left out.
    sources: Vec<Option<(OwnedFd, bool)>>,
}

impl Held {
    fn new(plan: &Plan, mut idmapped: Idmapped) -> Result<Self, Error> {
        let hold = |path: &Path, is_recursive| {
            let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            if is_recursive {
                flags |= OpenTreeFlags::AT_RECURSIVE;
            }
            open_tree(rustix::fs::CWD, path, flags).map_err(failed("take hold of", path))
        };
        let mut sources = Vec::new();
        for entry in plan.mounts.iter().filter(|entry| entry.is_bind()) {
            let is_recursive = entry.options.iter().any(|option| option == "rbind");
            let mapped = if entry.is_idmapped { idmapped.take(&entry.source) } else { None };
            let source = mapped.map_or_else(|| hold(&entry.source, is_recursive), Ok);
            sources.push(match source {
                Err(_) if entry.is_optional => None,
                source => Some((source?, entry.source.is_dir())),
            });
        }
        Ok(Self { rootfs: plan.rootfs.hold_with(&mut idmapped)?, sources })
    }

    /// The mounts of the plan with their sources in the room, and the root file system with its place.
    fn put_up(mut self, plan: &Plan, room: &Path) -> Result<(Vec<Mount>, Root, PathBuf), Error> {
        let put = |mount: OwnedFd, target: PathBuf, is_directory| {
            let made = if is_directory { std::fs::create_dir(&target) } else { std::fs::write(&target, "") };
            made.map_err(failed("create", &target))?;
            attach(&mount, &target)?;
            Ok::<_, Error>(target)
        };
        self.rootfs.settle(room)?;
        let rootfs = room.join("rootfs");
        std::fs::create_dir(&rootfs).map_err(failed("create", &rootfs))?;
        let tree = Root::mount(self.rootfs.into_mount(&plan.rootfs_options)?, &rootfs)?;
        let mut sources = self.sources.into_iter().enumerate();
        let mut mounts = Vec::new();
        for mut entry in plan.mounts.clone() {
            if !entry.is_bind() {
                mounts.push(entry);
            } else if let Some((number, Some((mount, is_directory)))) = sources.next() {
                entry.source = put(mount, room.join(format!("source-{number}")), is_directory)?;
                mounts.push(entry);
            }
        }
        Ok((mounts, tree, rootfs))
    }
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Error> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", rustix::fs::CWD, target, flags).map_err(failed("mount", target))
}

/// A directory that every host has and no container is given, for a mount that only the launcher sees.
const ROOM: &str = "/sys/module";
