//! `rootcellar copy`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, CopyOptions, Error};

/// Make a container of another, which must not run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// The name of the copy.
    pub new: Name,

    /// Share what the copy does not change with the original, which then cannot be destroyed before it.
    #[arg(short = 's', long)]
    pub snapshot: bool,
}

/// Copies the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let copied = container.copy(&args.new, &CopyOptions { snapshot: args.snapshot })?;
    for notice in &copied.notices {
        context.printer.warn(notice);
    }
    context.printer.say(format_args!("Copied `{}` to `{}`", args.name, args.new));
    Ok(ExitStatus::Done)
}
