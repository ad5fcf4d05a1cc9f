//! What there is to say of an image.

use terminal::{ExitStatus, OutputFormat, Table};

use crate::acquire::AcquireError;
use crate::commands::list::Row;
use crate::commands::{CommandError, ImageSpec, SourceArgs};
use crate::config::Config;
use crate::context::Context;

pub(crate) fn show(wanted: &ImageSpec, source: &SourceArgs, context: &Context) -> Result<ExitStatus, CommandError> {
    let origin = source.origin(&Config::load(&context.directories)?, wanted.remote.as_ref())?;
    let distribution = wanted.query.name();
    let catalog = source.with(context, origin, |source| Ok(source.catalog(distribution.split('/').next())?))?;
    let image = catalog.image(&wanted.query).map_err(AcquireError::from)?;
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
        table.row([build.serial.as_str(), &build.size(), build.cache_expiry.as_deref().unwrap_or("-")]);
    }
    context.printer.listing(context.format, &table, &row);
    Ok(ExitStatus::Done)
}
