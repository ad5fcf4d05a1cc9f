//! `rootcellar restore`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error};

/// Go back to a snapshot of a container, or make another container of it.
///
/// Without NEW the container, which must not run, loses what it has become since.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// The snapshot, e.g. `snap0`.
    pub snapshot: Name,

    /// The name of a container to make of it.
    pub new: Option<Name>,
}

/// Restores the snapshot.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let Some(new) = &args.new else {
        container.restore(&args.snapshot)?;
        context.printer.say(format_args!("Restored `{}` as it was in `{}`", args.name, args.snapshot));
        return Ok(ExitStatus::Done);
    };
    for notice in container.restore_as(&args.snapshot, new)?.notices {
        context.printer.warn(&notice);
    }
    context.printer.say(format_args!("Made `{new}` of snapshot `{}` of `{}`", args.snapshot, args.name));
    Ok(ExitStatus::Done)
}
