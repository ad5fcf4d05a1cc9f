//! The root file system of a container that is being made: what is put there, where.
//!
//! Whoever filled it may have put links anywhere. Every path is resolved by the kernel as if the root were changed already
//! (`RESOLVE_IN_ROOT` of openat2(2)) and held as a file descriptor from then on: what is checked is what is used.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, makedev, mkdirat, mknodat, openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::attributes::Attributes;
use super::error::{Error, failed};
use super::mount::Mount;

/// The root of a mounted file system that becomes the container's.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Mounts a file system that has no place yet. Mounts of the host that come later stay out of it.
    pub(crate) fn mount(tree: OwnedFd, place: &Path) -> Result<Self, Error> {
        Attributes::private().apply(&tree).map_err(failed("make private", place))?;
        move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(failed("mount", place))?;
        Ok(Self(tree))
    }

    /// Mounts one thing where it belongs. What has no place yet gets one.
    pub(crate) fn add(&self, mount: &Mount) -> Result<(), Error> {
        let attributes = Attributes::parse(mount.options.iter().map(String::as_str));
        let tree = if mount.is_bind() {
            let is_deep = mount.options.iter().any(|option| option == "rbind");
            clone_tree(&mount.source, is_deep).map_err(failed("take hold of", &mount.source))?
        } else {
            new_tree(mount, &attributes).map_err(|error| {
                failed("mount", &mount.target)(io::Error::new(error.kind(), format!("{}: {error}", mount.kind)))
            })?
        };
        attributes.apply(&tree).map_err(failed("set the options of the mount", &mount.target))?;
        self.attach(&tree, &mount.target)
    }

    /// Makes a device node, or shows the host's where the kernel does not let us.
    pub(crate) fn add_device(&self, path: &Path, (major, minor): (u32, u32), may_make: bool) -> Result<(), Error> {
        let make = || {
            let (parent, name) = self.parent_of(path)?;
            let access = Mode::from_raw_mode(0o666);
            let mask = rustix::process::umask(Mode::empty());
            let result = mknodat(&parent, name, FileType::CharacterDevice, access, makedev(major, minor));
            rustix::process::umask(mask);
            result.map_err(io::Error::from)
        };
        match if may_make { make() } else { Err(Errno::PERM.into()) } {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let tree = clone_tree(path, false).map_err(failed("take hold of", path))?;
                self.attach(&tree, path)
            }
            result => result.map_err(failed("make the device", path)),
        }
    }

    /// Makes a symbolic link, unless there is something already.
    pub(crate) fn add_link(&self, path: &Path, target: &str) -> Result<(), Error> {
        let make = || {
            let (parent, name) = self.parent_of(path)?;
            match symlinkat(target, &parent, name) {
                Err(Errno::EXIST) => Ok(()),
                made => made.map_err(io::Error::from),
            }
        };
        make().map_err(failed("make the link", path))
    }

    /// Hides what is there, if anything is: a directory behind an empty one, a file behind `null`.
    pub(crate) fn mask(&self, path: &Path, null: &OwnedFd) -> Result<(), Error> {
        let Some(place) = self.find(path).map_err(failed("open", path))? else { return Ok(()) };
        let cover = || {
            let cover = if is_directory(&place)? { empty_tree()? } else { copy(null, OpenTreeFlags::empty())? };
            attach(&cover, &place)
        };
        cover().map_err(failed("hide", path))
    }

    /// Lets nobody write through this path.
    pub(crate) fn make_read_only(&self, path: &Path) -> Result<(), Error> {
        let Some(place) = self.find(path).map_err(failed("open", path))? else { return Ok(()) };
        let cover = || {
            let tree = copy(&place, OpenTreeFlags::AT_RECURSIVE)?;
            Attributes::read_only().apply(&tree)?;
            attach(&tree, &place)
        };
        cover().map_err(failed("make read-only", path))
    }

    /// Lets nobody write to the root file system itself.
    pub(crate) fn make_all_read_only(&self) -> Result<(), Error> {
        Attributes::read_only().apply(&self.0).map_err(failed("make read-only", "/"))
    }

    /// Writes a file that is there.
    pub(crate) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let file = self.resolve(path, OFlags::WRONLY | OFlags::NOCTTY)?;
        rustix::io::write(&file, text.as_bytes())?;
        Ok(())
    }

    /// Makes it the root of the calling process's mount namespace, from which nothing else can be reached.
    pub(crate) fn enter(self) -> Result<(), Error> {
        let enter = || {
            rustix::process::fchdir(&self.0)?;
            // The old root is then mounted on the new one and goes with all that is below (pivot_root(2), NOTES).
            rustix::process::pivot_root(".", ".")?;
            umount2(".", MntFlags::MNT_DETACH)?;
            Ok::<_, io::Error>(rustix::process::chdir("/")?)
        };
        enter().map_err(failed("change the root to", "the root file system"))
    }

    fn attach(&self, tree: &OwnedFd, target: &Path) -> Result<(), Error> {
        let place = || {
            let target = if is_directory(tree)? { self.directory(target)? } else { self.file(target)? };
            attach(tree, &target)
        };
        place().map_err(failed("mount", target))
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        // What is renamed meanwhile makes the kernel ask for another attempt.
        for _ in 0..ATTEMPTS {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT) {
                Err(Errno::AGAIN) => {}
                result => return Ok(result?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn find(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match self.resolve(path, OFlags::PATH) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The directory, which is made where it is missing.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            found => return found,
        }
        let mut seen = PathBuf::new();
        let mut parent = self.resolve(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?;
        for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
            seen.push(part);
            parent = match self.resolve(&seen, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    match mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    self.resolve(&seen, OFlags::PATH | OFlags::DIRECTORY)?
                }
                found => found?,
            };
        }
        Ok(parent)
    }

    /// The file, which is made where it is missing.
    fn file(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Some(found) = self.find(path)? {
            return Ok(found);
        }
        let (parent, name) = self.parent_of(path)?;
        mknodat(&parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
        self.resolve(path, OFlags::PATH)
    }

    fn parent_of<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a Path)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        Ok((self.directory(parent)?, Path::new(name)))
    }
}

