//! `rootcellar-builder resume DIR`

use std::path::PathBuf;

use terminal::{ExitStatus, OutputFormat, Printer};

use super::CommandError;
use super::build::{Request, absolute, tell};
use crate::build::failure::Failure;

/// Go on with a build that failed.
///
/// The spec is read again, so that what was wrong in it can be put right. Stages before STAGE are not run again and
/// keep what they made, whatever the spec says about them by then.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// What the failed build has left: the directory that its error names.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The first stage that runs, such as `post-packages.2`, or `post-packages` for the first of several
    /// [default: the one that failed].
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    /// How to print what was built.
    #[arg(long, default_value = "text")]
    format: OutputFormat,
}

/// Goes on, and removes what the failed build has left when there is a whole one.
pub(crate) fn run(args: &ResumeArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let directory = absolute(&args.directory)?;
    let failure = Failure::read(&directory)?;
    let resumption = failure.resumption(args.from.as_deref())?;
    let request: Request = serde_json::from_value(failure.request.clone()).map_err(|_| CommandError::Request)?;
    printer.say(format_args!("Going on from the stage `{}`", resumption.from));
    let outcome = request.carry_out(true, Some(resumption), printer)?;
    let failed = |source| CommandError::Directory { path: directory.clone(), source };
    failure.remove(&directory).map_err(failed)?;
    Ok(tell(outcome, args.format, printer))
}
