//! `rootcellar info`

use terminal::{ExitStatus, OutputFormat, Table};

use super::list::Row;
use super::{CommandError, ImageSpec, SourceArgs};
use crate::acquire::AcquireError;
use crate::config::Config;
use crate::context::Context;

/// Show one image and its builds.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The image, e.g. `debian/bookworm`, `home:debian/12/arm64/cloud`.
    #[arg(value_name = "IMAGE")]
    pub image: ImageSpec,

    #[command(flatten)]
    source: SourceArgs,
}

/// Shows the image.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let origin = args.source.origin(&Config::load(&context.directories)?, args.image.remote.as_ref())?;
    let distribution = args.image.query.name();
    let catalog = args.source.with(context, origin, |source| Ok(source.catalog(distribution.split('/').next())?))?;
    let image = catalog.image(&args.image.query).map_err(AcquireError::from)?;
    let row = Row::of(image);
    if context.format == OutputFormat::Text {
        let end_of_life = image.end_of_life.clone().unwrap_or_else(|| "-".to_owned());
        let lines = [
            ("Image", image.id.to_string()),
            ("Title", image.title.clone()),
            ("Aliases", image.aliases.join(", ")),
            ("Support ends", end_of_life),
        ];
        for (label, value) in lines {
            context.printer.data(terminal::plain(&format!("{label:<14}{value}")));
        }
    }
    let mut table = Table::new(["BUILD", "SIZE", "CACHE EXPIRY"]);
    for build in &row.builds {
        table.row([&build.serial, &build.size(), build.cache_expiry.as_deref().unwrap_or("-")]);
    }
    context.printer.listing(context.format, &table, &row);
    Ok(ExitStatus::Done)
}
