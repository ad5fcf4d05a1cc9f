//! `rootcellar internal-complete`: what the scripts of `rootcellar completions` ask.

use clap::Command;
use terminal::ExitStatus;

use crate::completion;
use crate::context::Context;

/// Print the names that the last of these words may become, one on each line.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The words after the program's name.
    #[arg(last = true)]
    words: Vec<String>,
}

/// Prints them.
pub fn run(args: &Args, program: &Command, context: &Context) -> ExitStatus {
    for name in completion::names(program, &args.words, &context.directories) {
        context.printer.data(name);
    }
    ExitStatus::Done
}
