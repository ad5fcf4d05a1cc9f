//! The tree of an image while it is being built.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use archive::beneath::RootDir;
use archive::placeholder::Device;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::plan::files::Ownership;

/// The tree. Paths in it are resolved as a process with the tree as its root would resolve them, so that a link in the
/// image never leads to a file of the host.
pub(crate) struct Tree {
    path: PathBuf,
    root: RootDir,
}

impl Tree {
    /// The tree at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), root: RootDir::open(path)? })
    }

    /// Where the tree is on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A regular file's content, `None` when there is no such file.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self.root.read(inner(path), MAX_FILE_BYTES) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file and the directories above it.
    pub(crate) fn write(&self, path: &str, content: &[u8], owner: Ownership) -> io::Result<()> {
        let path = inner(path);
        if let Some(parent) = path.parent() {
            self.root.create_dir_all(parent)?;
        }
        self.root.write(path, content)?;
        self.set_owner(path, owner)
    }

    /// Whether anything is at `path`, be it a link into nowhere.
    pub(crate) fn has(&self, path: &str) -> io::Result<bool> {
        match self.root.symlink_exists(inner(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            other => other,
        }
    }

    /// Whether there is a directory at `path`, which is no link to one.
    pub(crate) fn is_directory(&self, path: &str) -> io::Result<bool> {
        if !self.has(path)? {
            return Ok(false);
        }
        let (parent, name) = self.parent(inner(path))?;
        Ok(fs::symlink_metadata(in_directory(&parent, &name))?.is_dir())
    }

    /// Removes what is at `path`, with everything below; a link itself, not what it points to.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        if !self.has(path)? {
            return Ok(());
        }
        let (parent, name) = self.parent(inner(path))?;
        let place = in_directory(&parent, &name);
        if fs::symlink_metadata(&place)?.is_dir() { fs::remove_dir_all(place) } else { fs::remove_file(place) }
    }

    /// Empties a directory; what is no directory is left alone.
    pub(crate) fn empty(&self, path: &str) -> io::Result<()> {
        for name in self.names(path)? {
            self.remove(&format!("{path}/{}", name.display()))?;
        }
        Ok(())
    }

    /// The names in a directory, sorted; none when there is no such directory.
    pub(crate) fn names(&self, path: &str) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let Ok(directory) = self.resolve(inner(path), flags) else { return Ok(Vec::new()) };
        let entries = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        let mut names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Replaces whatever is at `path` by an empty directory.
    pub(crate) fn fresh_directory(&self, path: &str, mode: u32) -> io::Result<()> {
        self.remove(path)?;
        let (parent, name) = self.parent(inner(path))?;
        let place = in_directory(&parent, &name);
        fs::DirBuilder::new().mode(mode).create(&place)?;
        // The umask has no say in an image.
        fs::set_permissions(place, fs::Permissions::from_mode(mode))
    }

    /// Copies a file, a link or a directory's contents from the host.
    pub(crate) fn copy(&self, source: &Path, path: &str, owner: Ownership) -> io::Result<()> {
        let metadata = fs::symlink_metadata(source)?;
        if metadata.is_dir() {
            self.root.create_dir_all(inner(path))?;
            for entry in fs::read_dir(source)? {
                let name = entry?.file_name();
                self.copy(&source.join(&name), &format!("{path}/{}", name.display()), owner)?;
            }
            return Ok(());
        }
        if metadata.is_symlink() {
            self.remove(path)?;
            if let Some(parent) = inner(path).parent() {
                self.root.create_dir_all(parent)?;
            }
            let (parent, name) = self.parent(inner(path))?;
            return std::os::unix::fs::symlink(fs::read_link(source)?, in_directory(&parent, &name));
        }
        if !metadata.is_file() {
            return Err(io::Error::other(format!("`{}` is neither file, link nor directory", source.display())));
        }
        let mode = owner.mode.or(Some(metadata.mode() & 0o7777));
        self.write(path, &fs::read(source)?, Ownership { mode, ..owner })
    }

    /// The paths of all device nodes and of the files that stand for some, as members of the archive are named:
    /// `./dev/null`.
    pub(crate) fn device_nodes(&self) -> io::Result<Vec<String>> {
        let mut nodes = Vec::new();
        collect_devices(&self.path, ".", &mut nodes)?;
        nodes.sort();
        Ok(nodes)
    }

    /// Takes all device nodes out of the tree, and the files that stand for some. Directories keep their times.
    pub(crate) fn take_devices(&self) -> io::Result<Vec<TakenDevice>> {
        let mut taken = Vec::new();
        for member in self.device_nodes()? {
            let path = self.path.join(&member);
            let found = fs::symlink_metadata(&path)?;
            let rdev = found.rdev();
            let device = Device::at(&path)?.unwrap_or(Device {
                is_block: found.file_type().is_block_device(),
                major: rustix::fs::major(rdev),
                minor: rustix::fs::minor(rdev),
            });
            let above = path.parent().unwrap_or(&self.path);
            let modified = fs::metadata(above)?.modified()?;
            fs::remove_file(&path)?;
            fs::File::open(above)?.set_modified(modified)?;
            let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
            taken.push(TakenDevice { member, device, mode, uid, gid });
        }
        Ok(taken)
    }

    fn set_owner(&self, path: &Path, owner: Ownership) -> io::Result<()> {
        let node = self.resolve(path, OFlags::PATH)?;
        let place = format!("/proc/self/fd/{}", node.as_raw_fd());
        if owner.uid.is_some() || owner.gid.is_some() {
            std::os::unix::fs::chown(&place, owner.uid, owner.gid)?;
        }
        match owner.mode {
            Some(mode) => fs::set_permissions(&place, fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    /// The directory that holds `path`, and the name in it.
    fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((self.resolve(parent, OFlags::RDONLY | OFlags::DIRECTORY)?, name.to_owned()))
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let directory =
            rustix::fs::open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = flags | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }
}

/// A device that was in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenDevice {
    /// Where it was, as members of the archive are named.
    pub(crate) member: String,
    /// What it was.
    pub(crate) device: Device,
    /// Its permissions.
    pub(crate) mode: u32,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
}

