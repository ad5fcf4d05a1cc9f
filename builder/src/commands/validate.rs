//! `rootcellar-builder validate SPEC…`

use std::path::PathBuf;

use terminal::{Advice, ExitStatus, Printer};

use super::{CommandError, SpecArgs, build_time};

/// Check specs without building anything.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Specs; `-` is standard input.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    #[command(flatten)]
    spec: SpecArgs,
}

/// Reads every spec, says what is wrong with each, and fails if anything is.
pub(crate) fn run(args: &ValidateArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let now = build_time()?;
    let mut status = ExitStatus::Done;
    for path in &args.specs {
        match args.spec.load(path, now) {
            Ok(spec) => printer.say(format_args!("{}: {}", path.display(), spec.image)),
            Err(error) => {
                printer.error(&error, error.hint().as_deref());
                status = ExitStatus::Refused;
            }
        }
    }
    Ok(status)
}
