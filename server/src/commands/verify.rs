//! `rootcellar-server verify`.

use std::collections::BTreeSet;
use std::io;

use clap::Args;
use formats::digest::{FileDigest, Hasher};
use formats::time::Span;
use terminal::{ExitStatus, Progress};

use crate::channel::Channel;
use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::delta::{self, DeltaId, Deltas};
use crate::error::Error;
use crate::store::{BuildId, ObjectsError, Store, StoreError};

/// Read every file of the store and check it against its build record.
///
/// A damaged build is moved to the quarantine and no longer listed; it can be imported again. A damaged delta is removed;
/// `rootcellar-server delta` makes it again.
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
    let deltas = Deltas::read(&context.data)?;
    let (mut count, mut damaged, mut damaged_deltas) = (0, BTreeSet::new(), BTreeSet::new());
    for build in &builds {
        let found = damages_of(&store, build, &progress)?;
        for damage in &found {
            context.printer.data(format_args!("{build}{damage}"));
        }
        count += found.len();
        damaged.extend((!found.is_empty()).then(|| build.clone()));
        for (kind, base, expected) in deltas.of(build) {
            let delta = DeltaId { build: build.clone(), kind, base: base.clone() };
            let damage = damage_of(&store, build, &kind.file_name(base), expected)?;
            progress.advance(expected.size_bytes);
            if let Some(found) = damage {
                context.printer.data(format_args!("{delta}: expected {expected}, found {found}"));
                count += 1;
                damaged_deltas.insert(delta);
            }
        }
    }
    progress.finish_measured();
    context.printer.say(format_args!("builds: {}, damaged files: {count}", builds.len()));
    if damaged.is_empty() && damaged_deltas.is_empty() {
        return Ok(ExitStatus::Done);
    }
    if !args.dry_run {
        set_aside(&store, &damaged, &damaged_deltas, args.validity, context)?;
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
        let found = damage_of(store, build, file.name(), *expected)?;
        progress.advance(expected.size_bytes);
        damages.extend(found.map(|found| format!(" {file}: expected {expected}, found {found}")));
    }
    Ok(damages)
}

/// What was found in the place of a file, if it is another one.
fn damage_of(store: &Store, build: &BuildId, name: &str, expected: FileDigest) -> Result<Option<String>, Error> {
    match digest(store, build, name) {
        Ok(Some(found)) if found == expected => Ok(None),
        Ok(Some(found)) => Ok(Some(found.to_string())),
        Ok(None) => Ok(Some("no file".to_owned())),
        // That a store does not answer says nothing about what it holds.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied || ObjectsError::is_cause_of(&error) => {
            Err(error.into())
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn set_aside(
    store: &Store,
    damaged: &BTreeSet<BuildId>,
    deltas: &BTreeSet<DeltaId>,
    validity: Span,
    context: &Context,
) -> Result<(), Error> {
    let writer = context.data.write(&context.printer)?;
    // First out of the channels: a generation never lists what was moved.
    let deselected = Channel::forget_in_all(&writer, damaged)?;
    delta::discard(&writer, deltas)?;
    delta::forget(&writer, damaged)?;
    if deselected || !deltas.is_empty() {
        publish_now(&writer, validity, context)?;
    }
    for build in damaged {
        if let Some(aside) = store.set_aside(&writer, build)? {
            context.printer.warn(format_args!("{build} is damaged; it is now in `{aside}`, the quarantine"));
        }
    }
    Ok(())
}

fn digest(store: &Store, build: &BuildId, name: &str) -> io::Result<Option<FileDigest>> {
    let Some(mut file) = store.reader(build, name)? else { return Ok(None) };
    let mut hasher = Hasher::default();
    io::copy(&mut file, &mut hasher)?;
    Ok(Some(hasher.finish()))
}