fn collect_devices(directory: &Path, shown: &str, nodes: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let shown = format!("{shown}/{}", entry.file_name().display());
        if kind.is_dir() {
            collect_devices(&entry.path(), &shown, nodes)?;
        } else if kind.is_char_device()
            || kind.is_block_device()
            || (kind.is_file() && Device::at(&entry.path())?.is_some())
        {
            nodes.push(shown);
        }
    }
    Ok(())
}

/// The path below the root of a path that is written as an absolute one.
fn inner(path: &str) -> &Path {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    Path::new(if path.is_empty() { "." } else { path })
}

fn in_directory(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", directory.as_raw_fd()));
    path.push(OsStr::from_bytes(name.as_bytes()));
    path.into()
}

/// Larger than any text the builder has to read in an image, dpkg's database included.
const MAX_FILE_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(directory.path().join("outside"), "host").unwrap();
        symlink(directory.path(), root.join("absolute")).unwrap();
        symlink("../../outside", root.join("etc/outside")).unwrap();
        let tree = Tree::open(&root).unwrap();
        (directory, tree)
    }

    #[test]
    fn links_in_the_tree_never_lead_to_the_host() {
        let (directory, tree) = tree();
        tree.write("/etc/outside", b"image", Ownership::default()).unwrap();
        assert_eq!(tree.read("/outside").unwrap().unwrap(), b"image");
        assert!(tree.write("/absolute/outside", b"x", Ownership::default()).is_err() || tree.has("/outside").unwrap());
        tree.remove("/absolute/outside").unwrap_or_default();
        assert_eq!(fs::read_to_string(directory.path().join("outside")).unwrap(), "host");
    }

    #[test]
    fn removing_takes_a_link_away_and_not_what_it_points_to() {
        let (directory, tree) = tree();
        tree.remove("/absolute").unwrap();
        assert!(!tree.has("/absolute").unwrap());
        assert!(directory.path().join("outside").exists());
        tree.remove("/nothing/at/all").unwrap();
    }

    #[test]
    fn a_written_file_gets_its_mode_and_its_directories() {
        let (_directory, tree) = tree();
        let owner = Ownership { mode: Some(0o4750), ..Ownership::default() };
        tree.write("/usr/local/bin/x", b"#!", owner).unwrap();
        let mode = fs::metadata(tree.path().join("usr/local/bin/x")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o4750);
    }

    #[test]
    fn a_directory_is_copied_with_its_contents_links_as_links() {
        let (directory, tree) = tree();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("sub/a"), "a").unwrap();
        symlink("/etc/passwd", source.join("link")).unwrap();
        tree.copy(&source, "/opt/x", Ownership::default()).unwrap();
        assert_eq!(tree.read("/opt/x/sub/a").unwrap().unwrap(), b"a");
        assert_eq!(fs::read_link(tree.path().join("opt/x/link")).unwrap(), Path::new("/etc/passwd"));
    }

    #[test]
    fn a_directory_is_emptied_but_a_link_to_one_is_not_followed() {
        let (_directory, tree) = tree();
        tree.write("/var/log/a/b", b"x", Ownership::default()).unwrap();
        symlink("/var/log", tree.path().join("log")).unwrap();
        tree.empty("/log").unwrap();
        assert!(tree.has("/var/log/a/b").unwrap());
        tree.empty("/var/log").unwrap();
        assert!(!tree.has("/var/log/a").unwrap());
        tree.fresh_directory("/tmp", 0o1777).unwrap();
        assert_eq!(fs::metadata(tree.path().join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    }
}
