//! `rootcellar start`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error, StartOptions};

/// Start a container, without LXC.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// Stay in the foreground, with the container's console on this terminal, and end as its init ends.
    #[arg(short = 'F', long)]
    pub foreground: bool,

    /// Run this command in place of the container's init.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Starts the container.
pub fn run(args: Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let options = StartOptions { command: args.command };
    if args.foreground {
        return Err(container.start_in_place(&options, |notice| context.printer.warn(notice)));
    }
    let started = container.start(&options)?;
    for notice in &started.notices {
        context.printer.warn(notice);
    }
    context.printer.say(format_args!("Started `{}` (pid {})", args.name, started.pid));
    Ok(ExitStatus::Done)
}
