//! Root file systems: what `lxc.rootfs.path` names.
//!
//! ```text
//! /srv/web1   dir:/srv/web1   btrfs:/srv/web1         a directory; a subvolume is one, too
//! overlay:/srv/top:/srv/base:/srv/web1/overlay/delta  layers, the uppermost first, and where changes go
//! overlayfs:/srv/base:/srv/web1/delta0                the same, as LXC before 2.1 spells it
//! ```
//!
//! liblxc splits layers at `:/`, takes the last one for the changes and keeps what the kernel needs beside it, in `work`
//! (lxc `src/lxc/storage/overlay.c`, `ovl_mount`). Both runtimes run a container with any of these.

mod hold;
mod lookup;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::ConfigProblem;

pub(crate) use hold::Held;

/// What a root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backing {
    /// This directory.
    Directory(PathBuf),
    /// Several, one seen through the other.
    Overlay(Overlay),
}

/// Layers of an overlay file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overlay {
    /// Never changed through the overlay, the uppermost first.
    pub(crate) lowers: Vec<PathBuf>,
    /// Where changes go.
    pub(crate) upper: PathBuf,
}

/// `lxc.rootfs.options`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) is_readonly: bool,
    /// The overlay's own notes are in `user.` attributes, as it must be where they are not made by the host's root.
    pub(crate) has_user_xattrs: bool,
    /// `idmap=container` or `idmap=none`: whether owners are shown through the container's map.
    pub(crate) idmap: Option<bool>,
    /// For the file system.
    pub(crate) others: Vec<String>,
}

impl Backing {
    /// The directories it is made of, the uppermost first.
    pub(crate) fn layers(&self) -> Vec<&Path> {
        match self {
            Self::Directory(path) => vec![path],
            Self::Overlay(overlay) => {
                std::iter::once(&overlay.upper).chain(&overlay.lowers).map(PathBuf::as_path).collect()
            }
        }
    }

    /// Refuses what is not there. Where changes go is made when it is first needed.
    pub(crate) fn check(&self) -> Result<(), ConfigProblem> {
        let needed = match self {
            Self::Directory(path) => std::slice::from_ref(path),
            Self::Overlay(overlay) => &overlay.lowers,
        };
        match needed.iter().find(|path| !path.is_dir()) {
            None => Ok(()),
            Some(path) if path.exists() => Err(ConfigProblem::RootfsKind("loop or block device".to_owned())),
            Some(path) => Err(ConfigProblem::MissingRootfs(path.clone())),
        }
    }

    /// The value of `lxc.rootfs.path` without its kind.
    pub(crate) fn path(&self) -> String {
        let value = self.to_string();
        value.split_once(':').map_or(String::new(), |(_, path)| path.to_owned())
    }

    /// Whether a path is there when links are followed as the container would.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        lookup::finds(&self.layers(), path)
    }
}

impl Overlay {
    /// One whose changes go where LXC has them in a container directory.
    #[allow(dead_code, reason = "for who makes containers of layers")]
    pub(crate) fn in_container(lowers: Vec<PathBuf>, container: &Path) -> Self {
        Self { lowers, upper: container.join(PRIVATE).join(DELTA) }
    }
}

impl Options {
    /// Reads the value of `lxc.rootfs.options`.
    pub(crate) fn parse(value: &str) -> Self {
        let mut options = Self::default();
        for option in value.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            match option {
                "ro" => options.is_readonly = true,
                "rw" => options.is_readonly = false,
                "userxattr" => options.has_user_xattrs = true,
                "idmap=container" => options.idmap = Some(true),
                "idmap=none" => options.idmap = Some(false),
                "defaults" => {}
                other => options.others.push(other.to_owned()),
            }
        }
        options
    }
}

impl FromStr for Backing {
    type Err = ConfigProblem;

    fn from_str(value: &str) -> Result<Self, ConfigProblem> {
        if value.starts_with('/') {
            return Ok(Self::Directory(value.into()));
        }
        let (kind, rest) = value.split_once(':').unwrap_or((value, ""));
        let bad =
            |expected| ConfigProblem::Value { key: "lxc.rootfs.path".to_owned(), expected, found: value.to_owned() };
        match kind {
            "dir" | "btrfs" if rest.starts_with('/') => Ok(Self::Directory(rest.into())),
            "dir" | "btrfs" => Err(bad("an absolute path")),
            "overlay" | "overlayfs" => {
                let mut layers = split(rest);
                match layers.pop() {
                    Some(upper) if !layers.is_empty() => Ok(Self::Overlay(Overlay { lowers: layers, upper })),
                    _ => Err(bad("`overlay:LOWER:UPPER`, absolute paths both")),
                }
            }
            kind => Err(ConfigProblem::RootfsKind(kind.to_owned())),
        }
    }
}

