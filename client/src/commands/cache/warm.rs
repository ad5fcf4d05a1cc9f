//! `rootcellar cache warm`

use std::collections::BTreeSet;

use formats::image::ImageQuery;
use serde::Serialize;
use terminal::{Advice as _, ExitStatus, OutputFormat};

use super::prune;
use crate::acquire::{AcquireError, Policy, Source};
use crate::cache::CachedBuild;
use crate::commands::{CommandError, ImageSpec, SourceArgs};
use crate::config::Config;
use crate::context::Context;
use crate::remote::Origin;
use crate::runtime::error::chain;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The images; without any, those in the cache: of the server that is named, else of every remote.
    #[arg(value_name = "IMAGE")]
    images: Vec<ImageSpec>,

    /// Afterwards remove what `cache prune` removes, such as the builds that new ones replaced.
    #[arg(long)]
    prune: bool,

    #[command(flatten)]
    source: SourceArgs,
}

/// What became of one image.
#[derive(Serialize)]
struct Row {
    image: String,
    serial: Option<String>,
    error: Option<String>,
}

/// What became of all of them. One that fails does not keep the others cold.
struct Warming<'a> {
    context: &'a Context,
    rows: Vec<Row>,
    status: ExitStatus,
    /// The servers that gave no answer, by their keys: none is waited for a second time.
    silent: BTreeSet<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let config = Config::load(&context.directories)?;
    let wanted = if args.images.is_empty() {
        cached(args, &config, context)?
    } else {
        let with_origin =
            |image: &ImageSpec| Ok((args.source.origin(&config, image.remote.as_ref())?, image.query.clone()));
        args.images.iter().map(with_origin).collect::<Result<_, CommandError>>()?
    };
    if wanted.is_empty() {
        context.printer.say("No image of these servers is in the cache");
    }
    let mut warming = Warming { context, rows: Vec::new(), status: ExitStatus::Done, silent: BTreeSet::new() };
    for (origin, query) in wanted {
        let (key, server) = (origin.key(), origin.url.to_string());
        let warmed = if warming.silent.contains(&key) {
            Err(CommandError::Silent { server })
        } else {
            args.source.with(context, origin, |source| warm(source, &query))
        };
        if matches!(&warmed, Err(CommandError::Acquire(AcquireError::Repository(error))) if error.is_silence()) {
            warming.silent.insert(key);
        }
        warming.note(&query, warmed);
    }
    if context.format == OutputFormat::Json {
        context.printer.json(&warming.rows);
    }
    if args.prune {
        prune(context, false)?;
    }
    Ok(warming.status)
}

/// The cached images of the server that is named, or of every remote.
fn cached(args: &Args, config: &Config, context: &Context) -> Result<Vec<(Origin, ImageQuery)>, CommandError> {
    let is_named = args.source.server.is_some() || args.source.remote.is_some();
    let origins = if is_named || config.remotes.is_empty() {
        vec![args.source.origin(config, None)?]
    } else {
        let of_remote = |name| args.source.origin(config, Some(name));
        config.remotes.keys().map(of_remote).collect::<Result<_, CommandError>>()?
    };
    let cache = context.cache()?;
    let mut wanted = Vec::new();
    for origin in origins {
        for current in cache.current(&origin)? {
            let name = current.image.to_string();
            let query = name.parse().map_err(|source| CommandError::NoSuchThing { name, source })?;
            wanted.push((origin.clone(), query));
        }
    }
    Ok(wanted)
}

fn warm(source: &Source<'_>, query: &ImageQuery) -> Result<CachedBuild, CommandError> {
    let acquired = source.acquire(query, Policy::Refresh)?;
    let build = acquired.build.clone();
    acquired.rootfs.warmed()?;
    Ok(build)
}

impl Warming<'_> {
    fn note(&mut self, query: &ImageQuery, warmed: Result<CachedBuild, CommandError>) {
        let printer = &self.context.printer;
        self.rows.push(match warmed {
            Ok(build) => {
                let (image, serial) = (build.image.to_string(), build.build.as_str().to_owned());
                if self.context.format == OutputFormat::Text {
                    printer.data(format_args!("{image}@{serial}"));
                }
                Row { image, serial: Some(serial), error: None }
            }
            Err(error) => {
                let error = CommandError::NotWarmed { image: query.to_string(), source: Box::new(error) };
                printer.error(&error, error.hint().as_deref());
                self.status = self.status.worse(error.exit_status());
                Row { image: query.to_string(), serial: None, error: Some(chain(&error)) }
            }
        });
    }
}
