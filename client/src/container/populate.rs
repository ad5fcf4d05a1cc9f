//! Filling the root file system of a container with mapped users, in a namespace with its map.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use archive::unpack::UnpackError;
use formats::compat::{CompatLevel, Mode};
use formats::metadata::LxcMetadata;
use serde::{Deserialize, Serialize};
use terminal::ExitStatus;

use super::create::CreateError;
use super::placeholders::Placeholders;
use super::rootfs::RootfsError;
use super::{base, rootfs};
use crate::acquire::{ReadError, Rootfs};
use crate::runtime::error::{Error, failed};
use crate::runtime::executable::Executable;
use crate::runtime::idmap::IdMap;
use crate::runtime::mapped::{self, Work};

/// What to unpack, and where. It is handed to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Populate {
    /// The container's directory while it is made.
    staging: PathBuf,
    metadata: Vec<(String, Vec<u8>)>,
    /// How large the archive is, if that is known.
    tar_bytes: Option<u64>,
    /// The container's name, and where it will be. Without these, placeholders stay.
    identity: Option<(String, PathBuf)>,
    /// Whether the root file system becomes a subvolume of btrfs.
    subvolume: bool,
}

/// What was unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Populated {
    pub(crate) entries: u64,
    pub(crate) devices_skipped: u64,
}

/// Makes and fills `rootfs` in a container's unfinished directory, and gives both to the container's root. The
/// directory's group stays the caller's, who needs what is beside `rootfs`.
///
/// Where both processes failed, what this one met explains what the other one missed, unless it met no more than the end of
/// the other one.
pub(crate) fn populate(
    staging: &Path,
    rootfs: Rootfs<'_>,
    metadata: &LxcMetadata,
    map: &IdMap,
    identity: Option<(String, PathBuf)>,
    subvolume: bool,
) -> Result<Populated, CreateError> {
    let (metadata, tar_bytes) = (metadata.to_members(), rootfs.tar_bytes());
    let work = Populate { staging: staging.to_owned(), metadata, tar_bytes, identity, subvolume };
    let mut fed = Ok(());
    let said = mapped::run_fed(&Executable::default(), map, Work::Populate(Box::new(work)), |mut stdin| {
        fed = rootfs.read(|tar| std::io::copy(tar, &mut stdin).map(drop).map_err(UnpackError::Read));
    });
    match (fed, said) {
        (Err(error), Ok(_)) => Err(RootfsError::of_reading(error, None).into()),
        (Err(error), Err(_)) if !is_end_of_reader(&error) => Err(RootfsError::of_reading(error, None).into()),
        (_, said) => Ok(serde_json::from_str(&said?).map_err(failed("read the report on", staging))?),
    }
}

/// Whether no more is wrong than that nobody reads any more.
fn is_end_of_reader(error: &ReadError) -> bool {
    matches!(error, ReadError::Unpack(UnpackError::Read(error)) if error.kind() == ErrorKind::BrokenPipe)
}

impl Populate {
    /// In the namespace, as its root.
    pub(crate) fn carry_out(self) -> Result<ExitStatus, Error> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let rootfs = base::make_rootfs(&self.staging, self.subvolume).map_err(failed("create", &self.staging))?;
        let archive = rustix::stdio::stdin().try_clone_to_owned().map_err(failed("read", "the archive"))?;
        let archive = Rootfs::plain(archive.into(), self.tar_bytes);
        let metadata = LxcMetadata::from_members(self.metadata).map_err(|error| Error::of_data(&error))?;
        let placeholders = self
            .identity
            .as_ref()
            .map(|(name, directory)| Placeholders::new(name, directory, &directory.join("rootfs")));
        let level = (Mode::User, CompatLevel::NEWEST);
        let summary = rootfs::populate(&rootfs, archive, &metadata, level, placeholders.as_ref())?;
        chown(&self.staging, Some(0), None).map_err(failed("give away", &self.staging))?;
        std::fs::set_permissions(&self.staging, std::fs::Permissions::from_mode(0o770))
            .map_err(failed("give away", &self.staging))?;
        let populated = Populated { entries: summary.entries, devices_skipped: summary.devices_skipped };
        let report = serde_json::to_vec(&populated).unwrap_or_default();
        std::io::stdout().write_all(&report).map_err(failed("write", "the report"))?;
        Ok(ExitStatus::Done)
    }
}
