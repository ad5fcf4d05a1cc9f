//! `rootcellar list`

use std::borrow::Cow;
use std::str::FromStr;

use formats::digest::{FileDigest, Sha256};
use formats::image::ImageId;
use formats::name::{Name, ParseNameError};
use serde::Serialize;
use terminal::{ExitStatus, OutputFormat, Table, human};

use super::{CommandError, SourceArgs};
use crate::caller::Caller;
use crate::catalog::{Build, Image, Listed, NotFound, Pattern, Viewer};
use crate::config::Config;
use crate::context::Context;

/// List the images of a server.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only images whose id or alias starts like this; `*` stands for anything. `REMOTE:` before it names the server.
    #[arg(value_name = "[REMOTE:]PATTERN")]
    pub pattern: Option<ListSpec>,

    #[command(flatten)]
    source: SourceArgs,
}

/// What a person types to narrow a listing: `[REMOTE:][PATTERN]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSpec {
    /// The remote, when one is named.
    pub remote: Option<Name>,
    /// The images; all of them where nothing follows the remote.
    pub pattern: Option<Pattern>,
}

impl FromStr for ListSpec {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (remote, pattern) = match text.split_once(':') {
            Some((remote, pattern)) => (Some(remote.parse()?), pattern),
            None => (None, text),
        };
        let Ok(pattern) = pattern.parse::<Pattern>();
        Ok(Self { remote, pattern: Some(pattern).filter(|pattern| !pattern.text().is_empty()) })
    }
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

/// Lists the images, and says so when there are none.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let remote = args.pattern.as_ref().and_then(|spec| spec.remote.as_ref());
    let origin = args.source.origin(&Config::load(&context.directories)?, remote)?;
    let server = origin.url.to_string();
    let pattern = args.pattern.as_ref().and_then(|spec| spec.pattern.as_ref());
    let (mut images, mut rows) = (Images::none(), Vec::new());
    let near = match context.format {
        OutputFormat::Json => {
            let catalog = args.source.with(context, origin, |source| Ok(source.catalog(None)?))?;
            rows.extend(catalog.listing(pattern).map(Row::of));
            pattern.filter(|_| rows.is_empty()).map(|pattern| catalog.near(pattern.text())).unwrap_or_default()
        }
        OutputFormat::Text => {
            let shown = args.source.with(context, origin, |source| Ok(source.show(pattern, &mut images)?))?;
            if !shown.is_sorted {
                images.table.sort_unique_by_key(|id| id.parse::<ImageId>().ok());
            }
            shown.near
        }
    };
    context.printer.listing(context.format, &images.table, &rows);
    if rows.is_empty() && images.table.is_empty() {
        context.printer.warn(nothing(&server, pattern, near));
    }
    Ok(ExitStatus::Done)
}

/// The table of the images.
struct Images {
    table: Table,
}

impl Images {
    fn none() -> Self {
        Self { table: Table::new(["IMAGE", "BUILD", "SIZE", "ALIASES"]) }
    }
}

impl Viewer for Images {
    fn begin(&mut self) {
        *self = Self::none();
    }

    fn show(&mut self, one: Listed<'_>) {
        self.table.row([one.image, one.newest, &size(one.size_bytes), &one.aliases.join(", ")]);
    }
}

/// That there is nothing to list is no failure, but an empty table alone would leave people wondering.
fn nothing(server: &str, pattern: Option<&Pattern>, near: Vec<String>) -> String {
    let Some(pattern) = pattern.map(Pattern::text) else { return format!("`{server}` has no images") };
    let error = NotFound::Image { name: pattern.to_owned(), near };
    match (pattern.split_once('@'), &error) {
        (Some((image, _)), _) => format!("{error}: `rootcellar info {image}` shows its builds"),
        (None, NotFound::Image { near, .. }) if near.is_empty() => error.to_string(),
        (None, _) => format!("{error}: {}", error.hint(Caller::Command)),
    }
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

    pub(super) fn size(&self) -> Cow<'static, str> {
        size(self.size_bytes)
    }
}

fn size(bytes: Option<u64>) -> Cow<'static, str> {
    bytes.map_or(Cow::Borrowed("-"), |bytes| Cow::Owned(human::bytes(bytes)))
}
