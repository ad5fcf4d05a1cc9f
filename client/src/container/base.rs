//! Trees of images that containers share, so that a new one is there in no time.
//!
//! ```text
//! <containers>/.rootcellar/v1/
//! ├── lock                 held while a base is made
//! └── b0123456789abcdef/   one image for one kind of container and one map of ids; like a container nobody else enters it
//!     ├── config           makes it a container of its own for LXC's programs and ours: who needs it is in the usual lists
//!     ├── base.json        which build it is
//!     ├── rootfs/          as the image has it, placeholders and all; on btrfs a subvolume
//!     └── lxc_snapshots    the containers that stand on it
//! ```
//!
//! A base is unpacked from verified bytes, appears whole and is never changed: containers have an overlay over it, or on
//! btrfs a snapshot of it, which then needs it no longer. It stands beside the containers because file systems share within
//! themselves only. Its files are not checked against digests again, as those of a container are not.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use formats::compat::Mode;
use formats::digest::Sha256;
use formats::name::Name;
use fs_err as fs;
use rustix::fs::fstatfs;
use serde::{Deserialize, Serialize};

use super::create::CreateError;
use super::staging::Staging;
use crate::acquire::Acquired;
use crate::cache::CachedBuild;
use crate::checkpoint::checkpoint;
use crate::files::{self, Lock, Owner};
use crate::runtime::copying::tree;
use crate::runtime::{self, Container, IdMap, sys};

/// The bases beside the containers of a directory, for one kind of container.
#[derive(Debug)]
pub struct Bases<'a> {
    /// Absolute, and it exists.
    directory: PathBuf,
    mode: Mode,
    map: &'a IdMap,
    sharing: Sharing,
}

/// How a container shares the tree of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// As a snapshot of a subvolume of btrfs: nothing the one does can be seen in the other.
    Snapshot,
    /// As the lower layer of an overlay: the base must stay.
    Overlay,
}

/// What a base says about itself.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// `debian/trixie/amd64/default@20261123_0522`.
    build: String,
    /// The sha256 of the rootfs as the server has it.
    rootfs: Sha256,
}

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunedBases {
    /// Bases that were removed.
    pub removed: u64,
    /// Bases that containers stand on.
    pub needed: u64,
}

impl<'a> Bases<'a> {
    /// The bases beside these containers: when they are `wanted`, and on btrfs for root anyway, where nothing is shared
    /// that could be noticed.
    pub fn choose(containers: &Path, mode: Mode, map: &'a IdMap, wanted: bool) -> Result<Option<Self>, CreateError> {
        let containers = std::path::absolute(containers).map_err(CreateError::Storage)?;
        fs::create_dir_all(&containers).map_err(CreateError::Storage)?;
        let file = File::open(&containers).map_err(CreateError::Storage)?;
        let is_btrfs = fstatfs(&file).is_ok_and(|about| about.f_type == tree::BTRFS_MAGIC);
        let is_root = rustix::process::geteuid().is_root();
        if !(wanted || is_btrfs && is_root) {
            return Ok(None);
        }
        let sharing = if is_btrfs && is_root { Sharing::Snapshot } else { Sharing::Overlay };
        Ok(Some(Self { directory: containers.join(DIRECTORY), mode, map, sharing }))
    }

    /// How containers share these.
    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Whether a build has a base, so that nothing needs to be unpacked for a container.
    pub fn has(&self, build: &CachedBuild) -> bool {
        self.name(build).is_some_and(|name| self.directory.join(name.as_str()).join("config").is_file())
    }

    /// The base of an image. It is made unless it is there. `waiting` is called while somebody makes one.
    pub(crate) fn ensure(
        &self,
        image: Acquired<'_>,
        waiting: impl FnOnce(),
        unpack: impl FnOnce(Acquired<'_>, &Path, bool) -> Result<(), CreateError>,
    ) -> Result<Container, CreateError> {
        let name =
            self.name(&image.build).ok_or_else(|| CreateError::Storage(io::ErrorKind::InvalidFilename.into()))?;
        self.make_directory().map_err(CreateError::Storage)?;
        let _lock =
            Lock::exclusive(&self.directory.join("lock"), Owner::SELF, waiting).map_err(CreateError::Storage)?;
        if !self.has(&image.build) {
            let staging = Staging::begin(&self.directory, &name, self.map)?;
            let build = format!("{}@{}", image.build.image, image.build.build.as_str());
            let record = Record { build, rootfs: image.build.rootfs.sha256 };
            unpack(image, staging.path(), self.sharing == Sharing::Snapshot)?;
            let place = self.directory.join(name.as_str());
            let config = format!("lxc.rootfs.path = dir:{}\n{}", place.join("rootfs").display(), self.map.to_config());
            let json = serde_json::to_vec(&record).map_err(io::Error::from).map_err(CreateError::Storage)?;
            for (file, content) in [("base.json", json), ("config", config.into_bytes())] {
                files::write_whole(&staging.path().join(file), &content, 0o640, Owner::SELF)
                    .map_err(CreateError::Storage)?;
            }
            checkpoint("create:base");
            staging.publish(&place)?;
        }
        Ok(Container::open(&self.directory, &name)?)
    }

    /// One tree for each build, edition of the metadata, and map of ids.
    fn name(&self, build: &CachedBuild) -> Option<Name> {
        let identity = format!(
            "{}\n{}\n{:?}\n{:?}\n{}",
            build.rootfs.sha256,
            build.metadata.sha256,
            self.mode,
            self.sharing,
            self.map.to_config()
        );
        format!("b{}", &Sha256::of(identity.as_bytes()).to_string()[..16]).parse().ok()
    }

    /// Everybody may pass through, as the root of a user namespace must; nobody may look around.
    fn make_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        let above = self.directory.parent().unwrap_or(Path::new("/"));
        for directory in [above, &self.directory] {
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711))?;
                }
            }
        }
        Ok(())
    }
}

/// Removes the bases beside these containers that no container stands on, but for those of the builds in `current`.
pub fn prune(containers: &Path, current: &[Sha256]) -> Result<PrunedBases, runtime::Error> {
    let mut pruned = PrunedBases::default();
    for base in runtime::list(&containers.join(DIRECTORY))? {
        let record: Option<Record> =
            std::fs::read(base.directory().join("base.json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if record.is_some_and(|record| current.contains(&record.rootfs)) {
            continue;
        }
        match base.destroy() {
            Ok(()) => pruned.removed += 1,
            Err(runtime::Error::HasClones { .. }) => pruned.needed += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(pruned)
}

/// Makes the directory of a root file system.
pub(crate) fn make_rootfs(staging: &Path, as_subvolume: bool) -> io::Result<PathBuf> {
    let rootfs = staging.join("rootfs");
    if as_subvolume {
        sys::create_subvolume(File::open(staging)?, &CString::from(c"rootfs"))?;
        fs::set_permissions(&rootfs, std::fs::Permissions::from_mode(0o755))?;
    } else {
        fs::create_dir(&rootfs)?;
    }
    Ok(rootfs)
}

const DIRECTORY: &str = ".rootcellar/v1";
