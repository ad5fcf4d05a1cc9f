//! `rootcellar info`

mod container;
mod image;

use formats::name::Name;
use terminal::ExitStatus;

use super::{CommandError, ImageSpec, SourceArgs};
use crate::context::Context;
use crate::runtime::{self, Container};

/// Show one container, or one image and its builds.
///
/// A container when there is one of that name, an image otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container, e.g. `web1`; or the image, e.g. `debian/bookworm`, `home:debian/12/arm64/cloud`.
    #[arg(value_name = "CONTAINER|IMAGE")]
    pub thing: String,

    /// Take the name for a container's.
    #[arg(long)]
    pub container: bool,

    /// Take the name for an image's.
    #[arg(long, conflicts_with = "container")]
    pub image: bool,

    #[command(flatten)]
    source: SourceArgs,
}

/// Shows it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let name = args.thing.parse::<Name>().ok().filter(|_| !args.image);
    let found = name.as_ref().map(|name| Container::open(&context.directories.containers, name));
    match found {
        Some(Ok(found)) => return Ok(container::show(&found, context)),
        Some(Err(runtime::Error::Unknown { .. })) if !args.container => {}
        Some(Err(error)) => return Err(error.into()),
        None if args.container => {
            let containers = context.directories.containers.clone();
            return Err(runtime::Error::Unknown { name: args.thing.clone(), containers }.into());
        }
        None => {}
    }
    let wanted: ImageSpec =
        args.thing.parse().map_err(|source| CommandError::NoSuchThing { name: args.thing.clone(), source })?;
    image::show(&wanted, &args.source, context).map_err(|error| match name {
        Some(name) => CommandError::NeitherContainerNorImage { name, source: Box::new(error) },
        None => error,
    })
}
