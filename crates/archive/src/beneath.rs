//! Single files of an unpacked tree, read and written without leaving it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A directory that operations cannot leave, whatever links are in it.
///
/// Paths are resolved by the kernel as a process with this directory as its root would resolve them
/// (`RESOLVE_IN_ROOT`, openat2(2)): an absolute link starts at the directory, `..` stops at it. What a container would
/// read or write is what is read or written here, and nothing outside. Files are looked at before they are opened, so a
/// device or a fifo in the place of a file is refused untouched.
#[derive(Debug)]
pub struct RootDir {
    dir: OwnedFd,
}

impl RootDir {
    /// The directory at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        Ok(Self { dir: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// The content of a regular file. A larger file than `max_bytes` is an error, as is anything but a regular file.
    pub fn read(&self, path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
        let file = self.regular_file(path.as_ref(), OFlags::RDONLY)?;
        let mut content = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > max_bytes {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("file is larger than {max_bytes} bytes")));
        }
        Ok(content)
    }

    /// Writes a regular file. An existing one keeps its mode, owner and attributes; a new one gets mode 0644. Its
    /// directory must exist. A link to a file that is missing makes that file.
    pub fn write(&self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        let path = path.as_ref();
        let mut file = match self.regular_file(path, OFlags::WRONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let flags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::CLOEXEC);
                File::from(self.resolve(path.as_os_str().as_bytes(), flags, Mode::from_raw_mode(0o644))?)
            }
            other => other?,
        };
        file.set_len(0)?;
        file.write_all(content)
    }

    /// Makes a directory and those above it, with mode 0755. Those that exist stay as they are.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.ensure_dir(path.as_ref().as_os_str().as_bytes()).map(drop).map_err(io::Error::from)
    }

    /// Whether there is something at the path, links followed.
    pub fn exists(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        self.finds(path.as_ref(), OFlags::empty())
    }

    /// Whether there is something at the path; a link counts wherever it points.
    pub fn symlink_exists(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        self.finds(path.as_ref(), OFlags::NOFOLLOW)
    }

    fn finds(&self, path: &Path, flags: OFlags) -> io::Result<bool> {
        let flags = flags.union(OFlags::PATH).union(OFlags::CLOEXEC);
        match self.resolve(path.as_os_str().as_bytes(), flags, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens a regular file by looking at it first.
    fn regular_file(&self, path: &Path, access: OFlags) -> io::Result<File> {
        let path = path.as_os_str().as_bytes();
        let node = self.resolve(path, OFlags::PATH.union(OFlags::CLOEXEC), Mode::empty())?;
        let mode = rustix::fs::fstat(&node)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let opened = rustix::fs::open(proc_path(node.as_fd()), access.union(OFlags::CLOEXEC), Mode::empty())?;
        Ok(opened.into())
    }

    /// Opens a directory, and makes it and those above it where they are missing.
    pub(crate) fn ensure_dir(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        match self.directory(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let mut above = PathBuf::from(".");
        for component in Path::new(std::ffi::OsStr::from_bytes(path)).components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => {
                    above.push("..");
                    continue;
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => continue,
            };
            let parent = self.directory(above.as_os_str().as_bytes())?;
            above.push(name);
            match self.directory(above.as_os_str().as_bytes()) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    let made = self.directory(above.as_os_str().as_bytes())?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                }
                other => drop(other?),
            }
        }
        self.directory(path)
    }

    /// Opens an existing directory.
    pub(crate) fn directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        self.resolve(path, flags, Mode::empty())
    }

    /// The directory itself.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        resolve(self.as_fd(), path, flags, mode, ResolveFlags::IN_ROOT)
    }
}

/// openat2(2) that never follows the links of /proc and is repeated when a rename elsewhere made the kernel unsure.
pub(crate) fn resolve(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let how = how.union(ResolveFlags::NO_MAGICLINKS);
    for _ in 0..RETRIES {
        match rustix::fs::openat2(dir, path, flags, mode, how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// A path that names exactly what `node` is open on, even when that is a link.
pub(crate) fn proc_path(node: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", node.as_raw_fd())
}

const RETRIES: usize = 128;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    struct World {
        outside: tempfile::TempDir,
        root: RootDir,
    }

    /// `secret` outside, and a root directory `in` beside it.
    fn world() -> World {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "host").unwrap();
        fs::create_dir_all(outside.path().join("in/etc")).unwrap();
        let root = RootDir::open(&outside.path().join("in")).unwrap();
        World { outside, root }
    }

    impl World {
        fn at(&self, path: &str) -> PathBuf {
            self.outside.path().join("in").join(path)
        }
    }

    #[test]
    fn links_are_followed_as_the_container_would() {
        let world = world();
        // No machine has this directory, so that a failure finds nothing to write to.
        fs::create_dir(world.at("only-inside")).unwrap();
        fs::write(world.at("only-inside/real"), "old").unwrap();
        symlink("/only-inside/real", world.at("etc/hostname")).unwrap();
        world.root.write("etc/hostname", b"new").unwrap();
        assert_eq!(fs::read(world.at("only-inside/real")).unwrap(), b"new");
        assert_eq!(world.root.read("/etc/hostname", 3).unwrap(), b"new");
    }

    #[test]
    fn links_and_dots_that_point_outside_end_inside() {
        let world = world();
        symlink(world.outside.path().join("secret"), world.at("etc/absolute")).unwrap();
        symlink("../../secret", world.at("etc/relative")).unwrap();
        symlink("..", world.at("up")).unwrap();
        for path in ["etc/absolute", "etc/relative", "../secret", "up/secret"] {
            assert_ne!(world.root.read(path, 100).ok().as_deref(), Some(&b"host"[..]), "{path}");
            let _ = world.root.write(path, b"stolen");
            let _ = world.root.create_dir_all(Path::new(path).join("made"));
        }
        assert_eq!(fs::read(world.outside.path().join("secret")).unwrap(), b"host");
        assert_eq!(fs::read_dir(world.outside.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_existing_file_keeps_its_mode_and_inode() {
        let world = world();
        fs::write(world.at("etc/hosts"), "a long old content").unwrap();
        fs::set_permissions(world.at("etc/hosts"), fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(world.at("etc/hosts")).unwrap();
        world.root.write("etc/hosts", b"new").unwrap();
        let after = fs::metadata(world.at("etc/hosts")).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
        assert_eq!(fs::read(world.at("etc/hosts")).unwrap(), b"new");
    }

    #[test]
    fn a_fifo_is_refused_and_does_not_block() {
        let world = world();
        rustix::fs::mknodat(&world.root.dir, "etc/fifo", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert!(world.root.read("etc/fifo", 10).is_err());
        assert!(world.root.write("etc/fifo", b"x").is_err());
    }

    #[test]
    fn more_than_the_limit_is_not_read() {
        let world = world();
        fs::write(world.at("etc/big"), "12345").unwrap();
        assert_eq!(world.root.read("etc/big", 5).unwrap(), b"12345");
        assert_eq!(world.root.read("etc/big", 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn directories_are_made_through_links_inside() {
        let world = world();
        symlink("etc", world.at("link")).unwrap();
        world.root.create_dir_all("link/a/b").unwrap();
        world.root.create_dir_all("link/a/b").unwrap();
        assert!(world.at("etc/a/b").is_dir());
        symlink("/only-inside/nowhere", world.at("dangling")).unwrap();
        assert!(world.root.create_dir_all("dangling/x").is_err());
        assert!(!world.root.exists("dangling").unwrap());
        assert!(world.root.symlink_exists("dangling").unwrap());
        assert!(world.root.exists("link/a").unwrap());
    }
}
