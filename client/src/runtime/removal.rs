//! Deleting a container's directory, and nothing else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

/// What is mounted at or below a path, in the mount namespace of the calling process.
pub(crate) fn mounts_beneath(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ").replace("\\134", "\\")));
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// Deletes the directory `name` in `parent` with everything in it. Links are deleted, not followed, and no mount point
/// is entered: what a link or a mount leads to stays.
pub(crate) fn remove(parent: &Path, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(rustix::fs::CWD, parent, flags, Mode::empty())?;
    remove_entry(&parent, name.as_ref())
}

fn remove_entry(parent: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let directory = openat2(parent, name, flags, Mode::empty(), resolve)?;
    for entry in entries(&directory)? {
        let (name, is_directory) = entry;
        if is_directory {
            remove_entry(&directory, &name)?;
        } else {
            unlinkat(&directory, name.as_os_str(), AtFlags::empty())?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// The entries of a directory and whether each is a directory itself.
fn entries(directory: &OwnedFd) -> io::Result<Vec<(std::ffi::OsString, bool)>> {
    use std::os::unix::ffi::OsStrExt;
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => FileType::from_raw_mode(stat?.st_mode),
            },
            kind => kind,
        };
        entries.push((std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned(), kind == FileType::Directory));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_deleted_and_what_they_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, web1) = (dir.path().join("kept"), dir.path().join("web1"));
        std::fs::create_dir_all(kept.join("data")).unwrap();
        std::fs::create_dir_all(web1.join("rootfs/etc")).unwrap();
        symlink(&kept, web1.join("rootfs/link")).unwrap();
        symlink("/nowhere", web1.join("rootfs/etc/dangling")).unwrap();
        std::fs::write(web1.join("rootfs/etc/hostname"), "web1").unwrap();
        remove(dir.path(), "web1").unwrap();
        assert!(kept.join("data").exists() && !web1.exists());
    }

    #[test]
    fn a_container_directory_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        symlink("kept", dir.path().join("web1")).unwrap();
        assert!(remove(dir.path(), "web1").is_err());
        assert!(dir.path().join("kept").exists());
    }

    #[test]
    fn what_is_mounted_below_a_path_is_found() {
        assert!(mounts_beneath(Path::new("/proc")).unwrap().contains(&PathBuf::from("/proc")));
        assert_eq!(mounts_beneath(Path::new("/nowhere")).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_mount_below_the_directory_stops_the_deletion() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root mounts");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("web1/rootfs/srv");
        std::fs::create_dir_all(&inside).unwrap();
        rustix::mount::mount_bind("/usr/share", &inside).unwrap();
        let refused = remove(dir.path(), "web1");
        rustix::mount::unmount(&inside, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        assert!(Path::new("/usr/share").read_dir().unwrap().next().is_some());
    }
}
