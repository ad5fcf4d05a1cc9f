//! `rootcellar logs`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error};

/// Show what a container has written to its console since it was started.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,
}

/// Shows the log. Control characters, which could play tricks with the terminal, are left out.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    for line in container.console_log()?.lines() {
        context.printer.data(terminal::plain(line));
    }
    Ok(ExitStatus::Done)
}
