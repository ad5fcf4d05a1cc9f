//! `rootcellar-server import`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use formats::name::Name;
use terminal::{ExitStatus, human};

use crate::channel::Channel;
use crate::cli::Context;
use crate::commands::{delta, keys_for};
use crate::data::Writer;
use crate::error::Error;
use crate::import::{ImportError, Imported, import};
use crate::keys::Keys;
use crate::store::{BuildId, Store};

/// Check build directories and bring them into the store.
///
/// Every file is checked against the build record. A build that is in the store is never replaced. Clients see the
/// builds after the next publish.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A build directory, with `build.json` in it.
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,

    /// Offer the builds in this channel.
    #[arg(long, default_value = Channel::STABLE)]
    channel: Name,

    /// Make no deltas: `rootcellar-server delta` does it later.
    #[arg(long)]
    no_delta: bool,
}

/// Runs `rootcellar-server import`. One bad build does not keep the others out; the status is that of the worst.
pub fn run(args: &ImportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let keys = keys_for(&writer, context)?;
    let (mut status, mut imported) = (ExitStatus::Done, BTreeSet::new());
    for directory in &args.directories {
        match import_one(&writer, &keys, directory, &args.channel, context) {
            Ok(build) => {
                imported.insert(build);
            }
            Err(OneError::Import(error)) => {
                context.printer.error(&Failed { directory, error: &error }, error.hint().as_deref());
                status = match (status, error.is_refusal()) {
                    (ExitStatus::Failed, _) | (_, false) => ExitStatus::Failed,
                    (_, true) => ExitStatus::Refused,
                };
            }
            Err(OneError::Other(error)) => return Err(error),
        }
    }
    drop(writer);
    if !args.no_delta {
        delta::make_for(&imported, context)?;
    }
    Ok(status)
}

fn import_one(
    writer: &Writer,
    keys: &Keys,
    directory: &Path,
    channel: &Name,
    context: &Context,
) -> Result<BuildId, OneError> {
    let imported = import(writer, keys, directory, context.now())?;
    let (Imported::New(build) | Imported::Known(build)) = &imported;
    let selected = Channel::offer(writer, channel, build).map_err(Error::from)?;
    let size = size(writer, build)?;
    let new = match (&imported, selected) {
        (Imported::New(_), _) => "Imported",
        (Imported::Known(_), true) => "Already there, now also offered",
        (Imported::Known(_), false) => "Already there",
    };
    context.printer.say(format_args!("{new:<30}{build}  {}  channel {channel}", human::bytes(size)));
    context.printer.data(build);
    Ok(build.clone())
}

fn size(writer: &Writer, build: &BuildId) -> Result<u64, Error> {
    let record = Store::new(writer).record(build)?;
    Ok(record.iter().flat_map(|record| record.files.values()).map(|file| file.size_bytes).sum())
}

enum OneError {
    Import(ImportError),
    Other(Error),
}

impl From<ImportError> for OneError {
    fn from(error: ImportError) -> Self {
        Self::Import(error)
    }
}

impl From<Error> for OneError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

#[derive(Debug)]
struct Failed<'a> {
    directory: &'a Path,
    error: &'a ImportError,
}

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` was not imported: {}", self.directory.display(), self.error)
    }
}

impl std::error::Error for Failed<'_> {
    /// The cause of the error is told with it, so what is behind is what comes next.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.error)
    }
}
