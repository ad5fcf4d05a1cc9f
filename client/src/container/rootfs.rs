//! A root file system, from a verified archive to one that knows its container's name.

use std::io;
use std::path::Path;

use archive::beneath::RootDir;
use archive::unpack::{Excludes, UnpackError, UnpackOptions, UnpackSummary, unpack};
use formats::compat::{CompatLevel, Mode};
use formats::metadata::{LxcMetadata, MemberKind};
use terminal::human;

use super::placeholders::Placeholders;
use crate::acquire::{AcquireError, ReadError, Rootfs};
use crate::caller::Caller;

/// Unpacks a root file system into an existing directory, without what the image excludes in this mode, and fills in
/// its templates if it gets a name. Everything after the unpacking happens beneath the directory: no link in the image
/// leads out of it.
pub fn populate(
    rootfs: &Path,
    archive: Rootfs<'_>,
    metadata: &LxcMetadata,
    (mode, level): (Mode, CompatLevel),
    placeholders: Option<&Placeholders>,
) -> Result<UnpackSummary, RootfsError> {
    let excludes = metadata.relevant(MemberKind::Excludes, mode, level).unwrap_or_default();
    let mut options = UnpackOptions::for_this_process().map_err(RootfsError::of("/proc/self/uid_map"))?;
    options.excludes = Excludes::from_lines(excludes.as_bytes());
    let tar_bytes = archive.tar_bytes();
    let unpacked = archive.read(|tar| unpack(tar, rootfs, &options));
    let summary = unpacked.map_err(|error| RootfsError::of_reading(error, tar_bytes))?;
    let root = RootDir::open(rootfs).map_err(RootfsError::of(&rootfs.display().to_string()))?;
    root.create_dir_all("dev/pts").map_err(RootfsError::of("dev/pts"))?;
    if let Some(placeholders) = placeholders {
        fill(&root, metadata, (mode, level), placeholders)?;
    }
    edit(&root, MINGETTY_CONFIG, keep_the_terminal)?;
    Ok(summary)
}

/// Replaces the placeholders in the templates of a root file system.
pub(crate) fn fill(
    root: &RootDir,
    metadata: &LxcMetadata,
    (mode, level): (Mode, CompatLevel),
    placeholders: &Placeholders,
) -> Result<(), RootfsError> {
    let mut templates = metadata.lines(MemberKind::Templates, mode, level).into_iter();
    templates.try_for_each(|template| edit(root, template, |content| placeholders.replace(content)))
}

/// Changes one file of the root file system, if there is such a file. Like the stock template, images may name
/// templates that only some of them have.
fn edit(root: &RootDir, path: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), RootfsError> {
    let content = match root.read(path, TEMPLATE_BYTES) {
        Ok(content) => content,
        Err(error) if is_no_file(&error) => return Ok(()),
        Err(error) => return Err(RootfsError::of(path)(error)),
    };
    let changed = change(&content);
    if changed == content { Ok(()) } else { root.write(path, &changed).map_err(RootfsError::of(path)) }
}

fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    let too_many_links = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP);
    too_many_links || matches!(error.kind(), NotFound | NotADirectory | InvalidInput | IsADirectory)
}

/// Whether what is in the tree is in the way: a file that is too large, a file or a link that leads nowhere in the
/// place of a directory.
fn is_made_by_an_image(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, FileTooLarge, NotADirectory};
    let too_many_links = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP);
    too_many_links || matches!(error.kind(), AlreadyExists | FileTooLarge | NotADirectory)
}

