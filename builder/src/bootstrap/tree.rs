//! What is in the tree beside the packages.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use archive::beneath::RootDir;
use archive::placeholder::Device;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;

use super::resolution::Resolution;

/// Makes what has to be there before the first package: the links of merged directories.
pub(super) fn prepare(root: &Path, resolution: &Resolution) -> io::Result<()> {
    fs_err::set_permissions(root, PermissionsExt::from_mode(0o755))?;
    if !resolution.merged_usr {
        return Ok(());
    }
    for name in ["bin", "sbin", "lib"].iter().chain(libraries(&resolution.arch)) {
        fs_err::create_dir_all(root.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), root.join(name))?;
    }
    Ok(())
}

/// Directories for the libraries of related architectures, which a merged system has as links. `base-files` removes
/// those that stay empty.
fn libraries(arch: &str) -> &'static [&'static str] {
    match arch {
        "amd64" => &["lib32", "lib64", "libx32"],
        "i386" => &["lib64", "libx32"],
        "mips64el" => &["lib32", "lib64", "libo32"],
        "mipsel" | "ppc64" => &["lib32", "lib64"],
        "powerpc" | "ppc64el" | "loong64" => &["lib64"],
        "s390x" => &["lib32"],
        _ => &[],
    }
}

/// Makes what mmdebstrap leaves beside the packages, and removes what scripts left and no image may have: logs, caches
/// that differ each time, an identity.
pub(super) fn finish(root: &Path, lines: &str, resolution: &Resolution) -> io::Result<()> {
    for (path, content) in [
        ("etc/apt/sources.list", lines),
        ("etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"),
        ("var/lib/apt/extended_states", &extended_states(resolution)),
        ("var/lib/dpkg/arch", &format!("{}\n", resolution.arch)),
    ] {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(path, content)?;
    }
    devices(root)?;
    // What scripts make in /run goes with the sandbox, and this one directory is a part of the layout.
    let lock = root.join("run/lock");
    fs_err::create_dir_all(&lock)?;
    fs_err::set_permissions(lock, PermissionsExt::from_mode(0o1777))?;
    for path in LEFTOVERS {
        match fs_err::remove_file(root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    host_keys(root)?;
    let identity = root.join("etc/machine-id");
    if identity.exists() {
        fs_err::remove_file(&identity)?;
        fs_err::write(&identity, "")?;
        fs_err::set_permissions(identity, PermissionsExt::from_mode(0o644))?;
    }
    Ok(())
}

/// Removes the keys that an SSH server made of itself: every system would have the same.
fn host_keys(root: &Path) -> io::Result<()> {
    let directory = root.join("etc/ssh");
    if !directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_encoded_bytes();
        if name.starts_with(b"ssh_host_") && name.windows(4).any(|word| word == b"_key") {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Which packages apt may remove when nothing needs them any more.
fn extended_states(resolution: &Resolution) -> String {
    let mut text = String::new();
    for package in resolution.other.iter().filter(|package| package.automatic) {
        let _ = writeln!(text, "Package: {}\nArchitecture: {}\nAuto-Installed: 1\n", package.name, resolution.arch);
    }
    text
}

/// A directory of a tree, made where there is none. Links of the tree must not lead out of it, so there may be none.
pub(crate) fn directory_in(root: &Path, path: &str) -> io::Result<PathBuf> {
    let place = root.join(path);
    RootDir::open(root)?.create_dir_all(Path::new(path))?;
    if fs_err::canonicalize(&place)? == fs_err::canonicalize(root)?.join(path) {
        return Ok(place);
    }
    Err(io::Error::new(io::ErrorKind::NotADirectory, format!("`/{path}` of the tree is behind a link")))
}

fn devices(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    for directory in ["pts", "shm"] {
        fs_err::create_dir_all(dev.join(directory))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), dev.join(name))?;
    }
    for (name, major, minor) in NODES {
        let path = dev.join(name);
        let mode = Mode::from_bits_truncate(0o666);
        match mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(major, minor)) {
            // No user namespace may make devices.
            Err(Errno::PERM) => drop(Device { is_block: false, major, minor }.create(&path)?),
            other => other.map_err(io::Error::from)?,
        }
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o666))?;
    }
    Ok(())
}

const NODES: [(&str, u32, u32); 8] = [
    ("console", 5, 1),
    ("full", 1, 7),
    ("null", 1, 3),
    ("ptmx", 5, 2),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

const LEFTOVERS: [&str; 7] = [
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/apt/eipp.log.xz",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_go_and_the_configuration_of_the_server_stays() {
        let root = tempfile::tempdir().unwrap();
        let ssh = directory_in(root.path(), "etc/ssh").unwrap();
        for name in ["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "sshd_config"] {
            fs_err::write(ssh.join(name), "").unwrap();
        }
        host_keys(root.path()).unwrap();
        let names: Vec<_> = fs_err::read_dir(ssh).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["sshd_config"]);
    }

    #[test]
    fn a_directory_behind_a_link_of_the_tree_is_refused() {
        let world = tempfile::tempdir().unwrap();
        let root = world.path().join("root");
        fs_err::create_dir_all(&root).unwrap();
        symlink(world.path().join("outside"), root.join("var")).unwrap();
        assert!(directory_in(&root, "var/lib").is_err());
        assert!(!world.path().join("outside").exists());
    }
}
