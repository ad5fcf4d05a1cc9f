//! What was typed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory as _, Parser, Subcommand};
use formats::time::Timestamp;
use terminal::log::{LogArgs, Priority};
use terminal::{ExitStatus, ManualCommand, Printer, finish};

use crate::commands::{
    delta, export, import, keys, list, pin, promote, prune, publish, rollback, serve, store, token, verify,
};
use crate::data::DataDir;
use crate::error::Error;

/// Imports, signs, publishes and serves images for LXC, Incus, LXD and rootcellar.
#[derive(Debug, Parser)]
#[command(name = "rootcellar-server", version, max_term_width = 100)]
pub struct Cli {
    /// Keep everything in DIR [default: /var/lib/rootcellar-server for root, ~/.local/share/rootcellar-server else].
    #[arg(long, value_name = "DIR", global = true, env = "ROOTCELLAR_SERVER_DATA")]
    data: Option<PathBuf>,

    /// Say nothing on stderr but warnings and errors.
    #[arg(short, long, global = true)]
    quiet: bool,

    #[command(flatten)]
    log: LogArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    Import(import::ImportArgs),
    Delta(delta::DeltaArgs),
    Publish(publish::PublishArgs),
    List(list::ListArgs),
    Promote(promote::PromoteArgs),
    Rollback(rollback::RollbackArgs),
    Prune(prune::PruneArgs),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Verify(verify::VerifyArgs),
    Export(export::ExportArgs),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(subcommand)]
    Token(token::TokenCommand),
    Serve(serve::ServeArgs),
    #[command(flatten)]
    Manual(ManualCommand),
}

/// What every command works with.
#[derive(Debug)]
pub struct Context {
    /// The data directory.
    pub data: DataDir,
    /// Whether the data directory was named by the user.
    pub data_is_chosen: bool,
    /// The way to stdout and stderr.
    pub printer: Printer,
}

impl Context {
    /// This second.
    pub fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// Runs what was typed.
pub fn run(cli: Cli) -> ExitCode {
    let printer = Printer::new(cli.quiet);
    let result = run_command(cli, &printer);
    finish(&printer, result)
}

fn run_command(cli: Cli, printer: &Printer) -> Result<ExitStatus, Error> {
    let mut log = cli.log;
    let is_unset = log.priority.is_none() && std::env::var_os("ROOTCELLAR_LOG").is_none();
    if is_unset && matches!(cli.command, Command::Serve(_)) {
        // Requests are logged by default: a server without an access log cannot be operated.
        log.priority = Some(Priority::Info);
    }
    terminal::log::init(&log)?;
    if let Command::Manual(command) = &cli.command {
        // It needs no data directory, and leaves none.
        return Ok(command.run(Cli::command(), printer)?);
    }
    let data_is_chosen = cli.data.is_some();
    let data = DataDir::open(&cli.data.unwrap_or_else(DataDir::default_path))?;
    let context = Context { data, data_is_chosen, printer: printer.clone() };
    match cli.command {
        Command::Keys(command) => keys::run(&command, &context),
        Command::Import(args) => import::run(&args, &context),
        Command::Delta(args) => delta::run(&args, &context),
        Command::Publish(args) => publish::run(&args, &context),
        Command::List(args) => list::run(&args, &context),
        Command::Promote(args) => promote::run(&args, &context),
        Command::Rollback(args) => rollback::run(&args, &context),
        Command::Prune(args) => prune::run(&args, &context),
        Command::Pin(args) => pin::pin(&args, &context),
        Command::Unpin(args) => pin::unpin(&args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Store(command) => store::run(&command, &context),
        Command::Token(command) => token::run(&command, &context),
        Command::Serve(args) => serve::run(&args, &context),
        Command::Manual(command) => Ok(command.run(Cli::command(), printer)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_design_are_accepted() {
        for line in [
            "keys init",
            "keys show --format json",
            "keys export certificates",
            "keys rotate --validity 1d",
            "keys revoke subkey",
            "keys revoke repository",
            "import a b --channel staging",
            "import --no-delta a",
            "delta",
            "delta debian/trixie/amd64/default",
            "--data /x publish --validity 12h",
            "list --format json --data /x",
            "list --channel staging",
            "promote debian/trixie/amd64/default --to stable",
            "promote debian/trixie/amd64/default@20261123_0522 --to stable --from staging",
            "rollback stable",
            "prune --dry-run --keep 3 --older-than 30d --grace 1h --config f",
            "pin debian/trixie/amd64/default@20261123_0522",
            "unpin debian/trixie/amd64/default@20261123_0522",
            "verify",
            "store show --format json",
            "store use s3://images/cellar --endpoint http://127.0.0.1:7480 --region x --redirect --redirect-validity 1h",
            "store use s3://images --take-over-from-another-server",
            "token create builder1 --images debian/*/*/* --channel staging --validity 90d",
            "token list --format json",
            "token revoke builder1 --database postgres://localhost/x",
            "export /srv/images --copy --grace 2d",
            "serve --listen 127.0.0.1:0 --plain-listen 127.0.0.1:0 --tls-cert c --tls-key k --config f",
        ] {
            let words = std::iter::once("rootcellar-server").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let words = "rootcellar-server serve --tls-cert c".split(' ');
        assert!(Cli::try_parse_from(words).unwrap_err().to_string().contains("--tls-key"));
    }
}
