//! The file systems a sandbox sees.
//!
//! ```text
//! /proc /sys          of the new namespaces; the host's /sys for a user namespace that shares its network
//! /run /tmp           what earlier stages left there, or empty and in memory
//! /dev                in memory, with the usual nodes (the host's where a user namespace may make none), pts and shm
//! /etc/resolv.conf    the host's, in place of the image's
//! /usr/sbin/policy-rc.d  forbids packages to start services
//! ```
//!
//! What scripts rely on is distrobuilder's contract (`shared/chroot.go`): they may mount and unmount, also these. What
//! had to be created in the tree for a mount is removed again, unless a script has put something else there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsmount, fsopen, mount, mount_bind, mount_bind_recursive, mount_change, move_mount,
    open_tree, unmount,
};

use super::aside::Aside;

/// What has to be removed when the session is over.
#[derive(Default)]
pub(super) struct Undo {
    /// Where the root directory was changed.
    pub(super) aside: Option<Aside>,
    resolv_conf: Option<PathBuf>,
    policy: bool,
}

impl Undo {
    /// Removes it. There is nobody to tell about what a script has already removed.
    pub(super) fn run(self) {
        if self.policy && fs::read(POLICY_PATH).is_ok_and(|text| text == POLICY.as_bytes()) {
            let _ = fs::remove_file(POLICY_PATH);
        }
        if let Some(path) = self.resolv_conf {
            let _ = unmount(RESOLV_CONF, UnmountFlags::DETACH);
            let placeholder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == 0);
            if placeholder {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Mounts everything and makes `root`, if there is one, the root directory.
/// File systems in memory hold no more than `memory_bytes`.
pub(super) fn prepare(
    root: Option<&Path>,
    binds: &BTreeMap<String, PathBuf>,
    memory_bytes: Option<u64>,
) -> io::Result<Undo> {
    // Nothing mounted from here on is seen by the host.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(named("make mounts private"))?;
    rustix::system::sethostname(HOSTNAME).map_err(named("set the host name"))?;
    let Some(root) = root else {
        return file_system("proc", "/proc", NO_PROGRAMS, "").map(|()| Undo::default());
    };
    let resolv_conf = fs::read(RESOLV_CONF).unwrap_or_default();
    let binds = binds.iter().map(|(target, source)| Bind::of(target, source)).collect::<io::Result<Vec<_>>>()?;
    let prepared = Prepared::before_leaving().map_err(named("prepare file systems"))?;
    mount_bind_recursive(root, root).map_err(named("bind the tree"))?;
    std::env::set_current_dir(root)?;
    // The new root is stacked on the old one, which then goes: nothing of the host can be reached any more.
    rustix::process::pivot_root(".", ".").map_err(named("change the root directory"))?;
    unmount(".", UnmountFlags::DETACH).map_err(named("leave the host's tree"))?;
    std::env::set_current_dir("/")?;
    fs::create_dir_all("/proc")?;
    let aside = Aside::before_covering("/proc")?;
    prepared.attach_views()?;
    let size = memory_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    for (target, mode) in [("/run", "mode=0755"), ("/tmp", "mode=1777")] {
        if binds.iter().all(|bind| bind.target != target) {
            file_system("tmpfs", target, MountFlags::NOSUID | MountFlags::NODEV, &format!("{mode}{size}"))?;
        }
    }
    for bind in binds {
        bind.attach()?;
    }
    prepared.devices(&size)?;
    let resolv_conf = name_servers(&resolv_conf)?;
    Ok(Undo { aside: Some(aside), resolv_conf, policy: forbid_services()? })
}

/// A directory of the host, taken hold of before its tree is left.
struct Bind {
    target: String,
    tree: OwnedFd,
}

impl Bind {
    fn of(target: &str, source: &Path) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, source, flags).map_err(named(&format!("take hold of `{}`", source.display())))?;
        Ok(Self { target: target.to_owned(), tree })
    }

    fn attach(self) -> io::Result<()> {
        fs::create_dir_all(&self.target)?;
        attach(&self.tree, &self.target)
    }
}

fn file_system(kind: &str, target: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let data = std::ffi::CString::new(data)?;
    mount(kind, target, kind, flags, data.as_c_str()).map_err(named(&format!("mount {target}")))
}

/// What has to be made or taken hold of while the host's tree is still there: a user namespace gets a view of processes
/// or of the system only while it can see the whole of another one, and it borrows the devices that it may not make.
struct Prepared {
    processes: OwnedFd,
    system: OwnedFd,
    /// The nodes of [`NODES`].
    nodes: Vec<Option<OwnedFd>>,
}

impl Prepared {
    fn before_leaving() -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let node = |name| open_tree(CWD, Path::new("/dev").join(name), flags).ok();
        // A user namespace has a `/sys` of its own only with a network of its own; else it sees the host's.
        let system = view("sysfs").or_else(|_| open_tree(CWD, "/sys", flags | OpenTreeFlags::AT_RECURSIVE))?;
        Ok(Self { processes: view("proc")?, system, nodes: NODES.iter().map(|(name, ..)| node(name)).collect() })
    }

