//! `rootcellar-server publish`.

use clap::Args;
use formats::time::Span;
use terminal::ExitStatus;

use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::error::Error;
use crate::publish::Published;

/// Make what was imported visible: a new generation of all documents, signed, with a validity of its own.
///
/// A running server picks it up within a second.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// How long clients may use this generation.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// Runs `rootcellar-server publish`.
pub fn run(args: &PublishArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let new = publish_now(&writer, args.validity, context)?;
    context.printer.data(new.edition.serial);
    Ok(ExitStatus::Done)
}

/// Says what was published.
pub(super) fn announce(published: &Published, context: &Context) {
    let edition = published.edition;
    let serial = edition.serial;
    context.printer.say(format_args!("Published generation          {serial}, valid until {}", edition.expires));
    for (channel, images, builds) in &published.channels {
        context.printer.say(format_args!("  channel {channel:<20}  images: {images}, builds: {builds}"));
    }
}
