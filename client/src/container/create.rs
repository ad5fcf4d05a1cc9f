//! A new container directory.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use formats::compat::{CompatLevel, Mode};
use formats::metadata::MemberKind;
use formats::name::Name;
use fs_err as fs;
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};
use terminal::human;

use super::compose::{Parts, compose};
use super::placeholders::Placeholders;
use super::policy::{self, PolicyError};
use super::populate;
use super::rootfs::{self, RootfsError};
use crate::acquire::Acquired;
use crate::files::{self, Owner};
use crate::narrator::Narrator;
use crate::runtime::error::chain;
use crate::runtime::executable::Executable;
use crate::runtime::mapped::{self, Work};
use crate::runtime::{self, IdMap};

/// What a container is made of, besides its image.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where containers are.
    pub containers: &'a Path,
    /// Its name.
    pub name: &'a Name,
    /// The user's configuration for new containers.
    pub defaults: &'a str,
    /// Keys that the image may set although they are not harmless.
    pub allowed: &'a [String],
    /// Which editions of the LXC metadata apply.
    pub mode: Mode,
    /// The ids of its users on the host, if it has a user namespace.
    pub map: &'a IdMap,
    /// Who is told.
    pub narrator: &'a Narrator,
}

impl Plan<'_> {
    /// Makes the container:
    ///
    /// ```text
    /// <containers>/<name>/
    /// ├── config      what LXC and the embedded runtime read
    /// ├── fstab       if the image has one
    /// └── rootfs/
    /// ```
    ///
    /// It is made as `.<name>.new`, which LXC does not list, and appears by a rename. What a killed process left
    /// there is replaced by the next create of this name.
    pub fn carry_out(&self, image: Acquired<'_>) -> Result<PathBuf, CreateError> {
        let directory = self.directory()?;
        let staging = Staging::begin(self.containers, self.name, self.map)?;
        let placeholders = Placeholders::new(self.name.as_str(), &directory, &directory.join("rootfs"));
        self.configure(&image, &directory, staging.path(), &placeholders)?;
        let began = Instant::now();
        let (entries, devices_skipped) = self.populate(image, &directory, staging.path(), &placeholders)?;
        self.narrator.unpacked(entries, began.elapsed());
        if devices_skipped > 0 {
            tracing::info!("{} devices were left out", human::count(devices_skipped));
        }
        staging.publish(&directory)?;
        Ok(directory)
    }

    /// Unpacks the root file system: here, or where the ids of its users are those of the image.
    fn populate(
        &self,
        image: Acquired<'_>,
        directory: &Path,
        staging: &Path,
        placeholders: &Placeholders,
    ) -> Result<(u64, u64), CreateError> {
        if !self.map.is_empty() {
            let populated = populate::populate(staging, image, self.map, self.name.as_str(), directory)?;
            return Ok((populated.entries, populated.devices_skipped));
        }
        let rootfs = staging.join("rootfs");
        fs::create_dir(&rootfs).map_err(CreateError::Storage)?;
        let level = (self.mode, CompatLevel::NEWEST);
        let summary = rootfs::populate(&rootfs, image.rootfs, &image.metadata, level, placeholders)?;
        Ok((summary.entries, summary.devices_skipped))
    }

    /// The container's directory, as an absolute path. It must not exist.
    pub fn directory(&self) -> Result<PathBuf, CreateError> {
        let containers = std::path::absolute(self.containers).map_err(CreateError::Storage)?;
        let directory = containers.join(self.name.as_str());
        if directory.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { name: self.name.clone(), directory });
        }
        Ok(directory)
    }

    /// Writes `config` and `fstab`. Nothing of the image is unpacked before its configuration was accepted.
    fn configure(
        &self,
        image: &Acquired<'_>,
        directory: &Path,
        staging: &Path,
        placeholders: &Placeholders,
    ) -> Result<(), CreateError> {
        let relevant = |kind| image.metadata.relevant(kind, self.mode, CompatLevel::NEWEST);
        let config = relevant(MemberKind::Config).ok_or(CreateError::NoConfig)?;
        let distribution = placeholders.replace_str(config);
        policy::check_config(&distribution, self.allowed)?;
        let fstab = relevant(MemberKind::Fstab).map(|fstab| placeholders.replace_str(fstab));
        if let Some(fstab) = &fstab {
            policy::check_fstab(fstab, self.allowed)?;
            let path = staging.join("fstab");
            files::write_whole(&path, fstab.as_bytes(), 0o644, Owner::SELF).map_err(CreateError::Storage)?;
        }
        let newline = if self.defaults.is_empty() || self.defaults.ends_with('\n') { "" } else { "\n" };
        let rootfs = directory.join("rootfs");
        let existing = format!(
            "# Created by rootcellar from `{}`, build {}\n# For options see lxc.container.conf(5)\n{}{newline}\
             lxc.rootfs.path = dir:{}\n",
            image.build.image,
            image.build.build.as_str(),
            self.defaults,
            rootfs.display()
        );
        let fstab = fstab.map(|_| directory.join("fstab"));
        let text = compose(Parts {
            existing: &existing,
            distribution: &distribution,
            fstab: fstab.as_deref(),
            name: self.name.as_str(),
        });
        let path = staging.join("config");
        files::write_whole(&path, text.as_bytes(), 0o640, Owner::SELF).map_err(CreateError::Storage)
    }
}

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

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one of this name.
    #[error("container `{name}` already exists in `{}`", directory.parent().unwrap_or(directory).display())]
    Exists {
        /// The name.
        name: Name,
        /// Its directory.
        directory: PathBuf,
    },
    /// Somebody else is making it.
    #[error("container `{name}` is being created by another process")]
    Busy {
        /// The name.
        name: Name,
    },
    /// What the image wants to configure is refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The image has no configuration.
    #[error("the image's metadata has no `config` for this kind of container")]
    NoConfig,
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// Work as one of the container's users.
    #[error(transparent)]
    Mapped(#[from] runtime::Error),
    /// The container directory cannot be written.
    #[error("cannot write the container directory")]
    Storage(#[source] io::Error),
}

impl CreateError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { name, .. } => Some(format!("choose another name, or `rootcellar destroy {name}`")),
            Self::Policy(error) => error.hint(),
            Self::Rootfs(error) => error.hint(),
            Self::Storage(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("`-P DIR` names another place for containers".to_owned())
            }
            Self::Mapped(error) => terminal::Advice::hint(error),
            Self::Busy { .. } | Self::NoConfig | Self::Storage(_) => None,
        }
    }

    /// Whether this machine failed, and not the data or the input.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Rootfs(error) => error.is_failure(),
            Self::Storage(_) => true,
            Self::Mapped(error) => !matches!(error, runtime::Error::Mapped { is_data: true, .. }),
            Self::Exists { .. } | Self::Busy { .. } | Self::Policy(_) | Self::NoConfig => false,
        }
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
