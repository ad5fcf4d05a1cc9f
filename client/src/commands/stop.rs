//! `rootcellar stop`

use std::time::Duration;

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error, StopOptions, Stopped};

/// Shut a container down; kill it when that takes too long.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// Kill it at once.
    #[arg(short = 'k', long)]
    pub kill: bool,

    /// How many seconds it may take to shut down.
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// Stops the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let options = StopOptions { timeout: Duration::from_secs(args.timeout), kill: args.kill };
    let stopped = container.stop(&options)?;
    say(&args.name, stopped, args.timeout, context);
    Ok(ExitStatus::Done)
}

/// Tells how a container came to its end.
pub(crate) fn say(name: &Name, stopped: Stopped, timeout_seconds: u64, context: &Context) {
    let printer = &context.printer;
    match stopped {
        Stopped::Halted => printer.say(format_args!("Stopped `{name}`")),
        Stopped::Killed => printer.say(format_args!("Killed `{name}`")),
        Stopped::TimedOut => {
            printer.warn(format_args!("`{name}` did not shut down within {timeout_seconds} s and was killed"));
        }
        Stopped::Deaf => {
            printer.say(format_args!("Killed `{name}`: its init takes no signal that could ask it to shut down"));
        }
        Stopped::Cleaned => printer.say(format_args!("`{name}` was dead; cleaned up what it had left behind")),
    }
}
