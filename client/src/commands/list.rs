//! `rootcellar list`

use formats::digest::{FileDigest, Sha256};
use serde::Serialize;
use terminal::{ExitStatus, OutputFormat, Table, human};

use super::{CommandError, SourceArgs};
use crate::catalog::{Build, Image, Listed};
use crate::config::Config;
use crate::context::Context;

/// List the images of a server.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only images whose id or alias starts like this; `*` stands for anything.
    pub pattern: Option<String>,

    #[command(flatten)]
    source: SourceArgs,
}

/// One image of the listing.
#[derive(Serialize)]
pub(super) struct Row {
    image: String,
    aliases: Vec<String>,
    title: String,
    end_of_life: Option<String>,
    pub(super) builds: Vec<BuildRow>,
}

/// One build of it.
#[derive(Serialize)]
pub(super) struct BuildRow {
    pub(super) serial: String,
    /// What a create downloads; unknown where the server does not say.
    pub(super) size_bytes: Option<u64>,
    pub(super) cache_expiry: Option<String>,
    /// What the files must be; unknown where nothing but TLS vouches for the server.
    rootfs: Option<File>,
    metadata: Option<File>,
    /// The tar archive in the rootfs, if the server says.
    tar: Option<File>,
}

/// What a file must be.
#[derive(Serialize)]
struct File {
    size_bytes: u64,
    sha256: Sha256,
}

/// Lists the images.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let origin = args.source.origin(&Config::load(&context.directories)?, None)?;
    let pattern = args.pattern.as_deref();
    let mut table = Table::new(["IMAGE", "BUILD", "SIZE", "ALIASES"]);
    let mut rows = Vec::new();
    match context.format {
        OutputFormat::Json => {
            let catalog = args.source.with(context, origin, |source| Ok(source.catalog(None)?))?;
            rows.extend(catalog.listing(pattern).map(Row::of));
        }
        OutputFormat::Text => {
            let mut show = |one: Listed<'_>| {
                table.row([one.image, one.newest, &size(one.size_bytes), &one.aliases.join(", ")]);
            };
            args.source.with(context, origin, |source| Ok(source.show(pattern, &mut show)?))?;
        }
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}

impl Row {
    pub(super) fn of(image: &Image) -> Self {
        Self {
            image: image.id.to_string(),
            aliases: image.aliases.clone(),
            title: image.title.clone(),
            end_of_life: image.end_of_life.clone(),
            builds: image.builds.iter().map(BuildRow::of).collect(),
        }
    }
}

impl BuildRow {
    fn of(build: &Build) -> Self {
        let cache_expiry = build.cache_expiry.map(String::from);
        let file = |FileDigest { size_bytes, sha256 }| File { size_bytes, sha256 };
        let [rootfs, metadata, tar] = [build.rootfs.digest, build.metadata.digest, build.tar].map(|one| one.map(file));
        let (serial, size_bytes) = (build.name.as_str().to_owned(), build.size_bytes());
        Self { serial, size_bytes, cache_expiry, rootfs, metadata, tar }
    }

    pub(super) fn size(&self) -> String {
        size(self.size_bytes)
    }
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), human::bytes)
}
