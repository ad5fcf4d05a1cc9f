//! `rootcellar-server rollback`.

use std::collections::BTreeSet;

use clap::Args;
use formats::name::Name;
use formats::time::Span;
use terminal::ExitStatus;

use crate::channel::Channel;
use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::error::Error;
use crate::store::{RECORD, Store};

/// Go back to the selection a channel had before its last change, and publish that at once.
///
/// Each call goes one change further back.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    channel: Name,

    /// How long clients may use the new generation.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// Runs `rootcellar-server rollback`.
pub fn run(args: &RollbackArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let mut channel = Channel::read(&writer, &args.channel)?;
    let undone = channel.roll_back()?;
    let store = Store::new(&writer);
    let mut gone = BTreeSet::new();
    for build in &undone.removed {
        gone.extend(store.read(build, RECORD, 0)?.is_none().then(|| build.clone()));
    }
    channel.forget(&gone);
    channel.write(&writer)?;
    context.printer.say(format_args!("{:<30}channel {} as before {}", "Rolled back", channel.name, undone.published));
    for build in &undone.added {
        context.printer.say(format_args!("{:<30}{build}", "No longer offered"));
    }
    for build in undone.removed.difference(&gone) {
        context.printer.say(format_args!("{:<30}{build}", "Offered again"));
    }
    for build in &gone {
        context.printer.warn(format_args!("{build} was offered then, and is not in the store any longer"));
    }
    publish_now(&writer, args.validity, context)?;
    Ok(ExitStatus::Done)
}
