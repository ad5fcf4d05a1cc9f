//! A container directory on its way.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use formats::name::Name;
use fs_err as fs;
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};

use super::create::CreateError;
use crate::checkpoint::checkpoint;
use crate::files;
use crate::runtime::IdMap;
use crate::runtime::error::chain;
use crate::runtime::executable::Executable;
use crate::runtime::mapped::{self, Work};

/// A container directory that is not finished. Dropped without being published, it is removed.
pub(crate) struct Staging<'a> {
    path: PathBuf,
    /// Whose files may be in it.
    map: &'a IdMap,
    /// Locked while this process works on it.
    _lock: std::fs::File,
    published: bool,
}

impl<'a> Staging<'a> {
    /// An empty directory for this container. What an earlier process left is removed, unless it is still at work.
    pub(crate) fn begin(containers: &Path, name: &Name, map: &'a IdMap) -> Result<Self, CreateError> {
        fs::create_dir_all(containers).map_err(CreateError::Storage)?;
        let path = containers.join(format!(".{name}.new"));
        for _ in 0..ATTEMPTS {
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(CreateError::Storage(error)),
                _ => {}
            }
            // Another process may remove it in between: then this starts over.
            let Ok(lock) = std::fs::File::open(&path) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Err(CreateError::Busy { name: name.clone() });
            }
            if is_same(&lock, &path) {
                let staging = Self { path, map, _lock: lock, published: false };
                staging.empty()?;
                return Ok(staging);
            }
        }
        Err(CreateError::Busy { name: name.clone() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn empty(&self) -> Result<(), CreateError> {
        self.remove_rootfs()?;
        let empty = || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
            }
            fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o770))
        };
        empty().map_err(CreateError::Storage)
    }

    /// Files of mapped users can be removed only as one of them.
    fn remove_rootfs(&self) -> Result<(), CreateError> {
        if self.map.is_empty() {
            return Ok(());
        }
        for name in ["rootfs", "overlay"].into_iter().filter(|name| self.path.join(name).exists()) {
            let work = Work::RemoveDirectory(self.path.clone(), name.to_owned());
            mapped::run(&Executable::default(), self.map, work)?;
        }
        Ok(())
    }

    /// Makes it appear. A container that appeared meanwhile is not replaced.
    pub(crate) fn publish(mut self, directory: &Path) -> Result<(), CreateError> {
        match renameat_with(CWD, &self.path, CWD, directory, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Not every file system knows the flag. A directory that is not empty is not replaced without it either.
            Err(rustix::io::Errno::INVAL) => fs::rename(&self.path, directory).map_err(CreateError::Storage)?,
            Err(errno) => return Err(CreateError::Storage(errno.into())),
        }
        checkpoint("create:published");
        self.published = true;
        let parent = directory.parent().unwrap_or(Path::new("/"));
        files::sync_directory(parent).map_err(CreateError::Storage)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let removed = self.remove_rootfs();
        let removed = removed.and_then(|()| fs::remove_dir_all(&self.path).map_err(CreateError::Storage));
        if let Err(error) = removed {
            tracing::warn!("an unfinished container was left behind: {}", chain(&error));
        }
    }
}

fn is_same(file: &std::fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

/// How often a directory that vanishes is made again.
const ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "web1".parse().unwrap()
    }

    #[test]
    fn what_a_killed_create_left_is_replaced() {
        let map = IdMap::default();
        let containers = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(containers.path().join(".web1.new/rootfs/etc")).unwrap();
        std::fs::write(containers.path().join(".web1.new/config"), "half").unwrap();
        let staging = Staging::begin(containers.path(), &name(), &map).unwrap();
        assert_eq!(std::fs::read_dir(staging.path()).unwrap().count(), 0);
        staging.publish(&containers.path().join("web1")).unwrap();
        assert!(containers.path().join("web1").is_dir());
    }

    #[test]
    fn two_creates_of_one_name_do_not_share_a_directory() {
        let map = IdMap::default();
        let containers = tempfile::tempdir().unwrap();
        let first = Staging::begin(containers.path(), &name(), &map).unwrap();
        assert!(matches!(Staging::begin(containers.path(), &name(), &map), Err(CreateError::Busy { .. })));
        drop(first);
        assert_eq!(std::fs::read_dir(containers.path()).unwrap().count(), 0, "an unfinished container was left");
        Staging::begin(containers.path(), &name(), &map).unwrap();
    }

    #[test]
    fn a_container_that_appeared_meanwhile_is_not_replaced() {
        let map = IdMap::default();
        let containers = tempfile::tempdir().unwrap();
        let staging = Staging::begin(containers.path(), &name(), &map).unwrap();
        std::fs::create_dir(containers.path().join("web1")).unwrap();
        std::fs::write(containers.path().join("web1/config"), "theirs").unwrap();
        assert!(staging.publish(&containers.path().join("web1")).is_err());
        assert_eq!(std::fs::read_to_string(containers.path().join("web1/config")).unwrap(), "theirs");
    }
}