    fn attach_views(&self) -> io::Result<()> {
        for (tree, target) in [(&self.processes, "/proc"), (&self.system, "/sys")] {
            fs::create_dir_all(target)?;
            attach(tree, target)?;
        }
        Ok(())
    }

    /// A new `/dev`, with nodes of the host where none can be made.
    fn devices(&self, size: &str) -> io::Result<()> {
        file_system("tmpfs", "/dev", MountFlags::NOSUID, &format!("mode=0755{size}"))?;
        for ((name, major, minor, mode), node) in NODES.iter().zip(&self.nodes) {
            let path = Path::new("/dev").join(name);
            let mode = Mode::from_bits_truncate(*mode);
            match (mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(*major, *minor)), node) {
                (Err(Errno::PERM), Some(node)) => {
                    fs::write(&path, "")?;
                    attach(node, &format!("/dev/{name}"))?;
                }
                // A container may have no console to lend.
                (Err(Errno::PERM), None) => {}
                (outcome, _) => {
                    outcome.map_err(named(&format!("make /dev/{name}")))?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode.bits()))?;
                }
            }
        }
        for (name, target) in LINKS {
            std::os::unix::fs::symlink(target, Path::new("/dev").join(name))?;
        }
        let pts = "newinstance,ptmxmode=0666,mode=0620";
        file_system("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, pts)?;
        file_system("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, &format!("mode=1777{size}"))
    }
}

/// A new file system that is attached nowhere yet.
fn view(kind: &str) -> Result<OwnedFd, Errno> {
    let file_system = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&file_system)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&file_system, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Mounts what was taken hold of.
fn attach(tree: &OwnedFd, target: &str) -> io::Result<()> {
    // As with any mount, a link is followed: distributions make /tmp one.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(tree, "", CWD, target, flags).map_err(named(&format!("mount {target}")))
}

/// Puts the host's name servers in place of the image's, and returns the file that was made to mount them on.
fn name_servers(content: &[u8]) -> io::Result<Option<PathBuf>> {
    let path = Path::new(RESOLV_CONF);
    if let Ok(target) = fs::read_link(path) {
        let target = Path::new("/etc").join(target);
        let normal = target.display().to_string().replace("/etc/../", "/");
        if normal.starts_with("/run/") && !normal.contains("/../") {
            if let Some(parent) = Path::new(&normal).parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&normal, content)?;
            return Ok(None);
        }
    }
    if !Path::new("/etc").is_dir() {
        return Ok(None);
    }
    let created = match fs::File::create_new(path) {
        Ok(_) => Some(path.to_owned()),
        Err(_) => None,
    };
    if !path.is_file() {
        return Ok(None);
    }
    fs::write(HIDDEN_RESOLV_CONF, content)?;
    mount_bind(HIDDEN_RESOLV_CONF, path).map_err(named("mount /etc/resolv.conf"))?;
    fs::remove_file(HIDDEN_RESOLV_CONF)?;
    Ok(created)
}

/// Forbids services to start (Debian's `invoke-rc.d` asks this program), unless the image has its own policy.
fn forbid_services() -> io::Result<bool> {
    let path = Path::new(POLICY_PATH);
    if fs::symlink_metadata(path).is_ok() || !path.parent().is_some_and(Path::is_dir) {
        return Ok(false);
    }
    fs::write(path, POLICY)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(true)
}

fn named(what: &str) -> impl FnOnce(Errno) -> io::Error {
    let what = what.to_owned();
    move |errno| io::Error::other(format!("cannot {what}: {errno}"))
}

const HOSTNAME: &[u8] = b"localhost";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HIDDEN_RESOLV_CONF: &str = "/dev/.resolv.conf";
const POLICY_PATH: &str = "/usr/sbin/policy-rc.d";
const POLICY: &str = "#!/bin/sh\n# No services are started while an image is built.\nexit 101\n";
const NO_PROGRAMS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const NODES: [(&str, u32, u32, u32); 7] = [
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("tty", 5, 0, 0o666),
    ("console", 5, 1, 0o600),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