/// `mingetty` calls vhangup(2), which fails in a user namespace (as in `CentOS` 6).
fn keep_the_terminal(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    if text.contains("mingetty --nohangup") {
        content.to_vec()
    } else {
        text.replace("mingetty", "mingetty --nohangup").into_bytes()
    }
}

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// The archive was not unpacked.
    #[error("cannot unpack the rootfs")]
    Unpack(#[source] UnpackError),
    /// The file system of the container is full.
    #[error("no space left for the rootfs")]
    NoSpace {
        /// About what it takes, if that is known.
        needed_bytes: Option<u64>,
        /// What did not fit.
        #[source]
        source: UnpackError,
    },
    /// The archive was not had.
    #[error(transparent)]
    Acquire(AcquireError),
    /// A file of it cannot be changed.
    #[error("cannot prepare `{path}` in the rootfs")]
    Prepare {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl RootfsError {
    /// Of an archive of this size.
    pub(crate) fn of_reading(error: ReadError, tar_bytes: Option<u64>) -> Self {
        match error {
            ReadError::Unpack(UnpackError::System { source, member, action }) if is_full(&source) => {
                Self::NoSpace { needed_bytes: tar_bytes, source: UnpackError::System { action, member, source } }
            }
            ReadError::Unpack(error) => Self::Unpack(error),
            ReadError::Acquire(error) => Self::Acquire(error),
        }
    }

    fn of(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Prepare { path, source }
    }

    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> Option<String> {
        match self {
            Self::Unpack(UnpackError::IdOutsideMap { .. }) => Some(
                "give the container more ids: 65536 in /etc/subuid, /etc/subgid and `lxc.idmap` are usual".to_owned(),
            ),
            Self::Unpack(_) | Self::Prepare { .. } if !self.is_failure() => {
                Some("the image is broken or hostile; tell the server's operator".to_owned())
            }
            Self::NoSpace { needed_bytes, .. } => Some(room(*needed_bytes)),
            Self::Prepare { source, .. } if is_full(source) => Some(room(None)),
            Self::Acquire(error) => error.hint(caller),
            Self::Unpack(_) | Self::Prepare { .. } => None,
        }
    }

    /// Whether this machine failed, and not the data.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Unpack(error) => !error.is_bad_data(),
            Self::Acquire(error) => error.is_failure(),
            Self::NoSpace { .. } => true,
            Self::Prepare { source, .. } => !is_made_by_an_image(source),
        }
    }
}

/// Whether there is no room for more.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How a container gets room. `lxc-create` has the same flag.
pub(crate) fn room(needed_bytes: Option<u64>) -> String {
    let needed = needed_bytes.map(|bytes| format!("it takes about {}: ", human::bytes(bytes))).unwrap_or_default();
    format!("{needed}make room there, or `-P DIR` names another place for containers")
}

/// The largest file that placeholders are replaced in. What images name are host names and the like.
const TEMPLATE_BYTES: u64 = 4 << 20;
const MINGETTY_CONFIG: &str = "etc/init/tty.conf";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn world() -> (tempfile::TempDir, RootDir) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("rootfs/etc")).unwrap();
        let root = RootDir::open(&directory.path().join("rootfs")).unwrap();
        (directory, root)
    }

    #[test]
    fn a_template_that_leads_out_of_the_rootfs_changes_nothing() {
        let (directory, root) = world();
        let outside = directory.path().join("secret");
        fs::write(&outside, "LXC_NAME").unwrap();
        symlink(&outside, directory.path().join("rootfs/etc/absolute")).unwrap();
        symlink("../../secret", directory.path().join("rootfs/etc/relative")).unwrap();
        let placeholders = Placeholders::new("p1", Path::new("/p"), Path::new("/r"));
        for template in ["etc/absolute", "etc/relative", "../secret", "/etc/missing", "etc", "etc/absolute/x"] {
            edit(&root, template, |content| placeholders.replace(content)).unwrap();
        }
        assert_eq!(fs::read_to_string(outside).unwrap(), "LXC_NAME");
    }

    #[test]
    fn mingetty_is_told_once_to_keep_its_terminal() {
        let once = keep_the_terminal(b"exec /sbin/mingetty $TTY\n");
        assert_eq!(once, b"exec /sbin/mingetty --nohangup $TTY\n");
        assert_eq!(keep_the_terminal(&once), once);
    }
}
