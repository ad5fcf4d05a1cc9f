//! Copies of containers: whole ones, and clones that share what they do not change.
//!
//! A clone is laid out as `lxc-copy -s -B overlayfs` does it, and LXC's own programs start, copy and destroy it:
//!
//! ```text
//! <containers>/base/
//! ├── rootfs/            read-only for the clone
//! └── lxc_snapshots      names the clone: `destroy` refuses
//! <containers>/clone/
//! ├── config             lxc.rootfs.path = overlay:<containers>/base/rootfs:<containers>/clone/overlay/delta
//! ├── lxc_rdepends       names the base
//! ├── overlay/delta      what the clone has changed; a clone of a clone begins with a copy of it
//! ├── overlay/work
//! └── rootfs/            empty
//! ```
//!
//! On btrfs, where a root file system is a subvolume, copies and clones are snapshots of it that need nobody. Whole
//! copies share the data of their files where the file system can (`FICLONE`).
//!
//! A copy is made as `.<name>.new` and appears by a rename. The base learns of its clone before that: a killed copy
//! leaves an entry for a container that is not there, which counts for nothing here.

mod dependents;
mod rewrite;
pub(crate) mod tree;
pub(crate) mod trees;

use std::path::{Path, PathBuf};

use formats::name::Name;

use super::backing::{Backing, Overlay};
use super::error::{Error, failed};
use super::lock::Lock;
use super::mapped::{self, Work};
use super::settings::{Notice, Settings};
use super::{Container, start};
use crate::container::create::CreateError;
use crate::container::staging::Staging;
use crate::files::{self, Owner};
use dependents::Link;
use rewrite::Rewrite;
use trees::{Hostname, Source, Trees};

/// How to copy a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Share what the copy does not change, with an overlay over the original, or as a snapshot of btrfs.
    pub snapshot: bool,
}

/// A container that was made of another.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The copy.
    pub container: Container,
    /// What its configuration asks for and it did not get.
    pub notices: Vec<Notice>,
}

impl Container {
    /// Makes a container of this one, which must not run: with its own name, hardware addresses and paths.
    pub fn copy(&self, name: &Name, options: &CopyOptions) -> Result<Copied, Error> {
        let _lock = Lock::take(self)?;
        self.refuse_if_running()?;
        self.finish_restore()?;
        let containers = self.containers.clone();
        self.copy_into(&containers, name, options.snapshot, Identity::New, &containers.join(name.as_str()))
    }

    /// The containers that need this one, by name: those `destroy` is refused for.
    pub fn clones(&self) -> Result<Vec<String>, Error> {
        dependents::of(&self.directory()).map_err(failed("look for clones of", self.directory()))
    }

    /// Enters a container that is being made in `staging`, and will be `name` in `containers`, as one that needs this
    /// one.
    pub(crate) fn enter_clone(&self, staging: &Path, containers: &Path, name: &Name) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        let base = Link::new(&self.containers, self.name.as_str());
        dependents::write_needs(staging, std::slice::from_ref(&base)).map_err(failed("write to", staging))?;
        dependents::enter(&base, &Link::new(containers, name.as_str())).map_err(failed("write to", base.directory()))
    }

    /// Makes the directory `name` in `parent` of this container, for a container that will be in `place`. Only with
    /// the lock, and when nothing runs.
    pub(crate) fn copy_into(
        &self,
        parent: &Path,
        name: &Name,
        shares: bool,
        identity: Identity,
        place: &Path,
    ) -> Result<Copied, Error> {
        let settings = start::settings(self)?;
        let is_root = rustix::process::geteuid().is_root();
        if !is_root && settings.idmap.is_empty() {
            return Err(Error::NotRoot { name: self.name.to_string() });
        }
        let target = parent.join(name.as_str());
        if target.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { name: name.clone(), directory: target }.into());
        }
        let shape = Shape::of(self, &settings, shares, place)?;
        let staging = Staging::begin(parent, name, &settings.idmap)?;
        self.configure(&settings, &shape, identity, place, name, staging.path())?;
        dependents::write_needs(staging.path(), &shape.needs).map_err(failed("write to", staging.path()))?;
        let root = settings.idmap.root().unwrap_or((0, 0));
        let in_namespace = !is_root;
        let trees = Trees {
            staging: staging.path().to_owned(),
            owner: if in_namespace { (0, 0) } else { root },
            gives_staging: !settings.idmap.is_empty(),
            fresh: shape.fresh,
            copies: shape.copies,
            hostname: (identity == Identity::New).then(|| Hostname {
                name: name.to_string(),
                root: shape.changes,
                lowers: shape.lowers,
            }),
        };
        if in_namespace {
            mapped::run(&self.executable, &settings.idmap, Work::Copy(Box::new(trees)))?;
        } else {
            trees.make()?;
        }
        let clone = Link::new(parent, name.as_str());
        for base in &shape.needs {
            self.with_lock_of(base, || dependents::enter(base, &clone))?;
        }
        staging.publish(&target)?;
        let has_hook = settings.has_clone_hook && identity == Identity::New;
        let notice = Notice { key: "lxc.hook.clone".to_owned(), effect: "it is not run".to_owned() };
        let container = Self { executable: self.executable.clone(), ..Self::open(parent, name)? };
        Ok(Copied { container, notices: has_hook.then_some(notice).into_iter().collect() })
    }

    /// Takes this container, which is being destroyed, out of the lists of those it needed.
    pub(crate) fn leave_bases(&self, needs: &[Link]) -> Result<(), Error> {
        let clone = Link::new(&self.containers, self.name.as_str());
        for base in needs.iter().filter(|base| base.directory().join("config").exists()) {
            self.with_lock_of(base, || dependents::leave(base, &clone))?;
        }
        Ok(())
    }

    /// What this container needs.
    pub(crate) fn needs(&self) -> Result<Vec<Link>, Error> {
        dependents::needed_by(&self.directory()).map_err(failed("read", self.directory()))
    }

    /// The lock of another container; of this one the caller has it.
    fn with_lock_of(&self, base: &Link, work: impl FnOnce() -> std::io::Result<()>) -> Result<(), Error> {
        let directory = base.directory();
        let is_other = directory != self.directory();
        let _lock = is_other.then(|| Lock::take_at(&directory, &base.name)).transpose()?;
        work().map_err(failed("write to", directory))
    }

    /// Writes `config`, and copies the files beside it: `fstab`, hooks and the like.
    fn configure(
        &self,
        settings: &Settings,
        shape: &Shape,
        identity: Identity,
        place: &Path,
        name: &Name,
        staging: &Path,
    ) -> Result<(), Error> {
        let directory = self.directory();
        let mut files = self.files_beside().map_err(failed("read", &directory))?;
        for file in &files {
            let path = staging.join(file);
            std::fs::copy(directory.join(file), &path).map_err(failed("copy to", path))?;
        }
        files.extend(["rootfs", "overlay"].map(str::to_owned));
        let rootfs = shape.backing.to_string();
        let rewrite = Rewrite {
            directories: (&directory, place),
            files: &files,
            rootfs: &rootfs,
            needs_user_xattrs: matches!(shape.backing, Backing::Overlay(_)) && !settings.idmap.is_empty(),
            name: (identity == Identity::New).then_some(name.as_str()),
        };
        let config = directory.join("config");
        let text = std::fs::read_to_string(&config).map_err(failed("read", &config))?;
        let text = rewrite.apply(&text).map_err(failed("choose a hardware address for", staging))?;
        let path = staging.join("config");
        files::write_whole(&path, text.as_bytes(), 0o640, Owner::SELF).map_err(failed("write", path))
    }

    fn files_beside(&self) -> std::io::Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.directory())? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string())
                && !OWN_FILES.contains(&name.as_str())
                && !name.starts_with('.')
            {
                files.push(name);
            }
        }
        Ok(files)
    }
}

