//! `rootcellar cache`

mod warm;

use serde::Serialize;
use terminal::{ExitStatus, OutputFormat, Table, human};

use super::CommandError;
use crate::cache::{Cache, Check, Kept};
use crate::container::base;
use crate::context::Context;
use crate::files::Owner;
use crate::narrator;

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
    /// Bring images up to date and decode them, so that the next creates only copy. Prints their ids and serials. One that
    /// fails is told, and the others are done all the same.
    Warm(warm::Args),
}

#[derive(Serialize)]
struct Row {
    image: String,
    serial: String,
    current: bool,
    /// How many bytes of it are in the cache, decoded ones included.
    size_bytes: u64,
    fetched: String,
    /// Until when the server is not asked for a newer one; only for the current build.
    fresh_until: Option<String>,
    server: Option<String>,
    /// The name of its directory in the cache.
    origin: String,
}

/// What a check found.
#[derive(Serialize)]
struct Verdict {
    image: String,
    serial: String,
    sound: bool,
}

/// Does it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    match &args.action {
        Action::List => list(context),
        Action::Prune { all } => prune(context, *all),
        Action::Verify => verify(context),
        Action::Warm(args) => warm::run(args, context),
    }
}

fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let cache = context.cache()?;
    let mut table = Table::new(["IMAGE", "BUILD", "CURRENT", "SIZE", "FETCHED", "FRESH UNTIL", "SERVER"]);
    let mut rows = Vec::new();
    for Kept { origin, server, build, fresh_until, size_bytes } in cache.builds()? {
        let image = build.image.to_string();
        table.row([
            image.as_str(),
            build.build.as_str(),
            if fresh_until.is_some() { "yes" } else { "no" },
            &human::bytes(size_bytes),
            &build.fetched.to_string(),
            &fresh_until.map_or_else(|| "-".to_owned(), |until| until.to_string()),
            server.as_deref().unwrap_or(&origin),
        ]);
        rows.push(Row {
            image,
            serial: build.build.as_str().to_owned(),
            current: fresh_until.is_some(),
            size_bytes,
            fetched: String::from(build.fetched),
            fresh_until: fresh_until.map(String::from),
            server,
            origin,
        });
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}

fn prune(context: &Context, all: bool) -> Result<ExitStatus, CommandError> {
    let cache = Cache::open_alone(&context.directories.cache, Owner::SELF, || {
        narrator::waiting(&context.printer, "uses the cache");
    })?;
    let pruned = cache.prune(all)?;
    let current: Vec<_> = cache.builds()?.into_iter().map(|kept| kept.build.rootfs.sha256).collect();
    let bases = base::prune(&context.directories.containers, &current)?;
    context.printer.say(format_args!(
        "Removed {} builds, {} files, {}",
        human::count(pruned.builds),
        human::count(pruned.files),
        human::bytes(pruned.size_bytes)
    ));
    if bases.removed > 0 {
        context.printer.say(format_args!("Removed {} trees that no container shares", human::count(bases.removed)));
    }
    Ok(ExitStatus::Done)
}

fn verify(context: &Context) -> Result<ExitStatus, CommandError> {
    let checks = context.cache()?.verify()?;
    let verdict = |check: Check| Verdict {
        image: check.build.image.to_string(),
        serial: check.build.build.as_str().to_owned(),
        sound: check.sound,
    };
    let verdicts: Vec<Verdict> = checks.into_iter().map(verdict).collect();
    match context.format {
        OutputFormat::Text => {
            for Verdict { image, serial, sound } in &verdicts {
                let word = if *sound { "sound" } else { "damaged" };
                context.printer.data(format_args!("{word:<9}{image}@{serial}"));
            }
        }
        OutputFormat::Json => context.printer.json(&verdicts),
    }
    let is_sound = verdicts.iter().all(|verdict| verdict.sound);
    Ok(if is_sound { ExitStatus::Done } else { ExitStatus::Refused })
}
