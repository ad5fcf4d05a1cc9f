//! `rootcellar-server export`.

use std::path::PathBuf;

use clap::Args;
use formats::time::Span;
use terminal::ExitStatus;

use crate::cli::Context;
use crate::error::Error;
use crate::export::Export;
use crate::retention::Retention;

/// Write what is published into a directory, as plain files for nginx or a content delivery network.
///
/// Only what is new is written. Files appear whole, and indexes after what they name, so the directory can be served
/// meanwhile. What nothing names any more stays for the grace.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory; it is made if it is not there.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Copy the files of builds; by default they are hard links where that is possible.
    #[arg(long)]
    copy: bool,

    /// How long a file stays after nothing names it any more.
    #[arg(long, value_name = "SPAN", default_value_t = Retention::GRACE, env = "ROOTCELLAR_SERVER_GRACE")]
    grace: Span,
}

/// Runs `rootcellar-server export`. The repository serial is data on stdout.
pub fn run(args: &ExportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let export = Export::open(&args.directory, args.copy)?;
    let done = export.update(&context.data, args.grace, context.now())?;
    context.printer.say(format_args!(
        "Exported generation           {}: files written: {}, unchanged: {}, removed: {}, kept for now: {}",
        done.serial, done.written, done.unchanged, done.removed, done.waiting
    ));
    context.printer.data(done.serial);
    Ok(ExitStatus::Done)
}
