//! `rootcellar destroy`

use formats::name::Name;
use terminal::ExitStatus;

use crate::commands::stop;
use crate::context::Context;
use crate::runtime::{Container, Error, StopOptions};

/// Delete a container and everything in it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// Kill it first if it runs.
    #[arg(short = 'f', long)]
    pub force: bool,

    /// Delete its snapshots, too.
    #[arg(short = 's', long)]
    pub snapshots: bool,
}

/// Destroys the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    if args.force {
        match container.stop(&StopOptions { kill: true, ..StopOptions::default() }) {
            Ok(stopped) => stop::say(&args.name, stopped, 0, context),
            Err(Error::NotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if args.snapshots {
        container.destroy_with_snapshots()?;
    } else {
        container.destroy()?;
    }
    context.printer.say(format_args!("Destroyed `{}`", args.name));
    Ok(ExitStatus::Done)
}
