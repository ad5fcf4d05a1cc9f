//! Where a build happens, and how it becomes visible.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use formats::image::ImageId;
use formats::serial::Serial;
use tempfile::TempDir;

use super::BuildError;

/// A build directory in the making.
///
/// ```text
/// <output>/<distribution>/<release>/<arch>/<variant>/
/// ├── 20261123_0522/            a finished build
/// └── .20261123_0530-Xy12ab/    this one
///     ├── work/root/            the tree
///     └── build/                what will be renamed to its serial
/// ```
pub(crate) struct Workspace {
    directory: TempDir,
    target: PathBuf,
}

impl Workspace {
    /// A place for a build that does not exist yet.
    pub(crate) fn create(output: &Path, image: &ImageId, serial: &Serial) -> Result<Self, BuildError> {
        let parent = output.join(image.to_string());
        let target = parent.join(serial.as_str());
        if target.exists() {
            return Err(BuildError::Exists { path: target });
        }
        fs_err::create_dir_all(&parent)?;
        let directory = tempfile::Builder::new()
            .prefix(&format!(".{serial}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&parent)?;
        let workspace = Self { directory, target };
        fs_err::create_dir(workspace.work())?;
        fs_err::create_dir(workspace.build())?;
        Ok(workspace)
    }

    /// Everything that is gone when the build is finished.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The tree.
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
            std::fs::create_dir(one.tree()).unwrap();
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
        std::fs::create_dir(&tree).unwrap();
        let kept = workspace.keep();
        assert!(tree.starts_with(&kept) && tree.exists());
    }
}
