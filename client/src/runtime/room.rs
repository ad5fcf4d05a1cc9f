//! The launcher's own room: what the engine needs, where root of a user namespace can reach it.
//!
//! That root is a stranger on the host: it may not pass through private directories, neither to the container's root
//! file system nor to the sources of its mounts. Its owner may. So mounts are taken hold of while the launcher still has
//! its owner's ids, and put up in the room when it has become root.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::backing::{self, Backing};
use super::cgroup::Cgroup;
use super::error::{Error, failed};
use super::idmapped::{self, Idmapped};
use super::plan::Plan;
use super::state::StateDir;
use super::sys::{self, SingleThread};
use super::{launcher, network, unmounted, user_namespace};

/// Where things are for the engine.
#[derive(Debug)]
pub(crate) struct Room {
    /// The plan, with its paths in the room.
    pub(crate) plan: Plan,
    /// Where the root file system is mounted.
    pub(crate) rootfs: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) console: PathBuf,
    /// What becomes `/sys/fs/cgroup` in the container.
    pub(crate) view: PathBuf,
    /// What the engine is told of cgroups.
    pub(crate) cgroup: PathBuf,
}

impl Room {
    /// The state directory, for a container without a user namespace.
    pub(crate) fn in_state(state: &StateDir, plan: &Plan, view: PathBuf, cgroup: PathBuf) -> Result<Self, Error> {
        let rootfs = match &plan.rootfs {
            Backing::Directory(path) => path.clone(),
            overlay @ Backing::Overlay(_) => {
                let target = state.file("rootfs");
                std::fs::create_dir_all(&target).map_err(failed("create", &target))?;
                attach(&overlay.hold()?.into_mount(&plan.rootfs_options)?, &target)?;
                target
            }
        };
        let mut plan = plan.clone();
        plan.mounts.retain(|entry| !entry.is_optional || entry.is_possible());
        Ok(Self {
            plan,
            rootfs,
            bundle: state.path().to_owned(),
            engine: state.file("engine"),
            console: state.file("console.sock"),
            view,
            cgroup,
        })
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
        let held = Held::new(state, plan, idmapped)?;
        user_namespace::become_root().map_err(failed("become root of the namespace for", state.path()))?;
        if plan.network.is_own() {
            sys::bring_up_loopback().map_err(failed("bring up the interface", "lo"))?;
        }
        launcher::run_pre_mount_hooks(plan)?;
        let room = Path::new(ROOM);
        mount(Some("tmpfs"), room, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755,uid=0,gid=0"))
            .map_err(failed("mount a tmpfs on", room))?;
        let (plan, rootfs) = held.put_up(plan, room)?;
        let view = room.join("cgroup");
        std::fs::create_dir(&view).map_err(failed("create", &view))?;
        let shown = cgroup.mount_view(&view)?;
        if shown != view {
            // On hosts with v2 alone it is below what is covered next.
            mount(Some(&shown), &view, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(failed("bind the cgroup", shown))?;
        }
        keep_engine_off_cgroups()?;
        Ok(Self {
            plan,
            rootfs,
            bundle: room.to_owned(),
            engine: room.join("engine"),
            console: room.join("console.sock"),
            view,
            cgroup: "/not-for-the-engine".into(),
        })
    }
}

/// Mounts that nobody sees yet.
struct Held {
    rootfs: backing::Held,
    console: OwnedFd,
    /// Each with whether it is a directory, in the order of the plan's bind mounts. None for one that is left out.
    sources: Vec<Option<(OwnedFd, bool)>>,
}

impl Held {
    fn new(state: &StateDir, plan: &Plan, mut idmapped: Idmapped) -> Result<Self, Error> {
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
        Ok(Self {
            rootfs: plan.rootfs.hold_with(&mut idmapped)?,
            console: hold(&state.file("console.sock"), false)?,
            sources,
        })
    }

    /// The plan with the sources of its mounts in the room, and the root file system.
    fn put_up(mut self, plan: &Plan, room: &Path) -> Result<(Plan, PathBuf), Error> {
        let put = |mount: OwnedFd, target: PathBuf, is_directory| {
            let made = if is_directory { std::fs::create_dir(&target) } else { std::fs::write(&target, "") };
            made.map_err(failed("create", &target))?;
            attach(&mount, &target)?;
            Ok::<_, Error>(target)
        };
        let mut plan = plan.clone();
        self.rootfs.settle(room)?;
        let rootfs = put(self.rootfs.into_mount(&plan.rootfs_options)?, room.join("rootfs"), true)?;
        put(self.console, room.join("console.sock"), false)?;
        let mut sources = self.sources.into_iter().enumerate();
        let mut mounts = Vec::new();
        for mut entry in std::mem::take(&mut plan.mounts) {
            if !entry.is_bind() {
                mounts.extend((!entry.is_optional || entry.is_possible()).then_some(entry));
            } else if let Some((number, Some((mount, is_directory)))) = sources.next() {
                entry.source = put(mount, room.join(format!("source-{number}")), is_directory)?;
                mounts.push(entry);
            }
        }
        plan.mounts = mounts;
        Ok((plan, rootfs))
    }
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Error> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", rustix::fs::CWD, target, flags).map_err(failed("mount", target))
}

/// The launcher is in the container's cgroups already. A plain user may have none, and the engine takes what it cannot
/// write only where it finds the second version, read-only.
fn keep_engine_off_cgroups() -> Result<(), Error> {
    let root = Path::new("/sys/fs/cgroup");
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(failed("make a cgroup namespace for", root))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // The kernel refuses to mount a file system onto itself.
    mount(Some("tmpfs"), root, Some("tmpfs"), flags, Some("mode=755,size=4k"))
        .map_err(failed("mount a tmpfs on", root))?;
    mount(Some("cgroup2"), root, Some("cgroup2"), flags, None::<&str>).map_err(failed("mount cgroup2 on", root))?;
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, root, None::<&str>, flags, None::<&str>).map_err(failed("make read-only", root))
}

/// A directory that every host has and no container is given, for a mount that only the launcher sees.
const ROOM: &str = "/sys/module";
