//! What is in the tree beside the packages.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

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
    let identity = root.join("etc/machine-id");
    if identity.exists() {
        fs_err::remove_file(&identity)?;
        fs_err::write(&identity, "")?;
        fs_err::set_permissions(identity, PermissionsExt::from_mode(0o644))?;
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
            // No user namespace may make devices, and a container gets its own.
            Err(Errno::PERM) => return Ok(()),
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
