//! `rootcellar-server verify`.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use clap::Args;
use formats::digest::{FileDigest, Hasher};
use formats::time::Span;
use fs_err as fs;
use terminal::{ExitStatus, Progress};

use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::error::Error;
use crate::quarantine::{deselect, quarantine};
use crate::store::{BuildId, Store, StoreError};

/// Read every file of the store and check it against its build record.
///
/// A damaged build is moved to the quarantine and no longer listed; it can be imported again.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check only these builds, such as `debian/trixie/amd64/default@20261123_0522`.
    #[arg(value_name = "BUILD")]
    builds: Vec<BuildId>,

    /// Only report: leave damaged builds where they are.
    #[arg(long)]
    dry_run: bool,

    /// How long clients may use the generation that no longer lists damaged builds.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// Runs `rootcellar-server verify`. Every damaged file is data on stdout, and any makes the status 1.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::new(&context.data);
    let builds = if args.builds.is_empty() { store.builds()? } else { args.builds.clone() };
    let progress = Progress::new(&context.printer, "Checking the store", None);
    let (mut count, mut damaged) = (0, BTreeSet::new());
    for build in &builds {
        let found = damages_of(&store, build, &progress)?;
        for damage in &found {
            context.printer.data(format_args!("{build}{damage}"));
        }
        count += found.len();
        damaged.extend((!found.is_empty()).then(|| build.clone()));
    }
    progress.finish_measured();
    context.printer.say(format_args!("builds: {}, damaged files: {count}", builds.len()));
    if damaged.is_empty() {
        return Ok(ExitStatus::Done);
    }
    if !args.dry_run {
        set_aside(&damaged, args.validity, context)?;
    }
    Ok(ExitStatus::Refused)
}

/// What is wrong with a build. That we cannot read at all is not the build's fault.
fn damages_of(store: &Store, build: &BuildId, progress: &Progress) -> Result<Vec<String>, Error> {
    let record = match store.record(build) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(vec![": not in the store".to_owned()]),
        Err(StoreError::Io(error)) => return Err(error.into()),
        Err(error) => return Ok(vec![format!(": {error}")]),
    };
    let mut damages = Vec::new();
    for (file, expected) in &record.files {
        let found = match digest(&store.directory(build).join(file.name())) {
            Ok(found) if found == *expected => None,
            Ok(found) => Some(found.to_string()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error.into()),
            Err(error) => Some(error.to_string()),
        };
        progress.advance(expected.size_bytes);
        damages.extend(found.map(|found| format!(" {file}: expected {expected}, found {found}")));
    }
    Ok(damages)
}

fn set_aside(damaged: &BTreeSet<BuildId>, validity: Span, context: &Context) -> Result<(), Error> {
    let writer = context.data.write(&context.printer)?;
    // First out of the channels: a generation never lists what was moved.
    if deselect(&writer, damaged)? {
        publish_now(&writer, validity, context)?;
    }
    for build in damaged {
        if let Some(aside) = quarantine(&writer, build)? {
            context.printer.warn(format_args!("{build} is damaged; it is now in `{}`", aside.display()));
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<FileDigest> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}
