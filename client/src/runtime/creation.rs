//! Making a container of an image, for programs.

use std::path::{Path, PathBuf};

use formats::name::Name;
use terminal::{OutputFormat, Printer};

use super::Container;
use crate::commands::{CommandError, SourceArgs, create};
use crate::context::Context;
use crate::directories::{Directories, DirectoryArgs};

/// How to make a container, besides its name and its image. By default as `rootcellar create` makes it.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Begin the container's configuration with this file, in place of LXC's `default.conf`.
    pub config: Option<PathBuf>,
    /// Use what is cached, however old, and do not ask the server.
    pub offline: bool,
    /// Share the tree of the image with other containers, as `rootcellar create --snapshot` does.
    pub snapshot: bool,
    /// Where the image comes from, when that is not the default remote.
    pub source: SourceArgs,
    /// Other directories for configuration, state and cache than those of the environment.
    pub directories: DirectoryArgs,
}

impl Container {
    /// Makes the container `name` in a containers directory, of an image that is found, fetched and verified as
    /// `rootcellar create NAME IMAGE` does it. There must be none of this name.
    pub fn create(containers: &Path, name: &Name, image: &str, options: CreateOptions) -> Result<Self, CommandError> {
        let image = image.parse().map_err(|source| CommandError::NoSuchThing { name: image.to_owned(), source })?;
        let directories = DirectoryArgs { containers: Some(containers.to_owned()), ..options.directories };
        let directories = Directories::choose(directories.or_environment());
        let context = Context { printer: Printer::new(true), format: OutputFormat::default(), directories };
        let args = create::Args {
            name: name.clone(),
            image,
            config: options.config,
            allow_config_key: Vec::new(),
            offline: options.offline,
            snapshot: options.snapshot,
            source: options.source,
        };
        create::run(&args, &context)?;
        Ok(Self::open(containers, name)?)
    }

    /// Whether a containers directory has a container of this name.
    pub fn exists(containers: &Path, name: &Name) -> bool {
        Self::open(containers, name).is_ok()
    }
}