/// Absolute paths with colons between them. A colon that no slash follows belongs to a path.
fn split(layers: &str) -> Vec<PathBuf> {
    if !layers.starts_with('/') {
        return Vec::new();
    }
    let mut parts = layers.split(":/");
    let first = parts.next().map(PathBuf::from);
    first.into_iter().chain(parts.map(|part| Path::new("/").join(part))).collect()
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::Overlay(Overlay { lowers, upper }) => {
                f.write_str("overlay")?;
                lowers.iter().chain([upper]).try_for_each(|layer| write!(f, ":{}", layer.display()))
            }
        }
    }
}

/// The directory in a container's that LXC keeps an overlay's changes in, since LXC 2.1.
const PRIVATE: &str = "overlay";
const DELTA: &str = "delta";
const WORK: &str = "work";

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lowers: &[&str], upper: &str) -> Backing {
        Backing::Overlay(Overlay { lowers: lowers.iter().map(PathBuf::from).collect(), upper: upper.into() })
    }

    #[test]
    fn directories_are_named_with_and_without_their_kind() {
        for value in ["dir:/srv/a", "/srv/a", "btrfs:/srv/a"] {
            assert_eq!(value.parse(), Ok(Backing::Directory("/srv/a".into())), "{value}");
        }
        assert_eq!("/srv/a:b".parse(), Ok(Backing::Directory("/srv/a:b".into())));
    }

    #[test]
    fn the_last_layer_of_an_overlay_takes_the_changes() {
        assert_eq!("overlay:/a:/b".parse(), Ok(overlay(&["/a"], "/b")));
        assert_eq!("overlayfs:/a:/c/delta0".parse(), Ok(overlay(&["/a"], "/c/delta0")));
        assert_eq!("overlay:/top:/a:b:/c".parse(), Ok(overlay(&["/top", "/a:b"], "/c")));
        let Ok(Backing::Overlay(parsed)) = "overlay:/a:/c/overlay/delta".parse() else { panic!("is no overlay") };
        assert_eq!(parsed, Overlay::in_container(vec!["/a".into()], Path::new("/c")));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for value in ["dir:/srv/a", "overlay:/a:/b:/c/overlay/delta"] {
            assert_eq!(value.parse::<Backing>().unwrap().to_string(), value);
        }
    }

    #[test]
    fn other_kinds_are_refused_by_name_and_overlays_need_two_layers() {
        for kind in ["zfs", "lvm", "loop", "nbd", "rbd", "aufs"] {
            let problem = format!("{kind}:/dev/x").parse::<Backing>().unwrap_err();
            assert_eq!(problem, ConfigProblem::RootfsKind(kind.to_owned()));
        }
        for value in ["overlay:/a", "overlay:a:/b", "overlay:", "dir:a", "dir:", "btrfs:"] {
            assert!(matches!(value.parse::<Backing>(), Err(ConfigProblem::Value { .. })), "{value}");
        }
        assert!(matches!("relative".parse::<Backing>(), Err(ConfigProblem::RootfsKind(_))));
    }

    #[test]
    fn a_file_or_nothing_is_no_root_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("disk.img"), "").unwrap();
        let problem = |layer: &str| Backing::Directory(path(layer)).check().unwrap_err();
        assert!(matches!(problem("disk.img"), ConfigProblem::RootfsKind(_)));
        assert_eq!(problem("missing"), ConfigProblem::MissingRootfs(path("missing")));
        let fresh = Overlay { lowers: vec![dir.path().to_owned()], upper: path("not/yet") };
        assert_eq!(Backing::Overlay(fresh).check(), Ok(()));
    }

    #[test]
    fn options_of_the_runtime_are_told_from_those_of_the_file_system() {
        let options = Options::parse("ro,userxattr,,volatile,idmap=container");
        assert!(options.is_readonly && options.has_user_xattrs && options.idmap == Some(true));
        assert_eq!(options.others, ["volatile"]);
        assert_eq!(Options::parse("ro,rw,defaults"), Options::default());
    }
}