/// Whether a copy is another container or another state of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    New,
    Kept,
}

/// What the root file system of a copy is made of.
struct Shape {
    backing: Backing,
    fresh: Vec<String>,
    copies: Vec<(Source, String)>,
    /// Where changes go, and what lies below that.
    changes: String,
    lowers: Vec<PathBuf>,
    /// The containers that must stay as long as the copy.
    needs: Vec<Link>,
}

impl Shape {
    fn of(container: &Container, settings: &Settings, shares: bool, place: &Path) -> Result<Self, Error> {
        let wrong = |problem| Error::Config {
            name: container.name.to_string(),
            file: container.directory().join("config"),
            problem,
        };
        let backing = settings.rootfs.clone().ok_or(super::ConfigProblem::NoRootfs).map_err(wrong)?;
        backing.check().map_err(wrong)?;
        let whole = |source| Self {
            backing: Backing::Directory(place.join("rootfs")),
            fresh: Vec::new(),
            copies: vec![(source, "rootfs".to_owned())],
            changes: "rootfs".to_owned(),
            lowers: Vec::new(),
            needs: Vec::new(),
        };
        let clone = |lowers: Vec<PathBuf>, delta: Option<PathBuf>, needs| {
            let delta = delta.filter(|delta| delta.is_dir());
            let mut fresh = vec!["rootfs", "overlay", "overlay/work"];
            if delta.is_none() {
                fresh.push("overlay/delta");
            }
            Self {
                backing: Backing::Overlay(Overlay::in_container(lowers.clone(), place)),
                fresh: fresh.into_iter().map(str::to_owned).collect(),
                copies: delta.map(|delta| (Source::Directory(delta), "overlay/delta".to_owned())).into_iter().collect(),
                changes: "overlay/delta".to_owned(),
                lowers,
                needs,
            }
        };
        Ok(match (backing, shares) {
            (Backing::Directory(path), false) => whole(Source::Directory(path)),
            (Backing::Directory(path), true) => {
                let directory = std::fs::File::open(&path).map_err(failed("open", &path))?;
                if tree::is_subvolume(&directory).map_err(failed("look at", &path))? {
                    whole(Source::Directory(path))
                } else {
                    let base = Link::new(&container.containers, container.name.as_str());
                    clone(vec![path], None, vec![base])
                }
            }
            (backing @ Backing::Overlay(_), false) => whole(Source::Merged(backing, settings.rootfs_options.clone())),
            (Backing::Overlay(overlay), true) => clone(overlay.lowers, Some(overlay.upper), container.needs()?),
        })
    }
}

/// What belongs to the one container only.
const OWN_FILES: [&str; 6] = ["config", "lxc_snapshots", "lxc_rdepends", "partial", "ts", "comment"];
