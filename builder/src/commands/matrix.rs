//! `rootcellar-builder matrix SPEC…`

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Printer, Table};

use super::{CommandError, SpecArgs, build_time};
use crate::spec::Spec;

/// Show the images that specs are for.
#[derive(Debug, clap::Args)]
pub(crate) struct MatrixArgs {
    /// Specs; `-` is standard input.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    #[command(flatten)]
    spec: SpecArgs,
    /// How to print the images.
    #[arg(long, default_value = "text")]
    format: OutputFormat,
}

/// Prints every cell of every spec, in the order of the specs.
pub(crate) fn run(args: &MatrixArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let now = build_time()?;
    let mut table = Table::new(["IMAGE", "SPEC", "OPTIONS"]);
    let mut listed = Vec::new();
    for path in &args.specs {
        for cell in Spec::cells(path, &args.spec.overrides, now)? {
            let options: Vec<String> = cell.options.iter().map(ToString::to_string).collect();
            let spec = path.display().to_string();
            table.row([cell.image.to_string(), spec.clone(), options.join(" ")]);
            listed.push(json!({
                "image": cell.image,
                "spec": spec,
                "options": options,
                "timeout_seconds": cell.timeout.map(|span| Duration::from(span).as_secs()),
                "schedule": cell.schedule,
            }));
        }
    }
    printer.listing(args.format, &table, &json!(listed));
    Ok(ExitStatus::Done)
}
