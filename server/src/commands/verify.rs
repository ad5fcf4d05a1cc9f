//! `rootcellar-server verify`.

use std::io;

use clap::Args;
use formats::digest::{FileDigest, Hasher};
use fs_err as fs;
use terminal::{ExitStatus, Progress};

use crate::cli::Context;
use crate::error::Error;
use crate::store::{BuildId, Store};

/// Read every file of the store and check it against its build record.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check only these builds, such as `debian/trixie/amd64/default@20261123_0522`.
    #[arg(value_name = "BUILD")]
    builds: Vec<BuildId>,
}

/// Runs `rootcellar-server verify`. Every damaged file is data on stdout.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::new(&context.data);
    let builds = if args.builds.is_empty() { store.builds()? } else { args.builds.clone() };
    let progress = Progress::new(&context.printer, "Checking the store", None);
    let mut damaged = 0;
    for build in &builds {
        let Some(record) = store.record(build)? else {
            context.printer.data(format_args!("{build}: not in the store"));
            damaged += 1;
            continue;
        };
        for (file, expected) in &record.files {
            let found = match digest(&store.directory(build).join(file.name())) {
                Ok(found) if found == *expected => None,
                Ok(found) => Some(found.to_string()),
                Err(error) => Some(error.to_string()),
            };
            progress.advance(expected.size_bytes);
            if let Some(found) = found {
                context.printer.data(format_args!("{build} {file}: expected {expected}, found {found}"));
                damaged += 1;
            }
        }
    }
    progress.finish_measured();
    context.printer.say(format_args!("builds: {}, damaged files: {damaged}", builds.len()));
    Ok(if damaged == 0 { ExitStatus::Done } else { ExitStatus::Refused })
}

fn digest(path: &std::path::Path) -> io::Result<FileDigest> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}
