//! `rootcellar freeze`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error};

/// Let every process of a container hold still.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,
}

/// Freezes the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    Container::open(&context.directories.containers, &args.name)?.freeze()?;
    context.printer.say(format_args!("Froze `{}`", args.name));
    Ok(ExitStatus::Done)
}
