//! `rootcellar restart`

use std::time::Duration;

use formats::name::Name;
use terminal::ExitStatus;

use crate::commands::stop;
use crate::context::Context;
use crate::runtime::{Container, Error, StartOptions, StopOptions};

/// Stop a container if it runs, and start it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// How many seconds it may take to shut down before it is killed.
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// Restarts the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    match container.stop(&StopOptions { timeout: Duration::from_secs(args.timeout), kill: false }) {
        Ok(stopped) => stop::say(&args.name, stopped, args.timeout, context),
        Err(Error::NotRunning { .. }) => {}
        Err(error) => return Err(error),
    }
    let started = container.start(&StartOptions::default())?;
    for notice in &started.notices {
        context.printer.warn(notice);
    }
    context.printer.say(format_args!("Started `{}` (pid {})", args.name, started.pid));
    Ok(ExitStatus::Done)
}
