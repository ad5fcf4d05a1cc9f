//! A program on a file system that cannot be written: an overlay of nothing but lower layers. There is no option to
//! make it writable later, as there is for a read-only bind mount, and nothing is copied.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// The same file on such a file system, which is mounted nowhere and goes with the last process that uses it. Only for
/// root.
pub(crate) fn view(file: &File, metadata: &Metadata) -> io::Result<OwnedFd> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = std::fs::read_link(link)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let parent = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Without a layer for changes the kernel wants two others.
    let nothing = mount("tmpfs", &[("size", "4k")])?;
    let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", parent.as_raw_fd(), nothing.as_raw_fd());
    let mount = mount("overlay", &[("lowerdir", &layers)])?;
    let view = openat(&mount, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // The program may have been replaced on the host since it was started.
    let seen = File::from(view);
    let identity = |data: &Metadata| (data.ino(), data.len(), data.mtime(), data.mtime_nsec());
    if identity(&seen.metadata()?) == identity(metadata) {
        Ok(seen.into())
    } else {
        Err(io::Error::other(format!("`{}` is another program by now", Path::new(name).display())))
    }
}

fn mount(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program() -> Option<(tempfile::TempDir, File)> {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root mounts");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/true", dir.path().join("program")).unwrap();
        let file = File::open(dir.path().join("program")).unwrap();
        Some((dir, file))
    }

    #[test]
    fn the_view_is_the_program_and_cannot_be_written_even_by_root() {
        let Some((_dir, file)) = program() else { return };
        let view = view(&file, &file.metadata().unwrap()).unwrap();
        let link = format!("/proc/self/fd/{}", view.as_raw_fd());
        assert!(std::process::Command::new(&link).status().unwrap().success());
        let written = File::options().write(true).open(&link).unwrap_err();
        assert_eq!(written.raw_os_error(), Some(libc::EROFS));
        let made = std::fs::set_permissions(&link, std::fs::Permissions::from_mode(0o777)).unwrap_err();
        assert_eq!(made.raw_os_error(), Some(libc::EROFS));
    }

    #[test]
    fn a_program_that_was_replaced_has_no_view() {
        let Some((dir, file)) = program() else { return };
        let path = dir.path().join("program");
        std::fs::remove_file(&path).unwrap();
        assert!(view(&file, &file.metadata().unwrap()).is_err(), "a program that is gone");
        std::fs::copy("/bin/false", &path).unwrap();
        assert!(view(&file, &file.metadata().unwrap()).is_err(), "another program");
    }
}
