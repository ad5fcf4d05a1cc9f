//! rootcellar-builder: turns a spec into the build directory that a server imports.
//!
//! | module | what it holds |
//! |---|---|
//! | `spec` | the spec format: parsing, overrides, templates, filters |
//! | `plan` | what a build will do, in order |
//! | `sandbox` | programs that run in an image and leave nothing running or mounted |
//! | `userns` | building as a plain user, who is root of a user namespace |
//! | `emulation` | running programs of another architecture |
//! | `bootstrap` | Debian and its relatives, from package lists to a tree |
//! | `source` | archives of root file systems that others publish |
//! | `build` | the stages: unpack, install, files, tidy, pack, record |
//! | `comparison` | what is different between two builds |
//! | `cache` | what earlier builds fetched and made: packages, lists, trees of stages |
//! | `config` | the configuration file |
//! | `commands` | the verbs of the command line |

mod bootstrap;
mod build;
mod cache;
mod checkpoint;
mod cli;
mod commands;
mod comparison;
mod config;
mod emulation;
mod format;
mod limits;
mod mapping;
mod plan;
mod sandbox;
mod source;
mod spec;
mod userns;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use terminal::{ExitStatus, Printer};

use cli::{Cli, Command};
use commands::CommandError;

/// The program.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == sandbox::COMMAND
    {
        return sandbox::child_main(rest);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that was asked for is data; anything else is bad input. A closed pipe has heard enough.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Refused.into() } else { ExitStatus::Done.into() };
        }
    };
    let printer = Printer::new(cli.quiet);
    terminal::finish(&printer, run(&cli, &printer))
}

fn run(cli: &Cli, printer: &Printer) -> Result<ExitStatus, CommandError> {
    // `-o` is an override here, so the log has no options; the variable ROOTCELLAR_LOG works as everywhere.
    terminal::log::init(&terminal::log::LogArgs::default())?;
    match &cli.command {
        Command::Bootstrap(args) => commands::bootstrap::run(args, printer),
        Command::Build(args) => commands::build::run(args, printer),
        Command::Cache(args) => commands::cache::run(args, printer),
        Command::Diff(args) => commands::diff::run(args, printer),
        Command::Pack(args) => commands::pack::run(args, printer),
        Command::Resume(args) => commands::resume::run(args, printer),
        Command::Shell(args) => commands::shell::run(args, printer),
        Command::Validate(args) => commands::validate::run(args, printer),
        Command::Matrix(args) => commands::matrix::run(args, printer),
        Command::Plan(args) => commands::plan::run(args, printer),
        Command::Manual(command) => Ok(command.run(Cli::command(), printer)?),
    }
}
