//! A new container directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use formats::compat::{CompatLevel, Mode};
use formats::metadata::{LxcMetadata, MemberKind};
use formats::name::Name;
use terminal::human;

use super::base::{self, Bases, Sharing};
use super::compose::{Parts, compose};
use super::overlie::{self, Overlie};
use super::placeholders::Placeholders;
use super::policy::{self, PolicyError};
use super::populate;
use super::rootfs::{self, RootfsError};
use super::staging::Staging;
use crate::acquire::Acquired;
use crate::cache::CachedBuild;
use crate::caller::Caller;
use crate::checkpoint::checkpoint;
use crate::files::{self, Owner};
use crate::narrator::Narrator;
use crate::runtime::backing::Backing;
use crate::runtime::{self, IdMap};

/// What a container is made of, besides its image.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where containers are.
    pub containers: &'a Path,
    /// Its name.
    pub name: &'a Name,
    /// The user's configuration for new containers.
    pub defaults: &'a str,
    /// Keys that the image may set although they are not harmless.
    pub allowed: &'a [String],
    /// Which editions of the LXC metadata apply.
    pub mode: Mode,
    /// The ids of its users on the host, if it has a user namespace.
    pub map: &'a IdMap,
    /// The trees that it may share.
    pub bases: Option<&'a Bases<'a>>,
    /// Who is told.
    pub narrator: &'a Narrator,
}

