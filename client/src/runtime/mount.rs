//! `lxc.mount.entry` and `lxc.mount.fstab`: lines in the form of fstab(5), with options of LXC's own.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backing::Backing;
use super::error::ConfigProblem;

/// One mount in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    /// From the root of the container, absolute.
    pub(crate) target: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: Vec<String>,
    /// `optional`: what cannot be done is left out.
    pub(crate) is_optional: bool,
    /// `idmap=container`: owners are shown through the container's map.
    pub(crate) is_idmapped: bool,
}

impl Mount {
    /// One that must be done.
    pub(crate) fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, kind: &str, options: &[&str]) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            kind: kind.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            is_optional: false,
            is_idmapped: false,
        }
    }

    /// Whether it shows a part of the host.
    pub(crate) fn is_bind(&self) -> bool {
        self.kind == "bind"
    }
}

/// Reads the lines and leaves out optional mounts that cannot be done.
pub(crate) fn plan(lines: &[String], rootfs: &Backing) -> Result<Vec<Mount>, ConfigProblem> {
    let mut mounts = Vec::new();
    for line in lines {
        mounts.extend(Line::parse(line, rootfs)?.resolve(rootfs)?);
    }
    Ok(mounts)
}

struct Line {
    mount: Mount,
    creates_target: bool,
}

impl Line {
    fn parse(line: &str, rootfs: &Backing) -> Result<Self, ConfigProblem> {
        let bad =
            |expected| ConfigProblem::Value { key: "lxc.mount.entry".to_owned(), expected, found: line.to_owned() };
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty()).map(unescape);
        let (Some(source), Some(target), Some(kind)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(bad("`SOURCE TARGET TYPE OPTIONS`"));
        };
        let options = fields.next().unwrap_or_else(|| "defaults".to_owned());
        let mut options: Vec<String> = options.split(',').map(str::to_owned).collect();
        let mut take = |wanted: fn(&str) -> bool| {
            let before = options.len();
            options.retain(|option| !wanted(option));
            options.len() < before
        };
        let is_idmapped = take(|option| option == "idmap=container");
        let is_optional = take(|option| option == "optional");
        let creates_target = take(|option| option == "create=dir" || option == "create=file");
        let is_relative = take(|option| option == "relative");
        take(|option| option == "defaults");
        let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
        let source = match rootfs {
            _ if !is_relative => source.into(),
            Backing::Directory(path) => path.join(source.trim_start_matches('/')),
            Backing::Overlay(_) => return Err(bad("a source that is not `relative`: layers have no path together")),
        };
        // A target may be written from the host's root, through the container's rootfs (lxc.container.conf(5)).
        let target = Path::new(&target);
        let target = rootfs.layers().iter().find_map(|layer| target.strip_prefix(layer).ok()).unwrap_or(target);
        if target.components().any(|part| part == Component::ParentDir) {
            return Err(bad("a target without `..`"));
        }
        let target = Path::new("/").join(target);
        let kind = if is_bind { "bind".to_owned() } else { kind };
        Ok(Self { mount: Mount { source, target, kind, options, is_optional, is_idmapped }, creates_target })
    }

    fn resolve(self, rootfs: &Backing) -> Result<Option<Mount>, ConfigProblem> {
        let is_optional = self.mount.is_optional;
        if self.mount.is_bind() && !self.mount.source.exists() {
            return if is_optional { Ok(None) } else { Err(ConfigProblem::MissingMountSource(self.mount.source)) };
        }
        // What is on one of our own file systems appears only when they are mounted; the target is made there.
        let is_ours = OWN.iter().any(|own| self.mount.target.starts_with(own));
        if !self.creates_target && !is_ours && !rootfs.contains(&self.mount.target) {
            return if is_optional { Ok(None) } else { Err(ConfigProblem::MissingMountTarget(self.mount.target)) };
        }
        Ok(Some(self.mount))
    }
}

/// Blanks in a field of fstab(5) are `\040`.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

const OWN: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("srv/data")).unwrap();
        dir
    }

    fn plan_one(line: &str, rootfs: &Path) -> Result<Vec<Mount>, ConfigProblem> {
        plan(&[line.to_owned()], &Backing::Directory(rootfs.to_owned()))
    }

    #[test]
    fn a_bind_mount_keeps_its_own_options_and_loses_those_of_lxc() {
        let root = rootfs();
        let mounts = plan_one("/tmp srv/new\\040dir none bind,ro,create=dir,optional 0 0", root.path()).unwrap();
        assert_eq!(mounts[0].target, Path::new("/srv/new dir"));
        assert_eq!(
            (mounts[0].kind.as_str(), mounts[0].options.as_slice()),
            ("bind", ["bind", "ro"].map(str::to_owned).as_slice())
        );
    }

    #[test]
    fn an_optional_mount_without_source_or_target_is_left_out() {
        let root = rootfs();
        assert_eq!(plan_one("/nowhere/x srv/data none bind,optional", root.path()).unwrap(), []);
        assert_eq!(plan_one("/tmp srv/missing none bind,optional", root.path()).unwrap(), []);
    }

    #[test]
    fn a_mount_without_source_or_target_is_refused() {
        let root = rootfs();
        let source = plan_one("/nowhere/x srv/data none bind", root.path()).unwrap_err();
        assert_eq!(source, ConfigProblem::MissingMountSource("/nowhere/x".into()));
        let target = plan_one("/tmp srv/missing none bind", root.path()).unwrap_err();
        assert_eq!(target, ConfigProblem::MissingMountTarget("/srv/missing".into()));
    }

    #[test]
    fn a_link_in_the_rootfs_leads_to_the_rootfs_and_not_to_the_host() {
        let root = rootfs();
        std::os::unix::fs::symlink("/etc", root.path().join("srv/link")).unwrap();
        assert!(plan_one("/tmp srv/link none bind", root.path()).is_err(), "the host has /etc, the rootfs has not");
        assert!(plan_one("/tmp ../../etc none bind", root.path()).is_err());
    }

    #[test]
    fn a_target_written_through_the_rootfs_is_the_same_target() {
        let root = rootfs();
        let line = format!("tmpfs {}/srv/data tmpfs size=1m", root.path().display());
        let mounts = plan_one(&line, root.path()).unwrap();
        assert_eq!((mounts[0].target.as_path(), mounts[0].kind.as_str()), (Path::new("/srv/data"), "tmpfs"));
    }
}
