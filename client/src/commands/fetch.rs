//! `rootcellar fetch`

use terminal::{ExitStatus, OutputFormat};

use super::{CommandError, ImageSpec, SourceArgs};
use crate::acquire::Policy;
use crate::config::Config;
use crate::context::Context;

/// Fetch the newest build of an image into the cache, and print its id and serial.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The image, e.g. `debian/bookworm`, `home:debian/12/arm64/cloud@20261123_0522`.
    #[arg(value_name = "IMAGE")]
    pub image: ImageSpec,

    /// Use what is cached, however old, and do not ask the server.
    #[arg(long)]
    pub offline: bool,

    #[command(flatten)]
    source: SourceArgs,
}

/// Fetches the image.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let origin = args.source.origin(&Config::load(&context.directories)?, args.image.remote.as_ref())?;
    let policy = if args.offline { Policy::Offline } else { Policy::Refresh };
    args.source.with(context, origin, |source| {
        let acquired = source.acquire(&args.image.query, policy).map_err(CommandError::AcquireOnline)?;
        acquired.rootfs.stored().map_err(CommandError::AcquireOnline)?;
        let (image, serial) = (acquired.build.image.to_string(), acquired.build.build.as_str());
        match context.format {
            OutputFormat::Text => context.printer.data(format_args!("{image}@{serial}")),
            OutputFormat::Json => context.printer.json(&serde_json::json!({ "image": image, "serial": serial })),
        }
        Ok(ExitStatus::Done)
    })
}
