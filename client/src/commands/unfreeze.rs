//! `rootcellar unfreeze`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error};

/// Let a frozen container go on.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,
}

/// Thaws the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    Container::open(&context.directories.containers, &args.name)?.unfreeze()?;
    context.printer.say(format_args!("`{}` goes on", args.name));
    Ok(ExitStatus::Done)
}
