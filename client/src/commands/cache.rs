//! `rootcellar cache`

use serde::Serialize;
use terminal::{ExitStatus, Table, human};

use super::CommandError;
use crate::cache::Cache;
use crate::context::Context;
use crate::files::Owner;

/// Look after the image cache.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// List the builds in the cache.
    List,
    /// Remove builds that a newer one replaced, files that no build needs, and interrupted downloads.
    Prune {
        /// Remove everything.
        #[arg(long)]
        all: bool,
    },
    /// Check every file of the cache. Damaged ones are removed, and fetched again when they are needed.
    Verify,
}

#[derive(Serialize)]
struct Row {
    image: String,
    serial: String,
    current: bool,
    size_bytes: u64,
    fetched: String,
    origin: String,
}

/// Does it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    match args.action {
        Action::List => list(context),
        Action::Prune { all } => prune(context, all),
        Action::Verify => verify(context),
    }
}

fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let cache = Cache::open(&context.directories.cache, Owner::SELF)?;
    let rows: Vec<Row> = cache
        .builds()?
        .into_iter()
        .map(|(origin, build, current)| Row {
            image: build.image.to_string(),
            serial: build.build.as_str().to_owned(),
            current,
            size_bytes: build.rootfs.size_bytes + build.metadata.size_bytes,
            fetched: build.fetched.to_string(),
            origin,
        })
        .collect();
    let mut table = Table::new(["IMAGE", "BUILD", "SIZE", "FETCHED", "ORIGIN"]);
    for row in &rows {
        table.row([&row.image, &row.serial, &human::bytes(row.size_bytes), &row.fetched, &row.origin]);
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}

fn prune(context: &Context, all: bool) -> Result<ExitStatus, CommandError> {
    let pruned = Cache::open_alone(&context.directories.cache, Owner::SELF)?.prune(all)?;
    context.printer.say(format_args!(
        "Removed {} builds, {} files, {}",
        human::count(pruned.builds),
        human::count(pruned.files),
        human::bytes(pruned.size_bytes)
    ));
    Ok(ExitStatus::Done)
}

fn verify(context: &Context) -> Result<ExitStatus, CommandError> {
    let checks = Cache::open(&context.directories.cache, Owner::SELF)?.verify()?;
    let mut status = ExitStatus::Done;
    for check in checks {
        let what = format!("{}@{}", check.build.image, check.build.build.as_str());
        if check.sound {
            context.printer.data(format_args!("sound    {what}"));
        } else {
            context.printer.data(format_args!("damaged  {what}"));
            status = ExitStatus::Refused;
        }
    }
    Ok(status)
}
