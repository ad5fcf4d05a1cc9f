//! The command line of `rootcellar`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use terminal::log::{self, LogArgs};
use terminal::{ExitStatus, ManualCommand, NAMES_COMMAND, OutputFormat, Printer, finish};

use crate::commands::{
    CommandError, autostart, cache, console, copy, create, destroy, doctor, exec, fetch, freeze, info,
    internal_complete, list, logs, ls, remote, restart, restore, snapshot, start, stop, template, unfreeze, wait,
};
use crate::context::Context;
use crate::directories::{Directories, DirectoryArgs};
use crate::manual::MANUAL;

/// Fetches verified images of root file systems and makes containers from them.
#[derive(Debug, Parser)]
#[command(name = "rootcellar", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    common: Common,
}

/// What can be said of every command.
#[derive(Debug, clap::Args)]
struct Common {
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
    #[command(name = NAMES_COMMAND, hide = true)]
    InternalComplete(internal_complete::Args),
    #[command(flatten)]
    Manual(ManualCommand),
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let Cli { command, common } = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, everything else to stderr: clap knows which.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Refused.into() } else { ExitStatus::Done.into() };
        }
    };
    let printer = Printer::new(common.quiet);
    let outcome = log::init(&common.log).map_err(CommandError::from).and_then(|()| {
        let directories = Directories::choose(common.directories);
        dispatch(command, &Context { printer: printer.clone(), format: common.format, directories })
    });
    finish(&printer, outcome)
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    parse_in_haste(arguments).map_or_else(|| Cli::try_parse_from(arguments), Ok)
}

/// Setting up the command line for all commands takes longer than these take to do their work. A part of it is enough
/// for what is right; whatever is not is left to the whole, for its errors and its help.
fn parse_in_haste(arguments: &[OsString]) -> Option<Cli> {
    const START: &str = "start";
    const EXEC: &str = "exec";
    let name = arguments.iter().find_map(|word| [START, EXEC].into_iter().find(|name| word == name))?;
    let command = clap::Command::new(name);
    let command = if name == START { start::Args::augment_args(command) } else { exec::Args::augment_args(command) };
    let line = Common::augment_args(clap::Command::new("rootcellar")).subcommand(command);
    let matches = line.try_get_matches_from(arguments).ok()?;
    let (_, of_command) = matches.subcommand()?;
    let command = if name == START {
        Command::Start(start::Args::from_arg_matches(of_command).ok()?)
    } else {
        Command::Exec(exec::Args::from_arg_matches(of_command).ok()?)
    };
    Some(Cli { command, common: Common::from_arg_matches(&matches).ok()? })
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
        Command::InternalComplete(args) => Ok(internal_complete::run(&args, &Cli::command(), context)),
        Command::Manual(command) => Ok(command.run_with(Cli::command(), &MANUAL, &context.printer)?),
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
    fn haste_changes_nothing() {
        for line in [
            "rootcellar start web1",
            "rootcellar -P /x start -F web1 -- sh -c exec",
            "rootcellar exec web1 -e A=B --cwd /x -q -- start",
            "rootcellar --format json exec -u ada web1 -l debug",
        ] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let whole = Cli::try_parse_from(&words).unwrap();
            let hasty = parse_in_haste(&words).unwrap();
            assert_eq!(format!("{hasty:?}"), format!("{whole:?}"));
        }
        for line in
            ["rootcellar exec", "rootcellar help start", "rootcellar list start", "rootcellar start --nonsense w"]
        {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert!(parse_in_haste(&words).is_none(), "{line}");
        }
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