/// A file of the host, to be shown in a container.
pub(crate) fn hold(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// An empty directory that cannot be written, mounted nowhere.
fn empty_tree() -> io::Result<OwnedFd> {
    let options = ["ro", "nosuid", "nodev", "noexec", "size=4k", "mode=755"];
    let mount = Mount::new("tmpfs", "/", "tmpfs", &options);
    new_tree(&mount, &Attributes::parse(options))
}

/// What is at a path of the host, or with what is mounted below, as a mount without a place.
fn clone_tree(source: &Path, is_deep: bool) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, source, if is_deep { TREE | OpenTreeFlags::AT_RECURSIVE } else { TREE })?)
}

/// The same for what is held.
fn copy(place: &OwnedFd, flags: OpenTreeFlags) -> io::Result<OwnedFd> {
    Ok(open_tree(place, "", TREE | OpenTreeFlags::AT_EMPTY_PATH | flags)?)
}

fn new_tree(mount: &Mount, attributes: &Attributes) -> io::Result<OwnedFd> {
    let context = fsopen(mount.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", &mount.source)?;
    for option in &attributes.data {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let attributes = u32::try_from(attributes.of_new_mount()).map_err(io::Error::other)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes))?)
}

fn attach(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", place, "", flags)?)
}

fn is_directory(file: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory)
}

const TREE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);
const ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// Runs a test on a root file system mounted in a mount namespace of a thread's own. Its `outside` link leads to the
    /// second directory.
    fn with_root(test: impl FnOnce(&Root, &Path, &Path) + Send) {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root mounts");
            return;
        }
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), inside.path().join("outside")).unwrap();
        std::thread::scope(|scope| {
            let run = || {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let slash = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
                Attributes::private().apply(slash).unwrap();
                let root = Root::mount(clone_tree(inside.path(), true).unwrap(), inside.path()).unwrap();
                test(&root, inside.path(), outside.path());
            };
            scope.spawn(run).join().unwrap();
        });
    }

    #[test]
    fn a_link_to_the_host_leads_to_the_same_path_inside() {
        with_root(|root, inside, outside| {
            root.add(&Mount::new("tmpfs", "/outside/new", "tmpfs", &["size=4k"])).unwrap_err();
            root.add_device(Path::new("/outside/null"), (1, 3), true).unwrap_err();
            fs::create_dir_all(inside.join(outside.strip_prefix("/").unwrap())).unwrap();
            root.add(&Mount::new("tmpfs", "/outside/new", "tmpfs", &["size=4k"])).unwrap();
            root.add_device(Path::new("/outside/null"), (1, 3), true).unwrap();
            assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
            assert!(inside.join(outside.strip_prefix("/").unwrap()).join("new").is_dir());
        });
    }

    #[test]
    fn what_is_mounted_gets_a_place_of_its_kind_and_its_options() {
        with_root(|root, inside, _| {
            root.add(&Mount::new("/etc/passwd", "/a/b/file", "bind", &["bind", "ro"])).unwrap();
            root.add(&Mount::new("tmpfs", "/a/directory", "tmpfs", &["mode=700", "size=64k", "nosuid"])).unwrap();
            assert_eq!(fs::read(inside.join("a/b/file")).unwrap(), fs::read("/etc/passwd").unwrap());
            let refused = fs::File::options().append(true).open(inside.join("a/b/file")).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            fs::write(inside.join("a/directory/x"), "x").unwrap();
            let wrong = root.add(&Mount::new("tmpfs", "/a/other", "tmpfs", &["nonsense=1"])).unwrap_err();
            assert!(wrong.to_string().contains("/a/other"), "{wrong}");
        });
    }

    #[test]
    fn what_is_hidden_reads_as_nothing_and_what_is_missing_is_no_error() {
        with_root(|root, inside, _| {
            fs::create_dir(inside.join("secrets")).unwrap();
            for file in ["secrets/key", "key"] {
                fs::write(inside.join(file), "secret").unwrap();
            }
            let null = hold(Path::new("/dev/null")).unwrap();
            for path in ["/secrets", "/key", "/missing", "/key/below"] {
                root.mask(Path::new(path), &null).unwrap();
            }
            assert_eq!(fs::read_dir(inside.join("secrets")).unwrap().count(), 0);
            assert_eq!(fs::read(inside.join("key")).unwrap(), b"");
            root.make_read_only(Path::new("/missing")).unwrap();
        });
    }
}
