//! Where a build happens, and how it becomes visible.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use formats::image::ImageId;
use formats::serial::Serial;
use tempfile::TempDir;

use super::BuildError;
use crate::cache::lock::{self, Lock, Mode};
use crate::cache::stages::is_abandoned;

/// A build directory in the making.
///
/// ```text
/// <output>/<distribution>/<release>/<arch>/<variant>/
/// ├── 20261123_0522/            a finished build
/// └── .20261123_0530-Xy12ab/    this one
///     ├── lock                  held by its build
///     ├── failure.json          or how to go on with it: then it is kept
///     ├── work/root/            where the tree is mounted
///     └── build/                what will be renamed to its serial
/// ```
pub(crate) struct Workspace {
    directory: TempDir,
    target: PathBuf,
    _lock: Lock,
}

impl Workspace {
    /// A place for a build that does not exist yet. What killed builds of the image have left beside it is removed.
    pub(crate) fn create(output: &Path, image: &ImageId, serial: &Serial) -> Result<Self, BuildError> {
        let parent = output.join(image.to_string());
        let target = parent.join(serial.as_str());
        if target.exists() {
            return Err(BuildError::Exists { path: target });
        }
        fs_err::create_dir_all(&parent)?;
        // A directory without a lock is either dead or just being made.
        let guard: Lock = fs_err::File::open(&parent)?.into_parts().0;
        lock::take(&guard, Mode::Exclusive, None)?;
        heal(&parent)?;
        let directory = tempfile::Builder::new()
            .prefix(&format!(".{serial}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&parent)?;
        let lock = fs_err::File::create(directory.path().join(LOCK))?.into_parts().0;
        lock::take(&lock, Mode::Exclusive, None)?;
        let workspace = Self { directory, target, _lock: lock };
        fs_err::create_dir_all(workspace.tree())?;
        fs_err::create_dir(workspace.build())?;
        Ok(workspace)
    }

    /// The whole directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Everything that is gone when the build is finished.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Where trees are mounted.
    pub(crate) fn tree(&self) -> PathBuf {
        self.work().join("root")
    }

    /// The files of the build.
    pub(crate) fn build(&self) -> PathBuf {
        self.directory.path().join("build")
    }

    /// Makes the build visible and removes the rest.
    pub(crate) fn publish(self) -> Result<PathBuf, BuildError> {
        for entry in fs_err::read_dir(self.build())? {
            fs_err::File::open(entry?.path())?.sync_all()?;
        }
        fs_err::File::open(self.build())?.sync_all()?;
        // `rename` would replace an empty directory, but a build is never empty: one that appeared meanwhile wins.
        fs_err::rename(self.build(), &self.target).map_err(|error| match error.kind() {
            std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
                BuildError::Exists { path: self.target.clone() }
            }
            _ => BuildError::Io(error),
        })?;
        if let Some(parent) = self.target.parent() {
            fs_err::File::open(parent)?.sync_all()?;
        }
        self.directory.close()?;
        Ok(self.target)
    }

    /// Keeps what there is, for somebody to look into, and returns where.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Removes what builds of the image left that are gone, unless it is kept on purpose.
fn heal(parent: &Path) -> std::io::Result<()> {
    for entry in fs_err::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.starts_with('.') && path.join(LOCK).exists() && path.join("build").is_dir();
        if ours && !path.join(FAILURE).exists() && is_abandoned(&path.join(LOCK))? {
            fs_err::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// How to go on with a failed build.
pub(crate) const FAILURE: &str = "failure.json";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(output: &Path) -> Result<Workspace, BuildError> {
        let image = "debian/bookworm/amd64/default".parse().unwrap();
        Workspace::create(output, &image, &"20261123_0522".parse().unwrap())
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_build_appears_whole_and_only_once() {
        let output = tempfile::tempdir().unwrap();
        let (first, second) = (workspace(output.path()).unwrap(), workspace(output.path()).unwrap());
        let parent = output.path().join("debian/bookworm/amd64/default");
        assert!(names(&parent).iter().all(|name| name.starts_with('.')));
        for one in [&first, &second] {
            std::fs::write(one.build().join("build.json"), "{}").unwrap();
        }
        assert_eq!(first.publish().unwrap(), parent.join("20261123_0522"));
        assert!(matches!(second.publish(), Err(BuildError::Exists { .. })));
        assert_eq!(names(&parent), ["20261123_0522"]);
        assert!(matches!(workspace(output.path()), Err(BuildError::Exists { .. })));
    }

    #[test]
    fn a_failed_build_can_be_kept_for_inspection() {
        let output = tempfile::tempdir().unwrap();
        let workspace = workspace(output.path()).unwrap();
        let tree = workspace.tree();
        let kept = workspace.keep();
        assert!(tree.starts_with(&kept) && tree.exists());
    }

    #[test]
    fn what_a_killed_build_left_is_removed_by_the_next_one_and_nothing_else() {
        let output = tempfile::tempdir().unwrap();
        let alive = workspace(output.path()).unwrap();
        let parent = output.path().join("debian/bookworm/amd64/default");
        for (name, files) in [(".dead", &[LOCK][..]), (".failed", &[LOCK, FAILURE]), (".foreign", &["photo"])] {
            std::fs::create_dir_all(parent.join(name).join("build")).unwrap();
            for file in files {
                std::fs::write(parent.join(name).join(file), "").unwrap();
            }
        }
        workspace(output.path()).unwrap();
        assert!(alive.path().exists() && !parent.join(".dead").exists());
        assert!(parent.join(".failed").exists() && parent.join(".foreign").exists());
    }
}
