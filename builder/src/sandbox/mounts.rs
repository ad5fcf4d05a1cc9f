//! The file systems a sandbox sees.
//!
//! ```text
//! /proc /sys          of the new namespaces
//! /run /tmp           what earlier stages left there, or empty and in memory
//! /dev                in memory, with the usual nodes, pts and shm
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
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, move_mount, open_tree, unmount,
};

/// What has to be removed when the session is over.
#[derive(Default)]
pub(super) struct Undo {
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
pub(super) fn prepare(root: Option<&Path>, binds: &BTreeMap<String, PathBuf>) -> io::Result<Undo> {
    // Nothing mounted from here on is seen by the host.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(named("make mounts private"))?;
    rustix::system::sethostname(HOSTNAME).map_err(named("set the host name"))?;
    let Some(root) = root else {
        return file_system("proc", "/proc", NO_PROGRAMS, "").map(|()| Undo::default());
    };
    let resolv_conf = fs::read(RESOLV_CONF).unwrap_or_default();
    let binds = binds.iter().map(|(target, source)| Bind::of(target, source)).collect::<io::Result<Vec<_>>>()?;
    mount_bind_recursive(root, root).map_err(named("bind the tree"))?;
    std::env::set_current_dir(root)?;
    // The new root is stacked on the old one, which then goes: nothing of the host can be reached any more.
    rustix::process::pivot_root(".", ".").map_err(named("change the root directory"))?;
    unmount(".", UnmountFlags::DETACH).map_err(named("leave the host's tree"))?;
    std::env::set_current_dir("/")?;
    file_system("proc", "/proc", NO_PROGRAMS, "")?;
    file_system("sysfs", "/sys", NO_PROGRAMS, "")?;
    for (target, mode) in [("/run", "mode=0755"), ("/tmp", "mode=1777")] {
        if binds.iter().all(|bind| bind.target != target) {
            file_system("tmpfs", target, MountFlags::NOSUID | MountFlags::NODEV, mode)?;
        }
    }
    for bind in binds {
        bind.attach()?;
    }
    devices()?;
    let resolv_conf = name_servers(&resolv_conf)?;
    Ok(Undo { resolv_conf, policy: forbid_services()? })
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
        // As with any mount, a link is followed: distributions make /tmp one.
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        move_mount(self.tree, "", CWD, &self.target, flags).map_err(named(&format!("mount {}", self.target)))
    }
}

fn file_system(kind: &str, target: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let data = std::ffi::CString::new(data)?;
    mount(kind, target, kind, flags, data.as_c_str()).map_err(named(&format!("mount {target}")))
}

fn devices() -> io::Result<()> {
    file_system("tmpfs", "/dev", MountFlags::NOSUID, "mode=0755")?;
    for (name, major, minor, mode) in NODES {
        let path = Path::new("/dev").join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_bits_truncate(mode), makedev(major, minor))
            .map_err(named(&format!("make /dev/{name}")))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, Path::new("/dev").join(name))?;
    }
    file_system("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, "newinstance,ptmxmode=0666,mode=0620")?;
    file_system("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777")
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

fn named(what: &str) -> impl FnOnce(rustix::io::Errno) -> io::Error {
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
