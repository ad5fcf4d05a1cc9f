//! `rootcellar cache`

use formats::image::ImageQuery;
use serde::Serialize;
use terminal::{ExitStatus, Table, human};

use super::{CommandError, ImageSpec, SourceArgs};
use crate::acquire::{Policy, Source};
use crate::cache::{Cache, Kept};
use crate::config::Config;
use crate::container::base;
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
    /// Bring images up to date and decode them, so that the next creates only copy. Prints their ids and serials.
    Warm(WarmArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct WarmArgs {
    /// The images; without any, those of the server that are in the cache.
    #[arg(value_name = "IMAGE")]
    images: Vec<ImageSpec>,

    #[command(flatten)]
    source: SourceArgs,
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

/// Does it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    match &args.action {
        Action::List => list(context),
        Action::Prune { all } => prune(context, *all),
        Action::Verify => verify(context),
        Action::Warm(args) => warm(context, args),
    }
}

fn warm(context: &Context, args: &WarmArgs) -> Result<ExitStatus, CommandError> {
    let config = Config::load(&context.directories)?;
    if args.images.is_empty() {
        let origin = args.source.origin(&config, None)?;
        return args.source.with(context, origin, |source| {
            let cached = source.cache.current(source.repository.origin())?;
            if cached.is_empty() {
                context.printer.say("No image of this server is in the cache");
            }
            for current in cached {
                let name = current.image.to_string();
                let query = name.parse().map_err(|source| CommandError::NoSuchThing { name, source })?;
                warm_one(source, &query, context)?;
            }
            Ok(ExitStatus::Done)
        });
    }
    for image in &args.images {
        let origin = args.source.origin(&config, image.remote.as_ref())?;
        args.source.with(context, origin, |source| warm_one(source, &image.query, context))?;
    }
    Ok(ExitStatus::Done)
}

fn warm_one(source: &Source<'_>, query: &ImageQuery, context: &Context) -> Result<(), CommandError> {
    let acquired = source.acquire(query, Policy::Refresh)?;
    let name = format!("{}@{}", acquired.build.image, acquired.build.build.as_str());
    acquired.rootfs.warmed()?;
    context.printer.data(name);
    Ok(())
}

fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let cache = Cache::open(&context.directories.cache, Owner::SELF)?;
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
    let cache = Cache::open_alone(&context.directories.cache, Owner::SELF)?;
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
