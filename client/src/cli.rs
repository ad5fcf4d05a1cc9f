//! The command line of `rootcellar`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use terminal::log::{self, LogArgs};
use terminal::{ExitStatus, ManualCommand, OutputFormat, Printer, finish};

use crate::commands::{
    CommandError, autostart, cache, console, copy, create, destroy, doctor, exec, fetch, freeze, info, list, logs, ls,
    remote, restart, restore, snapshot, start, stop, template, unfreeze, wait,
};
use crate::context::Context;
use crate::directories::{Directories, DirectoryArgs};

/// Fetches verified images of root file systems and makes containers from them.
#[derive(Debug, Parser)]
#[command(name = "rootcellar", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    directories: DirectoryArgs,

    /// How listings are written.
    #[arg(long, value_enum, default_value_t, global = true)]
    format: OutputFormat,

    /// Say nothing but data, warnings and errors.
    #[arg(short, long, global = true)]
    quiet: bool,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Remote(remote::Args),
    List(list::Args),
    Info(info::Args),
    Fetch(fetch::Args),
    Create(create::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Exec(exec::Args),
    Console(console::Args),
    Freeze(freeze::Args),
    Unfreeze(unfreeze::Args),
    Autostart(autostart::Args),
    Wait(wait::Args),
    Logs(logs::Args),
    Ls(ls::Args),
    Copy(copy::Args),
    Snapshot(snapshot::Args),
    Restore(restore::Args),
    Destroy(destroy::Args),
    Cache(cache::Args),
    Template(template::Args),
    Doctor(doctor::Args),
    #[command(flatten)]
    Manual(ManualCommand),
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, everything else to stderr: clap knows which.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Refused.into() } else { ExitStatus::Done.into() };
        }
    };
    let printer = Printer::new(cli.quiet);
    let outcome = log::init(&cli.log).map_err(CommandError::from).and_then(|()| {
        let directories = Directories::choose(cli.directories);
        dispatch(cli.command, &Context { printer: printer.clone(), format: cli.format, directories })
    });
    finish(&printer, outcome)
}

fn dispatch(command: Command, context: &Context) -> Result<ExitStatus, CommandError> {
    match command {
        Command::Remote(args) => remote::run(&args, context),
        Command::List(args) => list::run(&args, context),
        Command::Info(args) => info::run(&args, context),
        Command::Fetch(args) => fetch::run(&args, context),
        Command::Create(args) => create::run(&args, context),
        Command::Start(args) => Ok(start::run(args, context)?),
        Command::Stop(args) => Ok(stop::run(&args, context)?),
        Command::Restart(args) => Ok(restart::run(&args, context)?),
        Command::Wait(args) => Ok(wait::run(&args, context)?),
        Command::Logs(args) => Ok(logs::run(&args, context)?),
        Command::Exec(args) => Ok(exec::run(args, context)?),
        Command::Console(args) => Ok(console::run(&args, context)?),
        Command::Freeze(args) => Ok(freeze::run(&args, context)?),
        Command::Unfreeze(args) => Ok(unfreeze::run(&args, context)?),
        Command::Autostart(args) => Ok(autostart::run(&args, context)?),
        Command::Ls(args) => Ok(ls::run(&args, context)?),
        Command::Copy(args) => Ok(copy::run(&args, context)?),
        Command::Snapshot(args) => Ok(snapshot::run(&args, context)?),
        Command::Restore(args) => Ok(restore::run(&args, context)?),
        Command::Destroy(args) => Ok(destroy::run(&args, context)?),
        Command::Cache(args) => cache::run(&args, context),
        Command::Template(args) => template::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Manual(command) => Ok(command.run(Cli::command(), &context.printer)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_fingerprint_without_a_server_is_refused() {
        let fingerprint = "0".repeat(40);
        for words in [
            vec!["rootcellar", "list", "--fingerprint", &fingerprint],
            vec!["rootcellar", "create", "a b", "debian"],
            vec!["rootcellar", "create", "web1", "../x"],
        ] {
            assert!(Cli::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