impl Plan<'_> {
    /// Makes the container:
    ///
    /// ```text
    /// <containers>/<name>/
    /// ├── config      what LXC and the embedded runtime read
    /// ├── fstab       if the image has one
    /// ├── rootfs/
    /// └── overlay/    what it changes, where it shares the tree of a base
    /// ```
    ///
    /// It is made as `.<name>.new`, which LXC does not list, and appears by a rename. What a killed process left
    /// there is replaced by the next create of this name.
    pub fn carry_out(&self, image: Acquired<'_>) -> Result<PathBuf, CreateError> {
        let directory = self.directory()?;
        let staging = Staging::begin(self.containers, self.name, self.map)?;
        checkpoint("create:staged");
        let placeholders = Placeholders::new(self.name.as_str(), &directory, &directory.join("rootfs"));
        if let Some(bases) = self.bases {
            self.share(bases, image, &directory, staging.path(), &placeholders)?;
            staging.publish(&directory)?;
            return Ok(directory);
        }
        let backing = Backing::Directory(directory.join("rootfs"));
        self.configure((&image.build, &image.metadata), &backing, &directory, staging.path(), &placeholders)?;
        checkpoint("create:configured");
        let began = Instant::now();
        let (entries, devices_skipped) = self.populate(image, &directory, staging.path(), &placeholders)?;
        self.narrator.unpacked(entries, began.elapsed());
        checkpoint("create:filled");
        if devices_skipped > 0 {
            tracing::info!("{} devices were left out", human::count(devices_skipped));
        }
        staging.publish(&directory)?;
        tracing::info!("created `{}`", directory.display());
        Ok(directory)
    }

    /// Unpacks the root file system: here, or where the ids of its users are those of the image.
    fn populate(
        &self,
        image: Acquired<'_>,
        directory: &Path,
        staging: &Path,
        placeholders: &Placeholders,
    ) -> Result<(u64, u64), CreateError> {
        if !self.map.is_empty() {
            let identity = Some((self.name.to_string(), directory.to_owned()));
            let populated = populate::populate(staging, image.rootfs, &image.metadata, self.map, identity, false)?;
            return Ok((populated.entries, populated.devices_skipped));
        }
        let rootfs = base::make_rootfs(staging, false).map_err(CreateError::Storage)?;
        let level = (self.mode, CompatLevel::NEWEST);
        let summary = rootfs::populate(&rootfs, image.rootfs, &image.metadata, level, Some(placeholders))?;
        Ok((summary.entries, summary.devices_skipped))
    }

    /// Lets the container stand on the base of its image, which is unpacked if it is the first.
    fn share(
        &self,
        bases: &Bases<'_>,
        image: Acquired<'_>,
        directory: &Path,
        staging: &Path,
        placeholders: &Placeholders,
    ) -> Result<(), CreateError> {
        let (build, metadata) = (image.build.clone(), image.metadata.clone());
        // The configuration is accepted before anything is unpacked, and written when it is known what it stands on.
        self.check(&metadata, placeholders)?;
        let waiting = || self.narrator.waiting("unpacks an image to be shared");
        let base = bases.ensure(image, waiting, |image, staging, as_subvolume| {
            let began = Instant::now();
            let entries = if self.map.is_empty() {
                let rootfs = base::make_rootfs(staging, as_subvolume).map_err(CreateError::Storage)?;
                let level = (self.mode, CompatLevel::NEWEST);
                rootfs::populate(&rootfs, image.rootfs, &image.metadata, level, None)?.entries
            } else {
                populate::populate(staging, image.rootfs, &image.metadata, self.map, None, as_subvolume)?.entries
            };
            self.narrator.unpacked(entries, began.elapsed());
            Ok(())
        })?;
        let tree = base.directory().join("rootfs");
        let backing = overlie::backing(bases.sharing(), &tree, directory);
        self.configure((&build, &metadata), &backing, directory, staging, placeholders)?;
        let work = Overlie {
            staging: staging.to_owned(),
            base: tree,
            is_snapshot: bases.sharing() == Sharing::Snapshot,
            metadata: metadata.to_members(),
            is_mapped: !self.map.is_empty(),
            name: self.name.to_string(),
            directory: directory.to_owned(),
        };
        work.make(self.map, self.mode).map_err(CreateError::Share)?;
        if bases.sharing() == Sharing::Overlay {
            let containers = directory.parent().unwrap_or(Path::new("/"));
            base.enter_clone(staging, containers, self.name)?;
        }
        Ok(())
    }

    /// The container's directory, as an absolute path. It must not exist.
    pub fn directory(&self) -> Result<PathBuf, CreateError> {
        let containers = std::path::absolute(self.containers).map_err(CreateError::Storage)?;
        let directory = containers.join(self.name.as_str());
        if directory.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { name: self.name.clone(), directory });
        }
        Ok(directory)
    }

    /// The image's part of `config`, and its `fstab`, if both are harmless.
    fn check(
        &self,
        metadata: &LxcMetadata,
        placeholders: &Placeholders,
    ) -> Result<(String, Option<String>), CreateError> {
        let relevant = |kind| metadata.relevant(kind, self.mode, CompatLevel::NEWEST);
        let config = relevant(MemberKind::Config).ok_or(CreateError::NoConfig)?;
        let distribution = placeholders.replace_str(config);
        policy::check_config(&distribution, self.allowed)?;
        let fstab = relevant(MemberKind::Fstab).map(|fstab| placeholders.replace_str(fstab));
        if let Some(fstab) = &fstab {
            policy::check_fstab(fstab, self.allowed)?;
        }
        Ok((distribution, fstab))
    }

    /// Writes `config` and `fstab`. Nothing of the image is unpacked before its configuration was accepted.
    fn configure(
        &self,
        (build, metadata): (&CachedBuild, &LxcMetadata),
        backing: &Backing,
        directory: &Path,
        staging: &Path,
        placeholders: &Placeholders,
    ) -> Result<(), CreateError> {
        let (distribution, fstab) = self.check(metadata, placeholders)?;
        if let Some(fstab) = &fstab {
            let path = staging.join("fstab");
            files::write_whole(&path, fstab.as_bytes(), 0o644, Owner::SELF).map_err(CreateError::Storage)?;
        }
        let newline = if self.defaults.is_empty() || self.defaults.ends_with('\n') { "" } else { "\n" };
        let needs_user_xattrs = matches!(backing, Backing::Overlay(_)) && !self.map.is_empty();
        let existing = format!(
            "# Created by rootcellar from `{}`, build {}\n# For options see lxc.container.conf(5)\n{}{newline}\
             lxc.rootfs.path = {backing}\n{}",
            build.image,
            build.build.as_str(),
            self.defaults,
            if needs_user_xattrs { "lxc.rootfs.options = userxattr\n" } else { "" },
        );
        let fstab = fstab.map(|_| directory.join("fstab"));
        let text = compose(Parts {
            existing: &existing,
            distribution: &distribution,
            fstab: fstab.as_deref(),
            name: self.name.as_str(),
        });
        let path = staging.join("config");
        files::write_whole(&path, text.as_bytes(), 0o640, Owner::SELF).map_err(CreateError::Storage)
    }
}

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one of this name.
    #[error("container `{name}` already exists in `{}`", directory.parent().unwrap_or(directory).display())]
    Exists {
        /// The name.
        name: Name,
        /// Its directory.
        directory: PathBuf,
    },
    /// Somebody else is making it.
    #[error("container `{name}` is being created by another process")]
    Busy {
        /// The name.
        name: Name,
    },
    /// What the image wants to configure is refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The image has no configuration.
    #[error("the image's metadata has no `config` for this kind of container")]
    NoConfig,
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// Work as one of the container's users.
    #[error(transparent)]
    Mapped(#[from] runtime::Error),
    /// The tree of the image cannot be shared.
    #[error("cannot share the tree of the image")]
    Share(#[source] runtime::Error),
    /// The container directory cannot be written.
    #[error("cannot write the container directory")]
    Storage(#[source] io::Error),
}

impl CreateError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { name, .. } => Some(format!("choose another name, or `rootcellar destroy {name}`")),
            Self::Policy(error) => error.hint(),
            Self::Rootfs(error) => error.hint(Caller::OfflineCommand),
            Self::Storage(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("`-P DIR` names another place for containers".to_owned())
            }
            Self::Storage(error) if rootfs::is_full(error) => Some(rootfs::room(None)),
            Self::Mapped(error) => terminal::Advice::hint(error),
            Self::Share(_) => Some("without `--snapshot` the container gets files of its own".to_owned()),
            Self::Busy { .. } | Self::NoConfig | Self::Storage(_) => None,
        }
    }

    /// Whether this machine failed, and not the data or the input.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Rootfs(error) => error.is_failure(),
            Self::Storage(_) => true,
            Self::Mapped(error) | Self::Share(error) => !matches!(error, runtime::Error::Mapped { is_data: true, .. }),
            Self::Exists { .. } | Self::Busy { .. } | Self::Policy(_) | Self::NoConfig => false,
        }
    }
}
