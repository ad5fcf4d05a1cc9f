//! `rootcellar-builder shell DIR`

use std::path::PathBuf;

use terminal::{ExitStatus, Printer};

use super::CommandError;
use super::build::{Request, absolute};
use crate::build::failure::Failure;
use crate::build::look_into;

/// Look into the tree of a build that failed.
///
/// The shell sees what the failed script saw: the same mounts, environment and network. What it changes stays in that
/// tree; `resume` does not use it, but makes the stage again.
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArgs {
    /// What the failed build has left: the directory that its error names.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Run this instead of a shell.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs a shell until its user leaves it. Only a command that was given decides how this ends.
pub(crate) fn run(args: &ShellArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let directory = absolute(&args.directory)?;
    let failure = Failure::read(&directory)?;
    let request: Request = serde_json::from_value(failure.request.clone()).map_err(|_| CommandError::Request)?;
    let _emulation = request.become_builder()?;
    printer.say(format_args!("The tree of the stage `{}`", failure.stage));
    let is_shell = args.command.is_empty();
    let command = if is_shell { SHELL.map(str::to_owned).to_vec() } else { args.command.clone() };
    let ended_well = look_into(&failure, &directory, command)?;
    Ok(if ended_well || is_shell { ExitStatus::Done } else { ExitStatus::Refused })
}

/// A friendlier one where there is one.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "cd; [ -x /bin/bash ] && exec /bin/bash; exec /bin/sh"];
