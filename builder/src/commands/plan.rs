//! `rootcellar-builder plan SPEC`

use std::path::PathBuf;

use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Printer, Table};

use super::{CommandError, SpecArgs, build_time};
use crate::format::Formats;
use crate::plan::Plan;

/// Show the stages of a build in order, and the stage whose tree each goes on from.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The spec; `-` is standard input.
    #[arg(value_name = "SPEC")]
    path: PathBuf,
    #[command(flatten)]
    spec: SpecArgs,
    /// What would be packed.
    #[arg(long, default_value = "lxc,incus")]
    formats: Formats,
    /// How to print the stages.
    #[arg(long, default_value = "text")]
    format: OutputFormat,
}

/// Prints what a build would do.
pub(crate) fn run(args: &PlanArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let spec = args.spec.load(&args.path, build_time()?)?;
    let lines = Plan::of(&spec, args.formats)?.lines();
    let mut table = Table::new(["STAGE", "AFTER", "WHAT"]);
    for line in &lines {
        table.row([line.stage.clone(), line.after.clone().unwrap_or_else(|| "-".to_owned()), line.what.clone()]);
    }
    printer.listing(args.format, &table, &json!({"image": spec.image, "serial": spec.serial, "stages": lines}));
    Ok(ExitStatus::Done)
}
