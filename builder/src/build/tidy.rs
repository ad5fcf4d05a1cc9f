//! What an image must not contain: traces of the machine that built it, of the build, and secrets.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::tree::Tree;
use crate::plan::files::Ownership;
use crate::plan::packages::Manager;

/// Removes what came from the host while the tree was unpacked: bootstrap programs copy its name and its name servers.
pub(crate) fn host_traces(tree: &Tree) -> io::Result<()> {
    let plain = Ownership { mode: Some(0o644), uid: Some(0), gid: Some(0) };
    if tree.has("/etc")? {
        tree.remove("/etc/hostname")?;
        tree.write("/etc/hostname", b"localhost\n", plain)?;
    }
    if tree.has("/etc")? && !tree.has("/etc/hosts")? {
        tree.write("/etc/hosts", HOSTS, plain)?;
    }
    tree.remove("/etc/resolv.conf")
}

/// Removes attributes that only the host's root can set: they would be lost in every unprivileged container, and an
/// image that is built in a user namespace cannot have them.
fn trusted_attributes(path: &Path, names: &mut [u8]) -> io::Result<()> {
    let listed = match rustix::fs::llistxattr(path, &mut *names) {
        Err(Errno::NOTSUP) => 0,
        other => other?,
    };
    for name in names.get(..listed).unwrap_or_default().split(|byte| *byte == 0) {
        if name.starts_with(b"trusted.") {
            rustix::fs::lremovexattr(path, name)?;
        }
    }
    if fs_err::symlink_metadata(path)?.is_dir() {
        for entry in fs_err::read_dir(path)? {
            trusted_attributes(&entry?.path(), names)?;
        }
    }
    Ok(())
}

/// Removes what every image is better without.
pub(crate) fn all(tree: &Tree, manager: &Manager) -> io::Result<()> {
    for (path, mode) in [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/run", 0o755), ("/tmp", 0o1777)] {
        tree.fresh_directory(path, mode)?;
    }
    for path in LEFT_BEHIND {
        tree.remove(path)?;
    }
    for name in tree.names("/etc/ssh")? {
        let name = name.display().to_string();
        // Every container would have the same host keys. `ssh-keygen -A` at first boot makes its own.
        if name.starts_with("ssh_host_") && name.contains("_key") {
            tree.remove(&format!("/etc/ssh/{name}"))?;
        }
    }
    if manager.is("apt") {
        apt(tree)?;
    }
    if manager.is("pacman") {
        tree.empty("/var/cache/pacman/pkg")?;
    }
    trusted_attributes(tree.path(), &mut vec![0; NAMES_BYTES])?;
    // systemd writes a new id into an empty file; without the file it would treat every boot as the first.
    if tree.has("/etc/machine-id")? || tree.has("/usr/lib/systemd/systemd")? {
        tree.remove("/etc/machine-id")?;
        tree.write("/etc/machine-id", b"", Ownership { mode: Some(0o444), uid: Some(0), gid: Some(0) })?;
    }
    Ok(())
}

fn apt(tree: &Tree) -> io::Result<()> {
    for path in ["/var/lib/apt/lists", "/var/cache/apt/archives", "/var/log/apt"] {
        tree.empty(path)?;
    }
    for directory in ["/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial"] {
        if tree.has(directory.trim_end_matches("/partial"))? {
            tree.fresh_directory(directory, 0o755)?;
        }
    }
    for path in APT_LEFT_BEHIND {
        tree.remove(path)?;
    }
    Ok(())
}

const HOSTS: &[u8] = b"127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\
                       ff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";

/// Logs and caches that differ from build to build, ids and seeds that must differ from container to container.
const LEFT_BEHIND: [&str; 10] = [
    "/.distrobuilder",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/cache/ldconfig/aux-cache",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
    "/root/.bash_history",
    "/etc/.pwd.lock",
];

/// The kernel's limit of one list of names (`XATTR_LIST_MAX`).
const NAMES_BYTES: usize = 64 << 10;

const APT_LEFT_BEHIND: [&str; 6] = [
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/available",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::managers::Tool;

    #[test]
    fn nothing_of_the_build_machine_and_no_secret_stays_in_the_tree() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root gives the files of an image their owner");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let secret = Ownership { mode: Some(0o600), ..Ownership::default() };
        for path in [
            "/etc/hostname",
            "/etc/resolv.conf",
            "/etc/machine-id",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/var/lib/apt/lists/mirror.example.org_dists_bookworm_InRelease",
            "/var/cache/apt/archives/a_1_amd64.deb",
            "/var/log/dpkg.log",
            "/var/cache/ldconfig/aux-cache",
            "/run/secret",
            "/tmp/secret",
            "/dev/shm/secret",
        ] {
            tree.write(path, b"secret of the build machine", secret).unwrap();
        }
        tree.write("/etc/ssh/sshd_config", b"kept", Ownership::default()).unwrap();
        host_traces(&tree).unwrap();
        all(&tree, &Manager::Known(Tool::named("apt").unwrap())).unwrap();
        for kept in ["/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/ssh/sshd_config"] {
            let content = tree.read(kept).unwrap().unwrap();
            assert!(!String::from_utf8(content).unwrap().contains("secret"), "{kept}");
        }
        for directory in ["/run", "/tmp", "/dev", "/var/log", "/var/cache/ldconfig"] {
            assert_eq!(tree.names(directory).unwrap(), Vec::<std::ffi::OsString>::new(), "{directory}");
        }
        assert_eq!(tree.names("/etc/ssh").unwrap(), ["sshd_config"]);
        assert_eq!(tree.names("/var/lib/apt/lists").unwrap(), ["partial"]);
        assert!(!tree.has("/etc/resolv.conf").unwrap());
    }
}
