//! The directories of a copy, made by who may: root, or a process in a user namespace with the container's map.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use archive::beneath::RootDir;
use serde::{Deserialize, Serialize};

use super::tree::{self, Copied};
use crate::runtime::backing::{Backing, Options};
use crate::runtime::error::{Error, failed};

/// What to make in the unfinished directory of a copy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trees {
    pub(crate) staging: PathBuf,
    /// Whose the new directories are.
    pub(crate) owner: (u32, u32),
    /// Whether the unfinished directory itself becomes theirs; its group stays.
    pub(crate) gives_staging: bool,
    /// Empty directories.
    pub(crate) fresh: Vec<String>,
    /// What is copied to where.
    pub(crate) copies: Vec<(Source, String)>,
    /// The name in the copy's `/etc/hostname`.
    pub(crate) hostname: Option<Hostname>,
}

/// Something to copy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Source {
    Directory(PathBuf),
    /// What the layers show together.
    Merged(Backing, Options),
}

/// A name to be written into a root file system that has one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hostname {
    pub(crate) name: String,
    /// Where in the unfinished directory.
    pub(crate) root: String,
    /// What lies below it, the uppermost first.
    pub(crate) lowers: Vec<PathBuf>,
}

impl Trees {
    /// Makes all of it.
    pub(crate) fn make(&self) -> Result<Copied, Error> {
        let mut copied = Copied::default();
        for name in &self.fresh {
            let path = self.staging.join(name);
            let made = std::fs::create_dir(&path).and_then(|()| {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
                chown(&path, Some(self.owner.0), Some(self.owner.1))
            });
            made.map_err(failed("create", &path))?;
        }
        for (source, name) in &self.copies {
            let one = source.copy_to(&self.staging, name)?;
            copied.entries += one.entries;
            copied.devices_skipped += one.devices_skipped;
        }
        if let Some(hostname) = &self.hostname {
            hostname.write(&self.staging, self.owner).map_err(failed("write `/etc/hostname` in", &self.staging))?;
        }
        if self.gives_staging {
            let given = chown(&self.staging, Some(self.owner.0), None)
                .and_then(|()| std::fs::set_permissions(&self.staging, std::fs::Permissions::from_mode(0o770)));
            given.map_err(failed("give away", &self.staging))?;
        }
        Ok(copied)
    }

    /// Whether a process needs a mount namespace of its own for it.
    pub(crate) fn mounts(&self) -> bool {
        self.copies.iter().any(|(source, _)| matches!(source, Source::Merged(..)))
    }
}

impl Source {
    fn copy_to(&self, staging: &Path, name: &str) -> Result<Copied, Error> {
        let (directory, name) = name
            .rsplit_once('/')
            .map_or((staging.to_owned(), name), |(directory, name)| (staging.join(directory), name));
        match self {
            Self::Directory(path) => tree::copy(path, &directory, name).map_err(failed("copy", path)),
            Self::Merged(backing, options) => {
                let mount = backing.hold()?.into_mount(options)?;
                let root = PathBuf::from(format!("/proc/self/fd/{}/.", mount.as_raw_fd()));
                tree::copy(&root, &directory, name).map_err(failed("copy", backing.to_string()))
            }
        }
    }
}

impl Hostname {
    /// Writes the name where the copy has a name already, or where it shows one of a lower layer.
    ///
    /// What belongs to the host's root in a lower layer is given to root of the copy.
    fn write(&self, staging: &Path, root_of_copy: (u32, u32)) -> io::Result<()> {
        let path = staging.join(&self.root);
        let root = RootDir::open(&path)?;
        if root.exists(HOSTNAME)? {
            return root.write(HOSTNAME, self.line().as_bytes());
        }
        for lower in &self.lowers {
            if !RootDir::open(lower)?.exists(HOSTNAME)? {
                continue;
            }
            // A lower layer with a link in place of the directory keeps what it has.
            let etc = lower.join("etc");
            if !etc.symlink_metadata()?.is_dir() || !lower.join(HOSTNAME).symlink_metadata()?.is_file() {
                return Ok(());
            }
            let copy = path.join("etc");
            if !root.symlink_exists("etc")? {
                std::fs::create_dir(&copy)?;
                tree::adopt(File::open(etc)?.as_fd(), File::open(&copy)?.as_fd())?;
                own(&File::open(&copy)?, root_of_copy)?;
            }
            let file = File::create_new(path.join(HOSTNAME))?;
            tree::adopt(File::open(lower.join(HOSTNAME))?.as_fd(), file.as_fd())?;
            own(&file, root_of_copy)?;
            return io::Write::write_all(&mut &file, self.line().as_bytes());
        }
        Ok(())
    }

    fn line(&self) -> String {
        format!("{}\n", self.name)
    }
}

/// Gives what belongs to the host's root to root of a container.
fn own(file: &File, (uid, gid): (u32, u32)) -> io::Result<()> {
    let data = file.metadata()?;
    if data.uid() == 0 && uid != 0 { fchown(file, Some(uid), Some(gid)) } else { Ok(()) }
}

const HOSTNAME: &str = "etc/hostname";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn hostname(lowers: &[&Path]) -> Hostname {
        Hostname {
            name: "copy".to_owned(),
            root: "delta".to_owned(),
            lowers: lowers.iter().map(|lower| lower.to_path_buf()).collect(),
        }
    }

    #[test]
    fn a_name_of_a_lower_layer_is_hidden_by_the_copys_own() {
        let dir = tempfile::tempdir().unwrap();
        let (base, delta) = (dir.path().join("base"), dir.path().join("delta"));
        fs::create_dir_all(base.join("etc")).unwrap();
        fs::create_dir(&delta).unwrap();
        fs::write(base.join("etc/hostname"), "base\n").unwrap();
        fs::set_permissions(base.join("etc"), fs::Permissions::from_mode(0o711)).unwrap();
        hostname(&[&base]).write(dir.path(), (0, 0)).unwrap();
        assert_eq!(fs::read_to_string(delta.join("etc/hostname")).unwrap(), "copy\n");
        assert_eq!(delta.join("etc").metadata().unwrap().permissions().mode() & 0o777, 0o711);
        assert_eq!(fs::read_to_string(base.join("etc/hostname")).unwrap(), "base\n");
    }

    #[test]
    fn a_root_file_system_without_a_name_gets_none_and_a_link_is_not_followed_to_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let delta = dir.path().join("delta");
        fs::create_dir_all(delta.join("etc")).unwrap();
        hostname(&[]).write(dir.path(), (0, 0)).unwrap();
        assert!(!delta.join("etc/hostname").exists());
        let outside = dir.path().join("outside");
        fs::write(&outside, "host\n").unwrap();
        std::os::unix::fs::symlink(&outside, delta.join("etc/hostname")).unwrap();
        hostname(&[]).write(dir.path(), (0, 0)).unwrap();
        assert_eq!(fs::read_to_string(outside).unwrap(), "host\n");
    }
}
