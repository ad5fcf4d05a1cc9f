//! The root file system of a container over a base: see [`super::base`].

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use archive::beneath::RootDir;
use formats::compat::{CompatLevel, Mode};
use formats::metadata::LxcMetadata;
use serde::{Deserialize, Serialize};

use super::base::Sharing;
use super::placeholders::Placeholders;
use super::rootfs;
use crate::runtime::IdMap;
use crate::runtime::backing::{Backing, Options, Overlay};
use crate::runtime::copying::tree;
use crate::runtime::error::{Error, failed};
use crate::runtime::executable::Executable;
use crate::runtime::mapped::{self, Work};

/// What to make, and where. It may be handed to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Overlie {
    /// The container's directory while it is made.
    pub(crate) staging: PathBuf,
    /// The tree of the base.
    pub(crate) base: PathBuf,
    pub(crate) is_snapshot: bool,
    pub(crate) metadata: Vec<(String, Vec<u8>)>,
    pub(crate) is_mapped: bool,
    pub(crate) name: String,
    /// Where the container will be.
    pub(crate) directory: PathBuf,
}

/// What `lxc.rootfs.path` of such a container is.
pub(crate) fn backing(sharing: Sharing, base: &Path, directory: &Path) -> Backing {
    match sharing {
        Sharing::Snapshot => Backing::Directory(directory.join("rootfs")),
        Sharing::Overlay => Backing::Overlay(Overlay::in_container(vec![base.to_owned()], directory)),
    }
}

impl Overlie {
    /// Makes it, as who may.
    pub(crate) fn make(self, map: &IdMap, mode: Mode) -> Result<(), Error> {
        if map.is_empty() {
            return self.carry_out(mode);
        }
        mapped::run(&Executable::default(), map, Work::Overlie(Box::new(self))).map(drop)
    }

    /// In the namespace with the container's map, as its root.
    pub(crate) fn carry_out_mapped(&self) -> Result<(), Error> {
        self.carry_out(Mode::User)?;
        chown(&self.staging, Some(0), None).map_err(failed("give away", &self.staging))?;
        std::fs::set_permissions(&self.staging, std::fs::Permissions::from_mode(0o770))
            .map_err(failed("give away", &self.staging))
    }

    fn carry_out(&self, mode: Mode) -> Result<(), Error> {
        let metadata = LxcMetadata::from_members(self.metadata.clone()).map_err(|error| Error::of_data(&error))?;
        let placeholders = Placeholders::new(&self.name, &self.directory, &self.directory.join("rootfs"));
        let fill = |root: &Path| -> Result<(), Error> {
            let root = RootDir::open(root).map_err(failed("open", root))?;
            Ok(rootfs::fill(&root, &metadata, (mode, CompatLevel::NEWEST), &placeholders)?)
        };
        if self.is_snapshot {
            tree::copy(&self.base, &self.staging, "rootfs").map_err(failed("copy", &self.base))?;
            return fill(&self.staging.join("rootfs"));
        }
        let overlay = self.staging.join("overlay");
        let delta = overlay.join("delta");
        for directory in [&self.staging.join("rootfs"), &overlay, &delta] {
            std::fs::create_dir(directory).map_err(failed("create", directory))?;
        }
        let open = |path: &Path| File::open(path).map_err(failed("open", path));
        // The uppermost directory shows as the root of the container.
        tree::adopt(open(&self.base)?.as_fd(), open(&delta)?.as_fd()).map_err(failed("write to", &delta))?;
        let layers = Backing::Overlay(Overlay { lowers: vec![self.base.clone()], upper: delta });
        let options = Options { has_user_xattrs: self.is_mapped, ..Options::default() };
        // Mounted where nobody sees it, so that the kernel copies what is changed with all that belongs to it.
        let mount = layers.hold()?.into_mount(&options)?;
        fill(&PathBuf::from(format!("/proc/self/fd/{}/.", mount.as_raw_fd())))
    }
}
